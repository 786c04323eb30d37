//! Server-side apply: ownership, conflicts, removal, and the account of other writes.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::registry::registry;

/// An object that several managers write, second by second.
struct Object {
    def: Arc<ResourceDef>,
    live: Option<Value>,
    clock: i64,
}

impl Object {
    fn new(group: &str, plural: &str) -> Self {
        let def = registry().resource(group, "v1", plural).expect(plural);
        Self { def, live: None, clock: 0 }
    }

    fn config_map() -> Self {
        Self::new("", "configmaps")
    }

    fn deployment() -> Self {
        Self::new("apps", "deployments")
    }

    fn full(&self, mut document: Value) -> Value {
        document["apiVersion"] = self.def.api_version().into();
        document["kind"] = self.def.kind.as_ref().into();
        document["metadata"]["name"] = "it".into();
        document
    }

    fn try_apply(&mut self, manager: &str, applied: Value, force: bool) -> Result<(), Status> {
        self.clock += 1;
        let now = Timestamp::from_second(self.clock).expect("a time");
        let writer = Writer { def: &self.def, manager, subresource: "", now };
        let applied = self.full(applied);
        let result = apply(&writer, self.live.as_ref(), &applied, force)?;
        // Whatever is applied, applying it again right away changes nothing.
        let later = Writer { now: Timestamp::from_second(self.clock + 1000).expect("a time"), ..writer };
        let again = apply(&later, Some(&result), &applied, force).expect("it applied before");
        assert_eq!(again, result, "applied again");
        self.live = Some(result);
        Ok(())
    }

    #[track_caller]
    fn apply(&mut self, manager: &str, applied: Value) -> &mut Self {
        self.try_apply(manager, applied, false).expect("no conflict");
        self
    }

    fn update(&mut self, manager: &str, subresource: &str, change: impl FnOnce(&mut Value)) -> &mut Self {
        self.clock += 1;
        let now = Timestamp::from_second(self.clock).expect("a time");
        let mut new = self.live.clone().unwrap_or_else(|| self.full(json!({})));
        change(&mut new);
        let writer = Writer { def: &self.def, manager, subresource, now };
        track_update(&writer, self.live.as_ref(), &mut new);
        self.live = Some(new);
        self
    }

    fn get(&self, pointer: &str) -> Value {
        self.live.as_ref().and_then(|live| live.pointer(pointer)).cloned().unwrap_or_default()
    }

    /// `manager operation` and its fields, one line each.
    fn account(&self) -> Vec<(String, Value)> {
        let entries = self.get("/metadata/managedFields");
        let name = |entry: &Value| {
            let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
            format!("{} {} {}", text("manager"), text("operation"), text("subresource")).trim_end().to_owned()
        };
        entries
            .as_array()
            .into_iter()
            .flatten()
            .map(|entry| (name(entry), entry["fieldsV1"].clone()))
            .collect()
    }
}

fn data(data: Value) -> Value {
    json!({"data": data})
}

fn deployment(containers: Value) -> Value {
    json!({"spec": {"template": {"spec": {"containers": containers}}}})
}

const CONTAINERS: &str = "/spec/template/spec/containers";

#[test]
fn the_applier_owns_what_it_applied_and_nothing_else() {
    let mut object = Object::config_map();
    object.apply("one", data(json!({"a": "1", "b": "1"})));
    assert_eq!(object.account(), [("one Apply".to_owned(), json!({"f:data": {"f:a": {}, "f:b": {}}}))]);
    assert_eq!(
        object.get("/metadata/managedFields/0"),
        json!({"manager": "one", "operation": "Apply", "apiVersion": "v1", "time": "1970-01-01T00:00:01Z",
            "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:a": {}, "f:b": {}}}})
    );
}

#[test]
fn who_applies_nothing_owns_nothing() {
    let mut object = Object::deployment();
    object.apply("one", deployment(json!([])));
    assert_eq!(object.account(), []);

    let mut object = Object::deployment();
    object.apply("one", deployment(json!([{"name": "a"}]))).apply("one", deployment(json!([])));
    assert_eq!(object.get(CONTAINERS), json!([]));
    assert_eq!(object.account(), []);
}

#[test]
fn another_value_for_anothers_field_is_a_conflict() {
    let mut object = Object::config_map();
    object.apply("one", data(json!({"a": "1", "b": "1"})));
    let status = object.try_apply("two", data(json!({"a": "2"})), false).expect_err("a conflict");
    assert_eq!(
        serde_json::to_value(status).expect("a status"),
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 409,
            "message": "Apply failed with 1 conflict: conflict with \"one\": .data.a", "reason": "Conflict",
            "details": {"causes": [
                {"field": ".data.a", "message": "conflict with \"one\"", "reason": "FieldManagerConflict"}]}})
    );
    object.update("curl", "", |object| object["data"]["c"] = "1".into());
    let status =
        object.try_apply("two", data(json!({"a": "2", "b": "2", "c": "2"})), false).expect_err("conflicts");
    assert_eq!(
        status.message,
        "Apply failed with 3 conflicts: conflicts with \"curl\" using v1:\n- .data.c\nconflicts with \"one\":\n\
         - .data.a\n- .data.b"
    );
}

#[test]
fn the_same_value_is_owned_together() {
    let mut object = Object::config_map();
    object.apply("one", data(json!({"a": "1"}))).apply("two", data(json!({"a": "1"})));
    object.apply("one", data(json!({})));
    assert_eq!(object.get("/data"), json!({"a": "1"}));
    object.apply("two", json!({}));
    assert_eq!(object.get("/data"), Value::Null);
}

#[test]
fn force_takes_fields_over() {
    let mut object = Object::config_map();
    object.apply("one", data(json!({"a": "1", "b": "1"})));
    object.try_apply("two", data(json!({"a": "2"})), true).expect("forced");
    assert_eq!(object.get("/data"), json!({"a": "2", "b": "1"}));
    assert_eq!(
        object.account(),
        [
            ("one Apply".to_owned(), json!({"f:data": {"f:b": {}}})),
            ("two Apply".to_owned(), json!({"f:data": {"f:a": {}}}))
        ]
    );
    object.apply("one", data(json!({})));
    assert_eq!(object.get("/data"), json!({"a": "2"}));
}

#[test]
fn containers_of_two_appliers_stand_side_by_side() {
    let mut object = Object::deployment();
    let mut first = deployment(json!([{"name": "c", "image": "nginx"}]));
    first["spec"]["selector"] = json!({"matchLabels": {"app": "a"}});
    first["spec"]["template"]["metadata"] = json!({"labels": {"app": "a"}});
    object.apply("one", first).apply("two", deployment(json!([{"name": "side", "image": "s"}])));
    assert_eq!(
        object.get(CONTAINERS),
        json!([{"name": "c", "image": "nginx"}, {"name": "side", "image": "s"}])
    );
    let container = |name: &str| {
        let key = format!("k:{{\"name\":\"{name}\"}}");
        json!({"f:spec": {"f:containers": {key: {".": {}, "f:image": {}, "f:name": {}}}}})
    };
    let mut template = container("c");
    template["f:metadata"] = json!({"f:labels": {"f:app": {}}});
    assert_eq!(
        object.account(),
        [
            ("one Apply".to_owned(), json!({"f:spec": {"f:selector": {}, "f:template": template}})),
            ("two Apply".to_owned(), json!({"f:spec": {"f:template": container("side")}}))
        ]
    );
    object.apply("two", json!({}));
    assert_eq!(object.get(CONTAINERS), json!([{"name": "c", "image": "nginx"}]));
}

#[test]
fn a_container_that_is_applied_no_more_goes_with_its_defaults_unless_another_owns_it() {
    let both = deployment(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]));
    let only_a = deployment(json!([{"name": "a", "image": "1"}]));
    let default = |object: &mut Value| {
        object["spec"]["template"]["spec"]["containers"][1]["imagePullPolicy"] = "Always".into();
    };
    let mut object = Object::deployment();
    object.apply("one", both.clone());
    // Defaults are written by the server and owned by nobody.
    default(object.live.as_mut().expect("an object"));
    object.apply("one", only_a.clone());
    assert_eq!(object.get(CONTAINERS), json!([{"name": "a", "image": "1"}]));

    let mut object = Object::deployment();
    object.apply("one", both);
    default(object.live.as_mut().expect("an object"));
    object.apply("two", deployment(json!([{"name": "b"}]))).apply("one", only_a);
    assert_eq!(
        object.get(CONTAINERS),
        json!([{"name": "a", "image": "1"}, {"name": "b", "imagePullPolicy": "Always"}])
    );
}

#[test]
fn elements_keep_the_live_order_and_new_ones_stand_by_their_neighbours() {
    let list = |names: &[&str]| {
        let containers = names.iter().map(|name| json!({"name": name})).collect();
        deployment(containers)
    };
    for (live, applied, merged) in [
        (&["a", "b"][..], &["c", "a"][..], &["c", "a", "b"][..]),
        (&["a", "b"], &["b", "a"], &["b", "a"]),
        (&["a", "x", "b"], &["b", "a"], &["x", "b", "a"]),
        (&["a", "b", "c"], &["a", "n", "c"], &["a", "b", "n", "c"]),
        (&["x"], &["a", "b"], &["x", "a", "b"]),
        (&[], &["a"], &["a"]),
    ] {
        let mut object = Object::deployment();
        object.apply("one", list(live)).apply("two", list(applied));
        let containers = object.get(CONTAINERS);
        let names: Vec<_> = containers.as_array().into_iter().flatten().map(|c| c["name"].clone()).collect();
        assert_eq!(names, merged, "{live:?} with {applied:?}");
    }
}

#[test]
fn sets_merge_by_value_and_atomic_values_as_one() {
    let mut object = Object::deployment();
    object.apply("one", json!({"metadata": {"finalizers": ["x/a", "x/b"]}, "spec": {"selector": {"matchLabels": {"a": "1"}}}}));
    object.apply("two", json!({"metadata": {"finalizers": ["x/c", "x/a"]}}));
    assert_eq!(object.get("/metadata/finalizers"), json!(["x/c", "x/a", "x/b"]));
    assert_eq!(
        object.account()[1].1,
        json!({"f:metadata": {"f:finalizers": {"v:\"x/a\"": {}, "v:\"x/c\"": {}}}})
    );
    object.apply("one", json!({"spec": {"selector": {"matchLabels": {"b": "2"}}}}));
    assert_eq!(object.get("/metadata/finalizers"), json!(["x/c", "x/a"]));
    assert_eq!(object.get("/spec/selector"), json!({"matchLabels": {"b": "2"}}));
}

#[test]
fn ports_are_told_apart_by_number_and_protocol_which_defaults() {
    let ports = |ports: Value| deployment(json!([{"name": "c", "ports": ports}]));
    let mut object = Object::deployment();
    object.apply("one", ports(json!([{"containerPort": 53}, {"containerPort": 53, "protocol": "UDP"}])));
    object.apply("two", ports(json!([{"containerPort": 53, "protocol": "TCP", "name": "dns"}])));
    let pointer = format!("{CONTAINERS}/0/ports");
    assert_eq!(
        object.get(&pointer),
        json!([{"containerPort": 53, "protocol": "TCP", "name": "dns"}, {"containerPort": 53, "protocol": "UDP"}])
    );
    let owned = object.account()[1].1.to_string();
    assert!(owned.contains(r#"k:{\"containerPort\":53,\"protocol\":\"TCP\"}"#), "{owned}");
}

#[test]
fn other_writes_are_accounted_for_once_an_object_is_applied() {
    let mut object = Object::config_map();
    object.update("curl", "", |object| object["data"] = json!({"a": "1"}));
    object.update("curl", "", |object| object["data"]["b"] = "1".into());
    assert_eq!(object.account(), []);
    object.apply("one", data(json!({"c": "1"})));
    object.update("curl", "", |object| {
        object["data"]["c"] = "2".into();
        object["metadata"]["labels"] = json!({"l": "1"});
        object["metadata"]["resourceVersion"] = "7".into();
    });
    assert_eq!(
        object.account(),
        [
            ("before-first-apply Update".to_owned(), json!({"f:data": {".": {}, "f:a": {}, "f:b": {}}})),
            (
                "curl Update".to_owned(),
                json!({"f:data": {"f:c": {}}, "f:metadata": {"f:labels": {".": {}, "f:l": {}}}})
            )
        ]
    );
    let before = object.get("");
    object.update("curl", "", |_| {});
    assert_eq!(object.get(""), before, "nothing changed, so nothing is written");
    object.update("curl", "", |object| object["metadata"]["managedFields"] = json!([{}]));
    assert_eq!(object.account(), []);
}

#[test]
fn status_and_spec_have_accounts_of_their_own() {
    let mut object = Object::deployment();
    object.apply("one", json!({"spec": {"replicas": 2}, "status": {"replicas": 9}}));
    object.update("controllers", "status", |object| {
        object["status"] = json!({"replicas": 2, "conditions": [{"type": "Available", "status": "True"}]});
        object["spec"]["replicas"] = 7.into();
    });
    assert_eq!(object.account()[0].1, json!({"f:spec": {"f:replicas": {}}}));
    let (name, fields) = &object.account()[1];
    assert_eq!(name, "controllers Update status");
    assert_eq!(
        fields,
        &json!({"f:status": {"f:replicas": {}, "f:conditions": {
            ".": {}, "k:{\"type\":\"Available\"}": {".": {}, "f:type": {}, "f:status": {}}}}})
    );
}

/// What `kubectl apply` makes of a manifest, on its own side.
fn applied_by_client(manifest: &Value) -> Value {
    let mut object = manifest.clone();
    object["metadata"]["annotations"] = json!({LAST_APPLIED: manifest.to_string()});
    object
}

/// What kubectl does after its first server-side apply: it sees to it that the annotation stays, and makes the Update
/// entries of whoever owned it its own Apply entry.
fn kubectl_migrates(object: &mut Object) {
    let annotations = object.get("/metadata/annotations");
    object.apply("kubectl-last-applied", json!({"metadata": {"annotations": annotations}}));
    let annotation = format!("f:{LAST_APPLIED}");
    object.update("kubectl", "", |object| {
        let Value::Array(entries) = object["metadata"]["managedFields"].take() else { panic!("no account") };
        let (old, mut kept): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| {
            entry["operation"] == "Update"
                && entry["fieldsV1"]["f:metadata"]["f:annotations"].get(&annotation).is_some()
        });
        assert_eq!(old.len(), 1, "one owner of the annotation");
        let applier = kept
            .iter_mut()
            .find(|entry| entry["manager"] == "kubectl" && entry["operation"] == "Apply")
            .expect("an applier");
        let mut fields = Set::from_json(&applier["fieldsV1"]).expect("fields");
        fields.union(&Set::from_json(&old[0]["fieldsV1"]).expect("fields"));
        applier["fieldsV1"] = fields.to_json();
        object["metadata"]["managedFields"] = kept.into();
    });
}

#[test]
fn kubectl_goes_on_from_what_it_applied_on_its_own_side() {
    let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "it"},
        "data": {"a": "1", "b": "1"}});
    // The account of the second is lost, as in objects of before there was any.
    for forgotten in [false, true] {
        let created = || {
            let mut object = Object::config_map();
            object.update("kubectl-client-side-apply", "", |object| *object = applied_by_client(&manifest));
            object.update("curl", "", |object| object["data"]["other"] = "1".into());
            if forgotten {
                object.update("curl", "", |object| object["metadata"]["managedFields"] = json!([{}]));
            }
            object
        };
        let mut object = created();
        object.apply("kubectl", data(json!({"a": "2"})));
        kubectl_migrates(&mut object);
        object.apply("kubectl", data(json!({"a": "2"})));
        assert_eq!(object.get("/data"), json!({"a": "2", "other": "1"}));
        let noted = object.get("/metadata/annotations");
        let noted: Value =
            serde_json::from_str(noted[LAST_APPLIED].as_str().unwrap_or_default()).expect("a manifest");
        assert_eq!(noted["data"], json!({"a": "2"}));

        let other = if forgotten { "before-first-apply" } else { "curl" };
        let mut owners = [(other, "other"), ("kubectl-client-side-apply", "a")];
        owners.sort_unstable();
        let status = created()
            .try_apply("other", data(json!({"a": "2", "other": "2"})), false)
            .expect_err("conflicts");
        let conflicts: Vec<String> = owners
            .iter()
            .map(|(owner, field)| format!("conflicts with {owner:?} using v1:\n- .data.{field}"))
            .collect();
        assert_eq!(status.message, format!("Apply failed with 2 conflicts: {}", conflicts.join("\n")));
    }
}

#[test]
fn what_was_scaled_between_client_side_and_server_side_apply_stays_scaled() {
    for replicas in [None, Some(1)] {
        let mut manifest = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "it"},
            "spec": {"paused": true}});
        if let Some(replicas) = replicas {
            manifest["spec"]["replicas"] = replicas.into();
        }
        let mut object = Object::deployment();
        object.update("kubectl-client-side-apply", "", |object| {
            *object = applied_by_client(&manifest);
            object["spec"]["replicas"] = 1.into();
            object["spec"]["revisionHistoryLimit"] = 10.into();
        });
        object.update("kubectl", "scale", |object| object["spec"]["replicas"] = 3.into());
        if replicas.is_some() {
            let refused = object.try_apply("kubectl", manifest.clone(), false).expect_err("a conflict");
            assert_eq!(
                refused.message,
                "Apply failed with 1 conflict: conflict with \"kubectl\" with subresource \"scale\" using apps/v1: \
                 .spec.replicas"
            );
            continue;
        }
        object.apply("kubectl", manifest.clone());
        kubectl_migrates(&mut object);
        object.apply("kubectl", manifest.clone());
        assert_eq!(object.get("/spec"), json!({"paused": true, "replicas": 3}));
        let owners: Vec<String> = object.account().into_iter().map(|(owner, _)| owner).collect();
        assert_eq!(owners, ["kubectl-last-applied Apply", "kubectl Apply", "kubectl Update scale"]);
    }
}

#[test]
fn a_client_side_apply_over_an_object_without_account_begins_one() {
    let mut object = Object::config_map();
    object.update("kubectl-create", "", |object| object["data"] = json!({"a": "1", "b": "1"}));
    assert_eq!(object.account(), []);
    let manifest =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "it"}, "data": {"a": "2"}});
    object.update("kubectl-client-side-apply", "", |object| {
        object["metadata"]["annotations"] = json!({LAST_APPLIED: manifest.to_string()});
        object["data"]["a"] = "2".into();
    });
    let annotation = format!("f:{LAST_APPLIED}");
    assert_eq!(
        object.account(),
        [
            ("before-first-apply Update".to_owned(), json!({"f:data": {".": {}, "f:b": {}}})),
            (
                "kubectl-client-side-apply Update".to_owned(),
                json!({"f:data": {"f:a": {}}, "f:metadata": {"f:annotations": {".": {}, annotation: {}}}})
            )
        ]
    );
}

#[test]
fn what_cannot_be_applied_is_refused() {
    let apply_to = |document: Value| {
        let mut object = Object::deployment();
        object.try_apply("one", document, false).expect_err("refused").message
    };
    for (document, message) in [
        (json!({"spec": {"bogus": 1}}), ".spec.bogus: field not declared in schema"),
        (
            deployment(json!([{"name": "a"}, {"name": "a"}])),
            ".spec.template.spec.containers: duplicate entries for key [name=\"a\"]",
        ),
        (
            deployment(json!([{"image": "a"}])),
            ".spec.template.spec.containers: element 0: associative list with keys has an element that omits key \
             field \"name\" (and doesn't have default value)",
        ),
        (json!({"spec": []}), ".spec: expected map, got []"),
        (json!({"metadata": {"managedFields": []}}), "metadata.managedFields must be nil"),
    ] {
        let told = apply_to(document.clone());
        assert!(told.ends_with(message), "{document}: {told}");
    }
    let def = Object::deployment().def;
    let now = Timestamp::UNIX_EPOCH;
    let writer = Writer { def: &def, manager: "one", subresource: "", now };
    let status = apply(&writer, None, &json!({"apiVersion": "apps/v2"}), false).expect_err("another version");
    assert_eq!(
        status.message,
        "Incorrect version specified in apply patch. Specified patch version: apps/v2, expected: apps/v1"
    );
}

#[test]
fn the_oldest_of_many_managers_become_one() {
    let mut object = Object::config_map();
    object.apply("one", data(json!({"a": "1"})));
    for i in 0..15 {
        object.update(&format!("m{i:02}"), "", |object| object["data"][format!("k{i:02}")] = "1".into());
    }
    let account = object.account();
    assert_eq!(account.len(), 11);
    let (_, ancient) = account.iter().find(|(name, _)| name == "ancient-changes Update").expect("the oldest");
    let names: Vec<_> =
        ancient["f:data"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, ["f:k00", "f:k01", "f:k02", "f:k03", "f:k04", "f:k05"]);
}

#[test]
fn sets_of_fields_are_read_as_they_are_written() {
    let json = json!({"f:spec": {".": {}, "f:a:b": {}, "f:list": {
        "k:{\"n\":1,\"p\":\"TCP\"}": {".": {}, "f:x": {}}, "v:\"x\"": {}, "v:2": {}, "i:3": {}}}});
    let set = Set::from_json(&json).expect("a set");
    assert_eq!(set.to_json(), json);
    let paths = [
        ".spec",
        ".spec.a:b",
        ".spec.list[n=1,p=\"TCP\"]",
        ".spec.list[=2]",
        ".spec.list[=\"x\"]",
        ".spec.list[3]",
        ".spec.list[n=1,p=\"TCP\"].x",
    ];
    assert_eq!(set.paths(), paths);
    for bad in [json!([]), json!({"x": {}}), json!({"f:a": 1}), json!({"k:{": {}})] {
        assert_eq!(Set::from_json(&bad), None, "{bad}");
    }
}

/// The exchanges of a real server, where they are at hand.
#[test]
fn objects_are_applied_as_a_recorded_server_applied_them() {
    let Some(exchanges) = crate::reference::recorded() else { return };
    let (mut config_map, mut deployment) = (None, None);
    let mut compared = 0;
    for exchange in exchanges {
        let title = exchange["title"].as_str().unwrap_or_default();
        let (request, response) = (&exchange["request"], &exchange["response"]["body"]);
        if title == "managedFields after two appliers" {
            let mut entries = response["managedFields"].clone();
            let live: &Value = deployment.as_ref().expect("it was applied before");
            let mut ours = live["metadata"]["managedFields"].clone();
            for entry in entries.as_array_mut().into_iter().chain(ours.as_array_mut()).flatten() {
                entry["time"] = Value::Null;
            }
            assert_eq!(ours, entries);
            compared += 1;
        }
        if !title.starts_with("apply: ") || title == "apply: no fieldManager" {
            continue;
        }
        let path = request["path"].as_str().unwrap_or_default();
        let applied: Value = serde_json::from_str(request["body"].as_str().unwrap_or_default()).expect(title);
        let (live, plural, group) = if path.contains("/deployments/") {
            (&mut deployment, "deployments", "apps")
        } else {
            (&mut config_map, "configmaps", "")
        };
        let def = registry().resource(group, "v1", plural).expect(plural);
        let manager = if path.contains("fieldManager=one") { "one" } else { "two" };
        let writer = Writer { def: &def, manager, subresource: "", now: Timestamp::UNIX_EPOCH };
        match apply(&writer, live.as_ref(), &applied, path.contains("force=true")) {
            Ok(result) => {
                assert_eq!(result["data"], response["data"], "{title}");
                let names = |object: &Value| -> Vec<Value> {
                    let containers = object.pointer(CONTAINERS).and_then(Value::as_array);
                    containers.into_iter().flatten().map(|c| c["name"].clone()).collect()
                };
                assert_eq!(names(&result), names(response), "{title}");
                *live = Some(result);
            }
            Err(status) => assert_eq!(&serde_json::to_value(status).expect("a status"), response, "{title}"),
        }
        compared += 1;
    }
    assert_eq!(compared, 7);
}

fn containers() -> impl Strategy<Value = Value> {
    let container =
        ("[a-d]", proptest::option::of("[x-z]"), proptest::collection::btree_map("[e-g]", "[0-1]", 0..3));
    let container = container.prop_map(|(name, image, env)| {
        let env: Vec<_> =
            env.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        json!({"name": name, "image": image.unwrap_or_default(), "env": env})
    });
    proptest::collection::btree_map("[a-d]", container, 0..4).prop_map(|containers| {
        let named = containers.into_iter().map(|(name, mut container)| {
            container["name"] = name.into();
            container
        });
        deployment(named.collect())
    })
}

/// Anything that a client may send, made of words that mean something.
fn anything() -> impl Strategy<Value = Value> {
    let word = || {
        proptest::sample::select(vec![
            "name",
            "containers",
            "spec",
            "template",
            "finalizers",
            "ports",
            "containerPort",
            "protocol",
            "env",
            "labels",
            "selector",
            "a",
        ])
    };
    let leaf = prop_oneof![Just(Value::Null), word().prop_map(Value::from), (0..2).prop_map(Value::from)];
    leaf.prop_recursive(5, 48, 5, move |inner| {
        let fields = proptest::collection::vec((word(), inner.clone()), 0..5);
        let object = fields.prop_map(|fields| fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect());
        prop_oneof![
            proptest::collection::vec(inner, 0..4).prop_map(Value::from),
            object.prop_map(Value::Object)
        ]
    })
}

proptest! {
    #[test]
    fn no_document_makes_apply_panic(live in anything(), applied in anything(), spec in anything()) {
        let mut object = Object::deployment();
        object.apply("one", json!({"spec": {"replicas": 1}}));
        object.update("two", "", |object| {
            object["spec"] = json!({"template": {"spec": live, "metadata": live}});
            object["metadata"]["labels"] = live.clone();
        });
        for applied in [json!({"spec": {"template": {"spec": applied, "metadata": applied}}}), json!({"spec": spec})] {
            let _ = object.try_apply("three", applied, true);
        }
    }

    // `try_apply` itself asserts that applying again changes nothing.
    #[test]
    fn what_an_only_applier_applied_last_is_what_there_is(steps in proptest::collection::vec(containers(), 1..4)) {
        let mut object = Object::deployment();
        for step in &steps {
            object.apply("one", step.clone());
        }
        let last = steps.last().and_then(|last| last.pointer(CONTAINERS)).cloned().unwrap_or_default();
        let is_empty = last.as_array().is_none_or(Vec::is_empty);
        let there_is = object.get(CONTAINERS);
        let there_is_none = there_is.as_array().is_none_or(Vec::is_empty);
        prop_assert!(if is_empty { there_is_none } else { there_is == last }, "{} {}", there_is, last);
    }

    #[test]
    fn force_always_applies_and_no_field_has_two_values(steps in proptest::collection::vec((containers(), 0..3), 1..6)) {
        let mut object = Object::deployment();
        for (step, manager) in &steps {
            object.try_apply(&format!("m{manager}"), step.clone(), true).expect("forced");
            let applied = step.pointer(CONTAINERS).and_then(Value::as_array);
            for wanted in applied.into_iter().flatten() {
                let containers = object.get(CONTAINERS);
                let same: Vec<_> = containers.as_array().into_iter().flatten()
                    .filter(|container| container["name"] == wanted["name"]).collect();
                prop_assert_eq!(same.len(), 1);
                prop_assert_eq!(&same[0]["image"], &wanted["image"]);
            }
        }
    }
}
