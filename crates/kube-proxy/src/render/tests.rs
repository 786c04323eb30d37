//! Statements against a model of what nftables accepts: nothing refers to what is not there, nothing that is
//! referred to is deleted, and a difference leads to the same table as the whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::objects::{EndpointSlice, Service};
use crate::rules::compute;
use crate::testing::{network, service, slice};

/// A table as the kernel would have it.
#[derive(Debug, Default, Clone, PartialEq)]
struct Table {
    chains: BTreeMap<String, Vec<String>>,
    /// Sets and maps with their elements: key and verdict.
    sets: BTreeMap<String, BTreeMap<String, String>>,
}

impl Table {
    /// Applies a script; panics where the kernel would refuse.
    fn apply(&mut self, script: &str) {
        for line in script.lines() {
            let (verb, rest) = line.split_once(' ').expect("a verb");
            let (what, rest) = rest.split_once(' ').expect("an object");
            let rest = rest.strip_prefix(TABLE).expect("in our table").trim();
            let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            match (verb, what) {
                ("add", "table") => {}
                ("delete", "table") => *self = Self::default(),
                ("add", "map" | "set") => {
                    let added = self.sets.insert(name.to_owned(), BTreeMap::new());
                    assert!(added.is_none(), "{line}: exists");
                }
                ("add", "chain") => {
                    let added = self.chains.insert(name.to_owned(), Vec::new());
                    assert!(added.is_none(), "{line}: exists");
                }
                ("add", "rule") => {
                    self.check_references(rest, line);
                    self.chains
                        .get_mut(name)
                        .unwrap_or_else(|| panic!("{line}: no chain"))
                        .push(rest.to_owned());
                }
                ("flush", "chain") => self.chains.get_mut(name).expect(line).clear(),
                ("delete", "chain") => {
                    let rules = self.chains.remove(name).expect(line);
                    assert!(rules.is_empty(), "{line}: not empty");
                    assert!(!self.refers_to(name), "{line}: in use");
                }
                ("delete", "set") => {
                    self.sets.remove(name).expect(line);
                    assert!(!self.refers_to(name), "{line}: in use");
                }
                ("add", "element") => {
                    self.check_references(rest, line);
                    let set = self.sets.get_mut(name).expect(line);
                    for (key, verdict) in parse_elements(rest) {
                        assert!(set.insert(key, verdict).is_none(), "{line}: exists");
                    }
                }
                ("delete", "element") => {
                    let set = self.sets.get_mut(name).expect(line);
                    for (key, _) in parse_elements(rest) {
                        assert!(set.remove(&key).is_some(), "{line}: no such element");
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn check_references(&self, text: &str, line: &str) {
        let words: Vec<&str> = words(text);
        for pair in words.windows(2) {
            if matches!(pair[0], "goto" | "jump") {
                assert!(self.chains.contains_key(pair[1]), "{line}: no chain {}", pair[1]);
            }
        }
        for set in words.iter().filter_map(|word| word.strip_prefix('@')) {
            assert!(self.sets.contains_key(set), "{line}: no set {set}");
        }
    }

    fn refers_to(&self, name: &str) -> bool {
        let rules = self.chains.values().flatten();
        let verdicts = self.sets.values().flat_map(BTreeMap::values);
        rules.chain(verdicts).any(|text| words(text).iter().any(|word| word.trim_start_matches('@') == name))
    }
}

fn words(text: &str) -> Vec<&str> {
    text.split([' ', ',', ';']).filter(|word| !word.is_empty()).collect()
}

fn parse_elements(text: &str) -> Vec<(String, String)> {
    let list = text.trim_start_matches('{').trim_end_matches('}');
    let split = |element: &str| match element.split_once(" : ") {
        Some((key, verdict)) => (key.trim().to_owned(), verdict.trim().to_owned()),
        None => (element.trim().to_owned(), String::new()),
    };
    list.split(", ").map(split).collect()
}

fn layout() -> Layout {
    Layout { network: network(), masquerade_pods: false }
}

#[track_caller]
fn check_diff(old: &RuleSet, new: &RuleSet) -> String {
    let mut whole = Table::default();
    whole.apply(&full(&layout(), new));
    let mut changed = Table::default();
    changed.apply(&full(&layout(), old));
    let script = diff(old, new);
    changed.apply(&script);
    assert_eq!(changed, whole, "{script}");
    assert_eq!(diff(new, new), "", "a second plan is empty");
    script
}

fn rules(spec: serde_json::Value, endpoints: &[&str]) -> RuleSet {
    compute(&[service("web", "10.96.0.20", spec)], &[slice("web", endpoints)], "n1")
}

#[test]
fn a_new_service_is_a_chain_and_elements() {
    let script = check_diff(
        &RuleSet::default(),
        &rules(json!({}), &["10.244.0.5:8080 on n1", "10.244.0.6:8080 on n1"]),
    );
    assert_eq!(
        script.lines().collect::<Vec<_>>(),
        [
            "add chain ip coxswain cluster/default/web/http",
            "add rule ip coxswain cluster/default/web/http meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.244.0.5 . 8080, 1 : 10.244.0.6 . 8080 }",
            "add element ip coxswain hairpin { 10.244.0.5 . 10.244.0.5, 10.244.0.6 . 10.244.0.6 }",
            "add element ip coxswain services { 10.96.0.20 . tcp . 80 : goto cluster/default/web/http }",
        ]
    );
}

#[test]
fn an_endpoint_more_changes_one_chain_and_touches_no_other() {
    let old = rules(json!({}), &["10.244.0.5:8080 on n1"]);
    let new = rules(json!({}), &["10.244.0.5:8080 on n1", "10.244.0.6:8080 on n1"]);
    let script = check_diff(&old, &new);
    assert_eq!(
        script.lines().collect::<Vec<_>>(),
        [
            "flush chain ip coxswain cluster/default/web/http",
            "add rule ip coxswain cluster/default/web/http meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.244.0.5 . 8080, 1 : 10.244.0.6 . 8080 }",
            "add element ip coxswain hairpin { 10.244.0.6 . 10.244.0.6 }",
        ]
    );
}

#[test]
fn every_kind_of_chain_comes_and_goes() {
    let specs = [
        json!({}),
        json!({"sessionAffinity": "ClientIP"}),
        json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}}),
        json!({"internalTrafficPolicy": "Local"}),
        json!({"type": "NodePort", "ports": [{"name": "http", "port": 80, "nodePort": 30080}]}),
        json!({
            "type": "NodePort",
            "ports": [{"name": "http", "port": 80, "nodePort": 30080}],
            "externalTrafficPolicy": "Local",
            "sessionAffinity": "ClientIP",
            "externalIPs": ["203.0.113.5"],
        }),
    ];
    let endpoints: [&[&str]; 3] =
        [&[], &["10.244.1.5:8080 on n2"], &["10.244.0.5:8080 on n1", "10.244.1.5:8080 on n2"]];
    let mut states = vec![RuleSet::default()];
    for spec in &specs {
        states.extend(endpoints.map(|endpoints| rules(spec.clone(), endpoints)));
    }
    for old in &states {
        for new in &states {
            check_diff(old, new);
        }
    }
}

fn any_service() -> impl Strategy<Value = (Arc<Service>, Arc<EndpointSlice>)> {
    let endpoint = (1..5u8, 1..3u8, prop_oneof![Just(""), Just(" not-ready"), Just(" terminating")]);
    (0..4u8, 0..4u8, any::<[bool; 4]>(), prop::collection::vec(endpoint, 0..4)).prop_map(
        |(name, address, [sticky, node_port, internal, external], endpoints)| {
            let name = format!("s{name}");
            let local = |local: bool| if local { "Local" } else { "Cluster" };
            let node_port = if node_port { 30_000 + u16::from(address) } else { 0 };
            let spec = json!({
                "sessionAffinity": if sticky { "ClientIP" } else { "None" },
                "ports": [{"name": "http", "port": 80, "nodePort": node_port}],
                "internalTrafficPolicy": local(internal),
                "externalTrafficPolicy": local(external),
            });
            let endpoints: Vec<String> = endpoints
                .into_iter()
                .map(|(host, node, state)| format!("10.244.{node}.{host}:8080 on n{node}{state}"))
                .collect();
            let endpoints: Vec<&str> = endpoints.iter().map(String::as_str).collect();
            (service(&name, &format!("10.96.0.{address}"), spec), slice(&name, &endpoints))
        },
    )
}

fn any_rules() -> impl Strategy<Value = RuleSet> {
    prop::collection::vec(any_service(), 0..5).prop_map(|pairs| {
        // One Service has one name.
        let unique: BTreeMap<String, _> =
            pairs.into_iter().map(|pair| (pair.0.metadata.name.clone(), pair)).collect();
        let (services, slices): (Vec<_>, Vec<_>) = unique.into_values().unzip();
        compute(&services, &slices, "n1")
    })
}

proptest! {
    #[test]
    fn any_difference_leads_to_the_same_table_as_the_whole(old in any_rules(), new in any_rules()) {
        check_diff(&old, &new);
    }
}
