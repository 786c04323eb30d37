//! Sets of fields, as managedFields keep them (`metav1.FieldsV1`).
//!
//! A set is a tree of path elements; a node that is a member stands for its own path. As JSON a node is an object of
//! its children, with `"."` where it has children and is a member itself:
//! `{"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}}}}`.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::patch::order::compare;

/// A scalar as part of a path. Ordered, so that a set has one form.
#[derive(Debug, Clone)]
pub struct Scalar(pub Value);

impl Ord for Scalar {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

impl PartialOrd for Scalar {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scalar {}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathElement {
    /// A field of a struct or a key of a map.
    Field(String),
    /// An element of a list, by its key fields; sorted by name.
    Key(Vec<(String, Scalar)>),
    /// An element of a set.
    Value(Scalar),
    /// An element by its place; no list of ours has them, but clients may send them.
    Index(i64),
}

impl PathElement {
    /// As in FieldsV1.
    fn to_text(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(fields) => {
                let fields: Map<String, Value> =
                    fields.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect();
                format!("k:{}", Value::Object(fields))
            }
            Self::Value(value) => format!("v:{}", value.0),
            Self::Index(index) => format!("i:{index}"),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        Some(match kind {
            "f" => Self::Field(rest.to_owned()),
            "k" => {
                let fields: BTreeMap<String, Value> = serde_json::from_str(rest).ok()?;
                Self::Key(fields.into_iter().map(|(name, value)| (name, Scalar(value))).collect())
            }
            "v" => Self::Value(Scalar(serde_json::from_str(rest).ok()?)),
            "i" => Self::Index(rest.parse().ok()?),
            _ => return None,
        })
    }
}

impl fmt::Display for PathElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(fields) => {
                f.write_str("[")?;
                for (i, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}{name}={}", if i > 0 { "," } else { "" }, value.0)?;
                }
                f.write_str("]")
            }
            Self::Value(value) => write!(f, "[={}]", value.0),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// A path and what is known below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Whether the path itself is in the set.
    pub member: bool,
    /// The paths below.
    pub children: Set,
}

impl Node {
    /// A path by itself.
    pub fn leaf() -> Self {
        Self { member: true, children: Set::default() }
    }

    /// Whether nothing is in the set here or below.
    pub fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }
}

/// A set of paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Set(BTreeMap<PathElement, Node>);

impl Set {
    /// The set of these paths, each of field names.
    pub fn of_fields(paths: &[&[&str]]) -> Self {
        let mut root = Node::default();
        for path in paths {
            let mut node = &mut root;
            for name in *path {
                node = node.children.0.entry(PathElement::Field((*name).to_owned())).or_default();
            }
            node.member = true;
        }
        root.children
    }

    /// Whether no path is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is known at `element`.
    pub fn get(&self, element: &PathElement) -> Option<&Node> {
        self.0.get(element)
    }

    /// The elements with what is below them.
    pub fn iter(&self) -> impl Iterator<Item = (&PathElement, &Node)> {
        self.0.iter()
    }

    /// Adds what is below `element`, unless it is nothing.
    pub fn insert(&mut self, element: PathElement, node: Node) {
        if !node.is_empty() {
            self.0.insert(element, node);
        }
    }

    /// Adds every path of `other`.
    pub fn union(&mut self, other: &Self) {
        for (element, node) in &other.0 {
            match self.0.get_mut(element) {
                Some(own) => {
                    own.member |= node.member;
                    own.children.union(&node.children);
                }
                None => {
                    self.0.insert(element.clone(), node.clone());
                }
            }
        }
    }

    /// Takes the paths of `other` away; paths below them stay.
    pub fn subtract(&mut self, other: &Self) {
        self.0.retain(|element, node| {
            if let Some(other) = other.get(element) {
                node.member &= !other.member;
                node.children.subtract(&other.children);
            }
            !node.is_empty()
        });
    }

    /// Takes the paths of `other` and all below them away.
    pub fn subtract_trees(&mut self, other: &Self) {
        self.0.retain(|element, node| match other.get(element) {
            Some(other) if other.member => false,
            Some(other) => {
                node.children.subtract_trees(&other.children);
                !node.is_empty()
            }
            None => true,
        });
    }

    /// The paths that are in both.
    pub fn intersection(&self, other: &Self) -> Self {
        let mut common = Self::default();
        for (element, node) in &self.0 {
            if let Some(other) = other.get(element) {
                let children = node.children.intersection(&other.children);
                common.insert(element.clone(), Node { member: node.member && other.member, children });
            }
        }
        common
    }

    /// Every path as text, as `.spec.containers[name="c"].image`: the shorter first, then those below each.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect_paths("", &mut paths);
        paths
    }

    fn collect_paths(&self, prefix: &str, paths: &mut Vec<String>) {
        let members = self.0.iter().filter(|(_, node)| node.member);
        paths.extend(members.map(|(element, _)| format!("{prefix}{element}")));
        for (element, node) in self.0.iter().filter(|(_, node)| !node.children.is_empty()) {
            node.children.collect_paths(&format!("{prefix}{element}"), paths);
        }
    }

    /// As FieldsV1.
    pub fn to_json(&self) -> Value {
        let mut fields = Map::new();
        for (element, node) in &self.0 {
            let mut below = Map::new();
            if node.member && !node.children.is_empty() {
                below.insert(".".to_owned(), Value::Object(Map::new()));
            }
            if let Value::Object(children) = node.children.to_json() {
                below.extend(children);
            }
            fields.insert(element.to_text(), Value::Object(below));
        }
        Value::Object(fields)
    }

    /// Reads FieldsV1; `None` where it is something else.
    pub fn from_json(fields: &Value) -> Option<Self> {
        let mut set = Self::default();
        for (text, below) in fields.as_object()? {
            if text == "." {
                continue;
            }
            let children = Self::from_json(below)?;
            let member = children.is_empty() || below.get(".").is_some();
            set.insert(PathElement::parse(text)?, Node { member, children });
        }
        Some(set)
    }
}
