//! The house rules that no lint knows, as tests.
//!
//! [`Repository`] reads the files once; [`text`] holds the rules that look at one file, as functions from text to
//! complaints. The tests in `tests/rules` apply them to everything here, and say file and line of each offence.
//! ARCHITECTURE.md says why the rules are what they are.

pub mod repository;
pub mod text;

pub use repository::{File, Repository};

/// An offence: where, and which rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Complaint(pub String);

impl Complaint {
    /// About a line, counted from one.
    pub fn at(file: &File, line: usize, what: impl std::fmt::Display) -> Self {
        Self(format!("{}:{line}: {what}", file.path))
    }
}

/// Fails with all complaints at once.
///
/// # Panics
/// When there are any.
#[track_caller]
pub fn assert_tidy(complaints: impl IntoIterator<Item = Complaint>) {
    let mut complaints: Vec<String> = complaints.into_iter().map(|Complaint(text)| text).collect();
    complaints.sort();
    assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
}
