//! Pods: the status that people read is put together from the phase, the containers and what is going on.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::cell::{self, NONE, list, text, text_or};
use super::{AGE, NAME, Printer, age, text as column, wide};

pub(super) static POD: Printer = Printer {
    columns: &[
        NAME,
        column("Ready"),
        column("Status"),
        column("Restarts"),
        AGE,
        wide("IP"),
        wide("Node"),
        wide("Nominated Node"),
        wide("Readiness Gates"),
    ],
    cells,
};

/// What the containers of a pod add up to.
struct Summary {
    reason: String,
    ready: usize,
    total: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

fn cells(pod: &Value, now: Timestamp) -> Vec<Value> {
    let Summary { reason, ready, total, restarts, last_restart } = summary(pod);
    let restarts = match last_restart {
        Some(then) if restarts != 0 => format!("{restarts} ({} ago)", age::since(then, now)),
        _ => restarts.to_string(),
    };
    let status = &pod["status"];
    let address = list(&status["podIPs"]).first().map_or("", |first| text(&first["ip"]));
    let address = if address.is_empty() { text(&status["podIP"]) } else { address };
    vec![
        cell::name(pod),
        format!("{ready}/{total}").into(),
        reason.into(),
        restarts.into(),
        cell::age(pod, now),
        if address.is_empty() { NONE } else { address }.into(),
        text_or(&pod["spec"]["nodeName"], NONE).into(),
        text_or(&status["nominatedNodeName"], NONE).into(),
        gates(pod).into(),
    ]
}

fn gates(pod: &Value) -> String {
    let gates = list(&pod["spec"]["readinessGates"]);
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let open = gates.iter().filter(|gate| cell::is_true(pod, text(&gate["conditionType"]))).count();
    format!("{open}/{}", gates.len())
}

/// An init container that goes on beside the others.
fn is_sidecar(pod: &Value, name: &str) -> bool {
    let init = list(&pod["spec"]["initContainers"]);
    init.iter().any(|container| container["name"] == name && container["restartPolicy"] == "Always")
}

fn ended_at(container: &Value) -> Option<Timestamp> {
    text(&container["lastState"]["terminated"]["finishedAt"]).parse().ok()
}

fn summary(pod: &Value) -> Summary {
    let status = &pod["status"];
    let mut reason = text_or(&status["reason"], text(&status["phase"])).to_owned();
    if cell::condition(pod, "PodScheduled").is_some_and(|one| one["reason"] == "SchedulingGated") {
        reason = "SchedulingGated".to_owned();
    }
    let init = list(&pod["spec"]["initContainers"]);
    let sidecars = init.iter().filter(|container| container["restartPolicy"] == "Always").count();
    let mut summary = Summary {
        reason,
        ready: 0,
        total: list(&pod["spec"]["containers"]).len() + sidecars,
        restarts: 0,
        last_restart: None,
    };
    let initializing = initialization(pod, init.len(), &mut summary);
    if !initializing || cell::is_true(pod, "Initialized") {
        containers(pod, &mut summary);
    }
    let deleting = !pod["metadata"]["deletionTimestamp"].is_null();
    if deleting && status["reason"] == "NodeLost" {
        summary.reason = "Unknown".to_owned();
    } else if deleting && !matches!(text(&status["phase"]), "Succeeded" | "Failed") {
        summary.reason = "Terminating".to_owned();
    }
    summary
}

/// Looks at the init containers up to the first that is not done; says whether there is one.
fn initialization(pod: &Value, total: usize, summary: &mut Summary) -> bool {
    let mut of_sidecars = (0, None);
    let mut initializing = false;
    for (place, container) in list(&pod["status"]["initContainerStatuses"]).iter().enumerate() {
        let restarts = cell::integer(&container["restartCount"]);
        summary.restarts += restarts;
        summary.last_restart = summary.last_restart.max(ended_at(container));
        let sidecar = is_sidecar(pod, text(&container["name"]));
        if sidecar {
            of_sidecars = (of_sidecars.0 + restarts, of_sidecars.1.max(ended_at(container)));
        }
        let terminated = &container["state"]["terminated"];
        let waiting = text(&container["state"]["waiting"]["reason"]);
        if terminated.is_object() && cell::integer(&terminated["exitCode"]) == 0 {
            continue;
        }
        if sidecar && container["started"] == true {
            summary.ready += usize::from(container["ready"] == true);
            continue;
        }
        summary.reason = if terminated.is_object() {
            format!("Init:{}", end_of(terminated))
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{place}/{total}")
        };
        initializing = true;
        break;
    }
    if !initializing || cell::is_true(pod, "Initialized") {
        // From here on only those count that still run.
        (summary.restarts, summary.last_restart) = of_sidecars;
    }
    initializing
}

fn containers(pod: &Value, summary: &mut Summary) {
    let mut any_runs = false;
    for container in list(&pod["status"]["containerStatuses"]).iter().rev() {
        summary.restarts += cell::integer(&container["restartCount"]);
        summary.last_restart = summary.last_restart.max(ended_at(container));
        let terminated = &container["state"]["terminated"];
        let waiting = text(&container["state"]["waiting"]["reason"]);
        if !waiting.is_empty() {
            summary.reason = waiting.to_owned();
        } else if terminated.is_object() {
            summary.reason = end_of(terminated);
        } else if container["ready"] == true && container["state"]["running"].is_object() {
            any_runs = true;
            summary.ready += 1;
        }
    }
    if summary.reason == "Completed" && any_runs {
        let ready = cell::is_true(pod, "Ready");
        summary.reason = if ready { "Running" } else { "NotReady" }.to_owned();
    }
}

/// Why a container ended.
fn end_of(terminated: &Value) -> String {
    let signal = cell::integer(&terminated["signal"]);
    match text(&terminated["reason"]) {
        "" if signal != 0 => format!("Signal:{signal}"),
        "" => format!("ExitCode:{}", cell::integer(&terminated["exitCode"])),
        reason => reason.to_owned(),
    }
}

/// Tells clients that a pod has run to its end.
pub(super) fn conditions(pod: &Value) -> Option<Value> {
    let (reason, message) = match text(&pod["status"]["phase"]) {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}
