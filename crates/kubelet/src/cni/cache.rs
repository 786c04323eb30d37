//! What was added to which sandbox: one file each, and the same in memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::NetworkError;

/// All that a later DEL or CHECK needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attachment {
    /// The plugins with the configuration that each was given, in the order of ADD.
    pub plugins: Vec<Value>,
    /// The network namespace.
    pub netns: String,
    /// `CNI_ARGS`.
    pub args: String,
    /// What the last plugin returned; `None` where ADD did not come to its end.
    pub result: Option<Value>,
}

impl Attachment {
    /// The addresses in the result.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let ips = self.result.as_ref().and_then(|result| result["ips"].as_array());
        ips.into_iter()
            .flatten()
            .filter_map(|ip| ip["address"].as_str()?.split('/').next()?.parse().ok())
            .collect()
    }
}

/// The attachments by sandbox.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    entries: Mutex<HashMap<String, Attachment>>,
}

impl Cache {
    /// Reads what a predecessor left; a file that is no attachment is passed over.
    pub fn new(folder: PathBuf) -> Self {
        let mut entries = HashMap::new();
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(id) = name.strip_suffix(".json") else { continue };
            let attachment =
                std::fs::read(entry.path()).ok().and_then(|text| serde_json::from_slice(&text).ok());
            if let Some(attachment) = attachment {
                entries.insert(id.to_owned(), attachment);
            }
        }
        Self { folder, entries: Mutex::new(entries) }
    }

    pub fn get(&self, id: &str) -> Option<Attachment> {
        self.entries.lock().get(id).cloned()
    }

    pub fn ids(&self) -> Vec<String> {
        self.entries.lock().keys().cloned().collect()
    }

    pub async fn put(&self, id: &str, attachment: &Attachment) -> Result<(), NetworkError> {
        let path = self.path(id);
        let io = |source| NetworkError::Io { path: path.clone(), source };
        tokio::fs::create_dir_all(&self.folder).await.map_err(io)?;
        let text = serde_json::to_vec(attachment).map_err(|error| io(error.into()))?;
        let temporary = path.with_extension("tmp");
        tokio::fs::write(&temporary, text).await.map_err(io)?;
        tokio::fs::rename(&temporary, &path).await.map_err(io)?;
        self.entries.lock().insert(id.to_owned(), attachment.clone());
        Ok(())
    }

    pub async fn remove(&self, id: &str) -> Result<(), NetworkError> {
        let path = self.path(id);
        match tokio::fs::remove_file(&path).await {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(NetworkError::Io { path, source }),
        }
        self.entries.lock().remove(id);
        Ok(())
    }

    fn path(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }
}
