//! The metrics API, of what a kubelet that is a fake says.

use rpc::v1::node_client::NodeClient;
use rpc::v1::{StatsRequest, StatsResponse};
use serde_json::{Value, json};

use super::kubelet::{join, kubelet};
use super::*;

const API: &str = "/apis/metrics.k8s.io/v1beta1";

async fn scene() -> Asker {
    let asker = Asker::start().await;
    let port = kubelet(&asker).await;
    join(&asker, "n1", port).await;
    for name in ["db", "web", "new"] {
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]}});
        if name != "new" {
            pod["spec"]["nodeName"] = "n1".into();
        }
        let created = asker.post("/api/v1/namespaces/default/pods", &pod).await;
        assert_eq!(created.code.as_u16(), 201, "{}", created.text());
    }
    asker
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().expect("items");
    items.iter().filter_map(|item| item["metadata"]["name"].as_str()).collect()
}

#[tokio::test]
async fn nodes_and_pods_tell_what_they_use() {
    let asker = scene().await;
    // A node whose kubelet does not answer is left out.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    join(&asker, "gone", port).await;
    let nodes = asker.get(&format!("{API}/nodes")).await.json();
    assert_eq!((&nodes["kind"], names(&nodes)), (&json!("NodeMetricsList"), vec!["n1"]));
    assert_eq!(nodes["items"][0]["usage"], json!({"cpu": "1500m", "memory": "1Gi"}));
    assert_eq!(nodes["items"][0]["timestamp"], "2026-11-24T12:00:00Z");
    let pods = asker.get(&format!("{API}/namespaces/default/pods")).await.json();
    assert_eq!(names(&pods), ["db", "web"], "and not the one that has no node");
    let selected = asker.get(&format!("{API}/pods?labelSelector=app%3Dweb")).await.json();
    assert_eq!(names(&selected), ["web"]);
    let web = asker.get(&format!("{API}/namespaces/default/pods/web")).await.json();
    assert_eq!((&web["kind"], &web["window"]), (&json!("PodMetrics"), &json!("1s")));
    assert_eq!(web["metadata"]["labels"], json!({"app": "web"}));
    let usage = json!({"cpu": "250m", "memory": "64Mi"});
    assert_eq!(web["containers"], json!([{"name": "a", "usage": usage}, {"name": "b", "usage": usage}]));
    for (path, told) in [
        ("nodes/none", "nodes.metrics.k8s.io \"none\" not found"),
        ("nodes/gone", "nodes.metrics.k8s.io \"gone\" not found"),
        ("namespaces/default/pods/new", "pods.metrics.k8s.io \"default/new\" not found"),
    ] {
        let missing = asker.get(&format!("{API}/{path}")).await;
        assert_eq!((missing.code.as_u16(), &missing.json()["message"]), (404, &json!(told)), "{path}");
    }
    let bad = asker.get(&format!("{API}/pods?fieldSelector=spec.nodeName%3Dn1")).await;
    assert_eq!(bad.code.as_u16(), 400);
    asker.stop().await;
}

#[tokio::test]
async fn usage_is_found_by_discovery_shown_as_a_table_and_only_read() {
    let asker = scene().await;
    let resources = asker.get(API).await.json();
    assert_eq!(resources["resources"][0]["kind"], "NodeMetrics");
    assert_eq!(resources["resources"][1]["verbs"], json!(["get", "list"]));
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let table = asker.with(Method::GET, &format!("{API}/namespaces/default/pods"), &table, "").await.json();
    assert_eq!(table["rows"][1]["cells"], json!(["web", "500m", "128Mi", "1s"]));
    for path in ["pods", "nodes?watch=true"] {
        let answer = match path {
            "pods" => asker.post(&format!("{API}/namespaces/default/pods"), &json!({})).await,
            _ => asker.get(&format!("{API}/{path}")).await,
        };
        assert_eq!(answer.code.as_u16(), 405, "{path}");
    }
    let mut passed_on = NodeClient::new(asker.channel(asker.admin()).await);
    let asked = StatsRequest { node: "n1".into(), disk: false };
    let StatsResponse { node, pods } = passed_on.stats(asked).await.expect("answered").into_inner();
    assert!(node.is_some() && pods.len() == 3);
    asker.stop().await;
}
