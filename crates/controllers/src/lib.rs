//! Every reconcile loop.
