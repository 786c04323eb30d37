//! The house rules, applied to the whole repository. Read next: `sources.rs`, `crates.rs`, `layout.rs`.

mod crates;
mod layout;
mod sources;

use std::sync::LazyLock;

use tidy::Repository;

/// Read once for all tests.
static REPOSITORY: LazyLock<Repository> = LazyLock::new(Repository::read);
