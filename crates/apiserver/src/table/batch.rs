//! Jobs and what starts them.

use jiff::Timestamp;
use serde_json::Value;

use super::cell::{self, NONE, integer as number, text, text_or};
use super::{AGE, NAME, Printer, age, boolean, integer, text as column, wide};

pub(super) static JOB: Printer = Printer {
    columns: &[
        NAME,
        column("Status"),
        column("Completions"),
        column("Duration"),
        AGE,
        wide("Containers"),
        wide("Images"),
        wide("Selector"),
    ],
    cells: |object, now| {
        let (names, images) = cell::containers(&object["spec"]["template"]["spec"]);
        vec![
            cell::name(object),
            status(object).into(),
            completions(object).into(),
            duration(&object["status"], now).into(),
            cell::age(object, now),
            names,
            images,
            cell::selector(&object["spec"]["selector"]).into(),
        ]
    },
};

fn status(job: &Value) -> &'static str {
    if cell::is_true(job, "Complete") {
        return "Complete";
    }
    if cell::is_true(job, "Failed") {
        return "Failed";
    }
    if !job["metadata"]["deletionTimestamp"].is_null() {
        return "Terminating";
    }
    let conditions = ["Suspended", "FailureTarget", "SuccessCriteriaMet"];
    conditions.into_iter().find(|wanted| cell::is_true(job, wanted)).unwrap_or("Running")
}

fn completions(job: &Value) -> String {
    let succeeded = number(&job["status"]["succeeded"]);
    match (job["spec"]["completions"].as_i64(), number(&job["spec"]["parallelism"])) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallel) if parallel > 1 => format!("{succeeded}/1 of {parallel}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn duration(status: &Value, now: Timestamp) -> String {
    let Ok(started) = text(&status["startTime"]).parse() else { return String::new() };
    age::since(started, text(&status["completionTime"]).parse().unwrap_or(now))
}

pub(super) static CRON_JOB: Printer = Printer {
    columns: &[
        NAME,
        column("Schedule"),
        column("Timezone"),
        boolean("Suspend"),
        integer("Active"),
        column("Last Schedule"),
        AGE,
        wide("Containers"),
        wide("Images"),
        wide("Selector"),
    ],
    cells: |object, now| {
        let (spec, last) = (&object["spec"], &object["status"]["lastScheduleTime"]);
        let template = &spec["jobTemplate"]["spec"];
        let (names, images) = cell::containers(&template["template"]["spec"]);
        vec![
            cell::name(object),
            text(&spec["schedule"]).into(),
            text_or(&spec["timeZone"], NONE).into(),
            cell::flag(&spec["suspend"]).into(),
            cell::count(&object["status"]["active"]).into(),
            if last.is_null() { NONE.to_owned() } else { age::age(last, now) }.into(),
            cell::age(object, now),
            names,
            images,
            cell::selector(&template["selector"]).into(),
        ]
    },
};
