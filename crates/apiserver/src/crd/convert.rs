//! The question that a conversion webhook is asked (ConversionReview), and what of its answer is taken. Pure.
//!
//! A webhook may change what it likes but who an object is: of the metadata only labels and annotations are its to
//! change. Messages are those of Kubernetes. Read on: `pipeline::convert`, which asks.

use api::field::{FieldError, quote};
use serde::Deserialize;
use serde_json::{Value, json};

/// Versions of the question that can be asked.
const VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// The version in which a webhook is asked: the first of its own that is known.
pub(crate) fn version(accepted: &[String]) -> Option<&'static str> {
    accepted.iter().find_map(|own| VERSIONS.into_iter().find(|version| version == own))
}

/// The question.
pub(crate) fn review(version: &str, uid: &str, desired: &str, objects: &[Value]) -> Value {
    json!({
        "kind": "ConversionReview",
        "apiVersion": format!("apiextensions.k8s.io/{version}"),
        "request": {"uid": uid, "desiredAPIVersion": desired, "objects": objects},
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Review {
    api_version: String,
    kind: String,
    response: Option<Response>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Response {
    uid: String,
    converted_objects: Option<Vec<Value>>,
    result: Outcome,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Outcome {
    status: String,
    message: String,
}

/// Reads an answer: the converted objects, or why there are none.
pub(crate) fn read(bytes: &[u8], version: &str, uid: &str) -> Result<Vec<Value>, String> {
    let review: Review = serde_json::from_slice(bytes)
        .map_err(|error| format!("couldn't get version/kind; json parse error: {error}"))?;
    if version == "v1" {
        let wanted = "apiextensions.k8s.io/v1, Kind=ConversionReview";
        let got = gvk(&review.api_version, &review.kind);
        if got != wanted {
            return Err(format!("expected webhook response of {wanted}, got {got}"));
        }
    }
    let response = review.response.ok_or_else(|| "no response provided".to_owned())?;
    if version == "v1" && response.uid != uid {
        return Err(format!("expected response.uid={}, got {}", quote(uid), quote(&response.uid)));
    }
    match response.result {
        Outcome { status, .. } if status == "Success" => Ok(response.converted_objects.unwrap_or_default()),
        Outcome { message, .. } if !message.is_empty() => Err(message),
        Outcome { status, .. } => Err(format!("response.result.status was '{status}', not 'Success'")),
    }
}

/// A kind in a version, as Kubernetes writes it.
pub(crate) fn gvk(api_version: &str, kind: &str) -> String {
    match api_version.contains('/') {
        true => format!("{api_version}, Kind={kind}"),
        false => format!("/{api_version}, Kind={kind}"),
    }
}

fn text<'a>(of: &'a Value, field: &str) -> &'a str {
    of[field].as_str().unwrap_or_default()
}

/// Checks what became of an object, and gives it the metadata that it had, with the labels and annotations of the
/// converted one.
pub(crate) fn accept(
    original: &Value,
    mut converted: Value,
    desired: &str,
    place: usize,
) -> Result<Value, String> {
    let invalid = |why: String| format!("returned invalid converted object at index {place}: {why}");
    let got = text(&converted, "apiVersion");
    if got != desired {
        return Err(invalid(format!("invalid groupVersion (expected {desired}, received {got})")));
    }
    let (expected, got) = (text(original, "kind"), text(&converted, "kind"));
    if got != expected {
        return Err(invalid(format!("invalid kind (expected {expected}, received {got})")));
    }
    for (field, told) in [("name", "name"), ("namespace", "namespace"), ("uid", "UID")] {
        let (before, after) = (text(&original["metadata"], field), text(&converted["metadata"], field));
        if before != after {
            return Err(invalid(format!("must have the same {told}: {before} != {after}")));
        }
    }
    let metadata = metadata(&original["metadata"], converted.get("metadata"))
        .map_err(|why| format!("returned invalid metadata in object at index {place}: {why}"))?;
    converted["metadata"] = metadata;
    Ok(converted)
}

/// The type of a value, as Go names it.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn metadata(original: &Value, converted: Option<&Value>) -> Result<Value, String> {
    let converted = converted.ok_or_else(|| "missing metadata in converted object".to_owned())?;
    if !converted.is_object() {
        return Err(format!("invalid metadata of type {} in converted object", type_of(converted)));
    }
    let mut result = original.clone();
    for field in ["labels", "annotations"] {
        let own = match &converted[field] {
            Value::Null => {
                result.as_object_mut().map(|metadata| metadata.shift_remove(field));
                continue;
            }
            own => own,
        };
        let Some(map) = own.as_object() else {
            return Err(format!("invalid metadata.{field} of type {} in converted object", type_of(own)));
        };
        if let Some((key, value)) = map.iter().find(|(_, value)| !value.is_string()) {
            return Err(format!(
                "metadata.{field}[{key}] must be a string, but is {} in converted object",
                type_of(value)
            ));
        }
        if original[field] != *own {
            let errors = api::kinds::validate_words(converted, field);
            if !errors.is_empty() {
                return Err(aggregate(&errors));
            }
        }
        result[field] = own.clone();
    }
    Ok(result)
}

/// Several errors as one text.
fn aggregate(errors: &[FieldError]) -> String {
    match errors {
        [one] => one.to_string(),
        all => format!("[{}]", all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(version: &str) -> Value {
        json!({"kind": "Widget", "apiVersion": format!("example.com/{version}"),
            "metadata": {"name": "a", "namespace": "d", "uid": "u", "generation": 3, "labels": {"a": "b"}}})
    }

    #[test]
    fn the_webhooks_favourite_version_is_taken_where_it_is_known() {
        for (accepted, expected) in
            [(vec!["v1beta1", "v1"], Some("v1beta1")), (vec!["v2", "v1"], Some("v1")), (vec!["v2"], None)]
        {
            let accepted: Vec<String> = accepted.into_iter().map(str::to_owned).collect();
            assert_eq!(version(&accepted), expected);
        }
    }

    #[test]
    fn an_answer_is_taken_for_what_it_says() {
        let answer = |value: Value, version| read(value.to_string().as_bytes(), version, "u");
        let review = |version: &str, response: Value| {
            json!({"kind": "ConversionReview", "apiVersion": format!("apiextensions.k8s.io/{version}"),
                "response": response})
        };
        let good = json!({"uid": "u", "convertedObjects": [{"a": 1}], "result": {"status": "Success"}});
        assert_eq!(answer(review("v1", good.clone()), "v1"), Ok(vec![json!({"a": 1})]));
        for (value, version, why) in [
            (
                review("v1beta1", good),
                "v1",
                "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got apiextensions.k8s.io/v1beta1, Kind=ConversionReview",
            ),
            (
                json!({"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1"}),
                "v1",
                "no response provided",
            ),
            (review("v1", json!({"uid": "x"})), "v1", "expected response.uid=\"u\", got \"x\""),
            (
                review("v1beta1", json!({"uid": "x"})),
                "v1beta1",
                "response.result.status was '', not 'Success'",
            ),
            (review("v1", json!({"uid": "u", "result": {"status": "Failure", "message": "no"}})), "v1", "no"),
        ] {
            assert_eq!(answer(value, version), Err(why.to_owned()));
        }
        assert!(read(b"x", "v1", "u").is_err());
    }

    #[test]
    fn of_the_metadata_only_labels_and_annotations_change() {
        let mut converted = object("v2");
        converted["metadata"] = json!({"name": "a", "namespace": "d", "uid": "u", "generation": 9,
            "labels": {"x": "y"}, "annotations": {"k": "v"}, "finalizers": ["mine"]});
        converted["spec"] = json!({"n": 1});
        let taken = accept(&object("v1"), converted, "example.com/v2", 0).expect("taken");
        assert_eq!(
            taken["metadata"],
            json!({"name": "a", "namespace": "d", "uid": "u", "generation": 3,
            "labels": {"x": "y"}, "annotations": {"k": "v"}})
        );
        assert_eq!(taken["spec"]["n"], 1);
    }

    #[test]
    fn what_breaks_an_object_is_refused() {
        let with = |change: fn(&mut Value)| {
            let mut converted = object("v2");
            change(&mut converted);
            accept(&object("v1"), converted, "example.com/v2", 0).expect_err("refused")
        };
        let invalid = "returned invalid converted object at index 0:";
        for (told, expected) in [
            (with(|own| own["apiVersion"] = "example.com/v1".into()),
                format!("{invalid} invalid groupVersion (expected example.com/v2, received example.com/v1)")),
            (with(|own| own["kind"] = "Gadget".into()),
                format!("{invalid} invalid kind (expected Widget, received Gadget)")),
            (with(|own| own["metadata"]["name"] = "b".into()),
                format!("{invalid} must have the same name: a != b")),
            (with(|own| own["metadata"]["uid"] = "w".into()),
                format!("{invalid} must have the same UID: u != w")),
            (with(|own| own["metadata"]["labels"] = json!({"a": 1})),
                "returned invalid metadata in object at index 0: metadata.labels[a] must be a string, but is int64 in converted object".to_owned()),
            (with(|own| own["metadata"]["labels"] = json!([])),
                "returned invalid metadata in object at index 0: invalid metadata.labels of type []interface {} in converted object".to_owned()),
        ] {
            assert_eq!(told, expected);
        }
        let bad = with(|own| own["metadata"]["labels"] = json!({"a b": "c"}));
        assert!(
            bad.starts_with("returned invalid metadata in object at index 0: metadata.labels: Invalid value"),
            "{bad}"
        );
    }
}
