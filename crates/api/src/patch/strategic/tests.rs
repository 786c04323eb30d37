//! Strategic merge on the built-in kinds: each directive, each kind of list, and the order of what is merged.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::schema;

#[track_caller]
fn patched(kind: &str, document: Value, patch: Value) -> Result<Value, Status> {
    let def = schema::builtin(kind).expect(kind);
    let mut document = document;
    apply(&def, &mut document, patch)?;
    Ok(document)
}

/// A pod of these containers, each an object.
fn pod(containers: Value) -> Value {
    json!({"spec": {"containers": containers}})
}

#[track_caller]
fn names(containers: Value, patch: Value) -> Vec<String> {
    let patched = patched("core.v1.Pod", pod(containers), json!({"spec": patch})).expect("it merges");
    let containers = patched["spec"]["containers"].as_array().cloned().unwrap_or_default();
    containers.iter().map(|c| c["name"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn containers_merge_by_name_and_new_ones_go_first() {
    let before = pod(json!([{"name": "c", "image": "nginx", "imagePullPolicy": "Always"}]));
    let after = patched("core.v1.Pod", before.clone(), pod(json!([{"name": "side", "image": "busybox"}])));
    assert_eq!(
        after.expect("it merges"),
        pod(json!([{"name": "side", "image": "busybox"},
            {"name": "c", "image": "nginx", "imagePullPolicy": "Always"}]))
    );
    let after = patched("core.v1.Pod", before, pod(json!([{"name": "c", "image": "nginx:2"}])));
    assert_eq!(
        after.expect("it merges"),
        pod(json!([{"name": "c", "image": "nginx:2", "imagePullPolicy": "Always"}]))
    );
}

#[test]
fn directives_delete_and_replace_elements() {
    let two = || json!([{"name": "a"}, {"name": "b"}]);
    assert_eq!(names(two(), json!({"containers": [{"name": "a", "$patch": "delete"}]})), ["b"]);
    assert_eq!(names(two(), json!({"containers": [{"name": "x", "$patch": "delete"}]})), ["a", "b"]);
    assert_eq!(names(two(), json!({"containers": [{"name": "c"}, {"$patch": "replace"}]})), ["c"]);
    assert_eq!(
        names(json!([]), json!({"containers": [{"name": "a", "$patch": "delete"}, {"name": "b"}]})),
        ["b"]
    );
    let absent =
        patched("core.v1.Pod", json!({}), pod(json!([{"name": "a", "$patch": "delete"}, {"name": "b"}])));
    assert_eq!(absent.expect("it merges"), pod(json!([{"name": "b"}])));
}

#[test]
fn the_order_is_the_patchs_for_what_it_names_and_the_servers_for_the_rest() {
    let list = |names: &[&str]| names.iter().map(|name| json!({"name": name})).collect::<Value>();
    for (server, order, patch, merged) in [
        (&["a", "b"][..], None, &["b", "a"][..], &["b", "a"][..]),
        (&["a", "b"], None, &["c", "a"], &["c", "a", "b"]),
        (&["a", "b"], Some(&["b", "a"][..]), &[], &["b", "a"]),
        (&["c"], Some(&["b", "c"]), &["b"], &["b", "c"]),
        (&["c"], Some(&["c", "b"]), &["b"], &["c", "b"]),
        (&["a", "x", "b"], Some(&["a", "b", "c"]), &["c"], &["a", "x", "b", "c"]),
        (&["x", "a"], Some(&["b", "a"]), &["b"], &["b", "x", "a"]),
        (&[], Some(&["a", "b"]), &["b"], &["b"]),
    ] {
        let mut spec = json!({});
        if let Some(order) = order {
            spec["$setElementOrder/containers"] = list(order);
        }
        if !patch.is_empty() {
            spec["containers"] = list(patch);
        }
        assert_eq!(names(list(server), spec.clone()), merged, "{server:?} with {spec}");
    }
}

#[test]
fn a_union_keeps_only_the_retained_keys() {
    let before =
        json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}}}});
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    let after = patched("apps.v1.Deployment", before.clone(), patch).expect("it merges");
    assert_eq!(after, json!({"spec": {"strategy": {"type": "Recreate"}}}));

    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "rollingUpdate": {}}}});
    let status = patched("apps.v1.Deployment", before, patch).expect_err("not retained");
    assert_eq!(status.code, 422);

    let before = json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}, {"name": "w"}]}});
    let patch = json!({"spec": {"volumes": [
        {"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/"}}]}});
    let after = patched("core.v1.Pod", before, patch).expect("it merges");
    assert_eq!(after["spec"]["volumes"], json!([{"name": "v", "hostPath": {"path": "/"}}, {"name": "w"}]));
}

#[test]
fn lists_of_scalars_merge_where_the_schema_says_so() {
    let before = || json!({"metadata": {"finalizers": ["a", "b"]}, "spec": {"containers": [{"name": "c", "args": ["1"]}]}});
    let patch = json!({"metadata": {"finalizers": ["c", "a"]}, "spec": {"containers": [{"name": "c", "args": ["2"]}]}});
    let after = patched("core.v1.Pod", before(), patch).expect("it merges");
    assert_eq!(after["metadata"]["finalizers"], json!(["c", "a", "b"]));
    assert_eq!(after["spec"]["containers"][0]["args"], json!(["2"]));

    let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a", "x"],
        "$setElementOrder/finalizers": ["d", "b"], "finalizers": ["d"]}});
    let after = patched("core.v1.Pod", before(), patch).expect("it merges");
    assert_eq!(after["metadata"]["finalizers"], json!(["d", "b"]));
}

#[test]
fn maps_merge_by_key_and_null_deletes() {
    let before = json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "data": {"x": "1"}});
    let patch = json!({"metadata": {"labels": {"a": null, "c": "3"}, "annotations": {"n": null}},
        "data": {"$patch": "replace", "y": "2"}});
    let after = patched("core.v1.ConfigMap", before.clone(), patch).expect("it merges");
    assert_eq!(
        after,
        json!({"metadata": {"labels": {"b": "2", "c": "3"}, "annotations": {}}, "data": {"y": "2"}})
    );
    let after = patched("core.v1.ConfigMap", before, json!({"data": {"$patch": "delete"}, "metadata": null}));
    assert_eq!(after.expect("it merges"), json!({"data": {}}));
}

#[test]
fn elements_with_several_keys_merge_by_the_patch_key() {
    let before = json!({"spec": {"ports": [{"port": 80, "protocol": "TCP", "nodePort": 30000}]}});
    let patch = json!({"spec": {"ports": [{"port": 80, "name": "http"}, {"port": 443}]}});
    let after = patched("core.v1.Service", before, patch).expect("it merges");
    assert_eq!(
        after["spec"]["ports"],
        json!([{"port": 80, "protocol": "TCP", "nodePort": 30000, "name": "http"}, {"port": 443}])
    );
}

#[test]
fn a_selector_is_replaced_where_the_schema_says_so() {
    let before = json!({"spec": {"selector": {"matchLabels": {"a": "1"}}}});
    let patch = json!({"spec": {"selector": {"matchLabels": {"b": "2"}}}});
    let after = patched("policy.v1.PodDisruptionBudget", before.clone(), patch.clone()).expect("it merges");
    assert_eq!(after["spec"]["selector"]["matchLabels"], json!({"b": "2"}));
    let after = patched("apps.v1.Deployment", before, patch).expect("it merges");
    assert_eq!(after["spec"]["selector"]["matchLabels"], json!({"a": "1", "b": "2"}));
}

#[test]
fn a_patch_that_makes_no_sense_is_refused() {
    let with = |containers: Value| patched("core.v1.Pod", pod(json!([{"name": "a"}])), pod(containers));
    for (containers, code, message) in [
        (json!([{"image": "x"}]), 400, "map: map[image:x] does not contain declared merge key: name"),
        (
            json!([{"name": "a", "$patch": "merge"}]),
            400,
            "merging lists cannot yet be specified in the patch",
        ),
        (json!([{"name": "a", "$patch": "x"}]), 400, "unknown patch type: x in map: map[$patch:x name:a]"),
        (json!([1]), 400, "list element types are not identical"),
        (json!([[]]), 422, "the server rejected our request due to an error in our request"),
    ] {
        let status = with(containers.clone()).expect_err("it makes no sense");
        assert_eq!((status.code, &*status.message), (code, message), "{containers}");
    }
    let patch = json!({"spec": {"$setElementOrder/containers": [{"name": "a"}, {"name": "b"}],
        "containers": [{"name": "b"}, {"name": "a"}]}});
    assert_eq!(patched("core.v1.Pod", pod(json!([])), patch).expect_err("another order").code, 400);
    assert_eq!(patched("core.v1.Pod", json!({}), json!([])).expect_err("no object").code, 400);
}

#[test]
fn long_lists_merge_in_the_time_of_their_length() {
    // Looking at every pair would be ten thousand million looks.
    let list = |first: usize| -> Value {
        (first..first + 100_000).map(|i| json!({"name": i.to_string()})).collect()
    };
    let merged = patched("core.v1.Pod", pod(list(0)), pod(list(50_000))).expect("it merges");
    assert_eq!(merged["spec"]["containers"].as_array().map(Vec::len), Some(150_000));
}

#[test]
fn an_element_that_the_patch_adds_twice_is_one() {
    let patch = json!([{"name": "b", "image": "1"}, {"name": "b", "command": ["x"]}]);
    let merged = patched("core.v1.Pod", pod(json!([{"name": "a"}])), pod(patch)).expect("it merges");
    assert_eq!(merged, pod(json!([{"name": "b", "image": "1", "command": ["x"]}, {"name": "a"}])));
}

/// The exchanges of a real server, where they are at hand: each patch on the spec that the one before left.
#[test]
fn patches_merge_as_a_recorded_server_merged_them() {
    let Some(exchanges) = crate::reference::recorded() else { return };
    let mut document = None;
    let mut compared = 0;
    for exchange in exchanges {
        let title = exchange["title"].as_str().unwrap_or_default();
        let after = &exchange["response"]["body"];
        if title == "create apps/v1 deployments d: defaults" {
            document = Some(after.clone());
        }
        if !title.starts_with("strategic merge: ") {
            continue;
        }
        let before = document.replace(after.clone()).expect("the deployment was made before");
        let merged = patched("apps.v1.Deployment", before, exchange["request"]["body"].clone()).expect(title);
        // The server defaults what was added; the merge itself is in what the patch and the server's order say.
        let essence = |value: &Value| -> Vec<(Value, Value)> {
            let containers = value["spec"]["template"]["spec"]["containers"].as_array().cloned();
            containers.unwrap_or_default().iter().map(|c| (c["name"].clone(), c["image"].clone())).collect()
        };
        assert_eq!(essence(&merged), essence(after), "{title}");
        assert_eq!(merged["spec"]["strategy"], after["spec"]["strategy"], "{title}");
        compared += 1;
    }
    assert_eq!(compared, 5);
}

fn containers() -> impl Strategy<Value = Value> {
    let container = ("[a-d]", "[x-z]").prop_map(|(name, image)| json!({"name": name, "image": image}));
    proptest::collection::vec(container, 0..4).prop_map(|mut containers| {
        let mut seen = Vec::new();
        containers.retain(|c| {
            !seen.contains(&c["name"]) && {
                seen.push(c["name"].clone());
                true
            }
        });
        Value::from(containers)
    })
}

/// Anything that a client may send, made of words that mean something.
fn anything() -> impl Strategy<Value = Value> {
    let word = || {
        proptest::sample::select(vec![
            "name",
            "containers",
            "spec",
            "metadata",
            "finalizers",
            "ports",
            "containerPort",
            "volumes",
            "labels",
            PATCH,
            RETAIN_KEYS,
            "$setElementOrder/containers",
            "$setElementOrder/finalizers",
            "$setElementOrder/volumes",
            "$deleteFromPrimitiveList/finalizers",
            "delete",
            "replace",
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
    fn no_patch_makes_the_merge_panic_or_leaves_a_directive(document in anything(), patch in anything()) {
        let document = without_directives(document).unwrap_or_default();
        if let Ok(merged) = patched("core.v1.Pod", json!({"spec": document, "metadata": document}), json!({"spec": patch, "metadata": patch})) {
            prop_assert_eq!(without_directives(merged.clone()).map(drop_nulls), Some(drop_nulls(merged)));
        }
    }

    #[test]
    fn a_patch_applied_again_changes_nothing(server in containers(), patch in containers()) {
        let patch = pod(patch);
        let once = patched("core.v1.Pod", pod(server), patch.clone()).expect("it merges");
        let twice = patched("core.v1.Pod", once.clone(), patch).expect("it merges");
        prop_assert_eq!(twice, once);
    }

    #[test]
    fn the_order_told_is_the_order_made(server in containers(), order in containers()) {
        let patch = json!({"spec": {"$setElementOrder/containers": order, "containers": order}});
        let merged = patched("core.v1.Pod", pod(server), patch).expect("it merges");
        let names = |list: &Value| -> Vec<Value> {
            list.as_array().into_iter().flatten().map(|c| c["name"].clone()).collect()
        };
        let told = names(&order);
        let mut made = names(&merged["spec"]["containers"]);
        made.retain(|name| told.contains(name));
        prop_assert_eq!(made, told);
    }
}

/// Nulls that were there before stay; [`without_directives`] would drop them.
fn drop_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key, drop_nulls(value))).collect())
        }
        Value::Array(items) => items.into_iter().map(drop_nulls).collect(),
        scalar => scalar,
    }
}
