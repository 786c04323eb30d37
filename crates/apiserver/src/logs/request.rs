//! What a client may ask of a log: the options of `pods/log`, and which container is meant.

use api::field::{FieldError, invalid_kind};
use api::status::Status;
use rpc::v1::LogsRequest;
use serde::Deserialize;

use crate::pipeline::Target;

/// What is needed of a pod.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Pod {
    metadata: Metadata,
    pub(super) spec: Spec,
    status: PodStatus,
}

impl Pod {
    /// Its uid.
    pub(crate) fn uid(&self) -> &str {
        &self.metadata.uid
    }

    /// How far it is, as `Running`.
    pub(crate) fn phase(&self) -> &str {
        &self.status.phase
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PodStatus {
    phase: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
    uid: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Spec {
    pub(super) node_name: String,
    containers: Vec<Container>,
    init_containers: Vec<Container>,
    ephemeral_containers: Vec<Container>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Container {
    name: String,
}

/// Reads the query of `pods/log`.
pub(super) fn parse(target: &Target, query: &[(String, String)]) -> Result<LogsRequest, Status> {
    let get = |name: &str| {
        query.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    };
    let on = |name: &str| {
        let value = query.iter().find(|(own, _)| own == name).map(|(_, value)| value.to_ascii_lowercase());
        value.is_some_and(|value| value != "false" && value != "0")
    };
    let number = |name: &str| match get(name) {
        "" => Ok(None),
        text => text
            .parse::<i64>()
            .map(Some)
            .map_err(|_| Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))),
    };
    Ok(LogsRequest {
        namespace: target.namespace.clone().unwrap_or_default(),
        pod: target.name.clone().unwrap_or_default(),
        pod_uid: String::new(),
        container: get("container").to_owned(),
        follow: on("follow"),
        previous: on("previous"),
        timestamps: on("timestamps"),
        tail_lines: number("tailLines")?,
        since_seconds: number("sinceSeconds")?,
        since_time: get("sinceTime").to_owned(),
        limit_bytes: number("limitBytes")?,
        stream: get("stream").to_owned(),
    })
}

/// Checks the options and says which container of which pod is meant.
pub(super) fn resolve(mut request: LogsRequest, pod: &Pod) -> Result<LogsRequest, Status> {
    validate(&request)?;
    request.container = container(&request.container, pod)?;
    if request.pod_uid.is_empty() {
        request.pod_uid.clone_from(&pod.metadata.uid);
    }
    Ok(request)
}

fn validate(request: &LogsRequest) -> Result<(), Status> {
    let mut errors = Vec::new();
    if let Some(lines) = request.tail_lines
        && lines < 0
    {
        errors.push(FieldError::invalid("tailLines", lines, "must be greater than or equal to 0"));
    }
    if let Some(bytes) = request.limit_bytes
        && bytes < 1
    {
        errors.push(FieldError::invalid("limitBytes", bytes, "must be greater than 0"));
    }
    if let Some(seconds) = request.since_seconds
        && seconds < 1
    {
        errors.push(FieldError::invalid("sinceSeconds", seconds, "must be greater than 0"));
    }
    if request.since_seconds.is_some() && !request.since_time.is_empty() {
        let message = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        errors.push(FieldError::forbidden("", message));
    }
    if !request.since_time.is_empty() && request.since_time.parse::<jiff::Timestamp>().is_err() {
        let message = format!("parsing time {:?}: it is not RFC 3339", request.since_time);
        return Err(Status::bad_request(message));
    }
    if !matches!(request.stream.as_str(), "" | "All" | "Stdout" | "Stderr") {
        let supported = ["All", "Stderr", "Stdout"];
        errors.push(FieldError::not_supported("stream", request.stream.clone(), &supported));
    }
    if errors.is_empty() { Ok(()) } else { Err(invalid_kind("", "PodLogOptions", &request.pod, &errors)) }
}

/// The container that is meant: the only one, where none is named.
pub(crate) fn container(wanted: &str, pod: &Pod) -> Result<String, Status> {
    let Pod { metadata, spec, .. } = pod;
    let name = &metadata.name;
    let joined = |containers: &[Container]| {
        containers.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(" ")
    };
    if !wanted.is_empty() {
        let all = [&spec.containers, &spec.init_containers, &spec.ephemeral_containers];
        if all.into_iter().flatten().any(|one| one.name == wanted) {
            return Ok(wanted.to_owned());
        }
        return Err(Status::bad_request(format!("container {wanted} is not valid for pod {name}")));
    }
    match spec.containers.as_slice() {
        [only] => Ok(only.name.clone()),
        [] => Err(Status::bad_request(format!("a container name must be specified for pod {name}"))),
        many => {
            let mut message = format!(
                "a container name must be specified for pod {name}, choose one of: [{}]",
                joined(many)
            );
            if !spec.init_containers.is_empty() {
                message += &format!(" or one of the init containers: [{}]", joined(&spec.init_containers));
            }
            Err(Status::bad_request(message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(containers: &[&str], init: &[&str]) -> Pod {
        let named = |names: &[&str]| {
            names.iter().map(|name| Container { name: (*name).to_owned() }).collect::<Vec<_>>()
        };
        Pod {
            metadata: Metadata { name: "p".to_owned(), uid: "u".to_owned() },
            spec: Spec { containers: named(containers), init_containers: named(init), ..Spec::default() },
            ..Pod::default()
        }
    }

    #[test]
    fn the_only_container_is_meant_where_none_is_named() {
        for (wanted, pod, expected) in [
            ("", pod(&["a"], &["i"]), Ok("a")),
            ("i", pod(&["a"], &["i"]), Ok("i")),
            ("x", pod(&["a"], &[]), Err("container x is not valid for pod p")),
            (
                "",
                pod(&["a", "b"], &[]),
                Err("a container name must be specified for pod p, choose one of: [a b]"),
            ),
            (
                "",
                pod(&["a", "b"], &["i"]),
                Err(
                    "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]",
                ),
            ),
        ] {
            let found = container(wanted, &pod).map_err(|status| status.message);
            assert_eq!(found.as_deref().map_err(String::as_str), expected);
        }
    }

    #[test]
    fn options_that_make_no_sense_are_refused() {
        for (request, code) in [
            (LogsRequest { tail_lines: Some(-1), ..LogsRequest::default() }, 422),
            (LogsRequest { limit_bytes: Some(0), ..LogsRequest::default() }, 422),
            (LogsRequest { since_seconds: Some(0), ..LogsRequest::default() }, 422),
            (LogsRequest { since_time: "yesterday".to_owned(), ..LogsRequest::default() }, 400),
            (LogsRequest { stream: "Both".to_owned(), ..LogsRequest::default() }, 422),
        ] {
            let status = resolve(request, &pod(&["a"], &[])).expect_err("it is refused");
            assert_eq!(status.code, code, "{status}");
        }
        let request = LogsRequest { tail_lines: Some(0), ..LogsRequest::default() };
        assert_eq!(resolve(request, &pod(&["a"], &[])).expect("it is good").pod_uid, "u");
    }
}
