//! Where the apiserver is and who we are: a standard kubeconfig file, read and written.
//!
//! [`Kubeconfig`] is the connection that the current context names, with every file read in. The file's own form
//! stays private, so that nothing depends on parts of it that we do not use.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// How a kubeconfig could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// The file, or a file that it names.
    #[error("read {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file.
    #[error("write {path}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not YAML, or not a kubeconfig.
    #[error("{path} is not a kubeconfig: {message}")]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// A name that it uses is not defined in it.
    #[error("kubeconfig: no {what} \"{name}\"")]
    Missing {
        /// `context`, `cluster` or `user`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Embedded data is not base64.
    #[error("kubeconfig: {field} is not base64")]
    Base64 {
        /// Which field.
        field: &'static str,
        /// Why.
        #[source]
        source: base64::DecodeError,
    },
}

/// A certificate and its private key, PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, followed by intermediates if there are any.
    pub certificate: Vec<u8>,
    /// The private key.
    pub key: Vec<u8>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity { .. }")
    }
}

/// Where the apiserver is and who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubeconfig {
    /// As `https://127.0.0.1:6443`.
    pub server: String,
    /// PEM certificates of the authorities that the server's certificate must come from.
    pub certificate_authority: Vec<u8>,
    /// The name in the server's certificate, where it is not that of `server`.
    pub tls_server_name: Option<String>,
    /// Our client certificate.
    pub identity: Option<Identity>,
    /// A bearer token.
    pub token: Option<String>,
    /// The namespace of the context; `default` where it has none.
    pub namespace: String,
    /// The name of the cluster.
    pub cluster_name: String,
    /// The name of the user.
    pub user_name: String,
}

impl Kubeconfig {
    /// A connection with a client certificate, to write to a file.
    pub fn new(
        server: impl Into<String>,
        certificate_authority: impl Into<Vec<u8>>,
        user_name: impl Into<String>,
        identity: Identity,
    ) -> Self {
        Self {
            server: server.into(),
            certificate_authority: certificate_authority.into(),
            tls_server_name: None,
            identity: Some(identity),
            token: None,
            namespace: "default".to_owned(),
            cluster_name: "coxswain".to_owned(),
            user_name: user_name.into(),
        }
    }

    /// Reads the file's current context.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, KubeconfigError> {
        Self::load_context(path, None)
    }

    /// Reads the context of that name, or the current one.
    pub fn load_context(path: impl AsRef<Path>, context: Option<&str>) -> Result<Self, KubeconfigError> {
        let path = path.as_ref();
        let text = String::from_utf8_lossy(&read(path)?).into_owned();
        Self::parse(&text, path, context)
    }

    fn parse(text: &str, path: &Path, context: Option<&str>) -> Result<Self, KubeconfigError> {
        let file: File = serde_saphyr::from_str(text).map_err(|error| KubeconfigError::Parse {
            path: path.to_owned(),
            message: error.to_string().lines().next().unwrap_or_default().to_owned(),
        })?;
        let base = path.parent().unwrap_or(Path::new("."));
        let wanted = context.unwrap_or(&file.current_context);
        let context = find(&file.contexts, wanted, "context", |entry| &entry.name)?;
        let cluster = find(&file.clusters, &context.context.cluster, "cluster", |entry| &entry.name)?;
        let user = find(&file.users, &context.context.user, "user", |entry| &entry.name)?;
        let (cluster_name, cluster) = (cluster.name.clone(), &cluster.cluster);
        let (user_name, user) = (user.name.clone(), &user.user);
        let data = |field, embedded: &str, file: &str| load(base, field, embedded, file);
        let certificate =
            data("client-certificate-data", &user.client_certificate_data, &user.client_certificate)?;
        let key = data("client-key-data", &user.client_key_data, &user.client_key)?;
        let token = match (&user.token, &user.token_file) {
            (token, _) if !token.is_empty() => Some(token.clone()),
            (_, file) if !file.is_empty() => {
                let token = read(&base.join(file))?;
                Some(String::from_utf8_lossy(&token).trim().to_owned())
            }
            _ => None,
        };
        Ok(Self {
            server: cluster.server.clone(),
            certificate_authority: data(
                "certificate-authority-data",
                &cluster.certificate_authority_data,
                &cluster.certificate_authority,
            )?
            .unwrap_or_default(),
            tls_server_name: Some(cluster.tls_server_name.clone()).filter(|name| !name.is_empty()),
            identity: certificate.zip(key).map(|(certificate, key)| Identity { certificate, key }),
            token,
            namespace: if context.context.namespace.is_empty() {
                "default".to_owned()
            } else {
                context.context.namespace.clone()
            },
            cluster_name,
            user_name,
        })
    }

    /// The file's text, with every certificate embedded.
    pub fn to_yaml(&self) -> String {
        let user = self.identity.as_ref();
        let context_name = format!("{}@{}", self.user_name, self.cluster_name);
        let namespace = if self.namespace == "default" { String::new() } else { self.namespace.clone() };
        let file = File {
            api_version: "v1".to_owned(),
            kind: "Config".to_owned(),
            clusters: vec![NamedCluster {
                name: self.cluster_name.clone(),
                cluster: Cluster {
                    server: self.server.clone(),
                    certificate_authority_data: STANDARD.encode(&self.certificate_authority),
                    tls_server_name: self.tls_server_name.clone().unwrap_or_default(),
                    ..Cluster::default()
                },
            }],
            users: vec![NamedUser {
                name: self.user_name.clone(),
                user: User {
                    client_certificate_data: user
                        .map(|id| STANDARD.encode(&id.certificate))
                        .unwrap_or_default(),
                    client_key_data: user.map(|id| STANDARD.encode(&id.key)).unwrap_or_default(),
                    token: self.token.clone().unwrap_or_default(),
                    ..User::default()
                },
            }],
            contexts: vec![NamedContext {
                name: context_name.clone(),
                context: ContextEntry {
                    cluster: self.cluster_name.clone(),
                    user: self.user_name.clone(),
                    namespace,
                },
            }],
            current_context: context_name,
        };
        serde_saphyr::to_string(&file).expect("a kubeconfig holds only what YAML can")
    }

    /// Writes the file for its owner only (mode 0600), replacing one that is there.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), KubeconfigError> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;

        let path = path.as_ref();
        let temporary = path.with_extension("kubeconfig.tmp");
        let written = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| {
                file.write_all(self.to_yaml().as_bytes())?;
                // A power cut must not leave an empty file under the name.
                file.sync_all()
            })
            .and_then(|()| std::fs::rename(&temporary, path));
        written.map_err(|source| KubeconfigError::Write { path: path.to_owned(), source })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, KubeconfigError> {
    std::fs::read(path).map_err(|source| KubeconfigError::Read { path: path.to_owned(), source })
}

fn load(
    base: &Path,
    field: &'static str,
    embedded: &str,
    file: &str,
) -> Result<Option<Vec<u8>>, KubeconfigError> {
    // As in Kubernetes, embedded data goes before a file.
    if !embedded.is_empty() {
        let text: String = embedded.split_whitespace().collect();
        let data = STANDARD.decode(text).map_err(|source| KubeconfigError::Base64 { field, source })?;
        return Ok(Some(data));
    }
    if file.is_empty() { Ok(None) } else { read(&base.join(file)).map(Some) }
}

fn find<'a, T>(
    entries: &'a [T],
    wanted: &str,
    what: &'static str,
    name: impl Fn(&T) -> &str,
) -> Result<&'a T, KubeconfigError> {
    entries
        .iter()
        .find(|entry| name(entry) == wanted)
        .ok_or_else(|| KubeconfigError::Missing { what, name: wanted.to_owned() })
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct File {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    clusters: Vec<NamedCluster>,
    users: Vec<NamedUser>,
    contexts: Vec<NamedContext>,
    #[serde(rename = "current-context")]
    current_context: String,
}

#[derive(Serialize, Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Cluster {
    server: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    certificate_authority: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    certificate_authority_data: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    tls_server_name: String,
}

#[derive(Serialize, Deserialize)]
struct NamedUser {
    name: String,
    #[serde(default)]
    user: User,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct User {
    #[serde(skip_serializing_if = "String::is_empty")]
    client_certificate: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    client_certificate_data: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    client_key: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    client_key_data: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    token: String,
    #[serde(rename = "tokenFile", skip_serializing_if = "String::is_empty")]
    token_file: String,
}

#[derive(Serialize, Deserialize)]
struct NamedContext {
    name: String,
    context: ContextEntry,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct ContextEntry {
    cluster: String,
    user: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
}

#[cfg(test)]
mod tests;
