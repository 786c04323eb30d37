//! What the levels of the Pod Security Standards forbid, and how it is told.
//!
//! Each check is a row of [`CHECKS`]: the level that it belongs to, the minor versions of Kubernetes in which it reads
//! so, and a function from a pod to what is wrong with it. The rows are in the order in which they are told.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Level;
use crate::admission::service_account::containers;
use crate::admission::{items, quoted, text};

/// One thing that is wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Violation {
    reason: &'static str,
    detail: String,
}

/// All reasons and their details.
pub(super) fn details(found: &[Violation]) -> String {
    let each = found.iter().map(|violation| format!("{} ({})", violation.reason, violation.detail));
    each.collect::<Vec<_>>().join(", ")
}

/// The reasons alone.
pub(super) fn reasons(found: &[Violation]) -> String {
    found.iter().map(|violation| violation.reason).collect::<Vec<_>>().join(", ")
}

type Check = fn(&Value) -> Option<Violation>;

struct Row {
    level: Level,
    /// From this minor version on.
    from: u32,
    /// Before this minor version.
    until: u32,
    check: Check,
    /// Whether a check of the restricted level says more than this one.
    overridden_from: u32,
    /// Whether it means nothing on Windows, as is known since 1.25.
    not_on_windows: bool,
}

const EVER: u32 = u32::MAX;

/// A check of the restricted level that means nothing on Windows.
const fn linux(from: u32, check: Check) -> Row {
    Row { not_on_windows: true, ..row(Level::Restricted, from, EVER, check) }
}

const fn row(level: Level, from: u32, until: u32, check: Check) -> Row {
    Row { level, from, until, check, overridden_from: EVER, not_on_windows: false }
}

const CHECKS: [Row; 25] = [
    row(Level::Baseline, 0, EVER, app_armor),
    Row { overridden_from: 22, ..row(Level::Baseline, 0, EVER, capabilities) },
    row(Level::Baseline, 0, EVER, host_namespaces),
    Row { overridden_from: 0, ..row(Level::Baseline, 0, EVER, host_path) },
    row(Level::Baseline, 0, EVER, host_ports),
    row(Level::Baseline, 34, EVER, probe_hosts),
    row(Level::Baseline, 0, EVER, privileged),
    row(Level::Baseline, 0, 35, proc_mount),
    row(Level::Baseline, 35, EVER, |pod| proc_mount(pod).filter(|_| !has_user_namespace(pod))),
    row(Level::Baseline, 0, 31, |pod| se_linux(pod, &SE_LINUX[..4])),
    row(Level::Baseline, 31, EVER, |pod| se_linux(pod, &SE_LINUX)),
    Row { overridden_from: 19, ..row(Level::Baseline, 19, EVER, |pod| seccomp(pod, false)) },
    row(Level::Baseline, 0, 27, |pod| sysctls(pod, 5)),
    row(Level::Baseline, 27, 29, |pod| sysctls(pod, 6)),
    row(Level::Baseline, 29, 32, |pod| sysctls(pod, 10)),
    row(Level::Baseline, 32, EVER, |pod| sysctls(pod, 12)),
    row(Level::Baseline, 0, EVER, host_process),
    linux(8, privilege_escalation),
    linux(22, dropped_capabilities),
    row(Level::Restricted, 0, EVER, volumes),
    row(Level::Restricted, 0, 35, run_as_non_root),
    row(Level::Restricted, 35, EVER, |pod| run_as_non_root(pod).filter(|_| !has_user_namespace(pod))),
    row(Level::Restricted, 23, 35, run_as_user),
    row(Level::Restricted, 35, EVER, |pod| run_as_user(pod).filter(|_| !has_user_namespace(pod))),
    linux(19, |pod| seccomp(pod, true)),
];

/// What the level forbids of the pod, in a minor version or the latest.
pub(super) fn run(level: Level, minor: Option<u32>, pod: &Value) -> Vec<Violation> {
    let minor = minor.unwrap_or(EVER - 1);
    let applies = |row: &&Row| {
        let overridden = level == Level::Restricted && minor >= row.overridden_from;
        row.level <= level && row.from <= minor && minor < row.until && !overridden
    };
    let windows = text(&pod["spec"]["os"], "name") == "windows" && minor >= 25;
    CHECKS
        .iter()
        .filter(applies)
        .filter(|row| !(windows && row.not_on_windows))
        .filter_map(|row| (row.check)(pod))
        .collect()
}

fn found(reason: &'static str, detail: String) -> Option<Violation> {
    Some(Violation { reason, detail })
}

/// `one` or `several`, by the number.
fn plural(one: &'static str, several: &'static str, count: usize) -> &'static str {
    if count == 1 { one } else { several }
}

fn join<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
}

/// As `container "a"` or `containers "a", "b"`.
fn named(names: &[&str]) -> String {
    format!("{} {}", plural("container", "containers", names.len()), join(names.iter().copied()))
}

/// The names of the containers for which something holds.
fn which(pod: &Value, is: impl Fn(&Value) -> bool) -> Vec<&str> {
    containers(pod).filter(|container| is(container)).map(|container| text(container, "name")).collect()
}

/// Who sets something: the pod, containers, or both.
fn setters(pod: bool, names: &[&str]) -> Vec<String> {
    let mut all = Vec::new();
    if pod {
        all.push("pod".to_owned());
    }
    if !names.is_empty() {
        all.push(named(names));
    }
    all
}

fn has_user_namespace(pod: &Value) -> bool {
    pod["spec"]["hostUsers"] == false
}

fn app_armor(pod: &Value) -> Option<Violation> {
    const ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";
    let kind = |owner: &Value| {
        let kind = text(&owner["securityContext"]["appArmorProfile"], "type").to_owned();
        (!matches!(&*kind, "" | "RuntimeDefault" | "Localhost")).then_some(kind)
    };
    let own = kind(&pod["spec"]);
    let bad = which(pod, |container| kind(container).is_some());
    let values: BTreeSet<String> = own.iter().cloned().chain(containers(pod).filter_map(kind)).collect();
    let mut values: Vec<String> = values.into_iter().map(|value| quoted(&value)).collect();
    let mut setters = setters(own.is_some(), &bad);
    let annotations = pod["metadata"]["annotations"].as_object().into_iter().flatten();
    let mut forbidden: Vec<String> = annotations
        .filter(|(key, _)| key.starts_with(ANNOTATION))
        .map(|(key, value)| (key, value.as_str().unwrap_or_default()))
        .filter(|(_, value)| !matches!(*value, "" | "runtime/default") && !value.starts_with("localhost/"))
        .map(|(key, value)| quoted(&format!("{key}={}", quoted(value))))
        .collect();
    if !forbidden.is_empty() {
        forbidden.sort();
        setters.push(plural("annotation", "annotations", forbidden.len()).to_owned());
        values.extend(forbidden);
    }
    if setters.is_empty() {
        return None;
    }
    found(
        plural("forbidden AppArmor profile", "forbidden AppArmor profiles", values.len()),
        format!("{} must not set AppArmor profile type to {}", setters.join(" and "), values.join(", ")),
    )
}

const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The containers that add capabilities beside those allowed, and which.
fn added<'a>(pod: &'a Value, allowed: &[&str]) -> (Vec<&'a str>, BTreeSet<&'a str>) {
    let (mut names, mut all) = (Vec::new(), BTreeSet::new());
    for container in containers(pod) {
        let more: Vec<&str> = items(&container["securityContext"]["capabilities"], "add")
            .filter_map(Value::as_str)
            .filter(|capability| !allowed.contains(capability))
            .collect();
        if !more.is_empty() {
            names.push(text(container, "name"));
            all.extend(more);
        }
    }
    (names, all)
}

fn must_not_add(names: &[&str], capabilities: BTreeSet<&str>) -> String {
    let (names, capabilities) = (named(names), join(capabilities));
    format!("{names} must not include {capabilities} in securityContext.capabilities.add")
}

fn capabilities(pod: &Value) -> Option<Violation> {
    let (names, all) = added(pod, &CAPABILITIES);
    if names.is_empty() {
        return None;
    }
    found("non-default capabilities", must_not_add(&names, all))
}

fn dropped_capabilities(pod: &Value) -> Option<Violation> {
    let drops = |container: &Value| {
        items(&container["securityContext"]["capabilities"], "drop").any(|capability| capability == "ALL")
    };
    let mut details = Vec::new();
    let missing = which(pod, |container| !drops(container));
    if !missing.is_empty() {
        details.push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", named(&missing)));
    }
    let (names, all) = added(pod, &["NET_BIND_SERVICE"]);
    if !names.is_empty() {
        details.push(must_not_add(&names, all));
    }
    if details.is_empty() {
        return None;
    }
    found("unrestricted capabilities", details.join("; "))
}

fn host_namespaces(pod: &Value) -> Option<Violation> {
    let set: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|field| pod["spec"][*field] == true)
        .map(|field| format!("{field}=true"))
        .collect();
    if set.is_empty() {
        return None;
    }
    found("host namespaces", set.join(", "))
}

fn host_path(pod: &Value) -> Option<Violation> {
    let names: Vec<&str> = items(&pod["spec"], "volumes")
        .filter(|volume| volume["hostPath"].is_object())
        .map(|volume| text(volume, "name"))
        .collect();
    if names.is_empty() {
        return None;
    }
    let count = names.len();
    found("hostPath volumes", format!("{} {}", plural("volume", "volumes", count), join(names)))
}

fn host_ports(pod: &Value) -> Option<Violation> {
    let of = |container: &'_ Value| -> Vec<i64> {
        let ports = items(container, "ports").filter_map(|port| port["hostPort"].as_i64());
        ports.filter(|port| *port != 0).collect()
    };
    let names = which(pod, |container| !of(container).is_empty());
    // Sorted as texts.
    let ports: BTreeSet<String> = containers(pod).flat_map(of).map(|port| port.to_string()).collect();
    if names.is_empty() {
        return None;
    }
    found(
        "hostPort",
        format!(
            "{} {} {} {}",
            named(&names),
            plural("uses", "use", names.len()),
            plural("hostPort", "hostPorts", ports.len()),
            ports.into_iter().collect::<Vec<_>>().join(", ")
        ),
    )
}

fn probe_hosts(pod: &Value) -> Option<Violation> {
    fn of(container: &Value) -> Vec<&str> {
        let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|probe| &container[probe]);
        let hooks = ["postStart", "preStop"].map(|hook| &container["lifecycle"][hook]);
        let all = probes.into_iter().chain(hooks);
        let hosts = all.flat_map(|one| [text(&one["httpGet"], "host"), text(&one["tcpSocket"], "host")]);
        hosts.filter(|host| !host.is_empty()).collect()
    }
    let names: BTreeSet<&str> = which(pod, |container| !of(container).is_empty()).into_iter().collect();
    let hosts: BTreeSet<&str> = containers(pod).flat_map(of).collect();
    if names.is_empty() {
        return None;
    }
    let names: Vec<&str> = names.into_iter().collect();
    found(
        "probe or lifecycle host",
        format!(
            "{} {} {} {}",
            named(&names),
            plural("uses", "use", names.len()),
            plural("probe or lifecycle host", "probe or lifecycle hosts", hosts.len()),
            join(hosts)
        ),
    )
}

fn privileged(pod: &Value) -> Option<Violation> {
    let names = which(pod, |container| container["securityContext"]["privileged"] == true);
    if names.is_empty() {
        return None;
    }
    found("privileged", format!("{} must not set securityContext.privileged=true", named(&names)))
}

fn proc_mount(pod: &Value) -> Option<Violation> {
    let of = |container: &'_ Value| {
        let mount = container["securityContext"]["procMount"].as_str().map(str::to_owned);
        mount.filter(|mount| mount != "Default")
    };
    let names = which(pod, |container| of(container).is_some());
    if names.is_empty() {
        return None;
    }
    let kinds: BTreeSet<String> = containers(pod).filter_map(of).collect();
    let kinds = join(kinds.iter().map(String::as_str));
    found("procMount", format!("{} must not set securityContext.procMount to {kinds}", named(&names)))
}

const SE_LINUX: [&str; 5] = ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];

fn se_linux(pod: &Value, allowed: &[&str]) -> Option<Violation> {
    let options = |owner: &'_ Value| owner["securityContext"]["seLinuxOptions"].clone();
    let is_bad = |options: &Value| {
        options.is_object()
            && (!allowed.contains(&text(options, "type"))
                || !text(options, "user").is_empty()
                || !text(options, "role").is_empty())
    };
    let own = options(&pod["spec"]);
    let names = which(pod, |container| is_bad(&options(container)));
    let setters = setters(is_bad(&own), &names);
    if setters.is_empty() {
        return None;
    }
    let all: Vec<Value> = std::iter::once(own).chain(containers(pod).map(options)).collect();
    let types: BTreeSet<&str> = all
        .iter()
        .filter(|options| options.is_object())
        .map(|options| text(options, "type"))
        .filter(|kind| !allowed.contains(kind))
        .collect();
    let mut data = Vec::new();
    if !types.is_empty() {
        data.push(format!("{} {}", plural("type", "types", types.len()), join(types)));
    }
    for field in ["user", "role"] {
        if all.iter().any(|options| !text(options, field).is_empty()) {
            data.push(format!("{field} may not be set"));
        }
    }
    let (setters, data) = (setters.join(" and "), data.join("; "));
    found("seLinuxOptions", format!("{setters} set forbidden securityContext.seLinuxOptions: {data}"))
}

/// `must` tells whether a profile must be set.
fn seccomp(pod: &Value, must: bool) -> Option<Violation> {
    fn kind(owner: &Value) -> Option<&str> {
        owner["securityContext"]["seccompProfile"]["type"].as_str()
    }
    let is_bad = |kind: &str| !matches!(kind, "RuntimeDefault" | "Localhost");
    let own = kind(&pod["spec"]);
    let names = which(pod, |container| kind(container).is_some_and(is_bad));
    let setters = setters(own.is_some_and(is_bad), &names);
    if !setters.is_empty() {
        let kinds: BTreeSet<&str> =
            own.into_iter().chain(containers(pod).filter_map(kind)).filter(|kind| is_bad(kind)).collect();
        let (setters, kinds) = (setters.join(" and "), join(kinds));
        return found(
            "seccompProfile",
            format!("{setters} must not set securityContext.seccompProfile.type to {kinds}"),
        );
    }
    let missing = which(pod, |container| kind(container).is_none());
    if !must || own.is_some() || missing.is_empty() {
        return None;
    }
    found(
        "seccompProfile",
        format!(
            "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
            named(&missing)
        ),
    )
}

/// Those that concern nothing outside of the pod, in the order in which Kubernetes came to allow them.
const SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

fn sysctls(pod: &Value, allowed: usize) -> Option<Violation> {
    let names: Vec<&str> = items(&pod["spec"]["securityContext"], "sysctls")
        .map(|sysctl| text(sysctl, "name"))
        .filter(|name| !SYSCTLS[..allowed].contains(name))
        .collect();
    if names.is_empty() {
        return None;
    }
    found("forbidden sysctls", names.join(", "))
}

fn host_process(pod: &Value) -> Option<Violation> {
    let is = |owner: &Value| owner["securityContext"]["windowsOptions"]["hostProcess"] == true;
    let setters = setters(is(&pod["spec"]), &which(pod, is));
    if setters.is_empty() {
        return None;
    }
    let setters = setters.join(" and ");
    found("hostProcess", format!("{setters} must not set securityContext.windowsOptions.hostProcess=true"))
}

fn privilege_escalation(pod: &Value) -> Option<Violation> {
    let names = which(pod, |container| container["securityContext"]["allowPrivilegeEscalation"] != false);
    if names.is_empty() {
        return None;
    }
    found(
        "allowPrivilegeEscalation != false",
        format!("{} must set securityContext.allowPrivilegeEscalation=false", named(&names)),
    )
}

/// The kinds of volumes that are of the cluster.
const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

fn volumes(pod: &Value) -> Option<Violation> {
    let (mut names, mut kinds) = (Vec::new(), BTreeSet::new());
    for volume in items(&pod["spec"], "volumes") {
        let kind = volume
            .as_object()
            .into_iter()
            .flatten()
            .find(|(field, source)| *field != "name" && !source.is_null());
        let kind = kind.map_or("unknown", |(kind, _)| kind.as_str());
        if !VOLUMES.contains(&kind) {
            names.push(text(volume, "name"));
            kinds.insert(kind);
        }
    }
    if names.is_empty() {
        return None;
    }
    let (count, of_kinds) = (names.len(), kinds.len());
    found(
        "restricted volume types",
        format!(
            "{} {} {} {} {}",
            plural("volume", "volumes", count),
            join(names),
            plural("uses", "use", count),
            plural("restricted volume type", "restricted volume types", of_kinds),
            join(kinds)
        ),
    )
}

fn run_as_non_root(pod: &Value) -> Option<Violation> {
    let of = |owner: &Value| owner["securityContext"]["runAsNonRoot"].as_bool();
    let own = of(&pod["spec"]);
    let setters = setters(own == Some(false), &which(pod, |container| of(container) == Some(false)));
    if !setters.is_empty() {
        let setters = setters.join(" and ");
        return found(
            "runAsNonRoot != true",
            format!("{setters} must not set securityContext.runAsNonRoot=false"),
        );
    }
    let missing = which(pod, |container| of(container).is_none());
    if own == Some(true) || missing.is_empty() {
        return None;
    }
    found(
        "runAsNonRoot != true",
        format!("pod or {} must set securityContext.runAsNonRoot=true", named(&missing)),
    )
}

fn run_as_user(pod: &Value) -> Option<Violation> {
    let is = |owner: &Value| owner["securityContext"]["runAsUser"] == 0;
    let setters = setters(is(&pod["spec"]), &which(pod, is));
    if setters.is_empty() {
        return None;
    }
    found("runAsUser=0", format!("{} must not set runAsUser=0", setters.join(" and ")))
}
