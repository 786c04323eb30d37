//! The command lines of the daemons. Pure.

use std::path::{Path, PathBuf};

use crate::cli::UpArgs;
use crate::cluster::DataDir;

/// The pod network, the Service network, and how many pods' addresses a node has (a /24).
const CLUSTER_CIDR: &str = "10.244.0.0/16";
const SERVICE_CIDR: &str = "10.96.0.0/16";

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DaemonSpec {
    pub(crate) name: &'static str,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
}

impl DaemonSpec {
    fn new(name: &'static str, arguments: Vec<String>) -> Self {
        Self { name, program: program(name), arguments }
    }
}

/// The daemons are installed beside this program.
fn program(name: &str) -> PathBuf {
    let here = std::env::current_exe().ok();
    here.as_deref().and_then(Path::parent).map_or_else(|| PathBuf::from(name), |folder| folder.join(name))
}

pub(crate) fn apiserver(dir: &DataDir, args: &UpArgs, node_ip: &str) -> DaemonSpec {
    let arguments = vec![
        format!("--data-dir={}", dir.path().display()),
        format!("--bind-address={}", args.bind_address),
        format!("--secure-port={}", args.secure_port),
        format!("--advertise-address={node_ip}"),
        format!("--history-size={}", args.history_size),
        format!("--service-cluster-ip-range={SERVICE_CIDR}"),
    ];
    DaemonSpec::new("apiserver", arguments)
}

/// Makes the store of a backup, and ends.
pub(crate) fn restore(dir: &DataDir, backup: &Path) -> DaemonSpec {
    let arguments =
        vec![format!("--data-dir={}", dir.path().display()), format!("--restore={}", backup.display())];
    DaemonSpec::new("apiserver", arguments)
}

pub(crate) fn scheduler(dir: &DataDir) -> DaemonSpec {
    DaemonSpec::new("scheduler", vec![format!("--kubeconfig={}", dir.kubeconfig("scheduler").display())])
}

pub(crate) fn controllers(dir: &DataDir) -> DaemonSpec {
    let arguments = vec![
        format!("--kubeconfig={}", dir.kubeconfig("controllers").display()),
        format!("--cluster-cidr={CLUSTER_CIDR}"),
        "--node-cidr-mask-size=24".to_owned(),
    ];
    DaemonSpec::new("controllers", arguments)
}

pub(crate) fn kubelet(node: &Path, name: &str, ip: &str, docker: &str) -> DaemonSpec {
    let file = |name: &str| node.join(name).display().to_string();
    let arguments = vec![
        format!("--kubeconfig={}", file("kubelet.kubeconfig")),
        format!("--config={}", file("config.yaml")),
        format!("--node-name={name}"),
        format!("--node-ip={ip}"),
        format!("--root-dir={}", node.display()),
        format!("--tls-cert-file={}", file("kubelet.crt")),
        format!("--tls-private-key-file={}", file("kubelet.key")),
        format!("--client-ca-file={}", file("ca.crt")),
        format!("--docker-endpoint={docker}"),
        "--cni-bin-dir=/usr/lib/cni".to_owned(),
        format!("--cni-conf-dir={}", file("cni/net.d")),
    ];
    DaemonSpec::new("kubelet", arguments)
}

pub(crate) fn kube_proxy(node: &Path, name: &str) -> DaemonSpec {
    let arguments = vec![
        format!("--kubeconfig={}", node.join("kube-proxy.kubeconfig").display()),
        format!("--hostname-override={name}"),
        format!("--cluster-cidr={CLUSTER_CIDR}"),
        format!("--service-cluster-ip-range={SERVICE_CIDR}"),
    ];
    DaemonSpec::new("kube-proxy", arguments)
}

/// What takes away all that the daemons of the node at `node` have made. The kubelet needs the same command line
/// as when it ran, which stands in a file there.
pub(crate) fn cleanups(node: &Path) -> Vec<DaemonSpec> {
    let mut cleanups = Vec::new();
    for (name, file) in [("kubelet", "kubelet.args"), ("kube-proxy", "kube-proxy.args")] {
        let Ok(text) = std::fs::read_to_string(node.join(file)) else { continue };
        let arguments = text.lines().map(str::to_owned).chain(["--cleanup".to_owned()]).collect();
        cleanups.push(DaemonSpec::new(name, arguments));
    }
    cleanups
}
