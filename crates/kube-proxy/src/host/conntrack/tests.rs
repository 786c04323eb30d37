//! What is stale, and how the kernel's messages are read.

use serde_json::json;

use super::*;
use crate::rules::compute;
use crate::testing::{service, slice_of};

fn dns(endpoints: &[&str]) -> RuleSet {
    let spec = json!({"ports": [{"name": "dns", "protocol": "UDP", "port": 53, "nodePort": 30053}]});
    compute(&[service("dns", "10.96.0.10", spec)], &[slice_of("dns", "dns", "UDP", endpoints)], "n1")
}

fn connection(asked_for: &str, answered_by: &str) -> Connection {
    Connection {
        asked_for: asked_for.parse().expect("an address"),
        answered_by: answered_by.parse().expect("an address"),
        original: Vec::new(),
    }
}

#[test]
fn entries_to_endpoints_that_are_gone_are_stale_and_others_are_not() {
    let before = dns(&["10.244.0.5:5353 on n1", "10.244.0.6:5353 on n1"]);
    let after = dns(&["10.244.0.6:5353 on n1"]);
    let stale = Stale::between(&before, &after);
    for (asked_for, answered_by, expected) in [
        ("10.96.0.10:53", "10.244.0.5:5353", true),
        ("10.96.0.10:53", "10.244.0.6:5353", false),
        ("192.0.2.2:30053", "10.244.0.5:5353", true),
        ("192.0.2.2:30053", "10.244.0.6:5353", false),
        ("198.51.100.9:30053", "198.51.100.9:30053", false),
        ("10.96.0.11:53", "10.244.0.5:5353", false),
    ] {
        assert_eq!(stale.holds(&connection(asked_for, answered_by)), expected, "{asked_for} {answered_by}");
    }
}

#[test]
fn nothing_is_stale_when_endpoints_only_come_and_all_is_when_there_was_none() {
    let one = dns(&["10.244.0.5:5353 on n1"]);
    let two = dns(&["10.244.0.5:5353 on n1", "10.244.0.6:5353 on n1"]);
    assert!(Stale::between(&one, &two).is_empty());
    assert!(Stale::between(&one, &one).is_empty());
    let first = Stale::between(&dns(&[]), &one);
    assert!(first.holds(&connection("10.96.0.10:53", "10.96.0.10:53")), "it led to no one");
}

#[test]
fn a_message_of_the_kernel_is_read_and_nonsense_is_not() {
    let end = |source: [u8; 4], destination: [u8; 4], from: u16, to: u16, number: u8| {
        let ip = [attribute(IPV4_SOURCE, &source), attribute(IPV4_DESTINATION, &destination)].concat();
        let protocol = [
            attribute(PROTOCOL_NUMBER, &[number]),
            attribute(PROTOCOL_SOURCE, &from.to_be_bytes()),
            attribute(PROTOCOL_DESTINATION, &to.to_be_bytes()),
        ]
        .concat();
        [attribute(TUPLE_IP | NESTED, &ip), attribute(TUPLE_PROTOCOL | NESTED, &protocol)].concat()
    };
    let both = |number| {
        let original = end([10, 244, 0, 7], [10, 96, 0, 10], 40000, 53, number);
        let reply = end([10, 244, 0, 5], [10, 244, 0, 7], 5353, 40000, number);
        [attribute(ORIGINAL | NESTED, &original), attribute(REPLY | NESTED, &reply)].concat()
    };
    let parsed = Connection::parse(&both(UDP)).expect("a connection");
    assert_eq!(parsed.asked_for, "10.96.0.10:53".parse().expect("an address"));
    assert_eq!(parsed.answered_by, "10.244.0.5:5353".parse().expect("an address"));
    assert_eq!(Connection::parse(&both(6)), None, "TCP is left alone");
    let bytes = both(UDP);
    for end in 0..bytes.len() {
        // Cut short anywhere: no panic, whatever comes out.
        let _ = Connection::parse(&bytes[..end]);
        let _ = split_message(&bytes[..end]);
    }
    let whole = message(GET, REQUEST, &bytes);
    let (kind, payload, rest) = split_message(&whole).expect("a message");
    assert_eq!((kind, &payload[4..], rest), (GET, bytes.as_slice(), &[][..]));
}
