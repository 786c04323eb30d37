//! The informer against a scripted source, on paused time.
