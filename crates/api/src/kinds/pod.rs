//! Pod: its own defaults, what it starts with, and its quality of service.

use serde_json::{Value, json};

use super::access::{at, at_mut, fill, flag, int, list, list_mut, map, object_mut, set, text};
use super::resources::{entries, fill_list};
use super::{COUNTED, Rules, checks, pod_spec};

pub(super) const RULES: Rules = Rules {
    default,
    create,
    validate: checks::pod_spec::pod,
    validate_create: checks::pod_spec::new_pod,
    validate_update: checks::pod_update::pod,
    validate_status: checks::pod_update::status,
    ..COUNTED
};

fn default(pod: &mut Value) {
    let Some(spec) = object_mut(pod, "spec") else { return };
    for name in ["containers", "initContainers"] {
        for container in list_mut(spec, name) {
            if let Some(resources) = object_mut(container, "resources") {
                let limits = entries(resources, "limits");
                fill_list(resources, "requests", &limits);
            }
        }
    }
    if let Some(resources) = at_mut(spec, "resources") {
        let limits = entries(resources, "limits");
        fill_list(resources, "requests", &limits);
    }
    fill(spec, "enableServiceLinks", true);
    if flag(spec, "hostNetwork") {
        for name in ["containers", "initContainers"] {
            for port in list_mut(spec, name).flat_map(|container| list_mut(container, "ports")) {
                if int(port, "hostPort").unwrap_or_default() == 0 {
                    let number = int(port, "containerPort").unwrap_or_default();
                    set(port, "hostPort", number);
                }
            }
        }
    }
    pod_spec::default(spec);
}

fn create(pod: &mut Value) {
    let mut status = json!({"phase": "Pending", "qosClass": quality_of_service(pod).as_str()});
    if !list(at(pod, "spec"), "schedulingGates").is_empty() {
        status["conditions"] = json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
            "lastProbeTime": null, "lastTransitionTime": null}]);
    }
    set(pod, "status", status);
}

/// How a pod is treated when its node runs out of something (`PodQOSClass`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QualityOfService {
    /// Every container has limits for processor and memory, and requests equal to them.
    Guaranteed,
    /// Some container has a request or a limit.
    Burstable,
    /// No container asks for anything.
    BestEffort,
}

impl QualityOfService {
    /// As in `status.qosClass`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// The quality of service that the requests and limits of a pod ask for.
pub fn quality_of_service(pod: &Value) -> QualityOfService {
    const COUNTED: [&str; 2] = ["cpu", "memory"];
    let spec = at(pod, "spec");
    let is_zero = |amount: &Value| {
        let amount = amount.as_str().and_then(|text| crate::quantity::Quantity::parse(text).ok());
        amount.is_none_or(|amount| amount.is_zero())
    };
    let amounts = |resources: &Value, name: &str| -> Vec<(String, String)> {
        map(resources, name)
            .filter(|(resource, amount)| COUNTED.contains(&resource.as_str()) && !is_zero(amount))
            .map(|(resource, amount)| (resource.clone(), amount.as_str().unwrap_or_default().to_owned()))
            .collect()
    };
    let of_pod = at(spec, "resources");
    let of_containers = list(spec, "initContainers").iter().chain(list(spec, "containers"));
    // Requests and limits of the whole pod decide alone where there are any.
    let parts: Vec<&Value> = if map(of_pod, "requests").chain(map(of_pod, "limits")).next().is_some() {
        vec![of_pod]
    } else {
        of_containers.map(|container| at(container, "resources")).collect()
    };
    let mut is_guaranteed = true;
    let mut asks = false;
    for resources in parts {
        let (mut requests, mut limits) = (amounts(resources, "requests"), amounts(resources, "limits"));
        requests.sort();
        limits.sort();
        asks |= !requests.is_empty() || !limits.is_empty();
        is_guaranteed &= limits.len() == COUNTED.len() && (requests.is_empty() || requests == limits);
    }
    match (asks, is_guaranteed) {
        (false, _) => QualityOfService::BestEffort,
        (true, true) => QualityOfService::Guaranteed,
        (true, false) => QualityOfService::Burstable,
    }
}

/// Whether a pod has ended for good.
pub fn is_finished(pod: &Value) -> bool {
    matches!(text(at(pod, "status"), "phase"), "Succeeded" | "Failed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quality_of_service_follows_requests_and_limits() {
        let pod = |resources: Value| json!({"spec": {"containers": [{"resources": resources}]}});
        let both = json!({"cpu": "1", "memory": "1Gi"});
        let cases = [
            (json!({}), QualityOfService::BestEffort),
            (json!({"requests": {"example.com/gpu": "1"}}), QualityOfService::BestEffort),
            (json!({"requests": {"cpu": "0"}}), QualityOfService::BestEffort),
            (json!({"requests": {"cpu": "1"}}), QualityOfService::Burstable),
            (json!({"limits": both.clone()}), QualityOfService::Guaranteed),
            (
                json!({"limits": both.clone(), "requests": {"memory": "1Gi", "cpu": "1"}}),
                QualityOfService::Guaranteed,
            ),
            (json!({"limits": both, "requests": {"memory": "1Gi"}}), QualityOfService::Burstable),
        ];
        for (resources, class) in cases {
            assert_eq!(quality_of_service(&pod(resources.clone())), class, "{resources}");
        }
    }
}
