//! Who may do what, and who asks for a certificate.

use serde_json::Value;

use super::cell::{self, NONE, list, text, text_or};
use super::{AGE, NAME, Printer, age, text as column, wide};

pub(super) static BINDING: Printer = Printer {
    columns: &[NAME, column("Role"), AGE, wide("Users"), wide("Groups"), wide("ServiceAccounts")],
    cells: |object, now| {
        let role = &object["roleRef"];
        let subjects = |kind: &str| {
            let of_kind = list(&object["subjects"]).iter().filter(|subject| subject["kind"] == kind);
            let shown = of_kind.map(|subject| match text(&subject["namespace"]) {
                namespace if kind == "ServiceAccount" => format!("{namespace}/{}", text(&subject["name"])),
                _ => text(&subject["name"]).to_owned(),
            });
            Value::from(shown.collect::<Vec<_>>().join(", "))
        };
        vec![
            cell::name(object),
            format!("{}/{}", text(&role["kind"]), text(&role["name"])).into(),
            cell::age(object, now),
            subjects("User"),
            subjects("Group"),
            subjects("ServiceAccount"),
        ]
    },
};

pub(super) static CERTIFICATE_SIGNING_REQUEST: Printer = Printer {
    columns: &[
        NAME,
        AGE,
        column("SignerName"),
        column("Requestor"),
        column("RequestedDuration"),
        column("Condition"),
    ],
    cells: |object, now| {
        let spec = &object["spec"];
        let duration = spec["expirationSeconds"].as_i64().map_or_else(|| NONE.to_owned(), age::human);
        vec![
            cell::name(object),
            cell::age(object, now),
            text_or(&spec["signerName"], NONE).into(),
            text(&spec["username"]).into(),
            duration.into(),
            state(object).into(),
        ]
    },
};

fn state(request: &Value) -> String {
    let has = |kind: &str| cell::condition(request, kind).is_some();
    let mut state = match (has("Approved"), has("Denied")) {
        (_, true) => "Denied",
        (true, false) => "Approved",
        (false, false) => "Pending",
    }
    .to_owned();
    if has("Failed") {
        state.push_str(",Failed");
    }
    if !text(&request["status"]["certificate"]).is_empty() {
        state.push_str(",Issued");
    }
    state
}
