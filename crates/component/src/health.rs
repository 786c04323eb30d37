//! Named health checks and the three questions that are asked of them: `/healthz`, `/livez`, `/readyz`.
//!
//! The answers read as those of Kubernetes, since probes and people parse them.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;

/// Which questions a check answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Asked by `/livez` and `/readyz`: without it the daemon is to be started anew.
    Live,
    /// Asked by `/readyz` only: without it the daemon is not to be sent work.
    Ready,
}

type Probe = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

struct Named {
    name: String,
    question: Question,
    probe: Probe,
}

/// The health checks of a daemon. Clones share them.
#[derive(Clone, Default)]
pub struct Health {
    checks: Arc<Mutex<Vec<Named>>>,
    withholds: bool,
}

/// One check that its owner sets. It fails with "not started" until it is set.
#[derive(Debug, Clone)]
pub struct Check(Arc<Mutex<Result<(), String>>>);

impl Check {
    /// All is well.
    pub fn ok(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Ok(());
    }

    /// It is not, and why.
    pub fn fail(&self, reason: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Err(reason.into());
    }
}

impl Health {
    /// No checks but `ping`.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same for an endpoint that strangers can reach: answers name the checks that fail, not why.
    pub fn withholding_reasons() -> Self {
        Self { withholds: true, ..Self::default() }
    }

    /// Adds a readiness check that its owner sets.
    pub fn register(&self, name: impl Into<String>) -> Check {
        let check = Check(Arc::new(Mutex::new(Err("not started".to_owned()))));
        let state = Arc::clone(&check.0);
        self.register_fn(name, Question::Ready, move || {
            state.lock().unwrap_or_else(PoisonError::into_inner).clone()
        });
        check
    }

    /// Adds a check that is asked each time. It must not block.
    pub fn register_fn(
        &self,
        name: impl Into<String>,
        question: Question,
        probe: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        let named = Named { name: name.into(), question, probe: Box::new(probe) };
        self.checks.lock().unwrap_or_else(PoisonError::into_inner).push(named);
    }

    /// Whether `/readyz` answers 200.
    pub fn is_ready(&self) -> bool {
        self.answer("/readyz", None).is_some_and(|(code, _)| code == StatusCode::OK)
    }

    /// Answers `/healthz`, `/livez`, `/readyz`, or one check as `/readyz/NAME`; `None` for other paths.
    pub fn answer(&self, path: &str, query: Option<&str>) -> Option<(StatusCode, String)> {
        let mut parts = path.trim_start_matches('/').splitn(2, '/');
        let endpoint = parts.next()?;
        let live_only = match endpoint {
            "livez" | "healthz" => true,
            "readyz" => false,
            _ => return None,
        };
        let only = parts.next().filter(|name| !name.is_empty());
        let flags: Vec<&str> = query.unwrap_or_default().split('&').collect();
        let verbose = flags.iter().any(|flag| matches!(flag.split('=').next(), Some("verbose")));
        let excluded: Vec<&str> = flags.iter().filter_map(|flag| flag.strip_prefix("exclude=")).collect();

        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        let mut failed = false;
        let mut found = only.is_none() || only == Some("ping");
        if found {
            text.push_str("[+]ping ok\n");
        }
        for check in checks.iter().filter(|check| !live_only || check.question == Question::Live) {
            if only.is_some_and(|only| only != check.name) {
                continue;
            }
            found = true;
            if excluded.contains(&check.name.as_str()) {
                let _ = writeln!(text, "[+]{} excluded: ok", check.name);
                continue;
            }
            match (check.probe)() {
                Ok(()) => {
                    let _ = writeln!(text, "[+]{} ok", check.name);
                }
                Err(reason) => {
                    failed = true;
                    let reason = if self.withholds { "reason withheld" } else { reason.as_str() };
                    let _ = writeln!(text, "[-]{} failed: {reason}", check.name);
                }
            }
        }
        Some(if !found {
            (StatusCode::NOT_FOUND, "404 page not found\n".to_owned())
        } else if failed {
            let _ = writeln!(text, "{endpoint} check failed");
            (StatusCode::INTERNAL_SERVER_ERROR, text)
        } else if verbose {
            let _ = writeln!(text, "{endpoint} check passed");
            (StatusCode::OK, text)
        } else {
            (StatusCode::OK, "ok".to_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_read_as_those_of_kubernetes() {
        let health = Health::new();
        let check = health.register("informer-sync");
        health.register_fn("log", Question::Live, || Ok(()));
        assert!(!health.is_ready());
        assert_eq!(
            health.answer("/readyz", None).expect("an answer"),
            (
                StatusCode::INTERNAL_SERVER_ERROR,
                "[+]ping ok\n[-]informer-sync failed: not started\n[+]log ok\nreadyz check failed\n".into()
            )
        );
        assert_eq!(health.answer("/livez", None), Some((StatusCode::OK, "ok".into())));
        check.ok();
        assert_eq!(health.answer("/readyz", Some("")), Some((StatusCode::OK, "ok".into())));
        assert_eq!(
            health.answer("/livez", Some("verbose")).expect("an answer").1,
            "[+]ping ok\n[+]log ok\nlivez check passed\n"
        );
        check.fail("lost it");
        assert_eq!(health.answer("/readyz", Some("exclude=informer-sync")).expect("one").0, StatusCode::OK);
        assert_eq!(health.answer("/readyz/log", None).expect("one").0, StatusCode::OK);
        assert_eq!(health.answer("/readyz/none", None).expect("one").0, StatusCode::NOT_FOUND);
        assert_eq!(health.answer("/version", None), None);
    }

    #[test]
    fn strangers_are_not_told_why() {
        let health = Health::withholding_reasons();
        health.register("disk").fail("/secret/path is full");
        let (_, text) = health.answer("/readyz", None).expect("an answer");
        assert!(text.contains("[-]disk failed: reason withheld"), "{text}");
    }
}
