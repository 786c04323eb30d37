//! From a container of the spec to what the runtime is asked to make. Pure, but for what [`References`] fetched.

pub mod config;
pub mod env;
pub mod fields;
pub mod resources;

pub use config::{ConfigError, container_config, sandbox_config};
pub use env::References;
