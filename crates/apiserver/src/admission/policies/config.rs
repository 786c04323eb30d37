//! Policies and their bindings, as they are stored, and what is compiled of them.

use std::sync::OnceLock;

use api::selector::LabelSelector;
use serde::Deserialize;

use crate::admission::expressions::{Conditions, Expression, Named, POLICY_VARIABLES};
use crate::admission::matching::{Rule, Scope};

/// What an object is called.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Metadata {
    pub name: String,
}

/// A ValidatingAdmissionPolicy or a MutatingAdmissionPolicy.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Policy {
    pub metadata: Metadata,
    pub spec: Spec,
    #[serde(skip)]
    pub conditions: Conditions,
    #[serde(skip)]
    compiled: OnceLock<Compiled>,
}

/// The fields of a policy.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Spec {
    pub failure_policy: String,
    pub param_kind: Option<ParamKind>,
    pub match_constraints: MatchResources,
    pub match_conditions: Vec<Named>,
    variables: Vec<Named>,
    validations: Vec<Validation>,
    audit_annotations: Vec<AuditAnnotation>,
    mutations: Vec<Mutation>,
    pub reinvocation_policy: String,
}

/// Of what kind parameters are.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ParamKind {
    pub api_version: String,
    pub kind: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Validation {
    expression: String,
    message: String,
    message_expression: String,
    reason: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AuditAnnotation {
    key: String,
    value_expression: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Mutation {
    patch_type: String,
    apply_configuration: Source,
    json_patch: Source,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Source {
    expression: String,
}

/// Which requests are meant.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct MatchResources {
    match_policy: String,
    namespace_selector: LabelSelector,
    object_selector: LabelSelector,
    resource_rules: Vec<Rule>,
    exclude_resource_rules: Vec<Rule>,
}

impl MatchResources {
    pub(super) fn scope(&self) -> Scope<'_> {
        Scope {
            rules: &self.resource_rules,
            excluded: &self.exclude_resource_rules,
            equivalent: self.match_policy != "Exact",
            namespaces: &self.namespace_selector,
            objects: &self.object_selector,
        }
    }
}

/// The expressions of a policy.
#[derive(Debug, Default)]
pub(super) struct Compiled {
    pub variables: Vec<(String, Expression)>,
    pub checks: Vec<Check>,
    /// With their keys.
    pub annotations: Vec<(String, Expression)>,
    pub changes: Vec<Change>,
}

/// Something that must hold.
#[derive(Debug)]
pub(super) struct Check {
    pub expression: Expression,
    pub message: String,
    pub message_expression: Option<Expression>,
    pub reason: String,
}

/// Something that is changed.
#[derive(Debug)]
pub(super) enum Change {
    /// By a document that is merged.
    Apply(Expression),
    /// By operations.
    Patch(Expression),
}

impl Policy {
    /// Whether what goes wrong is let through.
    pub(super) fn ignores_failure(&self) -> bool {
        self.spec.failure_policy == "Ignore"
    }

    /// The expressions, compiled when they are needed for the first time.
    pub(super) fn compiled(&self) -> &Compiled {
        self.compiled.get_or_init(|| {
            let new = |source: &str| Expression::new(source, &POLICY_VARIABLES);
            let spec = &self.spec;
            let is_mutating = !spec.mutations.is_empty();
            let variable = |own: &Named| {
                let expression = match is_mutating {
                    true => Expression::mutation(&own.expression, &POLICY_VARIABLES),
                    false => new(&own.expression),
                };
                (own.name.clone(), expression)
            };
            Compiled {
                variables: spec.variables.iter().map(variable).collect(),
                checks: spec
                    .validations
                    .iter()
                    .map(|own| Check {
                        expression: new(&own.expression),
                        message: own.message.trim().to_owned(),
                        message_expression: Some(own.message_expression.trim())
                            .filter(|source| !source.is_empty())
                            .map(new),
                        reason: own.reason.clone(),
                    })
                    .collect(),
                annotations: spec
                    .audit_annotations
                    .iter()
                    .map(|own| (own.key.clone(), new(&own.value_expression)))
                    .collect(),
                changes: spec.mutations.iter().map(Mutation::compile).collect(),
            }
        })
    }
}

impl Mutation {
    fn compile(&self) -> Change {
        let new = |source: &str| Expression::mutation(source, &POLICY_VARIABLES);
        match self.patch_type.as_str() {
            "JSONPatch" => Change::Patch(new(&self.json_patch.expression)),
            _ => Change::Apply(new(&self.apply_configuration.expression)),
        }
    }
}

/// Where a policy holds, and with what parameters.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Binding {
    pub metadata: Metadata,
    pub spec: BindingSpec,
}

/// The fields of a binding.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct BindingSpec {
    pub policy_name: String,
    pub param_ref: Option<ParamRef>,
    pub match_resources: Option<MatchResources>,
    pub validation_actions: Vec<String>,
}

/// Which parameters.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ParamRef {
    pub name: String,
    pub namespace: String,
    pub parameter_not_found_action: String,
    pub selector: Option<LabelSelector>,
}
