//! What decoding, converting and presenting do to documents.

use serde_json::json;

use super::*;
use crate::registry::registry;

fn def(group: &str, version: &str, plural: &str) -> std::sync::Arc<ResourceDef> {
    registry().resource(group, version, plural).unwrap_or_else(|| panic!("no {plural} in {group}/{version}"))
}

#[track_caller]
fn stored(group: &str, version: &str, plural: &str, yaml: &str) -> Value {
    let def = def(group, version, plural);
    let decoded = decode(&def, MediaType::Yaml, yaml.as_bytes(), FieldValidation::Strict)
        .unwrap_or_else(|status| panic!("{status}"));
    let mut object = decoded.object;
    to_storage(&def, &mut object);
    let once = object.clone();
    to_storage(&registry().storage(&def), &mut object);
    assert_eq!(object, once, "defaulting twice changes nothing");
    object
}

#[track_caller]
fn refused(plural: &str, media: MediaType, body: &str, validation: FieldValidation) -> String {
    let status = decode(&def("", "v1", plural), media, body.as_bytes(), validation).expect_err("a refusal");
    assert_eq!(status.code, 400);
    status.message
}

const OLD_DEPLOYMENT: &str = "
apiVersion: extensions/v1beta1
kind: Deployment
metadata:
  name: nginx-deployment
spec:
  replicas: 2
  template:
    metadata:
      labels:
        app: nginx
    spec:
      containers:
        - name: nginx
          image: nginx
          imagePullPolicy: Always
";

#[test]
fn an_old_deployment_gets_its_selector_from_its_template_and_the_defaults_of_its_days() {
    let object = stored("extensions", "v1beta1", "deployments", OLD_DEPLOYMENT);
    assert_eq!(object["apiVersion"], "apps/v1");
    assert_eq!(object["spec"]["selector"], json!({"matchLabels": {"app": "nginx"}}));
    assert_eq!(object["metadata"]["labels"], json!({"app": "nginx"}));
    assert_eq!(object["spec"]["strategy"]["rollingUpdate"], json!({"maxUnavailable": 1, "maxSurge": 1}));
    assert_eq!(object["spec"]["progressDeadlineSeconds"], i32::MAX);
    assert_eq!(object["spec"]["revisionHistoryLimit"], i32::MAX);
    let mut back = object.clone();
    from_storage(&def("extensions", "v1beta1", "deployments"), &mut back);
    assert_eq!(back["apiVersion"], "extensions/v1beta1");
    assert_eq!(back["spec"], object["spec"]);
}

#[test]
fn an_old_ingress_and_a_new_one_are_the_same_object() {
    let yaml = "
apiVersion: extensions/v1beta1
kind: Ingress
metadata: {name: web}
spec:
  backend: {serviceName: fallback, servicePort: http}
  rules:
  - http:
      paths:
      - backend: {serviceName: web, servicePort: 80}
";
    let object = stored("extensions", "v1beta1", "ingresses", yaml);
    assert_eq!(object["apiVersion"], "networking.k8s.io/v1");
    assert_eq!(
        object["spec"]["defaultBackend"],
        json!({"service": {"name": "fallback", "port": {"name": "http"}}})
    );
    let path = &object["spec"]["rules"][0]["http"]["paths"][0];
    assert_eq!(path["backend"], json!({"service": {"name": "web", "port": {"number": 80}}}));
    assert_eq!(path["pathType"], "ImplementationSpecific");
    let mut back = object;
    from_storage(&def("networking.k8s.io", "v1beta1", "ingresses"), &mut back);
    assert_eq!(back["spec"]["backend"], json!({"serviceName": "fallback", "servicePort": "http"}));
}

#[test]
fn events_have_two_names_for_the_same_fields() {
    let yaml = "
apiVersion: events.k8s.io/v1
kind: Event
metadata: {name: e}
regarding: {kind: Pod, name: p}
note: hello
";
    let object = stored("events.k8s.io", "v1", "events", yaml);
    assert_eq!((&object["apiVersion"], &object["message"]), (&json!("v1"), &json!("hello")));
    assert_eq!(object["involvedObject"], json!({"kind": "Pod", "name": "p"}));
    let mut back = object;
    from_storage(&def("events.k8s.io", "v1", "events"), &mut back);
    assert_eq!((&back["note"], &back["regarding"]["name"]), (&json!("hello"), &json!("p")));
}

#[test]
fn a_first_version_autoscaler_keeps_its_target() {
    let yaml = "
apiVersion: autoscaling/v1
kind: HorizontalPodAutoscaler
metadata: {name: h}
spec: {maxReplicas: 5, targetCPUUtilizationPercentage: 50, scaleTargetRef: {kind: Deployment, name: d}}
";
    let object = stored("autoscaling", "v1", "horizontalpodautoscalers", yaml);
    assert_eq!(object["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 50);
    let mut back = object;
    from_storage(&def("autoscaling", "v1", "horizontalpodautoscalers"), &mut back);
    assert_eq!(back["spec"]["targetCPUUtilizationPercentage"], 50);
    assert_eq!(back["spec"].get("metrics"), None);
}

#[test]
fn yaml_is_read_as_kubernetes_reads_it() {
    let yaml = "
kind: Secret
apiVersion: v1
metadata: {name: s, labels: {a: 'yes'}}
immutable: yes
stringData: {a: 'b'}
";
    let object = stored("", "v1", "secrets", yaml);
    assert_eq!(object["data"], json!({"a": "Yg=="}));
    assert_eq!(object["immutable"], true);
    let pod = "
kind: Pod
apiVersion: v1
metadata: {name: p}
spec:
  containers: [{name: c, image: i}]
  volumes: [{name: v, secret: {secretName: s, defaultMode: 0644}}]
";
    assert_eq!(stored("", "v1", "pods", pod)["spec"]["volumes"][0]["secret"]["defaultMode"], 420);
}

#[test]
fn bombs_are_defused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let references = vec![format!("*a{}", level - 1); 9].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{references}]\n"));
    }
    assert!(refused("configmaps", MediaType::Yaml, &bomb, FieldValidation::Warn).contains("YAML to JSON"));
    let deep = format!("{{\"a\":{}", "[".repeat(100_000));
    let message = refused("configmaps", MediaType::Json, &deep, FieldValidation::Warn);
    assert!(message.contains("exceeded max depth"), "{message}");
}

#[test]
fn wrong_types_are_told_as_go_tells_them() {
    let cases = [
        (
            r#"{"spec":{"containers":[{"name":1}]}}"#,
            "json: cannot unmarshal number into Go struct field Container.spec.containers.name of type string",
        ),
        (
            r#"{"spec":{"terminationGracePeriodSeconds":"30"}}"#,
            "json: cannot unmarshal string into Go struct field PodSpec.spec.terminationGracePeriodSeconds of type int64",
        ),
        (
            r#"{"spec":{"priority":1.5}}"#,
            "json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.priority of type int32",
        ),
        (r#"{"spec":[]}"#, "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec"),
        (
            r#"{"metadata":{"labels":{"a":true}}}"#,
            "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            r#"{"spec":{"containers":[{"livenessProbe":{"httpGet":{"port":true}}}]}}"#,
            "json: cannot unmarshal bool into Go value of type int32",
        ),
        (
            r#"{"metadata":{"creationTimestamp":"yesterday"}}"#,
            "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"yesterday\" as \"2006\"",
        ),
    ];
    for (body, why) in cases {
        let message = refused("pods", MediaType::Json, body, FieldValidation::Warn);
        assert_eq!(message, format!("Pod in version \"v1\" cannot be handled as a Pod: {why}"));
    }
    let message = refused("secrets", MediaType::Json, r#"{"data":{"a":"b!c="}}"#, FieldValidation::Warn);
    assert!(message.ends_with("illegal base64 data at input byte 1"), "{message}");
}

#[test]
fn unknown_fields_are_dropped_and_told_with_their_places() {
    let body =
        r#"{"spec":{"containers":[{"name":"c","bogus":1}],"x":{}},"metadata":{"name":"p","name":"q"}}"#;
    let pods = def("", "v1", "pods");
    let read = |validation| decode(&pods, MediaType::Json, body.as_bytes(), validation);
    let decoded = read(FieldValidation::Warn).expect("a document");
    assert_eq!(
        decoded.warnings,
        [
            "duplicate field \"metadata.name\"",
            "unknown field \"spec.containers[0].bogus\"",
            "unknown field \"spec.x\""
        ]
    );
    assert_eq!(decoded.object["spec"], json!({"containers": [{"name": "c"}]}));
    assert_eq!(decoded.object["metadata"]["name"], "q");
    assert!(read(FieldValidation::Ignore).expect("a document").warnings.is_empty());
    let status = read(FieldValidation::Strict).expect_err("a refusal");
    assert!(
        status.message.contains("strict decoding error: duplicate field \"metadata.name\", unknown field")
    );
}

#[test]
fn what_go_leaves_out_is_left_out() {
    let body = r#"{"metadata":{"name":"p","creationTimestamp":null,"labels":{}},"spec":{"hostNetwork":false,
        "containers":[{"name":"c","image":"i","command":[],"securityContext":{},"stdin":false}],
        "automountServiceAccountToken":false},"status":{}}"#;
    let pods = def("", "v1", "pods");
    let mut object =
        decode(&pods, MediaType::Json, body.as_bytes(), FieldValidation::Strict).expect("a pod").object;
    present(&pods, &mut object);
    assert_eq!(
        object,
        json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"}, "status": {},
            "spec": {"automountServiceAccountToken": false,
                "containers": [{"name": "c", "image": "i", "securityContext": {}, "resources": {}}]}})
    );
}

#[test]
fn another_version_of_the_same_kind_is_refused_by_name() {
    let body = r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"}}"#;
    let old = def("extensions", "v1beta1", "deployments");
    let status =
        decode(&old, MediaType::Json, body.as_bytes(), FieldValidation::Warn).expect_err("a refusal");
    assert_eq!(
        status.message,
        "the API version in the data (apps/v1) does not match the expected API version (extensions/v1beta1)"
    );
}

#[test]
fn a_patched_document_is_checked_too() {
    let pods = def("", "v1", "pods");
    let mut object = json!({"spec": {"containers": "nope"}});
    let status = check(&pods, &mut object, FieldValidation::Warn).expect_err("a refusal");
    assert_eq!(status.code, 422);
    assert!(status.message.contains("patch: Invalid value:"), "{status}");
    let mut object = json!({"spec": {"bogus": 1}});
    assert_eq!(
        check(&pods, &mut object, FieldValidation::Warn).expect("fine"),
        ["unknown field \"spec.bogus\""]
    );
}
