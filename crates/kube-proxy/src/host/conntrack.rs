//! Forgets connections of UDP that lead to endpoints that are gone.
//!
//! A client of UDP that keeps its port (a resolver, say) never makes a new connection in the kernel's eyes: it
//! would go on to be sent to an endpoint that is no more. Which entries are stale is decided purely
//! ([`Stale::between`]); then they are deleted by netlink. TCP needs nothing of the kind: its connections end.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

use component::ErrorChain;
use rtnetlink::sys::{Socket, SocketAddr};
use tracing::{debug, warn};

use crate::rules::{Chain, Protocol, RuleSet};

/// The netlink protocol of netfilter, and its part that is connection tracking.
const NETLINK_NETFILTER: isize = 12;
const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;

/// Types and flags of netlink messages.
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST: u16 = 1;
const DUMP: u16 = 0x300;

/// Attributes: the two directions of a connection, and what a direction holds.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const IPV4_SOURCE: u16 = 1;
const IPV4_DESTINATION: u16 = 2;
const PROTOCOL_NUMBER: u16 = 1;
const PROTOCOL_SOURCE: u16 = 2;
const PROTOCOL_DESTINATION: u16 = 3;
const NESTED: u16 = 0x8000;

const AF_INET: u8 = 2;
const UDP: u8 = 17;

/// The length of a netlink header, and of that with netfilter's own behind it.
const HEADER: usize = 16;
const HEADERS: usize = HEADER + 4;

/// Which entries lead nowhere any more.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stale {
    /// For an address of a Service: the endpoints that answer there now. All others are stale.
    frontends: BTreeMap<SocketAddrV4, BTreeSet<SocketAddrV4>>,
    /// For a port of this node: the endpoints that answered there and do not any more.
    node_ports: BTreeMap<u16, BTreeSet<SocketAddrV4>>,
}

impl Stale {
    /// What is stale once `after` has taken the place of `before`.
    pub fn between(before: &RuleSet, after: &RuleSet) -> Self {
        let mut stale = Self::default();
        let keys: BTreeSet<_> = before.frontends.keys().chain(after.frontends.keys()).collect();
        for key in keys.into_iter().filter(|key| key.protocol == Protocol::Udp) {
            let then = endpoints(before, before.frontends.get(key));
            let now = endpoints(after, after.frontends.get(key));
            // Endpoints that came do no harm, unless there was none: then an entry may lead to no one at all.
            if !then.is_subset(&now) || then.is_empty() {
                stale.frontends.insert(SocketAddrV4::new(key.address, key.port), now);
            }
        }
        for (key, chain) in before.node_ports.iter().filter(|(key, _)| key.protocol == Protocol::Udp) {
            let then = endpoints(before, Some(chain));
            let now = endpoints(after, after.node_ports.get(key));
            let gone: BTreeSet<_> = then.difference(&now).copied().collect();
            if !gone.is_empty() {
                stale.node_ports.insert(key.port, gone);
            }
        }
        stale
    }

    fn is_empty(&self) -> bool {
        self.frontends.is_empty() && self.node_ports.is_empty()
    }

    fn holds(&self, connection: &Connection) -> bool {
        let answers = connection.answered_by;
        let by_frontend =
            self.frontends.get(&connection.asked_for).is_some_and(|present| !present.contains(&answers));
        let by_port =
            self.node_ports.get(&connection.asked_for.port()).is_some_and(|gone| gone.contains(&answers));
        by_frontend || by_port
    }
}

fn endpoints(rules: &RuleSet, chain: Option<&String>) -> BTreeSet<SocketAddrV4> {
    let Some(chain) = chain.and_then(|chain| rules.chains.get(chain)) else { return BTreeSet::new() };
    match chain {
        Chain::Spread { endpoints, .. } => endpoints.iter().copied().collect(),
        Chain::Stick { endpoints: sticky } => {
            sticky.iter().flat_map(|endpoint| endpoints(rules, Some(&endpoint.chain))).collect()
        }
        Chain::Remember { endpoint, .. } => BTreeSet::from([*endpoint]),
        Chain::Masquerade { next } => endpoints(rules, Some(next)),
        Chain::Local { cluster, local } => {
            let mut all = endpoints(rules, Some(cluster));
            all.extend(endpoints(rules, local.as_ref()));
            all
        }
        Chain::Drop => BTreeSet::new(),
    }
}

/// Forgets what became stale from `before` to `after`. What fails is logged: the entries time out by themselves.
pub fn forget_stale(before: &RuleSet, after: &RuleSet) {
    let stale = Stale::between(before, after);
    if stale.is_empty() {
        return;
    }
    match forget(&stale) {
        Ok(0) => {}
        Ok(count) => debug!(count, "stale UDP connections forgotten"),
        Err(error) => warn!(error = %ErrorChain(&error), "stale UDP connections are not forgotten"),
    }
}

fn forget(stale: &Stale) -> io::Result<usize> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&message(GET, REQUEST | DUMP, &[]), 0)?;
    let mut found = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while let Some((kind, payload, next)) = split_message(rest) {
            match kind {
                DONE => return delete(&socket, &found),
                ERROR => return Err(error_of(payload)),
                _ => {
                    let connection = payload.get(4..).and_then(Connection::parse);
                    found.extend(connection.filter(|connection| stale.holds(connection)));
                }
            }
            rest = next;
        }
    }
}

fn delete(socket: &Socket, connections: &[Connection]) -> io::Result<usize> {
    for connection in connections {
        let attribute = attribute(ORIGINAL | NESTED, &connection.original);
        // No answer is asked for: an entry that is gone already is what we want.
        socket.send(&message(DELETE, REQUEST, &attribute), 0)?;
    }
    Ok(connections.len())
}

fn error_of(payload: &[u8]) -> io::Error {
    let code = payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    io::Error::from_raw_os_error(-code)
}

/// A connection of UDP as the kernel tracks it.
#[derive(Debug, PartialEq, Eq)]
struct Connection {
    /// Where the client sent to.
    asked_for: SocketAddrV4,
    /// Who answers.
    answered_by: SocketAddrV4,
    /// The original direction as it came, to name the connection by.
    original: Vec<u8>,
}

impl Connection {
    fn parse(attributes: &[u8]) -> Option<Self> {
        let original = find(attributes, ORIGINAL)?;
        let (_, asked_for) = tuple(original)?;
        let (answered_by, _) = tuple(find(attributes, REPLY)?)?;
        Some(Self { asked_for, answered_by, original: original.to_vec() })
    }
}

/// Source and destination of a direction; `None` for what is not UDP.
fn tuple(attributes: &[u8]) -> Option<(SocketAddrV4, SocketAddrV4)> {
    let (ip, protocol) = (find(attributes, TUPLE_IP)?, find(attributes, TUPLE_PROTOCOL)?);
    if find(protocol, PROTOCOL_NUMBER)? != [UDP] {
        return None;
    }
    let end = |address: u16, port: u16| {
        let address = Ipv4Addr::from(*find(ip, address)?.first_chunk::<4>()?);
        let port = u16::from_be_bytes(*find(protocol, port)?.first_chunk()?);
        Some(SocketAddrV4::new(address, port))
    };
    Some((end(IPV4_SOURCE, PROTOCOL_SOURCE)?, end(IPV4_DESTINATION, PROTOCOL_DESTINATION)?))
}

/// The first message of a datagram: its type, its payload, and what follows.
fn split_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    let payload = bytes.get(HEADER..length)?;
    Some((kind, payload, bytes.get(aligned(length)..).unwrap_or_default()))
}

/// The value of an attribute among others.
fn find(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(*attributes.first_chunk()?));
        let kind = u16::from_ne_bytes(*attributes.get(2..)?.first_chunk()?) & !NESTED;
        let value = attributes.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        attributes = attributes.get(aligned(length)..)?;
    }
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = 4 + value.len();
    let mut bytes = Vec::with_capacity(aligned(length));
    bytes.extend(u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(aligned(length), 0);
    bytes
}

fn message(kind: u16, flags: u16, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADERS + attributes.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEADERS + attributes.len());
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    // Sequence number and port: one request at a time needs neither.
    bytes.extend([0; 8]);
    bytes.extend([AF_INET, 0, 0, 0]);
    bytes.extend(attributes);
    bytes
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

#[cfg(test)]
mod tests;
