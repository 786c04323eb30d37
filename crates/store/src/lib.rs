//! Revisions over bytes: the log, its sled index, and the state in memory.
