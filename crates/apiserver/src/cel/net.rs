//! IP addresses and networks.

use std::net::IpAddr;
use std::sync::Arc;

use cel::extractors::This;
use cel::objects::{Opaque, Value};
use cel::{Context, ExecutionError};

use super::library::{Answer, declare, failed};

#[derive(Debug, PartialEq, Eq)]
struct Address(IpAddr);

impl Opaque for Address {
    fn runtime_type_name(&self) -> &str {
        "net.IP"
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    length: u8,
}

impl Opaque for Network {
    fn runtime_type_name(&self) -> &str {
        "net.CIDR"
    }
}

impl Network {
    fn parse(text: &str) -> Result<Self, ExecutionError> {
        let wrong = || failed(format!("network address parse error during conversion from string: {text:?}"));
        if api::names::cidr(text).is_some() {
            return Err(wrong());
        }
        let (address, length) = text.split_once('/').ok_or_else(wrong)?;
        Ok(Self { address: parse(address)?, length: length.parse().map_err(|_| wrong())? })
    }

    /// The bits of an address that the network has in common, if it is of the same family.
    fn bits(&self, address: IpAddr) -> Option<u128> {
        let (value, width) = match (self.address, address) {
            (IpAddr::V4(_), IpAddr::V4(own)) => (u128::from(u32::from(own)), 32),
            (IpAddr::V6(_), IpAddr::V6(own)) => (u128::from(own), 128),
            _ => return None,
        };
        Some(value.checked_shr(width - u32::from(self.length)).unwrap_or(0))
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.bits(address).is_some_and(|bits| Some(bits) == self.bits(self.address))
    }

    fn masked(&self) -> Self {
        let bits = self.bits(self.address).unwrap_or_default();
        let address = match self.address {
            IpAddr::V4(_) => {
                let value = bits.checked_shl(32 - u32::from(self.length)).unwrap_or(0);
                IpAddr::V4(u32::try_from(value).unwrap_or_default().into())
            }
            IpAddr::V6(_) => IpAddr::V6(bits.checked_shl(128 - u32::from(self.length)).unwrap_or(0).into()),
        };
        Self { address, length: self.length }
    }
}

fn parse(text: &str) -> Result<IpAddr, ExecutionError> {
    text.parse().map_err(|_| failed(format!("IP Address {text:?} parse error during conversion from string")))
}

fn overload() -> ExecutionError {
    failed("no such overload")
}

fn address(value: &Value) -> Result<IpAddr, ExecutionError> {
    match value {
        Value::String(text) => parse(text),
        Value::Opaque(own) => own.downcast_ref::<Address>().map(|own| own.0).ok_or_else(overload),
        _ => Err(overload()),
    }
}

fn network(value: &Value) -> Result<&Network, ExecutionError> {
    match value {
        Value::Opaque(own) => own.downcast_ref::<Network>().ok_or_else(overload),
        _ => Err(overload()),
    }
}

fn ask(value: &Value, is: fn(IpAddr) -> bool) -> Answer {
    Ok(Value::Bool(is(address(value)?)))
}

fn is_link_local_multicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(own) => matches!(own.octets(), [224, 0, 0, _]),
        IpAddr::V6(own) => own.segments()[0] & 0xff0f == 0xff02,
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(own) => own.is_link_local(),
        IpAddr::V6(own) => own.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn is_global(address: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(own) if own.is_broadcast());
    !(is_broadcast
        || address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || is_link_local(address))
}

/// Makes the functions known.
pub(super) fn add(context: &mut Context<'_, '_>) {
    declare!(context,
        // An address of a text, and of a network.
        "ip" => |This(own): This<Value>| -> Answer {
            let found = match &own {
                Value::Opaque(_) => network(&own)?.address,
                other => address(other)?,
            };
            Ok(Value::Opaque(Arc::new(Address(found))))
        },
        "isIP" => |own: Arc<String>| -> bool { parse(&own).is_ok() },
        "ip.isCanonical" => |own: Arc<String>| -> Answer {
            Ok(Value::Bool(parse(&own)?.to_string() == *own))
        },
        "family" => |This(own): This<Value>| -> Answer {
            Ok(Value::Int(if address(&own)?.is_ipv4() { 4 } else { 6 }))
        },
        "isUnspecified" => |This(own): This<Value>| ask(&own, |own| own.is_unspecified()),
        "isLoopback" => |This(own): This<Value>| ask(&own, |own| own.is_loopback()),
        "isLinkLocalMulticast" => |This(own): This<Value>| ask(&own, is_link_local_multicast),
        "isLinkLocalUnicast" => |This(own): This<Value>| ask(&own, is_link_local),
        "isGlobalUnicast" => |This(own): This<Value>| ask(&own, is_global),
        "cidr" => |own: Arc<String>| -> Answer { Ok(Value::Opaque(Arc::new(Network::parse(&own)?))) },
        "isCIDR" => |own: Arc<String>| -> bool { Network::parse(&own).is_ok() },
        "containsIP" => |This(own): This<Value>, other: Value| -> Answer {
            Ok(Value::Bool(network(&own)?.contains(address(&other)?)))
        },
        "containsCIDR" => |This(own): This<Value>, other: Value| -> Answer {
            let own = network(&own)?;
            let parsed;
            let other = match &other {
                Value::String(text) => {
                    parsed = Network::parse(text)?;
                    &parsed
                }
                other => network(other)?,
            };
            Ok(Value::Bool(own.length <= other.length && own.contains(other.address)))
        },
        "masked" => |This(own): This<Value>| -> Answer { Ok(Value::Opaque(Arc::new(network(&own)?.masked()))) },
        "prefixLength" => |This(own): This<Value>| -> Answer { Ok(Value::Int(network(&own)?.length.into())) },
    );
}
