//! PodSecurity: how much a pod of a namespace may do to the machine it runs on, by the labels of the namespace.
//!
//! Three modes, each with a level and a version: what `enforce` forbids is refused, what `warn` forbids is told to
//! the user, also of the templates of workloads; and what `audit` forbids, to the audit log. What the levels forbid is
//! in [`checks`].

mod checks;

#[cfg(test)]
mod tests;

use std::fmt;

use api::field::FieldError;
use api::status::Status;
use serde_json::Value;
use store::{Bucket, Entry};

use super::{Operation, Request, items, read, text};
use crate::audit;
use crate::pipeline::{Subresource, header};

const PREFIX: &str = "pod-security.kubernetes.io/";

/// How many pods of a namespace are looked at when its level becomes stricter.
const MOST_PODS: usize = 3000;

/// How much is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Everything.
    Privileged,
    /// What does not let a container out.
    Baseline,
    /// What is known to be good.
    Restricted,
}

/// A level as it was in a version of Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy {
    level: Level,
    /// The minor version; none is the latest.
    minor: Option<u32>,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        match self.minor {
            None => write!(f, "{level}:latest"),
            Some(minor) => write!(f, "{level}:v1.{minor}"),
        }
    }
}

/// Reads the policy of a mode from the labels of a namespace. What cannot be read is as strict as can be where it
/// is enforced, and as lax as can be elsewhere.
fn policy<'a>(mode: &str, label: impl Fn(&str) -> Option<&'a str>, errors: &mut Vec<FieldError>) -> Policy {
    let mut policy = Policy { level: Level::Privileged, minor: None };
    let key = format!("{PREFIX}{mode}");
    match label(&key) {
        None => {}
        Some("privileged") => {}
        Some("baseline") => policy.level = Level::Baseline,
        Some("restricted") => policy.level = Level::Restricted,
        Some(other) => {
            errors.push(FieldError::invalid(
                format!("metadata.labels[{key}]"),
                other,
                "must be one of privileged, baseline, restricted",
            ));
            policy.level = if mode == "enforce" { Level::Restricted } else { Level::Privileged };
        }
    }
    let key = format!("{key}-version");
    match label(&key) {
        None | Some("latest") => {}
        Some(version) => match version.strip_prefix("v1.").map(str::parse::<u32>) {
            Some(Ok(minor)) if version == format!("v1.{minor}") => policy.minor = Some(minor),
            _ => errors.push(FieldError::invalid(
                format!("metadata.labels[{key}]"),
                version,
                "must be \"latest\" or \"v1.x\"",
            )),
        },
    }
    policy
}

/// Judges pods, the templates of workloads, and the labels of namespaces.
pub(super) fn check(
    request: &Request<'_>,
    object: &Value,
    old: Option<&Value>,
    warnings: &mut Vec<String>,
) -> Result<(), Status> {
    match (&*request.def.bucket, request.subresource) {
        ("namespaces", None) => of_namespace(request, object, old, warnings),
        ("pods", None | Some(Subresource::EphemeralContainers | Subresource::Resize)) => {
            of_pod(request, object, old, warnings)
        }
        (_, None) => {
            of_template(request, object, warnings);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn namespace<'a>(request: &Request<'a>) -> Option<&'a Entry> {
    request
        .snapshot
        .get(&store::Key::new(&Bucket::from("namespaces"), "", request.namespace))
        .map(|entry| &**entry)
}

fn of_pod(
    request: &Request<'_>,
    pod: &Value,
    old: Option<&Value>,
    warnings: &mut Vec<String>,
) -> Result<(), Status> {
    let Some(namespace) = namespace(request) else { return Ok(()) };
    let labels = &header(namespace).labels;
    if !labels.iter().any(|(key, _)| key.starts_with(PREFIX)) || old.is_some_and(|old| alike(pod, old)) {
        return Ok(());
    }
    let mut errors = Vec::new();
    let enforced = policy("enforce", |key| labels.get(key), &mut errors);
    audit::annotate(audit::Level::Metadata, format!("{PREFIX}enforce-policy"), enforced.to_string());
    audited(policy("audit", |key| labels.get(key), &mut errors), pod);
    if let Some(why) = violations(enforced, pod) {
        return Err(request.forbid(
            Some(pod),
            format_args!("violates PodSecurity {}: {why}", super::quoted(&enforced.to_string())),
        ));
    }
    let told = policy("warn", |key| labels.get(key), &mut errors);
    warn(told, pod, warnings);
    Ok(())
}

/// Tells the audit log.
fn audited(policy: Policy, pod: &Value) {
    if let Some(why) = violations(policy, pod) {
        let told = format!("would violate PodSecurity {}: {why}", super::quoted(&policy.to_string()));
        audit::annotate(audit::Level::Metadata, format!("{PREFIX}audit-violations"), told);
    }
}

fn warn(policy: Policy, pod: &Value, warnings: &mut Vec<String>) {
    if let Some(why) = violations(policy, pod) {
        warnings.push(format!("would violate PodSecurity {}: {why}", super::quoted(&policy.to_string())));
    }
}

/// A workload is not refused, since its pods will be; but its user learns of it now.
fn of_template(request: &Request<'_>, object: &Value, warnings: &mut Vec<String>) {
    let template = match &*request.def.bucket {
        "podtemplates" => &object["template"],
        "cronjobs.batch" => &object["spec"]["jobTemplate"]["spec"]["template"],
        "replicationcontrollers"
        | "deployments.apps"
        | "replicasets.apps"
        | "statefulsets.apps"
        | "daemonsets.apps"
        | "jobs.batch" => &object["spec"]["template"],
        _ => return,
    };
    let Some(namespace) = namespace(request).filter(|_| template.is_object()) else { return };
    let labels = &header(namespace).labels;
    audited(policy("audit", |key| labels.get(key), &mut Vec::new()), template);
    warn(policy("warn", |key| labels.get(key), &mut Vec::new()), template, warnings);
}

fn of_namespace(
    request: &Request<'_>,
    namespace: &Value,
    old: Option<&Value>,
    warnings: &mut Vec<String>,
) -> Result<(), Status> {
    let all = |namespace: &Value| {
        let labels = &namespace["metadata"]["labels"];
        let mut errors = Vec::new();
        let enforced = policy("enforce", |key| labels[key].as_str(), &mut errors);
        for mode in ["audit", "warn"] {
            policy(mode, |key| labels[key].as_str(), &mut errors);
        }
        (enforced, errors)
    };
    let name = text(&namespace["metadata"], "name");
    let (new, errors) = all(namespace);
    let before = old.map(all);
    let known = before.as_ref().is_some_and(|(_, before)| *before == errors);
    if !errors.is_empty() && !known {
        return Err(api::kinds::invalid(request.def, name, &errors));
    }
    let Some((before, _)) = before.filter(|_| request.operation == Operation::Update) else { return Ok(()) };
    let relaxed = new.minor == before.minor && new.level <= before.level;
    if new == before || new.level == Level::Privileged || relaxed {
        return Ok(());
    }
    warnings.extend(of_existing(request, name, new));
    Ok(())
}

/// What the pods that are there already would have been told.
fn of_existing(request: &Request<'_>, namespace: &str, policy: Policy) -> Vec<String> {
    let bucket = Bucket::from("pods");
    let total = request.snapshot.list(&bucket, Some(namespace), None).count();
    // The pods come by name: the first of each kind is the one that is named.
    let mut found: Vec<(String, String, usize)> = Vec::new();
    for entry in request.snapshot.list(&bucket, Some(namespace), None).take(MOST_PODS) {
        let Some(why) =
            read(entry).map(|pod| checks::reasons(&checks::run(policy.level, policy.minor, &pod)))
        else {
            continue;
        };
        if why.is_empty() {
            continue;
        }
        match found.iter_mut().find(|(_, own, _)| *own == why) {
            Some((_, _, count)) => *count += 1,
            None => found.push((entry.key.name().to_owned(), why, 1)),
        }
    }
    let mut told = Vec::new();
    if total > MOST_PODS {
        told.push(format!(
            "new PodSecurity enforce level only checked against the first {MOST_PODS} of {total} existing pods"
        ));
    }
    if !found.is_empty() {
        told.push(format!(
            "existing pods in namespace {} violate the new PodSecurity enforce level {}",
            super::quoted(namespace),
            super::quoted(&policy.to_string())
        ));
    }
    let mut each: Vec<String> = found
        .into_iter()
        .map(|(name, why, count)| match count {
            1 => format!("{name}: {why}"),
            2 => format!("{name} (and 1 other pod): {why}"),
            count => format!("{name} (and {} other pods): {why}", count - 1),
        })
        .collect();
    each.sort();
    told.extend(each);
    told
}

/// What is wrong with a pod, or a template of one.
fn violations(policy: Policy, pod: &Value) -> Option<String> {
    if policy.level == Level::Privileged {
        return None;
    }
    let found = checks::run(policy.level, policy.minor, pod);
    (!found.is_empty()).then(|| checks::details(&found))
}

/// Whether nothing that is judged has changed: of a pod that is there, little can.
fn alike(new: &Value, old: &Value) -> bool {
    let images = |pod: &Value| -> Vec<(String, Value)> {
        ["initContainers", "containers", "ephemeralContainers"]
            .into_iter()
            .flat_map(|list| items(&pod["spec"], list))
            .map(|container| (text(container, "name").to_owned(), container["image"].clone()))
            .collect()
    };
    let annotations = |pod: &Value| -> Vec<(String, Value)> {
        let all = pod["metadata"]["annotations"].as_object().into_iter().flatten();
        all.filter(|(key, _)| key.contains("seccomp.") || key.contains("apparmor."))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    images(new) == images(old) && annotations(new) == annotations(old)
}
