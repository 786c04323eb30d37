//! `metav1.Status`: the one form in which the API tells an error, with its HTTP code fixed by its reason.
//!
//! The wording of each constructor is that of Kubernetes, since clients and their users compare it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a request failed, in one word (`metav1.StatusReason`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// 400: the request makes no sense.
    BadRequest,
    /// 401: who asks is not known.
    Unauthorized,
    /// 403: who asks may not.
    Forbidden,
    /// 404: there is no such object or resource.
    NotFound,
    /// 405: the resource does not have this verb.
    MethodNotAllowed,
    /// 406: none of the accepted encodings is served.
    NotAcceptable,
    /// 409: there is an object of that name.
    AlreadyExists,
    /// 409: the object has changed since it was read.
    Conflict,
    /// 410: the version or page asked for is no longer kept.
    Expired,
    /// 410: what was asked for is gone for good.
    Gone,
    /// 413: the body is too large.
    RequestEntityTooLarge,
    /// 415: the encoding of the body is not understood.
    UnsupportedMediaType,
    /// 422: the object is understood and not valid.
    Invalid,
    /// 429: come back later.
    TooManyRequests,
    /// 500: the server failed.
    InternalError,
    /// 500: the server could not do it in time; trying again is safe.
    ServerTimeout,
    /// 503: the server cannot serve now.
    ServiceUnavailable,
    /// 504: it took too long.
    Timeout,
}

impl Reason {
    /// Every reason, for tables in tests.
    pub const ALL: [Self; 18] = [
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::AlreadyExists,
        Self::Conflict,
        Self::Expired,
        Self::Gone,
        Self::RequestEntityTooLarge,
        Self::UnsupportedMediaType,
        Self::Invalid,
        Self::TooManyRequests,
        Self::InternalError,
        Self::ServerTimeout,
        Self::ServiceUnavailable,
        Self::Timeout,
    ];

    /// The HTTP status code.
    pub fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::Expired | Self::Gone => 410,
            Self::RequestEntityTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Invalid => 422,
            Self::TooManyRequests => 429,
            Self::InternalError | Self::ServerTimeout => 500,
            Self::ServiceUnavailable => 503,
            Self::Timeout => 504,
        }
    }

    /// Whether the same request may succeed later, unchanged.
    pub fn retryable(self) -> bool {
        match self {
            Self::TooManyRequests
            | Self::InternalError
            | Self::ServerTimeout
            | Self::ServiceUnavailable
            | Self::Timeout => true,
            Self::BadRequest
            | Self::Unauthorized
            | Self::Forbidden
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::NotAcceptable
            | Self::AlreadyExists
            | Self::Conflict
            | Self::Expired
            | Self::Gone
            | Self::RequestEntityTooLarge
            | Self::UnsupportedMediaType
            | Self::Invalid => false,
        }
    }
}

/// One thing that is wrong (`metav1.StatusCause`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cause {
    /// As `FieldValueInvalid`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// A sentence for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// As `spec.containers[0].image`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
}

/// What a failure is about (`metav1.StatusDetails`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Details {
    /// The object's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The group of the resource or kind.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The resource (`pods`), or the kind (`Pod`) where an object is not valid.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The object's uid.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Each thing that is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// When to come back, in seconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub retry_after_seconds: i32,
}

/// The list metadata that a Status carries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListMeta {
    /// Where a list can go on that is too old to go on consistently; else empty.
    #[serde(rename = "continue", skip_serializing_if = "String::is_empty")]
    pub continue_token: String,
}

/// `metav1.Status`, as an error. Successes (a deletion's answer) are built where they are sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Always `Status`.
    pub kind: String,
    /// Always `v1`.
    pub api_version: String,
    /// Almost always empty.
    #[serde(default)]
    pub metadata: ListMeta,
    /// `Failure` (or `Success`).
    pub status: String,
    /// A sentence for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Absent in a success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<Details>>,
    /// The HTTP status code.
    #[serde(default)]
    pub code: u16,
}

impl Status {
    /// A failure of `reason`.
    pub fn failure(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            kind: "Status".to_owned(),
            api_version: "v1".to_owned(),
            metadata: ListMeta::default(),
            status: "Failure".to_owned(),
            message: message.into(),
            reason: Some(reason),
            details: None,
            code: reason.code(),
        }
    }

    /// The same with details.
    #[must_use]
    pub fn with_details(mut self, details: Details) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// There is no object `name` of `resource` in `group`.
    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        Self::failure(Reason::NotFound, format!("{} \"{name}\" not found", qualified(group, resource)))
            .with_details(about(group, resource, name))
    }

    /// There is an object `name` of `resource` in `group` already.
    pub fn already_exists(group: &str, resource: &str, name: &str) -> Self {
        Self::failure(
            Reason::AlreadyExists,
            format!("{} \"{name}\" already exists", qualified(group, resource)),
        )
        .with_details(about(group, resource, name))
    }

    /// The write would lose another's change.
    pub fn conflict(group: &str, resource: &str, name: &str, why: &str) -> Self {
        Self::failure(
            Reason::Conflict,
            format!("Operation cannot be fulfilled on {} \"{name}\": {why}", qualified(group, resource)),
        )
        .with_details(about(group, resource, name))
    }

    /// The request makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::failure(Reason::BadRequest, message)
    }

    /// The server failed; `why` reaches the client.
    pub fn internal(why: impl fmt::Display) -> Self {
        let mut status = Self::failure(Reason::InternalError, format!("Internal error occurred: {why}"));
        let causes = vec![Cause { message: why.to_string(), ..Cause::default() }];
        status.details = Some(Box::new(Details { causes, ..Details::default() }));
        status
    }

    /// Whether the reason is NotFound.
    pub fn is_not_found(&self) -> bool {
        self.reason == Some(Reason::NotFound)
    }

    /// Whether the reason is AlreadyExists.
    pub fn is_already_exists(&self) -> bool {
        self.reason == Some(Reason::AlreadyExists)
    }

    /// Whether the reason is Conflict.
    pub fn is_conflict(&self) -> bool {
        self.reason == Some(Reason::Conflict)
    }

    /// Whether what was asked for is no longer kept (Expired or Gone): list again.
    pub fn is_expired(&self) -> bool {
        matches!(self.reason, Some(Reason::Expired | Reason::Gone))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

/// `deployments.apps`, or `pods` for the core group.
pub fn qualified(group: &str, resource: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

fn about(group: &str, kind: &str, name: &str) -> Details {
    Details { name: name.to_owned(), group: group.to_owned(), kind: kind.to_owned(), ..Details::default() }
}

fn is_zero(number: &i32) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_deployment_reads_as_in_kubernetes() {
        let status = Status::not_found("apps", "deployments", "web");
        assert_eq!(status.code, 404);
        assert_eq!(status.message, "deployments.apps \"web\" not found");
    }

    #[test]
    fn a_status_survives_the_wire() {
        let status = Status::conflict("", "pods", "a", "the object has been modified");
        let wire = serde_json::to_string(&status).expect("a status encodes");
        assert_eq!(serde_json::from_str::<Status>(&wire).expect("a status decodes"), status);
    }
}
