//! ValidatingAdmissionPolicy and MutatingAdmissionPolicy: expressions of the cluster's own have a say in what is stored.
//!
//! ```text
//! write ─> policies, by name ─> matchConstraints ─> bindings, by name ─> matchResources ─> parameters
//!       ─> matchConditions ─┬─ validations, audit annotations ─> deny, warn, audit
//!                           └─ mutations: merged as applied, or patched
//! ```
//! A policy holds where a binding says so; without one it does nothing. Its expressions are compiled once for each
//! revision of it. Nothing here waits: parameters are read in the snapshot of the request.
//!
//! Read on: [`config`] (what is stored), [`validating`] and [`mutating`] (what is done), [`check`] and [`form`] (what is
//! refused when a policy is written).

mod check;
mod config;
mod form;
mod mutating;
mod validating;

use std::sync::Arc;

use api::codec;
use api::registry::ResourceDef;
use serde_json::Value;
use store::{Bucket, Key, Snapshot};

use self::config::{Binding, ParamRef, Policy};
use super::configured::Configured;
use super::matching::{Candidate, name_of};
use super::{Question, read};
use crate::pipeline::header;

pub(crate) use check::check_kind;
pub(crate) use mutating::Mutated;

/// The policies of a cluster.
pub(crate) struct Policies {
    validating: Configured<Policy>,
    validating_bindings: Configured<Binding>,
    mutating: Configured<Policy>,
    mutating_bindings: Configured<Binding>,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            validating: Configured::new("validatingadmissionpolicies.admissionregistration.k8s.io"),
            validating_bindings: Configured::new(
                "validatingadmissionpolicybindings.admissionregistration.k8s.io",
            ),
            mutating: Configured::new("mutatingadmissionpolicies.admissionregistration.k8s.io"),
            mutating_bindings: Configured::new(
                "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
            ),
        }
    }
}

impl Policies {
    /// Whether there may be policies that change objects.
    pub(crate) fn may_mutate(&self, snapshot: &Snapshot) -> bool {
        self.mutating_bindings.any(snapshot)
    }

    /// Whether there may be policies that judge objects.
    pub(crate) fn may_validate(&self, snapshot: &Snapshot) -> bool {
        self.validating_bindings.any(snapshot)
    }
}

/// The version of the resource in which a policy is about the request; none where it is not.
fn concerned<'v>(
    policy: &Policy,
    candidate: &Candidate<'_, 'v, Arc<ResourceDef>>,
) -> Option<&'v Arc<ResourceDef>> {
    candidate.within(&policy.spec.match_constraints.scope())
}

/// Whether a binding is about the request too.
fn is_bound(binding: &Binding, candidate: &Candidate<'_, '_, Arc<ResourceDef>>) -> bool {
    let resources = binding.spec.match_resources.as_ref();
    resources.is_none_or(|resources| candidate.within(&resources.scope()).is_some())
}

/// The kind of the parameters of a policy, where it has any; what is told where there is no such kind.
fn param_kind(policy: &Policy, question: &Question<'_>) -> Result<Option<Arc<ResourceDef>>, String> {
    let Some(kind) = &policy.spec.param_kind else { return Ok(None) };
    let (group, version) = kind.api_version.split_once('/').unwrap_or(("", &kind.api_version));
    match question.registry.kind(group, version, &kind.kind) {
        Some(def) => Ok(Some(def)),
        None => Err(format!(
            "failed to find resource referenced by paramKind: '{group}/{version}, Kind={}'",
            kind.kind
        )),
    }
}

/// The parameters that a binding names. Null stands for none, where none are asked for.
fn params(
    question: &Question<'_>,
    object: Option<&Value>,
    def: Option<&Arc<ResourceDef>>,
    binding: &Binding,
) -> Result<Vec<Value>, String> {
    let (Some(def), Some(wanted)) = (def, &binding.spec.param_ref) else { return Ok(vec![Value::Null]) };
    // A namespace is in itself.
    let own = match &*question.request.def.bucket {
        "namespaces" => name_of(&question.request, object),
        _ => question.request.namespace,
    };
    let namespace = match (def.namespaced, wanted.namespace.as_str()) {
        (true, "") if own.is_empty() => {
            let why =
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources";
            return Err(why.to_owned());
        }
        (true, "") => own,
        (true, named) => named,
        (false, "") => "",
        (false, _) => {
            return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".to_owned());
        }
    };
    let found = find(question.request.snapshot, def, namespace, wanted)?;
    if found.is_empty() && wanted.parameter_not_found_action == "Deny" {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned());
    }
    Ok(found)
}

fn find(
    snapshot: &Snapshot,
    def: &ResourceDef,
    namespace: &str,
    wanted: &ParamRef,
) -> Result<Vec<Value>, String> {
    let bucket = Bucket::new(def.bucket.clone());
    let shown = |mut object: Value| {
        codec::from_storage(def, &mut object);
        object
    };
    if !wanted.name.is_empty() {
        let entry = snapshot.get(&Key::new(&bucket, namespace, &wanted.name));
        return Ok(entry.and_then(|entry| read(entry)).map(shown).into_iter().collect());
    }
    let Some(selector) = &wanted.selector else {
        return Err("one of name or selector must be provided".to_owned());
    };
    let within = def.namespaced.then_some(namespace);
    let entries = snapshot.list(&bucket, within, None);
    let selected = entries.filter(|entry| selector.matches_with(|key| header(entry).labels.get(key)));
    Ok(selected.filter_map(|entry| read(entry)).map(shown).collect())
}
