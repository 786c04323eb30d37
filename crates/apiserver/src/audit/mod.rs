//! The audit log: who asked for what, as whom, and what came of it; one JSON object a line.
//!
//! ```text
//! REST, gRPC: begin ─> scope ─┬─ authn: who          ─┐
//!                             ├─ the authorizer: what ─┼─> Record ─ policy ─> file
//!                             └─ the body             ─┘
//! ```
//! A request that is answered inside [`scope`] carries its [`Record`] along in its task, so that whoever learns
//! something of it ([`asked`], [`sent`]) needs not be handed it. Records are written when the answer is complete, and
//! of streams when they begin and when they end. Bodies are recorded where the policy says so, but never of Secrets
//! and tokens, whatever it says; protobuf answers are not.
//!
//! Read on: [`policy`] for what is recorded, [`record`] for a record, [`file`](mod@file) for where it goes.

mod config;
mod file;
mod policy;
mod record;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use component::{ErrorChain, SharedClock};
use parking_lot::Mutex;
use tracing::error;

pub use config::AuditArgs;
pub use policy::{Level, Policy, PolicyError};
pub(crate) use record::{Outcome, Record, Shared};

use self::file::LogFile;
use self::policy::Stage;
use crate::pipeline::{Attributes, Decision, UserInfo};

tokio::task_local! {
    /// The request that this task answers.
    static RECORD: Shared;
}

/// Why there is no audit log.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A file.
    #[error("open {path}")]
    Open {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The policy.
    #[error("read the policy of {path}")]
    Policy {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: PolicyError,
    },
}

/// The audit log of a server.
pub(crate) struct Audit {
    policy: Policy,
    file: Mutex<LogFile>,
    clock: SharedClock,
    failing: AtomicBool,
}

impl Audit {
    /// Opens the log, where there is to be one.
    pub(crate) fn open(args: &AuditArgs, clock: SharedClock) -> Result<Option<Arc<Self>>, AuditError> {
        let Some(path) = &args.audit_log_path else { return Ok(None) };
        let policy = match &args.audit_policy_file {
            None => Policy::metadata(),
            Some(path) => {
                let bytes = std::fs::read(path);
                let bytes = bytes.map_err(|source| AuditError::Open { path: path.clone(), source })?;
                Policy::read(&bytes).map_err(|source| AuditError::Policy { path: path.clone(), source })?
            }
        };
        let file = LogFile::open(path, args);
        let file = file.map_err(|source| AuditError::Open { path: path.clone(), source })?;
        Ok(Some(Arc::new(Self { policy, file: Mutex::new(file), clock, failing: AtomicBool::new(false) })))
    }

    /// Whether the answer to some request may be wanted.
    pub(crate) fn wants_answers(&self) -> bool {
        self.policy.reaches(Level::RequestResponse)
    }

    /// Whether the answer to a request is wanted.
    pub(crate) fn wants_answer(&self, record: &Record) -> bool {
        record.judged(|asked| self.policy.judge(asked)).level >= Level::RequestResponse
    }

    /// A stream has begun; when the guard is dropped it has ended.
    pub(crate) fn started(self: &Arc<Self>, record: Shared, outcome: Outcome) -> Ended {
        self.write(&record, Stage::ResponseStarted, &outcome);
        self.ending(record, outcome)
    }

    /// When the guard is dropped the request is answered.
    pub(crate) fn ending(self: &Arc<Self>, record: Shared, outcome: Outcome) -> Ended {
        Ended { audit: self.clone(), record, outcome }
    }

    /// The request is answered.
    pub(crate) fn complete(&self, record: &Record, outcome: &Outcome) {
        self.write(record, Stage::ResponseComplete, outcome);
    }

    fn write(&self, record: &Record, stage: Stage, outcome: &Outcome) {
        let verdict = record.judged(|asked| self.policy.judge(asked));
        if verdict.level == Level::None || verdict.omit_stages.contains(&stage) {
            return;
        }
        let now = self.clock.now();
        let mut line = record.to_json(stage, &verdict, outcome, now).to_string();
        line.push('\n');
        let written = self.file.lock().write(line.as_bytes(), now);
        let failed = written.is_err();
        if let Err(problem) = written
            && !self.failing.load(Ordering::Relaxed)
        {
            error!(error = %ErrorChain(&problem), "write the audit log");
        }
        self.failing.store(failed, Ordering::Relaxed);
    }
}

/// Records the end of a stream.
pub(crate) struct Ended {
    audit: Arc<Audit>,
    record: Shared,
    outcome: Outcome,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.audit.complete(&self.record, &self.outcome);
    }
}

/// Answers a request whose record, if there is one, others may add to.
pub(crate) async fn scope<F: Future>(record: Option<Shared>, answer: F) -> F::Output {
    match record {
        Some(record) => RECORD.scope(record, answer).await,
        None => answer.await,
    }
}

/// It is known who sends the request, and as whom.
pub(crate) fn known(sender: &UserInfo, acting: Option<&UserInfo>) {
    let _none = RECORD.try_with(|record| record.sender(sender, acting));
}

/// The authorizer was asked.
pub(crate) fn asked(asked: &Attributes<'_>, decision: &Decision) {
    // Without an audit log, or outside of a request, there is none.
    let _none = RECORD.try_with(|record| record.asked(asked, decision));
}

/// Admission has something to tell, where so much is recorded. What is said first holds.
pub(crate) fn annotate(level: Level, key: impl Into<String>, value: impl Into<String>) {
    let _none = RECORD.try_with(|record| record.annotate(level, key.into(), value.into()));
}

/// The body of the request was read.
pub(crate) fn sent(bytes: &Bytes) {
    let _none = RECORD.try_with(|record| record.sent(bytes));
}
