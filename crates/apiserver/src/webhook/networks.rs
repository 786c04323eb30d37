//! Which addresses a webhook may be at.
//!
//! Whoever may configure webhooks makes this server send requests, so they must not reach what only this machine
//! can: link-local addresses (the metadata service of a cloud), loopback, and addresses that are no host's. Loopback
//! is open where the server itself listens on nothing else: then whoever reaches the server is on this machine anyway.
//! `--webhook-allow-network` opens more.

use std::fmt;
use std::net::IpAddr;

/// A network, as `127.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl std::str::FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no network, as 192.0.2.0/24");
        let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
        let (address, bits): (IpAddr, u8) =
            (address.parse().map_err(|_| wrong())?, bits.parse().map_err(|_| wrong())?);
        let most = if address.is_ipv4() { 32 } else { 128 };
        if bits > most { Err(wrong()) } else { Ok(Self { address, bits }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        let same = |own: u128, other: u128, width: u32| {
            let shift = width - u32::from(self.bits).min(width);
            own.checked_shr(shift).unwrap_or(0) == other.checked_shr(shift).unwrap_or(0)
        };
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => same(own.to_bits().into(), other.to_bits().into(), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => same(own.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

/// What is allowed beside the addresses of ordinary hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Loopback.
    pub loopback: bool,
    /// Whatever is in these.
    pub networks: Vec<Network>,
}

impl Allowed {
    /// Whether a webhook may be at the address.
    pub(super) fn allows(&self, address: IpAddr) -> bool {
        // An IPv4 address is the same in the clothes of IPv6.
        let address = address.to_canonical();
        if self.networks.iter().any(|network| network.contains(address)) {
            return true;
        }
        let refused = match address {
            IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast() || v4.octets()[0] == 0,
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        let loopback_closed = address.is_loopback() && !self.loopback;
        !refused && !loopback_closed && !address.is_unspecified() && !address.is_multicast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_at_an_ordinary_host_unless_more_is_allowed() {
        let none = Allowed::default();
        let local = Allowed { loopback: true, networks: Vec::new() };
        let network = |text: &str| text.parse::<Network>().expect("a network");
        let more =
            Allowed { loopback: false, networks: vec![network("169.254.7.0/24"), network("127.0.0.0/8")] };
        for (address, expected) in [
            ("192.0.2.1", [true, true, true]),
            ("10.244.0.7", [true, true, true]),
            ("127.0.0.1", [false, true, true]),
            ("::1", [false, true, false]),
            ("::ffff:127.0.0.1", [false, true, true]),
            ("169.254.169.254", [false, false, false]),
            ("::ffff:169.254.169.254", [false, false, false]),
            ("169.254.7.9", [false, false, true]),
            ("fe80::1", [false, false, false]),
            ("0.0.0.0", [false, false, false]),
            ("224.0.0.1", [false, false, false]),
            ("2001:db8::1", [true, true, true]),
        ] {
            let address: IpAddr = address.parse().expect("an address");
            assert_eq!([&none, &local, &more].map(|allowed| allowed.allows(address)), expected, "{address}");
        }
        for wrong in ["", "10.0.0.0", "10.0.0.0/33", "x/8", "::/129"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
