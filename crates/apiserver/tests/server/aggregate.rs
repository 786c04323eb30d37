//! An aggregated API, served by a program of the test's own behind a Service.

use apiserver::testing::https::{Answer as Theirs, Https};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use rustls_pki_types::CertificateDer;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const FISH: &str = "/apis/sea.example.com/v1/namespaces/default/fish";
const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

fn json_answer(code: u16, body: &Value) -> Theirs {
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {});
    let mut answer = Response::new(body.boxed_unsync());
    *answer.status_mut() = StatusCode::from_u16(code).expect("a code");
    answer.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().expect("a type"));
    answer
}

/// The other server: it tells back who asks and what, and echoes where it is asked for another protocol.
async fn serve(mut request: Request<Incoming>, client: Option<CertificateDer<'static>>) -> Theirs {
    let proxy = client.as_ref().and_then(|own| component::tls::subject(own)).map(|own| own.common_name);
    if request.headers().contains_key(header::UPGRADE) {
        let upgraded = hyper::upgrade::on(&mut request);
        spawn(&Shutdown::new(), "echo", async move {
            let mut stream = TokioIo::new(upgraded.await.expect("upgraded"));
            let mut word = [0; 4];
            stream.read_exact(&mut word).await.expect("read");
            word.reverse();
            stream.write_all(&word).await.expect("written");
        });
        let mut answer = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        for (name, value) in [(header::UPGRADE, "echo"), (header::CONNECTION, "Upgrade")] {
            answer.headers_mut().insert(name, value.parse().expect("a value"));
        }
        return answer;
    }
    let path = request.uri().path().to_owned();
    let resource = json!({"name": "fish", "singularName": "fish", "namespaced": true, "kind": "Fish",
        "verbs": ["get", "list"], "shortNames": ["fi"]});
    match path.as_str() {
        "/apis/sea.example.com/v1" => json_answer(
            200,
            &json!({"kind": "APIResourceList", "apiVersion": "v1",
            "groupVersion": "sea.example.com/v1", "resources": [resource]}),
        ),
        "/openapi/v2" => json_answer(
            200,
            &json!({"swagger": "2.0", "definitions": {"com.example.Fish": {}},
            "paths": {"/apis/sea.example.com/v1/fish": {}, "/elsewhere": {}}}),
        ),
        "/openapi/v3" => json_answer(
            200,
            &json!({"paths": {"apis/sea.example.com/v1":
            {"serverRelativeURL": "/openapi/v3/apis/sea.example.com/v1?hash=A"}}}),
        ),
        "/openapi/v3/apis/sea.example.com/v1" => json_answer(200, &json!({"openapi": "3.0.0", "paths": {}})),
        "/apis/sea.example.com/v1/namespaces/default/fish/moved" => {
            let mut answer = json_answer(302, &json!({}));
            answer.headers_mut().insert(header::LOCATION, "https://127.0.0.1:1/".parse().expect("a place"));
            answer
        }
        _ => {
            let told = |name: &str| -> Vec<String> {
                let all = request.headers().get_all(name).iter();
                all.filter_map(|value| value.to_str().ok().map(str::to_owned)).collect()
            };
            let headers = json!({"user": told("x-remote-user"), "groups": told("x-remote-group"),
                "authorization": told("authorization"), "smuggled": told("x-smuggled")});
            let method = request.method().to_string();
            let query = request.uri().query().map(str::to_owned);
            let body = request.collect().await.expect("a body").to_bytes();
            let body = String::from_utf8_lossy(&body).into_owned();
            json_answer(
                200,
                &json!({"kind": "Fish", "proxy": proxy, "headers": headers, "method": method,
                "path": path, "query": query, "body": body}),
            )
        }
    }
}

/// Waits until a condition of the APIService is as it should be.
async fn condition(asker: &Asker, status: &str, reason: &str) -> Value {
    let watch =
        format!("{SERVICES}?watch=1&fieldSelector=metadata.name%3Dv1.sea.example.com&timeoutSeconds=20");
    let mut frames = asker.open(asker.admin(), request(Method::GET, &watch, &[], "")).await.into_body();
    let mut lines = String::new();
    while let Some(frame) = frames.frame().await {
        let frame = frame.expect("a frame");
        lines.push_str(&String::from_utf8_lossy(frame.data_ref().map_or(&[][..], |data| data)));
        let last = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).next_back();
        let Some(last) = last else { continue };
        let condition = last["object"]["status"]["conditions"][0].clone();
        if condition["status"] == status && condition["reason"] == reason {
            return condition;
        }
    }
    panic!("no {status} {reason} in {lines}");
}

async fn made(asker: &Asker, path: &str, object: Value) {
    let created = asker.post(path, &object).await;
    assert_eq!(created.code, 201, "{}", created.text());
}

async fn slice(asker: &Asker, port: u16) {
    // No client may name a loopback address, but this test has no other.
    let object = json!({"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
        "metadata": {"name": "sea-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "sea"}},
        "addressType": "IPv4", "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": true}}]});
    let api::encode::Template { head, tail } = api::encode::template(&object);
    let bucket = store::Bucket::from("endpointslices.discovery.k8s.io");
    let write = store::Write {
        key: store::Key::new(&bucket, "default", "sea-1"),
        precondition: store::Precondition::None,
        change: store::Change::Put(store::Template::new(head, tail)),
        author: None,
    };
    asker.server.pipeline().store().write(write).await.expect("written");
}

fn service(more: Value) -> Value {
    let mut spec = json!({"group": "sea.example.com", "version": "v1", "groupPriorityMinimum": 100,
        "versionPriority": 10, "service": {"namespace": "default", "name": "sea"}});
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": "v1.sea.example.com"}, "spec": spec})
}

async fn other_server(asker: &Asker) -> Https {
    let path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    let data = asker.get(path).await.json()["data"].clone();
    assert_eq!(data["requestheader-allowed-names"], "[\"front-proxy-client\"]");
    let authority = data["requestheader-client-ca-file"].as_str().expect("an authority").to_owned();
    Https::start(&["sea.default.svc"], Some(authority.as_bytes()), serve).await.expect("a server")
}

async fn service_of(asker: &Asker) {
    let ports = json!([{"name": "https", "port": 443, "targetPort": 8443}]);
    let object =
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "sea"}, "spec": {"ports": ports}});
    made(asker, "/api/v1/namespaces/default/services", object).await;
}

#[tokio::test]
async fn what_is_missing_is_told_until_the_api_is_served_and_merged() {
    let asker = Asker::start().await;
    let other = other_server(&asker).await;
    assert_eq!(asker.get(FISH).await.code, 404);
    made(&asker, SERVICES, service(json!({"caBundle": other.authority}))).await;
    let told = condition(&asker, "False", "ServiceNotFound").await;
    assert_eq!(told["message"], "service/sea in \"default\" is not present");
    let refused = asker.get(FISH).await;
    assert_eq!((refused.code.as_u16(), refused.text().as_str()), (503, "service unavailable\n"));
    service_of(&asker).await;
    condition(&asker, "False", "EndpointsNotFound").await;
    slice(&asker, other.address.port()).await;
    condition(&asker, "True", "Passed").await;

    let document = asker.accept("/apis", V2).await.json();
    let items = document["items"].as_array().expect("items");
    let own = items.iter().find(|item| item["metadata"]["name"] == "sea.example.com").expect("the group");
    assert_eq!(own["versions"][0]["resources"][0]["shortNames"], json!(["fi"]));
    assert_eq!(own["versions"][0]["freshness"], "Current");
    assert_eq!(asker.get("/apis/sea.example.com").await.json()["preferredVersion"]["version"], "v1");
    assert_eq!(asker.get("/apis/sea.example.com/v1").await.json()["resources"][0]["name"], "fish");
    let index = asker.get("/openapi/v3").await.json();
    let place = index["paths"]["apis/sea.example.com/v1"]["serverRelativeURL"].as_str().expect("an address");
    assert_eq!(asker.get(place).await.json()["openapi"], "3.0.0");
    let v2 = asker.get("/openapi/v2").await.json();
    assert!(v2["paths"].get("/apis/sea.example.com/v1/fish").is_some(), "merged");
    assert!(v2["paths"].get("/elsewhere").is_none(), "not ours to say");

    other.stop();
    let gone = format!("{SERVICES}/v1.sea.example.com");
    assert_eq!(asker.with(Method::DELETE, &gone, &[], "").await.code, 200);
    let mut left = asker.get(FISH).await;
    while left.code != 404 {
        left = asker.get(FISH).await;
    }
    assert_eq!(asker.get("/apis/sea.example.com").await.code, 404);
    asker.stop().await;
}

#[tokio::test]
async fn requests_are_passed_on_with_who_asks_and_nothing_else_of_the_client() {
    let asker = Asker::start().await;
    let other = other_server(&asker).await;
    service_of(&asker).await;
    slice(&asker, other.address.port()).await;
    made(&asker, SERVICES, service(json!({"insecureSkipTLSVerify": true}))).await;
    condition(&asker, "True", "Passed").await;

    let headers = [
        ("x-remote-user", "system:admin"),
        ("x-remote-group", "system:masters"),
        ("connection", "x-smuggled"),
        ("x-smuggled", "1"),
        ("impersonate-user", "ann"),
        ("impersonate-group", "sailors"),
    ];
    let path = format!("{FISH}?dryRun=All");
    let refused = asker.with(Method::POST, &path, &headers, "hello").await;
    assert_eq!(refused.code, 403);
    assert!(
        refused.text().contains(
            "User \\\"ann\\\" cannot create resource \\\"fish\\\" in API group \\\"sea.example.com\\\""
        ),
        "{}",
        refused.text()
    );
    let rules = json!([{"apiGroups": ["sea.example.com"], "resources": ["fish"], "verbs": ["*"]}]);
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "fish"}, "rules": rules});
    made(&asker, &format!("{rbac}/clusterroles"), role).await;
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "fish"}, "subjects": [{"kind": "Group", "name": "sailors"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "fish"}});
    made(&asker, &format!("{rbac}/clusterrolebindings"), binding).await;

    let passed = asker.with(Method::POST, &path, &headers, "hello").await.json();
    assert_eq!(passed["proxy"], "front-proxy-client");
    assert_eq!(passed["headers"]["user"], json!(["ann"]));
    assert_eq!(passed["headers"]["groups"], json!(["sailors", "system:authenticated"]));
    assert_eq!(passed["headers"]["smuggled"], json!([]));
    assert_eq!((&passed["method"], &passed["body"]), (&json!("POST"), &json!("hello")));
    assert_eq!((&passed["path"], &passed["query"]), (&json!(FISH), &json!("dryRun=All")));
    let moved = asker.get(&format!("{FISH}/moved")).await;
    assert_eq!((moved.code.as_u16(), moved.header("location")), (302, "https://127.0.0.1:1/"));

    let upgrade = [("connection", "Upgrade"), ("upgrade", "echo")];
    let mut answer = asker.open(asker.admin(), request(Method::GET, FISH, &upgrade, "")).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()[header::UPGRADE]),
        (101, &"echo".parse().expect("a value"))
    );
    let mut stream = TokioIo::new(hyper::upgrade::on(&mut answer).await.expect("upgraded"));
    stream.write_all(b"abcd").await.expect("written");
    let mut word = [0; 4];
    stream.read_exact(&mut word).await.expect("read");
    assert_eq!(&word, b"dcba");
    drop(stream);
    other.stop();
    asker.stop().await;
}

#[tokio::test]
async fn a_server_with_another_certificate_is_not_believed() {
    let asker = Asker::start().await;
    let (other, stranger) = (other_server(&asker).await, other_server(&asker).await);
    service_of(&asker).await;
    slice(&asker, other.address.port()).await;
    made(&asker, SERVICES, service(json!({"caBundle": stranger.authority}))).await;
    let told = condition(&asker, "False", "FailedDiscoveryCheck").await;
    let message = told["message"].as_str().expect("a message");
    assert!(
        message.starts_with(
            "failing or missing response from https://sea.default.svc:443/apis/sea.example.com/v1: "
        ),
        "{message}"
    );
    other.stop();
    stranger.stop();
    asker.stop().await;
}

#[tokio::test]
async fn every_group_and_version_has_an_apiservice() {
    let asker = Asker::start().await;
    let made = async |name: &str| {
        let path = format!("{SERVICES}?watch=1&fieldSelector=metadata.name%3D{name}&timeoutSeconds=20");
        let mut frames = asker.open(asker.admin(), request(Method::GET, &path, &[], "")).await.into_body();
        let frame = frames.frame().await.expect("a frame").expect("a frame");
        serde_json::from_slice::<Value>(frame.data_ref().expect("data")).expect("JSON")["object"].clone()
    };
    let apps = made("v1.apps").await;
    assert_eq!(apps["status"]["conditions"][0]["reason"], "Local");
    assert_eq!(apps["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"], "onstart");
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "boats.sea.example.com"},
        "spec": {"group": "sea.example.com", "names": {"plural": "boats", "kind": "Boat"}, "scope": "Cluster",
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    let created = asker.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition).await;
    assert_eq!(created.code, 201, "{}", created.text());
    let boats = made("v1.sea.example.com").await;
    assert_eq!(boats["spec"]["groupPriorityMinimum"], 1000);
    asker.stop().await;
}
