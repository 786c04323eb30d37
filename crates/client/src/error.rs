//! Why a request failed: the server's answer, or no answer.

use api::status::{Reason, Status};

/// A failed request.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server answered with a Status.
    #[error("{0}")]
    Status(Box<Status>),
    /// There was no answer: the connection failed, or what answered is not an apiserver.
    #[error("talk to the apiserver")]
    Transport(#[source] Box<tonic::Status>),
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
    Config(#[source] Box<dyn std::error::Error + Send + Sync>),
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
            Self::Transport(grpc) => rpc::status::from_grpc(grpc),
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
                _ => Self::Transport(Box::new(grpc)),
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
        assert_eq!(refused.to_status().reason, Some(Reason::ServiceUnavailable));
        assert!(!ClientError::from(Status::not_found("", "pods", "a")).is_retryable());
    }
}
