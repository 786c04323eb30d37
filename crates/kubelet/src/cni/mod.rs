//! The pod network by the Container Network Interface: plugins are executed as its specification says.
//!
//! The configuration is the first file in the configuration folder; [`Network::configure`] writes ours, made from
//! the node's pod CIDR: a bridge of this node's own, addresses from `host-local`, ports of the node by `portmap`.
//! What was added is remembered in one file per sandbox ([`cache`]), with the plugins and the result, so that it
//! can be taken away again after a restart, whatever the configuration is then. [`exec`] runs one plugin.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::RwLock;

use crate::runtime::PortMapping;

mod cache;
mod exec;
pub mod host;

use cache::Attachment;
use exec::{Command, Invocation};

/// No plugin takes longer; a hanging one must not hang its pod for good.
const PLUGIN_TIMEOUT: Duration = Duration::from_secs(60);
/// The version of the specification that our configuration is written in.
const CNI_VERSION: &str = "1.0.0";
/// The name of our network.
const NETWORK_NAME: &str = "coxswain";
/// The name of the interface in the pod.
const INTERFACE: &str = "eth0";

/// Why a pod has no network.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The node has no pod CIDR yet, and there is no configuration of somebody else's.
    #[error("cni plugin not initialized: no network configuration in {0}")]
    NotConfigured(PathBuf),
    /// The configuration is no configuration.
    #[error("network configuration {path} is not valid: {message}")]
    BadConfiguration {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A plugin failed.
    #[error("plugin type=\"{plugin}\" failed ({command}): {message}")]
    Plugin {
        /// Its type.
        plugin: String,
        /// `add`, `delete` or `check`.
        command: &'static str,
        /// What it said.
        message: String,
    },
    /// A file could not be read or written.
    #[error("cannot access {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A pod that is to be attached.
#[derive(Debug, Clone)]
pub struct Pod<'a> {
    /// The sandbox.
    pub container_id: &'a str,
    /// Its network namespace.
    pub netns: &'a str,
    /// Of the pod.
    pub namespace: &'a str,
    /// Of the pod.
    pub name: &'a str,
    /// Of the pod.
    pub uid: &'a str,
    /// Ports of the node.
    pub port_mappings: &'a [PortMapping],
}

/// The name of the bridge of a node: its own, so that several nodes of one machine do not meet.
pub fn bridge_name(node: &str) -> String {
    let digest = Sha256::digest(node.as_bytes());
    format!("cox-{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2])
}

/// Where things are.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// The plugins.
    pub bin_dir: PathBuf,
    /// The configuration.
    pub conf_dir: PathBuf,
    /// What was added, and which addresses are taken.
    pub state_dir: PathBuf,
    /// The bridge.
    pub bridge: String,
}

/// The pod network of one node.
#[derive(Debug)]
pub struct Network {
    config: NetworkConfig,
    attachments: cache::Cache,
    /// Adding holds it for reading, collecting garbage for writing: what is being added is never garbage.
    gate: RwLock<()>,
}

impl Network {
    /// A network with these folders; nothing is touched yet.
    pub fn new(config: NetworkConfig) -> Self {
        let attachments = cache::Cache::new(config.state_dir.join("results"));
        Self { config, attachments, gate: RwLock::new(()) }
    }

    /// Writes our configuration for these pod CIDRs, unless it is there.
    pub async fn configure(&self, pod_cidrs: &[String]) -> Result<(), NetworkError> {
        let path = self.config.conf_dir.join("10-coxswain.conflist");
        let text = conflist(&self.config.bridge, &self.config.state_dir.join("networks"), pod_cidrs);
        if tokio::fs::read_to_string(&path).await.is_ok_and(|present| present == text) {
            return Ok(());
        }
        let io = |source| NetworkError::Io { path: path.clone(), source };
        tokio::fs::create_dir_all(&self.config.conf_dir).await.map_err(io)?;
        let temporary = path.with_extension("tmp");
        tokio::fs::write(&temporary, text).await.map_err(io)?;
        tokio::fs::rename(&temporary, &path).await.map_err(io)
    }

    /// Whether our configuration has been written.
    pub async fn is_configured(&self) -> bool {
        tokio::fs::try_exists(self.config.conf_dir.join("10-coxswain.conflist")).await.unwrap_or(false)
    }

    /// The bridge of this node.
    pub fn bridge(&self) -> &str {
        &self.config.bridge
    }

    /// The addresses that a sandbox was given, if it still has a network.
    pub fn addresses(&self, container_id: &str) -> Option<Vec<IpAddr>> {
        self.attachments.get(container_id).map(|attachment| attachment.addresses())
    }

    /// Holds back the garbage collector while a sandbox is made and attached.
    pub async fn adding(&self) -> tokio::sync::RwLockReadGuard<'_, ()> {
        self.gate.read().await
    }

    /// Attaches a pod: the loopback interface and the chain of plugins.
    pub async fn add(&self, pod: &Pod<'_>) -> Result<Vec<IpAddr>, NetworkError> {
        let list = self.load().await?;
        let mut attachment = Attachment {
            plugins: chain(&list, pod.port_mappings),
            netns: pod.netns.to_owned(),
            args: format!(
                "IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID={}",
                pod.namespace, pod.name, pod.container_id, pod.uid
            ),
            result: None,
        };
        // Written before the first plugin runs: what is half added must be found again.
        self.attachments.put(pod.container_id, &attachment).await?;
        let loopback =
            serde_json::json!({"cniVersion": CNI_VERSION, "name": "cni-loopback", "type": "loopback"});
        let (loopback, result) = tokio::join!(
            self.invoke(Command::Add, pod.container_id, &attachment, &loopback, "lo"),
            self.add_chain(pod.container_id, &attachment)
        );
        loopback?;
        attachment.result = Some(result?);
        self.attachments.put(pod.container_id, &attachment).await?;
        Ok(attachment.addresses())
    }

    async fn add_chain(&self, id: &str, attachment: &Attachment) -> Result<Value, NetworkError> {
        let mut result = Value::Null;
        for plugin in &attachment.plugins {
            let mut plugin = plugin.clone();
            if !result.is_null() {
                plugin["prevResult"] = result;
            }
            result = self.invoke(Command::Add, id, attachment, &plugin, INTERFACE).await?;
        }
        Ok(result)
    }

    /// Takes a sandbox's network away; succeeds where there is none. `alive` says whether its namespace is still
    /// there.
    pub async fn del(&self, container_id: &str, alive: bool) -> Result<(), NetworkError> {
        let Some(mut attachment) = self.attachments.get(container_id) else { return Ok(()) };
        if !alive {
            attachment.netns.clear();
        }
        for plugin in attachment.plugins.iter().rev() {
            let mut plugin = plugin.clone();
            if let Some(result) = &attachment.result {
                plugin["prevResult"] = result.clone();
            }
            self.invoke(Command::Del, container_id, &attachment, &plugin, INTERFACE).await?;
        }
        self.attachments.remove(container_id).await
    }

    /// Asks the plugins whether a sandbox's network is as it was made.
    pub async fn check(&self, container_id: &str) -> Result<(), NetworkError> {
        let Some(attachment) = self.attachments.get(container_id) else { return Ok(()) };
        for plugin in &attachment.plugins {
            let mut plugin = plugin.clone();
            plugin["prevResult"] = attachment.result.clone().unwrap_or_default();
            self.invoke(Command::Check, container_id, &attachment, &plugin, INTERFACE).await?;
        }
        Ok(())
    }

    /// Gives back what sandboxes held that are gone. `live` is asked while nothing is being added.
    pub async fn collect_garbage<F, E>(&self, live: impl FnOnce() -> F) -> Result<usize, E>
    where
        F: Future<Output = Result<Vec<String>, E>>,
        E: From<NetworkError>,
    {
        let _gate = self.gate.write().await;
        let live = live().await?;
        let mut collected = 0;
        for id in self.attachments.ids() {
            if !live.contains(&id) {
                self.del(&id, false).await?;
                collected += 1;
            }
        }
        collected += self.free_addresses(&live).await.map_err(E::from)?;
        Ok(collected)
    }

    /// `host-local` keeps one file per address, whose first line is the sandbox.
    async fn free_addresses(&self, live: &[String]) -> Result<usize, NetworkError> {
        let folder = self.config.state_dir.join("networks").join(NETWORK_NAME);
        let io = |source| NetworkError::Io { path: folder.clone(), source };
        let mut entries = match tokio::fs::read_dir(&folder).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(io(error)),
        };
        let mut freed = 0;
        while let Some(entry) = entries.next_entry().await.map_err(io)? {
            if entry.file_name().to_string_lossy().parse::<IpAddr>().is_err() {
                continue;
            }
            let text = tokio::fs::read_to_string(entry.path()).await.map_err(io)?;
            let owner = text.lines().next().unwrap_or_default().trim();
            if !live.iter().any(|id| id == owner) {
                tokio::fs::remove_file(entry.path()).await.map_err(io)?;
                freed += 1;
            }
        }
        Ok(freed)
    }

    async fn invoke(
        &self,
        command: Command,
        id: &str,
        attachment: &Attachment,
        plugin: &Value,
        interface: &str,
    ) -> Result<Value, NetworkError> {
        let invocation = Invocation {
            command,
            container_id: id,
            netns: &attachment.netns,
            interface,
            args: &attachment.args,
            bin_dir: &self.config.bin_dir,
            timeout: PLUGIN_TIMEOUT,
        };
        exec::run(&invocation, plugin).await
    }

    async fn load(&self) -> Result<Value, NetworkError> {
        let folder = &self.config.conf_dir;
        let mut files = list_configurations(folder).await;
        files.sort();
        let path = files.into_iter().next().ok_or_else(|| NetworkError::NotConfigured(folder.clone()))?;
        let text =
            tokio::fs::read(&path).await.map_err(|source| NetworkError::Io { path: path.clone(), source })?;
        serde_json::from_slice(&text).map_err(|error| NetworkError::BadConfiguration {
            path: path.clone(),
            message: error.to_string(),
        })
    }
}

async fn list_configurations(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let Ok(mut entries) = tokio::fs::read_dir(folder).await else { return files };
    while let Ok(Some(entry)) = entries.next_entry().await {
        let path = entry.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("conflist" | "conf" | "json")) {
            files.push(path);
        }
    }
    files
}

/// The plugins of a configuration as each of them is to be given it. `portmap` is left out where no port is
/// mapped: it would only cost a process.
fn chain(list: &Value, ports: &[PortMapping]) -> Vec<Value> {
    let plugins = match list.get("plugins").and_then(Value::as_array) {
        Some(plugins) => plugins.clone(),
        None => vec![list.clone()],
    };
    let mut chain = Vec::new();
    for mut plugin in plugins {
        let maps_ports = plugin.pointer("/capabilities/portMappings") == Some(&Value::Bool(true));
        if maps_ports && ports.is_empty() && plugin["type"] == "portmap" {
            continue;
        }
        plugin["cniVersion"] = list.get("cniVersion").cloned().unwrap_or_else(|| CNI_VERSION.into());
        plugin["name"] = list.get("name").cloned().unwrap_or_else(|| NETWORK_NAME.into());
        if let Some(object) = plugin.as_object_mut() {
            object.remove("capabilities");
        }
        if maps_ports {
            plugin["runtimeConfig"] = json!({ "portMappings": ports });
        }
        chain.push(plugin);
    }
    chain
}

/// Our configuration. Nothing is masqueraded here: kube-proxy's own table does it for what leaves the cluster.
fn conflist(bridge: &str, data_dir: &Path, pod_cidrs: &[String]) -> String {
    let ranges: Vec<Value> = pod_cidrs.iter().map(|cidr| json!([{ "subnet": cidr }])).collect();
    let routes: Vec<Value> = pod_cidrs
        .iter()
        .map(|cidr| json!({ "dst": if cidr.contains(':') { "::/0" } else { "0.0.0.0/0" } }))
        .collect();
    let list = json!({
        "cniVersion": CNI_VERSION,
        "name": NETWORK_NAME,
        "plugins": [
            {
                "type": "bridge",
                "bridge": bridge,
                "isGateway": true,
                "hairpinMode": true,
                "ipMasq": false,
                "ipam": {
                    "type": "host-local",
                    "dataDir": data_dir,
                    "ranges": ranges,
                    "routes": routes,
                },
            },
            { "type": "portmap", "snat": true, "capabilities": { "portMappings": true } },
        ],
    });
    format!("{list:#}\n")
}

#[cfg(test)]
mod tests;
