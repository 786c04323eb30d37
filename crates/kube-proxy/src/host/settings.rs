//! Settings of the kernel: forwarding, and node ports on 127.0.0.1. What they were before is kept in a file under
//! /run, which lives exactly as long as the kernel does, so that the cleanup can put them back.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const SYSCTL: &str = "/proc/sys";
const KEPT: &str = "/run/coxswain/kube-proxy";

/// Each setting, and why.
const SETTINGS: [&str; 2] = [
    // Pods reach anything at all.
    "net/ipv4/ip_forward",
    // Answers to 127.0.0.1 may come over a bridge. The table's `guard` chain keeps strangers out.
    "net/ipv4/conf/all/route_localnet",
];

const BRIDGE_NETFILTER: &str = "net/bridge/bridge-nf-call-iptables";

/// A setting that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{path}")]
pub struct SettingError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> SettingError {
    let path = path.into();
    move |source| SettingError { path, source }
}

/// Turns them on.
pub(super) fn enable() -> Result<(), SettingError> {
    for setting in SETTINGS {
        let path = Path::new(SYSCTL).join(setting);
        let value = fs::read_to_string(&path).map_err(at(&path))?;
        if value.trim() == "1" {
            continue;
        }
        let kept = kept(setting);
        if !kept.exists() {
            if let Some(directory) = kept.parent() {
                fs::create_dir_all(directory).map_err(at(directory))?;
            }
            fs::write(&kept, &value).map_err(at(&kept))?;
        }
        fs::write(&path, "1").map_err(at(&path))?;
    }
    Ok(())
}

/// Puts back what they were, where they were changed.
pub(super) fn restore() -> Result<(), SettingError> {
    for setting in SETTINGS {
        let kept = kept(setting);
        let Ok(value) = fs::read_to_string(&kept) else { continue };
        let path = Path::new(SYSCTL).join(setting);
        fs::write(&path, value.trim()).map_err(at(&path))?;
        fs::remove_file(&kept).map_err(at(&kept))?;
    }
    // Those of other nodes of this machine may still be in it.
    for directory in Path::new(KEPT).ancestors().take(2) {
        let _not_empty = fs::remove_dir(directory);
    }
    Ok(())
}

/// One file for each setting and network namespace: each node of a machine has its own settings.
fn kept(setting: &str) -> PathBuf {
    let namespace = fs::read_link("/proc/thread-self/ns/net").unwrap_or_default();
    let namespace: String = namespace.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    Path::new(KEPT).join(format!("{namespace}.{}", setting.replace('/', ".")))
}

/// Whether a pod that reaches a pod on the same bridge through a Service would be answered directly, with an
/// address that it did not ask: so it is where bridged packets do not pass netfilter.
pub fn pods_need_masquerade() -> bool {
    let value = fs::read_to_string(Path::new(SYSCTL).join(BRIDGE_NETFILTER));
    value.map_or(true, |value| value.trim() != "1")
}
