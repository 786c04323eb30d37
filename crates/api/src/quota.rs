//! What an object uses of a ResourceQuota, and which objects a quota counts. Admission refuses by it, a controller
//! reports by it: both must count alike.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::quantity::Quantity;

/// Amounts by the name of a resource, as `requests.cpu`.
pub type Amounts = BTreeMap<String, Quantity>;

/// Resources that containers must name where a quota bounds them.
const COMPUTE: [&str; 6] =
    ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

/// Kinds that have a name of their own for their number, beside `count/`.
const COUNTED: [&str; 4] = ["configmaps", "secrets", "replicationcontrollers", "resourcequotas"];

const CLAIMS: &str = "persistentvolumeclaims";
const OF_CLASS: &str = ".storageclass.storage.k8s.io/";

/// A quota, as far as counting goes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Quota {
    /// Its name.
    pub name: String,
    /// The bounds.
    pub hard: Amounts,
    scopes: Vec<Scope>,
}

#[derive(Debug, Clone, PartialEq)]
struct Scope {
    name: String,
    operator: String,
    values: Vec<String>,
}

impl Quota {
    /// Reads a ResourceQuota.
    pub fn read(quota: &Value) -> Self {
        let spec = &quota["spec"];
        let plain = items(spec, "scopes").filter_map(Value::as_str).map(|name| Scope {
            name: name.to_owned(),
            operator: "Exists".to_owned(),
            values: Vec::new(),
        });
        let selected = items(&spec["scopeSelector"], "matchExpressions").map(|expression| Scope {
            name: text(expression, "scopeName").to_owned(),
            operator: text(expression, "operator").to_owned(),
            values: items(expression, "values").filter_map(Value::as_str).map(str::to_owned).collect(),
        });
        Self {
            name: text(&quota["metadata"], "name").to_owned(),
            hard: amounts(&spec["hard"]),
            scopes: plain.chain(selected).collect(),
        }
    }

    /// The buckets of which it counts objects, as `pods` and `deployments.apps`.
    pub fn buckets(&self) -> BTreeSet<&str> {
        self.hard.keys().map(|name| bucket_of(name)).collect()
    }

    /// Whether it counts this object of the bucket at all.
    pub fn counts(&self, bucket: &str, object: &Value) -> bool {
        self.buckets().contains(bucket)
            && self.scopes.iter().all(|scope| bucket == "pods" && scope.holds(object))
    }

    /// Those of the amounts that it bounds.
    pub fn bounded(&self, amounts: &Amounts) -> Amounts {
        amounts
            .iter()
            .filter(|(name, _)| self.hard.contains_key(*name))
            .map(|(name, amount)| (name.clone(), *amount))
            .collect()
    }

    /// Nothing of everything that it bounds.
    pub fn nothing(&self) -> Amounts {
        self.hard
            .iter()
            .map(|(name, hard)| (name.clone(), hard.checked_sub(hard).unwrap_or(Quantity::ZERO)))
            .collect()
    }

    /// What a new pod must say and does not: a bound means nothing for who does not say what he takes.
    pub fn unsaid(&self, pod: &Value) -> Option<String> {
        let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for required in COMPUTE.into_iter().filter(|name| self.hard.contains_key(*name)) {
            for list in ["containers", "initContainers"] {
                for container in items(&pod["spec"], list) {
                    let (which, name) = match required.split_once('.') {
                        Some(("limits", name)) => ("limits", name),
                        Some((_, name)) => ("requests", name),
                        None => ("requests", required),
                    };
                    let said = [&container["resources"][which], &pod["spec"]["resources"][which]];
                    if said.iter().all(|list| list[name].is_null()) {
                        missing.entry(required).or_default().insert(text(container, "name"));
                    }
                }
            }
        }
        let each = missing.into_iter().map(|(resource, names)| {
            format!("{resource} for: {}", names.into_iter().collect::<Vec<_>>().join(","))
        });
        let each: Vec<String> = each.collect();
        (!each.is_empty()).then(|| format!("must specify {}", each.join("; ")))
    }
}

impl Scope {
    fn holds(&self, pod: &Value) -> bool {
        let spec = &pod["spec"];
        match self.name.as_str() {
            "Terminating" => spec["activeDeadlineSeconds"].as_i64().is_some_and(|seconds| seconds >= 0),
            "NotTerminating" => spec["activeDeadlineSeconds"].as_i64().is_none_or(|seconds| seconds < 0),
            "BestEffort" => is_best_effort(pod),
            "NotBestEffort" => !is_best_effort(pod),
            "PriorityClass" => {
                let class = text(spec, "priorityClassName");
                let listed = self.values.iter().any(|value| value == class);
                match self.operator.as_str() {
                    "In" => listed,
                    "NotIn" => !listed,
                    "DoesNotExist" => class.is_empty(),
                    _ => !class.is_empty(),
                }
            }
            "CrossNamespacePodAffinity" => ["podAffinity", "podAntiAffinity"].into_iter().any(|kind| {
                let affinity = &spec["affinity"][kind];
                let hard = items(affinity, "requiredDuringSchedulingIgnoredDuringExecution");
                let soft = items(affinity, "preferredDuringSchedulingIgnoredDuringExecution")
                    .map(|weighted| &weighted["podAffinityTerm"]);
                hard.chain(soft).any(|term| {
                    items(term, "namespaces").next().is_some() || term["namespaceSelector"].is_object()
                })
            }),
            _ => false,
        }
    }
}

fn is_best_effort(pod: &Value) -> bool {
    ["containers", "initContainers"].into_iter().flat_map(|list| items(&pod["spec"], list)).all(|container| {
        ["requests", "limits"].into_iter().all(|which| {
            let list = container["resources"][which].as_object();
            list.is_none_or(|list| !list.contains_key("cpu") && !list.contains_key("memory"))
        })
    })
}

/// The objects that a bound is about.
fn bucket_of(name: &str) -> &str {
    if let Some(bucket) = name.strip_prefix("count/") {
        return bucket;
    }
    if name == "services" || name.starts_with("services.") {
        return "services";
    }
    if name == CLAIMS || name == "requests.storage" || name.contains(OF_CLASS) {
        return CLAIMS;
    }
    if COUNTED.contains(&name) { name } else { "pods" }
}

/// What an object of the bucket uses, of every resource that a quota may bound.
pub fn usage(bucket: &str, object: &Value) -> Amounts {
    let mut used = Amounts::new();
    let one = Quantity::new(1);
    used.insert(format!("count/{bucket}"), one);
    match bucket {
        "pods" => of_pod(object, &mut used),
        "services" => of_service(object, &mut used),
        CLAIMS => of_claim(object, &mut used),
        counted if COUNTED.contains(&counted) => {
            used.insert(counted.to_owned(), one);
        }
        _ => {}
    }
    used
}

fn of_pod(pod: &Value, used: &mut Amounts) {
    // Who has come to an end uses no more than a place in the store.
    if matches!(text(&pod["status"], "phase"), "Succeeded" | "Failed") {
        return;
    }
    used.insert("pods".to_owned(), Quantity::new(1));
    for (name, amount) in of_containers(pod, "requests") {
        if matches!(&*name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-") {
            used.insert(name.clone(), amount);
        }
        used.insert(format!("requests.{name}"), amount);
    }
    for (name, amount) in of_containers(pod, "limits") {
        if matches!(&*name, "cpu" | "memory" | "ephemeral-storage") {
            used.insert(format!("limits.{name}"), amount);
        }
    }
}

/// What a pod asks for as a whole (`requests` or `limits`): its containers together, at least what the largest of its
/// init containers asks for beside those that go on, what it says for itself, and its overhead.
pub fn of_containers(pod: &Value, which: &str) -> Amounts {
    let spec = &pod["spec"];
    let mut all = Amounts::new();
    for container in items(spec, "containers") {
        add(&mut all, &amounts(&container["resources"][which]));
    }
    let (mut sidecars, mut most) = (Amounts::new(), Amounts::new());
    for container in items(spec, "initContainers") {
        let mut own = amounts(&container["resources"][which]);
        if text(container, "restartPolicy") == "Always" {
            add(&mut all, &own);
            add(&mut sidecars, &own);
            own = sidecars.clone();
        } else {
            add(&mut own, &sidecars);
        }
        raise(&mut most, own);
    }
    raise(&mut all, most);
    for (name, amount) in amounts(&spec["resources"][which]) {
        all.insert(name, amount);
    }
    for (name, amount) in amounts(&spec["overhead"]) {
        // No limit is none, with overhead too.
        if which == "requests" || all.contains_key(&name) {
            add(&mut all, &Amounts::from([(name, amount)]));
        }
    }
    all
}

fn of_service(service: &Value, used: &mut Amounts) {
    let spec = &service["spec"];
    let kind = text(spec, "type");
    let ports = i64::try_from(items(spec, "ports").count()).unwrap_or(i64::MAX);
    used.insert("services".to_owned(), Quantity::new(1));
    let balanced = kind == "LoadBalancer";
    used.insert("services.loadbalancers".to_owned(), Quantity::new(balanced.into()));
    let given = items(spec, "ports").filter(|port| port["nodePort"].as_i64().is_some_and(|port| port != 0));
    let nodes = match kind {
        "NodePort" => ports,
        "LoadBalancer" if spec["allocateLoadBalancerNodePorts"] != false => ports,
        "LoadBalancer" => i64::try_from(given.count()).unwrap_or(i64::MAX),
        _ => 0,
    };
    used.insert("services.nodeports".to_owned(), Quantity::new(nodes));
}

fn of_claim(claim: &Value, used: &mut Amounts) {
    let one = Quantity::new(1);
    used.insert(CLAIMS.to_owned(), one);
    let annotation = text(&claim["metadata"]["annotations"], "volume.beta.kubernetes.io/storage-class");
    let class = if annotation.is_empty() { text(&claim["spec"], "storageClassName") } else { annotation };
    if !class.is_empty() {
        used.insert(format!("{class}{OF_CLASS}{CLAIMS}"), one);
    }
    if let Some(storage) = amounts(&claim["spec"]["resources"]["requests"]).remove("storage") {
        used.insert("requests.storage".to_owned(), storage);
        if !class.is_empty() {
            used.insert(format!("{class}{OF_CLASS}requests.storage"), storage);
        }
    }
}

/// Adds amounts to others.
pub fn add(to: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = to.get(name).map_or(Some(*amount), |own| own.checked_add(amount));
        to.insert(name.clone(), sum.unwrap_or(*amount));
    }
}

/// Each amount at least as large as its counterpart.
fn raise(to: &mut Amounts, least: Amounts) {
    for (name, amount) in least {
        if to.get(&name).is_none_or(|own| *own < amount) {
            to.insert(name, amount);
        }
    }
}

/// Amounts as messages have them: `cpu=1,pods=2`.
pub fn show(amounts: &Amounts) -> String {
    let each = amounts.iter().map(|(name, amount)| format!("{name}={amount}"));
    each.collect::<Vec<_>>().join(",")
}

/// A list of amounts in a document.
pub fn amounts(list: &Value) -> Amounts {
    list.as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, amount)| {
            let amount = match amount {
                Value::String(text) => Quantity::parse(text).ok(),
                Value::Number(number) => Quantity::parse(&number.to_string()).ok(),
                _ => None,
            };
            Some((name.clone(), amount?))
        })
        .collect()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn items<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value[field].as_array().into_iter().flatten()
}
