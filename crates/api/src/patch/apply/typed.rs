//! What the schema makes of a document: which paths it has, how two documents differ, how they merge.
//!
//! A value is a leaf (a scalar, or a list or map that is applied as one), an object whose fields are looked at one by
//! one, a set of scalars, or a list of elements with keys.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::fields::{Node, PathElement, Scalar, Set};
use crate::schema::{ListKind, Name, Shape, TypeDef};

/// How a value is looked at.
#[derive(Clone, Copy)]
pub(super) enum Kind<'a> {
    Leaf,
    Object(Scope<'a>),
    Set,
    List { item: &'a Shape, keys: &'a [Name] },
}

/// What is known of the fields of an object.
#[derive(Clone, Copy)]
pub(super) enum Scope<'a> {
    Type(&'a TypeDef),
    Map(&'a Shape),
    /// No schema: objects are looked into, lists are leaves.
    Free,
}

impl<'a> Kind<'a> {
    pub(super) fn root(def: &'a TypeDef) -> Self {
        Self::Object(Scope::Type(def))
    }

    fn of(shape: &'a Shape) -> Self {
        match shape {
            Shape::Object(def) if !def.atomic => Self::Object(Scope::Type(def)),
            Shape::Map { value, atomic: false } => Self::Object(Scope::Map(value)),
            Shape::List { kind: ListKind::Set, .. } => Self::Set,
            Shape::List { item, kind: ListKind::Map(keys) } => Self::List { item, keys },
            _ => Self::Leaf,
        }
    }

    /// The same for this value: what has another form than the schema says is a leaf.
    fn for_value(self, value: &Value) -> Self {
        match (self, value) {
            (Self::Object(_), Value::Object(_)) | (Self::Set | Self::List { .. }, Value::Array(_)) => self,
            _ => Self::Leaf,
        }
    }
}

impl<'a> Scope<'a> {
    /// How the value of a field is looked at, and whether the field is one that the type names.
    fn field(self, name: &str, value: &Value) -> (Kind<'a>, bool) {
        let deduced = if value.is_object() { Kind::Object(Scope::Free) } else { Kind::Leaf };
        match self {
            Self::Type(def) => match def.field(name) {
                Some(field) => (Kind::of(&field.shape), true),
                None => match &def.rest {
                    Some(Shape::Any) | None => (deduced, false),
                    Some(shape) => (Kind::of(shape), false),
                },
            },
            Self::Map(Shape::Any) | Self::Free => (deduced, false),
            Self::Map(shape) => (Kind::of(shape), false),
        }
    }

    fn declares(self, name: &str) -> bool {
        match self {
            Self::Type(def) => def.field(name).is_some() || def.rest.is_some(),
            Self::Map(_) | Self::Free => true,
        }
    }
}

/// The path element of a list's element: its key fields, with the defaults of those that are absent.
fn element_of(kind: Kind<'_>, item: &Value) -> Result<PathElement, String> {
    let Kind::List { item: shape, keys } = kind else {
        return Ok(PathElement::Value(Scalar(item.clone())));
    };
    let mut fields = Vec::with_capacity(keys.len());
    for key in keys {
        let value = item.get(&**key).cloned().or_else(|| key_default(shape, key));
        let value = value.ok_or_else(|| {
            format!(
                "associative list with keys has an element that omits key field {key:?} (and doesn't have default \
                 value)"
            )
        })?;
        fields.push((key.to_string(), Scalar(value)));
    }
    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(PathElement::Key(fields))
}

/// Keys that may be absent are protocols; the built-in kinds keep their defaults in code, not in the schema.
fn key_default(shape: &Shape, key: &str) -> Option<Value> {
    let field = shape.object()?.field(key)?;
    field.default.as_deref().cloned().or_else(|| (key == "protocol").then(|| Value::from("TCP")))
}

/// The same for an object that is stored: whatever it is, it must go on.
fn lenient_element_of(kind: Kind<'_>, item: &Value) -> PathElement {
    element_of(kind, item).unwrap_or_else(|_| PathElement::Value(Scalar(item.clone())))
}

/// The paths of an applied document, or what is wrong with it.
pub(super) fn field_set(kind: Kind<'_>, value: &Value) -> Result<Set, Vec<String>> {
    let mut errors = Vec::new();
    let node = field_node(kind, value, "", &mut errors);
    if errors.is_empty() { Ok(node.children) } else { Err(errors) }
}

fn field_node(kind: Kind<'_>, value: &Value, path: &str, errors: &mut Vec<String>) -> Node {
    let expected = match (kind, value) {
        (Kind::Leaf, _) | (_, Value::Null) => return Node::leaf(),
        (Kind::Object(scope), Value::Object(fields)) => return object_node(scope, fields, path, errors),
        (Kind::Set | Kind::List { .. }, Value::Array(items)) => return list_node(kind, items, path, errors),
        (Kind::Object(_), _) => "map",
        (Kind::Set | Kind::List { .. }, _) => "list",
    };
    errors.push(format!("{path}: expected {expected}, got {value}"));
    Node::default()
}

fn object_node(scope: Scope<'_>, fields: &Map<String, Value>, path: &str, errors: &mut Vec<String>) -> Node {
    let mut node = Node::default();
    for (name, value) in fields {
        let element = PathElement::Field(name.clone());
        let below = format!("{path}{element}");
        if !scope.declares(name) {
            errors.push(format!("{below}: field not declared in schema"));
            continue;
        }
        let (kind, is_named) = scope.field(name, value);
        let mut child = field_node(kind, value, &below, errors);
        // A key of a map is a thing of its own; a field of a struct is what is in it.
        child.member |= !is_named || value.as_object().is_some_and(Map::is_empty);
        node.children.insert(element, child);
    }
    node
}

fn list_node(kind: Kind<'_>, items: &[Value], path: &str, errors: &mut Vec<String>) -> Node {
    let mut node = Node::default();
    for (i, item) in items.iter().enumerate() {
        let element = match element_of(kind, item) {
            Ok(element) => element,
            Err(error) => {
                errors.push(format!("{path}: element {i}: {error}"));
                continue;
            }
        };
        let below = format!("{path}{element}");
        let mut child = match kind {
            Kind::List { item: shape, .. } => field_node(Kind::of(shape), item, &below, errors),
            _ => Node::leaf(),
        };
        child.member = true;
        if node.children.get(&element).is_some() {
            errors.push(format!("{path}: duplicate entries for key {element}"));
        }
        node.children.insert(element, child);
    }
    node
}

/// How a document differs from another.
#[derive(Debug, Clone, Default)]
pub(super) struct Comparison {
    pub(super) added: Set,
    pub(super) modified: Set,
    pub(super) removed: Set,
}

impl Comparison {
    pub(super) fn is_same(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// Forgets the paths of `ignored` and all below them.
    pub(super) fn without(mut self, ignored: &Set) -> Self {
        for set in [&mut self.added, &mut self.modified, &mut self.removed] {
            set.subtract_trees(ignored);
        }
        self
    }

    /// What was added or modified.
    pub(super) fn changed(&self) -> Set {
        let mut changed = self.added.clone();
        changed.union(&self.modified);
        changed
    }
}

/// How `new` differs from `old`, two objects of the type.
pub(super) fn compare(def: &TypeDef, old: &Value, new: &Value) -> Comparison {
    let difference = difference(Kind::root(def), Some(old), Some(new));
    Comparison {
        added: difference.added.children,
        modified: difference.modified.children,
        removed: difference.removed.children,
    }
}

#[derive(Default)]
struct Difference {
    added: Node,
    modified: Node,
    removed: Node,
}

impl Difference {
    fn leaf(old: Option<&Value>, new: Option<&Value>) -> Self {
        let mut difference = Self::default();
        match (old, new) {
            (None, Some(_)) => difference.added.member = true,
            (Some(_), None) => difference.removed.member = true,
            (old, new) => difference.modified.member = old != new,
        }
        difference
    }

    fn insert(&mut self, element: &PathElement, below: Self) {
        for (set, node) in [
            (&mut self.added, below.added),
            (&mut self.modified, below.modified),
            (&mut self.removed, below.removed),
        ] {
            if !node.is_empty() {
                set.children.insert(element.clone(), node);
            }
        }
    }
}

fn difference(kind: Kind<'_>, old: Option<&Value>, new: Option<&Value>) -> Difference {
    let is_empty = |value: Option<&Value>| match value {
        Some(Value::Object(fields)) => fields.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Null) | None => true,
        Some(_) => false,
    };
    let fits = |value: Option<&Value>| {
        value.is_none_or(|value| value.is_null() || !matches!(kind.for_value(value), Kind::Leaf))
    };
    // What is empty on both sides is a leaf, so that empty and absent stay two things.
    let mut difference = match kind {
        Kind::Object(scope) if fits(old) && fits(new) && !(is_empty(old) && is_empty(new)) => {
            object_difference(scope, old, new)
        }
        Kind::Set | Kind::List { .. } if fits(old) && fits(new) && !(is_empty(old) && is_empty(new)) => {
            list_difference(kind, old, new)
        }
        _ => return Difference::leaf(old, new),
    };
    difference.added.member |= old.is_none();
    difference.removed.member |= new.is_none();
    difference
}

fn object_difference(scope: Scope<'_>, old: Option<&Value>, new: Option<&Value>) -> Difference {
    let (old, new) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
    let mut difference = Difference::default();
    let mut visit = |name: &String, old: Option<&Value>, new: Option<&Value>| {
        let Some(value) = new.or(old) else { return };
        let (kind, _) = scope.field(name, value);
        difference.insert(&PathElement::Field(name.clone()), self::difference(kind, old, new));
    };
    for (name, value) in old.into_iter().flatten() {
        visit(name, Some(value), new.and_then(|new| new.get(name)));
    }
    for (name, value) in new.into_iter().flatten() {
        if old.is_none_or(|old| !old.contains_key(name)) {
            visit(name, None, Some(value));
        }
    }
    difference
}

fn list_difference(kind: Kind<'_>, old: Option<&Value>, new: Option<&Value>) -> Difference {
    let mut elements: BTreeMap<PathElement, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
    for item in old.and_then(Value::as_array).into_iter().flatten() {
        elements.entry(lenient_element_of(kind, item)).or_default().0.push(item);
    }
    for item in new.and_then(Value::as_array).into_iter().flatten() {
        elements.entry(lenient_element_of(kind, item)).or_default().1.push(item);
    }
    let item_kind = match kind {
        Kind::List { item, .. } => Kind::of(item),
        _ => Kind::Leaf,
    };
    let mut difference = Difference::default();
    for (element, (old, new)) in elements {
        let below = if old.len() <= 1 && new.len() <= 1 {
            self::difference(item_kind, old.first().copied(), new.first().copied())
        } else {
            // Elements of one key cannot be told apart, so they change together.
            let mut together = Difference::leaf(old.first().copied(), new.first().copied());
            together.modified.member = !old.is_empty() && !new.is_empty() && old != new;
            together
        };
        difference.insert(&element, below);
    }
    difference
}

/// Merges an applied document into a live one: what is applied wins, what is not stays.
pub(super) fn merge(kind: Kind<'_>, live: &mut Value, applied: &Value) {
    match (kind, live, applied) {
        (Kind::Object(scope), Value::Object(live), Value::Object(applied)) => {
            for (name, value) in applied {
                match live.get_mut(name) {
                    Some(live) => merge(scope.field(name, value).0, live, value),
                    None => {
                        live.insert(name.clone(), value.clone());
                    }
                }
            }
        }
        (Kind::Set | Kind::List { .. }, Value::Array(live), Value::Array(applied)) => {
            *live = merge_lists(kind, std::mem::take(live), applied);
        }
        (_, live, applied) => *live = applied.clone(),
    }
}

/// The paths of the lists, maps and objects in a document that are applied as one value.
pub(super) fn atomic_values(def: &TypeDef, value: &Value, path: &str, found: &mut Vec<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        if let Some(field) = def.field(name) {
            atomic_value(&field.shape, value, &format!("{path}.{name}"), found);
        }
    }
}

fn atomic_value(shape: &Shape, value: &Value, path: &str, found: &mut Vec<String>) {
    match (shape, value) {
        (Shape::Object(def), Value::Object(_)) => {
            if def.atomic {
                found.push(path.to_owned());
            }
            atomic_values(def, value, path, found);
        }
        (Shape::Map { atomic: true, .. }, Value::Object(_)) => found.push(path.to_owned()),
        (Shape::List { item, kind }, Value::Array(items)) => {
            if *kind == ListKind::Atomic {
                found.push(path.to_owned());
            }
            for (index, value) in items.iter().enumerate() {
                atomic_value(item, value, &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

/// Keeps the live order, except that elements of both stand in the applied order; new ones stand where the applied
/// list has them between its neighbours.
fn merge_lists(kind: Kind<'_>, live: Vec<Value>, applied: &[Value]) -> Vec<Value> {
    let item_kind = match kind {
        Kind::List { item, .. } => Kind::of(item),
        _ => Kind::Leaf,
    };
    let places = |elements: &[PathElement]| -> BTreeMap<PathElement, usize> {
        elements.iter().enumerate().rev().map(|(i, element)| (element.clone(), i)).collect()
    };
    let live_elements: Vec<_> = live.iter().map(|item| lenient_element_of(kind, item)).collect();
    let applied_elements: Vec<_> = applied.iter().map(|item| lenient_element_of(kind, item)).collect();
    let (live_places, applied_places) = (places(&live_elements), places(&applied_elements));
    let mut live: Vec<Option<Value>> = live.into_iter().map(Some).collect();
    let mut merged = Vec::with_capacity(live.len().max(applied.len()));

    let mut shared = applied_elements.iter().filter(|element| live_places.contains_key(*element)).peekable();
    let (mut l, mut a) = (0, 0);
    while l < live_elements.len() || a < applied_elements.len() {
        if let Some(element) = live_elements.get(l) {
            let is_applied = applied_places.contains_key(element);
            if !is_applied {
                merged.extend(live[l].take());
                l += 1;
                continue;
            }
            // Of the elements of both, the next in the applied order is due; the others come when it is their turn.
            if shared.peek() != Some(&element) {
                l += 1;
                continue;
            }
        }
        let Some(element) = applied_elements.get(a) else { break };
        if let Some(place) = live_places.get(element) {
            shared.next();
            if live_elements.get(l) == Some(element) {
                l += 1;
            }
            if let Some(mut item) = live[*place].take() {
                merge(item_kind, &mut item, &applied[a]);
                merged.push(item);
            }
        } else {
            merged.push(applied[a].clone());
        }
        a += 1;
    }
    merged
}

/// Adds the paths of struct fields that only have something below them: what is in them makes them members.
pub(super) fn with_named_fields(kind: Kind<'_>, set: &Set) -> Set {
    let mut complete = Set::default();
    for (element, node) in set.iter() {
        let (below, is_named) = match (kind, element) {
            (Kind::Object(scope), PathElement::Field(name)) => {
                // An object, as far as a set can tell: it has fields below.
                scope.field(name, &Value::Object(Map::new()))
            }
            (Kind::List { item, .. }, _) => (Kind::of(item), false),
            _ => (Kind::Leaf, false),
        };
        let children = with_named_fields(below, &node.children);
        let member = node.member || is_named && !children.is_empty();
        complete.insert(element.clone(), Node { member, children });
    }
    complete
}

/// The paths of `set` that `value` has.
pub(super) fn present(kind: Kind<'_>, value: &Value, set: &Set) -> Set {
    let mut found = Set::default();
    let mut visit = |element: PathElement, kind: Kind<'_>, value: &Value| {
        if let Some(node) = set.get(&element) {
            let children = present(kind, value, &node.children);
            found.insert(element, Node { member: node.member, children });
        }
    };
    match (kind, value) {
        (Kind::Object(scope), Value::Object(fields)) => {
            for (name, value) in fields {
                visit(PathElement::Field(name.clone()), scope.field(name, value).0, value);
            }
        }
        (Kind::Set | Kind::List { .. }, Value::Array(items)) => {
            let item_kind = if let Kind::List { item, .. } = kind { Kind::of(item) } else { Kind::Leaf };
            for item in items {
                visit(lenient_element_of(kind, item), item_kind, item);
            }
        }
        _ => {}
    }
    found
}

/// Takes the paths of `set` out of `value`, and with each all below it. Whether anything is left.
pub(super) fn remove(kind: Kind<'_>, value: &mut Value, set: &Set) -> bool {
    match (kind, value) {
        (Kind::Object(scope), Value::Object(fields)) => {
            fields.retain(|name, value| match set.get(&PathElement::Field(name.clone())) {
                Some(node) if node.member => false,
                Some(node) if !node.children.is_empty() => {
                    let kind = scope.field(name, value).0;
                    remove(kind, value, &node.children)
                }
                _ => true,
            });
            !fields.is_empty()
        }
        (Kind::Set | Kind::List { .. }, Value::Array(items)) => {
            let item_kind = if let Kind::List { item, .. } = kind { Kind::of(item) } else { Kind::Leaf };
            items.retain_mut(|item| match set.get(&lenient_element_of(kind, item)) {
                Some(node) if node.member => false,
                Some(node) if !node.children.is_empty() => {
                    remove(item_kind, item, &node.children);
                    true
                }
                _ => true,
            });
            !items.is_empty()
        }
        _ => true,
    }
}
