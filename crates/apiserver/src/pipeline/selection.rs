//! Which objects a list or watch is about, decided from the stored header without decoding the object.

use std::sync::Arc;

use api::registry::ResourceDef;
use api::selector::{FieldSelector, Operator, Selector};
use api::status::Status;
use store::{Entry, Scope};

use super::options::shortened;
use super::types::{Answer, Target};
use super::{extract, object};

/// The longest selector that is read; a longer one is an attack or a mistake.
const LONGEST_SELECTOR: usize = 64 * 1024;

/// A label selector and a field selector.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    labels: Selector,
    fields: FieldSelector,
    name: Option<String>,
    def: Arc<ResourceDef>,
}

impl Selection {
    /// Reads both selectors. A target with a name selects that one.
    pub(super) fn parse(target: &Target, labels: &str, fields: &str) -> Answer<Self> {
        if labels.len() > LONGEST_SELECTOR || fields.len() > LONGEST_SELECTOR {
            return Err(Status::bad_request("the selector is too long"));
        }
        let labels = Selector::parse(labels).map_err(|error| Status::bad_request(error.to_string()))?;
        let fields = FieldSelector::parse(fields).map_err(|error| Status::bad_request(error.to_string()))?;
        supported(&target.def, &fields)?;
        let name = target.name.clone().or_else(|| fields.exact("metadata.name").map(str::to_owned));
        Ok(Self { labels, fields, name, def: target.def.clone() })
    }

    /// Whether every object matches.
    pub(super) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty() && self.name.is_none()
    }

    /// The only name that can match, where there is one.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The least part of a bucket that holds all that matches: what the store has an index for.
    pub(super) fn scope<'a>(&self, namespace: Option<&'a str>) -> Scope<'a> {
        let label = self.labels.requirements().iter().find_map(|requirement| {
            match (requirement.operator(), requirement.values()) {
                (Operator::Equals | Operator::DoubleEquals | Operator::In, [value]) => {
                    Some(extract::label_term(requirement.key(), value))
                }
                _ => None,
            }
        });
        let field =
            || {
                self.fields.requirements().iter().filter(|requirement| !requirement.negated).find_map(
                    |requirement| extract::indexed_field_term(&requirement.field, &requirement.value),
                )
            };
        match label.or_else(field) {
            Some(term) => Scope::Term(term, namespace),
            None => namespace.into(),
        }
    }

    /// Whether the object matches.
    pub(super) fn matches(&self, entry: &Entry) -> bool {
        if self.name.as_deref().is_some_and(|name| name != entry.key.name()) {
            return false;
        }
        let scanned;
        let header = if self.def.custom.is_some() && !self.fields.is_empty() {
            // The store does not know the fields of custom resources: they come and go with their definitions.
            scanned = api::object::scan(&self.def, &entry.value).unwrap_or_default();
            &scanned
        } else {
            object::header(entry)
        };
        (self.labels.is_empty() || self.labels.matches_with(|key| header.labels.get(key)))
            && (self.fields.is_empty()
                || self.fields.matches(|field| match field {
                    "metadata.name" => Some(entry.key.name()),
                    "metadata.namespace" => Some(entry.key.namespace()),
                    other => header.field(&self.def, other),
                }))
    }
}

/// Refuses fields that the kind cannot be selected by.
fn supported(def: &ResourceDef, fields: &FieldSelector) -> Answer<()> {
    for requirement in fields.requirements() {
        let field = requirement.field.as_str();
        let known = field == "metadata.name"
            || (field == "metadata.namespace")
            || def.fields.iter().any(|known| known.label == field);
        if !known {
            return Err(Status::bad_request(format!("field label not supported: {}", shortened(field))));
        }
    }
    Ok(())
}
