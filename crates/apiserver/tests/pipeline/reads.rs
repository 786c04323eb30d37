//! Which state a read shows: every combination of `resourceVersion`, `resourceVersionMatch`, `limit`, `continue` and
//! `sendInitialEvents` that the documentation of Kubernetes names.

use serde_json::{Value, json};

use crate::harness::Server;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Two states: `a`, `b`, `c` at the revision that is returned, and now `b` (changed), `c` and `d`.
async fn two_states() -> (Server, u64) {
    let server = Server::bare().await;
    let map = |name: &str, value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": value}});
    for name in ["a", "b", "c"] {
        server.create("v1/configmaps", map(name, "then")).await.expect("created");
    }
    let (_, list) = server.exchange("GET", MAPS, "", b"").await;
    let then = version(&list);
    server.delete("v1/configmaps", "a", &Default::default()).await.expect("deleted");
    server.merge("v1/configmaps", "b", json!({"data": {"k": "now"}})).await.expect("changed");
    server.create("v1/configmaps", map("d", "now")).await.expect("created");
    (server, then)
}

fn version(list: &Value) -> u64 {
    list["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).expect("a version")
}

/// The names of a list, `+` for what is on a further page; or the code and the middle of the message.
fn shown((code, answer): (u16, Value)) -> String {
    if code != 200 {
        return format!("{code} {}", answer["message"].as_str().unwrap_or_default());
    }
    let items = answer["items"].as_array().expect("items");
    let names: String = items.iter().filter_map(|item| item["metadata"]["name"].as_str()).collect();
    if answer["metadata"]["continue"].is_string() { names + "+" } else { names }
}

#[tokio::test]
async fn a_list_shows_the_state_that_its_version_asks_for() {
    let (server, then) = two_states().await;
    let then = then.to_string();
    let forbidden = "422 ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: ";
    for (version, how, limit, expected) in [
        ("", "", "", "bcd"),
        ("", "", "2", "bc+"),
        ("0", "", "", "bcd"),
        ("0", "", "2", "bc+"),
        (&then, "", "", "bcd"),
        (&then, "", "2", "ab+"),
        ("0", "NotOlderThan", "", "bcd"),
        ("0", "NotOlderThan", "2", "bc+"),
        (&then, "NotOlderThan", "", "bcd"),
        (&then, "NotOlderThan", "2", "bc+"),
        (&then, "Exact", "", "abc"),
        (&then, "Exact", "2", "ab+"),
        ("0", "Exact", "", "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""),
        ("", "Exact", "", "resourceVersionMatch is forbidden unless resourceVersion is provided"),
        ("", "NotOlderThan", "2", "resourceVersionMatch is forbidden unless resourceVersion is provided"),
        ("1000000", "", "", "504 Timeout: Too large resource version: 1000000, current: "),
        ("1000000", "Exact", "", "504 Timeout: Too large resource version: 1000000, current: "),
        ("1000000", "NotOlderThan", "", "504 Timeout: Too large resource version: 1000000, current: "),
        ("x", "", "", "400 invalid resource version"),
        ("-1", "Exact", "", "400 invalid resource version"),
    ] {
        let path = format!(
            "{MAPS}?resourceVersion={version}&resourceVersionMatch={how}&limit={limit}&labelSelector="
        );
        let found = shown(server.exchange("GET", &path, "", b"").await);
        let expected = if expected.starts_with("resourceVersionMatch") {
            format!("{forbidden}{expected}")
        } else {
            expected.to_owned()
        };
        if expected.ends_with("current: ") || expected.ends_with("version") {
            assert!(found.starts_with(&expected), "{path}: {found}");
        } else {
            assert_eq!(found, expected, "{path}");
        }
    }
}

#[tokio::test]
async fn a_continued_list_goes_on_in_its_own_state() {
    let (server, then) = two_states().await;
    let (_, first) = server
        .exchange(
            "GET",
            &format!("{MAPS}?resourceVersion={then}&resourceVersionMatch=Exact&limit=2"),
            "",
            b"",
        )
        .await;
    let token = first["metadata"]["continue"].as_str().expect("more").to_owned();
    assert_eq!(first["metadata"]["remainingItemCount"], 1);
    for (rest, expected) in [
        ("", "c"),
        ("&limit=1", "c"),
        ("&resourceVersion=0", "c"),
        ("&resourceVersion=7", "400 specifying resource version is not allowed when using continue"),
        (
            "&resourceVersion=7&resourceVersionMatch=Exact",
            "422 ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided",
        ),
    ] {
        let (code, answer) = server.exchange("GET", &format!("{MAPS}?continue={token}{rest}"), "", b"").await;
        if code == 200 {
            assert_eq!(version(&answer), then, "{rest}");
        }
        assert_eq!(shown((code, answer)), expected, "{rest}");
    }
}

/// The events of a watch, as `+a ~b -a`, and `|` for the bookmark that ends the initial ones.
fn told((code, answer): (u16, Value)) -> String {
    if code != 200 {
        return format!("{code} {}", answer["message"].as_str().unwrap_or_default());
    }
    let events = answer.as_array().expect("events");
    let mark = |event: &Value| {
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        match event["type"].as_str().unwrap_or_default() {
            "ADDED" => format!("+{name}"),
            "MODIFIED" => format!("~{name}"),
            "DELETED" => format!("-{name}"),
            _ => {
                let annotations = &event["object"]["metadata"]["annotations"];
                assert_eq!(annotations["k8s.io/initial-events-end"], "true", "{event}");
                "|".to_owned()
            }
        }
    };
    events.iter().map(mark).collect::<Vec<_>>().join(" ")
}

#[tokio::test(start_paused = true)]
async fn a_watch_begins_with_the_state_that_its_version_asks_for() {
    let (server, then) = two_states().await;
    let then = then.to_string();
    let all = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let none = "sendInitialEvents=false&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let refused = "422 ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: ";
    for (version, rest, expected) in [
        ("", "", "+b +c +d"),
        ("0", "", "+b +c +d"),
        (&then, "", "-a ~b +d"),
        ("", all, "+b +c +d |"),
        ("0", all, "+b +c +d |"),
        (&then, all, "+b +c +d |"),
        ("", none, ""),
        ("0", none, ""),
        (&then, none, "-a ~b +d"),
        (
            "",
            "sendInitialEvents=true",
            "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        (
            &then,
            "resourceVersionMatch=NotOlderThan",
            "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
        ("1000000", "", "504 Timeout: Too large resource version: 1000000, current: "),
        ("1000000", all, "504 Timeout: Too large resource version: 1000000, current: "),
        ("x", "", "400 invalid resource version"),
    ] {
        let path = format!("{MAPS}?watch=1&timeoutSeconds=1&resourceVersion={version}&{rest}");
        let found = told(server.exchange("GET", &path, "", b"").await);
        let expected = if expected.starts_with("Forbidden") {
            format!("{refused}{expected}")
        } else {
            expected.to_owned()
        };
        if expected.ends_with("current: ") || expected.ends_with("version") {
            assert!(found.starts_with(&expected), "{path}: {found}");
        } else {
            assert_eq!(found, expected, "{path}");
        }
    }
}
