//! Replays exchanges that a real server answered, as far as they concern the pipeline.
//!
//! The exchanges are not part of this repository: without them the test says so and passes.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::harness::Server;

/// What differs from run to run and means nothing.
const VOLATILE: [&str; 10] = [
    "uid",
    "creationTimestamp",
    "resourceVersion",
    "managedFields",
    "time",
    "deletionTimestamp",
    "selfLink",
    "continue",
    "token",
    "expirationTimestamp",
];

/// A file or folder of what a real server said, where it is present.
pub fn reference(name: &str) -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference");
    let path = std::env::var_os("COXSWAIN_REFERENCE").map_or(root, PathBuf::from).join(name);
    path.exists().then_some(path)
}

fn scrub(value: &Value, key: &str) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields = fields.clone();
            sort_causes(&mut fields);
            for list in ["resourceRules", "nonResourceRules"] {
                if let Some(Value::Array(rules)) = fields.get_mut(list) {
                    rules.sort_by_key(Value::to_string);
                }
            }
            let scrubbed = fields.iter().filter(|(name, _)| !(*name == "managedFields" && key == "metadata"));
            Value::Object(
                scrubbed
                    .map(|(name, value)| {
                        let value = if VOLATILE.contains(&name.as_str()) {
                            format!("<{name}>").into()
                        } else {
                            scrub(value, name)
                        };
                        (name.clone(), value)
                    })
                    .collect(),
            )
        }
        Value::Array(values) => values.iter().map(|value| scrub(value, key)).collect(),
        Value::String(text) => scrub_text(text, key).into(),
        Value::Number(_)
            if matches!(
                key,
                "nodePort" | "healthCheckNodePort" | "retryAfterSeconds" | "remainingItemCount"
            ) =>
        {
            format!("<{key}>").into()
        }
        other => other.clone(),
    }
}

/// Several causes come in any order.
fn sort_causes(fields: &mut Map<String, Value>) {
    if fields.get("kind") != Some(&json!("Status")) {
        return;
    }
    let Some(Value::Array(causes)) = fields.get_mut("details").and_then(|details| details.get_mut("causes"))
    else {
        return;
    };
    if causes.len() > 1 {
        causes.sort_by_key(|cause| format!("{}{}{}", cause["field"], cause["message"], cause["reason"]));
        fields.insert("message".to_owned(), "<several causes>".into());
    }
}

fn scrub_text(text: &str, key: &str) -> String {
    if text.starts_with("X509SHA256=") {
        return "X509SHA256=<hash>".to_owned();
    }
    if key == "username" {
        return "<username>".to_owned();
    }
    if matches!(key, "clusterIP" | "clusterIPs") && text.starts_with("10.") {
        return "<ip>".to_owned();
    }
    if is_time(text) {
        return "<time>".to_owned();
    }
    let age = text.trim_start_matches(|c: char| c.is_ascii_digit());
    if age.len() < text.len() && matches!(age, "s" | "m") {
        return "<age>".to_owned();
    }
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(uuid) = rest.get(..36).filter(|part| is_uuid(part)) {
            out.push_str("<uuid>");
            rest = &rest[uuid.len()..];
        } else if let Some(after) = rest.strip_prefix("current: ") {
            out.push_str("current: N");
            rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == 'N');
        } else {
            let c = rest.chars().next().expect("it is not empty");
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

/// As `2026-11-23T03:12:00Z`.
fn is_time(text: &str) -> bool {
    text.len() == 20 && text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok()
}

fn is_uuid(text: &str) -> bool {
    text.bytes().enumerate().all(|(place, byte)| match place {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

/// Where two answers differ.
fn differences(path: &str, want: &Value, got: &Value, found: &mut Vec<String>) {
    match (want, got) {
        (Value::Object(left), Value::Object(right)) => {
            for name in left.keys().chain(right.keys().filter(|name| !left.contains_key(*name))) {
                differences(&format!("{path}.{name}"), &want[name], &got[name], found);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                differences(&format!("{path}[{index}]"), left, right, found);
            }
        }
        _ if want != got => found.push(format!("   {path}: want {want} got {got}")),
        _ => {}
    }
}

#[tokio::test]
async fn recorded_exchanges_are_answered_as_a_real_server_answered_them() {
    let Some(file) = reference("recorded.jsonl") else {
        println!("skipped: the recorded exchanges are not here (set COXSWAIN_REFERENCE)");
        return;
    };
    let server = Server::start().await;
    for namespace in ["rec"] {
        let document = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        server.create("v1/namespaces", document).await.expect("a namespace");
        // No controller makes it here.
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}})
            .to_string();
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        assert_eq!(server.exchange("POST", &path, "application/json", account.as_bytes()).await.0, 201);
    }
    let show: usize = std::env::var("SHOW").ok().and_then(|show| show.parse().ok()).unwrap_or(0);
    let mut shown = 0;
    let mut equal = BTreeSet::new();
    let mut total = 0;
    for line in std::fs::read_to_string(file).expect("the exchanges").lines() {
        let row: Value = serde_json::from_str(line).expect("an exchange");
        total += 1;
        let title = row["title"].as_str().unwrap_or_default().to_owned();
        let request = &row["request"];
        let text = |name: &str| request[name].as_str().unwrap_or_default().to_owned();
        let accept = text("accept");
        if accept.contains("as=") || accept.contains("xml") || text("contentType") == "text/plain" {
            continue;
        }
        let body = match &request["body"] {
            Value::Null => Vec::new(),
            Value::String(text) => text.clone().into_bytes(),
            other => other.to_string().into_bytes(),
        };
        let (code, answer) =
            server.exchange(&text("method"), &text("path"), &text("contentType"), &body).await;
        let wanted = &row["response"];
        let answer = if wanted["body"].get("managedFields").is_some() {
            json!({"managedFields": answer["metadata"]["managedFields"]})
        } else {
            answer
        };
        let (got, want) = (scrub(&answer, ""), scrub(&wanted["body"], ""));
        if wanted["code"] == code && got == want {
            equal.insert(title);
        } else if shown < show {
            shown += 1;
            println!("-- {title} {} {code}", wanted["code"]);
            let mut found = Vec::new();
            differences("", &want, &got, &mut found);
            println!("{}", found.join("\n"));
        }
    }
    println!("equal {} of {total}", equal.len());
    let missing: Vec<_> = EQUAL.iter().filter(|title| !equal.contains(**title)).collect();
    assert!(missing.is_empty(), "no longer equal: {missing:#?}");
    let unlisted: Vec<_> = equal.iter().filter(|title| !EQUAL.contains(&title.as_str())).collect();
    println!("equal now, to be listed: {unlisted:#?}");
}

/// The exchanges that are answered equally.
const EQUAL: &[&str] = &[
    "create v1 services s1: defaults",
    "create v1 services s2: defaults",
    "create v1 services s3: defaults",
    "create v1 services s4: defaults",
    "create v1 services s5: defaults",
    "create v1 replicationcontrollers rc: defaults",
    "create v1 configmaps cm: defaults",
    "create v1 secrets sec: defaults",
    "create v1 serviceaccounts sa: defaults",
    "create v1 limitranges lr: defaults",
    "create v1 resourcequotas rq: defaults",
    "create v1 persistentvolumeclaims pvc: defaults",
    "create v1 podtemplates pt: defaults",
    "create v1 endpoints ep: defaults",
    "create v1 events ev: defaults",
    "create apps/v1 deployments d: defaults",
    "create apps/v1 replicasets rs: defaults",
    "create apps/v1 statefulsets ss: defaults",
    "create apps/v1 daemonsets ds: defaults",
    "create apps/v1 controllerrevisions cr: defaults",
    "create batch/v1 jobs j: defaults",
    "create batch/v1 jobs ji: defaults",
    "create batch/v1 cronjobs cj: defaults",
    "create autoscaling/v2 horizontalpodautoscalers hpa: defaults",
    "create autoscaling/v1 horizontalpodautoscalers hpa1: defaults",
    "create policy/v1 poddisruptionbudgets pdb: defaults",
    "create networking.k8s.io/v1 ingresses ing: defaults",
    "create networking.k8s.io/v1 networkpolicies np: defaults",
    "create discovery.k8s.io/v1 endpointslices es: defaults",
    "create coordination.k8s.io/v1 leases l: defaults",
    "create rbac.authorization.k8s.io/v1 roles r: defaults",
    "create rbac.authorization.k8s.io/v1 rolebindings rb: defaults",
    "create v1 nodes recnode: defaults",
    "create v1 namespaces rec2: defaults",
    "create storage.k8s.io/v1 storageclasses sc: defaults",
    "create storage.k8s.io/v1 csidrivers drv.example.com: defaults",
    "create scheduling.k8s.io/v1 priorityclasses pc: defaults",
    "create node.k8s.io/v1 runtimeclasses rtc: defaults",
    "create networking.k8s.io/v1 ingressclasses ic: defaults",
    "create apiextensions.k8s.io/v1 customresourcedefinitions widgets.example.com: defaults",
    "create admissionregistration.k8s.io/v1 validatingwebhookconfigurations vwc: defaults",
    "invalid: no containers",
    "invalid: bad name",
    "invalid: bad image and dup container",
    "invalid: bad restartPolicy",
    "invalid: bad port and protocol",
    "invalid: volume mount without volume",
    "invalid: request above limit",
    "invalid: bad quantity",
    "invalid: wrong type",
    "invalid: unknown field, strict",
    "invalid: duplicate field, strict",
    "invalid: malformed json",
    "invalid: empty body",
    "invalid: wrong kind",
    "invalid: wrong apiVersion",
    "invalid: wrong namespace",
    "invalid: no name",
    "invalid: already exists",
    "invalid: namespace not found",
    "invalid: bad label key and value",
    "invalid: bad annotation key",
    "invalid: bad configmap key",
    "invalid: bad owner reference",
    "invalid: bad finalizer",
    "invalid: service bad port",
    "invalid: service two unnamed ports",
    "invalid: service nodeport out of range",
    "invalid: service clusterIP out of range",
    "invalid: deployment selector mismatch",
    "invalid: deployment no selector",
    "invalid: deployment bad strategy",
    "invalid: job restartPolicy Always",
    "invalid: cronjob schedule",
    "invalid: hpa max below min",
    "invalid: pdb both",
    "invalid: pvc no size",
    "invalid: pv no capacity",
    "invalid: role empty rule",
    "get not found",
    "unknown resource",
    "method not allowed",
    "bad label selector",
    "bad field selector",
    "bad resourceVersion",
    "bad continue token",
    "too large resourceVersion",
    "list one page",
    "selectors",
    "strategic merge: add container",
    "strategic merge: change one container",
    "strategic merge: $patch delete",
    "strategic merge: $setElementOrder and ports",
    "strategic merge: $retainKeys",
    "merge patch: delete key",
    "json patch: test fails",
    "json patch: add",
    "json patch: bad path",
    "apply: create",
    "apply: conflict",
    "apply: force",
    "apply: give up a field",
    "apply: deployment twice, list map merge",
    "apply: deployment second manager adds container",
    "managedFields after two appliers",
    "apply: no fieldManager",
    "update conflict",
    "immutable selector",
    "scale get",
    "scale put",
    "status subresource ignores spec",
    "eviction dry run",
    "self subject access review",
    "self subject review",
    "binding",
    "binding twice",
    "delete with precondition",
    "delete configmap",
    "dry run create",
    "bad dryRun",
    "delete deployment foreground",
    "delete namespace",
    "invalid: crd name mismatch",
];
