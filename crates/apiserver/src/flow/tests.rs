//! Requests, what they are sorted into, and who waits for whom.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::{Value, json};

use super::level::{Level, Limits, Refused};
use super::{Flow, Sorted};
use crate::pipeline::{Attributes, UserInfo};

fn schema(name: &str, precedence: i64, level: &str, subject: Value) -> Value {
    json!({"metadata": {"name": name, "uid": format!("uid-{name}")}, "spec": {
        "matchingPrecedence": precedence, "priorityLevelConfiguration": {"name": level},
        "distinguisherMethod": {"type": "ByUser"},
        "rules": [{"subjects": [subject],
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"]}],
            "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/api/*"]}]}]}})
}

fn level(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name, "uid": format!("uid-{name}")}, "spec": spec})
}

fn user(name: &str, groups: &[&str]) -> UserInfo {
    UserInfo {
        name: name.to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        ..UserInfo::default()
    }
}

fn flow() -> Flow {
    let flow = Flow(Arc::default());
    let limited = |shares: u64| json!({"type": "Limited", "limited": {"nominalConcurrencyShares": shares, "limitResponse": {"type": "Reject"}}});
    flow.replace(
        &[
            schema("all", 9000, "low", json!({"kind": "Group", "group": {"name": "*"}})),
            schema("masters", 1, "exempt", json!({"kind": "Group", "group": {"name": "system:masters"}})),
            schema(
                "robots",
                100,
                "low",
                json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": "a", "name": "*"}}),
            ),
            schema("lost", 1, "nowhere", json!({"kind": "User", "user": {"name": "*"}})),
        ],
        &[level("exempt", json!({"type": "Exempt"})), level("low", limited(1)), level("high", limited(9))],
    );
    flow
}

#[tokio::test]
async fn the_first_schema_that_matches_counts_and_its_level_must_exist() {
    let flow = flow();
    let sorted = |schema: &str, level: &str| {
        Some(Sorted { schema: format!("uid-{schema}"), level: format!("uid-{level}") })
    };
    let cases = [
        (user("admin", &["system:masters"]), "/api/v1", sorted("masters", "exempt")),
        (user("system:serviceaccount:a:b", &["x"]), "", sorted("robots", "low")),
        (user("system:serviceaccount:b:b", &["x"]), "", sorted("all", "low")),
        (user("jane", &["x"]), "/healthz", sorted("all", "low")),
        (user("jane", &["x"]), "/metrics", None),
    ];
    for (user, path, expected) in cases {
        let request = Attributes { verb: "get", resource: "pods", path, ..Attributes::nothing(&user) };
        let admission = flow.admit(&request).await;
        assert_eq!(admission.sorted, expected, "{} {path}", user.name);
        assert!(admission.seat.is_ok());
    }
}

#[tokio::test]
async fn a_level_that_does_not_queue_refuses_what_is_too_much() {
    let level = Arc::new(Level::new("u"));
    level.limit(Limits::Reject { seats: 1 });
    let first = level.clone().enter(1).await;
    assert_eq!(level.clone().enter(2).await.err(), Some(Refused));
    drop(first);
    assert!(level.enter(2).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn flows_take_turns_and_no_one_waits_for_ever() {
    let level = Arc::new(Level::new("u"));
    // Each flow has a queue of its own here, or shares it; a queue holds two.
    level.limit(Limits::Queue { seats: 1, queues: 1, hand: 1, length: 2 });
    let first = level.clone().enter(1).await.expect("a seat");
    let waiting = [2, 3].map(|flow| Box::pin(level.clone().enter(flow)));
    let [mut second, mut third] = waiting;
    assert!(second.as_mut().now_or_never().is_none());
    assert!(third.as_mut().now_or_never().is_none());
    assert_eq!(level.clone().enter(4).await.err(), Some(Refused), "the queue is full");
    drop(first);
    let second = second.await.expect("the seat is handed on");
    assert!(third.as_mut().now_or_never().is_none());
    let begun = tokio::time::Instant::now();
    assert_eq!(third.await.err(), Some(Refused));
    assert_eq!(begun.elapsed(), Duration::from_secs(15));
    drop(second);
    assert!(level.enter(5).await.is_ok(), "one who gave up holds no seat");
}

#[test]
fn levels_share_by_their_numbers() {
    let spec = |shares: u64| {
        json!({"type": "Limited", "limited": {"nominalConcurrencyShares": shares,
            "limitResponse": {"type": "Queue", "queuing": {"queues": 4, "handSize": 9, "queueLengthLimit": 7}}}})
    };
    assert_eq!(Limits::read(&spec(1), 1000, 3), Limits::Queue { seats: 334, queues: 4, hand: 4, length: 7 });
    assert_eq!(Limits::read(&json!({"type": "Exempt"}), 1000, 3), Limits::Exempt);
}
