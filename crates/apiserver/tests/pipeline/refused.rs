//! What is refused, and in which words.

use serde_json::{Value, json};

use crate::harness::Server;

const APPLY: &str = "application/apply-patch+yaml";
const JSON: &str = "application/json";

async fn told(server: &Server, method: &str, path: &str, content_type: &str, body: &Value) -> (u16, String) {
    let (code, answer) = server.exchange(method, path, content_type, body.to_string().as_bytes()).await;
    (code, answer["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_field_that_there_is_not_cannot_be_applied() {
    let server = Server::bare().await;
    let path = "/apis/apps/v1/namespaces/default/deployments/web?fieldManager=one";
    let spec = json!({
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}},
    });
    let manifest =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec});
    assert_eq!(told(&server, "PATCH", path, APPLY, &manifest).await.0, 201);
    let mut wrong = manifest.clone();
    wrong["spec"]["replica"] = 1.into();
    let why = "failed to create typed patch object (/web; apps/v1, Kind=Deployment): .spec.replica: field not declared in schema";
    for validation in ["", "&fieldValidation=Warn", "&fieldValidation=Ignore", "&fieldValidation=Strict"] {
        let found = told(&server, "PATCH", &format!("{path}{validation}"), APPLY, &wrong).await;
        assert_eq!(found, (400, why.to_owned()), "{validation}");
    }
    wrong["more"] = 1.into();
    let (code, message) = told(&server, "PATCH", path, APPLY, &wrong).await;
    assert_eq!(code, 400);
    let both =
        "errors:\n  .spec.replica: field not declared in schema\n  .more: field not declared in schema";
    assert!(message.ends_with(both), "{message}");
}

#[tokio::test]
async fn a_question_about_nothing_has_no_answer() {
    let server = Server::bare().await;
    let resource = json!({"verb": "get", "resource": "pods", "namespace": "default"});
    let path = json!({"verb": "get", "path": "/version"});
    let nothing = "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified";
    for (kind, spec, expected) in [
        ("SelfSubjectAccessReview", json!({"resourceAttributes": resource}), ""),
        ("SelfSubjectAccessReview", json!({"nonResourceAttributes": path}), ""),
        ("SelfSubjectAccessReview", json!({}), nothing),
        ("SubjectAccessReview", json!({"user": "bob", "resourceAttributes": resource}), ""),
        ("SubjectAccessReview", json!({"groups": ["crew"], "resourceAttributes": resource}), ""),
        ("SubjectAccessReview", json!({"user": "bob"}), nothing),
        (
            "SubjectAccessReview",
            json!({"resourceAttributes": resource}),
            "spec.user: Invalid value: \"\": at least one of user or group must be specified",
        ),
        (
            "SelfSubjectAccessReview",
            json!({"resourceAttributes": resource, "nonResourceAttributes": path}),
            "spec.nonResourceAttributes: Invalid value: {\"verb\":\"get\",\"path\":\"/version\"}: cannot be specified in combination with resourceAttributes",
        ),
    ] {
        let to = format!("/apis/authorization.k8s.io/v1/{}s", kind.to_lowercase());
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec});
        let found = told(&server, "POST", &to, JSON, &review).await;
        let expected = match expected {
            "" => (201, String::new()),
            why => (422, format!("{kind}.authorization.k8s.io \"\" is invalid: {why}")),
        };
        assert_eq!(found, expected, "{review}");
    }
}
