//! Whatever a client sends, it gets an answer: documents of every kind, whole and damaged, in every encoding, go the
//! whole way of a write, and so do patches of them. A panic or an endless loop is the only failure.
//!
//! Bounded: so many cases, each of one kind, small enough for every run of the tests.

use std::sync::Arc;

use api::codec::{self, FieldValidation, MediaType};
use api::registry::{ResourceDef, registry};
use api::schema::{Shape, TypeDef};
use api::selector::{FieldSelector, Selector};
use api::{kinds, patch, protobuf};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Map, Value, json};

/// Numbers that decide what a document looks like, taken one after the other, and again from the start.
struct Dice<'a>(&'a [u8], usize);

impl Dice<'_> {
    fn roll(&mut self, sides: usize) -> usize {
        self.1 += 1;
        usize::from(self.0[self.1 % self.0.len()]) % sides
    }
}

/// How many objects stand within each other.
const DEPTH: usize = 6;

const TEXTS: [&str; 12] =
    ["", "a", "None", "10.96.0.1", "a.b/c", "A", "-", "0", "Always", "TCP", "5%", "2020-01-01T00:00:00Z"];

fn value(shape: &Shape, depth: usize, dice: &mut Dice<'_>) -> Value {
    match shape {
        Shape::Object(def) if depth == 0 || def.fields.is_empty() => json!({}),
        Shape::Object(def) => object(def, depth - 1, dice),
        Shape::Map { value: inner, .. } => {
            let keys = ["a", "cpu", "example.com/x", "storage"];
            let entries = (0..dice.roll(3)).map(|index| (keys[index].to_owned(), value(inner, depth, dice)));
            Value::Object(entries.collect::<Vec<_>>().into_iter().collect())
        }
        Shape::List { item, .. } => (0..dice.roll(3)).map(|_| value(item, depth, dice)).collect(),
        Shape::String => TEXTS[dice.roll(TEXTS.len())].into(),
        Shape::Int32 | Shape::Int64 => [0, 1, -1, 80, 65536, i64::from(i32::MAX)][dice.roll(6)].into(),
        Shape::Double => 0.5.into(),
        Shape::Bool => (dice.roll(2) == 1).into(),
        Shape::Bytes => ["", "YQ==", "!"][dice.roll(3)].into(),
        Shape::Quantity => ["0", "1", "-1", "1500m", "1Gi", "1e30"][dice.roll(6)].into(),
        Shape::IntOrString => [json!(0), json!(-1), json!("5%"), json!("http")][dice.roll(4)].clone(),
        Shape::Time => "2020-01-01T00:00:00Z".into(),
        Shape::MicroTime => "2020-01-01T00:00:00.000000Z".into(),
        Shape::SchemaOrBool => true.into(),
        Shape::RawExtension
        | Shape::FieldsV1
        | Shape::Any
        | Shape::SchemaOrArray
        | Shape::SchemaOrStrings => json!({}),
    }
}

fn object(def: &TypeDef, depth: usize, dice: &mut Dice<'_>) -> Value {
    let mut fields = Map::new();
    for field in &def.fields {
        if matches!(&*field.name, "apiVersion" | "kind" | "managedFields") {
            continue;
        }
        if field.required || dice.roll(3) > 0 {
            fields.insert(field.name.to_string(), value(&field.shape, depth, dice));
        }
    }
    Value::Object(fields)
}

fn document(def: &ResourceDef, dice: &mut Dice<'_>) -> Value {
    let mut document = object(&def.schema, DEPTH, dice);
    document["kind"] = (&*def.kind).into();
    document["apiVersion"] = def.api_version().into();
    if !document["metadata"].is_object() {
        document["metadata"] = json!({});
    }
    document["metadata"]["name"] = "x".into();
    document
}

/// The way of a write, as far as this crate goes.
fn write(def: &ResourceDef, media: MediaType, bytes: &[u8]) {
    for validation in [FieldValidation::Ignore, FieldValidation::Strict] {
        let Ok(decoded) = codec::decode(def, media, bytes, validation) else { continue };
        let mut object = decoded.object;
        codec::to_storage(def, &mut object);
        let storage = registry().kind(&def.storage.group, &def.storage.version, &def.kind);
        let storage = storage.map_or_else(|| def.clone(), |storage| (*storage).clone());
        kinds::prepare_for_create(&storage, &mut object);
        let before = object.clone();
        let _ = kinds::validate(&storage, &object);
        let _ = kinds::validate_update(&storage, &object, &before);
        let _ = kinds::validate_status_update(&storage, &object, &json!({}));
        kinds::prepare_for_update(&storage, &mut object, &before);
        codec::from_storage(def, &mut object);
    }
}

fn damage(bytes: &mut Vec<u8>, places: &[(Index, u8)], end: Option<Index>) {
    if let Some(end) = end.filter(|_| !bytes.is_empty()) {
        bytes.truncate(end.index(bytes.len()));
    }
    for (place, byte) in places {
        if !bytes.is_empty() {
            let at = place.index(bytes.len());
            bytes[at] = *byte;
        }
    }
}

fn stored() -> Vec<Arc<ResourceDef>> {
    registry().all().iter().filter(|def| def.is_stored()).cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_document_gets_an_answer_whole_or_damaged(
        kind in any::<Index>(),
        dice in proptest::collection::vec(any::<u8>(), 64),
        places in proptest::collection::vec((any::<Index>(), any::<u8>()), 0..4),
        end in proptest::option::of(any::<Index>()),
    ) {
        let all = stored();
        let def = kind.get(&all);
        let document = document(def, &mut Dice(&dice, 0));
        let mut bytes = serde_json::to_vec(&document).expect("a document");
        write(def, MediaType::Json, &bytes);
        damage(&mut bytes, &places, end);
        write(def, MediaType::Json, &bytes);
        write(def, MediaType::Yaml, &bytes);
        if let Ok(mut message) = protobuf::encode(&def.schema, &document) {
            let _ = protobuf::decode(&def.schema, &message);
            damage(&mut message, &places, end);
            if let Ok(document) = protobuf::decode(&def.schema, &message) {
                write(def, MediaType::Json, &serde_json::to_vec(&document).expect("a document"));
            }
        }
    }

    #[test]
    fn a_patch_gets_an_answer(
        kind in any::<Index>(),
        dice in proptest::collection::vec(any::<u8>(), 64),
        places in proptest::collection::vec((any::<Index>(), any::<u8>()), 0..3),
    ) {
        let all = stored();
        let def = kind.get(&all);
        let original = document(def, &mut Dice(&dice, 0));
        let other = document(def, &mut Dice(&dice, 7));
        let directives = json!({"$patch": "replace", "$retainKeys": ["a"], "spec": {"$patch": "delete"},
            "$setElementOrder/containers": [{"name": "a"}], "$deleteFromPrimitiveList/finalizers": ["a"]});
        for patch in [other.clone(), directives] {
            let _ = patch::merge::apply(&mut original.clone(), patch.clone());
            let _ = patch::strategic::apply(&def.schema, &mut original.clone(), patch);
        }
        let operations = json!([
            {"op": "add", "path": "/metadata/labels/a~1b", "value": "c"},
            {"op": "move", "from": "/metadata", "path": "/metadata/name"},
            {"op": "copy", "from": "/spec", "path": "/spec/copy"},
            {"op": "test", "path": "/kind", "value": "x"},
            {"op": "remove", "path": "/spec/containers/0"},
        ]);
        let mut bytes = serde_json::to_vec(&operations).expect("a patch");
        damage(&mut bytes, &places, None);
        if let Ok(operations) = patch::json::decode(&bytes) {
            let _ = patch::json::apply(&mut original.clone(), operations);
        }
        let writer = patch::apply::Writer { def, manager: "m", subresource: "", now: jiff::Timestamp::UNIX_EPOCH };
        if let Ok(applied) = patch::apply::apply(&writer, None, &original, false) {
            let _ = patch::apply::apply(&writer, Some(&applied), &other, true);
        }
    }

    #[test]
    fn a_selector_gets_an_answer(text in "[a-z0-9=!,() ./~<>\\\\-]{0,40}") {
        let _ = Selector::parse(&text);
        let _ = FieldSelector::parse(&text);
    }
}

/// Bodies that are made to cost much.
#[test]
fn attacks_cost_an_error() {
    let pods = registry().resource("", "v1", "pods").expect("pods");
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(100_000), close.repeat(100_000));
    let aliases: String =
        (1..40).map(|level| format!("a{level}: &a{level} [*a{0},*a{0},*a{0}]\n", level - 1)).collect();
    let attacks: Vec<(MediaType, Vec<u8>)> = vec![
        (MediaType::Json, deep("[", "]").into_bytes()),
        (MediaType::Json, deep("{\"a\":", "}").into_bytes()),
        (MediaType::Yaml, deep("[", "]").into_bytes()),
        (MediaType::Yaml, "- ".repeat(200_000).into_bytes()),
        (MediaType::Yaml, format!("a0: &a0 x\n{aliases}").into_bytes()),
        (MediaType::Yaml, b"a: &a [*a]".to_vec()),
        (MediaType::Json, format!("{{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"spec\":{{\"terminationGracePeriodSeconds\":1{}}}}}", "0".repeat(100_000)).into_bytes()),
        (MediaType::Json, b"{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"\xff\xfe\"}}".to_vec()),
        (MediaType::Yaml, b"\xff\xfe\x00".to_vec()),
        (MediaType::Json, b"{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"spec\":1e999999}".to_vec()),
    ];
    for (media, body) in attacks {
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        let refused = codec::decode(&pods, media, &body, FieldValidation::Strict);
        assert!(refused.is_err_and(|status| (400..500).contains(&status.code)), "{shown}");
    }
    let long = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a".repeat(2_000_000)},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    write(&pods, MediaType::Json, &serde_json::to_vec(&long).expect("a document"));
    for (kind, patch) in [("json", deep("[", "]")), ("merge", deep("{\"a\":", "}"))] {
        let refused = if kind == "json" {
            patch::json::decode(patch.as_bytes()).is_err()
        } else {
            patch::decode(patch.as_bytes()).is_err()
        };
        assert!(refused, "{kind}");
    }
}
