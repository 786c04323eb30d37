//! Webhooks, asked by a pipeline: a server of the test's own that denies, changes, hangs, answers garbage or is down.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use apiserver::pipeline::{DeleteOptions, WriteOptions};
use apiserver::webhook::Allowed;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use component::{Shutdown, spawn};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::harness::{Server, body};

const MAPS: &str = "v1/configmaps";
const MUTATING: &str = "admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const VALIDATING: &str = "admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

/// A server of webhooks. What it answers is said by the path.
struct Hooks {
    address: SocketAddr,
    authority: String,
    /// The questions that came.
    asked: Arc<Mutex<Vec<Value>>>,
    connections: Arc<AtomicUsize>,
    tasks: Shutdown,
}

impl Hooks {
    async fn start() -> Self {
        let key = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::new(["127.0.0.1".to_owned()])
            .and_then(|made| made.self_signed(&key))
            .expect("signed");
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .expect("a certificate");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let hooks = Self {
            address: listener.local_addr().expect("an address"),
            authority: STANDARD.encode(certificate.pem()),
            asked: Arc::default(),
            connections: Arc::default(),
            tasks: Shutdown::new(),
        };
        let (asked, connections, tasks) =
            (hooks.asked.clone(), hooks.connections.clone(), hooks.tasks.clone());
        spawn(&hooks.tasks, "hooks", async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                let (acceptor, asked) = (acceptor.clone(), asked.clone());
                spawn(&tasks, "hook", async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let answer = service_fn(move |request| answer(request, asked.clone()));
                    let served = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), answer)
                        .await;
                    drop(served);
                });
            }
        });
        hooks
    }

    /// A configuration of one webhook, and more of its fields.
    fn configuration(&self, kind: &str, name: &str, path: &str, more: Value) -> Value {
        let mut webhook = json!({
            "name": format!("{name}.example.com"),
            "clientConfig": {"url": format!("https://{}{path}", self.address), "caBundle": self.authority},
            "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        });
        for (field, value) in more.as_object().into_iter().flatten() {
            webhook[field] = value.clone();
        }
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
            "metadata": {"name": name}, "webhooks": [webhook]})
    }

    async fn mutating(&self, server: &Server, name: &str, path: &str, more: Value) {
        let made = self.configuration("MutatingWebhookConfiguration", name, path, more);
        server.create(MUTATING, made).await.expect("configured");
    }

    async fn validating(&self, server: &Server, name: &str, path: &str, more: Value) {
        let made = self.configuration("ValidatingWebhookConfiguration", name, path, more);
        server.create(VALIDATING, made).await.expect("configured");
    }

    fn questions(&self) -> Vec<Value> {
        std::mem::take(&mut *self.asked.lock())
    }
}

async fn answer(
    request: Request<Incoming>,
    asked: Arc<Mutex<Vec<Value>>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let question: Value = serde_json::from_slice(&request.collect().await?.to_bytes()).expect("a question");
    let uid = question["request"]["uid"].clone();
    asked.lock().push(question["request"].clone());
    let mut response = json!({"uid": uid, "allowed": true});
    let patch = |operations: Value| STANDARD.encode(operations.to_string());
    let mut code = 200;
    match path.as_str() {
        "/allow" => response["warnings"] = json!(["mind the gap"]),
        "/deny" => {
            response["allowed"] = false.into();
            response["status"] = json!({"message": "not today", "code": 403, "reason": "Forbidden"});
        }
        "/silent" => response["allowed"] = false.into(),
        "/uid" => response["uid"] = "another".into(),
        "/hang" => std::future::pending().await,
        "/label" | "/count" => {
            let labels = &question["request"]["object"]["metadata"]["labels"];
            let count = labels["count"].as_str().and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
            let mut operations = Vec::new();
            if !labels.is_object() {
                operations.push(json!({"op": "add", "path": "/metadata/labels", "value": {}}));
            }
            let (label, value) = if path == "/label" {
                ("seen", "yes".to_owned())
            } else {
                ("count", (count + 1).to_string())
            };
            let to = format!("/metadata/labels/{label}");
            operations.push(json!({"op": "add", "path": to, "value": value}));
            response["patch"] = patch(operations.into()).into();
            response["patchType"] = "JSONPatch".into();
        }
        "/break" => {
            response["patch"] = patch(json!([{"op": "add", "path": "/data", "value": 7}])).into();
            response["patchType"] = "JSONPatch".into();
        }
        "/invalid" => {
            let value = json!({"a/b c": "x"});
            response["patch"] = patch(json!([{"op": "add", "path": "/data", "value": value}])).into();
            response["patchType"] = "JSONPatch".into();
        }
        "/missing" => {
            response["patch"] = patch(json!([{"op": "remove", "path": "/nothing"}])).into();
            response["patchType"] = "JSONPatch".into();
        }
        _ => code = 500,
    }
    let text = match path.as_str() {
        "/garbage" => {
            code = 200;
            "what?".to_owned()
        }
        _ if code != 200 => "it broke".to_owned(),
        _ => json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
            .to_string(),
    };
    let answer = Response::builder().status(code).body(Full::new(Bytes::from(text)));
    Ok(answer.expect("an answer"))
}

/// A pipeline whose webhooks may be at loopback.
async fn local() -> Server {
    let server = Server::bare().await;
    server.pipeline.allow_webhooks(Allowed { loopback: true, networks: Vec::new() });
    server
}

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}})
}

#[tokio::test]
async fn a_webhook_that_judges_is_shown_what_is_written() {
    let (server, hooks) = (local().await, Hooks::start().await);
    hooks.validating(&server, "judge", "/allow", json!({})).await;
    let target = server.target(MAPS, None);
    let written = server
        .pipeline
        .create(&server.context, &target, body(&map("a")), &WriteOptions::default())
        .await
        .expect("allowed");
    assert_eq!(written.object.warnings, ["mind the gap"]);
    server.merge(MAPS, "a", json!({"data": {"a": "c"}})).await.expect("allowed");
    server.delete(MAPS, "a", &DeleteOptions::default()).await.expect("allowed");
    let questions = hooks.questions();
    let operations: Vec<&Value> = questions.iter().map(|question| &question["operation"]).collect();
    assert_eq!(operations, ["CREATE", "UPDATE", "DELETE"]);
    let [made, changed, deleted] = questions.as_slice() else { panic!("{questions:?}") };
    assert_eq!(made["kind"], json!({"group": "", "version": "v1", "kind": "ConfigMap"}));
    assert_eq!(made["resource"], json!({"group": "", "version": "v1", "resource": "configmaps"}));
    assert_eq!(
        (&made["name"], &made["namespace"], &made["dryRun"]),
        (&json!("a"), &json!("default"), &json!(false))
    );
    assert_eq!(made["userInfo"]["username"], "kubernetes-admin");
    assert_eq!((&made["object"]["data"]["a"], &made["oldObject"]), (&json!("b"), &json!(null)));
    assert_eq!(
        (&changed["object"]["data"]["a"], &changed["oldObject"]["data"]["a"]),
        (&json!("c"), &json!("b"))
    );
    assert_eq!((&deleted["object"], &deleted["oldObject"]["data"]["a"]), (&json!(null), &json!("c")));
    assert_eq!(hooks.connections.load(Ordering::Relaxed), 1, "one connection serves all");
}

#[tokio::test]
async fn what_a_webhook_refuses_is_not_stored_and_its_words_reach_the_user() {
    for (path, code, message) in [
        ("/deny", 403, "admission webhook \"judge.example.com\" denied the request: not today"),
        ("/silent", 400, "admission webhook \"judge.example.com\" denied the request without explanation"),
        (
            "/uid",
            500,
            "Internal error occurred: failed calling webhook \"judge.example.com\": received invalid webhook response: expected response.uid=\"UID\", got \"another\"",
        ),
        (
            "/label",
            500,
            "Internal error occurred: failed calling webhook \"judge.example.com\": received invalid webhook response: validating webhook may not return response.patch",
        ),
        (
            "/oops",
            500,
            "Internal error occurred: failed calling webhook \"judge.example.com\": failed to call webhook: an error on the server (\"it broke\") has prevented the request from succeeding",
        ),
    ] {
        let (server, hooks) = (local().await, Hooks::start().await);
        hooks.validating(&server, "judge", path, json!({})).await;
        let status = server.create(MAPS, map("a")).await.expect_err("refused");
        let uid = hooks.questions()[0]["uid"].as_str().unwrap_or_default().to_owned();
        assert_eq!((status.code, status.message.replace(&uid, "UID")), (code, message.to_owned()));
        assert_eq!(server.get(MAPS, "a").await.expect_err("nothing is stored").code, 404);
    }
}

#[tokio::test]
async fn a_webhook_that_cannot_be_asked_counts_as_its_policy_says() {
    let hooks = Hooks::start().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let down = json!({"clientConfig": {"url": format!("https://{closed}/x")}});
    let untrusted = json!({"clientConfig": {"url": format!("https://{}/allow", hooks.address),
        "caBundle": STANDARD.encode(crate::webhooks::another_authority())}});
    for (path, more, part) in [
        ("/hang", json!({"timeoutSeconds": 1}), "/hang?timeout=1s\": context deadline exceeded"),
        ("/garbage", json!({}), "failed to call webhook: couldn't get version/kind; json parse error"),
        ("/x", down, "connect: connection refused"),
        ("/x", untrusted, "tls: failed to verify certificate: x509: certificate signed by unknown authority"),
    ] {
        for policy in ["Fail", "Ignore"] {
            let server = local().await;
            let mut more = more.clone();
            more["failurePolicy"] = policy.into();
            hooks.validating(&server, "judge", path, more.clone()).await;
            hooks.mutating(&server, "change", path, more).await;
            match (policy, server.create(MAPS, map("a")).await) {
                ("Ignore", made) => drop(made.expect("it is let through")),
                (_, Ok(made)) => panic!("{path}: {made}"),
                (_, Err(status)) => {
                    assert_eq!(status.code, 500, "{status}");
                    assert!(
                        status.message.contains("failed calling webhook \"change.example.com\""),
                        "{status}"
                    );
                    assert!(status.message.contains(part), "{status}");
                }
            }
        }
    }
}

/// The certificate of an authority that signed nothing.
fn another_authority() -> String {
    let key = KeyPair::generate().expect("a key");
    let made = CertificateParams::new(["another".to_owned()]).and_then(|made| made.self_signed(&key));
    made.expect("signed").pem()
}

#[tokio::test]
async fn a_patch_changes_what_is_stored_and_one_that_breaks_the_object_stores_nothing() {
    let (server, hooks) = (local().await, Hooks::start().await);
    hooks.mutating(&server, "b-label", "/label", json!({})).await;
    hooks.mutating(&server, "a-count", "/count", json!({"reinvocationPolicy": "IfNeeded"})).await;
    let made = server.create(MAPS, map("a")).await.expect("changed");
    // The first by name is asked again, since the second changed what it had seen.
    assert_eq!(made["metadata"]["labels"], json!({"count": "2", "seen": "yes"}));
    assert_eq!(server.get(MAPS, "a").await.expect("stored"), made);
    assert_eq!(hooks.questions().len(), 3);
    for (path, code, part) in [
        ("/break", 500, "Internal error occurred: "),
        ("/missing", 500, "Internal error occurred: "),
        ("/invalid", 422, "ConfigMap \"a\" is invalid: data[a/b c]"),
        ("/deny", 403, "admission webhook \"change.example.com\" denied the request: not today"),
    ] {
        let server = local().await;
        hooks.mutating(&server, "change", path, json!({})).await;
        let status = server.create(MAPS, map("a")).await.expect_err("refused");
        assert_eq!(status.code, code, "{status}");
        assert!(status.message.starts_with(part), "{status}");
        assert_eq!(server.get(MAPS, "a").await.expect_err("nothing is stored").code, 404);
    }
}

#[tokio::test]
async fn only_who_is_concerned_is_asked() {
    let hooks = Hooks::start().await;
    for (more, asked) in [
        (json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}}), true),
        (json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}}), false),
        (json!({"objectSelector": {"matchLabels": {"a": "b"}}}), false),
        (
            json!({"rules": [{"operations": ["UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["*"]}]}),
            false,
        ),
        (
            json!({"rules": [{"operations": ["CREATE"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}]}),
            true,
        ),
        (
            json!({"rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["*"], "scope": "Cluster"}]}),
            false,
        ),
        (
            json!({"rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps/status"]}]}),
            false,
        ),
    ] {
        let server = local().await;
        hooks.validating(&server, "judge", "/deny", more.clone()).await;
        assert_eq!(server.create(MAPS, map("a")).await.is_err(), asked, "{more}");
        // Whoever is locked out can always take the lock away.
        server.delete(VALIDATING, "judge", &DeleteOptions::default()).await.expect("deleted");
    }
    let server = local().await;
    let rules = json!([{"operations": ["*"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}]);
    hooks.validating(&server, "judge", "/deny", json!({"rules": rules})).await;
    hooks.questions();
    let old = json!({"apiVersion": "extensions/v1beta1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    assert_eq!(server.create("extensions/v1beta1/deployments", old).await.expect_err("refused").code, 403);
    let question = &hooks.questions()[0];
    assert_eq!(question["kind"], json!({"group": "apps", "version": "v1", "kind": "Deployment"}));
    assert_eq!(
        question["requestKind"],
        json!({"group": "extensions", "version": "v1beta1", "kind": "Deployment"})
    );
    assert_eq!(question["object"]["apiVersion"], "apps/v1");
}

#[tokio::test]
async fn a_dry_run_asks_only_who_has_no_side_effects() {
    let (server, hooks) = (local().await, Hooks::start().await);
    hooks.validating(&server, "judge", "/allow", json!({})).await;
    let dry = WriteOptions { dry_run: true, ..WriteOptions::default() };
    let target = server.target(MAPS, None);
    server.pipeline.create(&server.context, &target, body(&map("a")), &dry).await.expect("allowed");
    assert_eq!(hooks.questions()[0]["dryRun"], true);
}

#[tokio::test]
async fn conditions_decide_whether_a_webhook_is_asked() {
    let hooks = Hooks::start().await;
    let condition = |name: &str, expression: &str| json!({"name": name, "expression": expression});
    let (no, broken) =
        (condition("no", "object.metadata.name != 'a'"), condition("broken", "object.none == 1"));
    let yes = condition("yes", "authorizer.group('').resource('pods').check('get').allowed()");
    for (conditions, failure, asked, code) in [
        (json!([yes]), "Fail", true, 403),
        (json!([yes, no]), "Fail", false, 201),
        (json!([broken, no]), "Fail", false, 201),
        (json!([broken, yes]), "Fail", false, 403),
        (json!([broken, yes]), "Ignore", false, 201),
    ] {
        let server = local().await;
        let more = json!({"matchConditions": conditions, "failurePolicy": failure});
        hooks.validating(&server, "judge", "/deny", more).await;
        let made = server.create(MAPS, map("a")).await;
        assert_eq!(made.as_ref().map_or_else(|status| status.code, |_| 201), code, "{conditions} {failure}");
        assert_eq!(!hooks.questions().is_empty(), asked, "{conditions} {failure}");
        if let (Err(status), false) = (made, asked) {
            let why = "expression 'object.none == 1' resulted in error: no such key: none";
            assert_eq!(status.message, format!("configmaps \"a\" is forbidden: {why}"));
        }
    }
    let server = local().await;
    let more = json!({"matchConditions": [condition("c", "object.a ==")]});
    let made = hooks.configuration("ValidatingWebhookConfiguration", "judge", "/deny", more);
    let status = server.create(VALIDATING, made).await.expect_err("refused");
    assert!(status.message.contains("webhooks[0].matchConditions[0].expression: Invalid value"), "{status}");
}

#[tokio::test]
async fn loopback_is_closed_unless_it_is_allowed() {
    let (server, hooks) = (Server::bare().await, Hooks::start().await);
    hooks.validating(&server, "judge", "/allow", json!({})).await;
    let status = server.create(MAPS, map("a")).await.expect_err("refused");
    assert!(status.message.contains("webhooks may not be at the address 127.0.0.1"), "{status}");
    assert!(hooks.questions().is_empty());
    let networks = vec!["127.0.0.0/8".parse().expect("a network")];
    server.pipeline.allow_webhooks(Allowed { loopback: false, networks });
    server.create(MAPS, map("a")).await.expect("allowed");
}
