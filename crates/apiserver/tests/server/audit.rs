//! What the audit log says of requests.

use apiserver::config::StoreKind;
use apiserver::testing;
use component::Context;
use rpc::v1;
use rpc::v1::cluster_client::ClusterClient;
use serde_json::json;

use super::*;

const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- level: None
  nonResourceURLs: ["/version"]
- level: RequestResponse
  omitManagedFields: true
  resources: [{group: "", resources: ["configmaps", "secrets"]}]
- level: Request
  resources: [{group: "", resources: ["namespaces"]}]
- level: Metadata
"#;

async fn start(directory: &std::path::Path) -> Asker {
    let policy = directory.join("policy.yaml");
    std::fs::write(&policy, POLICY).expect("written");
    let mut config = testing::config(StoreKind::Memory, None);
    config.audit.audit_policy_file = Some(policy);
    config.audit.audit_log_path = Some(directory.join("audit.log"));
    let server = TestServer::start_with(config, Context::for_tests()).await.expect("a server");
    Asker { server, tasks: Shutdown::new() }
}

/// The records, in their order. Every request has been answered.
fn records(directory: &std::path::Path) -> (Vec<Value>, String) {
    let text = std::fs::read_to_string(directory.join("audit.log")).expect("a log");
    let records = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    (records, text)
}

#[tokio::test]
async fn each_request_is_recorded_as_the_policy_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let asker = start(directory.path()).await;
    let maps = "/api/v1/namespaces/default/configmaps";
    asker.get("/version").await;
    asker.post(maps, &config_map("a", "v")).await;
    let bob = ("impersonate-user", "bob");
    asker.with(Method::GET, &format!("{maps}/a?pretty=true"), &[bob, ("user-agent", "test/1")], "").await;
    asker.send(None, request(Method::GET, "/api", &[], "")).await;
    let named = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}});
    asker.post("/api/v1/namespaces", &named).await;
    asker.stop().await;

    let (records, _) = records(directory.path());
    assert_eq!(records.len(), 4, "{records:#?}");
    let [made, refused, stranger, namespace] = records.as_slice() else { panic!("four records") };
    assert_eq!(made["level"], "RequestResponse");
    assert_eq!(made["stage"], "ResponseComplete");
    assert_eq!(made["verb"], "create");
    assert_eq!(made["user"]["username"], "kubernetes-admin");
    assert_eq!(made["sourceIPs"], json!(["127.0.0.1"]));
    assert_eq!(
        made["objectRef"],
        json!({"resource": "configmaps", "namespace": "default", "apiVersion": "v1"})
    );
    assert_eq!(made["responseStatus"], json!({"metadata": {}, "code": 201}));
    assert_eq!(made["requestObject"]["data"], json!({"k": "v"}));
    assert_eq!(made["responseObject"]["data"], json!({"k": "v"}));
    assert!(made["responseObject"]["metadata"]["managedFields"].is_null());
    assert_eq!(made["annotations"]["authorization.k8s.io/decision"], "allow");

    assert_eq!(refused["requestURI"], format!("{maps}/a?pretty=true"));
    assert_eq!((&refused["verb"], &refused["userAgent"]), (&json!("get"), &json!("test/1")));
    assert_eq!(refused["impersonatedUser"]["username"], "bob");
    assert_eq!(refused["responseStatus"]["code"], 403);
    assert_eq!(refused["responseStatus"]["reason"], "Forbidden");
    assert_eq!(refused["annotations"]["authorization.k8s.io/decision"], "forbid");

    assert_eq!((&stranger["level"], &stranger["responseStatus"]["code"]), (&json!("Metadata"), &json!(401)));
    assert_eq!(namespace["requestObject"]["metadata"]["name"], "n");
    assert!(namespace["responseObject"].is_null());
}

#[tokio::test]
async fn nothing_secret_is_recorded_whatever_the_policy_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let asker = start(directory.path()).await;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "hidden-words"},
    });
    asker.post("/api/v1/namespaces/default/secrets", &secret).await;
    asker.get("/api/v1/namespaces/default/secrets/s").await;
    let bearer = [("authorization", "Bearer hidden-words")];
    asker.send(None, request(Method::GET, "/api", &bearer, "")).await;
    asker.stop().await;
    let (records, text) = records(directory.path());
    assert_eq!(records.len(), 3);
    assert_eq!(records[0]["level"], "Metadata");
    for word in ["hidden-words", "aGlkZGVuLXdvcmRz"] {
        assert!(!text.contains(word), "{text}");
    }
}

#[tokio::test]
async fn watches_are_recorded_when_they_begin_and_end_and_grpc_is_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let asker = start(directory.path()).await;
    let watch = asker.get("/api/v1/namespaces/default/pods?watch=true&timeoutSeconds=1").await;
    assert_eq!(watch.code.as_u16(), 200);
    let mut client = ClusterClient::new(asker.channel(asker.admin()).await);
    let mut request = tonic::Request::new(v1::BackupRequest {});
    request.metadata_mut().insert("impersonate-user", "bob".parse().expect("a header"));
    client.backup(request).await.expect_err("refused");
    drop(client);
    asker.stop().await;
    let (records, _) = records(directory.path());
    let told: Vec<(&str, &str)> = records
        .iter()
        .map(|record| (record["verb"].as_str().expect("a verb"), record["stage"].as_str().expect("a stage")))
        .collect();
    assert_eq!(
        told,
        [("watch", "ResponseStarted"), ("watch", "ResponseComplete"), ("create", "ResponseComplete")]
    );
    assert_eq!(records[2]["requestURI"], "/coxswain.v1.Cluster/Backup");
    assert_eq!(records[2]["objectRef"]["resource"], "backups");
    assert_eq!(records[2]["responseStatus"]["code"], 403);
}

#[tokio::test]
async fn what_admission_did_is_recorded() {
    let directory = tempfile::tempdir().expect("a directory");
    let asker = start(directory.path()).await;
    let group = "/apis/admissionregistration.k8s.io/v1";
    let about = |resource: &str| {
        json!({"resourceRules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"],
            "resources": [resource]}]})
    };
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "p"}, "spec": {"matchConstraints": about("configmaps"),
        "validations": [{"expression": "true"}, {"expression": "object.data.k != 'v'", "message": "not v"}],
        "auditAnnotations": [{"key": "keys", "valueExpression": "string(object.data.size()) + ' keys'"},
            {"key": "none", "valueExpression": "null"}]}});
    let bound = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": ["Audit"]}});
    assert_eq!(asker.post(&format!("{group}/validatingadmissionpolicies"), &policy).await.code, 201);
    assert_eq!(asker.post(&format!("{group}/validatingadmissionpolicybindings"), &bound).await.code, 201);
    let named = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n", "labels": {
        "pod-security.kubernetes.io/audit": "baseline"}}});
    assert_eq!(asker.post("/api/v1/namespaces", &named).await.code, 201);
    let made = asker.post("/api/v1/namespaces/default/configmaps", &config_map("a", "v")).await;
    assert_eq!(made.code, 201, "{}", made.text());
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"hostNetwork": true,
        "serviceAccountName": "none", "containers": [{"name": "c", "image": "i"}]}});
    let template = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "r"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod["spec"]}}});
    assert_eq!(asker.post("/apis/apps/v1/namespaces/n/replicasets", &template).await.code, 201);
    asker.stop().await;

    let (records, _) = records(directory.path());
    let [.., map, set] = records.as_slice() else { panic!("{records:#?}") };
    let told = &map["annotations"];
    assert_eq!(told["p/keys"], "1 keys");
    assert!(told["p/none"].is_null());
    let failed = told["validation.policy.admission.k8s.io/validation_failure"].as_str().expect("a failure");
    assert_eq!(
        serde_json::from_str::<Value>(failed).expect("JSON"),
        json!([{"message": "not v", "policy": "p", "binding": "b", "expressionIndex": 1,
            "validationActions": ["Audit"]}])
    );
    let violated = set["annotations"]["pod-security.kubernetes.io/audit-violations"].as_str();
    assert!(
        violated.is_some_and(
            |text| text.starts_with("would violate PodSecurity \"baseline:latest\": host namespaces")
        ),
        "{set:#?}"
    );
}
