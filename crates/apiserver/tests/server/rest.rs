//! Codes, encodings and forms of REST.

use std::io::Read as _;

use http::Method;
use serde_json::json;

use super::*;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn an_object_goes_in_and_comes_out() {
    let asker = Asker::start().await;
    let created = asker.post(MAPS, &config_map("a", "v")).await;
    assert_eq!((created.code.as_u16(), &created.json()["data"]["k"]), (201, &json!("v")));
    assert!(!created.header("audit-id").is_empty());
    let again = asker.post(MAPS, &config_map("a", "v")).await;
    assert_eq!((again.code.as_u16(), &again.json()["reason"]), (409, &json!("AlreadyExists")));
    let found = asker.get(&format!("{MAPS}/a")).await;
    assert_eq!(found.json(), created.json());
    let list = asker.get(MAPS).await.json();
    assert_eq!((&list["kind"], &list["items"][0].get("kind")), (&json!("ConfigMapList"), &None));
    let merge = ("content-type", "application/merge-patch+json");
    let patched = asker.with(Method::PATCH, &format!("{MAPS}/a"), &[merge], r#"{"data":{"k":"w"}}"#).await;
    assert_eq!((patched.code.as_u16(), &patched.json()["data"]["k"]), (200, &json!("w")));
    let deleted = asker.with(Method::DELETE, &format!("{MAPS}/a"), &[], "").await;
    assert_eq!((deleted.code.as_u16(), &deleted.json()["status"]), (200, &json!("Success")));
    assert_eq!(asker.get(&format!("{MAPS}/a")).await.code, 404);
    asker.stop().await;
}

#[tokio::test]
async fn an_answer_says_how_its_request_was_sorted_and_a_level_without_room_refuses() {
    const FLOWS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";
    let asker = Asker::start().await;
    let uid = |object: serde_json::Value| object["metadata"]["uid"].as_str().expect("a uid").to_owned();
    let exempt = uid(asker.get(&format!("{FLOWS}/flowschemas/exempt")).await.json());
    let level = uid(asker.get(&format!("{FLOWS}/prioritylevelconfigurations/exempt")).await.json());
    for path in [MAPS, "/api/v1/namespaces/default/configmaps/none", "/apis"] {
        let answer = asker.get(path).await;
        assert_eq!(answer.header("x-kubernetes-pf-flowschema-uid"), exempt, "{path}");
        assert_eq!(answer.header("x-kubernetes-pf-prioritylevel-uid"), level, "{path}");
    }
    // What is exempt stays so; another user has a level without a single share.
    let none = json!({"kind": "PriorityLevelConfiguration", "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "metadata": {"name": "none"}, "spec": {"type": "Limited",
            "limited": {"nominalConcurrencyShares": 0, "limitResponse": {"type": "Reject"}}}});
    let schema = json!({"kind": "FlowSchema", "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "metadata": {"name": "none"}, "spec": {"matchingPrecedence": 2,
            "priorityLevelConfiguration": {"name": "none"}, "rules": [{
                "subjects": [{"kind": "User", "user": {"name": "jane"}}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}]}});
    let made = asker.post(&format!("{FLOWS}/prioritylevelconfigurations"), &none).await;
    assert_eq!(made.code, 201, "{}", made.json());
    let made = asker.post(&format!("{FLOWS}/flowschemas"), &schema).await;
    assert_eq!(made.code, 201, "{}", made.json());
    let jane = [("impersonate-user", "jane"), ("impersonate-group", "system:authenticated")];
    // The objects are read by a task of the server's: it takes them on before long.
    let mut refused = asker.with(Method::GET, "/apis", &jane, "").await;
    for _ in 0..1000 {
        if refused.code == 429 {
            break;
        }
        refused = asker.with(Method::GET, "/apis", &jane, "").await;
    }
    assert_eq!((refused.code.as_u16(), refused.header("retry-after")), (429, "1"));
    assert_eq!(refused.json()["reason"], "TooManyRequests");
    asker.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_told_as_in_kubernetes() {
    let asker = Asker::start().await;
    let json = ("content-type", "application/json");
    for (method, path, headers, code, part) in [
        (Method::GET, "/nonsense", vec![], 404, "404 page not found\n"),
        (Method::GET, "/apis/bogus.example/v1", vec![], 404, "404 page not found\n"),
        (Method::GET, "/apis/bogus.example/v1/things", vec![], 404, "404 page not found\n"),
        (Method::GET, "/api/v1/bogus", vec![], 404, "the server could not find the requested resource"),
        (Method::GET, "/api/v1/pods/p", vec![], 404, "the server could not find the requested resource"),
        (Method::GET, "/api/v1/namespaces/default/nodes", vec![], 404, "the server could not find"),
        (Method::PUT, MAPS, vec![json], 405, "the server does not allow this method"),
        (Method::POST, "/api/v1/configmaps", vec![json], 405, "the server does not allow this method"),
        (Method::POST, "/api/v1/namespaces/default/pods/p/log", vec![json], 405, "does not allow"),
        (Method::GET, "/api/v1/nodes/n/proxy", vec![], 405, "proxy of nodes is not served"),
        (Method::GET, MAPS, vec![("accept", "application/xml")], 406, "406: Not Acceptable"),
        (
            Method::POST,
            MAPS,
            vec![("content-type", "text/plain")],
            415,
            "application/vnd.kubernetes.protobuf",
        ),
        (
            Method::PATCH,
            "/api/v1/namespaces/default/configmaps/a",
            vec![json],
            415,
            "application/apply-patch+yaml",
        ),
        (Method::GET, "/api/v1/pods?limit=x", vec![], 400, "strconv.ParseInt"),
        (Method::GET, "/api/v1/pods?labelSelector=a%3D%3D%3Db", vec![], 400, "unable to parse requirement"),
    ] {
        let answer = asker.with(method.clone(), path, &headers, "{}").await;
        assert_eq!(answer.code.as_u16(), code, "{method} {path}: {}", answer.text());
        assert!(answer.text().contains(part), "{method} {path}: {}", answer.text());
    }
    asker.stop().await;
}

#[tokio::test]
async fn strangers_see_health_and_version_only() {
    let asker = Asker::start().await;
    for (path, code) in [
        ("/healthz", 200),
        ("/livez/ping", 200),
        ("/readyz?verbose", 200),
        ("/version", 200),
        ("/api", 401),
        ("/metrics", 401),
        (MAPS, 401),
        ("/nonsense", 401),
    ] {
        let answer = asker.send(None, request(Method::GET, path, &[], "")).await;
        assert_eq!(answer.code.as_u16(), code, "{path}");
        if code == 401 {
            assert_eq!(answer.json()["reason"], "Unauthorized");
        }
    }
    let scheduler = asker.server.kubeconfigs().scheduler.identity.clone();
    for (path, code) in [("/api/v1/pods", 200), (MAPS, 403), ("/metrics", 403)] {
        let answer = asker.send(scheduler.as_ref(), request(Method::GET, path, &[], "")).await;
        assert_eq!(answer.code.as_u16(), code, "{path}");
    }
    asker.stop().await;
}

#[tokio::test]
async fn an_administrator_sees_what_another_may_do() {
    let asker = Asker::start().await;
    let bob = ("impersonate-user", "bob");
    let refused = asker.with(Method::GET, MAPS, &[bob], "").await;
    assert_eq!(refused.code.as_u16(), 403);
    assert!(refused.text().contains("User \\\"bob\\\" cannot list resource"), "{}", refused.text());
    let controllers = ("impersonate-user", "system:kube-controller-manager");
    assert_eq!(asker.with(Method::GET, MAPS, &[controllers], "").await.code, 200);
    asker.stop().await;
}

#[tokio::test]
async fn discovery_has_two_forms_and_etags() {
    let asker = Asker::start().await;
    assert_eq!(asker.get("/api").await.json()["versions"], json!(["v1"]));
    assert_eq!(asker.get("/apis/apps").await.json()["preferredVersion"]["version"], "v1");
    assert_eq!(asker.get("/apis/apps/v1").await.json()["groupVersion"], "apps/v1");
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let all = asker.accept("/apis", accept).await;
    assert_eq!(all.json()["apiVersion"], "apidiscovery.k8s.io/v2");
    assert_eq!(
        all.header("content-type"),
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    );
    let known = all.header("etag").to_owned();
    let again = asker.with(Method::GET, "/apis", &[("accept", accept), ("if-none-match", &known)], "").await;
    assert_eq!((again.code.as_u16(), again.bytes.len()), (304, 0));
    asker.stop().await;
}

#[tokio::test]
async fn lists_come_in_pages_tables_and_compressed() {
    let asker = Asker::start().await;
    for number in 0..60 {
        let created = asker.post(MAPS, &config_map(&format!("m{number:02}"), &"x".repeat(4000))).await;
        assert_eq!(created.code, 201);
    }
    let page = asker.get(&format!("{MAPS}?limit=10")).await.json();
    assert_eq!(
        (page["items"].as_array().map(Vec::len), &page["metadata"]["remainingItemCount"]),
        (Some(10), &json!(50))
    );
    let token = page["metadata"]["continue"].as_str().expect("a token");
    let next = asker.get(&format!("{MAPS}?limit=100&continue={token}")).await.json();
    assert_eq!(next["items"].as_array().map(Vec::len), Some(50));
    assert_eq!(next["items"][0]["metadata"]["name"], "m10");

    let plain = asker.get(MAPS).await;
    assert_eq!(plain.header("content-encoding"), "");
    let small = asker.with(Method::GET, MAPS, &[("accept-encoding", "gzip")], "").await;
    assert_eq!(small.header("content-encoding"), "gzip");
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(&*small.bytes).read_to_end(&mut text).expect("gzip");
    assert_eq!(text, plain.bytes);

    let table = asker.accept(MAPS, "application/json;as=Table;v=v1;g=meta.k8s.io").await.json();
    assert_eq!((&table["kind"], table["rows"].as_array().map(Vec::len)), (&json!("Table"), Some(60)));
    assert_eq!(table["rows"][7]["cells"][0], "m07");
    assert_eq!(table["rows"][7]["object"]["kind"], "PartialObjectMetadata");
    let yaml = asker.accept(&format!("{MAPS}/m03"), "application/yaml").await;
    assert_eq!(yaml.header("content-type"), "application/yaml");
    assert!(yaml.text().contains("name: m03"), "{}", yaml.text());
    let lines = asker.get(&format!("{MAPS}/m03?pretty=true")).await;
    assert!(lines.text().starts_with("{\n  \"kind\": \"ConfigMap\""));
    let accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let partial = asker.accept(MAPS, accept).await.json();
    assert_eq!(
        (&partial["kind"], &partial["items"][0]["data"]),
        (&json!("PartialObjectMetadataList"), &json!(null))
    );
    asker.stop().await;
}

#[tokio::test]
async fn protobuf_yaml_and_too_large_bodies() {
    let asker = Asker::start().await;
    let schema = api::schema::builtin("core.v1.ConfigMap").expect("a type");
    let protobuf = api::protobuf::encode(&schema, &config_map("p", "v")).expect("protobuf");
    let mut sent =
        request(Method::POST, MAPS, &[("content-type", "application/vnd.kubernetes.protobuf")], "");
    *sent.body_mut() = Full::new(protobuf.into());
    let created = asker.send(asker.admin(), sent).await;
    assert_eq!((created.code.as_u16(), &created.json()["data"]["k"]), (201, &json!("v")));
    let accept = "application/vnd.kubernetes.protobuf, */*";
    let found = asker.accept(&format!("{MAPS}/p"), accept).await;
    assert_eq!(found.header("content-type"), "application/vnd.kubernetes.protobuf");
    let read = api::protobuf::decode(&schema, &found.bytes).expect("protobuf");
    assert_eq!((&read["data"]["k"], &read["metadata"]["name"]), (&json!("v"), &json!("p")));
    let list = asker.accept(MAPS, accept).await.bytes;
    assert_eq!(api::protobuf::open(&list).expect("protobuf").0.kind, "ConfigMapList");
    let missing = asker.accept(&format!("{MAPS}/none"), accept).await;
    let status = api::schema::builtin("meta.v1.Status").expect("a type");
    let status = api::protobuf::decode(&status, &missing.bytes).expect("protobuf");
    assert_eq!((missing.code.as_u16(), &status["reason"]), (404, &json!("NotFound")));
    let yaml = ("content-type", "application/yaml");
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map}\ndata: {k: \"yes\"}\n";
    assert_eq!(asker.with(Method::POST, MAPS, &[yaml], text).await.code, 201);
    let large = config_map("l", &"x".repeat(3 * 1024 * 1024)).to_string();
    let refused = asker.with(Method::POST, MAPS, &[("content-type", "application/json")], &large).await;
    assert_eq!((refused.code.as_u16(), &refused.json()["reason"]), (413, &json!("RequestEntityTooLarge")));
    asker.stop().await;
}

#[tokio::test]
async fn old_versions_are_served_with_a_warning() {
    let asker = Asker::start().await;
    let path = "/apis/extensions/v1beta1/namespaces/default/deployments";
    let old = json!({"apiVersion": "extensions/v1beta1", "kind": "Deployment", "metadata": {"name": "nginx"},
        "spec": {"template": {"metadata": {"labels": {"app": "nginx"}}, "spec": {"containers": [{"name": "n", "image": "nginx"}]}}}});
    let created = asker.post(path, &old).await;
    assert_eq!(created.code.as_u16(), 201, "{}", created.text());
    assert_eq!(
        created.header("warning"),
        "299 - \"extensions/v1beta1 Deployment is deprecated; use apps/v1 Deployment\""
    );
    let listed = asker.get(path).await;
    assert!(listed.header("warning").contains("apps/v1"));
    let new = asker.get("/apis/apps/v1/namespaces/default/deployments/nginx").await.json();
    assert_eq!(new["apiVersion"], "apps/v1");
    assert_eq!(new["spec"]["selector"]["matchLabels"]["app"], "nginx");
    asker.stop().await;
}

#[tokio::test]
async fn requests_are_counted() {
    let asker = Asker::start().await;
    asker.get(MAPS).await;
    asker.get(&format!("{MAPS}/none")).await;
    let text = asker.get("/metrics").await.text();
    for part in [
        "apiserver_request_total{verb=\"LIST\",group=\"\",version=\"v1\",resource=\"configmaps\"",
        "code=\"404\"",
        "apiserver_request_duration_seconds_bucket",
        "apiserver_current_inflight_requests{request_kind=\"mutating\"} 0",
        "process_resident_memory_bytes",
        "store_revision",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    asker.stop().await;
}

#[tokio::test]
async fn a_refusal_leaves_the_connection_as_it_was() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let asker = Asker::start().await;
    let mut stream = asker.connect(asker.admin()).await;
    // The body comes after its head, and nobody wants it: Kubernetes reads it all the same.
    let body = "x".repeat(100_000);
    for _ in 0..3 {
        let head = format!(
            "PATCH {MAPS} HTTP/1.1\r\nhost: x\r\ncontent-type: application/merge-patch+json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        stream.flush().await.expect("sent");
        tokio::task::yield_now().await;
        stream.write_all(body.as_bytes()).await.expect("sent");
        stream.flush().await.expect("sent");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\"code\":405}") && !answer.ends_with(b"\"code\":405}\n") {
            assert_ne!(
                stream.read_buf(&mut answer).await.expect("an answer"),
                0,
                "{}",
                String::from_utf8_lossy(&answer)
            );
        }
    }
    drop(stream);
    asker.stop().await;
}

#[tokio::test]
async fn what_is_not_recommended_any_more_says_so() {
    let asker = Asker::start().await;
    for (path, warning) in [
        (
            "/api/v1/namespaces/default/endpoints",
            "299 - \"v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\"",
        ),
        ("/api/v1/componentstatuses", "299 - \"v1 ComponentStatus is deprecated in v1.19+\""),
        (MAPS, ""),
    ] {
        assert_eq!(asker.get(path).await.header("warning"), warning, "{path}");
    }
    asker.stop().await;
}
