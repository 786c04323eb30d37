//! Policies of the cluster's own, written and then felt by a pipeline.

use api::status::{Reason, Status};
use apiserver::pipeline::{Body, DeleteOptions, Subresource, WriteOptions};
use serde_json::{Value, json};

use crate::harness::{Server, body, json_of};

const MAPS: &str = "v1/configmaps";
const POLICIES: &str = "admissionregistration.k8s.io/v1/validatingadmissionpolicies";
const BINDINGS: &str = "admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
const MUTATING: &str = "admissionregistration.k8s.io/v1/mutatingadmissionpolicies";
const MUTATING_BINDINGS: &str = "admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings";

fn map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

fn rules(group: &str, resource: &str) -> Value {
    json!({"resourceRules": [{"operations": ["CREATE", "UPDATE"], "apiGroups": [group], "apiVersions": ["*"],
        "resources": [resource]}]})
}

/// A policy about config maps with more fields in its spec.
fn policy(kind: &str, name: &str, more: Value) -> Value {
    let mut spec = json!({"matchConstraints": rules("", "configmaps")});
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn binding(kind: &str, name: &str, more: Value) -> Value {
    let mut spec = json!({"policyName": name});
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    let name = format!("{name}-binding");
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

impl Server {
    /// A validating policy that is bound, and what it denies is refused.
    async fn judged_by(&self, name: &str, spec: Value) {
        self.judged(name, spec, json!({"validationActions": ["Deny"]})).await;
    }

    async fn judged(&self, name: &str, spec: Value, bound: Value) {
        let made = policy("ValidatingAdmissionPolicy", name, spec);
        self.create(POLICIES, made).await.expect("a policy");
        let made = binding("ValidatingAdmissionPolicyBinding", name, bound);
        self.create(BINDINGS, made).await.expect("a binding");
    }

    async fn changed_by(&self, name: &str, spec: Value) {
        let mut own = json!({"failurePolicy": "Fail", "reinvocationPolicy": "Never"});
        for (field, value) in spec.as_object().into_iter().flatten() {
            own[field] = value.clone();
        }
        self.create(MUTATING, policy("MutatingAdmissionPolicy", name, own)).await.expect("a policy");
        let made = binding("MutatingAdmissionPolicyBinding", name, json!({}));
        self.create(MUTATING_BINDINGS, made).await.expect("a binding");
    }

    async fn warned(&self, resource: &str, document: Value) -> Result<Vec<String>, Status> {
        let target = self.target(resource, None);
        let options = WriteOptions::default();
        let written = self.pipeline.create(&self.context, &target, body(&document), &options).await?;
        Ok(written.object.warnings)
    }
}

fn checks(validations: Value) -> Value {
    json!({"validations": validations})
}

#[tokio::test]
async fn what_does_not_hold_is_refused_in_the_words_of_the_policy() {
    for (validation, reason, message) in [
        (
            json!({"expression": "'a' in object.data"}),
            Reason::Invalid,
            "failed expression: 'a' in object.data",
        ),
        (
            json!({"expression": "'a' in object.data", "message": " must have a "}),
            Reason::Invalid,
            "must have a",
        ),
        (
            json!({"expression": "'a' in object.data", "message": "m", "reason": "Forbidden",
                "messageExpression": "object.metadata.name + ' lacks a'"}),
            Reason::Forbidden,
            "bad lacks a",
        ),
        (
            json!({"expression": "'a' in object.data", "message": "m", "messageExpression": "string(object.nothing)"}),
            Reason::Invalid,
            "m",
        ),
        (
            json!({"expression": "object.data.a == 'x'"}),
            Reason::Invalid,
            "expression 'object.data.a == 'x'' resulted in error: no such key: a",
        ),
    ] {
        let server = Server::bare().await;
        server.judged_by("has-a", checks(json!([validation]))).await;
        server.create(MAPS, map("good", json!({"a": "x"}))).await.expect("it holds");
        let status = server.create(MAPS, map("bad", json!({"b": "x"}))).await.expect_err("refused");
        let told = format!(
            "ValidatingAdmissionPolicy 'has-a' with binding 'has-a-binding' denied request: {message}"
        );
        assert_eq!(status.message, format!("configmaps \"bad\" is forbidden: {told}"));
        assert_eq!(status.reason, Some(reason));
        assert_eq!(status.code, if reason == Reason::Invalid { 422 } else { 403 });
        assert_eq!(status.details.expect("details").causes[0].message, told);
        assert_eq!(server.get(MAPS, "bad").await.expect_err("nothing is stored").code, 404);
        // What no binding names does nothing, and a policy can always be taken away.
        server.delete(BINDINGS, "has-a-binding", &DeleteOptions::default()).await.expect("deleted");
        server.create(MAPS, map("bad", json!({"b": "x"}))).await.expect("nobody says no");
    }
}

#[tokio::test]
async fn a_policy_that_fails_counts_as_its_failure_policy_says() {
    let endless =
        "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10].all(a, range.all(b, range.all(c, range.all(d, a + b + c + d > 0))))"
            .replace("range", "lists.range(100)");
    for (expression, part) in [("object.data.none == 'x'", "no such key: none"), (endless.as_str(), "cost")] {
        for failure in ["Fail", "Ignore"] {
            let server = Server::bare().await;
            let mut spec = checks(json!([{"expression": expression}]));
            spec["failurePolicy"] = failure.into();
            server.judged_by("p", spec).await;
            match (failure, server.create(MAPS, map("a", json!({"x": "y"}))).await) {
                ("Ignore", made) => drop(made.expect("it is let through")),
                (_, made) => {
                    let status = made.expect_err("refused");
                    assert!(status.message.contains(part), "{status}");
                }
            }
        }
    }
}

#[tokio::test]
async fn expressions_see_the_request_and_may_ask_what_its_user_may_do() {
    for (expression, holds) in [
        ("request.operation == 'CREATE' && request.kind.kind == 'ConfigMap' && request.name == 'a'", true),
        (
            "request.userInfo.username == 'kubernetes-admin' && 'system:masters' in request.userInfo.groups",
            true,
        ),
        (
            "request.namespace == 'default' && !request.dryRun && request.resource.resource == 'configmaps'",
            true,
        ),
        ("oldObject == null && object.kind == 'ConfigMap' && object.metadata.namespace == 'default'", true),
        ("namespaceObject.metadata.name == 'default'", true),
        ("authorizer.group('').resource('pods').namespace('default').check('delete').allowed()", true),
        (
            "authorizer.requestResource.check('update').allowed() && authorizer.path('/metrics').check('get').allowed()",
            true,
        ),
        (
            "authorizer.serviceAccount('default', 'x').group('apps').resource('deployments').check('create').allowed()",
            false,
        ),
        (
            "!authorizer.serviceAccount('default', 'x').group('').resource('pods').subresource('log').name('p').check('get').errored()",
            true,
        ),
        ("variables.long && variables.count == 2", true),
    ] {
        let server = Server::bare().await;
        let mut spec = checks(json!([{"expression": expression}]));
        spec["variables"] = json!([
            {"name": "count", "expression": "object.data.size()"},
            {"name": "long", "expression": "variables.count > 1"},
            // Nobody asks for it, so it does not fail.
            {"name": "broken", "expression": "object.nothing.at.all"},
        ]);
        server.judged_by("p", spec).await;
        let made = server.create(MAPS, map("a", json!({"a": "b", "c": "d"}))).await;
        assert_eq!(made.is_ok(), holds, "{expression}: {made:?}");
    }
}

#[tokio::test]
async fn conditions_decide_whether_a_policy_is_asked() {
    for (conditions, failure, refused) in [
        (json!([{"name": "a", "expression": "request.name != 'a'"}]), "Fail", false),
        (json!([{"name": "a", "expression": "request.name == 'a'"}]), "Fail", true),
        // One that is false decides, whatever the others do.
        (
            json!([{"name": "a", "expression": "object.none == 1"}, {"name": "b", "expression": "false"}]),
            "Fail",
            false,
        ),
        (json!([{"name": "a", "expression": "object.none == 1"}]), "Fail", true),
        (json!([{"name": "a", "expression": "object.none == 1"}]), "Ignore", false),
    ] {
        let server = Server::bare().await;
        let mut spec = checks(json!([{"expression": "false"}]));
        spec["matchConditions"] = conditions.clone();
        spec["failurePolicy"] = failure.into();
        server.judged_by("p", spec).await;
        assert_eq!(
            server.create(MAPS, map("a", json!({}))).await.is_err(),
            refused,
            "{conditions} {failure}"
        );
    }
}

#[tokio::test]
async fn a_binding_narrows_what_its_policy_is_about_and_says_what_is_done() {
    let server = Server::bare().await;
    let bound = json!({"validationActions": ["Warn", "Audit"], "matchResources": {
        "objectSelector": {"matchLabels": {"watched": "yes"}},
        "excludeResourceRules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"],
            "resources": ["configmaps"], "resourceNames": ["free"]}]}});
    server.judged("w", checks(json!([{"expression": "false", "message": "no"}])), bound).await;
    let labelled = |name: &str, value: &str| {
        let mut made = map(name, json!({}));
        made["metadata"]["labels"] = json!({"watched": value});
        made
    };
    let told = "Validation failed for ValidatingAdmissionPolicy 'w' with binding 'w-binding': no";
    assert_eq!(server.warned(MAPS, labelled("a", "yes")).await.expect("stored"), [told]);
    for made in [labelled("b", "no"), labelled("free", "yes"), map("c", json!({}))] {
        assert!(server.warned(MAPS, made).await.expect("stored").is_empty());
    }
}

#[tokio::test]
async fn parameters_are_what_the_binding_names() {
    let limit = checks(json!([{"expression": "object.data.size() <= int(params.data.most)"}]));
    let with = |reference: Value| json!({"validationActions": ["Deny"], "paramRef": reference});
    let deny =
        "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction";
    for (kind, bound, message) in [
        (
            "ConfigMap",
            with(json!({"name": "one", "parameterNotFoundAction": "Deny"})),
            Some("failed expression"),
        ),
        (
            "ConfigMap",
            with(json!({"name": "three", "namespace": "default", "parameterNotFoundAction": "Deny"})),
            None,
        ),
        (
            "ConfigMap",
            with(json!({"selector": {"matchLabels": {"limit": "yes"}}, "parameterNotFoundAction": "Deny"})),
            Some("failed expression"),
        ),
        ("ConfigMap", with(json!({"name": "none", "parameterNotFoundAction": "Deny"})), Some(deny)),
        ("ConfigMap", with(json!({"name": "none", "parameterNotFoundAction": "Allow"})), None),
        (
            "Nothing",
            with(json!({"name": "one", "parameterNotFoundAction": "Deny"})),
            Some(
                "failed to configure policy: failed to find resource referenced by paramKind: '/v1, Kind=Nothing'",
            ),
        ),
    ] {
        let server = Server::bare().await;
        for (name, most) in [("one", "1"), ("three", "3")] {
            let mut made = map(name, json!({"most": most}));
            made["metadata"]["labels"] = json!({"limit": "yes"});
            server.create(MAPS, made).await.expect("a parameter");
        }
        let mut spec = limit.clone();
        spec["paramKind"] = json!({"apiVersion": "v1", "kind": kind});
        server.judged("p", spec, bound.clone()).await;
        let made = server.create(MAPS, map("a", json!({"a": "b", "c": "d"}))).await;
        match message {
            None => drop(made.unwrap_or_else(|status| panic!("{bound}: {status}"))),
            Some(part) => {
                let status = made.expect_err("refused");
                assert!(status.message.contains(part), "{status}");
            }
        }
    }
}

#[tokio::test]
async fn a_namespace_has_the_parameters_that_are_in_it() {
    let server = Server::bare().await;
    let spec = json!({"matchConstraints": rules("", "namespaces"),
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "validations": [{"expression": "object.metadata.labels[params.data.label] == 'yes'"}]});
    let bound = json!({"validationActions": ["Deny"],
        "paramRef": {"name": "wanted", "parameterNotFoundAction": "Allow"}});
    server.create(MAPS, map("wanted", json!({"label": "good"}))).await.expect("a parameter");
    server.judged("p", spec, bound).await;
    let named = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}});
    server.create("v1/namespaces", named).await.expect("it has no parameter in it yet");
    for (value, allowed) in [("yes", true), ("no", false)] {
        let patch = json!({"metadata": {"labels": {"good": value}}});
        assert_eq!(server.merge("v1/namespaces", "default", patch).await.is_ok(), allowed, "{value}");
    }
}

#[tokio::test]
async fn expressions_that_cannot_run_are_refused_with_their_policy() {
    let server = Server::bare().await;
    for (spec, field, message) in [
        (
            checks(json!([{"expression": "object.a =="}])),
            "spec.validations[0].expression",
            "compilation failed: ",
        ),
        (
            checks(json!([{"expression": "params.a == 'b'"}])),
            "spec.validations[0].expression",
            "undeclared reference to 'params'",
        ),
        (
            checks(json!([{"expression": "'text'"}])),
            "spec.validations[0].expression",
            "must evaluate to bool",
        ),
        (
            checks(json!([{"expression": "true", "messageExpression": "1 + 1"}])),
            "spec.validations[0].messageExpression",
            "must evaluate to string",
        ),
        (
            json!({"validations": [{"expression": "true"}], "matchConditions": [{"name": "a", "expression": "variables.x"}]}),
            "spec.matchConditions[0].expression",
            "undeclared reference to 'variables'",
        ),
        (
            json!({"auditAnnotations": [{"key": "k", "valueExpression": "1"}]}),
            "spec.auditAnnotations[0].valueExpression",
            "must evaluate to one of [string null_type]",
        ),
        (
            checks(json!([{"expression": "Object{}.x == 1"}])),
            "spec.validations[0].expression",
            "undeclared reference to 'Object'",
        ),
    ] {
        let made = server.create(POLICIES, policy("ValidatingAdmissionPolicy", "p", spec)).await;
        let status = made.expect_err("refused");
        assert_eq!(status.code, 422, "{status}");
        let causes = status.details.expect("details").causes;
        assert!(
            causes.iter().any(|cause| cause.field == field && cause.message.contains(message)),
            "{field}: {causes:?}"
        );
    }
}

#[tokio::test]
async fn policies_and_bindings_of_another_form_are_refused() {
    let server = Server::bare().await;
    let check = json!([{"expression": "true"}]);
    let apply =
        |more: Value| json!({"reinvocationPolicy": "Never", "failurePolicy": "Fail", "mutations": [more]});
    let refs = |reference: Value| json!({"validationActions": ["Deny"], "paramRef": reference});
    for (resource, spec, errors) in [
        (
            POLICIES,
            json!({}),
            &["spec.validations: Required value", "spec.auditAnnotations: Required value"][..],
        ),
        (
            POLICIES,
            json!({"validations": check, "matchConstraints": {}}),
            &["spec.matchConstraints.resourceRules: Required value"],
        ),
        (
            POLICIES,
            json!({"validations": check, "failurePolicy": "Retry"}),
            &["spec.failurePolicy: Unsupported value: \"Retry\""],
        ),
        (
            POLICIES,
            json!({"validations": check, "variables": [{"name": "a-b", "expression": "1"}, {"name": "c", "expression": " "}]}),
            &[
                "spec.variables[0].name: Invalid value: \"a-b\": name is not a valid CEL identifier",
                "spec.variables[1].expression: Required value",
            ],
        ),
        (
            POLICIES,
            json!({"validations": [{"expression": "true", "message": "a\nb", "reason": "Because"}]}),
            &[
                "spec.validations[0].message: Invalid value: \"a\\nb\": message must not contain line breaks",
                "spec.validations[0].reason: Unsupported value",
            ],
        ),
        (BINDINGS, json!({"validationActions": []}), &["spec.validationActions: Required value"]),
        (
            BINDINGS,
            json!({"validationActions": ["Deny", "Warn"]}),
            &["spec.validationActions: Invalid value: [\"Deny\",\"Warn\"]: must not contain both"],
        ),
        (
            BINDINGS,
            refs(json!({"parameterNotFoundAction": "Deny"})),
            &["spec.paramRef: Required value: one of name or selector"],
        ),
        (BINDINGS, refs(json!({"name": "a"})), &["spec.paramRef.parameterNotFoundAction: Required value"]),
        (
            MUTATING,
            apply(json!({"patchType": "Merge"})),
            &["spec.mutations[0].patchType: Unsupported value: \"Merge\""],
        ),
        (
            MUTATING,
            apply(json!({"patchType": "JSONPatch", "applyConfiguration": {"expression": "Object{}"}})),
            &["spec.mutations[0].jsonPatch: Required value: must be specified when patchType is JSONPatch"],
        ),
        (
            MUTATING,
            apply(json!({"patchType": "JSONPatch", "jsonPatch": {"expression": "1"}})),
            &[
                "spec.mutations[0].jsonPatch.expression: Invalid value: \"1\": must evaluate to list(JSONPatch) but got int",
            ],
        ),
    ] {
        let made = match resource {
            BINDINGS => binding("ValidatingAdmissionPolicyBinding", "p", spec),
            MUTATING => policy("MutatingAdmissionPolicy", "p", spec),
            _ => policy("ValidatingAdmissionPolicy", "p", spec),
        };
        let status = server.create(resource, made).await.expect_err("refused");
        for error in errors {
            assert!(status.message.contains(error), "{error}: {status}");
        }
    }
}

#[tokio::test]
async fn mutations_merge_what_they_construct_or_patch() {
    for (mutation, changed) in [
        (
            json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
                "Object{metadata: Object.metadata{labels: {'from': object.metadata.name}}, data: {'b': string(object.data.size())}}"}}),
            json!({"labels": {"keep": "me", "from": "a"}, "data": {"a": "x", "b": "1"}}),
        ),
        (
            json!({"patchType": "JSONPatch", "jsonPatch": {"expression":
                "[JSONPatch{op: 'test', path: '/data/a', value: 'x'}, JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('e.com/l'), value: 'v'}]"}}),
            json!({"labels": {"keep": "me", "e.com/l": "v"}, "data": {"a": "x"}}),
        ),
        // A test that fails leaves everything as it is.
        (
            json!({"patchType": "JSONPatch", "jsonPatch": {"expression":
                "[JSONPatch{op: 'remove', path: '/data'}, JSONPatch{op: 'test', path: '/kind', value: 'x'}]"}}),
            json!({"labels": {"keep": "me"}, "data": {"a": "x"}}),
        ),
        (
            json!({"patchType": "JSONPatch", "jsonPatch": {"expression":
                "has(object.data.a) ? [JSONPatch{op: 'copy', from: '/data/a', path: '/data/b'}, JSONPatch{op: 'move', from: '/data/b', path: '/data/c'}] : []"}}),
            json!({"labels": {"keep": "me"}, "data": {"a": "x", "c": "x"}}),
        ),
    ] {
        let server = Server::bare().await;
        server.changed_by("m", json!({"mutations": [mutation]})).await;
        let mut made = map("a", json!({"a": "x"}));
        made["metadata"]["labels"] = json!({"keep": "me"});
        let made = server.create(MAPS, made).await.unwrap_or_else(|status| panic!("{mutation}: {status}"));
        assert_eq!(json!({"labels": made["metadata"]["labels"], "data": made["data"]}), changed);
    }
}

#[tokio::test]
async fn lists_with_keys_are_merged_by_them() {
    let server = Server::bare().await;
    let sidecar = "Object{spec: Object.spec{initContainers: [Object.spec.initContainers{name: 'mesh', image: 'm', \
        restartPolicy: 'Always'}], containers: object.spec.containers.filter(c, !has(c.env)).map(c, \
        Object.spec.containers{name: c.name, env: [Object.spec.containers.env{name: 'A', value: 'b'}]})}}";
    let spec = json!({"matchConstraints": rules("", "pods"),
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": sidecar}}]});
    server.changed_by("m", spec).await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [
        {"name": "one", "image": "i"}, {"name": "two", "image": "i", "env": [{"name": "X", "value": "y"}]}]}});
    let made = server.create("v1/pods", pod).await.expect("changed");
    assert_eq!(made["spec"]["initContainers"][0]["name"], "mesh");
    assert_eq!(made["spec"]["containers"][0]["env"], json!([{"name": "A", "value": "b"}]));
    assert_eq!(made["spec"]["containers"][1]["env"], json!([{"name": "X", "value": "y"}]));
    assert_eq!(made["spec"]["containers"][0]["image"], "i");
}

#[tokio::test]
async fn a_mutation_that_cannot_be_made_is_told() {
    for (expression, part) in [
        (
            "Object{data: object.nothing}",
            "policy 'm' with binding 'm-binding' denied request: expression 'Object{data: object.nothing}' resulted in error: no such key: nothing",
        ),
        (
            "Object{spec: Object.status{a: 1}}",
            "type mismatch: unexpected type name \"Object.status\", expected \"Object.spec\"",
        ),
        ("Object{finalizer: ['x']}", "error applying patch: failed to convert patch object to typed object"),
        (
            "Object{metadata: Object.metadata{ownerReferences: [], managedFields: [Object.metadata.managedFields{manager: 'x'}]}}",
            "may not mutate atomic arrays, maps or structs: .metadata.managedFields",
        ),
    ] {
        for failure in ["Fail", "Ignore"] {
            let server = Server::bare().await;
            server
                .changed_by(
                    "m",
                    json!({"failurePolicy": failure, "mutations": [{"patchType": "ApplyConfiguration",
                        "applyConfiguration": {"expression": expression}}]}),
                )
                .await;
            let made = server.create(MAPS, map("a", json!({"a": "x"}))).await;
            match (failure, made) {
                ("Ignore", made) => assert_eq!(made.expect("let through")["data"], json!({"a": "x"})),
                (_, made) => {
                    let status = made.expect_err("refused");
                    assert!(status.message.contains(part), "{status}");
                    assert_eq!(status.reason, Some(Reason::Forbidden));
                }
            }
        }
    }
}

#[tokio::test]
async fn who_wants_to_be_asked_again_is_where_others_changed_the_object() {
    let count = "Object{data: {'count': string(has(object.data.count) ? int(object.data.count) + 1 : 1)}}";
    let label = "Object{data: {'seen': 'yes'}}";
    for (again, counted) in [("IfNeeded", "2"), ("Never", "1")] {
        let server = Server::bare().await;
        let apply = |expression: &str, again: &str| {
            json!({"reinvocationPolicy": again, "mutations": [{"patchType": "ApplyConfiguration",
                "applyConfiguration": {"expression": expression}}]})
        };
        server.changed_by("a-count", apply(count, again)).await;
        server.changed_by("b-label", apply(label, "Never")).await;
        let made = server.create(MAPS, map("a", json!({"x": "y"}))).await.expect("changed");
        assert_eq!(made["data"], json!({"x": "y", "count": counted, "seen": "yes"}));
    }
}

#[tokio::test]
async fn parts_of_objects_are_judged_as_what_they_are() {
    let server = Server::bare().await;
    let about = |resource: &str, expression: &str| {
        json!({"matchConstraints": {"resourceRules": [{"operations": ["*"], "apiGroups": ["*"],
            "apiVersions": ["*"], "resources": [resource]}]}, "validations": [{"expression": expression}]})
    };
    server
        .judged_by("scales", about("deployments/scale", "object.kind == 'Scale' && object.spec.replicas < 5"))
        .await;
    server
        .judged_by(
            "binds",
            about("pods/binding", "request.kind.kind == 'Binding' && object.target.name != 'closed'"),
        )
        .await;
    server.judged_by("evicts", about("pods/eviction", "request.kind.group == 'policy' && false")).await;
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    server.create("apps/v1/deployments", deployment).await.expect("made");
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    server.create("v1/pods", pod).await.expect("made");
    let post = async |resource: &str, name: &str, part: Subresource, document: Value| {
        let target = server.target(resource, Some(name)).part(part);
        let options = WriteOptions::default();
        server.pipeline.create(&server.context, &target, body(&document), &options).await
    };
    for (replicas, allowed) in [(3, true), (7, false)] {
        let target = server.target("apps/v1/deployments", Some("d")).part(Subresource::Scale);
        let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"},
            "spec": {"replicas": replicas}});
        let options = WriteOptions::default();
        let written =
            server.pipeline.update(&server.context, &target, Body::json(scale.to_string()), &options).await;
        assert_eq!(written.is_ok(), allowed, "{:?}", written.map(|written| json_of(&written.object)));
    }
    assert_eq!(server.get("apps/v1/deployments", "d").await.expect("stored")["spec"]["replicas"], 3);
    let evicted = post(
        "v1/pods",
        "p",
        Subresource::Eviction,
        json!({"apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": "p"}}),
    )
    .await;
    let refused = "ValidatingAdmissionPolicy 'evicts' with binding 'evicts-binding' denied request";
    assert!(evicted.expect_err("refused").message.contains(refused));
    for (node, allowed) in [("closed", false), ("open", true)] {
        let document = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"},
            "target": {"kind": "Node", "name": node}});
        let bound = post("v1/pods", "p", Subresource::Binding, document).await;
        assert_eq!(bound.is_ok(), allowed, "{node}");
    }
}
