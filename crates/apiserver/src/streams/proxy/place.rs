//! Which pod and port a proxied request means. Pure: names and objects in, a place out.

use api::status::{Reason, Status};
use serde::Deserialize;

use crate::endpoints::{Service, Slice};

/// A port that is asked for where neither the client nor the pod names one.
const HTTP: u16 = 80;

/// What stands in the path for a pod or a service: `name`, `name:port` or `scheme:name:port`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Named<'a> {
    pub(super) name: &'a str,
    /// Empty where it is not named.
    pub(super) port: &'a str,
}

/// Reads a name.
pub(super) fn named(text: &str) -> Result<Named<'_>, Status> {
    let wrong = || Status::bad_request(format!("invalid request: {text:?} is not [scheme:]name[:port]"));
    let parts: Vec<&str> = text.split(':').collect();
    let (scheme, name, port) = match parts.as_slice() {
        [name] => ("", *name, ""),
        [name, port] => ("", *name, *port),
        [scheme, name, port] => (*scheme, *name, *port),
        _ => return Err(wrong()),
    };
    match scheme {
        _ if name.is_empty() => Err(wrong()),
        "" | "http" => Ok(Named { name, port }),
        "https" => Err(Status::bad_request("only http is passed on by proxy, and https is not")),
        _ => Err(wrong()),
    }
}

/// The fields of a pod that say where it listens.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Pod {
    spec: PodSpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PodSpec {
    containers: Vec<Container>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Container {
    ports: Vec<ContainerPort>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ContainerPort {
    name: String,
    container_port: u16,
}

/// The port of a pod: the number or name that is asked for, or else the first that it declares.
pub(super) fn port_of_pod(wanted: &str, pod: &Pod) -> Result<u16, Status> {
    let mut declared = pod.spec.containers.iter().flat_map(|container| &container.ports);
    if wanted.is_empty() {
        return Ok(declared.next().map_or(HTTP, |port| port.container_port));
    }
    let number = wanted.parse().ok().filter(|port| *port != 0);
    let named = || declared.find(|port| port.name == wanted).map(|port| port.container_port);
    number.or_else(named).ok_or_else(|| Status::bad_request(format!("the pod has no port {wanted:?}")))
}

/// A ready pod of a Service, and its port; `turn` says which of them.
pub(super) fn pod_of_service(
    wanted: &Named<'_>,
    service: &Service,
    slices: &[Slice],
    turn: usize,
) -> Result<(String, u16), Status> {
    let unavailable = |why: String| Status::failure(Reason::ServiceUnavailable, why);
    let name = match (wanted.port, service.ports()) {
        // One port needs no name.
        ("", [only]) => only.name.as_str(),
        (port, _) => match port.parse::<u16>() {
            Ok(number) => {
                let missing =
                    || unavailable(format!("no service port {number} found for service {:?}", wanted.name));
                service.name_of(number).ok_or_else(missing)?
            }
            Err(_) => port,
        },
    };
    let ready = slices.iter().flat_map(|slice| slice.ready(name));
    // What is no pod of the cluster is reached by nobody's order but its own.
    let places: Vec<_> = ready.filter_map(|(endpoint, port)| Some((endpoint.pod()?, port))).collect();
    match places.len() {
        0 => Err(unavailable(format!("no endpoints available for service {:?}", wanted.name))),
        count => Ok((places[turn % count].0.to_owned(), places[turn % count].1)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).expect("it fits")
    }

    #[test]
    fn names_have_up_to_three_parts() {
        for (text, name, port) in
            [("a", "a", ""), ("a:80", "a", "80"), ("http:a:web", "a", "web"), (":a:", "a", "")]
        {
            assert_eq!(named(text).expect("good"), Named { name, port }, "{text}");
        }
        for text in ["", ":80", "https:a:443", "ftp:a:21", "a:b:c:d"] {
            assert_eq!(named(text).expect_err("refused").code, 400, "{text}");
        }
    }

    #[test]
    fn a_pod_is_asked_at_its_first_port_unless_told_otherwise() {
        let pod: Pod = read(json!({"spec": {"containers": [
            {"name": "a"}, {"ports": [{"containerPort": 8080}, {"name": "web", "containerPort": 9090}]},
        ]}}));
        for (wanted, port) in
            [("", Some(8080)), ("web", Some(9090)), ("7", Some(7)), ("0", None), ("x", None)]
        {
            assert_eq!(port_of_pod(wanted, &pod).ok(), port, "{wanted}");
        }
        assert_eq!(port_of_pod("", &Pod::default()).ok(), Some(80));
    }

    #[test]
    fn a_service_is_one_of_its_ready_pods() {
        let one: Service = read(json!({"spec": {"ports": [{"port": 80}]}}));
        let two: Service =
            read(json!({"spec": {"ports": [{"name": "web", "port": 80}, {"name": "ops", "port": 81}]}}));
        let pod = |name: &str, ready: bool| json!({"conditions": {"ready": ready}, "targetRef": {"kind": "Pod", "name": name}});
        let slices = |name: &str| -> Vec<Slice> {
            vec![read(json!({
                "ports": [{"name": name, "port": 8080}],
                "endpoints": [pod("a", true), pod("b", false), pod("c", true), {"addresses": ["169.254.0.1"]}],
            }))]
        };
        let found = |port: &str, service: &Service, slices: &[Slice], turn| {
            pod_of_service(&Named { name: "s", port }, service, slices, turn)
                .map(|(pod, port)| format!("{pod}:{port}"))
                .map_err(|status| (status.code, status.message))
        };
        for (port, service, name, turn, expected) in [
            ("", &one, "", 0, Some("a:8080")),
            ("80", &one, "", 1, Some("c:8080")),
            ("web", &two, "web", 2, Some("a:8080")),
            ("80", &two, "web", 0, Some("a:8080")),
            ("ops", &two, "web", 0, None),
            ("9", &two, "web", 0, None),
            ("", &two, "web", 0, None),
        ] {
            let found = found(port, service, &slices(name), turn);
            assert_eq!(found.as_deref().ok(), expected, "{port}: {found:?}");
        }
        let none = (503, "no endpoints available for service \"s\"".to_owned());
        assert_eq!(found("", &one, &[], 0), Err(none));
    }
}
