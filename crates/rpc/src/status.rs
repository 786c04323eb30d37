//! The one place where a Kubernetes [`Status`] becomes a gRPC status and back.
//!
//! The gRPC code follows from the reason by a fixed table; the whole Status travels as JSON in the details, so
//! nothing is lost between two of our daemons. The details have the form that gRPC prescribes, a
//! `google.rpc.Status`, so that clients of other makes (grpcurl) show it, too. What comes without details (from a proxy, from the transport,
//! from a server of another make) is given the reason that fits its code best.

use api::status::{Reason, Status};
use prost::Message as _;
use tonic::Code;

/// The most bytes of details that are sent: they travel in a header, which both ends bound.
const MAX_DETAILS: usize = 48 * 1024;

/// The most bytes of the message that are repeated in `grpc-message` (the details have it whole).
const MAX_MESSAGE: usize = 1024;

/// How the JSON is labelled among the details.
const TYPE_URL: &str = "type.googleapis.com/google.protobuf.StringValue";

/// `google.rpc.Status`: what stands in the header `grpc-status-details-bin`.
#[derive(Clone, PartialEq, prost::Message)]
struct RichStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// The gRPC code for a reason.
pub fn code(reason: Reason) -> Code {
    match reason {
        Reason::BadRequest
        | Reason::Invalid
        | Reason::NotAcceptable
        | Reason::UnsupportedMediaType
        | Reason::RequestEntityTooLarge => Code::InvalidArgument,
        Reason::Unauthorized => Code::Unauthenticated,
        Reason::Forbidden => Code::PermissionDenied,
        Reason::NotFound => Code::NotFound,
        Reason::MethodNotAllowed => Code::Unimplemented,
        Reason::AlreadyExists => Code::AlreadyExists,
        Reason::Conflict => Code::Aborted,
        Reason::Expired | Reason::Gone => Code::OutOfRange,
        Reason::TooManyRequests => Code::ResourceExhausted,
        Reason::InternalError => Code::Internal,
        Reason::ServerTimeout | Reason::ServiceUnavailable => Code::Unavailable,
        Reason::Timeout => Code::DeadlineExceeded,
    }
}

/// The reason for a gRPC code that came without a Status.
pub fn reason(code: Code) -> Reason {
    match code {
        Code::InvalidArgument | Code::FailedPrecondition => Reason::BadRequest,
        Code::Unauthenticated => Reason::Unauthorized,
        Code::PermissionDenied => Reason::Forbidden,
        Code::NotFound => Reason::NotFound,
        Code::Unimplemented => Reason::MethodNotAllowed,
        Code::AlreadyExists => Reason::AlreadyExists,
        Code::Aborted => Reason::Conflict,
        Code::OutOfRange => Reason::Expired,
        Code::ResourceExhausted => Reason::TooManyRequests,
        Code::Unavailable => Reason::ServiceUnavailable,
        Code::DeadlineExceeded | Code::Cancelled => Reason::Timeout,
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => Reason::InternalError,
    }
}

/// A Kubernetes Status as a gRPC status, whole in the details.
///
/// A Status with more causes than a header holds loses the last of them.
pub fn to_grpc(status: Status) -> tonic::Status {
    let code = status.reason.map_or(Code::Unknown, code);
    let message = shortened(&status.message).to_owned();
    let json = prost_types::Any { type_url: TYPE_URL.to_owned(), value: encode(status).encode_to_vec() };
    let rich = RichStatus { code: code.into(), message: message.clone(), details: vec![json] };
    tonic::Status::with_details(code, message, rich.encode_to_vec().into())
}

/// The Kubernetes Status that a gRPC status carries, or else the nearest one to its code.
pub fn from_grpc(grpc: &tonic::Status) -> Status {
    carried(grpc).unwrap_or_else(|| Status::failure(reason(grpc.code()), grpc.message()))
}

/// The Kubernetes Status that a gRPC status carries: `None` where the failure is not the server's answer.
pub fn carried(grpc: &tonic::Status) -> Option<Status> {
    let rich = RichStatus::decode(grpc.details()).ok()?;
    let json = rich.details.iter().find(|detail| detail.type_url == TYPE_URL)?;
    let json = String::decode(json.value.as_slice()).ok()?;
    serde_json::from_str(&json).ok()
}

fn encode(mut status: Status) -> String {
    loop {
        let json = serde_json::to_string(&status).expect("a Status holds only what JSON can");
        if json.len() <= MAX_DETAILS {
            return json;
        }
        match &mut status.details {
            Some(details) if !details.causes.is_empty() => {
                details.causes.truncate(details.causes.len() / 2);
            }
            _ => {
                let kept = shortened(&status.message).to_owned();
                status.message = kept;
                status.details = None;
            }
        }
    }
}

fn shortened(message: &str) -> &str {
    let mut end = message.len().min(MAX_MESSAGE);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}

#[cfg(test)]
mod tests {
    use api::status::{Cause, Details};

    use super::*;

    #[test]
    fn every_reason_survives_the_way_there_and_back() {
        for reason in Reason::ALL {
            let status = Status::failure(reason, format!("it is {reason:?} – really"));
            let grpc = to_grpc(status.clone());
            assert_eq!(grpc.code(), code(reason));
            assert_eq!(from_grpc(&grpc), status, "{reason:?}");
        }
    }

    #[test]
    fn the_codes_are_those_of_the_table() {
        for (reason, http, grpc) in [
            (Reason::NotFound, 404, Code::NotFound),
            (Reason::AlreadyExists, 409, Code::AlreadyExists),
            (Reason::Conflict, 409, Code::Aborted),
            (Reason::Invalid, 422, Code::InvalidArgument),
            (Reason::BadRequest, 400, Code::InvalidArgument),
            (Reason::Unauthorized, 401, Code::Unauthenticated),
            (Reason::Forbidden, 403, Code::PermissionDenied),
            (Reason::Expired, 410, Code::OutOfRange),
            (Reason::Gone, 410, Code::OutOfRange),
            (Reason::TooManyRequests, 429, Code::ResourceExhausted),
            (Reason::Timeout, 504, Code::DeadlineExceeded),
            (Reason::ServerTimeout, 500, Code::Unavailable),
            (Reason::ServiceUnavailable, 503, Code::Unavailable),
            (Reason::MethodNotAllowed, 405, Code::Unimplemented),
            (Reason::InternalError, 500, Code::Internal),
        ] {
            assert_eq!((reason.code(), code(reason)), (http, grpc), "{reason:?}");
        }
    }

    #[test]
    fn a_code_that_came_alone_gets_a_reason_that_maps_to_the_same_code() {
        for reason_in in Reason::ALL {
            let alone = tonic::Status::new(code(reason_in), "connection refused");
            let status = from_grpc(&alone);
            assert_eq!(carried(&alone), None);
            assert_eq!(status.message, "connection refused");
            assert_eq!(status.reason.map(code), Some(alone.code()), "{reason_in:?}");
        }
    }

    #[test]
    fn details_of_another_make_are_passed_over() {
        for details in [&b"{}"[..], b"\x08\x05", b"\xff\xff\xff", b"\x1a\x02\x0a\x00"] {
            let grpc = tonic::Status::with_details(Code::NotFound, "no", details.to_vec().into());
            assert_eq!(carried(&grpc), None);
            assert_eq!(from_grpc(&grpc).reason, Some(Reason::NotFound));
        }
    }

    #[test]
    fn details_too_large_for_a_header_lose_causes_and_not_the_answer() {
        let cause = Cause { message: "x".repeat(1000), ..Cause::default() };
        let details = Details { causes: vec![cause; 200], ..Details::default() };
        let status = Status::failure(Reason::Invalid, "ä".repeat(4000)).with_details(details);
        let grpc = to_grpc(status);
        assert!(grpc.details().len() <= MAX_DETAILS + 2048 && grpc.message().len() <= MAX_MESSAGE);
        let back = from_grpc(&grpc);
        assert_eq!(back.reason, Some(Reason::Invalid));
        assert!(!back.details.expect("details").causes.is_empty());
    }
}
