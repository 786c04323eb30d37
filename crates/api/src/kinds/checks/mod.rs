//! What is wrong with an object beyond its metadata, for the kinds whose rules are many: pods and what makes them,
//! Services, storage, autoscaling.
//!
//! The rules of smaller kinds stand in the kind's own file.

pub(super) mod amounts;
pub(super) mod autoscaler;
pub(super) mod cluster;
mod container;
pub(super) mod cron;
mod field_ref;
pub(super) mod flow;
mod handler;
pub(super) mod job;
pub(super) mod network;
#[cfg(test)]
mod others_refused;
pub(super) mod pod_spec;
pub(super) mod pod_update;
#[cfg(test)]
mod pods_refused;
#[cfg(test)]
mod refusals;
mod resources;
mod scheduling;
mod security;
pub(super) mod service;
pub(super) mod small;
pub(super) mod status;
pub(super) mod storage;
#[cfg(test)]
mod tests;
mod volume;
pub(super) mod webhook;
pub(super) mod workload;

use std::fmt;

use serde_json::Value;

use super::access::{has, int, text};
use super::metadata::NOT_NEGATIVE;
use super::path::Path;
use crate::field::FieldError;
use crate::names;

/// A number that must not be less than zero.
fn not_negative(owner: &Value, name: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if let Some(number) = int(owner, name).filter(|number| *number < 0) {
        errors.push(FieldError::invalid(path.field(name), number, NOT_NEGATIVE));
    }
}

/// A text that must be one of a few, where it is there.
fn one_of(owner: &Value, name: &str, supported: &[&str], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if has(owner, name) && !supported.contains(&text(owner, name)) {
        errors.push(FieldError::not_supported(path.field(name), text(owner, name), supported));
    }
}

/// A text that must be there.
fn required(owner: &Value, name: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if text(owner, name).is_empty() {
        errors.push(FieldError::required(path.field(name), ""));
    }
}

/// A text that must be of a form, where it is not empty.
fn formed(
    owner: &Value,
    name: &str,
    rule: fn(&str) -> Vec<String>,
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) {
    let value = text(owner, name);
    if !value.is_empty() {
        all_wrong(rule(value), value, path.field(name), errors);
    }
}

/// Reports each reason for which a value is wrong.
fn all_wrong(reasons: Vec<String>, value: &str, field: impl fmt::Display, errors: &mut Vec<FieldError>) {
    errors.extend(reasons.into_iter().map(|why| FieldError::invalid(&field, value, why)));
}

/// A port: a number, or the name of one.
fn port(value: &Value, field: impl fmt::Display, errors: &mut Vec<FieldError>) {
    match value {
        Value::String(name) => all_wrong(names::port_name(name), name, field, errors),
        other => {
            let number = other.as_i64().unwrap_or_default();
            if let Some(why) = names::port_number(number) {
                errors.push(FieldError::invalid(field, number, why));
            }
        }
    }
}
