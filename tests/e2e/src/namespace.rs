//! A namespace of one test: what it applies, asks and waits for there.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};
use client::{DynamicApi, GroupVersionResource, ListParams, WatchItem, WatchParams};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::process::Output;
use crate::{Host, PATIENCE, get};

/// Resources that tests look at and that live in no namespace.
const CLUSTER_SCOPED: [&str; 2] = ["nodes", "namespaces"];

/// Where one test works.
pub struct Namespace<'h> {
    /// The machine.
    pub host: &'h Host,
    /// The namespace's name.
    pub name: String,
}

impl<'h> Namespace<'h> {
    pub(crate) async fn create(host: &'h Host, name: &str) -> Result<Self> {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let api = host.client()?.dynamic(GroupVersionResource::new("", "v1", "namespaces"));
        api.create("", &object, &client::WriteOptions::default()).await.context("create the namespace")?;
        Ok(Self { host, name: name.to_owned() })
    }

    /// Objects of a resource, as `pods` or `deployments.apps`.
    pub fn api(&self, resource: &str) -> Result<DynamicApi> {
        let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
        Ok(self.host.client()?.dynamic(GroupVersionResource::new(group, "v1", plural)))
    }

    /// kubectl in this namespace: the words of a command line.
    pub async fn kubectl(&self, words: &str) -> Result<Output> {
        self.kubectl_with(words, "").await
    }

    /// The same with something on its standard input.
    pub async fn kubectl_with(&self, words: &str, input: &str) -> Result<Output> {
        let mut arguments = vec!["--namespace", &self.name];
        arguments.extend(words.split_whitespace());
        self.host.kubectl(&arguments, input).await
    }

    /// cox in this namespace.
    pub async fn cox(&self, words: &str, input: &str) -> Result<Output> {
        let mut arguments = vec!["--namespace", &self.name];
        arguments.extend(words.split_whitespace());
        self.host.cox(&arguments, input).await
    }

    /// Applies a manifest with kubectl.
    pub async fn apply(&self, manifest: &str) -> Result<String> {
        self.kubectl_with("apply -f -", manifest).await?.ok()
    }

    /// Waits until an object is as wanted, and returns it. `what` says what is waited for.
    pub async fn wait(
        &self,
        resource: &str,
        name: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let named =
            |objects: &[Value]| objects.iter().find(|object| object["metadata"]["name"] == name).cloned();
        let is_there = |objects: &[Value]| named(objects).is_some_and(|object| wanted(&object));
        let objects = self.wait_all(resource, "", &format!("{resource}/{name}: {what}"), is_there).await?;
        named(&objects).context("the object was there")
    }

    /// Waits until the objects that a label selector selects are as wanted together, and returns them.
    pub async fn wait_all(
        &self,
        resource: &str,
        labels: &str,
        what: &str,
        wanted: impl Fn(&[Value]) -> bool,
    ) -> Result<Vec<Value>> {
        let mut seen: Vec<Value> = Vec::new();
        let mut again = tokio::time::interval(std::time::Duration::from_millis(100));
        let follow = async {
            loop {
                again.tick().await;
                // A watch ends when the apiserver is killed; the next one starts from the state of then.
                if self.follow(resource, labels, &mut seen, &wanted).await.unwrap_or(false) {
                    return;
                }
            }
        };
        if tokio::time::timeout(PATIENCE, follow).await.is_err() {
            let last = serde_json::to_string_pretty(&seen)?;
            bail!("waited for {what} in vain; last seen: {last}\n{}", self.host.logs());
        }
        Ok(seen)
    }

    /// Whether the wanted state came before the watch ended.
    async fn follow(
        &self,
        resource: &str,
        labels: &str,
        seen: &mut Vec<Value>,
        wanted: &impl Fn(&[Value]) -> bool,
    ) -> Result<bool> {
        let api = self.api(resource)?;
        let namespace = if CLUSTER_SCOPED.contains(&resource) { "" } else { &self.name };
        let list = api.list(namespace, &ListParams::labels(labels)).await?;
        *seen = list.items.iter().map(|item| item.decode()).collect::<Result<_, _>>()?;
        let params = WatchParams {
            labels: labels.to_owned(),
            resource_version: list.resource_version.to_string(),
            ..WatchParams::default()
        };
        let mut changes = api.watch(namespace, &params).await?;
        loop {
            if wanted(seen) {
                return Ok(true);
            }
            let Some(change) = changes.next().await else { return Ok(false) };
            let (object, gone): (Value, bool) = match change? {
                WatchItem::Added(object) | WatchItem::Modified(object) => (object.decode()?, false),
                WatchItem::Deleted(object) => (object.decode()?, true),
                WatchItem::Bookmark { .. } => continue,
            };
            seen.retain(|known| known["metadata"]["name"] != object["metadata"]["name"]);
            if !gone {
                seen.push(object);
            }
        }
    }

    /// Waits until `count` pods with these labels are ready and no other is left, and returns them.
    pub async fn ready_pods(&self, labels: &str, count: usize) -> Result<Vec<Value>> {
        let what = format!("{count} ready pods of {labels}");
        self.wait_all("pods", labels, &what, |pods| pods.len() == count && pods.iter().all(is_ready)).await
    }

    /// The cluster address of a Service, with its port.
    pub async fn service(&self, name: &str) -> Result<String> {
        let service: Value = self.api("services")?.get(&self.name, name).await?.decode()?;
        let address = service["spec"]["clusterIP"].as_str().context("a Service has an address")?;
        Ok(format!("{address}:{}", service["spec"]["ports"][0]["port"]))
    }

    /// Asks an address until each of `count` pods has answered; every answer must be good. Returns their names.
    pub async fn answers_of(&self, address: &str, count: usize) -> Result<BTreeSet<String>> {
        let mut pods = BTreeSet::new();
        // Chance decides who answers: that one of five is missed in 400 requests happens once in 10^38.
        for _ in 0..400 {
            pods.insert(get(address, "/").await?.served_by);
            if pods.len() == count {
                return Ok(pods);
            }
        }
        bail!("{address} was answered by {pods:?} only");
    }

    /// Waits until an address answers at all: rules follow endpoints within moments.
    pub async fn first_answer(&self, address: &str) -> Result<()> {
        let mut look = tokio::time::interval(std::time::Duration::from_millis(50));
        let answered = async {
            while get(address, "/").await.is_err() {
                look.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, answered).await.with_context(|| format!("{address} does not answer"))
    }
}

/// Whether a pod is ready and stays.
pub fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    pod["metadata"]["deletionTimestamp"].is_null()
        && conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
}
