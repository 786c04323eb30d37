//! What the key and the value of a label may be. Each check gives the reasons against, none when it is fine.
//!
//! The texts are those of Kubernetes. Annotations and finalizers have keys of the same form.

const NAME: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const VALUE: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";
const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const MAX_NAME: usize = 63;
const MAX_SUBDOMAIN: usize = 253;

/// What is wrong with `key` as `name` or `example.com/name`.
pub fn qualified_name(key: &str) -> Vec<String> {
    let rule = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
                alphanumeric character";
    let examples = ["MyName", "my.name", "123-abc"];
    let mut errors = Vec::new();
    let name = match key.split('/').collect::<Vec<_>>()[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                errors.push("prefix part must be non-empty".to_owned());
            } else {
                errors.extend(subdomain(prefix).into_iter().map(|error| format!("prefix part {error}")));
            }
            name
        }
        _ => {
            errors.push(format!(
                "a qualified name {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                explain(rule, NAME, &examples)
            ));
            return errors;
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if name.len() > MAX_NAME {
        errors.push(format!("name part {}", too_long(MAX_NAME)));
    }
    if !is_name(name) {
        errors.push(format!("name part {}", explain(rule, NAME, &examples)));
    }
    errors
}

/// What is wrong with `value` as the value of a label.
pub fn label_value(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > MAX_NAME {
        errors.push(too_long(MAX_NAME));
    }
    if !value.is_empty() && !is_name(value) {
        let rule = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or \
                    '.', and must start and end with an alphanumeric character";
        errors.push(explain(rule, VALUE, &["MyValue", "my_value", "12345"]));
    }
    errors
}

/// What is wrong with `name` as a DNS subdomain (RFC 1123), the form of most objects' names.
pub fn subdomain(name: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if name.len() > MAX_SUBDOMAIN {
        errors.push(too_long(MAX_SUBDOMAIN));
    }
    let is_label = |label: &str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        label.chars().all(|c| inner(c) || c == '-') && label.starts_with(inner) && label.ends_with(inner)
    };
    if !name.split('.').all(is_label) {
        let rule = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
                    '.', and must start and end with an alphanumeric character";
        errors.push(explain(rule, SUBDOMAIN, &["example.com"]));
    }
    errors
}

fn is_name(name: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    name.chars().all(|c| edge(c) || matches!(c, '-' | '_' | '.'))
        && name.starts_with(edge)
        && name.ends_with(edge)
}

fn too_long(length: usize) -> String {
    format!("must be no more than {length} bytes")
}

/// The rule with examples and the expression; the odd comma before `or` is how Kubernetes writes it.
fn explain(rule: &str, expression: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|example| format!("'{example}', ")).collect();
    format!("{rule} (e.g. {}regex used for validation is '{expression}')", examples.join(" or "))
}
