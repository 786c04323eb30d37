//! Watches over REST: frames, tables, errors, and their end when the server ends.

use http::Method;
use serde_json::json;

use super::*;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A watch that is read line by line.
struct Lines {
    body: Incoming,
    read: Vec<u8>,
}

impl Lines {
    async fn open(asker: &Asker, path: &str, accept: &str) -> Self {
        let request = request(Method::GET, path, &[("accept", accept)], "");
        let response = asker.open(asker.admin(), request).await;
        assert_eq!(response.status(), 200);
        Self { body: response.into_body(), read: Vec::new() }
    }

    /// The next frame; nothing at the end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("a frame"));
            }
            let frame = self.body.frame().await?.expect("a piece");
            self.read.extend_from_slice(&frame.into_data().unwrap_or_default());
        }
    }
}

#[tokio::test]
async fn changes_are_seen_as_they_happen() {
    let asker = Asker::start().await;
    asker.post(MAPS, &config_map("a", "1")).await;
    let mut lines = Lines::open(&asker, &format!("{MAPS}?watch=1"), "application/json").await;
    let first = lines.next().await.expect("a frame");
    assert_eq!((&first["type"], &first["object"]["kind"]), (&json!("ADDED"), &json!("ConfigMap")));
    asker.post(MAPS, &config_map("b", "1")).await;
    assert_eq!(lines.next().await.expect("a frame")["object"]["metadata"]["name"], "b");
    let merge = ("content-type", "application/merge-patch+json");
    asker.with(Method::PATCH, &format!("{MAPS}/b"), &[merge], r#"{"data":{"k":"2"}}"#).await;
    assert_eq!(lines.next().await.expect("a frame")["type"], "MODIFIED");
    asker.with(Method::DELETE, &format!("{MAPS}/b"), &[], "").await;
    assert_eq!(lines.next().await.expect("a frame")["type"], "DELETED");
    asker.stop().await;
}

#[tokio::test]
async fn the_columns_of_a_table_come_once() {
    let asker = Asker::start().await;
    asker.post(MAPS, &config_map("a", "1")).await;
    asker.post(MAPS, &config_map("b", "1")).await;
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let mut lines = Lines::open(&asker, &format!("{MAPS}?watch=true"), accept).await;
    let first = lines.next().await.expect("a frame")["object"].clone();
    assert_eq!((&first["kind"], &first["columnDefinitions"][1]["name"]), (&json!("Table"), &json!("Data")));
    let second = lines.next().await.expect("a frame")["object"].clone();
    assert_eq!((&second["columnDefinitions"], &second["rows"][0]["cells"][0]), (&json!(null), &json!("b")));
    asker.stop().await;
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark_and_a_time_ends_a_watch() {
    let asker = Asker::start().await;
    asker.post(MAPS, &config_map("a", "1")).await;
    let path = format!(
        "{MAPS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=1"
    );
    let mut lines = Lines::open(&asker, &path, "application/json").await;
    assert_eq!(lines.next().await.expect("a frame")["type"], "ADDED");
    let mark = lines.next().await.expect("a frame");
    assert_eq!(mark["type"], "BOOKMARK");
    assert_eq!(mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(lines.next().await, None);
    asker.stop().await;
}

#[tokio::test]
async fn a_version_that_is_not_there_yet_is_an_error_frame() {
    let asker = Asker::start().await;
    let path = format!("{MAPS}?watch=1&resourceVersion=999999");
    let mut lines = Lines::open(&asker, &path, "application/json").await;
    let frame = lines.next().await.expect("a frame");
    assert_eq!((&frame["type"], &frame["object"]["kind"]), (&json!("ERROR"), &json!("Status")));
    assert_eq!(lines.next().await, None);
    asker.stop().await;
}

#[tokio::test]
async fn a_server_that_ends_ends_its_watches() {
    let asker = Asker::start().await;
    let mut lines = Lines::open(&asker, &format!("{MAPS}?watch=1"), "application/json").await;
    let Asker { server, tasks } = asker;
    let (end, drained) = tokio::join!(lines.next(), server.stop());
    assert_eq!((end, drained), (None, true));
    tasks.trigger();
}

#[tokio::test]
async fn frames_in_protobuf_have_a_length_and_an_event() {
    let asker = Asker::start().await;
    asker.post(MAPS, &config_map("a", "1")).await;
    let accept = "application/vnd.kubernetes.protobuf;stream=watch, application/json";
    let request =
        request(Method::GET, &format!("{MAPS}?watch=1&timeoutSeconds=1"), &[("accept", accept)], "");
    let response = asker.open(asker.admin(), request).await;
    let content_type = response.headers()["content-type"].to_str().expect("text").to_owned();
    assert_eq!(content_type, "application/vnd.kubernetes.protobuf;stream=watch");
    let merge = ("content-type", "application/merge-patch+json");
    asker.with(Method::PATCH, &format!("{MAPS}/a"), &[merge], r#"{"data":{"k":"2"}}"#).await;
    let mut rest = response.into_body().collect().await.expect("frames").to_bytes();
    let event = api::schema::builtin("meta.v1.WatchEvent").expect("a type");
    let mut kinds = Vec::new();
    while !rest.is_empty() {
        let length = u32::from_be_bytes(rest[..4].try_into().expect("four bytes")) as usize;
        let frame = api::protobuf::decode_message(&event, &rest[4..4 + length]).expect("an event");
        kinds.push(frame["type"].as_str().unwrap_or_default().to_owned());
        rest = rest.slice(4 + length..);
    }
    assert_eq!(kinds, ["ADDED", "MODIFIED"]);
    asker.stop().await;
}
