//! JSONPath as printer columns use it: fields, indexes, `[*]`, and filters that compare a field with a value.

use serde_json::Value;

/// A path; an empty one finds nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JsonPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    /// Elements in which the path compares so with the value.
    Where(Vec<Step>, Compare, Value),
    /// Elements that have the path.
    Has(Vec<Step>),
    /// At any depth.
    Recursive(String),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Compare {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

const OPERATORS: [(&str, Compare); 6] = [
    ("==", Compare::Equal),
    ("!=", Compare::Unequal),
    ("<=", Compare::LessOrEqual),
    (">=", Compare::GreaterOrEqual),
    ("<", Compare::Less),
    (">", Compare::Greater),
];

impl JsonPath {
    /// Reads a path such as `.status.conditions[?(@.type=="Ready")].status`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim().trim_start_matches('{').trim_end_matches('}');
        let text = text.strip_prefix('$').unwrap_or(text);
        steps(text).map(Self)
    }

    /// What the path leads to.
    pub fn find<'a>(&self, object: &'a Value) -> Vec<&'a Value> {
        if self.0.is_empty() { Vec::new() } else { follow(&self.0, object) }
    }
}

fn steps(text: &str) -> Result<Vec<Step>, String> {
    let mut all = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match first {
            '.' if rest.starts_with("..") => {
                let (name, after) = field(&rest[2..]);
                all.push(Step::Recursive(name));
                rest = after;
            }
            '.' => {
                let (name, after) = field(&rest[1..]);
                match name.as_str() {
                    "*" => all.push(Step::All),
                    "" => {}
                    _ => all.push(Step::Field(name)),
                }
                rest = after;
            }
            '[' => {
                let end = closing(rest).ok_or_else(|| format!("unterminated array in {text}"))?;
                all.push(bracket(&rest[1..end])?);
                rest = &rest[end + 1..];
            }
            _ => {
                let (name, after) = field(rest);
                if name.is_empty() {
                    return Err(format!("unexpected {first} in {text}"));
                }
                all.push(Step::Field(name));
                rest = after;
            }
        }
    }
    Ok(all)
}

/// A name up to the next dot or bracket; a backslash takes what follows it as it is.
fn field(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut letters = text.char_indices();
    while let Some((place, letter)) = letters.next() {
        match letter {
            '\\' => name.extend(letters.next().map(|(_, letter)| letter)),
            '.' | '[' => return (name, &text[place..]),
            letter => name.push(letter),
        }
    }
    (name, "")
}

/// The place of the bracket that closes the first one.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quoted) = (0, None);
    for (place, letter) in text.char_indices() {
        match (letter, quoted) {
            ('"' | '\'', None) => quoted = Some(letter),
            (letter, Some(quote)) if letter == quote => quoted = None,
            ('[', None) => depth += 1,
            (']', None) => {
                depth -= 1;
                if depth == 0 {
                    return Some(place);
                }
            }
            _ => {}
        }
    }
    None
}

fn unquoted(text: &str) -> Option<&str> {
    ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote))
}

fn bracket(text: &str) -> Result<Step, String> {
    let text = text.trim();
    if text == "*" {
        return Ok(Step::All);
    }
    if let Some(name) = unquoted(text) {
        return Ok(Step::Field(name.to_owned()));
    }
    if let Some(filter) = text.strip_prefix("?(").and_then(|text| text.strip_suffix(')')) {
        let own = |path: &str| steps(path.trim().trim_start_matches('@'));
        for (word, compare) in OPERATORS {
            if let Some((path, value)) = filter.split_once(word) {
                let value = value.trim();
                let value = match unquoted(value) {
                    Some(text) => Value::from(text),
                    None => serde_json::from_str(value).map_err(|_| format!("unrecognized value {value}"))?,
                };
                return Ok(Step::Where(own(path)?, compare, value));
            }
        }
        return own(filter).map(Step::Has);
    }
    text.parse().map(Step::Index).map_err(|_| format!("invalid array index {text}"))
}

fn follow<'a>(path: &[Step], value: &'a Value) -> Vec<&'a Value> {
    let Some((first, rest)) = path.split_first() else { return vec![value] };
    let elements = || -> Vec<&'a Value> {
        match value {
            Value::Array(items) => items.iter().collect(),
            Value::Object(fields) => fields.values().collect(),
            _ => Vec::new(),
        }
    };
    let next: Vec<&Value> = match first {
        Step::Field(name) => value.get(name).into_iter().collect(),
        Step::Index(index) => {
            let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
            let place = if *index < 0 { items.len() as i64 + index } else { *index };
            usize::try_from(place).ok().and_then(|place| items.get(place)).into_iter().collect()
        }
        Step::All => elements(),
        Step::Where(path, compare, wanted) => elements()
            .into_iter()
            .filter(|item| follow(path, item).first().is_some_and(|found| compares(found, *compare, wanted)))
            .collect(),
        Step::Has(path) => elements().into_iter().filter(|item| !follow(path, item).is_empty()).collect(),
        Step::Recursive(name) => deep(name, value),
    };
    next.into_iter().flat_map(|next| follow(rest, next)).collect()
}

fn deep<'a>(name: &str, value: &'a Value) -> Vec<&'a Value> {
    let below: Vec<&Value> = match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => Vec::new(),
    };
    value.get(name).into_iter().chain(below.into_iter().flat_map(|below| deep(name, below))).collect()
}

fn compares(found: &Value, compare: Compare, wanted: &Value) -> bool {
    use std::cmp::Ordering;
    let order = match (found, wanted) {
        (Value::String(found), Value::String(wanted)) => Some(found.cmp(wanted)),
        _ => match (found.as_f64(), wanted.as_f64()) {
            (Some(found), Some(wanted)) => found.partial_cmp(&wanted),
            _ if found == wanted => Some(Ordering::Equal),
            _ => None,
        },
    };
    match compare {
        Compare::Equal => order == Some(Ordering::Equal),
        Compare::Unequal => order != Some(Ordering::Equal),
        Compare::Less => order == Some(Ordering::Less),
        Compare::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        Compare::Greater => order == Some(Ordering::Greater),
        Compare::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    }
}
