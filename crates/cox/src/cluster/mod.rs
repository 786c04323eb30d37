//! The cluster of this machine: up, down, status; and what it stores: backup, restore, keys.

mod backup;
mod down;
mod layout;
mod restore;
mod status;
mod up;

pub(crate) use backup::{backup, rotate_keys};
pub(crate) use down::down;
pub(crate) use layout::DataDir;
pub(crate) use restore::restore;
pub(crate) use status::status;
pub(crate) use up::up;
