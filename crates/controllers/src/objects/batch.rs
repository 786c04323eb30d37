//! Projections of the batch group: Job and CronJob.

use serde::{Deserialize, Serialize};

use api::meta::{Condition, ObjectMeta};
use api::selector::LabelSelector;
use api::time::Time;
use client::resource;

use super::{ObjectReference, PodTemplate, RawJson};

/// `batch/v1/Job`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Job {
    pub metadata: ObjectMeta,
    pub spec: JobSpec,
    pub status: JobStatus,
}
resource!(Job, "batch", "v1", "jobs", "Job", namespaced);

/// `batch/v1/JobSpec`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobSpec {
    pub parallelism: Option<i32>,
    pub completions: Option<i32>,
    pub active_deadline_seconds: Option<i64>,
    pub backoff_limit: Option<i32>,
    pub selector: LabelSelector,
    pub template: PodTemplate,
    pub ttl_seconds_after_finished: Option<i64>,
    pub completion_mode: String,
    pub suspend: bool,
    pub managed_by: Option<String>,
}

/// `batch/v1/JobStatus`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobStatus {
    pub conditions: Vec<Condition>,
    pub start_time: Option<Time>,
    pub completion_time: Option<Time>,
    pub active: i32,
    pub ready: Option<i32>,
    pub terminating: Option<i32>,
    pub succeeded: i32,
    pub failed: i32,
    pub completed_indexes: String,
    pub uncounted_terminated_pods: UncountedTerminatedPods,
}

/// `batch/v1/UncountedTerminatedPods`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UncountedTerminatedPods {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub succeeded: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
}

impl Job {
    /// Whether a condition of this type is True.
    pub fn is(&self, r#type: &str) -> bool {
        self.status
            .conditions
            .iter()
            .any(|condition| condition.r#type == r#type && condition.status == "True")
    }

    /// Whether it has come to its end, well or badly.
    pub fn is_finished(&self) -> bool {
        self.is("Complete") || self.is("Failed")
    }
}

/// `batch/v1/CronJob`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CronJob {
    pub metadata: ObjectMeta,
    pub spec: CronJobSpec,
    pub status: CronJobStatus,
}
resource!(CronJob, "batch", "v1", "cronjobs", "CronJob", namespaced);

/// `batch/v1/CronJobSpec`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CronJobSpec {
    pub schedule: String,
    pub time_zone: Option<String>,
    pub starting_deadline_seconds: Option<i64>,
    pub concurrency_policy: String,
    pub suspend: bool,
    pub job_template: RawJson,
    pub successful_jobs_history_limit: Option<i32>,
    pub failed_jobs_history_limit: Option<i32>,
}

/// `batch/v1/CronJobStatus`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CronJobStatus {
    pub active: Vec<ObjectReference>,
    pub last_schedule_time: Option<Time>,
    pub last_successful_time: Option<Time>,
}
