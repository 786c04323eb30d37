//! The kubelet's configuration file, with the registry settings that `cox up` was given.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::cli::UpArgs;
use crate::error::CoxError;

/// Where images come from: the `registry` section of the kubelet's configuration.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Registry {
    default_registry: String,
    default_namespace: String,
    /// From a registry's name to the URLs to try before it, in order.
    mirrors: BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    credentials: BTreeMap<String, Credentials>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pause_image: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Credentials {
    username: String,
    password: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KubeletConfiguration<'a> {
    api_version: &'static str,
    kind: &'static str,
    cluster_domain: &'static str,
    #[serde(rename = "clusterDNS")]
    cluster_dns: [&'static str; 1],
    eviction_hard: BTreeMap<&'static str, &'static str>,
    static_pod_path: &'a Path,
    registry: &'a Registry,
}

/// A machine that is a cluster's node beside other things may have a disk that is nearly full of those: what counts is
/// what is left, not which part of the disk that is.
const EVICTION: [(&str, &str); 4] = [
    ("memory.available", "100Mi"),
    ("nodefs.available", "1Gi"),
    ("nodefs.inodesFree", "1%"),
    ("imagefs.available", "1Gi"),
];

/// The registry settings of a command line.
pub(super) fn registry(args: &UpArgs) -> Result<Registry, CoxError> {
    let mut mirrors = BTreeMap::<String, Vec<String>>::new();
    for mirror in &args.registry_mirror {
        let Some((registry, url)) = mirror.split_once('=').filter(|(registry, url)| {
            !registry.is_empty() && (url.starts_with("http://") || url.starts_with("https://"))
        }) else {
            return Err(CoxError::Usage(format!("--registry-mirror {mirror}: should be REGISTRY=URL")));
        };
        mirrors.entry(registry.to_owned()).or_default().push(url.to_owned());
    }
    let credentials = match &args.registry_credentials {
        None => BTreeMap::new(),
        Some(file) => credentials(&std::fs::read_to_string(file).map_err(CoxError::file("read", file))?)?,
    };
    Ok(Registry {
        default_registry: args.default_registry.clone(),
        default_namespace: args.default_namespace.clone(),
        mirrors,
        credentials,
        pause_image: args.pause_image.clone(),
    })
}

/// Reads lines `HOST USER PASSWORD`; a password may hold spaces. A bad line is named by its number only: it may
/// hold a secret.
fn credentials(text: &str) -> Result<BTreeMap<String, Credentials>, CoxError> {
    let mut credentials = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = line.splitn(3, ' ');
        let (Some(host), Some(username), Some(password)) = (words.next(), words.next(), words.next()) else {
            let text = format!("--registry-credentials: line {} is not HOST USER PASSWORD", number + 1);
            return Err(CoxError::Usage(text));
        };
        let entry = Credentials { username: username.to_owned(), password: password.to_owned() };
        credentials.insert(host.to_owned(), entry);
    }
    Ok(credentials)
}

/// The text of the file. Static pods are read from a folder of the node's own.
pub(super) fn kubelet(registry: &Registry, static_pods: &Path) -> String {
    let file = KubeletConfiguration {
        api_version: "kubelet.config.k8s.io/v1beta1",
        kind: "KubeletConfiguration",
        cluster_domain: "cluster.local",
        cluster_dns: ["10.96.0.10"],
        eviction_hard: EVICTION.into(),
        static_pod_path: static_pods,
        registry,
    };
    serde_saphyr::to_string(&file).expect("a configuration holds only what YAML can")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_of_one_registry_keep_their_order() {
        let args = UpArgs {
            registry_mirror: ["docker.io=http://a", "ghcr.io=https://b", "docker.io=http://c"]
                .map(str::to_owned)
                .to_vec(),
            ..UpArgs::default()
        };
        let registry = registry(&args).expect("good mirrors");
        assert_eq!(registry.mirrors["docker.io"], ["http://a", "http://c"]);
        assert!(kubelet(&registry, Path::new("/m")).contains("http://c"));
    }

    #[test]
    fn a_mirror_without_a_url_is_refused() {
        for bad in ["docker.io", "=http://a", "docker.io=127.0.0.1:5000"] {
            let args = UpArgs { registry_mirror: vec![bad.to_owned()], ..UpArgs::default() };
            assert_eq!(registry(&args).expect_err(bad).exit_code(), 64);
        }
    }

    #[test]
    fn credentials_are_read_and_a_bad_line_is_not_quoted() {
        let read = credentials("# mine\nghcr.io me pass word\n").expect("good lines");
        assert_eq!(read["ghcr.io"].password, "pass word");
        let error = credentials("ghcr.io secret").expect_err("a word is missing").to_string();
        assert!(error.contains("line 1") && !error.contains("secret"), "{error}");
    }
}
