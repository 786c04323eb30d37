//! All daemons in one process, on a fake container runtime.
