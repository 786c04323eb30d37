//! URLs, taken apart.

use std::collections::BTreeMap;
use std::sync::Arc;

use cel::extractors::This;
use cel::objects::{Key, Map, Opaque, Value};
use cel::{Context, ExecutionError};

use super::library::{Answer, declare, failed};

#[derive(Debug, PartialEq, Eq)]
struct Url {
    scheme: String,
    /// With the port.
    host: String,
    path: String,
    query: String,
}

impl Opaque for Url {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.URL"
    }
}

impl Url {
    /// An absolute URL, or an absolute path.
    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text.chars().any(|c| c.is_ascii_control() || c == ' ') {
            return None;
        }
        let (before, query) = text.split_once('?').unwrap_or((text, ""));
        let (scheme, rest) = if before.starts_with('/') {
            ("", before)
        } else {
            let (scheme, rest) = before.split_once(':')?;
            let is_good = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
            if !is_good {
                return None;
            }
            (scheme, rest)
        };
        let (host, path) = match rest.strip_prefix("//").filter(|_| !scheme.is_empty()) {
            Some(rest) => rest.find('/').map_or((rest, ""), |place| rest.split_at(place)),
            None => ("", rest),
        };
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let own = Self {
            scheme: scheme.to_lowercase(),
            host: host.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
        };
        let port = own.port();
        (port.chars().all(|c| c.is_ascii_digit())).then_some(own)
    }

    fn hostname(&self) -> &str {
        match self.host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => self.host.split(':').next().unwrap_or_default(),
        }
    }

    fn port(&self) -> &str {
        let after = self.host.rsplit(']').next().unwrap_or_default();
        after.split_once(':').map_or("", |(_, port)| port)
    }

    fn query(&self) -> BTreeMap<String, Vec<Value>> {
        let mut all: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for pair in self.query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            all.entry(decoded(name)).or_default().push(text(&decoded(value)));
        }
        all
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match (first, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = after;
            }
            (byte, _) => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn text(own: &str) -> Value {
    Value::String(Arc::new(own.to_owned()))
}

fn of(value: &Value) -> Result<&Url, ExecutionError> {
    match value {
        Value::Opaque(own) => own.downcast_ref::<Url>().ok_or_else(|| failed("no such overload")),
        _ => Err(failed("no such overload")),
    }
}

/// Makes the functions known.
pub(super) fn add(context: &mut Context<'_, '_>) {
    declare!(context,
        "url" => |own: Arc<String>| -> Answer {
            let parsed = Url::parse(&own).ok_or_else(|| {
                failed(format!("URL parse error during conversion from string: parse {own:?}: invalid URI for request"))
            })?;
            Ok(Value::Opaque(Arc::new(parsed)))
        },
        "isURL" => |own: Arc<String>| -> bool { Url::parse(&own).is_some() },
        "getScheme" => |This(own): This<Value>| -> Answer { Ok(text(&of(&own)?.scheme)) },
        "getHost" => |This(own): This<Value>| -> Answer { Ok(text(&of(&own)?.host)) },
        "getHostname" => |This(own): This<Value>| -> Answer { Ok(text(of(&own)?.hostname())) },
        "getPort" => |This(own): This<Value>| -> Answer { Ok(text(of(&own)?.port())) },
        "getEscapedPath" => |This(own): This<Value>| -> Answer { Ok(text(&of(&own)?.path)) },
        "getQuery" => |This(own): This<Value>| -> Answer {
            let entries = of(&own)?.query().into_iter();
            let entries = entries.map(|(name, values)| (Key::String(Arc::new(name)), Value::List(Arc::new(values))));
            Ok(Value::Map(Map { map: Arc::new(entries.collect()) }))
        },
    );
}
