//! Field selectors: `metadata.name=web,status.phase!=Running`.
//!
//! A value writes `\`, `,` and `=` with a `\` before them. Which fields can be selected differs by resource: that is
//! for [`FieldSelector::check_supported`].

use std::fmt;

use crate::status::Status;

/// One thing that a field must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldRequirement {
    /// As `metadata.name`.
    pub field: String,
    /// Whether the field must be something else.
    pub negated: bool,
    /// A field that is absent is the same as one that is empty.
    pub value: String,
}

impl fmt::Display for FieldRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.field, if self.negated { "!=" } else { "=" })?;
        for c in self.value.chars() {
            if matches!(c, '\\' | ',' | '=') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        Ok(())
    }
}

/// Requirements on fields, all of which must hold; sorted as text. The empty selector matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

impl FieldSelector {
    /// Matches every object.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Reads `a=b,c==d,e!=f`.
    pub fn parse(text: &str) -> Result<Self, ParseFieldSelectorError> {
        let mut terms = split_terms(text);
        terms.sort_unstable();
        let mut requirements = Vec::with_capacity(terms.len());
        for term in terms.into_iter().filter(|term| !term.is_empty()) {
            let (field, negated, value) = split_term(term).ok_or_else(|| ParseFieldSelectorError::Term {
                selector: text.to_owned(),
                term: term.to_owned(),
            })?;
            requirements.push(FieldRequirement { field: field.to_owned(), negated, value: unescape(value)? });
        }
        Ok(Self { requirements })
    }

    /// Whether it matches everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The requirements.
    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.requirements
    }

    /// Whether the fields that `get` finds are meant. An absent field is the same as an empty one.
    pub fn matches<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements
            .iter()
            .all(|term| (get(&term.field).unwrap_or_default() == term.value) != term.negated)
    }

    /// The value that `field` must have, if one is asked for: a list by name is a lookup.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.requirements.iter().find(|term| term.field == field && !term.negated).map(|term| &*term.value)
    }

    /// Refuses a field that is not among `supported`, those of the resource.
    pub fn check_supported(&self, supported: &[&str]) -> Result<(), ParseFieldSelectorError> {
        let Some(term) = self.requirements.iter().find(|term| !supported.contains(&&*term.field)) else {
            return Ok(());
        };
        let has_own = supported.iter().any(|field| !field.starts_with("metadata."));
        let field = term.field.clone();
        Err(if has_own {
            ParseFieldSelectorError::NotSupported { field }
        } else {
            ParseFieldSelectorError::OnlyMetadata { field }
        })
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{requirement}")?;
        }
        Ok(())
    }
}

impl std::str::FromStr for FieldSelector {
    type Err = ParseFieldSelectorError;

    fn from_str(text: &str) -> Result<Self, ParseFieldSelectorError> {
        Self::parse(text)
    }
}

/// Why a field selector cannot be understood or served, in Kubernetes' words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseFieldSelectorError {
    /// A term without `=`, `==` or `!=`.
    #[error("invalid selector: '{selector}'; can't understand '{term}'")]
    Term {
        /// The whole selector.
        selector: String,
        /// The term.
        term: String,
    },
    /// A `\` before what needs none, or at the end.
    #[error("invalid field selector: invalid escape sequence: {0}")]
    Escape(String),
    /// `=` in a value without a `\` before it; Kubernetes tells its number.
    #[error("invalid field selector: unescaped character in value: {}", u32::from(*.0))]
    Unescaped(char),
    /// Objects of this resource cannot be selected by this field.
    #[error("field label not supported: {field}")]
    NotSupported {
        /// The field.
        field: String,
    },
    /// Objects of this resource can be selected by name and namespace alone.
    #[error("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")]
    OnlyMetadata {
        /// The field.
        field: String,
    },
}

impl From<ParseFieldSelectorError> for Status {
    fn from(error: ParseFieldSelectorError) -> Self {
        Self::bad_request(error.to_string())
    }
}

/// The parts between commas that have no `\` before them.
fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

/// The term at its first operator: field, whether it is `!=`, value.
fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    term.char_indices().find_map(|(i, _)| {
        let (field, rest) = term.split_at(i);
        [("!=", true), ("==", false), ("=", false)]
            .into_iter()
            .find_map(|(operator, negated)| Some((field, negated, rest.strip_prefix(operator)?)))
    })
}

fn unescape(value: &str) -> Result<String, ParseFieldSelectorError> {
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => plain.push(c),
                Some(c) => return Err(ParseFieldSelectorError::Escape(format!("\\{c}"))),
                None => return Err(ParseFieldSelectorError::Escape("\\".to_owned())),
            },
            ',' | '=' => return Err(ParseFieldSelectorError::Unescaped(c)),
            c => plain.push(c),
        }
    }
    Ok(plain)
}
