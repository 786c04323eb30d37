//! `/etc/hosts` and `/etc/resolv.conf` of a pod.

use std::fmt::Write as _;

use super::{Shared, SyncError};
use crate::container::config::hostname;
use crate::pod::{DnsPolicy, Pod};
use crate::volumes::PodFolder;

/// The kernel's resolver reads no more name servers than this.
const MAX_NAME_SERVERS: usize = 3;

impl Shared {
    /// Writes both, for containers to mount. They are written in place: a mount follows the file, not its name.
    pub(super) async fn write_files(
        &self,
        pod: &Pod,
        folder: &PodFolder,
        ips: &[String],
    ) -> Result<(), SyncError> {
        let node = tokio::fs::read_to_string("/etc/resolv.conf").await.unwrap_or_default();
        let config = &self.config;
        let resolv = resolv_conf(pod, &config.cluster_dns, &config.cluster_domain, &node);
        let hosts = if pod.spec.host_network {
            let node = tokio::fs::read_to_string("/etc/hosts").await.unwrap_or_default();
            hosts_of_node(pod, &node)
        } else {
            hosts(pod, ips, &config.cluster_domain)
        };
        for (name, text) in [("etc-hosts", hosts), ("resolv.conf", resolv)] {
            let path = folder.file(name);
            let written = async {
                tokio::fs::create_dir_all(folder.path()).await?;
                tokio::fs::write(&path, text).await
            };
            written.await.map_err(|source| SyncError::Io { path: path.clone(), source })?;
        }
        Ok(())
    }
}

fn hosts(pod: &Pod, ips: &[String], domain: &str) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
    );
    let name = hostname(pod);
    let full = match pod.spec.subdomain.as_str() {
        "" => String::new(),
        subdomain => format!("{name}.{subdomain}.{}.svc.{domain}\t", pod.metadata.namespace),
    };
    for ip in ips {
        let _infallible = writeln!(text, "{ip}\t{full}{name}");
    }
    aliases(pod, &mut text);
    text
}

/// A pod on the node's network sees the node's own file.
fn hosts_of_node(pod: &Pod, node: &str) -> String {
    let mut text = format!("# Kubernetes-managed hosts file (host network).\n{node}");
    aliases(pod, &mut text);
    text
}

fn aliases(pod: &Pod, text: &mut String) {
    if !pod.spec.host_aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
    }
    for alias in &pod.spec.host_aliases {
        let _infallible = writeln!(text, "{}\t{}", alias.ip, alias.hostnames.join("\t"));
    }
}

fn resolv_conf(pod: &Pod, cluster_dns: &[String], domain: &str, node: &str) -> String {
    let of_node = |key: &str| -> Vec<String> {
        let lines = node.lines().filter_map(|line| line.trim().strip_prefix(key));
        lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
    };
    // On the node's network, the cluster's names have to be asked for.
    let is_cluster = !cluster_dns.is_empty()
        && (!pod.spec.host_network || pod.spec.dns_policy == DnsPolicy::ClusterFirstWithHostNet);
    let (mut servers, mut searches, mut options) = match pod.spec.dns_policy {
        DnsPolicy::None => (Vec::new(), Vec::new(), Vec::new()),
        DnsPolicy::ClusterFirst | DnsPolicy::ClusterFirstWithHostNet if is_cluster => {
            let namespace = &pod.metadata.namespace;
            let mut searches =
                vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_owned()];
            searches.extend(of_node("search "));
            (cluster_dns.to_vec(), searches, vec!["ndots:5".to_owned()])
        }
        DnsPolicy::ClusterFirst | DnsPolicy::ClusterFirstWithHostNet | DnsPolicy::Default => {
            (of_node("nameserver "), of_node("search "), of_node("options "))
        }
    };
    if let Some(config) = &pod.spec.dns_config {
        servers.extend(config.nameservers.iter().cloned());
        searches.extend(config.searches.iter().cloned());
        for option in &config.options {
            options.retain(|known| known.split(':').next() != Some(option.name.as_str()));
            options.push(match &option.value {
                Some(value) => format!("{}:{value}", option.name),
                None => option.name.clone(),
            });
        }
    }
    servers.truncate(MAX_NAME_SERVERS);
    let mut text = String::new();
    for server in servers {
        let _infallible = writeln!(text, "nameserver {server}");
    }
    if !searches.is_empty() {
        let _infallible = writeln!(text, "search {}", searches.join(" "));
    }
    if !options.is_empty() {
        let _infallible = writeln!(text, "options {}", options.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}))
            .expect("a pod")
    }

    const NODE: &str = "search corp\nnameserver 192.0.2.53\noptions edns0\n";

    #[test]
    fn names_are_resolved_as_the_policy_says() {
        let dns = ["10.96.0.10".to_owned()];
        let check = |spec, expected: &str| {
            assert_eq!(resolv_conf(&pod(spec), &dns, "cluster.local", NODE), expected);
        };
        check(
            json!({"dnsPolicy": "ClusterFirst"}),
            "nameserver 10.96.0.10\nsearch shop.svc.cluster.local svc.cluster.local cluster.local corp\noptions ndots:5\n",
        );
        check(
            json!({"dnsPolicy": "ClusterFirst", "hostNetwork": true}),
            "nameserver 192.0.2.53\nsearch corp\noptions edns0\n",
        );
        check(
            json!({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": true}),
            "nameserver 10.96.0.10\nsearch shop.svc.cluster.local svc.cluster.local cluster.local corp\noptions ndots:5\n",
        );
        check(json!({"dnsPolicy": "Default"}), "nameserver 192.0.2.53\nsearch corp\noptions edns0\n");
        check(
            json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.1"], "options": [{"name": "ndots", "value": "2"}]}}),
            "nameserver 192.0.2.1\noptions ndots:2\n",
        );
    }

    #[test]
    fn a_pod_knows_its_own_name() {
        let pod =
            pod(json!({"subdomain": "db", "hostAliases": [{"ip": "192.0.2.9", "hostnames": ["a", "b"]}]}));
        let text = hosts(&pod, &["10.244.0.2".to_owned()], "cluster.local");
        assert!(text.contains("10.244.0.2\tweb.db.shop.svc.cluster.local\tweb\n"), "{text}");
        assert!(text.ends_with("192.0.2.9\ta\tb\n"), "{text}");
    }
}
