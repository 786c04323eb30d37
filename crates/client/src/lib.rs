//! Typed client over gRPC, informer cache, work queue, event recorder.
