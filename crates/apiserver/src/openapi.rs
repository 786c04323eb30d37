//! The OpenAPI documents. Read on: `api::openapi`, which makes them.

use http::Response;
use http::request::Parts;

use crate::rest::Refusal;
use crate::serve::Body;

/// The documents, made when somebody asks.
#[derive(Default)]
pub(crate) struct OpenApi {}

impl OpenApi {
    /// `/openapi/v2`.
    pub(crate) fn v2(&self, _head: &Parts) -> Result<Response<Body>, Refusal> {
        Err(Refusal::NoSuchPath)
    }

    /// `/openapi/v3`.
    pub(crate) fn v3(&self, _head: &Parts) -> Result<Response<Body>, Refusal> {
        Err(Refusal::NoSuchPath)
    }

    /// `/openapi/v3/PATH`.
    pub(crate) fn v3_part(&self, _head: &Parts, _path: &str) -> Result<Response<Body>, Refusal> {
        Err(Refusal::NoSuchPath)
    }
}
