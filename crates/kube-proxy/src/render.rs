//! Says a [`RuleSet`] in the words of `nft`: the whole table, or what differs from one RuleSet to the next.
//!
//! Everything is in one table of our own, `ip coxswain`. Its fixed part:
//!
//! | chain | hook | does |
//! |---|---|---|
//! | `guard` | prerouting, raw | loopback addresses do not come over the wire (node ports on 127.0.0.1 need `route_localnet`) |
//! | `prerouting`, `output` | nat | `dispatch`: look the address up in the maps, go to the Service's chain |
//! | `postrouting` | nat | masquerade what is marked, what a pod sends to itself, and what leaves the cluster |
//! | `forward`, `local_out`, `local_in` | filter | refuse what is for the Service network and was not translated, at once |
//!
//! Verdicts in maps lead from a Service's address to its chain; the endpoints are the elements of that chain's
//! map. A lookup costs the same whatever the number of Services.
//!
//! Statements are one a line, in an order in which nothing refers to what is not there (yet, or any more).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::SocketAddrV4;

use crate::Network;
use crate::rules::{Chain, Frontend, NodePort, RuleSet};

/// Our table.
pub const TABLE: &str = "ip coxswain";

/// Marks a packet whose connection is to be masqueraded: the bit that kube-proxy uses, known to others.
pub const MASQUERADE_MARK: &str = "0x4000";

/// How many elements go into one statement.
const ELEMENTS: usize = 256;

/// What the fixed part of the table depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The networks.
    pub network: Network,
    /// Whether pods that reach a Service are masqueraded, too: needed where bridged packets do not pass netfilter,
    /// since the answer would go from pod to pod directly, with the wrong address.
    pub masquerade_pods: bool,
}

/// The whole table, in place of whatever is there.
pub fn full(layout: &Layout, rules: &RuleSet) -> String {
    let mut script = base(layout);
    script.push_str(&diff(&RuleSet::default(), rules));
    script
}

/// Takes the table away, be it there or not.
pub fn remove() -> String {
    format!("add table {TABLE}\ndelete table {TABLE}\n")
}

fn base(layout: &Layout) -> String {
    let Network { cluster, services, node_port_addresses } = &layout.network;
    let local = if node_port_addresses.is_empty() {
        "fib daddr type local".to_owned()
    } else {
        let list: Vec<String> = node_port_addresses.iter().map(ToString::to_string).collect();
        format!("ip daddr {{ {} }} fib daddr type local", list.join(", "))
    };
    let mut script = remove();
    let _ = writeln!(script, "add table {TABLE}");
    let mut line = |what: &str, text: String| {
        let _ = writeln!(script, "add {what} {TABLE} {text}");
    };
    line("map", "services { type ipv4_addr . inet_proto . inet_service : verdict; }".into());
    line("map", "node_ports { type inet_proto . inet_service : verdict; }".into());
    line("set", "refused { type ipv4_addr . inet_proto . inet_service; }".into());
    line("set", "refused_node_ports { type inet_proto . inet_service; }".into());
    line("set", "hairpin { type ipv4_addr . ipv4_addr; }".into());
    line("set", format!("pods {{ type ipv4_addr; flags interval; elements = {{ {cluster} }}; }}"));
    // Before Docker's chains of the same hooks, so that its rules do not take a port of ours.
    for chain in [
        "guard { type filter hook prerouting priority raw; }",
        "prerouting { type nat hook prerouting priority -101; }",
        "output { type nat hook output priority -101; }",
        "postrouting { type nat hook postrouting priority 99; }",
        "forward { type filter hook forward priority -10; }",
        "local_in { type filter hook input priority -10; }",
        "local_out { type filter hook output priority -10; }",
        "dispatch",
        "refuse",
    ] {
        line("chain", chain.into());
    }
    line("rule", "guard iifname != \"lo\" ip daddr 127.0.0.0/8 drop".into());
    line("rule", "guard iifname != \"lo\" ip saddr 127.0.0.0/8 drop".into());
    line("rule", "prerouting jump dispatch".into());
    line("rule", "output jump dispatch".into());
    line(
        "rule",
        format!("dispatch ip daddr {services} ip saddr != @pods meta mark set meta mark | {MASQUERADE_MARK}"),
    );
    line("rule", "dispatch ip daddr . meta l4proto . th dport vmap @services".into());
    line("rule", format!("dispatch {local} meta l4proto . th dport vmap @node_ports"));
    line(
        "rule",
        format!(
            "postrouting meta mark & {MASQUERADE_MARK} == {MASQUERADE_MARK} meta mark set meta mark ^ {MASQUERADE_MARK} masquerade fully-random"
        ),
    );
    line("rule", "postrouting ct status dnat ip saddr . ip daddr @hairpin masquerade fully-random".into());
    if layout.masquerade_pods {
        let rule = "postrouting ct status dnat ip saddr @pods ip daddr @pods masquerade fully-random";
        line("rule", rule.into());
    }
    line(
        "rule",
        format!(
            "postrouting ip saddr @pods ip daddr != {{ {cluster}, 224.0.0.0/4 }} masquerade fully-random"
        ),
    );
    for chain in ["forward", "local_out"] {
        line("rule", format!("{chain} ip daddr {services} goto refuse"));
        line("rule", format!("{chain} ip daddr . meta l4proto . th dport @refused goto refuse"));
    }
    line("rule", format!("local_in {local} meta l4proto . th dport @refused_node_ports goto refuse"));
    line("rule", "refuse meta l4proto tcp reject with tcp reset".into());
    line("rule", "refuse reject with icmp port-unreachable".into());
    script
}

/// What makes the table of `old` that of `new`; empty where they are equal.
pub fn diff(old: &RuleSet, new: &RuleSet) -> String {
    let mut script = Script::default();

    let gone = vanished(elements(old), elements(new));
    script.elements("delete", gone.iter().map(|(place, key, _)| (*place, key.clone())));

    let is_new = |name: &&String| !old.client_sets.contains_key(*name);
    for name in new.client_sets.keys().filter(is_new) {
        let seconds = new.client_sets[name];
        script.line(&format!(
            "add set {TABLE} {name} {{ type ipv4_addr; flags dynamic, timeout; timeout {seconds}s; }}"
        ));
    }
    let changed: Vec<(&String, &Chain)> =
        new.chains.iter().filter(|(name, chain)| old.chains.get(*name) != Some(*chain)).collect();
    for (name, _) in changed.iter().filter(|(name, _)| !old.chains.contains_key(*name)) {
        script.line(&format!("add chain {TABLE} {name}"));
    }
    for (name, chain) in &changed {
        if old.chains.contains_key(*name) {
            script.line(&format!("flush chain {TABLE} {name}"));
        }
        for rule in chain_rules(chain) {
            script.line(&format!("add rule {TABLE} {name} {rule}"));
        }
    }

    let added = vanished(elements(new), elements(old));
    script.elements("add", added.iter().map(|(place, key, verdict)| (*place, format!("{key}{verdict}"))));

    let gone: Vec<&String> = old.chains.keys().filter(|name| !new.chains.contains_key(*name)).collect();
    for name in &gone {
        script.line(&format!("flush chain {TABLE} {name}"));
    }
    for name in &gone {
        script.line(&format!("delete chain {TABLE} {name}"));
    }
    for name in old.client_sets.keys().filter(|name| !new.client_sets.contains_key(*name)) {
        script.line(&format!("delete set {TABLE} {name}"));
    }
    script.0
}

fn chain_rules(chain: &Chain) -> Vec<String> {
    match chain {
        Chain::Spread { protocol, endpoints } => match endpoints.as_slice() {
            [endpoint] => vec![format!("meta l4proto {protocol} dnat ip to {endpoint}")],
            endpoints => {
                let place = |endpoint: &SocketAddrV4| format!("{} . {}", endpoint.ip(), endpoint.port());
                let map = numbered(endpoints.iter().map(place));
                let count = endpoints.len();
                vec![format!("meta l4proto {protocol} dnat ip to numgen random mod {count} map {map}")]
            }
        },
        Chain::Stick { endpoints } => {
            let mut rules: Vec<String> = endpoints
                .iter()
                .map(|endpoint| format!("ip saddr @{} goto {}", endpoint.clients, endpoint.chain))
                .collect();
            rules.push(match endpoints.as_slice() {
                [endpoint] => format!("goto {}", endpoint.chain),
                endpoints => {
                    let map = numbered(endpoints.iter().map(|endpoint| format!("goto {}", endpoint.chain)));
                    format!("numgen random mod {} vmap {map}", endpoints.len())
                }
            });
            rules
        }
        Chain::Remember { protocol, endpoint, clients } => vec![
            format!("update @{clients} {{ ip saddr }}"),
            format!("meta l4proto {protocol} dnat ip to {endpoint}"),
        ],
        Chain::Masquerade { next } => {
            vec![format!("meta mark set meta mark | {MASQUERADE_MARK}"), format!("goto {next}")]
        }
        Chain::Local { cluster, local } => vec![
            format!("ip saddr @pods goto {cluster}"),
            format!("fib saddr type local meta mark set meta mark | {MASQUERADE_MARK} goto {cluster}"),
            local.as_ref().map_or_else(|| "drop".to_owned(), |local| format!("goto {local}")),
        ],
        Chain::Drop => vec!["drop".to_owned()],
    }
}

fn numbered(values: impl Iterator<Item = String>) -> String {
    let elements: Vec<String> = values.enumerate().map(|(n, value)| format!("{n} : {value}")).collect();
    format!("{{ {} }}", elements.join(", "))
}

/// A map or set, a key, and for maps ` : ` and the verdict.
type Element = (&'static str, String, String);

fn elements(rules: &RuleSet) -> BTreeSet<Element> {
    let goto = |chain: &String| format!(" : goto {chain}");
    let frontend =
        |frontend: &Frontend| format!("{} . {} . {}", frontend.address, frontend.protocol, frontend.port);
    let node_port = |port: &NodePort| format!("{} . {}", port.protocol, port.port);
    let services = rules.frontends.iter().map(|(key, chain)| ("services", frontend(key), goto(chain)));
    let ports = rules.node_ports.iter().map(|(key, chain)| ("node_ports", node_port(key), goto(chain)));
    let refused = rules.refused.iter().map(|key| ("refused", frontend(key), String::new()));
    let refused_ports =
        rules.refused_node_ports.iter().map(|key| ("refused_node_ports", node_port(key), String::new()));
    let hairpin =
        rules.endpoints.iter().map(|address| ("hairpin", format!("{address} . {address}"), String::new()));
    services.chain(ports).chain(refused).chain(refused_ports).chain(hairpin).collect()
}

fn vanished(from: BTreeSet<Element>, to: BTreeSet<Element>) -> Vec<Element> {
    from.difference(&to).cloned().collect()
}

#[derive(Default)]
struct Script(String);

impl Script {
    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn elements(&mut self, verb: &str, elements: impl Iterator<Item = (&'static str, String)>) {
        let elements: Vec<_> = elements.collect();
        for same_place in elements.chunk_by(|a, b| a.0 == b.0) {
            for chunk in same_place.chunks(ELEMENTS) {
                let list: Vec<&str> = chunk.iter().map(|(_, element)| element.as_str()).collect();
                self.line(&format!("{verb} element {TABLE} {} {{ {} }}", chunk[0].0, list.join(", ")));
            }
        }
    }
}

#[cfg(test)]
mod tests;
