//! `cox rollout`: follows and steers the roll-out of a Deployment. What is said and done is that of kubectl.

use client::{ListParams, PatchOptions, PatchType, WatchItem, WatchParams};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::Session;
use super::logs::selector;
use super::target::{Target, parse, resource};
use crate::cli::{Global, Objects, RolloutAction, RolloutArgs};
use crate::error::CoxError;
use crate::output::Out;

/// Where a ReplicaSet says which revision of its Deployment it is.
const REVISION: &str = "deployment.kubernetes.io/revision";
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

pub(crate) async fn rollout(global: &Global, args: &RolloutArgs, out: &mut Out) -> Result<(), CoxError> {
    let session = Session::open(global)?;
    let objects = match &args.action {
        RolloutAction::Status(objects)
        | RolloutAction::History(objects)
        | RolloutAction::Undo { objects, .. }
        | RolloutAction::Pause(objects)
        | RolloutAction::Resume(objects)
        | RolloutAction::Restart(objects) => objects,
    };
    for deployment in deployments(&session, objects)? {
        match &args.action {
            RolloutAction::Status(_) => deployment.follow(out).await?,
            RolloutAction::History(_) => deployment.history(out).await?,
            RolloutAction::Undo { to_revision, .. } => {
                deployment.undo(*to_revision).await?;
                deployment.done("rolled back", out);
            }
            RolloutAction::Pause(_) => {
                deployment.patch(PatchType::Merge, &json!({"spec": {"paused": true}})).await?;
                deployment.done("paused", out);
            }
            RolloutAction::Resume(_) => {
                deployment.patch(PatchType::Merge, &json!({"spec": {"paused": null}})).await?;
                deployment.done("resumed", out);
            }
            RolloutAction::Restart(_) => {
                let now = api::time::Time(jiff::Timestamp::now()).to_string();
                let template =
                    json!({"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": now}}});
                deployment.patch(PatchType::Merge, &json!({"spec": {"template": template}})).await?;
                deployment.done("restarted", out);
            }
        }
    }
    Ok(())
}

/// One Deployment of the command line.
struct Deployment<'a> {
    session: &'a Session,
    target: Target,
    name: String,
}

fn deployments<'a>(session: &'a Session, objects: &Objects) -> Result<Vec<Deployment<'a>>, CoxError> {
    let each = |target: Target| match &target.name {
        _ if *target.def.plural != *"deployments" => {
            Err(CoxError::Failed(format!("{} have no roll-outs here", target.def.qualified())))
        }
        Some(name) => Ok(Deployment { session, name: name.clone(), target }),
        None => Err(CoxError::Usage("name the Deployment".to_owned())),
    };
    parse(&objects.objects)?.into_iter().map(each).collect()
}

impl Deployment<'_> {
    fn done(&self, what: &str, out: &mut Out) {
        out.line(&format!("{} {what}", self.target.label(&self.name)));
    }

    async fn get(&self) -> Result<Value, CoxError> {
        Ok(self.target.api(&self.session.client).get(&self.session.namespace, &self.name).await?.decode()?)
    }

    async fn patch(&self, r#type: PatchType, patch: &Value) -> Result<(), CoxError> {
        let patch = (r#type, patch.to_string().into_bytes().into());
        let api = self.target.api(&self.session.client);
        api.patch(&self.session.namespace, &self.name, "", patch, &PatchOptions::default()).await?;
        Ok(())
    }

    /// Shows how far it is, each time that changes, until it is complete or has failed.
    async fn follow(&self, out: &mut Out) -> Result<(), CoxError> {
        // A Deployment that is not there is an error, not something to wait for.
        self.get().await?;
        let params = WatchParams { fields: format!("metadata.name={}", self.name), ..WatchParams::default() };
        let api = self.target.api(&self.session.client);
        let mut changes = api.watch(&self.session.namespace, &params).await?;
        let mut said = String::new();
        while let Some(change) = changes.next().await {
            let object: Value = match change? {
                WatchItem::Added(object) | WatchItem::Modified(object) => object.decode()?,
                WatchItem::Deleted(_) => return Err(CoxError::Failed(format!("{} was deleted", self.name))),
                WatchItem::Bookmark { .. } => continue,
            };
            let (text, complete) = progress(&self.name, &object).map_err(CoxError::Failed)?;
            if text != said {
                out.line(&text);
                said = text;
            }
            if complete {
                return Ok(());
            }
        }
        Err(CoxError::Failed("the watch ended before the roll-out did".to_owned()))
    }

    /// The ReplicaSets that the Deployment owns, by revision.
    async fn revisions(&self, deployment: &Value) -> Result<Vec<(i64, Value)>, CoxError> {
        let api = Target { def: resource("replicasets.apps")?, name: None }.api(&self.session.client);
        let params = ListParams::labels(selector(deployment).unwrap_or_default());
        let mut revisions = Vec::new();
        for object in api.list(&self.session.namespace, &params).await?.items {
            let set: Value = object.decode()?;
            let owners = set["metadata"]["ownerReferences"].as_array();
            let owned =
                owners.into_iter().flatten().any(|owner| owner["uid"] == deployment["metadata"]["uid"]);
            let revision =
                set["metadata"]["annotations"][REVISION].as_str().and_then(|text| text.parse().ok());
            if let (true, Some(revision)) = (owned, revision) {
                revisions.push((revision, set));
            }
        }
        revisions.sort_by_key(|(revision, _)| *revision);
        Ok(revisions)
    }

    async fn history(&self, out: &mut Out) -> Result<(), CoxError> {
        let deployment = self.get().await?;
        out.line(&self.target.label(&self.name));
        let mut rows = vec![vec!["REVISION".to_owned(), "CHANGE-CAUSE".to_owned()]];
        for (revision, set) in self.revisions(&deployment).await? {
            let cause = set["metadata"]["annotations"][CHANGE_CAUSE].as_str().unwrap_or("<none>");
            rows.push(vec![revision.to_string(), cause.to_owned()]);
        }
        out.table(&rows);
        Ok(())
    }

    async fn undo(&self, to: i64) -> Result<(), CoxError> {
        let deployment = self.get().await?;
        if deployment["spec"]["paused"] == true {
            let text = format!("{} is paused: resume it first", self.target.label(&self.name));
            return Err(CoxError::Failed(text));
        }
        let revisions = self.revisions(&deployment).await?;
        let patch = rollback(&deployment, &revisions, to).map_err(CoxError::Failed)?;
        self.patch(PatchType::Json, &patch).await
    }
}

/// What to say about a Deployment, and whether its roll-out is complete.
fn progress(name: &str, deployment: &Value) -> Result<(String, bool), String> {
    let number = |path: &str| deployment.pointer(path).and_then(Value::as_i64).unwrap_or(0);
    if number("/metadata/generation") > number("/status/observedGeneration") {
        return Ok(("Waiting for deployment spec update to be observed...".to_owned(), false));
    }
    let conditions = deployment["status"]["conditions"].as_array();
    let late = conditions.into_iter().flatten().any(|condition| {
        condition["type"] == "Progressing" && condition["reason"] == "ProgressDeadlineExceeded"
    });
    if late {
        return Err(format!("deployment \"{name}\" exceeded its progress deadline"));
    }
    let (wanted, total) = (number("/spec/replicas"), number("/status/replicas"));
    let (updated, available) = (number("/status/updatedReplicas"), number("/status/availableReplicas"));
    let waiting = format!("Waiting for deployment \"{name}\" rollout to finish:");
    Ok(if updated < wanted {
        (format!("{waiting} {updated} out of {wanted} new replicas have been updated..."), false)
    } else if total > updated {
        (format!("{waiting} {} old replicas are pending termination...", total - updated), false)
    } else if available < updated {
        (format!("{waiting} {available} of {updated} updated replicas are available..."), false)
    } else {
        (format!("deployment \"{name}\" successfully rolled out"), true)
    })
}

/// The JSON patch that makes the template that of an earlier revision (0: the one before the latest).
fn rollback(deployment: &Value, revisions: &[(i64, Value)], to: i64) -> Result<Value, String> {
    let found = match to {
        0 => revisions.iter().rev().nth(1),
        to => revisions.iter().find(|(revision, _)| *revision == to),
    };
    let Some((revision, set)) = found else {
        return Err(match to {
            0 => "no rollout history found".to_owned(),
            to => format!("unable to find specified revision {to} in history"),
        });
    };
    let mut template = set["spec"]["template"].clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove("pod-template-hash");
    }
    if template == deployment["spec"]["template"] {
        return Err(format!("skipped rollback (current template already matches revision {revision})"));
    }
    Ok(json!([
        // The template must be the one that was compared.
        {"op": "test", "path": "/spec/template", "value": deployment["spec"]["template"]},
        {"op": "replace", "path": "/spec/template", "value": template},
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(updated: i64, total: i64, available: i64) -> Value {
        json!({
            "metadata": {"generation": 2}, "spec": {"replicas": 3},
            "status": {"observedGeneration": 2, "updatedReplicas": updated, "replicas": total,
                "availableReplicas": available},
        })
    }

    #[test]
    fn progress_is_told_as_kubectl_tells_it() {
        let tell = |deployment: &Value| progress("web", deployment).expect("no failure");
        assert!(tell(&deployment(1, 4, 3)).0.ends_with("1 out of 3 new replicas have been updated..."));
        assert!(tell(&deployment(3, 4, 3)).0.ends_with("1 old replicas are pending termination..."));
        assert!(tell(&deployment(3, 3, 2)).0.ends_with("2 of 3 updated replicas are available..."));
        assert_eq!(
            tell(&deployment(3, 3, 3)),
            ("deployment \"web\" successfully rolled out".to_owned(), true)
        );
        let mut unseen = deployment(3, 3, 3);
        unseen["metadata"]["generation"] = json!(3);
        assert!(!tell(&unseen).1);
        let mut late = deployment(1, 3, 2);
        late["status"]["conditions"] = json!([{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]);
        assert!(progress("web", &late).is_err());
    }

    #[test]
    fn a_rollback_takes_the_template_of_the_revision_without_its_hash() {
        let template = |image: &str| json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"image": image}]}});
        let set = |image: &str| {
            let mut template = template(image);
            template["metadata"]["labels"]["pod-template-hash"] = json!("abc");
            json!({"spec": {"template": template}})
        };
        let now = json!({"spec": {"template": template("new")}});
        let revisions = [(1, set("old")), (2, set("new"))];
        let patch = rollback(&now, &revisions, 0).expect("there is an earlier revision");
        assert_eq!(patch[1]["value"], template("old"));
        assert_eq!(rollback(&now, &revisions, 1).expect("revision 1 is there"), patch);
        assert!(
            rollback(&now, &revisions, 2).expect_err("it is the current one").contains("already matches")
        );
        assert!(rollback(&now, &revisions, 7).is_err());
        assert!(rollback(&now, &revisions[1..], 0).is_err());
    }
}
