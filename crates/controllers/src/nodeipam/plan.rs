//! Which share of the pod network a node gets. Pure.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::config::Cidr;
use crate::objects::Node;

/// What to do about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It has its share.
    Nothing,
    /// Give it this.
    Give(Cidr),
    /// There is nothing left to give.
    Full,
}

/// Decides which share `node` gets: what it was promised, else the lowest that is free.
pub fn plan(
    node: &Node,
    taken: impl Iterator<Item = Cidr>,
    promised: Option<Cidr>,
    (network, bits): (Cidr, u8),
) -> Decision {
    if !node.spec.pod_cidr.is_empty() || node.metadata.is_being_deleted() {
        return Decision::Nothing;
    }
    if let Some(promised) = promised {
        return Decision::Give(promised);
    }
    let size = 1u64 << (32 - u32::from(bits));
    let first = u64::from(u32::from(network.address));
    let count = 1u64 << (bits - network.bits);
    let mut full = BTreeSet::new();
    for cidr in taken {
        // A share of another size, from another time, blocks all that it overlaps.
        let from = u64::from(u32::from(cidr.address));
        let to = from + (1u64 << (32 - u32::from(cidr.bits))) - 1;
        if to < first || from >= first + count * size {
            continue;
        }
        let lowest = from.saturating_sub(first) / size;
        let highest = ((to - first) / size).min(count - 1);
        full.extend(lowest..=highest);
    }
    match (0..count).find(|index| !full.contains(index)) {
        Some(index) => {
            // It is inside the network, so inside 32 bits.
            let address = u32::try_from(first + index * size).map_or(network.address, Ipv4Addr::from);
            Decision::Give(Cidr { address, bits })
        }
        None => Decision::Full,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        Cidr::parse(text).unwrap()
    }

    fn given(taken: &[&str], network: &str, bits: u8) -> String {
        let taken = taken.iter().map(|text| cidr(text));
        match plan(&Node::default(), taken, None, (cidr(network), bits)) {
            Decision::Nothing => "nothing".to_owned(),
            Decision::Give(cidr) => cidr.to_string(),
            Decision::Full => "full".to_owned(),
        }
    }

    #[test]
    fn the_lowest_free_share_is_given_and_none_twice() {
        assert_eq!(given(&[], "10.244.0.0/16", 24), "10.244.0.0/24");
        assert_eq!(given(&["10.244.0.0/24", "10.244.2.0/24"], "10.244.0.0/16", 24), "10.244.1.0/24");
        assert_eq!(given(&["10.244.0.0/22", "10.245.0.0/24"], "10.244.0.0/16", 24), "10.244.4.0/24");
        assert_eq!(given(&["10.244.0.128/25"], "10.244.0.0/16", 24), "10.244.1.0/24");
        assert_eq!(given(&["10.0.0.0/25", "10.0.0.128/25"], "10.0.0.0/24", 25), "full");
        assert_eq!(given(&["0.0.0.0/0"], "10.244.0.0/16", 24), "full");
    }

    #[test]
    fn a_node_keeps_what_it_has_or_was_promised() {
        let mut node = Node::default();
        let promised = cidr("10.244.7.0/24");
        let network = (cidr("10.244.0.0/16"), 24);
        assert_eq!(plan(&node, [promised].into_iter(), Some(promised), network), Decision::Give(promised));
        node.spec.pod_cidr = promised.to_string();
        assert_eq!(plan(&node, [promised].into_iter(), None, network), Decision::Nothing);
    }
}
