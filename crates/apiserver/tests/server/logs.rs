//! Logs, from a kubelet that is a fake behind real TLS.

use futures_util::StreamExt as _;
use rpc::v1::LogsRequest;
use rpc::v1::node_client::NodeClient;
use serde_json::json;

use super::kubelet::{join, kubelet};
use super::*;

#[tokio::test]
async fn a_log_comes_from_the_kubelet_of_the_pods_node() {
    let asker = Asker::start().await;
    let port = kubelet(&asker).await;
    join(&asker, "n1", port).await;
    let pods = "/api/v1/namespaces/default/pods";
    for (name, node, containers) in [("p", "n1", &["a"][..]), ("two", "n1", &["a", "b"]), ("new", "", &["a"])]
    {
        let containers: Vec<_> = containers.iter().map(|name| json!({"name": name, "image": "i"})).collect();
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": containers}});
        if !node.is_empty() {
            pod["spec"]["nodeName"] = node.into();
        }
        let created = asker.post(pods, &pod).await;
        assert_eq!(created.code.as_u16(), 201, "{}", created.text());
    }
    for (path, code, text) in [
        ("p/log?tailLines=3", 200, "a Some(3)\ntwo\n"),
        ("two/log?container=b", 200, "b None\ntwo\n"),
        ("new/log", 200, ""),
        ("two/log", 400, "choose one of: [a b]"),
        ("p/log?container=x", 400, "container x is not valid for pod p"),
        ("p/log?previous=true", 400, "previous terminated container not found"),
        ("p/log?tailLines=-1", 422, "must be greater than or equal to 0"),
        ("none/log", 404, "pods \\\"none\\\" not found"),
    ] {
        let answer = asker.get(&format!("{pods}/{path}")).await;
        assert_eq!(answer.code.as_u16(), code, "{path}: {}", answer.text());
        assert!(answer.text().contains(text), "{path}: {}", answer.text());
        if code == 200 {
            assert_eq!((answer.text().as_str(), answer.header("content-type")), (text, "text/plain"));
        }
    }

    let mut passed_on = NodeClient::new(asker.channel(asker.admin()).await);
    let request = LogsRequest { namespace: "default".into(), pod: "p".into(), ..Default::default() };
    let chunks: Vec<_> = passed_on.logs(request).await.expect("a log").into_inner().collect().await;
    assert_eq!(chunks.len(), 2);
    asker.stop().await;
}

#[tokio::test]
async fn a_kubelet_that_is_not_there_is_an_error_that_names_it() {
    let asker = Asker::start().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    join(&asker, "gone", port).await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"nodeName": "gone", "containers": [{"name": "a", "image": "i"}]}});
    asker.post("/api/v1/namespaces/default/pods", &pod).await;
    let answer = asker.get("/api/v1/namespaces/default/pods/p/log").await;
    assert_eq!(answer.code, 500);
    assert!(answer.text().contains("the kubelet of node gone"), "{}", answer.text());
    asker.stop().await;
}
