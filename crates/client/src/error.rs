//! Why a request failed: the server's answer, or no answer.

use std::error::Error;

use api::status::{Reason, Status};

/// The cause that Kubernetes gives for a version that has not been given yet.
const TOO_LARGE: &str = "ResourceVersionTooLarge";

/// A failed request.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server answered with a Status.
    #[error("{0}")]
    Status(Box<Status>),
    /// There was no answer: the connection failed, or what answered is not an apiserver.
    #[error("talk to the apiserver")]
    Transport(#[source] NoAnswer),
    /// The object to send cannot be encoded.
    #[error("encode the request")]
    Encode(#[source] serde_json::Error),
    /// The object that came is not what the caller's projection expects.
    #[error("decode {what}")]
    Decode {
        /// As `pods default/web`.
        what: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The answer breaks the contract.
    #[error("unexpected answer: {0}")]
    Protocol(&'static str),
    /// The connection's settings cannot work.
    #[error("configure the connection")]
    Config(#[source] Box<dyn Error + Send + Sync>),
}

/// Why there was no answer.
#[derive(Debug)]
pub struct NoAnswer(Box<tonic::Status>);

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.message())
    }
}

impl Error for NoAnswer {
    /// The innermost cause: those between it and the message say nothing but "transport error".
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let mut cause = self.0.source()?;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        Some(cause)
    }
}

impl ClientError {
    /// The server's answer, if it answered.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Status(status) => Some(status),
            Self::Transport(_)
            | Self::Encode(_)
            | Self::Decode { .. }
            | Self::Protocol(_)
            | Self::Config(_) => None,
        }
    }

    fn reason(&self) -> Option<Reason> {
        self.status().and_then(|status| status.reason)
    }

    /// There is no such object.
    pub fn is_not_found(&self) -> bool {
        self.reason() == Some(Reason::NotFound)
    }

    /// There is one of that name.
    pub fn is_already_exists(&self) -> bool {
        self.reason() == Some(Reason::AlreadyExists)
    }

    /// The object has changed since it was read (or its uid is another).
    pub fn is_conflict(&self) -> bool {
        self.reason() == Some(Reason::Conflict)
    }

    /// The version asked for is no longer kept: list again.
    pub fn is_expired(&self) -> bool {
        matches!(self.reason(), Some(Reason::Expired | Reason::Gone))
    }

    /// The version asked for has not been given yet: the server lost its newest ones (it was restored from a
    /// backup, or kept them in memory only). List again.
    pub fn is_too_large_resource_version(&self) -> bool {
        let details = self.status().and_then(|status| status.details.as_ref());
        details.is_some_and(|details| details.causes.iter().any(|cause| cause.reason == TOO_LARGE))
    }

    /// Whether the same request may succeed later, unchanged.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Transport(_) => true,
            Self::Status(status) => status.reason.is_some_and(Reason::retryable),
            Self::Encode(_) | Self::Decode { .. } | Self::Protocol(_) | Self::Config(_) => false,
        }
    }

    /// As a Status, for those who show it to a user.
    pub fn to_status(&self) -> Status {
        match self {
            Self::Status(status) => (**status).clone(),
            Self::Transport(no_answer) => rpc::status::from_grpc(&no_answer.0),
            Self::Encode(_) | Self::Decode { .. } | Self::Protocol(_) | Self::Config(_) => {
                Status::failure(Reason::InternalError, component::ErrorChain(self).to_string())
            }
        }
    }
}

impl From<tonic::Status> for ClientError {
    fn from(grpc: tonic::Status) -> Self {
        match rpc::status::carried(&grpc) {
            Some(status) => Self::Status(Box::new(status)),
            // A server of ours always attaches a Status. Codes that only a server gives still mean its answer.
            None => match grpc.code() {
                tonic::Code::Unimplemented
                | tonic::Code::Unauthenticated
                | tonic::Code::PermissionDenied
                | tonic::Code::NotFound
                | tonic::Code::OutOfRange
                | tonic::Code::InvalidArgument
                | tonic::Code::ResourceExhausted => Self::Status(Box::new(rpc::status::from_grpc(&grpc))),
                _ => Self::Transport(NoAnswer(Box::new(grpc))),
            },
        }
    }
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_and_no_answer_are_told_apart() {
        let gone = rpc::status::to_grpc(Status::failure(Reason::Expired, "too old resource version"));
        assert!(ClientError::from(gone).is_expired());
        let refused = ClientError::from(tonic::Status::unavailable("connection refused"));
        assert!(matches!(refused, ClientError::Transport(_)) && refused.is_retryable());
        assert_eq!(component::ErrorChain(&refused).to_string(), "talk to the apiserver: connection refused");
        assert_eq!(refused.to_status().reason, Some(Reason::ServiceUnavailable));
        assert!(!ClientError::from(Status::not_found("", "pods", "a")).is_retryable());
    }
}
