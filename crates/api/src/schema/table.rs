//! The table of built-in types, parsed once from the text files in `crates/api/schema`.
//!
//! The notation, one type after the other:
//! ```text
//! package core.v1 io.k8s.api.core.v1 v1      # short name, package, group and version of its kinds
//! Pod kind                                   # a type: `kind`, `atomic`, `union=FIELD`, `like TYPE` may follow
//!  2.1 hostPath HostPathVolumeSource !+~& keys=name patch=merge:name
//! ```
//! A field has its protobuf numbers (`-` for none; see [`Field::numbers`]), its JSON name, its type, then marks:
//! `!` required, `+` always written, `~` left out when zero, `&` kept when zero (a pointer in Go); then what apply and
//! strategic merge need. Types are `str i32 i64 f64 bool bytes quantity intstr time microtime raw fields json`,
//! `[]T` and `{}T`, or a type of this package or, with its package's short name, of another.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

use super::{Field, ListKind, PatchStrategy, Presence, Shape, TypeDef, TypeRef};

const SOURCES: &[&str] = &[
    include_str!("../../schema/meta.v1.txt"),
    include_str!("../../schema/version.txt"),
    include_str!("../../schema/core.v1.txt"),
    include_str!("../../schema/apps.v1.txt"),
    include_str!("../../schema/batch.v1.txt"),
    include_str!("../../schema/networking.v1.txt"),
    include_str!("../../schema/discovery.v1.txt"),
    include_str!("../../schema/policy.v1.txt"),
    include_str!("../../schema/rbac.v1.txt"),
    include_str!("../../schema/autoscaling.v1.txt"),
    include_str!("../../schema/autoscaling.v2.txt"),
    include_str!("../../schema/coordination.v1.txt"),
    include_str!("../../schema/coordination.v1alpha2.txt"),
    include_str!("../../schema/coordination.v1beta1.txt"),
    include_str!("../../schema/events.v1.txt"),
    include_str!("../../schema/storage.v1.txt"),
    include_str!("../../schema/storage.v1beta1.txt"),
    include_str!("../../schema/scheduling.v1.txt"),
    include_str!("../../schema/scheduling.v1alpha2.txt"),
    include_str!("../../schema/node.v1.txt"),
    include_str!("../../schema/authentication.v1.txt"),
    include_str!("../../schema/authorization.v1.txt"),
    include_str!("../../schema/certificates.v1.txt"),
    include_str!("../../schema/certificates.v1alpha1.txt"),
    include_str!("../../schema/certificates.v1beta1.txt"),
    include_str!("../../schema/admissionregistration.v1.txt"),
    include_str!("../../schema/admissionregistration.v1alpha1.txt"),
    include_str!("../../schema/admissionregistration.v1beta1.txt"),
    include_str!("../../schema/apiextensions.v1.txt"),
    include_str!("../../schema/apiregistration.v1.txt"),
    include_str!("../../schema/apiserverinternal.v1alpha1.txt"),
    include_str!("../../schema/flowcontrol.v1.txt"),
    include_str!("../../schema/networking.v1beta1.txt"),
    include_str!("../../schema/resource.v1.txt"),
    include_str!("../../schema/resource.v1alpha3.txt"),
    include_str!("../../schema/resource.v1beta1.txt"),
    include_str!("../../schema/resource.v1beta2.txt"),
    include_str!("../../schema/storagemigration.v1beta1.txt"),
    include_str!("../../schema/metrics.v1beta1.txt"),
    include_str!("../../schema/legacy.txt"),
];

/// All built-in types.
pub struct Table {
    types: Vec<TypeDef>,
    index: HashMap<(&'static str, &'static str), u32, foldhash::fast::RandomState>,
}

impl Table {
    /// The type at a place of the table.
    pub fn at(&self, index: u32) -> &TypeDef {
        &self.types[index as usize]
    }

    /// The type of that name, as `core.v1.Pod`.
    pub fn find(&self, name: &str) -> Option<TypeRef> {
        let (package, name) = name.rsplit_once('.')?;
        self.index.get(&(package, name)).map(|index| TypeRef::Builtin(*index))
    }

    /// Every type.
    pub fn types(&self) -> &[TypeDef] {
        &self.types
    }

    /// Every type with a reference to it.
    pub fn refs(&self) -> impl Iterator<Item = TypeRef> {
        (0..self.types.len() as u32).map(TypeRef::Builtin)
    }
}

/// The table; the first caller parses it.
pub fn builtin() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| parse(SOURCES))
}

/// Where a line stands.
#[derive(Clone, Copy, Default)]
struct Package {
    short: &'static str,
    path: &'static str,
    group: &'static str,
    version: &'static str,
}

impl Package {
    fn parse(line: &'static str) -> Self {
        let mut words = line.split(' ').skip(1);
        let mut next = || words.next().unwrap_or_default();
        let (short, path, group_version) = (next(), next(), next());
        let (group, version) = group_version.split_once('/').unwrap_or(("", group_version));
        Self { short, path, group, version }
    }
}

/// The lines of the sources that say something, each with its package.
fn lines(sources: &'static [&'static str]) -> impl Iterator<Item = (Package, &'static str)> {
    let mut package = Package::default();
    sources.iter().flat_map(|source| source.lines()).filter(|line| !line.starts_with('#')).filter_map(
        move |line| {
            if line.starts_with("package ") {
                package = Package::parse(line);
                None
            } else {
                (!line.is_empty()).then_some((package, line))
            }
        },
    )
}

fn parse(sources: &'static [&'static str]) -> Table {
    let mut index = HashMap::default();
    for (package, line) in lines(sources) {
        if !line.starts_with(' ') {
            let name = line.split(' ').next().unwrap_or_default();
            let place = index.len() as u32;
            index.insert((package.short, name), place);
        }
    }
    let mut types: Vec<TypeDef> = Vec::with_capacity(index.len());
    for (package, line) in lines(sources) {
        match line.strip_prefix(' ') {
            None => {
                let def = type_line(package, line, &types, &index);
                types.push(def);
            }
            Some(line) => {
                let field = field_line(package, line, &index);
                let fields = &mut types.last_mut().expect("a field line follows a type line").fields;
                match fields.binary_search_by(|other| other.name.cmp(&field.name)) {
                    Ok(place) => fields[place] = field,
                    Err(place) => fields.insert(place, field),
                }
            }
        }
    }
    types.iter_mut().for_each(|def| def.fields.shrink_to_fit());
    Table { types, index }
}

type Index = HashMap<(&'static str, &'static str), u32, foldhash::fast::RandomState>;

fn type_line(package: Package, line: &'static str, types: &[TypeDef], index: &Index) -> TypeDef {
    let mut words = line.split(' ');
    let mut def = TypeDef {
        name: Cow::Borrowed(words.next().unwrap_or_default()),
        package: Cow::Borrowed(package.path),
        kind: None,
        fields: Vec::new(),
        atomic: false,
        union: None,
        rest: None,
        document: None,
    };
    while let Some(word) = words.next() {
        match word {
            "kind" => def.kind = Some((Cow::Borrowed(package.group), Cow::Borrowed(package.version))),
            "atomic" => def.atomic = true,
            "open" => def.rest = Some(Shape::Any),
            "like" => {
                let place = place(package, words.next().unwrap_or_default(), index);
                def.fields = types[place as usize].fields.clone();
            }
            word => def.union = word.strip_prefix("union=").map(Cow::Borrowed),
        }
    }
    def
}

fn field_line(package: Package, line: &'static str, index: &Index) -> Field {
    let mut words = line.split(' ');
    let mut next = || words.next().unwrap_or_default();
    let (numbers, name, ty) = (next(), next(), next());
    let mut field = Field {
        name: Cow::Borrowed(name),
        shape: shape(package, ty, index),
        required: false,
        presence: Presence::Optional,
        default: None,
        patch: None,
        numbers: [0; 3],
    };
    for (slot, number) in field.numbers.iter_mut().zip(numbers.split('.')) {
        *slot = number.parse().unwrap_or(0);
    }
    if matches!(field.shape, Shape::String | Shape::Bytes | Shape::List { .. } | Shape::Map { .. }) {
        field.presence = Presence::OmitZero;
    }
    for word in words {
        if let Some(keys) = word.strip_prefix("keys=") {
            set_list(&mut field.shape, ListKind::Map(keys.split(',').map(Cow::Borrowed).collect()));
        } else if let Some(strategy) = word.strip_prefix("patch=") {
            let (names, key) = strategy.split_once(':').unwrap_or((strategy, ""));
            field.patch = Some(PatchStrategy {
                merge: names.split(',').any(|name| name == "merge"),
                retain_keys: names.split(',').any(|name| name == "retainKeys"),
                merge_key: (!key.is_empty()).then_some(Cow::Borrowed(key)),
            });
        } else if word == "set" {
            set_list(&mut field.shape, ListKind::Set);
        } else if word == "atomic" {
            if let Shape::Map { atomic, .. } = &mut field.shape {
                *atomic = true;
            }
        } else {
            field.required = word.contains('!');
            if word.contains('&') {
                field.presence = Presence::Optional;
            } else if word.contains('!') || word.contains('+') {
                field.presence = Presence::Always;
            } else if word.contains('~') {
                field.presence = Presence::OmitZero;
            }
        }
    }
    field
}

fn set_list(shape: &mut Shape, list: ListKind) {
    if let Shape::List { kind, .. } = shape {
        *kind = list;
    }
}

fn shape(package: Package, ty: &'static str, index: &Index) -> Shape {
    if let Some(item) = ty.strip_prefix("[]") {
        return Shape::List { item: Box::new(shape(package, item, index)), kind: ListKind::Atomic };
    }
    if let Some(value) = ty.strip_prefix("{}") {
        return Shape::Map { value: Box::new(shape(package, value, index)), atomic: false };
    }
    match ty {
        "str" => Shape::String,
        "i32" => Shape::Int32,
        "i64" => Shape::Int64,
        "f64" => Shape::Double,
        "bool" => Shape::Bool,
        "bytes" => Shape::Bytes,
        "quantity" => Shape::Quantity,
        "intstr" => Shape::IntOrString,
        "time" => Shape::Time,
        "microtime" => Shape::MicroTime,
        "raw" => Shape::RawExtension,
        "fields" => Shape::FieldsV1,
        "json" => Shape::Any,
        "schema-or-array" => Shape::SchemaOrArray,
        "schema-or-bool" => Shape::SchemaOrBool,
        "schema-or-strings" => Shape::SchemaOrStrings,
        name => Shape::Object(TypeRef::Builtin(place(package, name, index))),
    }
}

fn place(package: Package, name: &'static str, index: &Index) -> u32 {
    let key = name.rsplit_once('.').unwrap_or((package.short, name));
    *index.get(&key).expect("the schema files name only types that they hold")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> TypeRef {
        builtin().find(name).unwrap_or_else(|| panic!("no type {name}"))
    }

    #[test]
    fn the_table_holds_the_types_of_the_api() {
        assert!(builtin().types().len() >= 760, "{}", builtin().types().len());
        for def in builtin().types() {
            assert!(def.fields.is_sorted_by(|left, right| left.name < right.name), "{}", def.name);
        }
    }

    #[test]
    fn a_field_tells_what_it_is() {
        let spec = named("core.v1.PodSpec");
        let containers = spec.field("containers").expect("containers");
        assert_eq!(containers.numbers(), [2]);
        assert!(containers.required);
        assert_eq!(containers.patch.as_ref().and_then(|patch| patch.merge_key.as_deref()), Some("name"));
        let Shape::List { item, kind } = &containers.shape else { panic!("a list") };
        assert_eq!(item.object().map(|def| def.go_name()).as_deref(), Some("v1.Container"));
        assert_eq!(*kind, ListKind::Map(vec![Cow::Borrowed("name")]));
        assert_eq!(spec.field("hostNetwork").map(|field| field.presence), Some(Presence::OmitZero));
        assert_eq!(spec.field("nodeName2"), None);
    }

    #[test]
    fn an_inlined_field_tells_the_numbers_on_its_way() {
        let rule = named("admissionregistration.v1.NamedRuleWithOperations");
        assert_eq!(rule.field("apiGroups").map(Field::numbers), Some(&[2, 2, 1][..]));
        assert_eq!(rule.field("resourceNames").map(Field::numbers), Some(&[1][..]));
        let deployment = named("apps.v1.Deployment");
        assert_eq!(deployment.field("kind").map(Field::numbers), Some(&[][..]));
    }

    #[test]
    fn an_old_version_is_like_the_new_one_but_for_what_is_told() {
        let spec = named("extensions.v1beta1.DeploymentSpec");
        assert!(spec.field("rollbackTo").is_some() && spec.field("template").is_some());
        assert!(!spec.field("selector").is_some_and(|field| field.required));
    }
}
