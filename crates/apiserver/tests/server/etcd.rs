//! Several servers over one etcd cluster. Where no etcd is installed these tests say that they were skipped.

use std::path::Path;
use std::time::Duration;

use apiserver::config::{EtcdStore, StoreKind};
use component::Context;
use serde_json::json;
use store::testing::etcd::EtcdCluster;

use super::*;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn start(cluster: &EtcdCluster, directory: &Path) -> Asker {
    let etcd = EtcdStore::new(cluster.endpoints(), directory.join("store"));
    let config = apiserver::testing::config(StoreKind::Etcd(etcd), None);
    let server = TestServer::start_with(config, Context::for_tests()).await.expect("a server");
    Asker { server, tasks: Shutdown::new() }
}

fn config_map(name: &str, count: u64) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name}, "data": {"count": count.to_string()},
    })
}

async fn put(asker: &Asker, object: &Value) -> Answer {
    let path = format!("{CONFIG_MAPS}/{}", object["metadata"]["name"].as_str().expect("a name"));
    asker.with(Method::PUT, &path, &[("content-type", "application/json")], &object.to_string()).await
}

/// The next whole line of a watch.
async fn line(body: &mut Incoming, rest: &mut Vec<u8>) -> Value {
    loop {
        if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            return serde_json::from_slice(&line).expect("a document");
        }
        let frame = body.frame().await.expect("the watch goes on").expect("a frame");
        rest.extend_from_slice(&frame.into_data().expect("data"));
    }
}

/// Adds one to the count `times` times, each time to what was read.
async fn count(asker: &Asker, times: usize) {
    for _ in 0..times {
        loop {
            let mut object = asker.get(&format!("{CONFIG_MAPS}/counter")).await.json();
            let next =
                object["data"]["count"].as_str().expect("a count").parse::<u64>().expect("a number") + 1;
            object["data"]["count"] = next.to_string().into();
            match put(asker, &object).await.code {
                StatusCode::OK => break,
                StatusCode::CONFLICT => {}
                other => panic!("{other}"),
            }
        }
    }
}

#[tokio::test]
async fn servers_over_one_etcd_see_each_others_writes_and_lose_none() {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(cluster) = EtcdCluster::start(directory.path(), 1, &[]) else { return };
    let one = start(&cluster, directory.path()).await;
    let two = start(&cluster, directory.path()).await;
    let newest = two.get(CONFIG_MAPS).await.json()["metadata"]["resourceVersion"].clone();
    let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion={}", newest.as_str().expect("a version"));
    let watching = two.open(two.admin(), request(Method::GET, &path, &[], "")).await;
    assert_eq!(watching.status(), StatusCode::OK);
    let (mut body, mut rest) = (watching.into_body(), Vec::new());
    let made = one.post(CONFIG_MAPS, &config_map("counter", 0)).await;
    assert_eq!(made.code, StatusCode::CREATED, "{}", made.text());
    let mut told = line(&mut body, &mut rest).await;
    assert_eq!((told["type"].as_str(), &told["object"]), (Some("ADDED"), &made.json()));
    let again = two.post(CONFIG_MAPS, &config_map("counter", 7)).await;
    assert_eq!(again.code, StatusCode::CONFLICT);
    tokio::join!(count(&one, 25), count(&two, 25));
    // The watch through one of them tells every step, whoever made it.
    for step in 1..=50 {
        told = line(&mut body, &mut rest).await;
        assert_eq!(told["object"]["data"]["count"], step.to_string());
    }
    assert_eq!(told["object"], one.get(&format!("{CONFIG_MAPS}/counter")).await.json());
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "v"}});
    assert_eq!(one.post("/api/v1/namespaces/default/secrets", &secret).await.code, StatusCode::CREATED);
    one.stop().await;
    let three = start(&cluster, directory.path()).await;
    let found = three.get("/api/v1/namespaces/default/secrets/s").await.json();
    assert_eq!(found["data"]["k"], "dg==");
    drop(body);
    two.stop().await;
    three.stop().await;
}

#[tokio::test]
async fn a_server_without_its_etcd_is_not_ready_refuses_writes_and_recovers() {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(mut cluster) = EtcdCluster::start(directory.path(), 1, &[]) else { return };
    let asker = start(&cluster, directory.path()).await;
    assert_eq!(asker.post(CONFIG_MAPS, &config_map("a", 1)).await.code, StatusCode::CREATED);
    assert_eq!(asker.get("/readyz").await.code, StatusCode::OK);
    cluster.kill(0);
    // Nobody knows of a write that was on its way; later ones are refused.
    let answers = [
        asker.post(CONFIG_MAPS, &config_map("b", 1)).await,
        asker.post(CONFIG_MAPS, &config_map("c", 1)).await,
    ];
    for answer in &answers {
        let code = answer.code;
        assert!([StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT].contains(&code), "{code}");
    }
    assert!(answers[1].json()["message"].as_str().expect("a message").starts_with("etcd cannot be used ("));
    assert_eq!(asker.get("/readyz").await.code, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(asker.get("/livez").await.code, StatusCode::OK);
    assert_eq!(asker.get(&format!("{CONFIG_MAPS}/a")).await.code, StatusCode::OK, "reads go on");
    cluster.restart(0);
    let back = tokio::time::timeout(Duration::from_secs(60), async {
        while asker.get("/readyz").await.code != StatusCode::OK {}
    });
    back.await.expect("it recovers");
    assert_eq!(asker.post(CONFIG_MAPS, &config_map("d", 1)).await.code, StatusCode::CREATED);
    asker.stop().await;
}
