//! The generated code of `/proto/etcdserverpb`, whose comments are its documentation.
#![allow(missing_docs, clippy::all, clippy::pedantic)]

tonic::include_proto!("etcdserverpb");
