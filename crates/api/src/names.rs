//! Which names are allowed where, in the words of Kubernetes: labels and subdomains of DNS, qualified names, ports,
//! environment variables, addresses. Each function answers what is wrong, and nothing when nothing is.

use std::net::IpAddr;

/// The longest label of DNS.
pub const LABEL_LENGTH: usize = 63;
/// The longest subdomain of DNS.
pub const SUBDOMAIN_LENGTH: usize = 253;

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character";
const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
const WILDCARD: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character";
const ENV_NAME: &str =
    "a valid environment variable name must consist only of printable ASCII characters other than '='";

const LABEL_REGEX: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN_REGEX: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";

/// A message with examples and the expression, as all of them have it.
fn explained(message: &str, regex: &str, examples: &[&str]) -> String {
    let mut text = format!("{message} (");
    for (index, example) in examples.iter().enumerate() {
        text.push_str(if index == 0 { "e.g. " } else { " or " });
        text.push_str(&format!("'{example}', "));
    }
    text.push_str(&format!("regex used for validation is '{regex}')"));
    text
}

/// The value is longer than it may be.
pub fn too_long(most: usize) -> String {
    format!("must be no more than {most} bytes")
}

fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Whether text is of `inner` characters, and of `end` characters at both ends.
fn is_framed(text: &str, inner: impl Fn(u8) -> bool, end: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => end(*first) && end(*last) && bytes.iter().all(|byte| inner(*byte)),
        _ => false,
    }
}

fn is_label(text: &str) -> bool {
    is_framed(text, |byte| is_lower(byte) || byte == b'-', is_lower)
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

fn checked(text: &str, most: usize, is_good: bool, message: impl FnOnce() -> String) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > most {
        wrong.push(too_long(most));
    }
    if !is_good {
        wrong.push(message());
    }
    wrong
}

/// A label of DNS: `my-name`.
pub fn dns_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > LABEL_LENGTH {
        wrong.push(too_long(LABEL_LENGTH));
    }
    if !is_label(text) {
        wrong.push(if is_subdomain(text) {
            "must not contain dots".to_owned()
        } else {
            explained(LABEL, LABEL_REGEX, &["my-name", "123-abc"])
        });
    }
    wrong
}

/// A subdomain of DNS: `example.com`.
pub fn dns_subdomain(text: &str) -> Vec<String> {
    checked(text, SUBDOMAIN_LENGTH, is_subdomain(text), || {
        explained(SUBDOMAIN, SUBDOMAIN_REGEX, &["example.com"])
    })
}

/// A label of the older DNS, which begins with a letter: `my-name`.
pub fn dns_1035_label(text: &str) -> Vec<String> {
    let starts = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    checked(text, LABEL_LENGTH, starts && is_label(text), || {
        explained(LABEL_1035, "[a-z]([-a-z0-9]*[a-z0-9])?", &["my-name", "abc-123"])
    })
}

/// A subdomain of DNS that begins with a wildcard: `*.example.com`.
pub fn wildcard_subdomain(text: &str) -> Vec<String> {
    let is_good = text.strip_prefix("*.").is_some_and(is_subdomain);
    checked(text, SUBDOMAIN_LENGTH, is_good, || {
        explained(WILDCARD, &format!("\\*\\.{SUBDOMAIN_REGEX}"), &["*.example.com"])
    })
}

fn is_qualified_part(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    is_framed(text, inner, |byte| byte.is_ascii_alphanumeric())
}

/// A name with an optional prefix: `example.com/my-name`, the key of a label.
pub fn qualified(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let parts: Vec<&str> = text.split('/').collect();
    let name = match parts.as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                wrong.push("prefix part must be non-empty".to_owned());
            } else {
                wrong.extend(dns_subdomain(prefix).into_iter().map(|why| format!("prefix part {why}")));
            }
            *name
        }
        _ => {
            let examples = ["MyName", "my.name", "123-abc"];
            wrong.push(format!(
                "a qualified name {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                explained(QUALIFIED, QUALIFIED_REGEX, &examples)
            ));
            return wrong;
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_LENGTH {
        wrong.push(format!("name part {}", too_long(LABEL_LENGTH)));
    }
    if !is_qualified_part(name) {
        let examples = ["MyName", "my.name", "123-abc"];
        wrong.push(format!("name part {}", explained(QUALIFIED, QUALIFIED_REGEX, &examples)));
    }
    wrong
}

const QUALIFIED_REGEX: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

/// The value of a label.
pub fn label_value(text: &str) -> Vec<String> {
    checked(text, LABEL_LENGTH, text.is_empty() || is_qualified_part(text), || {
        let examples = ["MyValue", "my_value", "12345"];
        explained(LABEL_VALUE, "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?", &examples)
    })
}

/// A key of a ConfigMap or Secret.
pub fn config_map_key(text: &str) -> Vec<String> {
    let is_good = !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    let mut wrong = checked(text, SUBDOMAIN_LENGTH, is_good, || {
        explained(CONFIG_KEY, "[-._a-zA-Z0-9]+", &["key.name", "KEY_NAME", "key-name"])
    });
    match text {
        "." => wrong.push("must not be '.'".to_owned()),
        ".." => wrong.push("must not be '..'".to_owned()),
        text if text.starts_with("..") => wrong.push("must not start with '..'".to_owned()),
        _ => {}
    }
    wrong
}

/// The name of an environment variable.
pub fn env_var_name(text: &str) -> Vec<String> {
    let is_good = !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=');
    if is_good { Vec::new() } else { vec![explained(ENV_NAME, "^[ -<>-~]+$", &["my-name", "MY_NAME"])] }
}

/// The name of a header of HTTP.
pub fn http_header_name(text: &str) -> Vec<String> {
    let is_good = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_good {
        return Vec::new();
    }
    let what = "a valid HTTP header must consist of alphanumeric characters or '-'";
    vec![explained(what, "[-A-Za-z0-9]+", &["X-Header-Name"])]
}

/// A name below a domain, where an underscore may stand too.
pub fn dns_subdomain_with_underscore(text: &str) -> Vec<String> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        label.bytes().next().is_some_and(|byte| is_plain(byte) || byte == b'_')
            && label.bytes().last().is_some_and(|byte| is_plain(byte) || byte == b'_')
            && label.bytes().all(|byte| is_plain(byte) || matches!(byte, b'-' | b'_'))
    };
    checked(text, SUBDOMAIN_LENGTH, text.split('.').all(is_label), || {
        let what = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
        explained(
            what,
            "[a-z0-9_]([-_a-z0-9]*[a-z0-9_])?(\\.[a-z0-9_]([-_a-z0-9]*[a-z0-9_])?)*",
            &["example.com"],
        )
    })
}

/// The name of a port: `http`.
pub fn port_name(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > 15 {
        wrong.push("must be no more than 15 characters".to_owned());
    }
    if text.is_empty() || !text.bytes().all(|byte| is_lower(byte) || byte == b'-') {
        wrong.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        wrong.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        wrong.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        wrong.push("must not begin or end with a hyphen".to_owned());
    }
    wrong
}

/// A number between two others.
pub fn in_range(number: i64, least: i64, most: i64) -> Option<String> {
    (!(least..=most).contains(&number)).then(|| format!("must be between {least} and {most}, inclusive"))
}

/// A port number.
pub fn port_number(number: i64) -> Option<String> {
    in_range(number, 1, 65535)
}

/// An IP address.
pub fn ip(text: &str) -> Option<&'static str> {
    let is_ip = text.parse::<IpAddr>().is_ok();
    (!is_ip).then_some("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")
}

/// A network: `10.0.0.0/8`.
pub fn cidr(text: &str) -> Option<&'static str> {
    let is_cidr = text.split_once('/').is_some_and(|(address, length)| {
        let most = match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => 32,
            Ok(IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        length.parse::<u8>().is_ok_and(|length| length <= most) && !length.starts_with('+')
    });
    (!is_cidr).then_some("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")
}

/// A name that is one step of a path: what roles and the like are called.
pub fn path_segment(text: &str) -> Vec<String> {
    if text == "." || text == ".." {
        return vec![format!("may not be '{text}'")];
    }
    ["/", "%"]
        .iter()
        .filter(|bad| text.contains(**bad))
        .map(|bad| format!("may not contain '{bad}'"))
        .collect()
}

/// A percentage: `25%`.
pub fn percent(text: &str) -> Option<String> {
    let is_good = text
        .strip_suffix('%')
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()));
    (!is_good).then(|| {
        explained(
            "a valid percent string must be a numeric string followed by an ending '%'",
            "[0-9]+%",
            &["1%", "93%"],
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_are_left_in_peace() {
        let long = "a".repeat(63);
        for name in ["a", "a-b", "0", "x1", &long] {
            assert!(dns_label(name).is_empty() && dns_subdomain(name).is_empty(), "{name}");
        }
        for name in ["example.com/My_name", "a", "9.9", "kubernetes.io/metadata.name"] {
            assert!(qualified(name).is_empty(), "{name}");
        }
        assert!(label_value("").is_empty() && config_map_key("a.B_c-1").is_empty());
        assert!(port_name("http-1").is_empty() && env_var_name("A b").is_empty());
        assert!(ip("::1").is_none() && cidr("10.0.0.0/8").is_none() && percent("100%").is_none());
    }

    #[test]
    fn bad_names_are_told_what_is_wrong_with_them() {
        let one = |wrong: Vec<String>| wrong.into_iter().next().unwrap_or_default();
        assert_eq!(one(dns_label("a.b")), "must not contain dots");
        assert_eq!(one(dns_label(&"a".repeat(64))), "must be no more than 63 bytes");
        assert!(one(dns_label("A")).ends_with(
            "(e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        ));
        assert_eq!(one(qualified("/a")), "prefix part must be non-empty");
        assert_eq!(one(qualified("a/")), "name part must be non-empty");
        assert!(one(qualified("A_/x")).starts_with("prefix part a lowercase RFC 1123 subdomain"));
        assert!(one(qualified("a/b/c")).starts_with("a qualified name must consist of"));
        assert_eq!(one(config_map_key("..")), "must not be '..'");
        assert_eq!(one(port_name("-")), "must contain at least one letter (a-z)");
        assert_eq!(one(path_segment("a/b")), "may not contain '/'");
        assert!(dns_1035_label("1a").len() == 1 && cidr("10.0.0.0/33").is_some() && ip("1.2.3").is_some());
    }
}
