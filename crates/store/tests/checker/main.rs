//! A checker for recorded histories of a store, and the proof that it notices what a broken store does.
//!
//! [`record`] runs many clients against a [`subject::Subject`] at once and notes what each asked and was told, and in
//! which order; [`check`] says what in that cannot be, from the notes alone. A real store passes on every backend;
//! each of the [`mutants`] (a store that breaks one promise, behind the same interface) is caught.
//! `COXSWAIN_STORE_HISTORIES=n` records n histories of each backend instead of a few.

mod check;
mod mutants;
mod record;
mod sled_alone;
mod subject;

use std::collections::BTreeSet;
use std::sync::Arc;

use store::testing::{ticking_clock, word_terms};
use store::{Backend, LogOptions, Options, Store, Window};

use crate::mutants::{Mutant, Mutated};
use crate::record::Plan;
use crate::sled_alone::SledAlone;
use crate::subject::Real;

/// Histories of each backend.
fn histories() -> u64 {
    std::env::var("COXSWAIN_STORE_HISTORIES").ok().and_then(|text| text.parse().ok()).unwrap_or(4)
}

fn options(backend: Backend) -> Options {
    // A log goes on where memory ends.
    let window = match backend {
        Backend::Memory | Backend::Etcd(_) => Window::default(),
        Backend::Log(_) => Window { events: 64, bytes: 1 << 20 },
    };
    Options { clock: ticking_clock(), window, ..Options::new(backend, word_terms()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_store_in_memory_tells_many_clients_can_be() {
    for seed in 0..histories() {
        // Without restarts: it would forget all.
        let make: subject::Open = Arc::new(|| Store::open(options(Backend::Memory)).expect("memory opens"));
        let plan = Plan { seed, rounds: 1, clients: 6, steps: 60 };
        let history = record::record(Arc::new(Real::new(make)), &plan).await;
        assert_eq!(check::check(&history), Vec::<String>::new(), "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_store_in_a_log_tells_many_clients_can_be_over_restarts_too() {
    for seed in 0..histories() {
        let dir = tempfile::tempdir().expect("a directory");
        let log = LogOptions { segment_bytes: 8 << 10, ..LogOptions::new(dir.path()) };
        let make: subject::Open =
            Arc::new(move || Store::open(options(Backend::Log(log.clone()))).expect("it opens"));
        let plan = Plan { seed, rounds: 3, clients: 6, steps: 30 };
        let history = record::record(Arc::new(Real::new(make)), &plan).await;
        assert_eq!(check::check(&history), Vec::<String>::new(), "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mutant_of_a_store_is_caught() {
    assert!(Mutant::ALL.len() >= 30);
    assert_eq!(Mutant::ALL.iter().collect::<BTreeSet<_>>().len(), Mutant::ALL.len());
    let mut missed = Vec::new();
    for mutant in Mutant::ALL.iter().copied() {
        let caught = caught(|store| Mutated::new(store, mutant)).await;
        if !caught {
            missed.push(mutant);
        }
    }
    assert_eq!(missed, Vec::new(), "not noticed");
    assert!(!caught(Mutated::tame).await, "what stands around a mutant does no wrong");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sled_alone_does_not_keep_what_it_was_given() {
    let faults = async |rounds: usize| {
        let dir = tempfile::tempdir().expect("a directory");
        let subject = SledAlone::new(dir.path().to_owned());
        let plan = Plan { seed: 1, rounds, clients: 4, steps: 40 };
        check::check(&record::record(Arc::new(subject), &plan).await)
    };
    assert_eq!(faults(1).await, Vec::<String>::new(), "it does well until it is killed");
    let lost = faults(2).await;
    assert!(!lost.is_empty(), "what was acknowledged is there");
}

/// Whether the checker notices it within some histories.
async fn caught(mutate: impl Fn(Real) -> Mutated) -> bool {
    for seed in 0..12 {
        let dir = tempfile::tempdir().expect("a directory");
        let log = LogOptions::new(dir.path());
        let make: subject::Open =
            Arc::new(move || Store::open(options(Backend::Log(log.clone()))).expect("it opens"));
        let plan = Plan { seed, rounds: 2, clients: 3, steps: 40 };
        let subject = mutate(Real::new(make));
        let history = record::record(Arc::new(subject), &plan).await;
        if !check::check(&history).is_empty() {
            return true;
        }
    }
    false
}
