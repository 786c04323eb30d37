//! Autoscalers and disruption budgets.

use serde_json::Value;

use super::cell::{self, UNSET, integer as number, list, text};
use super::{AGE, NAME, Printer, integer, text as column};

/// How many metrics are shown.
const MOST: usize = 2;

/// What stands where a metric has not been measured.
const UNKNOWN: &str = "<unknown>";

pub(super) static POD_DISRUPTION_BUDGET: Printer = Printer {
    columns: &[NAME, column("Min Available"), column("Max Unavailable"), integer("Allowed Disruptions"), AGE],
    cells: |object, now| {
        let bound = |name: &str| cell::scalar(&object["spec"][name]).unwrap_or_else(|| "N/A".to_owned());
        vec![
            cell::name(object),
            bound("minAvailable").into(),
            bound("maxUnavailable").into(),
            number(&object["status"]["disruptionsAllowed"]).into(),
            cell::age(object, now),
        ]
    },
};

pub(super) static HORIZONTAL_POD_AUTOSCALER: Printer = Printer {
    columns: &[
        NAME,
        column("Reference"),
        column("Targets"),
        column("MinPods"),
        column("MaxPods"),
        column("Replicas"),
        AGE,
    ],
    cells: |object, now| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let target = &spec["scaleTargetRef"];
        vec![
            cell::name(object),
            format!("{}/{}", text(&target["kind"]), text(&target["name"])).into(),
            metrics(&spec["metrics"], &status["currentMetrics"]).into(),
            cell::scalar(&spec["minReplicas"]).unwrap_or_else(|| UNSET.to_owned()).into(),
            number(&spec["maxReplicas"]).into(),
            number(&status["currentReplicas"]).into(),
            cell::age(object, now),
        ]
    },
};

fn metrics(wanted: &Value, current: &Value) -> String {
    let all: Vec<String> = list(wanted)
        .iter()
        .enumerate()
        .map(|(place, metric)| metric_of(metric, list(current).get(place).unwrap_or(&Value::Null)))
        .collect();
    if all.is_empty() {
        return "<none>".to_owned();
    }
    if all.len() <= MOST {
        return all.join(", ");
    }
    format!("{} + {} more...", all[..MOST].join(", "), all.len() - MOST)
}

fn metric_of(metric: &Value, current: &Value) -> String {
    let (field, named) = match text(&metric["type"]) {
        "Resource" => ("resource", true),
        "ContainerResource" => ("containerResource", true),
        "Pods" => ("pods", false),
        "Object" => ("object", false),
        "External" => ("external", false),
        _ => return "<unknown type>".to_owned(),
    };
    let (target, now) = (&metric[field]["target"], &current[field]["current"]);
    let shown = |value: &Value| cell::scalar(value).unwrap_or_else(|| UNKNOWN.to_owned());
    let pair = if let Some(percent) = target["averageUtilization"].as_i64() {
        let now = now["averageUtilization"].as_i64();
        format!("{}/{percent}%", now.map_or(UNKNOWN.to_owned(), |now| format!("{now}%")))
    } else if let Some(average) = cell::scalar(&target["averageValue"]) {
        // Of what is one value for all, the average is worth mentioning.
        let mark = if matches!(field, "object" | "external") { " (avg)" } else { "" };
        format!("{}/{average}{mark}", shown(&now["averageValue"]))
    } else {
        format!("{}/{}", shown(&now["value"]), shown(&target["value"]))
    };
    if named { format!("{}: {pair}", text(&metric[field]["name"])) } else { pair }
}
