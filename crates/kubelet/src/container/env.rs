//! The environment of a container, and the expansion of `$(NAME)`.

use std::collections::BTreeMap;

use super::fields::{NodeFacts, field_value, resource_value};
use crate::control_plane::{Service, Values};
use crate::pod::{Container, EnvVarSource, KeyRef, Pod};

/// ConfigMaps and Secrets that a container refers to, by name; `None` where there is no such object.
#[derive(Debug, Clone, Default)]
pub struct References {
    /// ConfigMaps.
    pub config_maps: BTreeMap<String, Option<Values>>,
    /// Secrets.
    pub secrets: BTreeMap<String, Option<Values>>,
}

impl References {
    /// The names of the ConfigMaps and of the Secrets that the environment of a container needs.
    pub fn of(container: &Container) -> (Vec<&str>, Vec<&str>) {
        let (mut config_maps, mut secrets) = (Vec::new(), Vec::new());
        for source in &container.env_from {
            config_maps.extend(source.config_map_ref.as_ref().map(|reference| reference.name.as_str()));
            secrets.extend(source.secret_ref.as_ref().map(|reference| reference.name.as_str()));
        }
        for source in container.env.iter().filter_map(|variable| variable.value_from.as_ref()) {
            config_maps.extend(source.config_map_key_ref.as_ref().map(|reference| reference.name.as_str()));
            secrets.extend(source.secret_key_ref.as_ref().map(|reference| reference.name.as_str()));
        }
        config_maps.sort_unstable();
        config_maps.dedup();
        secrets.sort_unstable();
        secrets.dedup();
        (config_maps, secrets)
    }
}

/// What the environment of a container is computed from.
#[derive(Debug, Clone, Copy)]
pub struct EnvInput<'a> {
    /// Its pod.
    pub pod: &'a Pod,
    /// The node.
    pub node: &'a NodeFacts,
    /// The addresses of the pod's sandbox.
    pub pod_ips: &'a [String],
    /// What was fetched.
    pub references: &'a References,
    /// The Services of the namespace, and `default/kubernetes`.
    pub services: &'a [Service],
}

/// Computes the environment, in order. The error is the message of `CreateContainerConfigError`.
pub fn environment(input: &EnvInput<'_>, container: &Container) -> Result<Vec<(String, String)>, String> {
    let mut variables = Variables::default();
    let links = input.pod.spec.enable_service_links.unwrap_or(true);
    for service in input.services {
        let is_kubernetes = service.metadata.name == "kubernetes" && service.metadata.namespace == "default";
        if links || is_kubernetes {
            service_variables(service, &mut variables);
        }
    }
    for source in &container.env_from {
        for (kind, reference, objects) in [
            ("configmap", &source.config_map_ref, &input.references.config_maps),
            ("secret", &source.secret_ref, &input.references.secrets),
        ] {
            let Some(reference) = reference else { continue };
            match objects.get(&reference.name).and_then(Option::as_ref) {
                Some(values) => {
                    for (key, value) in values {
                        let name = format!("{}{key}", source.prefix);
                        variables.set(name, String::from_utf8_lossy(value).into_owned());
                    }
                }
                None if reference.optional == Some(true) => {}
                None => return Err(format!("{kind} \"{}\" not found", reference.name)),
            }
        }
    }
    for variable in &container.env {
        match &variable.value_from {
            None => {
                let value = variables.expand(variable.value.as_deref().unwrap_or_default());
                variables.set(variable.name.clone(), value);
            }
            Some(source) => {
                if let Some(value) = from_source(input, container, source)? {
                    variables.set(variable.name.clone(), value);
                }
            }
        }
    }
    Ok(variables.0)
}

fn from_source(
    input: &EnvInput<'_>,
    container: &Container,
    source: &EnvVarSource,
) -> Result<Option<String>, String> {
    if let Some(field) = &source.field_ref {
        return field_value(input.pod, input.node, input.pod_ips, field).map(Some);
    }
    if let Some(field) = &source.resource_field_ref {
        return resource_value(input.pod, input.node, &container.name, field).map(Some);
    }
    let namespace = &input.pod.metadata.namespace;
    if let Some(key) = &source.config_map_key_ref {
        return key_value("configmap", "ConfigMap", namespace, key, &input.references.config_maps);
    }
    if let Some(key) = &source.secret_key_ref {
        return key_value("secret", "Secret", namespace, key, &input.references.secrets);
    }
    Ok(Some(String::new()))
}

fn key_value(
    kind: &str,
    kind_in_message: &str,
    namespace: &str,
    key: &KeyRef,
    objects: &BTreeMap<String, Option<Values>>,
) -> Result<Option<String>, String> {
    let optional = key.optional == Some(true);
    match objects.get(&key.name).and_then(Option::as_ref) {
        None if optional => Ok(None),
        None => Err(format!("{kind} \"{}\" not found", key.name)),
        Some(values) => match values.get(&key.key) {
            Some(value) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
            None if optional => Ok(None),
            None => {
                Err(format!("couldn't find key {} in {kind_in_message} {namespace}/{}", key.key, key.name))
            }
        },
    }
}

/// The variables so far, in order; a later value of a name replaces the earlier one in its place.
#[derive(Debug, Default)]
pub struct Variables(Vec<(String, String)>);

impl Variables {
    /// With what is set already.
    pub fn new(variables: &[(String, String)]) -> Self {
        Self(variables.to_vec())
    }

    fn set(&mut self, name: String, value: String) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }

    /// Replaces `$(NAME)`; `$$` is a dollar, and what is not known stays as it is.
    pub fn expand(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
                match self.0.iter().find(|(known, _)| known == name) {
                    Some((_, value)) => out.push_str(value),
                    None => {
                        out.push_str("$(");
                        out.push_str(name);
                        out.push(')');
                    }
                }
                rest = after;
            } else {
                out.push('$');
            }
        }
        out.push_str(rest);
        out
    }
}

/// The variables of a Service, as Kubernetes and, before it, Docker links named them.
fn service_variables(service: &Service, variables: &mut Variables) {
    let address = service.spec.cluster_ip.as_str();
    let Some(first) = service.spec.ports.first() else { return };
    if address.is_empty() || address == "None" {
        return;
    }
    let name = |text: &str| text.to_uppercase().replace('-', "_");
    let prefix = name(&service.metadata.name);
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    let protocol = |text: &str| if text.is_empty() { "tcp".to_owned() } else { text.to_lowercase() };
    variables.set(format!("{prefix}_SERVICE_HOST"), address.to_owned());
    variables.set(format!("{prefix}_SERVICE_PORT"), first.port.to_string());
    for port in service.spec.ports.iter().filter(|port| !port.name.is_empty()) {
        variables.set(format!("{prefix}_SERVICE_PORT_{}", name(&port.name)), port.port.to_string());
    }
    let url = |port: &crate::control_plane::ServicePort| {
        format!("{}://{host}:{}", protocol(&port.protocol), port.port)
    };
    variables.set(format!("{prefix}_PORT"), url(first));
    for port in &service.spec.ports {
        let protocol = protocol(&port.protocol);
        let base = format!("{prefix}_PORT_{}_{}", port.port, protocol.to_uppercase());
        variables.set(base.clone(), url(port));
        variables.set(format!("{base}_PROTO"), protocol);
        variables.set(format!("{base}_PORT"), port.port.to_string());
        variables.set(format!("{base}_ADDR"), address.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_expanded_and_unknown_ones_stay() {
        let variables = Variables::new(&[("A".into(), "1".into()), ("B".into(), "$(A)".into())]);
        for (text, expanded) in [
            ("", ""),
            ("$(A)", "1"),
            ("x$(A)y$(B)", "x1y$(A)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$(C)", "$(C)"),
            ("$A", "$A"),
            ("$(A", "$(A"),
            ("cost: 5$", "cost: 5$"),
        ] {
            assert_eq!(variables.expand(text), expanded, "{text}");
        }
    }

    #[track_caller]
    fn check(container: serde_json::Value, expected: Result<&[(&str, &str)], &str>) {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u1", "labels": {"app": "x"}},
            "spec": {"nodeName": "n1", "enableServiceLinks": false, "containers": [container]},
        }))
        .expect("a pod");
        let values: Values = [("key".to_owned(), b"value".to_vec())].into();
        let references = References {
            config_maps: [("cm".to_owned(), Some(values.clone())), ("gone".to_owned(), None)].into(),
            secrets: [("s".to_owned(), Some(values)), ("gone".to_owned(), None)].into(),
        };
        let allocatable = [("memory".to_owned(), Quantity::parse("1Gi").expect("a quantity"))].into();
        let node = NodeFacts { ips: vec!["192.0.2.1".into()], allocatable };
        let input = EnvInput {
            pod: &pod,
            node: &node,
            pod_ips: &["10.244.0.5".to_owned()],
            references: &references,
            services: &[],
        };
        let environment = environment(&input, &pod.spec.containers[0]);
        let expected = expected
            .map(|list| list.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>())
            .map_err(str::to_owned);
        assert_eq!(environment, expected);
    }

    use api::quantity::Quantity;
    use serde_json::json;

    #[test]
    fn values_come_from_everywhere_and_build_on_each_other() {
        check(
            json!({"name": "c", "envFrom": [{"prefix": "CM_", "configMapRef": {"name": "cm"}}],
            "resources": {"limits": {"cpu": "1500m"}},
            "env": [
                {"name": "PLAIN", "value": "x"},
                {"name": "BOTH", "value": "$(PLAIN)-$(CM_key)"},
                {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
                {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}},
                {"name": "NO", "valueFrom": {"secretKeyRef": {"name": "gone", "key": "key", "optional": true}}},
            ]}),
            Ok(&[
                ("CM_key", "value"),
                ("PLAIN", "x"),
                ("BOTH", "x-value"),
                ("NAME", "web"),
                ("APP", "x"),
                ("IP", "10.244.0.5"),
                ("CPU", "2"),
                ("MEM", "1024"),
                ("S", "value"),
            ]),
        );
    }

    #[test]
    fn what_is_missing_is_named_in_the_words_of_kubernetes() {
        let key =
            |source: serde_json::Value| json!({"name": "c", "env": [{"name": "X", "valueFrom": source}]});
        check(
            key(json!({"configMapKeyRef": {"name": "gone", "key": "k"}})),
            Err("configmap \"gone\" not found"),
        );
        check(
            key(json!({"configMapKeyRef": {"name": "cm", "key": "k"}})),
            Err("couldn't find key k in ConfigMap shop/cm"),
        );
        check(
            json!({"name": "c", "envFrom": [{"secretRef": {"name": "gone"}}]}),
            Err("secret \"gone\" not found"),
        );
    }

    #[test]
    fn services_are_told_of_in_both_old_ways() {
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": "my-db"},
            "spec": {"clusterIP": "10.96.1.2", "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}]},
        }))
        .expect("a service");
        let mut variables = Variables::default();
        service_variables(&service, &mut variables);
        let lines: Vec<String> = variables.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            lines,
            [
                "MY_DB_SERVICE_HOST=10.96.1.2",
                "MY_DB_SERVICE_PORT=5432",
                "MY_DB_SERVICE_PORT_SQL=5432",
                "MY_DB_PORT=tcp://10.96.1.2:5432",
                "MY_DB_PORT_5432_TCP=tcp://10.96.1.2:5432",
                "MY_DB_PORT_5432_TCP_PROTO=tcp",
                "MY_DB_PORT_5432_TCP_PORT=5432",
                "MY_DB_PORT_5432_TCP_ADDR=10.96.1.2",
            ]
        );
    }
}
