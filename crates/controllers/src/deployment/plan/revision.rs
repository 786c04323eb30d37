//! Which ReplicaSet carries the current template, and the numbers and notes that `kubectl rollout history` reads.

use serde_json::{Map, Value, json};

use api::meta::ObjectMeta;

use crate::objects::{Deployment, PodTemplate, ReplicaSet, ReplicaSetSpec};
use crate::ownership::controller_reference;
use crate::template::{POD_TEMPLATE_HASH, template_hash, template_labels};

use super::status::{self, PROGRESSING};
use super::{Draft, Set};

/// The number of a ReplicaSet's template in the history of its Deployment.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// The numbers that a template had before it was rolled back to.
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// The replicas of the Deployment when the ReplicaSet was scaled last: tells that the Deployment has been scaled.
pub const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
/// The same with the surge: the base of proportional scaling.
pub const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
/// Annotations of the Deployment that do not concern its ReplicaSets.
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];
/// The length at which the history forgets its oldest.
const MAX_HISTORY: usize = 2000;

impl Draft<'_> {
    /// Brings the current ReplicaSet's notes up to date, and makes the ReplicaSet where there is none and `create`.
    pub(super) fn sync_revision(&mut self, create: bool) {
        let newest_old = self.old().filter_map(|old| self.sets[old].annotation(REVISION)).max().unwrap_or(0);
        let revision = newest_old + 1;
        match self.current {
            Some(current) => {
                let set = &mut self.sets[current].wanted;
                annotate(self.deployment, &mut set.metadata, revision);
                set.spec.min_ready_seconds = self.deployment.spec.min_ready_seconds;
                self.revision = set.metadata.annotations.get(REVISION).cloned();
                if self.has_deadline() && self.condition(PROGRESSING).is_none() {
                    let name = &self.sets[current].wanted.metadata.name;
                    let message = format!("Found new replica set \"{name}\"");
                    self.set_condition(PROGRESSING, "True", status::FOUND_REPLICA_SET, message);
                }
            }
            None if create => self.create_replica_set(revision),
            None => {}
        }
    }

    fn create_replica_set(&mut self, revision: i64) {
        let deployment = self.deployment;
        let hash = template_hash(&self.template, deployment.status.collision_count.unwrap_or(0));
        let template = with_hash(self.template.clone(), &hash);
        let mut selector = deployment.spec.selector.clone();
        selector.match_labels.insert(POD_TEMPLATE_HASH.to_owned(), hash.clone());
        let labels =
            template_labels(&template).map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let mut metadata = ObjectMeta {
            name: format!("{}-{hash}", deployment.metadata.name),
            namespace: deployment.metadata.namespace.clone(),
            labels,
            owner_references: vec![controller_reference::<Deployment>(&deployment.metadata)],
            ..ObjectMeta::default()
        };
        annotate(deployment, &mut metadata, revision);
        let spec = ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: deployment.spec.min_ready_seconds,
            selector,
            template: PodTemplate::of(&template),
        };
        let wanted = ReplicaSet { metadata, spec, ..ReplicaSet::default() };
        let name = wanted.metadata.name.clone();
        self.sets.push(Set { wanted, observed: None, delete: false });
        let current = self.sets.len() - 1;
        self.current = Some(current);
        let replicas = self.size_of_new();
        self.scale(current, replicas);
        self.revision = Some(revision.to_string());
        if self.has_deadline() {
            let message = format!("Created new replica set \"{name}\"");
            self.set_condition(PROGRESSING, "True", status::NEW_REPLICA_SET, message);
        }
        self.new_template = template;
    }

    /// Marks for deletion what exceeds the revision history limit, oldest revisions first.
    pub(super) fn clean_up(&mut self) {
        let Some(limit) = self.deployment.spec.revision_history_limit else { return };
        let mut old: Vec<_> =
            self.old().filter(|old| !self.sets[*old].wanted.metadata.is_being_deleted()).collect();
        let excess = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        old.sort_by_key(|old| self.sets[*old].annotation(REVISION).unwrap_or(0));
        for index in old.into_iter().take(excess) {
            let set = &mut self.sets[index];
            let seen = set.wanted.metadata.generation <= set.wanted.status.observed_generation;
            if seen && set.wanted.replicas() == 0 && set.wanted.status.replicas == 0 {
                set.delete = true;
            }
        }
    }
}

/// Copies the Deployment's annotations (the change cause among them) and raises the revision, keeping the old one in
/// the history.
fn annotate(deployment: &Deployment, metadata: &mut ObjectMeta, revision: i64) {
    for (key, value) in &deployment.metadata.annotations {
        if !NOT_COPIED.contains(&key.as_str()) {
            metadata.annotations.insert(key.clone(), value.clone());
        }
    }
    let before = metadata.annotations.get(REVISION).cloned();
    let number = before.as_ref().and_then(|before| before.parse().ok()).unwrap_or(0);
    if revision <= number {
        return;
    }
    metadata.annotations.insert(REVISION.to_owned(), revision.to_string());
    if let Some(before) = before.filter(|before| !before.is_empty()) {
        let history = metadata.annotations.entry(REVISION_HISTORY.to_owned()).or_default();
        if !history.is_empty() {
            history.push(',');
        }
        history.push_str(&before);
        while history.len() > MAX_HISTORY {
            let Some((_, rest)) = history.split_once(',') else { break };
            *history = rest.to_owned();
        }
    }
}

fn with_hash(mut template: Value, hash: &str) -> Value {
    if !template.is_object() {
        template = json!({});
    }
    let mut at = &mut template;
    for field in ["metadata", "labels"] {
        if !at[field].is_object() {
            at[field] = Value::Object(Map::new());
        }
        at = &mut at[field];
    }
    at[POD_TEMPLATE_HASH] = json!(hash);
    template
}
