//! The recorded facts of a real Kubernetes that some tests compare with. They are no part of the repository: where
//! they are absent, such a test says so and passes.

use std::path::PathBuf;

use serde_json::Value;

/// A folder or file of the reference, or `None` where there is none.
pub(crate) fn path(name: &str) -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/reference");
    let root = std::env::var_os("COXSWAIN_REFERENCE").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: no reference at {}", path.display());
    None
}

/// The recorded exchanges, in order.
pub(crate) fn recorded() -> Option<Vec<Value>> {
    let text = std::fs::read_to_string(path("recorded.jsonl")?).expect("the recorded exchanges");
    Some(text.lines().map(|line| serde_json::from_str(line).expect("an exchange")).collect())
}
