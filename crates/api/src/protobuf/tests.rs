//! Protobuf against bytes that Go wrote, against itself, and against bytes that nobody should have written.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::schema::{self, table};

fn named(name: &str) -> TypeRef {
    schema::builtin(name).expect(name)
}

/// The type of a sample, by its apiVersion and kind; kinds of `meta/v1` are samples of the core group.
fn type_of(document: &Value) -> Option<TypeRef> {
    let group_version = crate::gvk::GroupVersion::parse(document["apiVersion"].as_str()?);
    let kind = document["kind"].as_str()?;
    table::builtin()
        .refs()
        .find(|ty| {
            ty.name == kind
                && (ty
                    .kind
                    .as_ref()
                    .is_some_and(|(g, v)| *g == group_version.group && *v == group_version.version))
        })
        .or_else(|| schema::builtin(&format!("meta.v1.{kind}")))
}

/// Every kind fully populated, as Go wrote it, where the samples are at hand.
#[test]
fn samples_are_read_and_written_byte_for_byte() {
    let Some(folder) = crate::reference::path("encodings") else { return };
    let mut without_type = Vec::new();
    let mut failures = Vec::new();
    let mut compared = 0;
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("the samples")
        .map(|entry| entry.expect("a sample").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    for path in paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let json = std::fs::read(&path).expect("the sample as JSON");
        let json: Value = serde_json::from_slice(&json).expect("JSON");
        let bytes = std::fs::read(path.with_extension("pb")).expect("the sample as protobuf");
        let Some(ty) = type_of(&json) else {
            without_type.push(name);
            continue;
        };
        compared += 1;
        match decode(&ty, &bytes) {
            Ok(decoded) if decoded == json => {}
            Ok(decoded) => {
                failures.push(format!("{name} reads otherwise: {}", difference("", &decoded, &json)))
            }
            Err(error) => failures.push(format!("{name}: {error}")),
        }
        match encode(&ty, &json) {
            Ok(encoded) if encoded == bytes => {}
            Ok(encoded) => {
                let again = decode(&ty, &encoded).expect("our own bytes");
                let place = encoded.iter().zip(&bytes).take_while(|(a, b)| a == b).count();
                failures.push(format!(
                    "{name} is written otherwise at {place} of {} (ours {}): {}",
                    bytes.len(),
                    encoded.len(),
                    difference("", &again, &json)
                ));
            }
            Err(error) => failures.push(format!("{name}: {error}")),
        }
    }
    assert!(failures.is_empty(), "of {compared}:\n{}", failures.join("\n"));
    println!("{compared} samples; no type: {without_type:?}");
    assert!(compared > 70, "{compared} compared, no type for {without_type:?}");
}

/// The first place where two documents differ.
fn difference(path: &str, ours: &Value, theirs: &Value) -> String {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let keys = ours.keys().chain(theirs.keys());
            for key in keys {
                let pair = (ours.get(key).unwrap_or(&Value::Null), theirs.get(key).unwrap_or(&Value::Null));
                if ours.get(key) != theirs.get(key) {
                    return difference(&format!("{path}.{key}"), pair.0, pair.1);
                }
            }
            "nowhere".to_owned()
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            let place = ours.iter().zip(theirs).position(|(a, b)| a != b).unwrap_or_default();
            ours.first().map_or_else(String::new, |_| {
                difference(&format!("{path}[{place}]"), &ours[place], &theirs[place])
            })
        }
        (ours, theirs) => format!("{path}: {ours} for {theirs}"),
    }
}

#[test]
fn a_config_map_is_the_bytes_that_go_writes() {
    let document =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}});
    let bytes = encode(&named("core.v1.ConfigMap"), &document).expect("it is written");
    let metadata = b"\n\x01a\x12\0\x1a\0\"\0*\x002\08\0B\0";
    let mut message = vec![b'\n', metadata.len() as u8];
    message.extend(metadata);
    message.extend(b"\x12\x06\n\x01k\x12\x01v");
    let mut expected = b"k8s\0\n\x0f\n\x02v1\x12\tConfigMap\x12".to_vec();
    expected.push(message.len() as u8);
    expected.extend(&message);
    expected.extend(b"\x1a\0\"\0");
    assert_eq!(bytes, expected);
    assert_eq!(decode(&named("core.v1.ConfigMap"), &bytes).expect("it is read"), document);
    assert_eq!(envelope("v1", "ConfigMap", &message), bytes);
    assert_eq!(encode_message(&named("core.v1.ConfigMap"), &document).expect("it is written"), message);
    let (meta, opened) = open(&bytes).expect("an envelope");
    assert_eq!((meta.api_version.as_str(), meta.kind.as_str(), opened), ("v1", "ConfigMap", &message[..]));
}

#[test]
fn a_frame_of_a_watch_has_its_length_before_it() {
    assert_eq!(watch_frame("ADDED", b"k8s\0x"), b"\0\0\0\x10\n\x05ADDED\x12\x07\n\x05k8s\0x");
    // The event itself is that of the sample, which has an envelope of its own.
    let Some(sample) = crate::reference::path("encodings/core.v1.WatchEvent.pb") else { return };
    let sample = std::fs::read(sample).expect("the sample");
    let (_, event) = open(&sample).expect("an envelope");
    let json = br#"{"apiVersion":"example.com/v1","kind":"CustomType","spec":{"replicas":1},"status":{"available":1}}"#;
    assert_eq!(&watch_frame("typeValue", json)[4..], event);
}

#[test]
fn schemas_of_custom_resources_go_both_ways() {
    let document = json!({"properties": {"a": {
        "type": "array", "items": {"type": "string"}, "default": ["x", null], "enum": [1, "a", {"b": null}],
        "additionalProperties": false, "maximum": 1.5, "x-kubernetes-preserve-unknown-fields": false,
        "dependencies": {"d": ["e"], "f": {"type": "object"}}, "minLength": 0,
    }, "b": {"additionalProperties": {"items": [{"type": "integer"}, {}]}}}});
    let ty = named("apiextensions.v1.JSONSchemaProps");
    let bytes = encode_message(&ty, &document).expect("it is written");
    let read = decode_message(&ty, &bytes).expect("it is read");
    assert_eq!(read, document, "{}", difference("", &read, &document));
}

#[test]
fn negative_numbers_and_fractions_of_seconds_go_both_ways() {
    let ty = named("coordination.v1.Lease");
    let document = json!({"metadata": {"name": "l"}, "spec": {"leaseDurationSeconds": -15,
        "acquireTime": "1969-12-31T23:59:59.250000Z", "renewTime": "2026-11-23T03:12:00.123456Z"}});
    let bytes = encode_message(&ty, &document).expect("it is written");
    assert_eq!(decode_message(&ty, &bytes).expect("it is read"), document);
}

#[test]
fn what_is_no_document_of_its_type_is_not_written() {
    let ty = named("core.v1.Pod");
    for (document, field) in [
        (json!({"spec": {"containers": {}}}), "containers"),
        (json!({"spec": {"nodeSelector": []}}), "nodeSelector"),
        (json!({"spec": {"hostNetwork": "yes"}}), "hostNetwork"),
        (json!({"spec": {"priority": 1.5}}), "priority"),
        (json!({"metadata": {"creationTimestamp": "yesterday"}}), "creationTimestamp"),
        (json!({"metadata": {"name": 1}}), "name"),
    ] {
        let error = encode(&ty, &document).expect_err("another shape");
        assert!(matches!(&error, EncodeError::Shape { field: told, .. } if told == field), "{error}");
    }
}

#[test]
fn hostile_bytes_are_refused() {
    let ty = named("core.v1.ConfigMap");
    let schema = named("apiextensions.v1.JSONSchemaProps");
    for (bytes, error) in [
        (&b"{}"[..], DecodeError::Magic),
        (b"", DecodeError::Magic),
        (b"k8s\0\x0a", DecodeError::Truncated),
        (b"k8s\0\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", DecodeError::Truncated),
        (b"k8s\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", DecodeError::Varint),
        (b"k8s\0\x12\x02\x0a\x05", DecodeError::Truncated),
        (b"k8s\0\x12\x02\x08\x05", DecodeError::WireType),
        (b"k8s\0\x1a\x04gzip", DecodeError::ContentEncoding("gzip".to_owned())),
        (b"k8s\0\x0b", DecodeError::WireType),
    ] {
        assert_eq!(decode(&ty, bytes), Err(error), "{bytes:?}");
    }
    assert!(matches!(decode(&ty, b"k8s\0\x0a\x03\x0a\x01\xff"), Err(DecodeError::Text(_))));
    // `not` is field 28 of a schema: a schema in a schema, and so on.
    let mut nested = Vec::new();
    for _ in 0..1000 {
        let mut outer = Writer::default();
        outer.bytes(28, &nested);
        nested = outer.finish();
    }
    assert_eq!(decode_message(&schema, &nested), Err(DecodeError::Depth));
}

/// The bytes of a pod that has something of most shapes.
fn pod() -> Vec<u8> {
    let document = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a": "b", "c": "d"},
        "creationTimestamp": "2026-11-23T03:12:00Z"},
        "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "500m"}}, "ports": [{"containerPort": 80}],
            "livenessProbe": {"httpGet": {"port": "http", "path": "/"}, "periodSeconds": 3}}],
            "volumes": [{"name": "v", "secret": {"secretName": "s", "defaultMode": 420}}]}});
    encode(&named("core.v1.Pod"), &document).expect("a pod")
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), kind in any::<proptest::sample::Index>()) {
        let types = table::builtin().types().len();
        let ty = TypeRef::Builtin(kind.index(types) as u32);
        let _ = decode_message(&ty, &bytes);
        let _ = decode(&ty, &bytes);
        let _ = open(&[MAGIC, &bytes[..]].concat());
    }

    #[test]
    fn no_damage_makes_the_reader_panic(
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        end in any::<proptest::sample::Index>(),
    ) {
        let ty = named("core.v1.Pod");
        let mut bytes = pod();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        bytes.truncate(end.index(bytes.len()) + 1);
        if let Ok(document) = decode(&ty, &bytes) {
            let _ = encode(&ty, &document);
        }
    }

    #[test]
    fn numbers_go_both_ways(number: i64, fraction: f64, int: i32) {
        let mut writer = Writer::default();
        writer.double(3, fraction);
        writer.varint(2, int as u64);
        writer.varint(1, number as u64);
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes);
        let mut next = || reader.next().expect("a field").expect("not the end");
        prop_assert_eq!(next(), (1, wire::Payload::Varint(number as u64)));
        prop_assert_eq!(next().1.varint().map(|value| value as i32), Ok(int));
        prop_assert_eq!(next(), (3, wire::Payload::Fixed64(fraction.to_le_bytes())));
    }
}
