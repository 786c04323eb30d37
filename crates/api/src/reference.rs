//! The recorded facts of a real Kubernetes that some tests compare with. They are no part of the repository: where
//! they are absent, such a test says so and passes.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// A folder or file of the reference, or `None` where there is none.
pub(crate) fn path(name: &str) -> Option<PathBuf> {
    let root = match std::env::var_os("COXSWAIN_REFERENCE") {
        Some(root) => Some(PathBuf::from(root)),
        None => Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .map(|folder| folder.join("shared/reference"))
            .find(|folder| folder.is_dir()),
    };
    let path = root.map(|root| root.join(name)).filter(|path| path.exists());
    if path.is_none() {
        println!("skipped: no reference has {name}");
    }
    path
}

/// The recorded exchanges, in order.
pub(crate) fn recorded() -> Option<Vec<Value>> {
    let text = std::fs::read_to_string(path("recorded.jsonl")?).expect("the recorded exchanges");
    Some(text.lines().map(|line| serde_json::from_str(line).expect("an exchange")).collect())
}
