//! Whatever comes in, the answer is an error of the client's and nothing is stored.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::harness::{Server, cases};

/// JSON that looks a little like an object of the API.
fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z./0-9-]{0,8}".prop_map(Value::from),
        Just(json!("None")),
        Just(json!("10.96.0.1")),
    ];
    let key = prop_oneof![
        Just("metadata"),
        Just("spec"),
        Just("status"),
        Just("name"),
        Just("labels"),
        Just("finalizers"),
        Just("ports"),
        Just("containers"),
        Just("resources"),
        Just("limits"),
        Just("cpu"),
        Just("clusterIP"),
        Just("clusterIPs"),
        Just("type"),
        Just("template"),
        Just("tolerations"),
        Just("deletionTimestamp"),
        Just("managedFields"),
        Just("ownerReferences"),
        Just("resourceVersion"),
        Just("nodePort"),
        Just("selector"),
    ];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((key.clone(), inner), 0..5).prop_map(|fields| {
                Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
            }),
        ]
    })
}

async fn run(mut document: Value, how: usize) {
    let server = Server::bare().await;
    let before = server.pipeline.store().snapshot().revision();
    let (method, path, kind, api_version, content_type) = [
        ("POST", "/api/v1/namespaces/default/pods", "Pod", "v1", "application/json"),
        ("POST", "/api/v1/namespaces/default/services", "Service", "v1", "application/json"),
        (
            "POST",
            "/apis/extensions/v1beta1/namespaces/default/deployments",
            "Deployment",
            "extensions/v1beta1",
            "application/json",
        ),
        ("POST", "/apis/batch/v1/namespaces/default/jobs", "Job", "batch/v1", "application/json"),
        ("POST", "/api/v1/namespaces", "Namespace", "v1", "application/json"),
        ("PUT", "/api/v1/namespaces/default/services/kubernetes", "Service", "v1", "application/json"),
        ("PATCH", "/api/v1/namespaces/default/services/kubernetes", "", "", "application/merge-patch+json"),
        (
            "PATCH",
            "/api/v1/namespaces/default/services/kubernetes",
            "",
            "",
            "application/strategic-merge-patch+json",
        ),
        ("PATCH", "/api/v1/namespaces/default/services/kubernetes", "", "", "application/json-patch+json"),
        (
            "PATCH",
            "/api/v1/namespaces/default/services/kubernetes?fieldManager=x",
            "Service",
            "v1",
            "application/apply-patch+yaml",
        ),
        (
            "DELETE",
            "/api/v1/namespaces/default/services/kubernetes",
            "DeleteOptions",
            "v1",
            "application/json",
        ),
    ][how];
    if let (Some(fields), false) = (document.as_object_mut(), kind.is_empty()) {
        fields.insert("kind".to_owned(), kind.into());
        fields.insert("apiVersion".to_owned(), api_version.into());
    }
    let (code, answer) = server.exchange(method, path, content_type, document.to_string().as_bytes()).await;
    assert!(code < 500, "{method} {path} {document} -> {code} {answer}");
    let after = server.pipeline.store().snapshot().revision();
    if code >= 400 {
        assert_eq!(before, after, "{method} {path} {document} -> {code} {answer}");
    } else {
        let object = &answer["metadata"];
        assert!(object.is_object(), "{answer}");
    }
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn an_error_is_the_clients_and_leaves_no_trace(document in document(), how in 0_usize..11) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(run(document, how));
    }

    #[test]
    fn bytes_that_are_no_json_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let refused = async {
            let server = Server::bare().await;
            for content_type in ["application/json", "application/yaml"] {
                let (code, answer) =
                    server.exchange("POST", "/api/v1/namespaces/default/configmaps", content_type, &bytes).await;
                assert!((400..500).contains(&code), "{code} {answer}");
            }
        };
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(refused);
    }
}
