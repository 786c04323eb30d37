//! Certificates for those who ask for them: approved, signed by the cluster's authority, and good to come in with.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::json;

use super::*;

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

fn document(key: &KeyPair, name: &str, group: &str, signer: &str, usages: &[&str]) -> Value {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, group);
    params.distinguished_name.push(DnType::CommonName, name);
    let request = params.serialize_request(key).expect("a request").pem().expect("PEM");
    json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "r"},
        "spec": {"request": STANDARD.encode(request), "signerName": format!("kubernetes.io/{signer}"),
            "usages": usages, "expirationSeconds": 3600, "username": "somebody else"}})
}

/// Waits until the request is as it should be.
async fn until(asker: &Asker, is: impl Fn(&Value) -> bool) -> Value {
    let path = format!("{REQUESTS}?watch=1&timeoutSeconds=20");
    let mut frames = asker.open(asker.admin(), request(Method::GET, &path, &[], "")).await.into_body();
    let mut lines = String::new();
    while let Some(frame) = frames.frame().await {
        lines.push_str(&String::from_utf8_lossy(
            frame.expect("a frame").data_ref().map_or(&[][..], |data| data),
        ));
        let last = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).next_back();
        if let Some(last) = last.map(|own| own["object"].clone()).filter(&is) {
            return last;
        }
    }
    panic!("not in {lines}");
}

fn issued(request: &Value) -> bool {
    request["status"]["certificate"].as_str().is_some_and(|text| !text.is_empty())
}

async fn who(asker: &Asker, certificate: &Value, key: &KeyPair) -> Value {
    let certificate = STANDARD.decode(certificate.as_str().expect("a certificate")).expect("base64");
    let identity = Identity { certificate, key: key.serialize_pem().into_bytes() };
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).to_string();
    let headers = [("content-type", "application/json")];
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let answer = asker.send(Some(&identity), request(Method::POST, path, &headers, &body)).await;
    answer.json()["status"]["userInfo"].clone()
}

#[tokio::test]
async fn a_person_is_approved_by_hand_and_comes_in_with_the_certificate() {
    let asker = Asker::start().await;
    let key = KeyPair::generate().expect("a key");
    let wanted = document(&key, "ann", "dev", "kube-apiserver-client", &["client auth", "digital signature"]);
    let created = asker.post(REQUESTS, &wanted).await;
    assert_eq!(created.code, 201, "{}", created.text());
    let mut own = created.json();
    assert_eq!(own["spec"]["username"], "kubernetes-admin");
    assert_eq!(own["spec"]["groups"], json!(["system:masters", "system:authenticated"]));

    own["status"] = json!({"certificate": "eA==", "conditions": [
        {"type": "Approved", "status": "True", "reason": "ByHand", "message": "she is known"}]});
    let json = ("content-type", "application/json");
    let approved =
        asker.with(Method::PUT, &format!("{REQUESTS}/r/approval"), &[json], &own.to_string()).await;
    assert_eq!(approved.code, 200, "{}", approved.text());
    assert_eq!(approved.json()["status"].get("certificate"), None, "whoever approves does not sign");
    assert!(approved.json()["status"]["conditions"][0]["lastUpdateTime"].is_string());
    let signed = until(&asker, issued).await;
    let user = who(&asker, &signed["status"]["certificate"], &key).await;
    assert_eq!(user["username"], "ann");
    assert_eq!(user["groups"], json!(["dev", "system:authenticated"]));
    let again = json!({"status": {"certificate": "eA=="}}).to_string();
    let merge = ("content-type", "application/merge-patch+json");
    let refused = asker.with(Method::PATCH, &format!("{REQUESTS}/r/status"), &[merge], &again).await;
    assert_eq!(refused.code, 422, "{}", refused.text());
    asker.stop().await;
}

#[tokio::test]
async fn who_may_not_approve_or_ask_is_refused() {
    let asker = Asker::start().await;
    let key = KeyPair::generate().expect("a key");
    let usages = &["client auth", "digital signature"];
    let masters = document(&key, "ann", "system:masters", "kube-apiserver-client", usages);
    let refused = asker.post(REQUESTS, &masters).await;
    assert_eq!(refused.code, 403);
    assert!(refused.text().contains("signer with system:masters group is not allowed"), "{}", refused.text());
    let mut broken = document(&key, "ann", "dev", "kube-apiserver-client", &["flying"]);
    broken["spec"]["expirationSeconds"] = 10.into();
    let refused = asker.post(REQUESTS, &broken).await.text();
    assert!(refused.contains("may not specify a duration less than 600 seconds"), "{refused}");
    assert!(refused.contains("spec.usages[0]: Unsupported value: \\\"flying\\\""), "{refused}");

    let wanted = document(&key, "ann", "dev", "kube-apiserver-client", usages);
    assert_eq!(asker.post(REQUESTS, &wanted).await.code, 201);
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let rules = json!([{"apiGroups": ["certificates.k8s.io"], "verbs": ["update", "get"],
        "resources": ["certificatesigningrequests", "certificatesigningrequests/approval"]}]);
    for (plural, document) in [
        (
            "clusterroles",
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "judge"}, "rules": rules}),
        ),
        (
            "clusterrolebindings",
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": "judge"}, "subjects": [{"kind": "User", "name": "bob"}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "judge"}}),
        ),
    ] {
        assert_eq!(asker.post(&format!("{rbac}/{plural}"), &document).await.code, 201);
    }
    let mut own = asker.get(&format!("{REQUESTS}/r")).await.json();
    own["status"] = json!({"conditions": [{"type": "Approved", "status": "True"}]});
    let headers = [("content-type", "application/json"), ("impersonate-user", "bob")];
    let refused =
        asker.with(Method::PUT, &format!("{REQUESTS}/r/approval"), &headers, &own.to_string()).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.json()["message"],
        "certificatesigningrequests.certificates.k8s.io \"r\" is forbidden: user not permitted to approve requests with signerName \"kubernetes.io/kube-apiserver-client\""
    );
    asker.stop().await;
}

#[tokio::test]
async fn a_node_with_the_right_gets_its_certificate_by_itself() {
    let asker = Asker::start().await;
    let key = KeyPair::generate().expect("a key");
    let wanted = document(
        &key,
        "system:node:n1",
        "system:nodes",
        "kube-apiserver-client-kubelet",
        &["client auth", "digital signature"],
    );
    let created = asker.post(REQUESTS, &wanted).await;
    assert_eq!(created.code, 201, "{}", created.text());
    let signed = until(&asker, issued).await;
    assert_eq!(signed["status"]["conditions"][0]["reason"], "AutoApproved");
    let user = who(&asker, &signed["status"]["certificate"], &key).await;
    assert_eq!(user["username"], "system:node:n1");
    asker.stop().await;
}
