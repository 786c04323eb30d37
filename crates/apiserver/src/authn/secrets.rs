//! Secrets of type `kubernetes.io/service-account-token`: a token is put into them, and they go with their account.
//!
//! [`plan`] says what is to be done with one Secret; a task looks at every Secret of the type when it, or a service
//! account, changes.

use std::sync::Arc;

use api::status::Status;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use component::{Context, SharedClock};
use serde_json::{Value, json};
use store::{Bucket, EventKind, Key, Snapshot, Watch};
use tracing::debug;

use super::accounts::{Reference, legacy_token};
use super::keys::SigningKey;
use crate::follow::{self, Failure};
use crate::pipeline::{
    Body, DeleteOptions, PatchType, Pipeline, RequestContext, Target, WriteOptions, object_of,
};

const TYPE: &str = "kubernetes.io/service-account-token";
const NAME: &str = "kubernetes.io/service-account.name";
const UID: &str = "kubernetes.io/service-account.uid";
const MANAGER: &str = "tokens-controller";

/// What is to be done with a Secret.
#[derive(Debug, PartialEq)]
enum Action {
    /// It is as it should be, or none of ours.
    Nothing,
    /// Its account is gone.
    Delete,
    /// It gets this.
    Fill(Value),
}

/// `account` is the service account of the Secret's annotation, where it exists.
fn plan(secret: &Value, account: Option<&Reference>, key: &SigningKey, authority: &str) -> Action {
    let metadata = &secret["metadata"];
    let text = |name: &str| metadata[name].as_str().unwrap_or_default();
    if secret["type"] != TYPE || !metadata["deletionTimestamp"].is_null() {
        return Action::Nothing;
    }
    let annotated = metadata["annotations"][UID].as_str().unwrap_or_default();
    let Some(account) = account.filter(|account| annotated.is_empty() || annotated == account.uid) else {
        return Action::Delete;
    };
    let namespace = text("namespace");
    let mut data = json!({});
    let wanted = [("ca.crt", authority), ("namespace", namespace)];
    for (name, value) in wanted.map(|(name, value)| (name, STANDARD.encode(value))) {
        if secret["data"][name] != value.as_str() {
            data[name] = value.into();
        }
    }
    if secret["data"]["token"].as_str().unwrap_or_default().is_empty() {
        match legacy_token(key, namespace, text("name"), account) {
            Some(token) => data["token"] = STANDARD.encode(token).into(),
            None => return Action::Nothing,
        }
    }
    if data == json!({}) && annotated == account.uid {
        return Action::Nothing;
    }
    Action::Fill(json!({"metadata": {"annotations": {UID: account.uid}}, "data": data}))
}

/// What the task needs.
pub(crate) struct Tokens {
    pub(crate) pipeline: Pipeline,
    pub(crate) key: Arc<SigningKey>,
    /// The certificate of the cluster's authority.
    pub(crate) authority: String,
}

/// Keeps the Secrets current until shutdown.
pub(crate) fn start(tokens: Tokens, context: &Context) {
    let (tokens, clock) = (Arc::new(tokens), context.clock.clone());
    follow::keep(context, "service-account-secrets", "fill the Secret of a service account", move || {
        let (tokens, clock) = (tokens.clone(), clock.clone());
        async move { tokens.follow(&clock).await }
    });
}

impl Tokens {
    async fn follow(&self, clock: &SharedClock) -> Result<(), Failure> {
        let store = self.pipeline.store();
        let snapshot = store.snapshot();
        let watch = |bucket: &str| -> Result<Watch, Failure> {
            store.watch(&Bucket::from(bucket), snapshot.revision(), None).map_err(Failure::Read)
        };
        let (mut secrets, mut accounts) = (watch("secrets")?, watch("serviceaccounts")?);
        self.all(&snapshot, None, clock).await?;
        loop {
            tokio::select! {
                event = secrets.next() => {
                    let event = event.map_err(Failure::Read)?;
                    if event.kind == EventKind::Put {
                        self.one(&event.entry.key, clock).await?;
                    }
                }
                event = accounts.next() => {
                    let event = event.map_err(Failure::Read)?;
                    if event.kind == EventKind::Delete {
                        self.all(&store.snapshot(), Some(event.entry.key.namespace()), clock).await?;
                    }
                }
            }
        }
    }

    async fn all(
        &self,
        snapshot: &Snapshot,
        namespace: Option<&str>,
        clock: &SharedClock,
    ) -> Result<(), Failure> {
        let entries = snapshot.list(&Bucket::from("secrets"), namespace, None);
        let keys: Vec<Key> = entries
            .filter(|entry| std::str::from_utf8(&entry.value).is_ok_and(|text| text.contains(TYPE)))
            .map(|entry| entry.key.clone())
            .collect();
        for key in keys {
            self.one(&key, clock).await?;
        }
        Ok(())
    }

    async fn one(&self, key: &Key, clock: &SharedClock) -> Result<(), Failure> {
        let snapshot = self.pipeline.store().snapshot();
        let Some(Ok(secret)) = snapshot.get(key).map(|entry| object_of(entry)) else { return Ok(()) };
        let name = secret["metadata"]["annotations"][NAME].as_str().unwrap_or_default();
        let account = snapshot.get(&Key::new(&Bucket::from("serviceaccounts"), key.namespace(), name));
        let account = account.and_then(|entry| object_of(entry).ok()).map(|account| Reference {
            name: name.to_owned(),
            uid: account["metadata"]["uid"].as_str().unwrap_or_default().to_owned(),
        });
        let action = plan(&secret, account.as_ref(), &self.key, &self.authority);
        let uid = secret["metadata"]["uid"].as_str().map(str::to_owned);
        self.execute(key, action, uid, clock).await.map_err(Failure::Write)
    }

    async fn execute(
        &self,
        key: &Key,
        action: Action,
        uid: Option<String>,
        clock: &SharedClock,
    ) -> Result<(), Status> {
        let Some(def) = self.pipeline.registry().resource("", "v1", "secrets") else { return Ok(()) };
        let target = Target::object(def, Some(key.namespace()), key.name());
        let context = RequestContext::of_server(MANAGER, clock.now());
        let done = match action {
            Action::Nothing => return Ok(()),
            Action::Delete => {
                let options = DeleteOptions { uid, ..DeleteOptions::default() };
                self.pipeline.delete(&context, &target, &options).await.map(drop)
            }
            Action::Fill(patch) => {
                let body = Body::json(patch.to_string());
                let options = WriteOptions::default();
                self.pipeline.patch(&context, &target, PatchType::Merge, body, &options).await.map(drop)
            }
        };
        debug!(secret = %key, "brought the Secret of a service account up to date");
        match done {
            Err(status) if !status.is_not_found() && !status.is_conflict() => Err(status),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_filled_once_and_goes_with_its_account() {
        let key = SigningKey::generate().unwrap();
        let account = |uid: &str| Reference { name: "a".to_owned(), uid: uid.to_owned() };
        let mut secret = json!({
            "type": TYPE,
            "metadata": {"name": "s", "namespace": "ns", "annotations": {NAME: "a"}},
            "data": {"more": "eA=="},
        });
        let Action::Fill(patch) = plan(&secret, Some(&account("1")), &key, "CA") else {
            panic!("to be filled")
        };
        assert_eq!(patch["data"]["namespace"], STANDARD.encode("ns"));
        assert_eq!(patch["data"]["ca.crt"], STANDARD.encode("CA"));
        secret["metadata"]["annotations"][UID] = patch["metadata"]["annotations"][UID].clone();
        for (name, value) in patch["data"].as_object().unwrap() {
            secret["data"][name] = value.clone();
        }
        assert_eq!(plan(&secret, Some(&account("1")), &key, "CA"), Action::Nothing);
        assert_eq!(plan(&secret, Some(&account("2")), &key, "CA"), Action::Delete, "made anew");
        assert_eq!(plan(&secret, None, &key, "CA"), Action::Delete);
        secret["type"] = "Opaque".into();
        assert_eq!(plan(&secret, None, &key, "CA"), Action::Nothing);
    }
}
