//! CronJob.

use serde_json::Value;

use super::access::{fill, object_mut};
use super::{COUNTED, Rules, checks, template};

pub(super) const RULES: Rules = Rules { default, validate: checks::job::cron_job, ..COUNTED };

fn default(object: &mut Value) {
    let Some(spec) = object_mut(object, "spec") else { return };
    fill(spec, "concurrencyPolicy", "Allow");
    fill(spec, "suspend", false);
    fill(spec, "successfulJobsHistoryLimit", 3);
    fill(spec, "failedJobsHistoryLimit", 1);
    // The jobs themselves get their defaults when they are made.
    if let Some(spec) = object_mut(spec, "jobTemplate").and_then(|template| object_mut(template, "spec")) {
        template::default_in(spec);
    }
}
