//! The schema of every type of the API: one representation for built-in kinds and for custom resources.
//!
//! A [`TypeDef`] has [`Field`]s, a field has a [`Shape`], and a shape leads to the next type. Decoding, pruning,
//! defaulting, strategic merge, apply, the protobuf transcoder and OpenAPI all walk this. The built-in types live in
//! a table that [`table`] parses once; custom resources bring types of their own, shared by `Arc`.

pub mod table;

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use serde_json::Value;

/// A word of a schema: borrowed from the built-in table, owned by a custom resource.
pub type Name = Cow<'static, str>;

/// An object type: its fields, ordered by their JSON names.
#[derive(Debug, Clone, PartialEq)]
pub struct TypeDef {
    /// As `Pod`.
    pub name: Name,
    /// As `io.k8s.api.core.v1`: the package within which the name is unique.
    pub package: Name,
    /// The group and version where the type is a kind of the API (it then has `apiVersion` and `kind`).
    pub kind: Option<(Name, Name)>,
    /// Ordered by name.
    pub fields: Vec<Field>,
    /// Whether server-side apply takes the whole object as one value.
    pub atomic: bool,
    /// The discriminating field of a union.
    pub union: Option<Name>,
    /// The shape of fields that are not listed; they are pruned where it is `None`.
    pub rest: Option<Shape>,
    /// The schema as the author of a custom resource wrote it.
    pub document: Option<Box<Value>>,
}

impl TypeDef {
    /// The field of that JSON name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        let index = self.fields.binary_search_by(|field| (*field.name).cmp(name)).ok()?;
        Some(&self.fields[index])
    }

    /// The shape of what stands under `name`, listed or not.
    pub fn shape_of(&self, name: &str) -> Option<&Shape> {
        self.field(name).map(|field| &field.shape).or(self.rest.as_ref())
    }

    /// As `io.k8s.api.core.v1.Pod`, the name that OpenAPI documents use.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.package, self.name)
    }

    /// As `v1.Pod`, the name that type errors use.
    pub fn go_name(&self) -> String {
        let package = self.package.rsplit('.').next().unwrap_or_default();
        format!("{package}.{}", self.name)
    }
}

/// One field of an object type.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// The JSON name.
    pub name: Name,
    /// What stands there.
    pub shape: Shape,
    /// Whether OpenAPI says that it is required.
    pub required: bool,
    /// What is written when it has no value, and whether an explicit zero is kept.
    pub presence: Presence,
    /// The value that an absent field takes (custom resources; built-in kinds default in code).
    pub default: Option<Box<Value>>,
    /// How strategic merge patch treats it.
    pub patch: Option<PatchStrategy>,
    numbers: [u16; 3],
}

impl Field {
    /// A field of a custom resource.
    pub(crate) fn plain(name: &str, shape: Shape) -> Self {
        Self {
            name: Cow::Owned(name.to_owned()),
            shape,
            required: false,
            presence: Presence::Optional,
            default: None,
            patch: None,
            numbers: [0; 3],
        }
    }

    /// The protobuf field numbers on the way to the field, empty where protobuf has none.
    ///
    /// JSON writes some structs inline that are messages of their own in protobuf: `volumes[].hostPath` is field 1 of
    /// the message at field 2 of `Volume`, hence `[2, 1]`. Such a message is always written, even when it is empty.
    pub fn numbers(&self) -> &[u16] {
        let length = self.numbers.iter().position(|number| *number == 0).unwrap_or(self.numbers.len());
        &self.numbers[..length]
    }
}

/// What Go's encoder does with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Absent unless given; an explicit zero or empty object is kept (a pointer in Go).
    Optional,
    /// Absent when it is zero or empty (`omitempty` on a plain value).
    OmitZero,
    /// Always written: an absent value reads as the zero of its shape.
    Always,
}

/// How strategic merge patch treats a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchStrategy {
    /// Lists merge by element instead of being replaced.
    pub merge: bool,
    /// The patch may say which keys of the object to keep (`$retainKeys`).
    pub retain_keys: bool,
    /// What elements are told apart by; `None` for lists of scalars.
    pub merge_key: Option<Name>,
}

/// What a value looks like.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// An object with the fields of a type.
    Object(TypeRef),
    /// Free keys with values of one shape.
    Map {
        /// The shape of the values. A list here is a message `{1: items}` of its own in protobuf.
        value: Box<Shape>,
        /// Whether server-side apply takes the whole map as one value.
        atomic: bool,
    },
    /// A list.
    List {
        /// The shape of the elements.
        item: Box<Shape>,
        /// How server-side apply merges it.
        kind: ListKind,
    },
    /// Text.
    String,
    /// A number without fraction, 32 bits.
    Int32,
    /// A number without fraction, 64 bits.
    Int64,
    /// A number.
    Double,
    /// True or false.
    Bool,
    /// Bytes: base64 in JSON.
    Bytes,
    /// `resource.Quantity`: text or number in JSON, `{1: string}` in protobuf.
    Quantity,
    /// `intstr.IntOrString`: a number or text in JSON, `{1: type, 2: int32, 3: string}` in protobuf.
    IntOrString,
    /// `metav1.Time`: RFC 3339 in JSON, `{1: seconds, 2: nanos}` in protobuf.
    Time,
    /// `metav1.MicroTime`: RFC 3339 with microseconds in JSON, `{1: seconds, 2: nanos}` in protobuf.
    MicroTime,
    /// `runtime.RawExtension`: any object, `{1: the JSON bytes}` in protobuf.
    RawExtension,
    /// `metav1.FieldsV1`: a set of fields, `{1: the JSON bytes}` in protobuf.
    FieldsV1,
    /// Any JSON value; `apiextensions.JSON` is `{1: the JSON bytes}` in protobuf.
    Any,
    /// A schema or a list of schemas: `{1: schema, 2: repeated schema}` in protobuf.
    SchemaOrArray,
    /// A schema or a boolean: `{1: bool, 2: schema}` in protobuf.
    SchemaOrBool,
    /// A schema or a list of names: `{1: schema, 2: repeated string}` in protobuf.
    SchemaOrStrings,
}

impl Shape {
    /// The type, where this is an object.
    pub fn object(&self) -> Option<&TypeDef> {
        match self {
            Shape::Object(def) => Some(def),
            _ => None,
        }
    }

    /// The shape of the elements of a list or of the values of a map.
    pub fn element(&self) -> Option<&Shape> {
        match self {
            Shape::List { item, .. } => Some(item),
            Shape::Map { value, .. } => Some(value),
            _ => None,
        }
    }
}

/// How server-side apply merges a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListKind {
    /// As one value.
    Atomic,
    /// As a set of scalars.
    Set,
    /// As a map keyed by these fields of its elements.
    Map(Vec<Name>),
}

/// A type: of the built-in table, where types may contain themselves, or a custom one.
#[derive(Clone)]
pub enum TypeRef {
    /// By its place in the built-in table.
    Builtin(u32),
    /// Shared.
    Custom(Arc<TypeDef>),
}

impl Deref for TypeRef {
    type Target = TypeDef;

    fn deref(&self) -> &TypeDef {
        match self {
            TypeRef::Builtin(index) => table::builtin().at(*index),
            TypeRef::Custom(def) => def,
        }
    }
}

impl PartialEq for TypeRef {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (TypeRef::Builtin(left), TypeRef::Builtin(right)) => left == right,
            (TypeRef::Custom(left), TypeRef::Custom(right)) => Arc::ptr_eq(left, right) || left == right,
            (TypeRef::Builtin(_), TypeRef::Custom(_)) | (TypeRef::Custom(_), TypeRef::Builtin(_)) => false,
        }
    }
}

impl std::fmt::Debug for TypeRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TypeRef({})", self.full_name())
    }
}

/// The built-in type of that name: `core.v1.Pod`, with the package as the schema files call it.
pub fn builtin(name: &str) -> Option<TypeRef> {
    table::builtin().find(name)
}
