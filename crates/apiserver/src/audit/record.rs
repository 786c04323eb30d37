//! What is known of one request while it is answered, and the record that becomes of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use api::status::Status;
use bytes::Bytes;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::policy::{Asked, Level, Stage, Verdict};
use crate::pipeline::{Attributes, Decision, UserInfo};

/// Resources of which nothing but metadata is ever recorded: what is in them opens doors.
const SECRET: [(&str, &str); 3] = [("secrets", ""), ("serviceaccounts", "token"), ("tokenreviews", "")];

/// What was asked for, as the authorizer was told.
#[derive(Debug, Clone, Default)]
struct Object {
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Debug, Default)]
struct Known {
    user: UserInfo,
    impersonated: Option<UserInfo>,
    object: Option<Object>,
    decision: Option<(bool, String)>,
    sent: Option<Bytes>,
    annotations: BTreeMap<String, (Level, String)>,
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct Record {
    pub(super) id: String,
    /// The path with its query.
    pub(super) uri: String,
    /// As `get`, for what is no resource.
    pub(super) verb: &'static str,
    pub(super) peer: Option<SocketAddr>,
    pub(super) user_agent: String,
    pub(super) received: Timestamp,
    known: Mutex<Known>,
}

/// How a request ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// As in HTTP.
    pub(crate) code: u16,
    /// Where it failed.
    pub(crate) status: Option<Status>,
    /// The answer.
    pub(crate) answer: Option<Value>,
}

impl Record {
    pub(crate) fn new(
        id: String,
        uri: String,
        verb: &'static str,
        peer: Option<SocketAddr>,
        user_agent: String,
        received: Timestamp,
    ) -> Self {
        Self { id, uri, verb, peer, user_agent, received, known: Mutex::default() }
    }

    /// Who sends the request, and as whom.
    pub(crate) fn sender(&self, sender: &UserInfo, acting: Option<&UserInfo>) {
        let mut known = self.known.lock();
        known.user = sender.clone();
        known.impersonated = acting.filter(|acting| *acting != sender).cloned();
    }

    /// The authorizer was asked. The first question is what the request is about.
    pub(super) fn asked(&self, asked: &Attributes<'_>, decision: &Decision) {
        let mut known = self.known.lock();
        if known.decision.is_some() && !matches!(decision, Decision::Deny(_)) || asked.verb == "impersonate" {
            return;
        }
        known.decision = Some(match decision {
            Decision::Allow(grant) => (true, grant.as_ref().map(ToString::to_string).unwrap_or_default()),
            Decision::Deny(why) => (false, why.clone()),
        });
        if known.object.is_none() && !asked.resource.is_empty() {
            known.object = Some(Object {
                verb: asked.verb.to_owned(),
                group: asked.group.to_owned(),
                version: asked.version.to_owned(),
                resource: asked.resource.to_owned(),
                subresource: asked.subresource.to_owned(),
                namespace: asked.namespace.to_owned(),
                name: asked.name.to_owned(),
            });
        }
    }

    /// What admission tells of it, at this level and above.
    pub(super) fn annotate(&self, level: Level, key: String, value: String) {
        self.known.lock().annotations.entry(key).or_insert((level, value));
    }

    /// What the client sent.
    pub(super) fn sent(&self, bytes: &Bytes) {
        self.known.lock().sent = Some(bytes.clone());
    }

    /// What a policy is asked.
    pub(super) fn judged(&self, judge: impl FnOnce(&Asked<'_>) -> Verdict) -> Verdict {
        let known = self.known.lock();
        let none = Object::default();
        let object = known.object.as_ref().unwrap_or(&none);
        let verb = if object.verb.is_empty() { self.verb } else { &object.verb };
        let mut verdict = judge(&Asked {
            user: &known.user,
            verb,
            resource: &object.resource,
            subresource: &object.subresource,
            group: &object.group,
            namespace: &object.namespace,
            name: &object.name,
            path: self.uri.split('?').next().unwrap_or_default(),
        });
        let secret =
            |(resource, part): &(&str, &str)| object.resource == *resource && object.subresource == *part;
        if SECRET.iter().any(secret) {
            verdict.level = verdict.level.min(Level::Metadata);
        }
        verdict
    }

    /// The record as it is written.
    pub(super) fn to_json(
        &self,
        stage: Stage,
        verdict: &Verdict,
        outcome: &Outcome,
        now: Timestamp,
    ) -> Value {
        let known = self.known.lock();
        let verb = known.object.as_ref().map_or(self.verb, |object| object.verb.as_str());
        let mut record = json!({
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": verdict.level.as_str(),
            "auditID": self.id,
            "stage": stage.as_str(),
            "requestURI": self.uri,
            "verb": verb,
            "user": told(&known.user),
        });
        if let Some(acting) = &known.impersonated {
            record["impersonatedUser"] = told(acting);
        }
        if let Some(peer) = self.peer {
            record["sourceIPs"] = json!([peer.ip().to_string()]);
        }
        if !self.user_agent.is_empty() {
            record["userAgent"] = self.user_agent.as_str().into();
        }
        if let Some(object) = &known.object {
            record["objectRef"] = object.told();
        }
        record["responseStatus"] = ended(outcome);
        let body = |value: Option<Value>| value.map(|value| clean(value, verdict.omit_managed_fields));
        if verdict.level >= Level::Request
            && let Some(sent) = body(known.sent.as_ref().and_then(|bytes| parsed(bytes)))
        {
            record["requestObject"] = sent;
        }
        if verdict.level >= Level::RequestResponse
            && let Some(answer) = body(outcome.answer.clone())
        {
            record["responseObject"] = answer;
        }
        record["requestReceivedTimestamp"] = time(self.received).into();
        record["stageTimestamp"] = time(now).into();
        let mut annotations = Map::new();
        if let Some((allowed, reason)) = &known.decision {
            let decision = if *allowed { "allow" } else { "forbid" };
            annotations.insert("authorization.k8s.io/decision".to_owned(), decision.into());
            annotations.insert("authorization.k8s.io/reason".to_owned(), reason.as_str().into());
        }
        for (key, (level, value)) in &known.annotations {
            if verdict.level >= *level {
                annotations.insert(key.clone(), value.as_str().into());
            }
        }
        if !annotations.is_empty() {
            record["annotations"] = annotations.into();
        }
        record
    }
}

impl Object {
    fn told(&self) -> Value {
        let mut told = Map::new();
        for (field, text) in [
            ("resource", &self.resource),
            ("namespace", &self.namespace),
            ("name", &self.name),
            ("apiGroup", &self.group),
            ("apiVersion", &self.version),
            ("subresource", &self.subresource),
        ] {
            if !text.is_empty() {
                told.insert(field.to_owned(), text.as_str().into());
            }
        }
        told.into()
    }
}

fn told(user: &UserInfo) -> Value {
    let mut told = json!({"username": user.name});
    if !user.uid.is_empty() {
        told["uid"] = user.uid.as_str().into();
    }
    if !user.groups.is_empty() {
        told["groups"] = json!(user.groups);
    }
    if !user.extra.is_empty() {
        told["extra"] = json!(user.extra);
    }
    told
}

fn ended(outcome: &Outcome) -> Value {
    let mut ended = json!({"metadata": {}});
    if let Some(status) = &outcome.status {
        ended["status"] = "Failure".into();
        ended["message"] = status.message.as_str().into();
        if let Some(reason) = status.reason {
            ended["reason"] = json!(reason);
        }
    }
    ended["code"] = outcome.code.into();
    ended
}

fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// A JSON or YAML document; what is neither is not recorded.
fn parsed(bytes: &[u8]) -> Option<Value> {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace())?;
    let value: Value = if b"{[".contains(first) {
        serde_json::from_slice(bytes).ok()?
    } else {
        serde_saphyr::from_slice(bytes).ok()?
    };
    (value.is_object() || value.is_array()).then_some(value)
}

/// Without what is wanted out.
fn clean(mut value: Value, omit_managed_fields: bool) -> Value {
    if omit_managed_fields {
        let mut objects = vec![&mut value];
        while let Some(object) = objects.pop() {
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.shift_remove("managedFields");
            }
            objects.extend(object.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten());
        }
    }
    value
}

/// Shared by what answers the request.
pub(crate) type Shared = Arc<Record>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_admission_tells_is_there_where_so_much_is_recorded_and_what_it_said_first_holds() {
        let record = Record::new("id".into(), "/".into(), "get", None, String::new(), Timestamp::UNIX_EPOCH);
        record.annotate(Level::Metadata, "mutation".into(), "first".into());
        record.annotate(Level::Metadata, "mutation".into(), "second".into());
        record.annotate(Level::Request, "patch".into(), "operations".into());
        for (level, annotations) in [
            (Level::Metadata, json!({"mutation": "first"})),
            (Level::Request, json!({"mutation": "first", "patch": "operations"})),
        ] {
            let verdict = Verdict { level, omit_stages: Vec::new(), omit_managed_fields: false };
            let outcome = Outcome { code: 200, ..Outcome::default() };
            let told = record.to_json(Stage::ResponseComplete, &verdict, &outcome, Timestamp::UNIX_EPOCH);
            assert_eq!(told["annotations"], annotations);
        }
    }
}
