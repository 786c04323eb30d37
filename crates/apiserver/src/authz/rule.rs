//! One rule of a role: what it allows, and whether other rules allow as much.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::pipeline::Attributes;

/// Stands for everything of its kind.
const ALL: &str = "*";

/// A rule of a role, as `rbac.authorization.k8s.io/v1` has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// As `get`.
    pub verbs: Vec<String>,
    /// Empty text for the core group.
    pub groups: Vec<String>,
    /// As `pods`, `pods/log`, `*/scale`.
    pub resources: Vec<String>,
    /// None is all.
    pub names: Vec<String>,
    /// Paths that are no resources; a `*` at the end is everything that begins so.
    pub paths: Vec<String>,
}

impl Rule {
    /// Reads a rule of a stored role.
    pub fn read(rule: &Value) -> Self {
        let list = |name: &str| -> Vec<String> {
            let items = rule[name].as_array().into_iter().flatten();
            items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
        };
        Self {
            verbs: list("verbs"),
            groups: list("apiGroups"),
            resources: list("resources"),
            names: list("resourceNames"),
            paths: list("nonResourceURLs"),
        }
    }

    /// The rules of a stored role.
    pub fn read_all(role: &Value) -> Vec<Self> {
        role["rules"].as_array().into_iter().flatten().map(Self::read).collect()
    }

    /// As the review of one's own rules shows it.
    pub fn to_json(&self) -> Value {
        let mut json = Map::new();
        json.insert("verbs".to_owned(), json!(self.verbs));
        for (name, list) in [
            ("apiGroups", &self.groups),
            ("resources", &self.resources),
            ("resourceNames", &self.names),
            ("nonResourceURLs", &self.paths),
        ] {
            if !list.is_empty() {
                json.insert(name.to_owned(), json!(list));
            }
        }
        json.into()
    }

    /// Whether the rule allows what is asked for.
    pub fn allows(&self, asked: &Attributes<'_>) -> bool {
        if !holds(&self.verbs, asked.verb) {
            return false;
        }
        if !asked.path.is_empty() {
            return self.paths.iter().any(|path| path_covers(path, asked.path));
        }
        holds(&self.groups, asked.group)
            && self.resources.iter().any(|own| resource_matches(own, asked.resource, asked.subresource))
            && (self.names.is_empty() || self.names.iter().any(|name| name == asked.name))
    }

    /// The smallest rules that together say the same: one verb of one group, resource and name each.
    fn pieces(&self) -> Vec<Self> {
        let one = |text: &String| vec![text.clone()];
        let mut pieces = Vec::new();
        for verb in &self.verbs {
            for path in &self.paths {
                pieces.push(Self { verbs: one(verb), paths: one(path), ..Self::default() });
            }
            for group in &self.groups {
                for resource in &self.resources {
                    let piece = Self {
                        verbs: one(verb),
                        groups: one(group),
                        resources: one(resource),
                        ..Self::default()
                    };
                    if self.names.is_empty() {
                        pieces.push(piece);
                    } else {
                        let named = |name| Self { names: one(name), ..piece.clone() };
                        pieces.extend(self.names.iter().map(named));
                    }
                }
            }
        }
        pieces
    }

    /// Whether this rule alone allows all that a piece allows.
    fn covers(&self, piece: &Self) -> bool {
        let all = |own: &[String], theirs: &[String]| theirs.iter().all(|item| holds(own, item));
        if !all(&self.verbs, &piece.verbs) {
            return false;
        }
        if !piece.paths.is_empty() {
            return piece.paths.iter().all(|path| self.paths.iter().any(|own| path_covers(own, path)));
        }
        let resource_covers = |resource: &String| {
            let (name, part) = resource.split_once('/').unwrap_or((resource, ""));
            self.resources.iter().any(|own| own == resource || resource_matches(own, name, part))
        };
        all(&self.groups, &piece.groups)
            && piece.resources.iter().all(resource_covers)
            && (self.names.is_empty()
                || !piece.names.is_empty() && piece.names.iter().all(|name| self.names.contains(name)))
    }
}

/// As error messages show a rule.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("APIGroups", &self.groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.paths),
            ("ResourceNames", &self.names),
            ("Verbs", &self.verbs),
        ];
        f.write_str("{")?;
        for (at, (name, list)) in parts.into_iter().filter(|(_, list)| !list.is_empty()).enumerate() {
            write!(f, "{}{name}:{}", if at == 0 { "" } else { ", " }, quoted(list))?;
        }
        f.write_str("}")
    }
}

/// A list as `["a" "b"]`.
pub(super) fn quoted(list: &[String]) -> String {
    let items: Vec<String> = list.iter().map(|item| format!("{item:?}")).collect();
    format!("[{}]", items.join(" "))
}

/// What of `wanted` the rules that somebody has do not cover, told in as few rules as possible.
pub(super) fn missing<'a>(
    has: impl Iterator<Item = &'a Rule> + Clone,
    wanted: impl Iterator<Item = &'a Rule>,
) -> Vec<Rule> {
    let mut missing: Vec<Rule> = Vec::new();
    for piece in wanted.flat_map(Rule::pieces) {
        if has.clone().any(|own| own.covers(&piece)) {
            continue;
        }
        let same = |other: &&mut Rule| {
            (&other.groups, &other.resources, &other.names, &other.paths)
                == (&piece.groups, &piece.resources, &piece.names, &piece.paths)
        };
        match missing.iter_mut().find(same) {
            Some(known) if known.verbs.contains(&piece.verbs[0]) => {}
            // Rules about paths are told one by one.
            Some(known) if known.paths.is_empty() => known.verbs.extend(piece.verbs),
            _ => missing.push(piece),
        }
    }
    missing
}

fn holds(list: &[String], item: &str) -> bool {
    list.iter().any(|own| own == ALL || own == item)
}

fn resource_matches(own: &str, resource: &str, part: &str) -> bool {
    if own == ALL {
        return true;
    }
    match own.split_once('/') {
        None => part.is_empty() && own == resource,
        Some((name, own_part)) => !part.is_empty() && own_part == part && (name == ALL || name == resource),
    }
}

fn path_covers(own: &str, path: &str) -> bool {
    own == path || own.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
}
