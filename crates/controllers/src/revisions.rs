//! The history of a DaemonSet's or StatefulSet's template: ControllerRevisions, which `kubectl rollout history` and
//! `undo` read. Pure but for [`apply`].

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Value, json};

use api::meta::{ObjectMeta, OwnerReference};
use client::{Api, ClientError, DeleteOptions, PatchType};

use crate::objects::ControllerRevision;
use crate::template::{same_template, template_hash, template_labels};

/// The label of pods and revisions that tells templates apart.
pub const HASH: &str = "controller-revision-hash";

/// Whose history, and what there is of it.
pub struct History<'a> {
    /// The owner.
    pub owner: &'a ObjectMeta,
    /// The reference by which it owns its revisions.
    pub reference: &'a OwnerReference,
    /// The template as it is now.
    pub template: &'a Value,
    /// How many revisions that no pod has are kept.
    pub limit: i32,
    /// Its revisions.
    pub revisions: &'a [Arc<ControllerRevision>],
}

/// The revision of the template as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct Current {
    /// The name of the revision.
    pub name: String,
    /// The hash of the template.
    pub hash: String,
    /// What brings the history up to date.
    pub changes: Vec<Change>,
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Make a revision.
    Create(Value),
    /// The template is back: its revision becomes the latest.
    Renumber {
        /// The name of the revision.
        name: String,
        /// It must not have changed.
        resource_version: String,
        /// Its new number.
        revision: i64,
    },
    /// Forget a revision.
    Delete {
        /// The name of the revision.
        name: String,
        /// It must still be this one.
        uid: String,
    },
}

impl History<'_> {
    /// Finds or plans the revision of the template; `in_use` are the hashes that pods have.
    pub fn current(&self, in_use: &HashSet<&str>) -> Current {
        let latest = self.revisions.iter().map(|revision| revision.revision).max().unwrap_or(0);
        let same = self
            .revisions
            .iter()
            .filter(|revision| same_template(&template_of(revision), self.template))
            .max_by_key(|revision| revision.revision);
        let mut current = match same {
            Some(revision) => {
                let meta = &revision.metadata;
                let renumber = (revision.revision < latest).then(|| Change::Renumber {
                    name: meta.name.clone(),
                    resource_version: meta.resource_version.clone(),
                    revision: latest + 1,
                });
                let hash = meta.labels.get(HASH).cloned().unwrap_or_default();
                Current { name: meta.name.clone(), hash, changes: renumber.into_iter().collect() }
            }
            None => self.create(latest + 1),
        };
        current.changes.extend(self.forget(&current, in_use));
        current
    }

    fn create(&self, revision: i64) -> Current {
        let taken = |name: &str| self.revisions.iter().any(|revision| revision.metadata.name == name);
        let hashes = (0..).map(|collisions| template_hash(self.template, collisions));
        let named = hashes.map(|hash| (format!("{}-{hash}", self.owner.name), hash));
        let (name, hash) = named.into_iter().find(|(name, _)| !taken(name)).unwrap_or_default();
        let mut labels: serde_json::Map<String, Value> =
            template_labels(self.template).map(|(key, value)| (key.to_owned(), json!(value))).collect();
        labels.insert(HASH.to_owned(), json!(hash));
        let mut template = self.template.clone();
        template["$patch"] = json!("replace");
        let document = json!({
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {
                "name": name,
                "namespace": self.owner.namespace,
                "labels": labels,
                "annotations": annotations(self.owner),
                "ownerReferences": [self.reference],
            },
            "data": {"spec": {"template": template}},
            "revision": revision,
        });
        Current { name, hash, changes: vec![Change::Create(document)] }
    }

    fn forget(&self, current: &Current, in_use: &HashSet<&str>) -> Vec<Change> {
        let mut idle: Vec<_> = self
            .revisions
            .iter()
            .filter(|revision| {
                let meta = &revision.metadata;
                let hash = meta.labels.get(HASH).map_or("", String::as_str);
                meta.name != current.name && !in_use.contains(hash) && !in_use.contains(meta.name.as_str())
            })
            .collect();
        idle.sort_by_key(|revision| revision.revision);
        let excess = idle.len().saturating_sub(usize::try_from(self.limit).unwrap_or(0));
        let change = |revision: &Arc<ControllerRevision>| Change::Delete {
            name: revision.metadata.name.clone(),
            uid: revision.metadata.uid.clone(),
        };
        idle.into_iter().take(excess).map(change).collect()
    }
}

/// The template that a revision keeps.
pub fn template_of(revision: &ControllerRevision) -> Value {
    let mut template = revision.data.value()["spec"]["template"].take();
    if let Some(fields) = template.as_object_mut() {
        fields.shift_remove("$patch");
    }
    template
}

/// The annotations of the owner that belong to its history: the change cause.
fn annotations(owner: &ObjectMeta) -> Value {
    const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
    match owner.annotations.get(CHANGE_CAUSE) {
        Some(cause) => json!({CHANGE_CAUSE: cause}),
        None => json!({}),
    }
}

/// Carries out a change of the history.
pub async fn apply(
    api: &Api<ControllerRevision>,
    namespace: &str,
    change: &Change,
) -> Result<(), ClientError> {
    match change {
        Change::Create(document) => match api.create(namespace, document).await {
            // The cache had not shown it yet; it will.
            Err(error) if error.is_already_exists() => Ok(()),
            Err(error) if crate::writes::namespace_is_terminating(&error) => Ok(()),
            result => result.map(drop),
        },
        Change::Renumber { name, resource_version, revision } => {
            let patch = json!({"metadata": {"resourceVersion": resource_version}, "revision": revision});
            api.patch(namespace, name, PatchType::Merge, &patch).await.map(drop)
        }
        Change::Delete { name, uid } => {
            match api.delete(namespace, name, &DeleteOptions::uid(&**uid)).await {
                Err(error) if error.is_not_found() => Ok(()),
                result => result.map(drop),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::RawJson;

    fn keep(document: &Value) -> Arc<ControllerRevision> {
        let mut revision: ControllerRevision = serde_json::from_value(document.clone()).unwrap();
        revision.data = RawJson::of(&document["data"]);
        Arc::new(revision)
    }

    #[test]
    fn a_template_has_one_revision_and_the_latest_number_when_it_comes_back() {
        let owner = ObjectMeta { name: "web".into(), ..ObjectMeta::default() };
        let reference = OwnerReference::default();
        let (one, two) = (json!({"spec": {"image": "1"}}), json!({"spec": {"image": "2"}}));
        let mut revisions: Vec<Arc<ControllerRevision>> = Vec::new();
        let current = |template: &Value, revisions: &[Arc<ControllerRevision>], limit| {
            History { owner: &owner, reference: &reference, template, limit, revisions }
                .current(&HashSet::new())
        };
        for (template, number) in [(&one, 1), (&two, 2)] {
            let Change::Create(document) = &current(template, &revisions, 10).changes[0] else { panic!() };
            assert_eq!(document["revision"], number);
            revisions.push(keep(document));
            assert_eq!(current(template, &revisions, 10).changes, []);
        }
        let back = current(&one, &revisions, 10);
        assert!(matches!(&back.changes[..], [Change::Renumber { revision: 3, .. }]), "{back:?}");
        let forgotten = current(&two, &revisions, 0);
        assert!(matches!(&forgotten.changes[..], [Change::Delete { .. }]), "{forgotten:?}");
    }
}
