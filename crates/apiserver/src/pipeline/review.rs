//! Resources that are questions: they are created to be answered and never stored.

use api::codec;
use api::field::FieldError;
use api::kinds;
use api::registry::ResourceDef;
use api::status::Status;
use serde_json::{Value, json};

use super::types::{Answer, Body, RequestContext, Target, WriteOptions, Written};
use super::{Attributes, Decision, Granted, Pipeline, UserInfo, metadata, object};
use crate::authn::ISSUER;

/// Whether the resource is a question.
pub(super) fn is_review(def: &ResourceDef) -> bool {
    matches!(&*def.group, "authorization.k8s.io" | "authentication.k8s.io")
}

impl Pipeline {
    pub(super) fn review(
        &self,
        context: &RequestContext,
        target: &Target,
        body: &Body,
        options: &WriteOptions,
    ) -> Answer<Written> {
        let def = &target.def;
        let validation = options.field_validation.unwrap_or_default();
        let decoded = codec::decode(def, body.media, &body.bytes, validation)?;
        let mut review = decoded.object;
        metadata::of(&mut review);
        if def.plural.ends_with("accessreviews") {
            let errors = unanswerable(&def.plural, &review);
            if !errors.is_empty() {
                return Err(kinds::invalid(def, "", errors));
            }
        }
        review["status"] = match &*def.plural {
            "selfsubjectreviews" => {
                review["metadata"]["creationTimestamp"] = api::time::Time(context.now).to_string().into();
                json!({"userInfo": context.user.document()})
            }
            "selfsubjectaccessreviews" => self.access(&review["spec"], &context.user),
            "subjectaccessreviews" | "localsubjectaccessreviews" => {
                let user = subject(&review["spec"]);
                self.access(&review["spec"], &user)
            }
            "tokenreviews" => self.token_review(&review["spec"], context)?,
            "selfsubjectrulesreviews" => {
                let namespace = review["spec"]["namespace"].as_str().unwrap_or_default().to_owned();
                if namespace.is_empty() {
                    return Err(Status::bad_request("no namespace on request"));
                }
                review["spec"] = json!({});
                self.rules(&context.user, &namespace)
            }
            _ => return Err(object::method_not_allowed()),
        };
        let mut object = object::of_value(&review);
        object.warnings = decoded.warnings;
        Ok(Written { object, created: true })
    }

    fn token_review(&self, spec: &Value, context: &RequestContext) -> Answer<Value> {
        let token = spec["token"].as_str().unwrap_or_default();
        if token.is_empty() {
            return Err(Status::bad_request("token is required for TokenReview in authentication"));
        }
        let audiences = spec["audiences"].as_array().into_iter().flatten();
        let mut audiences: Vec<String> =
            audiences.filter_map(|own| own.as_str().map(str::to_owned)).collect();
        if audiences.is_empty() {
            audiences.push(ISSUER.to_owned());
        }
        Ok(match self.inner.authn.identify(token, &audiences, context.now) {
            Some(identity) => json!({
                "authenticated": true,
                "user": identity.user.document(),
                "audiences": identity.audiences,
            }),
            None => json!({"user": {}, "error": "invalid bearer token"}),
        })
    }

    fn access(&self, spec: &Value, user: &UserInfo) -> Value {
        let resource = &spec["resourceAttributes"];
        let path = &spec["nonResourceAttributes"];
        let text = |value: &'_ Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let of = if path.is_object() { path } else { resource };
        let fields = ["verb", "group", "version", "resource", "subresource", "namespace", "name", "path"]
            .map(|name| text(of, name));
        let [verb, group, version, resource, subresource, namespace, name, path] = &fields;
        let attributes =
            Attributes { user, verb, group, version, resource, subresource, namespace, name, path };
        match self.decide(&attributes) {
            Decision::Allow(None) => json!({"allowed": true}),
            Decision::Allow(Some(grant)) => json!({"allowed": true, "reason": grant.to_string()}),
            Decision::Deny(why) if why.is_empty() => json!({"allowed": false}),
            Decision::Deny(why) => json!({"allowed": false, "reason": why}),
        }
    }

    /// What the roles allow, and nothing twice. What the node authorizer allows beside them stands in no rule, so
    /// that the answer to a node is not complete.
    fn rules(&self, user: &UserInfo, namespace: &str) -> Value {
        let Granted { rules, errors } = self.inner.authorizer.granted(user, namespace);
        let (mut resources, mut paths): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
        for rule in rules {
            let list = if rule.paths.is_empty() { &mut resources } else { &mut paths };
            let rule = rule.to_json();
            if !list.contains(&rule) {
                list.push(rule);
            }
        }
        let node = user.groups.iter().any(|group| group == "system:nodes");
        let mut status = json!({
            "resourceRules": resources,
            "nonResourceRules": paths,
            "incomplete": node || !errors.is_empty(),
        });
        if !errors.is_empty() {
            status["evaluationError"] = errors.join(", ").into();
        } else if node {
            status["evaluationError"] = "node authorizer does not support user rule resolution".into();
        }
        status
    }
}

/// Why it cannot be said whether somebody may do something.
fn unanswerable(plural: &str, review: &Value) -> Vec<FieldError> {
    let spec = &review["spec"];
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let mut errors = Vec::new();
    if resource.is_object() && path.is_object() {
        let why = "cannot be specified in combination with resourceAttributes";
        errors.push(FieldError::invalid("spec.nonResourceAttributes", path.clone(), why));
    }
    if !resource.is_object() && !path.is_object() {
        let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        errors.push(FieldError::invalid("spec.resourceAttributes", Value::Null, why));
    }
    let is_empty = |value: &Value| value.as_str().is_none_or(str::is_empty);
    let no_groups = spec["groups"].as_array().is_none_or(Vec::is_empty);
    if plural != "selfsubjectaccessreviews" && is_empty(&spec["user"]) && no_groups {
        errors.push(FieldError::invalid("spec.user", "", "at least one of user or group must be specified"));
    }
    if plural == "localsubjectaccessreviews" && path.is_object() {
        let why = "disallowed on this kind of request";
        errors.push(FieldError::invalid("spec.nonResourceAttributes", path.clone(), why));
    }
    errors
}

fn subject(spec: &Value) -> UserInfo {
    UserInfo {
        name: spec["user"].as_str().unwrap_or_default().to_owned(),
        uid: spec["uid"].as_str().unwrap_or_default().to_owned(),
        groups: spec["groups"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|group| group.as_str().map(str::to_owned))
            .collect(),
        extra: Default::default(),
    }
}
