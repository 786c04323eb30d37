//! Static pods: the files of a folder, read every few seconds.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use client::WorkQueue;
use component::{Shutdown, spawn};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tracing::{info, warn};

use super::{MIRROR, Pods, StaticPod};

/// Looks after the static pods.
pub struct Folder {
    /// The folder.
    pub path: PathBuf,
    /// Between two looks.
    pub period: Duration,
    /// The name of the node.
    pub node: String,
    /// Where they are put.
    pub pods: Pods,
    /// Who is told.
    pub queue: WorkQueue<String>,
}

impl Folder {
    /// Reads once, so that no static pod that runs looks like one that nobody wants, and then goes on reading.
    pub async fn start(self, shutdown: &Shutdown) {
        let mut complaints = HashMap::new();
        self.look(&mut complaints).await;
        let stop = shutdown.clone();
        spawn(shutdown, "static-pods", async move {
            let mut tick = tokio::time::interval(self.period.max(Duration::from_secs(1)));
            loop {
                tokio::select! {
                    () = stop.triggered() => return,
                    _ = tick.tick() => self.look(&mut complaints).await,
                }
            }
        });
    }

    async fn look(&self, complaints: &mut HashMap<PathBuf, String>) {
        let (path, node) = (self.path.clone(), self.node.clone());
        let Ok((pods, wrong)) = tokio::task::spawn_blocking(move || read(&path, &node)).await else { return };
        for (path, why) in &wrong {
            if complaints.get(path) != Some(why) {
                warn!(path = %path.display(), %why, "a static pod cannot be read");
            }
        }
        *complaints = wrong;
        let changed = self.pods.set_static(pods);
        if !changed.is_empty() {
            info!(folder = %self.path.display(), "the static pods have changed");
        }
        for uid in changed {
            self.queue.add(uid);
        }
    }
}

type Read = (BTreeMap<String, StaticPod>, HashMap<PathBuf, String>);

/// Reads the files of a folder: uid to pod, and what is wrong with the others. Blocking.
fn read(folder: &Path, node: &str) -> Read {
    let (mut pods, mut wrong) = Read::default();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        if is_hidden || !path.is_file() {
            continue;
        }
        let parsed = std::fs::read_to_string(&path)
            .map_err(|error| error.to_string())
            .and_then(|text| parse(&text, &path.to_string_lossy(), node));
        match parsed {
            Ok(pod) => {
                pods.insert(pod.pod.metadata.uid.clone(), pod);
            }
            Err(why) => {
                wrong.insert(path, why);
            }
        }
    }
    (pods, wrong)
}

/// A pod from its file, YAML or JSON, with the name and uid that it has on this node.
fn parse(text: &str, path: &str, node: &str) -> Result<StaticPod, String> {
    let mut mirror: Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    if mirror["kind"] != "Pod" || mirror["apiVersion"] != "v1" {
        return Err("not a Pod of v1".to_owned());
    }
    let name = mirror["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if name.is_empty() || mirror["spec"]["containers"].as_array().is_none_or(Vec::is_empty) {
        return Err("a pod needs a name and containers".to_owned());
    }
    let mut digest = Sha256::new();
    for part in [node, path, text] {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    let hash: String = digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    mirror["metadata"]["name"] = format!("{name}-{}", node.to_lowercase()).into();
    if mirror["metadata"]["namespace"].as_str().is_none_or(str::is_empty) {
        mirror["metadata"]["namespace"] = "default".into();
    }
    mirror["spec"]["nodeName"] = node.into();
    let forever = json!({"operator": "Exists", "effect": "NoExecute"});
    match mirror["spec"]["tolerations"].as_array_mut() {
        Some(tolerations) => tolerations.push(forever),
        None => mirror["spec"]["tolerations"] = json!([forever]),
    }
    for (key, value) in [("config.source", "file"), ("config.hash", hash.as_str())] {
        mirror["metadata"]["annotations"][format!("kubernetes.io/{key}")] = value.into();
    }
    let mut own = mirror.clone();
    own["metadata"]["uid"] = hash.as_str().into();
    mirror["metadata"]["annotations"][MIRROR] = hash.as_str().into();
    let pod = serde_json::from_value(own).map_err(|error| error.to_string())?;
    Ok(StaticPod { pod, mirror })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: &str =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: c, image: a}]}";

    #[test]
    fn a_file_becomes_a_pod_of_this_node() {
        let StaticPod { pod, mirror } = parse(WEB, "/etc/web.yaml", "N1").expect("a pod");
        assert_eq!(pod.key(), "default/web-n1");
        assert_eq!(pod.metadata.annotations["kubernetes.io/config.hash"], pod.metadata.uid);
        assert!(!pod.metadata.annotations.contains_key(MIRROR));
        assert_eq!(mirror["metadata"]["annotations"][MIRROR], pod.metadata.uid);
        assert_eq!(mirror["spec"]["nodeName"], "N1");
        let again = parse(WEB, "/etc/web.yaml", "N1").expect("a pod");
        assert_eq!(again.pod, pod, "the same file is the same pod");
        let other = parse(&WEB.replace("image: a", "image: b"), "/etc/web.yaml", "N1").expect("a pod");
        assert_ne!(other.pod.metadata.uid, pod.metadata.uid, "another one is another");
    }

    #[test]
    fn what_is_no_pod_is_complained_of() {
        let folder = tempfile::tempdir().expect("a folder");
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("it is written");
        write("web.yaml", WEB);
        write(".hidden", "x");
        write("bad.yaml", "kind: Service");
        let (pods, wrong) = read(folder.path(), "n1");
        assert_eq!(pods.len(), 1);
        assert_eq!(wrong[&folder.path().join("bad.yaml")], "not a Pod of v1");
        assert_eq!(wrong.len(), 1);
    }
}
