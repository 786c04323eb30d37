//! Resources that are questions: they are created to be answered and never stored.

use api::codec;
use api::registry::ResourceDef;
use serde_json::{Value, json};

use super::types::{Answer, Body, RequestContext, Target, WriteOptions, Written};
use super::{Attributes, Decision, Pipeline, UserInfo, metadata, object};

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
        review["status"] = match &*def.plural {
            "selfsubjectreviews" => {
                review["metadata"]["creationTimestamp"] = api::time::Time(context.now).to_string().into();
                json!({"userInfo": user_info(&context.user)})
            }
            "selfsubjectaccessreviews" => self.access(&review["spec"], &context.user),
            "subjectaccessreviews" | "localsubjectaccessreviews" => {
                let user = subject(&review["spec"]);
                self.access(&review["spec"], &user)
            }
            "selfsubjectrulesreviews" => self.rules(&context.user),
            _ => return Err(object::method_not_allowed()),
        };
        let mut object = object::of_value(&review);
        object.warnings = decoded.warnings;
        Ok(Written { object, created: true })
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
        match self.inner.authorizer.authorize(&attributes) {
            Decision::Allow => json!({"allowed": true}),
            Decision::Deny(why) if why.is_empty() => json!({"allowed": false}),
            Decision::Deny(why) => json!({"allowed": false, "reason": why}),
        }
    }

    /// Without rules of its own, the answer tells what the authorizer says to everything.
    fn rules(&self, user: &UserInfo) -> Value {
        let attributes = Attributes { verb: "*", resource: "*", group: "*", ..Attributes::nothing(user) };
        let all = self.inner.authorizer.authorize(&attributes) == Decision::Allow;
        let mut resources = vec![json!({
            "verbs": ["create"],
            "apiGroups": ["authorization.k8s.io"],
            "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
        })];
        let mut paths = vec![json!({
            "verbs": ["get"],
            "nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version", "/version/"],
        })];
        if all {
            resources.insert(0, json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
            paths.insert(0, json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
        }
        json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false})
    }
}

fn user_info(user: &UserInfo) -> Value {
    let mut info = json!({"username": user.name});
    if !user.uid.is_empty() {
        info["uid"] = user.uid.as_str().into();
    }
    if !user.groups.is_empty() {
        info["groups"] = json!(user.groups);
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
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
