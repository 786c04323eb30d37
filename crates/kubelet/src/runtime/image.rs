//! Image names: how an unqualified one is completed, and from where it is pulled.
//!
//! The settings of a node name a default registry and namespace, mirrors of registries, and credentials. A pull
//! tries the mirrors in order and then the registry itself; whatever answers, the image then has the name that
//! the pod asked for.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

/// The `registry` section of the node's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegistryConfig {
    /// Where an image without a registry is.
    pub default_registry: String,
    /// The namespace of an image without one, in the default registry.
    pub default_namespace: String,
    /// Registry to URLs that serve the same content.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Host to account.
    pub credentials: BTreeMap<String, Credentials>,
    /// The image of sandboxes; empty for the one that the kubelet makes itself.
    pub pause_image: String,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            default_registry: "docker.io".to_owned(),
            default_namespace: "library".to_owned(),
            mirrors: BTreeMap::new(),
            credentials: BTreeMap::new(),
            pause_image: String::new(),
        }
    }
}

/// An account at a registry.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Credentials {
    /// Who.
    pub username: String,
    /// The secret.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// An image on the node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// The id of its configuration.
    pub id: String,
    /// What `status.imageID` says.
    pub reference: String,
    /// Bytes.
    pub size: u64,
    /// The user that it runs as, where it names one.
    pub user: String,
}

/// A complete image name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// As `docker.io`.
    pub registry: String,
    /// As `library/nginx`.
    pub repository: String,
    /// As `latest`; empty where there is only a digest.
    pub tag: String,
    /// As `sha256:...`.
    pub digest: Option<String>,
}

/// An image name that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("couldn't parse image name \"{0}\": invalid reference format")]
pub struct InvalidImageName(pub String);

impl Reference {
    /// Reads and completes a name.
    pub fn parse(text: &str, config: &RegistryConfig) -> Result<Self, InvalidImageName> {
        let invalid = || InvalidImageName(text.to_owned());
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        if let Some(digest) = digest {
            let (algorithm, hex) = digest.split_once(':').ok_or_else(invalid)?;
            let fine = !algorithm.is_empty() && hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit());
            if !fine {
                return Err(invalid());
            }
        }
        let (registry, rest) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                (first.to_owned(), rest)
            }
            _ => (config.default_registry.clone(), name),
        };
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
            _ => (rest, None),
        };
        let component = |part: &str| {
            let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
            edge(part.chars().next())
                && edge(part.chars().last())
                && part
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-'))
        };
        if !repository.split('/').all(component) {
            return Err(invalid());
        }
        if let Some(tag) = tag {
            let fine = (1..=128).contains(&tag.len())
                && !tag.starts_with(['.', '-'])
                && tag.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
            if !fine {
                return Err(invalid());
            }
        }
        let repository = if registry == config.default_registry
            && !repository.contains('/')
            && !config.default_namespace.is_empty()
        {
            format!("{}/{repository}", config.default_namespace)
        } else {
            repository.to_owned()
        };
        let tag = tag.unwrap_or(if digest.is_some() { "" } else { "latest" }).to_owned();
        Ok(Self { registry, repository, tag, digest: digest.map(str::to_owned) })
    }

    /// The complete name.
    pub fn name(&self) -> String {
        self.at(&self.registry)
    }

    /// The name by which Docker lists it: short for Docker Hub.
    pub fn familiar(&self) -> String {
        let name = self.name();
        let name = name.strip_prefix("docker.io/").unwrap_or(&name);
        name.strip_prefix("library/").unwrap_or(name).to_owned()
    }

    fn at(&self, host: &str) -> String {
        let mut name = format!("{host}/{}", self.repository);
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(digest);
        } else {
            name.push(':');
            name.push_str(&self.tag);
        }
        name
    }

    /// From where the image can be had, the first one first: mirrors, then the registry.
    pub fn sources(&self, config: &RegistryConfig) -> Vec<Source> {
        let mirrors = config.mirrors.get(&self.registry).map(Vec::as_slice).unwrap_or_default();
        let hosts = mirrors.iter().map(|url| {
            let host = url.trim_end_matches('/');
            host.strip_prefix("http://").or_else(|| host.strip_prefix("https://")).unwrap_or(host)
        });
        hosts
            .chain([self.registry.as_str()])
            .map(|host| Source {
                name: self.at(host),
                credentials: config.credentials.get(host.split('/').next().unwrap_or(host)).cloned(),
            })
            .collect()
    }
}

/// One place where an image can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The name to pull.
    pub name: String,
    /// Who asks.
    pub credentials: Option<Credentials>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, name: &str, familiar: &str) {
        let reference = Reference::parse(text, &RegistryConfig::default()).expect("a valid name");
        assert_eq!((reference.name().as_str(), reference.familiar().as_str()), (name, familiar));
    }

    #[test]
    fn unqualified_names_are_completed() {
        check("nginx", "docker.io/library/nginx:latest", "nginx:latest");
        check("nginx:1.2", "docker.io/library/nginx:1.2", "nginx:1.2");
        check("me/app", "docker.io/me/app:latest", "me/app:latest");
        check("quay.io/a/b:v1", "quay.io/a/b:v1", "quay.io/a/b:v1");
        check("localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x:latest");
        let digest = format!("nginx@sha256:{}", "a".repeat(64));
        check(&digest, &format!("docker.io/library/{digest}"), &digest);
    }

    #[test]
    fn names_that_are_none_are_refused_with_the_words_of_kubernetes() {
        for text in ["", "Nginx", "nginx:", "a//b", "nginx:a b", "nginx@sha256:xyz", "-x", "UPPER/x:1"] {
            let error = Reference::parse(text, &RegistryConfig::default()).expect_err(text);
            assert_eq!(
                error.to_string(),
                format!("couldn't parse image name \"{text}\": invalid reference format")
            );
        }
    }

    #[test]
    fn mirrors_come_before_the_registry_and_bring_their_credentials() {
        let account = Credentials { username: "u".into(), password: "p".into() };
        let config = RegistryConfig {
            mirrors: [("docker.io".to_owned(), vec!["http://127.0.0.1:5000/".to_owned()])].into(),
            credentials: [("127.0.0.1:5000".to_owned(), account.clone())].into(),
            ..RegistryConfig::default()
        };
        let reference = Reference::parse("nginx", &config).expect("a valid name");
        assert_eq!(
            reference.sources(&config),
            [
                Source { name: "127.0.0.1:5000/library/nginx:latest".into(), credentials: Some(account) },
                Source { name: "docker.io/library/nginx:latest".into(), credentials: None },
            ]
        );
    }

    #[test]
    fn another_default_registry_and_namespace_are_used() {
        let config = RegistryConfig {
            default_registry: "registry.corp:443".into(),
            default_namespace: "base".into(),
            ..RegistryConfig::default()
        };
        let name = |text| Reference::parse(text, &config).expect("a valid name").name();
        assert_eq!(name("nginx"), "registry.corp:443/base/nginx:latest");
        assert_eq!(name("team/app:1"), "registry.corp:443/team/app:1");
    }
}
