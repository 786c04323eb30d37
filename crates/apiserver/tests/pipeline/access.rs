//! Who may do what, through the pipeline: roles and bindings as they are written, nodes, grants, reviews.

use std::collections::BTreeMap;

use api::status::Status;
use apiserver::pipeline::{
    DeleteOptions, GetOptions, ListOptions, RequestContext, Subresource, Target, UserInfo, WriteOptions,
};
use serde_json::{Value, json};

use crate::harness::{Server, body, json_of};
use crate::recorded::reference;

const RBAC: &str = "rbac.authorization.k8s.io/v1";

fn user(name: &str, groups: &[&str]) -> UserInfo {
    UserInfo {
        name: name.to_owned(),
        groups: groups.iter().copied().chain(["system:authenticated"]).map(str::to_owned).collect(),
        ..UserInfo::default()
    }
}

fn node(name: &str) -> UserInfo {
    user(&format!("system:node:{name}"), &["system:nodes"])
}

/// The same server, asked by somebody else.
fn by(server: &Server, user: UserInfo) -> RequestContext {
    RequestContext { user, ..server.context.clone() }
}

async fn create(
    server: &Server,
    context: &RequestContext,
    resource: &str,
    document: Value,
) -> Result<Value, Status> {
    let target = server.target(resource, None);
    let written = server.pipeline.create(context, &target, body(&document), &WriteOptions::default()).await?;
    Ok(json_of(&written.object))
}

async fn can(server: &Server, context: &RequestContext, verb: &str, target: &Target) -> Result<(), Status> {
    match server.pipeline.allowed(context, verb, target) {
        Err(status) if status.code != 403 => panic!("{status:?}"),
        other => other,
    }
}

fn role(kind: &str, name: &str, rules: Value) -> Value {
    json!({"apiVersion": RBAC, "kind": kind, "metadata": {"name": name}, "rules": rules})
}

fn binding(kind: &str, name: &str, role: (&str, &str), subject: Value) -> Value {
    json!({
        "apiVersion": RBAC, "kind": kind, "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role.0, "name": role.1},
        "subjects": [subject],
    })
}

fn person(name: &str) -> Value {
    json!({"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": name})
}

async fn grant(server: &Server, name: &str, rules: Value, subject: Value) {
    let (roles, bindings) = (format!("{RBAC}/roles"), format!("{RBAC}/rolebindings"));
    server.create(&roles, role("Role", name, rules)).await.expect("a role");
    server.create(&bindings, binding("RoleBinding", name, ("Role", name), subject)).await.expect("a binding");
}

#[tokio::test]
async fn a_binding_counts_as_soon_as_it_is_written_and_no_longer_than_it_stands() {
    let server = Server::start().await;
    let bob = by(&server, user("bob", &[]));
    let pods = server.target("v1/pods", None);
    let pod = server.target("v1/pods", Some("a"));
    let refused = can(&server, &bob, "list", &pods).await.expect_err("not bound yet");
    assert_eq!(
        refused.message,
        "pods is forbidden: User \"bob\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
    );
    let bindings = format!("{RBAC}/rolebindings");
    server
        .create(&bindings, binding("RoleBinding", "b", ("Role", "r"), person("bob")))
        .await
        .expect("a binding");
    let refused = can(&server, &bob, "list", &pods).await.expect_err("there is no such role");
    assert!(
        refused.message.ends_with("default\": RBAC: role.rbac.authorization.k8s.io \"r\" not found"),
        "{}",
        refused.message
    );
    let rules = json!([
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["pods", "pods/log"], "resourceNames": ["a"], "verbs": ["get", "watch"]},
        {"apiGroups": ["apps"], "resources": ["*/scale"], "verbs": ["*"]},
    ]);
    server.create(&format!("{RBAC}/roles"), role("Role", "r", rules)).await.expect("a role");
    let part = |target: &Target, part| target.clone().part(part);
    use apiserver::pipeline::Subresource::{Exec, Log, Scale};
    let elsewhere = Target { namespace: Some("kube-system".to_owned()), ..pods.clone() };
    let deployment = server.target("apps/v1/deployments", Some("d"));
    for (verb, target, allowed) in [
        ("list", &pods, true),
        ("watch", &pods, false),
        ("get", &pod, true),
        ("delete", &pod, false),
        ("get", &server.target("v1/pods", Some("b")), false),
        ("get", &part(&pod, Log), true),
        ("get", &part(&pod, Exec), false),
        ("list", &elsewhere, false),
        ("update", &part(&deployment, Scale), true),
        ("update", &deployment, false),
    ] {
        assert_eq!(can(&server, &bob, verb, target).await.is_ok(), allowed, "{verb} {target:?}");
    }
    let named = ListOptions { field_selector: "metadata.name=a".to_owned(), ..ListOptions::default() };
    server.pipeline.list(&bob, &pods, &named).await.expect("allowed");
    server.delete(&bindings, "b", &DeleteOptions::default()).await.expect("deleted");
    can(&server, &bob, "list", &pods).await.expect_err("unbound");
}

#[tokio::test]
async fn subjects_are_users_groups_and_service_accounts() {
    let server = Server::start().await;
    let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]);
    let account = json!({"kind": "ServiceAccount", "name": "sa", "namespace": "other"});
    grant(&server, "account", rules.clone(), account).await;
    let group = json!({"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:serviceaccounts:ns"});
    grant(&server, "group", rules, group).await;
    let pods = server.target("v1/pods", None);
    for (who, allowed) in [
        (user("system:serviceaccount:other:sa", &[]), true),
        (user("system:serviceaccount:default:sa", &[]), false),
        (user("system:serviceaccount:ns:x", &["system:serviceaccounts", "system:serviceaccounts:ns"]), true),
        (user("sa", &[]), false),
    ] {
        let context = by(&server, who);
        assert_eq!(can(&server, &context, "list", &pods).await.is_ok(), allowed, "{:?}", context.user);
    }
}

#[tokio::test]
async fn nobody_grants_more_than_he_has() {
    let server = Server::start().await;
    let own = json!([
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"], "verbs": ["create", "update"]},
    ]);
    grant(&server, "bob", own, person("bob")).await;
    let bob = by(&server, user("bob", &["dev"]));
    let (roles, bindings) = (format!("{RBAC}/roles"), format!("{RBAC}/rolebindings"));
    let rules = |verbs: &[&str]| json!([{"apiGroups": [""], "resources": ["pods"], "verbs": verbs}]);
    create(&server, &bob, &roles, role("Role", "fine", rules(&["get"]))).await.expect("he has that");
    let refused = create(&server, &bob, &roles, role("Role", "more", rules(&["get", "delete", "create"])))
        .await
        .unwrap_err();
    assert_eq!(
        refused.message,
        "roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"bob\" (groups=[\"dev\" \"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\" \"create\"]}"
    );
    let admin = binding("RoleBinding", "admin", ("ClusterRole", "cluster-admin"), person("bob"));
    let refused = create(&server, &bob, &bindings, admin.clone()).await.unwrap_err();
    assert_eq!(refused.code, 403);
    assert!(
        refused.message.contains("{APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}"),
        "{}",
        refused.message
    );
    assert_eq!(server.get(&bindings, "admin").await.unwrap_err().code, 404, "nothing is stored");
    create(&server, &bob, &bindings, binding("RoleBinding", "fine", ("Role", "fine"), person("eve")))
        .await
        .expect("he has that");
    let missing = binding("RoleBinding", "x", ("Role", "nowhere"), person("eve"));
    assert_eq!(create(&server, &bob, &bindings, missing).await.unwrap_err().code, 404);
    // With the special verbs he may.
    let special = json!([
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["escalate"]},
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "resourceNames": ["cluster-admin"], "verbs": ["bind"]},
    ]);
    grant(&server, "special", special, person("bob")).await;
    create(&server, &bob, &roles, role("Role", "more", rules(&["delete"]))).await.expect("escalate");
    create(&server, &bob, &bindings, admin).await.expect("bind");
}

#[tokio::test]
async fn a_node_reads_what_its_pods_need_and_nothing_else() {
    let server = Server::start().await;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {
            "nodeName": "n1",
            "serviceAccountName": "runner",
            "imagePullSecrets": [{"name": "pull"}],
            "containers": [{
                "name": "c", "image": "i",
                "envFrom": [{"configMapRef": {"name": "all"}}],
                "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "key", "key": "k"}}}],
            }],
            "volumes": [
                {"name": "s", "secret": {"secretName": "mounted"}},
                {"name": "j", "projected": {"sources": [{"configMap": {"name": "projected"}}]}},
                {"name": "c", "persistentVolumeClaim": {"claimName": "claim"}},
                {"name": "e", "ephemeral": {"volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}}},
            ],
        },
    });
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "runner"}});
    server.create("v1/serviceaccounts", account).await.expect("an account");
    server.create("v1/pods", pod).await.expect("a pod");
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv"},
        "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "claimRef": {"namespace": "default", "name": "claim"},
            "csi": {"driver": "d", "volumeHandle": "h", "nodePublishSecretRef": {"namespace": "default", "name": "csi"}},
        },
    });
    // A volume that is there, and is none of the node's business.
    let mut unrelated = volume.clone();
    unrelated["metadata"]["name"] = "pw".into();
    unrelated["spec"].as_object_mut().expect("a spec").remove("claimRef");
    server.create("v1/persistentvolumes", volume).await.expect("a volume");
    server.create("v1/persistentvolumes", unrelated).await.expect("another volume");
    let (own, other) = (by(&server, node("n1")), by(&server, node("n2")));
    for (resource, name, needed) in [
        ("v1/secrets", "pull", true),
        ("v1/secrets", "key", true),
        ("v1/secrets", "mounted", true),
        ("v1/secrets", "csi", true),
        ("v1/secrets", "another", false),
        ("v1/secrets", "all", false),
        ("v1/configmaps", "all", true),
        ("v1/configmaps", "projected", true),
        ("v1/configmaps", "key", false),
        ("v1/persistentvolumeclaims", "claim", true),
        ("v1/persistentvolumeclaims", "p-e", true),
        ("v1/persistentvolumeclaims", "p-x", false),
        ("v1/persistentvolumes", "pv", true),
        ("v1/persistentvolumes", "pw", false),
        ("v1/serviceaccounts", "runner", true),
        ("v1/serviceaccounts", "default", false),
    ] {
        let target = server.target(resource, Some(name));
        assert_eq!(can(&server, &own, "get", &target).await.is_ok(), needed, "{resource} {name}");
        let refused = can(&server, &other, "get", &target).await.expect_err("of another node");
        assert!(
            refused.message.ends_with(": no relationship found between node 'n2' and this object"),
            "{}",
            refused.message
        );
    }
    use apiserver::pipeline::Subresource::{Status, Token};
    for (verb, target, allowed) in [
        ("list", server.target("v1/secrets", None), false),
        ("update", server.target("v1/secrets", Some("pull")), false),
        ("create", server.target("v1/serviceaccounts", Some("runner")).part(Token), true),
        ("create", server.target("v1/serviceaccounts", Some("default")).part(Token), false),
        ("list", server.target("v1/pods", None), true),
        ("patch", server.target("v1/pods", Some("p")).part(Status), true),
        ("patch", server.target("v1/pods", Some("p")), false),
        ("create", server.target("v1/nodes", None), true),
        ("patch", server.target("v1/nodes", Some("n1")).part(Status), true),
        ("create", server.target("v1/events", None), true),
        ("list", server.target("apps/v1/deployments", None), false),
        ("create", server.target(&format!("{RBAC}/clusterrolebindings"), None), false),
    ] {
        assert_eq!(can(&server, &own, verb, &target).await.is_ok(), allowed, "{verb} {target:?}");
    }
    let lease = |namespace: &str, name: &str| Target {
        namespace: Some(namespace.to_owned()),
        ..server.target("coordination.k8s.io/v1/leases", Some(name))
    };
    for (target, allowed) in [
        (lease("kube-node-lease", "n1"), true),
        (lease("kube-node-lease", "n2"), false),
        (lease("kube-system", "n1"), false),
    ] {
        assert_eq!(can(&server, &own, "update", &target).await.is_ok(), allowed, "{target:?}");
    }
    // Of a pod without the group, the name alone means nothing.
    let pretender = by(&server, user("system:node:n1", &[]));
    can(&server, &pretender, "get", &server.target("v1/secrets", Some("pull"))).await.expect_err("no node");
}

#[tokio::test]
async fn the_components_hold_what_they_need() {
    let server = Server::start().await;
    use apiserver::pipeline::Subresource::{Binding, Scale, Status};
    for (name, verb, target) in [
        ("system:kube-scheduler", "create", server.target("v1/pods", Some("p")).part(Binding)),
        ("system:kube-scheduler", "patch", server.target("v1/pods", Some("p")).part(Status)),
        ("system:kube-controller-manager", "create", server.target("v1/pods", None)),
        (
            "system:kube-controller-manager",
            "update",
            server.target("apps/v1/deployments", Some("d")).part(Status),
        ),
        (
            "system:kube-controller-manager",
            "update",
            server.target("apps/v1/deployments", Some("d")).part(Scale),
        ),
        ("system:kube-controller-manager", "delete", server.target("batch/v1/jobs", Some("j"))),
        ("system:kube-controller-manager", "list", server.target("v1/secrets", None)),
        ("system:kube-proxy", "watch", server.target("discovery.k8s.io/v1/endpointslices", None)),
        ("system:kube-proxy", "list", server.target("v1/services", None)),
    ] {
        let context = by(&server, user(name, &[]));
        can(&server, &context, verb, &target).await.unwrap_or_else(|status| panic!("{}", status.message));
    }
    let scheduler = by(&server, user("system:kube-scheduler", &[]));
    can(&server, &scheduler, "list", &server.target("v1/secrets", None)).await.expect_err("no Secrets");
}

#[tokio::test]
async fn paths_that_are_no_resources_follow_the_roles_too() {
    let server = Server::start().await;
    let anonymous = UserInfo {
        name: "system:anonymous".to_owned(),
        groups: vec!["system:unauthenticated".to_owned()],
        ..UserInfo::default()
    };
    for (who, path, allowed) in [
        (anonymous.clone(), "/healthz", true),
        (anonymous.clone(), "/version/", true),
        (anonymous, "/apis", false),
        (user("bob", &[]), "/apis/apps/v1", true),
        (user("bob", &[]), "/metrics", false),
        (user("bob", &["system:monitoring"]), "/metrics", true),
        (user("bob", &["system:monitoring"]), "/readyz/etcd", true),
    ] {
        let context = by(&server, who);
        assert_eq!(server.pipeline.allowed_path(&context, "get", path).is_ok(), allowed, "{path}");
    }
}

#[tokio::test]
async fn reviews_tell_what_the_authorizer_says() {
    let server = Server::start().await;
    grant(
        &server,
        "r",
        json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]),
        person("bob"),
    )
    .await;
    let bob = by(&server, user("bob", &[]));
    let asked = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "default"}},
    });
    let resource = "authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = create(&server, &bob, resource, asked.clone()).await.expect("a review");
    assert_eq!(
        answer["status"],
        json!({"allowed": true, "reason": "RBAC: allowed by RoleBinding \"r/default\" of Role \"r\" to User \"bob\""})
    );
    let rules = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": "default"},
    });
    let answer =
        create(&server, &bob, "authorization.k8s.io/v1/selfsubjectrulesreviews", rules).await.expect("rules");
    let list = answer["status"]["resourceRules"].as_array().expect("rules");
    assert!(list.contains(&json!({"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]})), "{list:?}");
    assert_eq!(answer["status"]["incomplete"], false);
    let other = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {"user": "bob", "resourceAttributes": {"verb": "delete", "resource": "pods", "namespace": "default"}},
    });
    let resource = "authorization.k8s.io/v1/subjectaccessreviews";
    assert_eq!(create(&server, &bob, resource, other.clone()).await.unwrap_err().code, 403);
    assert_eq!(server.create(resource, other).await.expect("a review")["status"], json!({"allowed": false}));
    server
        .pipeline
        .get(&bob, &server.target("v1/pods", Some("p")), &GetOptions::default())
        .await
        .unwrap_err();
}

/// The objects of a folder of facts by `namespace/name`, and what `field` says of each.
fn told(items: &[Value], field: &str) -> BTreeMap<String, Value> {
    let key = |item: &Value| {
        let text = |name: &str| item["metadata"][name].as_str().unwrap_or_default().to_owned();
        format!("{}/{}", text("namespace"), text("name"))
    };
    items.iter().map(|item| (key(item), item[field].clone())).collect()
}

#[tokio::test]
async fn the_first_roles_and_bindings_are_those_of_kubernetes() {
    let Some(folder) = reference("bootstrap") else { return };
    let server = Server::start().await;
    for (plural, fields) in [
        ("roles", &["rules"][..]),
        ("clusterroles", &["rules", "aggregationRule"]),
        ("rolebindings", &["roleRef", "subjects"]),
        ("clusterrolebindings", &["roleRef", "subjects"]),
    ] {
        let text = std::fs::read(folder.join(format!("{plural}.json"))).expect("facts");
        let facts: Value = serde_json::from_slice(&text).expect("JSON");
        let facts = facts["items"].as_array().or_else(|| facts.as_array()).expect("a list");
        let target = Target { namespace: None, ..server.target(&format!("{RBAC}/{plural}"), None) };
        let listed =
            server.pipeline.list(&server.context, &target, &ListOptions::default()).await.expect("a list");
        let own: Vec<Value> =
            listed.entries.iter().map(|entry| serde_json::from_slice(&entry.value).expect("JSON")).collect();
        // There the metrics API comes with a server of its own, and so does the role of who reads it.
        let is_ours =
            |name: &str| name.starts_with("coxswain:") || name == "system:aggregated-metrics-reader";
        let mut own: Vec<Value> = own
            .into_iter()
            .filter(|object| !is_ours(object["metadata"]["name"].as_str().unwrap_or_default()))
            .collect();
        let united = |object: &&mut Value| {
            ["admin", "edit", "view"].iter().any(|name| object["metadata"]["name"] == *name)
        };
        for rules in own.iter_mut().filter(united).filter_map(|object| object["rules"].as_array_mut()) {
            rules.retain(|rule| rule["apiGroups"] != json!(["metrics.k8s.io"]));
        }
        for field in fields {
            let (wanted, found) = (told(facts, field), told(&own, field));
            assert_eq!(wanted.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>(), "{plural}");
            for (name, wanted) in wanted {
                assert_eq!(found[&name], wanted, "{plural} {name} {field}");
            }
        }
    }
}

#[tokio::test]
async fn who_approves_and_signs_certificates_must_be_let_by_their_signer() {
    let server = Server::start().await;
    const REQUESTS: &str = "certificates.k8s.io/v1/certificatesigningrequests";
    let group = "certificates.k8s.io";
    let rules = json!([{"apiGroups": [group], "verbs": ["*"],
        "resources": ["certificatesigningrequests", "certificatesigningrequests/approval", "certificatesigningrequests/status"]}]);
    let signer = |name: &str| json!([{"apiGroups": [group], "verbs": ["approve", "sign"], "resources": ["signers"], "resourceNames": [name]}]);
    for (user, rules) in [("bob", rules.clone()), ("ann", rules), ("ann", signer("example.com/*"))] {
        let name = format!("{user}-{}", rules.to_string().len());
        let role = role("ClusterRole", &name, rules);
        server.create(&format!("{RBAC}/clusterroles"), role).await.expect("a role");
        let bound = binding("ClusterRoleBinding", &name, ("ClusterRole", &name), person(user));
        server.create(&format!("{RBAC}/clusterrolebindings"), bound).await.expect("a binding");
    }
    let pem = rcgen::CertificateParams::default()
        .serialize_request(&rcgen::KeyPair::generate().expect("a key"))
        .and_then(|made| made.pem())
        .expect("a request");
    let request = json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"name": "r"}, "spec": {"signerName": "example.com/x", "usages": ["client auth"],
        "request": base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pem)}});
    server.create(REQUESTS, request).await.expect("asked for");
    for (who, allowed) in [("bob", false), ("ann", true)] {
        let context = by(&server, user(who, &[]));
        let mut stored = server.get(REQUESTS, "r").await.expect("stored");
        stored["status"] = json!({"conditions": [{"type": "Approved", "status": "True", "reason": who}]});
        let target = server.target(REQUESTS, Some("r")).part(Subresource::Approval);
        let options = WriteOptions::default();
        match server.pipeline.update(&context, &target, body(&stored), &options).await {
            Ok(_) => assert!(allowed, "{who} must not"),
            Err(status) => {
                assert!(!allowed, "{who}: {status}");
                let why = "user not permitted to approve requests with signerName \"example.com/x\"";
                assert!(status.message.ends_with(why), "{status}");
            }
        }
    }
}
