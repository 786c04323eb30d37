//! Who is let in: tokens of service accounts, of a file and of bootstrap Secrets, and what becomes of bad ones.

use std::time::Duration;

use apiserver::config::StoreKind;
use apiserver::testing;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use component::{Context, TestClock};
use rpc::v1;
use rpc::v1::cluster_client::ClusterClient;
use serde_json::json;

use super::*;

const REVIEWS: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// A server whose clock the test moves, with a service account `runner` and a pod of it.
struct Scene {
    asker: Asker,
    clock: std::sync::Arc<TestClock>,
    _files: tempfile::TempDir,
}

impl Scene {
    async fn start() -> Self {
        let files = tempfile::tempdir().expect("a directory");
        let tokens = files.path().join("tokens.csv");
        std::fs::write(&tokens, "s3cret,alice,42,\"dev,system:monitoring\"\n").expect("written");
        let clock = TestClock::at(jiff::Timestamp::now());
        let context = Context { clock: clock.clone(), ..Context::for_tests() };
        let mut config = testing::config(StoreKind::Memory, None);
        config.authn.token_auth_file = Some(tokens);
        let server = TestServer::start_with(config, context).await.expect("a server");
        let asker = Asker { server, tasks: Shutdown::new() };
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "runner"}});
        let created = asker.post("/api/v1/namespaces/default/serviceaccounts", &account).await;
        assert_eq!(created.code.as_u16(), 201, "{}", created.text());
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"serviceAccountName": "runner", "containers": [{"name": "c", "image": "i"}]},
        });
        let created = asker.post("/api/v1/namespaces/default/pods", &pod).await;
        assert_eq!(created.code.as_u16(), 201, "{}", created.text());
        Self { asker, clock, _files: files }
    }

    async fn request(&self, spec: Value) -> Answer {
        let path = "/api/v1/namespaces/default/serviceaccounts/runner/token";
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
        self.asker.post(path, &body).await
    }

    async fn token(&self, spec: Value) -> String {
        let answer = self.request(spec).await;
        assert_eq!(answer.code.as_u16(), 201, "{}", answer.text());
        answer.json()["status"]["token"].as_str().expect("a token").to_owned()
    }

    /// Who the bearer of a token is told to be.
    async fn who(&self, token: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).to_string();
        self.asker.send(None, request(Method::POST, REVIEWS, &headers, &body)).await
    }

    #[track_caller]
    fn refused(answer: &Answer) {
        assert_eq!(answer.code.as_u16(), 401, "{}", answer.text());
        assert_eq!(answer.json()["message"], "Unauthorized");
    }

    async fn delete(&self, path: &str) {
        let options = json!({"gracePeriodSeconds": 0}).to_string();
        let json = ("content-type", "application/json");
        let deleted = self.asker.with(Method::DELETE, path, &[json], &options).await;
        assert_eq!(deleted.code.as_u16(), 200, "{}", deleted.text());
    }
}

#[tokio::test]
async fn a_token_of_a_service_account_says_who_it_is_and_to_what_it_is_bound() {
    let scene = Scene::start().await;
    let token =
        scene.token(json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p"}})).await;
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).expect("claims")).expect("base64");
    let claims: Value = serde_json::from_slice(&claims).expect("JSON");
    assert_eq!(claims["aud"], json!([ISSUER]));
    assert_eq!(
        claims["exp"].as_i64().zip(claims["iat"].as_i64()).map(|(end, begin)| end - begin),
        Some(3600)
    );
    assert_eq!(claims["sub"], "system:serviceaccount:default:runner");
    let who = scene.who(&token).await.json()["status"]["userInfo"].clone();
    assert_eq!(who["username"], "system:serviceaccount:default:runner");
    assert_eq!(who["uid"], claims["kubernetes.io"]["serviceaccount"]["uid"]);
    assert_eq!(
        who["groups"],
        json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"])
    );
    assert_eq!(who["extra"]["authentication.kubernetes.io/pod-name"], json!(["p"]));
    assert_eq!(
        who["extra"]["authentication.kubernetes.io/pod-uid"],
        json!([claims["kubernetes.io"]["pod"]["uid"]])
    );
    assert_eq!(
        who["extra"]["authentication.kubernetes.io/credential-id"],
        json!([format!("JTI={}", claims["jti"].as_str().expect("an id"))])
    );
    scene.asker.stop().await;
}

#[tokio::test]
async fn a_token_holds_as_long_as_what_it_is_bound_to() {
    let scene = Scene::start().await;
    let of_pod =
        scene.token(json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p"}})).await;
    let plain = scene.token(json!({"expirationSeconds": 86400})).await;
    let elsewhere = scene.token(json!({"audiences": ["vault"]})).await;
    Scene::refused(&scene.who(&elsewhere).await);
    Scene::refused(&scene.who(&format!("{plain}x")).await);
    let other = Scene::start().await;
    Scene::refused(&other.who(&plain).await);
    other.asker.stop().await;

    scene.delete("/api/v1/namespaces/default/pods/p").await;
    Scene::refused(&scene.who(&of_pod).await);
    assert_eq!(scene.who(&plain).await.code.as_u16(), 201);

    scene.clock.advance(Duration::from_secs(86400));
    Scene::refused(&scene.who(&plain).await);
    let fresh = scene.token(json!({})).await;
    assert_eq!(scene.who(&fresh).await.code.as_u16(), 201);
    scene.delete("/api/v1/namespaces/default/serviceaccounts/runner").await;
    Scene::refused(&scene.who(&fresh).await);
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "runner"}});
    scene.asker.post("/api/v1/namespaces/default/serviceaccounts", &account).await;
    // It is another account, although it has the name.
    Scene::refused(&scene.who(&fresh).await);
    scene.asker.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_token_request_is_told() {
    let scene = Scene::start().await;
    let bound = |kind: &str, name: &str, uid: &str| json!({"boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": name, "uid": uid}});
    for (spec, code, message) in [
        (
            json!({"expirationSeconds": 10}),
            422,
            "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 10: may not specify a duration less than 10 minutes",
        ),
        (
            json!({"expirationSeconds": 4_294_967_297_i64}),
            422,
            "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds",
        ),
        (bound("Pod", "q", ""), 404, "pods \"q\" not found"),
        (bound("ConfigMap", "c", ""), 400, "cannot bind token to object of type /v1, Kind=ConfigMap"),
        (
            bound("Pod", "p", "x"),
            409,
            "Operation cannot be fulfilled on Pod \"p\": the UID in the bound object reference (x) does not match the UID in record. The object might have been deleted and then recreated",
        ),
    ] {
        let answer = scene.request(spec).await;
        assert_eq!(answer.code.as_u16(), code, "{}", answer.text());
        assert_eq!(answer.json()["message"], message);
    }
    scene.asker.stop().await;
}

#[tokio::test]
async fn a_review_tells_others_whose_a_token_is() {
    let scene = Scene::start().await;
    let token = scene.token(json!({"audiences": ["vault", "other"]})).await;
    let review = async |token: &str, audiences: Value| {
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "spec": {"token": token, "audiences": audiences},
        });
        let answer = scene.asker.post("/apis/authentication.k8s.io/v1/tokenreviews", &body).await;
        assert_eq!(answer.code.as_u16(), 201, "{}", answer.text());
        answer.json()["status"].clone()
    };
    let good = review(&token, json!(["vault", "third"])).await;
    assert_eq!(good["authenticated"], true);
    assert_eq!(good["audiences"], json!(["vault"]));
    assert_eq!(good["user"]["username"], "system:serviceaccount:default:runner");
    for (token, audiences) in
        [(token.as_str(), json!([])), (token.as_str(), json!(["third"])), ("x", json!([]))]
    {
        let bad = review(token, audiences).await;
        assert_eq!(bad["authenticated"], Value::Null, "{bad}");
        assert_eq!(bad["error"], "invalid bearer token");
    }
    assert_eq!(review("s3cret", json!([])).await["user"]["username"], "alice");
    scene.asker.stop().await;
}

#[tokio::test]
async fn a_token_of_the_file_and_a_bootstrap_token_let_in() {
    let scene = Scene::start().await;
    let alice = scene.who("s3cret").await.json()["status"]["userInfo"].clone();
    assert_eq!(
        alice,
        json!({
            "username": "alice", "uid": "42", "groups": ["dev", "system:monitoring", "system:authenticated"],
        })
    );
    Scene::refused(&scene.who("s3cre").await);
    Scene::refused(&scene.who("abcdef.0123456789abcdef").await);
    let data = [
        ("token-id", "abcdef"),
        ("token-secret", "0123456789abcdef"),
        ("usage-bootstrap-authentication", "true"),
    ];
    let data: serde_json::Map<String, Value> =
        data.iter().map(|(name, value)| ((*name).to_owned(), STANDARD.encode(value).into())).collect();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bootstrap-token-abcdef"},
        "type": "bootstrap.kubernetes.io/token", "data": data,
    });
    let created = scene.asker.post("/api/v1/namespaces/kube-system/secrets", &secret).await;
    assert_eq!(created.code.as_u16(), 201, "{}", created.text());
    let machine = scene.who("abcdef.0123456789abcdef").await.json()["status"]["userInfo"].clone();
    assert_eq!(machine["username"], "system:bootstrap:abcdef");
    // A token that does not hold is refused even where nobody need be known.
    let bad = [("authorization", "Bearer bad")];
    Scene::refused(&scene.asker.send(None, request(Method::GET, "/healthz", &bad, "")).await);
    scene.asker.stop().await;
}

#[tokio::test]
async fn a_secret_of_an_account_gets_a_token() {
    let scene = Scene::start().await;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "s", "annotations": {"kubernetes.io/service-account.name": "runner"}},
    });
    let created = scene.asker.post("/api/v1/namespaces/default/secrets", &secret).await;
    assert_eq!(created.code.as_u16(), 201, "{}", created.text());
    let filled = async {
        loop {
            let secret = scene.asker.get("/api/v1/namespaces/default/secrets/s").await.json();
            if let Some(token) = secret["data"]["token"].as_str() {
                assert_eq!(secret["data"]["namespace"], STANDARD.encode("default"));
                break String::from_utf8(STANDARD.decode(token).expect("base64")).expect("text");
            }
        }
    };
    let token = tokio::time::timeout(Duration::from_secs(10), filled).await.expect("filled");
    let who = scene.who(&token).await.json()["status"]["userInfo"].clone();
    assert_eq!(who["username"], "system:serviceaccount:default:runner");
    scene.delete("/api/v1/namespaces/default/secrets/s").await;
    Scene::refused(&scene.who(&token).await);
    scene.asker.stop().await;
}

#[tokio::test]
async fn others_find_the_keys_that_verify_tokens() {
    let scene = Scene::start().await;
    let document = scene.asker.get("/.well-known/openid-configuration").await.json();
    assert_eq!(document["issuer"], ISSUER);
    let url = document["jwks_uri"].as_str().expect("a URL");
    assert_eq!(url, format!("{}/openid/v1/jwks", scene.asker.server.url()));
    let keys = scene.asker.get("/openid/v1/jwks").await;
    assert_eq!(keys.header("content-type"), "application/jwk-set+json");
    let token = scene.token(json!({})).await;
    let head = URL_SAFE_NO_PAD.decode(token.split('.').next().expect("a head")).expect("base64");
    let head: Value = serde_json::from_slice(&head).expect("JSON");
    assert_eq!(keys.json()["keys"][0]["kid"], head["kid"]);
    // Service accounts may read it, others only where they are allowed to.
    for (token, code) in [(token.as_str(), 200), ("s3cret", 403)] {
        let bearer = format!("Bearer {token}");
        let answer = scene
            .asker
            .send(None, request(Method::GET, "/openid/v1/jwks", &[("authorization", &bearer)], ""))
            .await;
        assert_eq!(answer.code.as_u16(), code, "{}", answer.text());
    }
    scene.asker.stop().await;
}

#[tokio::test]
async fn tokens_and_impersonation_work_over_grpc_as_well() {
    let scene = Scene::start().await;
    let asked = |headers: &[(&'static str, String)]| {
        let mut request = tonic::Request::new(v1::BackupRequest {});
        for (name, value) in headers {
            request.metadata_mut().insert(*name, value.parse().expect("a header"));
        }
        request
    };
    let mut stranger = ClusterClient::new(scene.asker.channel(None).await);
    for (token, code) in [("s3cret", tonic::Code::PermissionDenied), ("bad", tonic::Code::Unauthenticated)] {
        let refused = stranger
            .backup(asked(&[("authorization", format!("Bearer {token}"))]))
            .await
            .expect_err("refused");
        assert_eq!(refused.code(), code, "{token}");
    }
    let mut admin = ClusterClient::new(scene.asker.channel(scene.asker.admin()).await);
    admin.backup(asked(&[])).await.expect("a backup");
    let refused = admin.backup(asked(&[("impersonate-user", "bob".to_owned())])).await.expect_err("as bob");
    let status = rpc::status::carried(&refused).expect("a Status");
    assert_eq!(
        status.message,
        "backups.coxswain.io is forbidden: User \"bob\" cannot create resource \"backups\" in API group \"coxswain.io\" at the cluster scope"
    );
    scene.asker.stop().await;
}

#[tokio::test]
async fn who_acts_for_others_needs_the_right() {
    let scene = Scene::start().await;
    let headers = [("authorization", "Bearer s3cret"), ("impersonate-user", "bob")];
    let refused = scene.asker.send(None, request(Method::GET, "/api", &headers, "")).await;
    assert_eq!(refused.code.as_u16(), 403);
    assert_eq!(
        refused.json()["message"],
        "users \"bob\" is forbidden: User \"alice\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope"
    );
    scene.asker.stop().await;
}

/// A Secret that lets somebody in with `token`.
fn let_in(id: &str, user: &str, groups: &str, token: &str, expiration: &str) -> Value {
    use sha2::{Digest as _, Sha256};
    let hash: String = Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect();
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": format!("user-token-{id}")},
        "type": "coxswain.io/user-token",
        "stringData": {"username": user, "groups": groups, "sha256": hash, "expiration": expiration},
    })
}

#[tokio::test]
async fn people_have_tokens_that_can_be_taken_back() {
    const SECRETS: &str = "/api/v1/namespaces/kube-system/secrets";
    let scene = Scene::start().await;
    let (later, past) = ("2099-01-01T00:00:00Z", "2020-01-01T00:00:00Z");
    for (id, expiration) in [("a1", later), ("a2", past)] {
        let secret = let_in(id, "ann", "dev,ops", &format!("cox-{id}.words"), expiration);
        let created = scene.asker.post(SECRETS, &secret).await;
        assert_eq!(created.code.as_u16(), 201, "{}", created.text());
    }
    let ann = scene.who("cox-a1.words").await.json()["status"]["userInfo"].clone();
    assert_eq!(ann, json!({"username": "ann", "groups": ["dev", "ops", "system:authenticated"]}));
    for bad in ["cox-a1.wordy", "cox-a2.words", "cox-a3.words", "cox-a1"] {
        Scene::refused(&scene.who(bad).await);
    }
    scene.delete(&format!("{SECRETS}/user-token-a1")).await;
    Scene::refused(&scene.who("cox-a1.words").await);
    let reserved = let_in("a4", "system:kube-scheduler", "", "cox-a4.words", later);
    assert_eq!(scene.asker.post(SECRETS, &reserved).await.code.as_u16(), 403);

    // Who may write Secrets there makes no administrators of that.
    let rules = json!([
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "update"]},
        {"apiGroups": [""], "resources": ["users"], "resourceNames": ["ann"], "verbs": ["impersonate"]},
    ]);
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r"}, "rules": rules,
    });
    assert_eq!(scene.asker.post(&format!("{rbac}/clusterroles"), &role).await.code.as_u16(), 201);
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "r"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}],
    });
    assert_eq!(scene.asker.post(&format!("{rbac}/clusterrolebindings"), &binding).await.code.as_u16(), 201);
    for (id, user, groups, code) in
        [("b1", "ann", "", 201), ("b2", "eve", "", 403), ("b3", "ann", "system:masters", 403)]
    {
        let secret = let_in(id, user, groups, &format!("cox-{id}.words"), later).to_string();
        let headers = [("authorization", "Bearer s3cret"), ("content-type", "application/json")];
        let answer = scene.asker.send(None, request(Method::POST, SECRETS, &headers, &secret)).await;
        assert_eq!(answer.code.as_u16(), code, "{}", answer.text());
    }
    scene.asker.stop().await;
}
