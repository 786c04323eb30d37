//! Real binaries, real Docker Engine, real kubectl.
//!
//! [`Host`] is a machine of its own in a temporary directory: a Docker Engine with its own data and socket, and the
//! cluster that `cox up` starts beside it. [`Namespace`] is where one test works. Waiting follows watches: a test waits
//! for what it wants to see, never for time to pass.

pub mod datagrams;
mod engine;
mod host;
mod http;
mod namespace;
mod process;
mod soak;

pub use engine::Engine;
pub use host::{Host, PORT};
pub use http::{Answer, get};
pub use namespace::{Namespace, is_ready};
pub use process::{Output, run};
pub use soak::{Soak, soak};

/// How long anything may take to happen. Generous: a machine under test is slow at times, and nothing waits longer
/// than it has to.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(90);
