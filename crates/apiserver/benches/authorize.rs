//! What a question to the authorizer costs, with a thousand RoleBindings: at most 20 microseconds are wanted.

use std::hint::black_box;
use std::sync::Arc;

use apiserver::authn::{Authenticator, SigningKey, TokenFile};
use apiserver::authz::Authorization;
use apiserver::bootstrap::Bootstrap;
use apiserver::pipeline::{
    Attributes, Authorizer as _, Body, Parts, Pipeline, RandomNames, RequestContext, Target, UserInfo,
    WriteOptions, extract,
};
use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use store::{Backend, Options, Store};

const RBAC: &str = "rbac.authorization.k8s.io";

fn user(name: &str, groups: &[&str]) -> UserInfo {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    UserInfo { name: name.to_owned(), groups, ..UserInfo::default() }
}

async fn create(pipeline: &Pipeline, context: &RequestContext, plural: &str, document: Value) {
    let def = pipeline.registry().resource(RBAC, "v1", plural).expect("a resource");
    let target = Target::collection(def, Some("default"));
    let body = Body::json(document.to_string());
    pipeline.create(context, &target, body, &WriteOptions::default()).await.expect("created");
}

/// An authorizer over a thousand roles and bindings in one namespace.
async fn authorization() -> Authorization {
    let store = Store::open(Options::new(Backend::Memory, extract())).expect("a store in memory opens");
    let key = Arc::new(SigningKey::generate().expect("a key"));
    let pipeline = Pipeline::new(Parts {
        authorizer: Arc::new(Authorization::new(&store)),
        authn: Arc::new(Authenticator::new(&store, key, TokenFile::default())),
        store: store.clone(),
        names: Arc::new(RandomNames),
    });
    let context = RequestContext {
        user: user("kubernetes-admin", &["system:masters"]),
        now: jiff::Timestamp::UNIX_EPOCH,
        at: None,
        user_agent: String::new(),
    };
    let bootstrap = Bootstrap { address: [192, 0, 2, 1].into(), port: 6443, now: context.now };
    bootstrap.run(&pipeline).await.expect("bootstrap");
    for number in 0..1000 {
        let name = format!("r{number}");
        let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]);
        let role = json!({"apiVersion": format!("{RBAC}/v1"), "kind": "Role", "metadata": {"name": name}, "rules": rules});
        create(&pipeline, &context, "roles", role).await;
        let binding = json!({
            "apiVersion": format!("{RBAC}/v1"), "kind": "RoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": name},
            "subjects": [{"apiGroup": RBAC, "kind": "User", "name": format!("user-{number}")}],
        });
        create(&pipeline, &context, "rolebindings", binding).await;
    }
    Authorization::new(&store)
}

fn all(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let authorization = runtime.block_on(authorization());
    let mut group = criterion.benchmark_group("authorize");
    for (what, user, verb, allowed) in [
        ("an administrator", user("admin", &["system:masters"]), "delete", true),
        ("a user who may", user("user-999", &["system:authenticated"]), "list", true),
        ("a user who may not", user("user-999", &["system:authenticated"]), "delete", false),
        (
            "the controllers",
            user("system:kube-controller-manager", &["system:authenticated"]),
            "delete",
            true,
        ),
    ] {
        let asked = Attributes {
            verb,
            version: "v1",
            resource: "pods",
            namespace: "default",
            ..Attributes::nothing(&user)
        };
        assert_eq!(authorization.authorize(&asked).is_allowed(), allowed, "{what}");
        group.bench_function(what, |bencher| bencher.iter(|| authorization.authorize(black_box(&asked))));
    }
    group.finish();
}

criterion_group!(benches, all);
criterion_main!(benches);
