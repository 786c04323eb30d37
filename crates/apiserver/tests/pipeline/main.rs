//! The pipeline in process, on a store in memory. Read on: [`harness`] for how the tests speak to it.

mod access;
mod concurrent;
mod conversion;
mod harness;
mod hostile;
mod model;
mod pods;
mod policies;
mod quotas;
mod reads;
mod recorded;
mod refused;
mod samples;
mod services;
mod verbs;
mod webhooks;
