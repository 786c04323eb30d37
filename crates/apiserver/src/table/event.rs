//! Events: of the old kind with their counts, and of the new kind with their series.

use jiff::Timestamp;
use serde_json::Value;

use super::cell::{self, integer as number, text, text_or};
use super::{Column, NAME, Printer, age, text as column, wide};

pub(super) static EVENT: Printer = Printer {
    columns: &[
        column("Last Seen"),
        column("Type"),
        column("Reason"),
        column("Object"),
        wide("Subobject"),
        wide("Source"),
        column("Message"),
        wide("First Seen"),
        wide("Count"),
        Column { priority: 1, ..NAME },
    ],
    cells,
};

fn cells(event: &Value, now: Timestamp) -> Vec<Value> {
    let given = |time: &Value| !text(time).is_empty();
    let (first, last, series) = (&event["firstTimestamp"], &event["lastTimestamp"], &event["series"]);
    let first = age::age(if given(first) { first } else { &event["eventTime"] }, now);
    let (last, count) = if series.is_object() {
        (age::age(&series["lastObservedTime"], now), number(&series["count"]))
    } else {
        let last = if given(last) { age::age(last, now) } else { first.clone() };
        (last, number(&event["count"]).max(1))
    };
    let about = &event["involvedObject"];
    let mut object = text(&about["kind"]).to_lowercase();
    if !text(&about["name"]).is_empty() {
        object = format!("{object}/{}", text(&about["name"]));
    }
    vec![
        last.into(),
        text(&event["type"]).into(),
        text(&event["reason"]).into(),
        object.into(),
        text(&about["fieldPath"]).into(),
        source(event).into(),
        text(&event["message"]).trim().into(),
        first.into(),
        count.into(),
        cell::name(event),
    ]
}

fn source(event: &Value) -> String {
    let component = text_or(&event["source"]["component"], text(&event["reportingComponent"]));
    match text_or(&event["source"]["host"], text(&event["reportingInstance"])) {
        "" => component.to_owned(),
        host => format!("{component}, {host}"),
    }
}
