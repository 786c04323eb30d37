//! The cluster of this machine: up, down, status.

mod down;
mod layout;
mod status;
mod up;

pub(crate) use down::down;
pub(crate) use layout::DataDir;
pub(crate) use status::status;
pub(crate) use up::up;
