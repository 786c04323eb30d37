//! What has a say when objects are written.

use serde_json::Value;

use super::cell::{self, UNSET, text};
use super::{AGE, Column, NAME, Printer, integer, text as column};

pub(super) static WEBHOOKS: Printer = Printer {
    columns: &[NAME, integer("Webhooks"), AGE],
    cells: |object, now| {
        vec![cell::name(object), cell::count(&object["webhooks"]).into(), cell::age(object, now)]
    },
};

const PARAM_KIND: Column = column("ParamKind");

pub(super) static VALIDATING_POLICY: Printer = Printer {
    columns: &[NAME, integer("Validations"), PARAM_KIND, AGE],
    cells: |object, now| policy(object, "validations", cell::age(object, now)),
};

pub(super) static MUTATING_POLICY: Printer = Printer {
    columns: &[NAME, integer("Mutations"), PARAM_KIND, AGE],
    cells: |object, now| policy(object, "mutations", cell::age(object, now)),
};

fn policy(object: &Value, rules: &str, age: Value) -> Vec<Value> {
    let parameters = &object["spec"]["paramKind"];
    let shown = if parameters.is_object() {
        format!("{}/{}", text(&parameters["apiVersion"]), text(&parameters["kind"]))
    } else {
        UNSET.to_owned()
    };
    vec![cell::name(object), cell::count(&object["spec"][rules]).into(), shown.into(), age]
}

pub(super) static POLICY_BINDING: Printer = Printer {
    columns: &[NAME, column("PolicyName"), column("ParamRef"), AGE],
    cells: |object, now| {
        let reference = &object["spec"]["paramRef"];
        let shown = match (text(&reference["namespace"]), text(&reference["name"])) {
            ("", "") => UNSET.to_owned(),
            ("", name) => name.to_owned(),
            (namespace, name) => format!("{namespace}/{name}"),
        };
        vec![
            cell::name(object),
            text(&object["spec"]["policyName"]).into(),
            shown.into(),
            cell::age(object, now),
        ]
    },
};
