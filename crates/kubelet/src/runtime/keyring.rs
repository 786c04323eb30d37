//! Accounts at registries from `imagePullSecrets`, and which of them an image is pulled with. Pure.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::Credentials;

/// Names that Docker Hub's accounts are filed under.
const DOCKER_HUB: [&str; 4] =
    ["index.docker.io", "docker.io", "registry-1.docker.io", "registry.hub.docker.com"];

/// The accounts of a pod, in the order of its secrets.
#[derive(Debug, Clone, Default)]
pub struct Keyring(Vec<Entry>);

#[derive(Debug, Clone)]
struct Entry {
    host: String,
    path: String,
    account: Credentials,
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    username: String,
    password: String,
    auth: String,
}

impl Keyring {
    /// Adds what is in a Secret of type `kubernetes.io/dockerconfigjson` or `kubernetes.io/dockercfg`.
    pub fn add(&mut self, secret: &BTreeMap<String, Vec<u8>>) {
        let auths = if let Some(text) = secret.get(".dockerconfigjson") {
            serde_json::from_slice::<DockerConfig>(text).map(|config| config.auths)
        } else if let Some(text) = secret.get(".dockercfg") {
            serde_json::from_slice(text)
        } else {
            return;
        };
        // The more a name says, the earlier it is tried.
        for (name, auth) in auths.unwrap_or_default().into_iter().rev() {
            let Some(account) = account(auth) else { continue };
            let bare =
                name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(&name);
            let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
            let path = path.trim_end_matches('/');
            // Docker's own client files an account under the address of the API, which is in no image name.
            let path = if matches!(path, "v1" | "v2") { "" } else { path };
            self.0.push(Entry { host: host.to_owned(), path: path.to_owned(), account });
        }
    }

    /// The accounts for an image, as `registry.example:5000/team/app:1`, in the order in which they are tried.
    pub fn lookup(&self, image: &str) -> Vec<Credentials> {
        let (host, path) = image.split_once('/').unwrap_or((image, ""));
        let mut found: Vec<Credentials> = Vec::new();
        for entry in &self.0 {
            let is_hub = DOCKER_HUB.contains(&host) && DOCKER_HUB.contains(&entry.host.as_str());
            if (is_hub || matches_host(&entry.host, host))
                && path.starts_with(&entry.path)
                && !found.contains(&entry.account)
            {
                found.push(entry.account.clone());
            }
        }
        found
    }
}

fn account(auth: Auth) -> Option<Credentials> {
    if !auth.username.is_empty() || auth.auth.is_empty() {
        let account = Credentials { username: auth.username, password: auth.password };
        return (!account.username.is_empty()).then_some(account);
    }
    let text = STANDARD.decode(auth.auth.trim()).ok()?;
    let text = String::from_utf8(text).ok()?;
    let (username, password) = text.split_once(':')?;
    let password = password.trim_end_matches('\0').to_owned();
    Some(Credentials { username: username.to_owned(), password })
}

/// Ports are equal, and each part of the name is what the pattern's part says (`*` within a part).
fn matches_host(pattern: &str, host: &str) -> bool {
    let split = |text: &str| match text.rsplit_once(':') {
        Some((name, port)) => (name.to_owned(), Some(port.to_owned())),
        None => (text.to_owned(), None),
    };
    let ((pattern, pattern_port), (host, port)) = (split(pattern), split(host));
    let (patterns, parts): (Vec<&str>, Vec<&str>) = (pattern.split('.').collect(), host.split('.').collect());
    pattern_port == port
        && patterns.len() == parts.len()
        && patterns.iter().zip(parts).all(|(pattern, part)| glob(pattern, part))
}

fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|tail| {
            (0..=tail.len()).filter(|at| tail.is_char_boundary(*at)).any(|at| glob(rest, &tail[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(key: &str, text: &str) -> BTreeMap<String, Vec<u8>> {
        [(key.to_owned(), text.as_bytes().to_vec())].into()
    }

    #[track_caller]
    fn check(registry: &str, image: &str, found: bool) {
        let mut keyring = Keyring::default();
        let text = format!(r#"{{"auths":{{"{registry}":{{"username":"u","password":"p"}}}}}}"#);
        keyring.add(&secret(".dockerconfigjson", &text));
        assert_eq!(!keyring.lookup(image).is_empty(), found, "{registry} {image}");
    }

    #[test]
    fn an_account_is_for_its_registry_port_and_path() {
        check("registry.example", "registry.example/team/app:1", true);
        check("https://registry.example/v2/", "registry.example/app:1", true);
        check("registry.example:5000", "registry.example/app:1", false);
        check("registry.example/team", "registry.example/team/app:1", true);
        check("registry.example/team", "registry.example/other/app:1", false);
        check("*.example", "registry.example/app:1", true);
        check("*.example", "a.registry.example/app:1", false);
        check("reg*y.example", "registry.example/app:1", true);
        check("https://index.docker.io/v1/", "docker.io/library/nginx:latest", true);
        check("quay.io", "docker.io/library/nginx:latest", false);
    }

    #[test]
    fn both_forms_of_secrets_and_of_accounts_are_read() {
        let mut keyring = Keyring::default();
        keyring.add(&secret(".dockercfg", r#"{"a.example":{"auth":"dXNlcjpzOmVjcmV0"}}"#));
        keyring
            .add(&secret(".dockerconfigjson", r#"{"auths":{"a.example":{"username":"v","password":"w"}}}"#));
        keyring.add(&secret(".dockerconfigjson", "no JSON"));
        keyring.add(&secret("token", "{}"));
        let found = keyring.lookup("a.example/x:1");
        let names: Vec<(&str, &str)> =
            found.iter().map(|account| (account.username.as_str(), account.password.as_str())).collect();
        assert_eq!(names, [("user", "s:ecret"), ("v", "w")]);
    }

    #[test]
    fn a_longer_path_is_tried_first() {
        let mut keyring = Keyring::default();
        let text = r#"{"auths":{"a.example":{"username":"all","password":"p"},"a.example/team":{"username":"team","password":"p"}}}"#;
        keyring.add(&secret(".dockerconfigjson", text));
        let found = keyring.lookup("a.example/team/app:1");
        assert_eq!(found[0].username, "team");
        assert_eq!(found[1].username, "all");
    }
}
