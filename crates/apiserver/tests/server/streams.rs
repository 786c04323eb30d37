//! Exec, attach and port-forward over real TLS: upgrades that are agreed on and refused, and the way to the kubelet.

use futures_util::{StreamExt as _, stream};
use rpc::v1::container_input::Message as In;
use rpc::v1::container_output::Message as Out;
use rpc::v1::node_client::NodeClient;
use rpc::v1::port_forward_request::Message as Sent;
use rpc::v1::{ContainerInput, ContainerOpen, PortForwardOpen, PortForwardRequest};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::kubelet::{join, kubelet};
use super::*;

const POD: &str = "/api/v1/namespaces/default/pods/p";

/// A server with a pod on a node.
async fn start() -> Asker {
    let asker = Asker::start().await;
    let port = kubelet(&asker).await;
    join(&asker, "n1", port).await;
    for (name, node) in [("p", "n1"), ("new", "")] {
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"containers": [{"name": "a", "image": "i"}]}});
        if !node.is_empty() {
            pod["spec"]["nodeName"] = node.into();
        }
        assert_eq!(asker.post("/api/v1/namespaces/default/pods", &pod).await.code, 201);
    }
    asker
}

/// Asks for a WebSocket; gives the head of the answer and the connection.
async fn upgrade(asker: &Asker, path: &str, protocol: &str) -> (String, TlsStream<TcpStream>) {
    let mut stream = asker.connect(asker.admin()).await;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("an answer"));
    }
    (String::from_utf8(head).expect("text"), stream)
}

/// Sends a message whose payload is masked with nothing.
async fn say(stream: &mut TlsStream<TcpStream>, payload: &[u8]) {
    let mut frame = vec![0x82, 0x80 | u8::try_from(payload.len()).expect("short"), 0, 0, 0, 0];
    frame.extend(payload);
    stream.write_all(&frame).await.expect("sent");
}

/// The opcode and payload of the next frame.
async fn hear(stream: &mut TlsStream<TcpStream>) -> (u8, Vec<u8>) {
    let opcode = stream.read_u8().await.expect("a frame") & 0x0f;
    let length = match stream.read_u8().await.expect("a length") {
        126 => usize::from(stream.read_u16().await.expect("a length")),
        short => usize::from(short),
    };
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await.expect("a payload");
    (opcode, payload)
}

#[tokio::test]
async fn a_command_runs_over_a_websocket() {
    let asker = start().await;
    let path = format!("{POD}/exec?command=echo&command=a%20b&stdin=true&stdout=true&stderr=true");
    let (head, mut stream) = upgrade(&asker, &path, "v5.channel.k8s.io").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.to_ascii_lowercase().contains("sec-websocket-protocol: v5.channel.k8s.io"), "{head}");
    assert_eq!(hear(&mut stream).await, (2, b"\x01".to_vec()));
    assert_eq!(hear(&mut stream).await, (2, b"\x01p a echo,a b\n".to_vec()));
    for text in [&b"\x00one"[..], b"\x00two"] {
        say(&mut stream, text).await;
        assert_eq!(hear(&mut stream).await.1[1..], text[1..]);
    }
    say(&mut stream, b"\xff\x00").await;
    let (_, status) = hear(&mut stream).await;
    let outcome: Value = serde_json::from_slice(&status[1..]).expect("a Status");
    assert_eq!((status[0], &outcome["details"]["causes"][0]["message"]), (3, &json!("2")));
    assert_eq!(hear(&mut stream).await.0, 8);
    drop(stream);
    asker.stop().await;
}

#[tokio::test]
async fn an_attached_process_ends_well() {
    let asker = start().await;
    let (_, mut stream) = upgrade(&asker, &format!("{POD}/attach?stdout=1"), "v4.channel.k8s.io").await;
    hear(&mut stream).await;
    assert_eq!(hear(&mut stream).await.1, b"\x01attached");
    let (_, status) = hear(&mut stream).await;
    assert_eq!(status, b"\x03{\"metadata\":{},\"status\":\"Success\"}");
    drop(stream);
    asker.stop().await;
}

#[tokio::test]
async fn what_cannot_be_is_an_answer_and_no_stream() {
    let asker = start().await;
    let exec = "exec?command=ls&stdout=true";
    for (path, protocol, code, words) in [
        (format!("{POD}/exec?stdout=true"), "v5.channel.k8s.io", 400, "at least one command"),
        (format!("{POD}/exec?command=ls"), "v5.channel.k8s.io", 400, "at least 1 of stdin"),
        (format!("{POD}/{exec}&container=x"), "v5.channel.k8s.io", 400, "container x is not valid"),
        (format!("{POD}/exec?command=none&stdout=true"), "v5.channel.k8s.io", 500, "container not found"),
        (format!("{POD}x/{exec}"), "v5.channel.k8s.io", 404, "not found"),
        (
            format!("/api/v1/namespaces/default/pods/new/{exec}"),
            "v4.channel.k8s.io",
            400,
            "does not have a host",
        ),
        (format!("{POD}/{exec}"), "chat", 403, "unable to negotiate protocol"),
        (format!("{POD}/portforward"), "chat", 403, "unable to negotiate protocol"),
    ] {
        let (head, mut stream) = upgrade(&asker, &path, protocol).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {code} ")), "{path}: {head}");
        let mut body = vec![0; 4096];
        let length = stream.read(&mut body).await.expect("a body");
        let body = String::from_utf8_lossy(&body[..length]).into_owned();
        assert!(body.contains(words), "{path}: {body}");
    }
    for path in ["exec?command=ls&stdout=true", "attach?stdout=1", "portforward"] {
        let answer = asker.get(&format!("{POD}/{path}")).await;
        assert_eq!(answer.code, 400);
        assert!(answer.text().contains("Upgrade request required"), "{}", answer.text());
        assert_eq!(asker.with(Method::PUT, &format!("{POD}/{path}"), &[], "{}").await.code, 405);
        let nobody = request(Method::GET, &format!("{POD}/{path}"), &[], "");
        assert_eq!(asker.send(None, nobody).await.code, 401);
    }
    asker.stop().await;
}

#[tokio::test]
async fn a_server_that_stops_ends_its_streams() {
    let asker = start().await;
    let path = format!("{POD}/exec?command=cat&stdin=true&stdout=true");
    let (_, mut stream) = upgrade(&asker, &path, "v5.channel.k8s.io").await;
    hear(&mut stream).await;
    let read = async {
        let mut rest = Vec::new();
        // With or without a goodbye of TLS.
        let _ended = stream.read_to_end(&mut rest).await;
    };
    let Asker { server, tasks } = asker;
    let (stopped, ()) = tokio::join!(server.stop(), read);
    assert!(stopped);
    tasks.trigger();
}

#[tokio::test]
async fn a_watch_may_be_a_websocket() {
    let asker = Asker::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    asker.post(maps, &config_map("a", "1")).await;
    let (head, mut stream) = upgrade(&asker, &format!("{maps}?watch=1"), "chat").await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let (opcode, text) = hear(&mut stream).await;
    let event: Value = serde_json::from_slice(&text).expect("an event");
    assert_eq!(
        (opcode, &event["type"], &event["object"]["metadata"]["name"]),
        (1, &json!("ADDED"), &json!("a"))
    );
    asker.post(maps, &config_map("b", "1")).await;
    let event: Value = serde_json::from_slice(&hear(&mut stream).await.1).expect("an event");
    assert_eq!(event["object"]["metadata"]["name"], "b");
    stream.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await.expect("sent");
    assert_eq!(hear(&mut stream).await, (8, vec![3, 0xe8]));
    drop(stream);
    let (refused, _) = upgrade(&asker, &format!("{maps}?watch=1&labelSelector=,"), "chat").await;
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    asker.stop().await;
}

#[tokio::test]
async fn requests_are_passed_on_to_pods_and_services() {
    let asker = start().await;
    let services = "/api/v1/namespaces/default/services";
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
        "spec": {"ports": [{"port": 80}]}});
    assert_eq!(asker.post(services, &service).await.code, 201);
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "s-1", "labels": {"kubernetes.io/service-name": "s"}},
        "ports": [{"name": "", "port": 8080}],
        "endpoints": [{"addresses": ["10.244.0.2"], "targetRef": {"kind": "Pod", "name": "p"}}]});
    let made = asker.post(slices, &slice).await;
    assert_eq!(made.code.as_u16(), 201, "{}", made.text());

    let secret = [("authorization", "Bearer secret"), ("x-own", "1"), ("connection", "x-own")];
    for (method, path, line) in [
        (Method::GET, format!("{POD}/proxy/a%2fb//c/?q=1"), "80 GET /a%2fb//c/?q=1 HTTP/1.1\r\n"),
        (Method::POST, format!("{POD}:8081/proxy/"), "8081 POST / HTTP/1.1\r\n"),
        (Method::DELETE, format!("{services}/http:s:80/proxy/x"), "8080 DELETE /x HTTP/1.1\r\n"),
    ] {
        let answer = asker.with(method, &path, &secret, "").await;
        assert_eq!(answer.code.as_u16(), 201, "{path}: {}", answer.text());
        assert!(answer.text().starts_with(line), "{path}: {}", answer.text());
        assert!(!answer.text().contains("secret") && !answer.text().contains("x-own"), "{}", answer.text());
        let prefix = &path[..path.find("/proxy").expect("a proxy") + 6];
        assert_eq!((answer.header("location"), answer.header("x-hop")), (&*format!("{prefix}/there"), ""));
    }
    for (path, code) in [
        (format!("{POD}/proxy"), 301),
        (format!("{POD}x/proxy/"), 404),
        ("/api/v1/namespaces/default/pods/https:p:1/proxy/".to_owned(), 400),
        (format!("{services}/none/proxy/"), 404),
        (format!("{services}/s:81/proxy/"), 503),
    ] {
        let answer = asker.get(&path).await;
        assert_eq!(answer.code.as_u16(), code, "{path}: {}", answer.text());
    }
    asker.stop().await;
}

#[tokio::test]
async fn grpc_is_passed_on_to_the_kubelet() {
    let asker = start().await;
    let mut node = NodeClient::new(asker.channel(asker.admin()).await);
    let open = ContainerOpen {
        namespace: "default".into(),
        pod: "p".into(),
        command: vec!["cat".into()],
        stdin: true,
        stdout: true,
        ..ContainerOpen::default()
    };
    let input = [In::Open(open.clone()), In::Stdin("x".into())]
        .map(|message| ContainerInput { message: Some(message) });
    let answers = node.exec(stream::iter(input)).await.expect("a process").into_inner();
    let answers: Vec<_> =
        answers.map(|answer| answer.expect("good").message.expect("a message")).collect().await;
    assert_eq!(answers, [Out::Stdout("p a cat\n".into()), Out::Stderr("x".into()), Out::ExitCode(1)]);

    let port =
        PortForwardOpen { namespace: "default".into(), pod: "p".into(), port: 80, ..Default::default() };
    let input = [Sent::Open(port), Sent::Data("hi".into())]
        .map(|message| PortForwardRequest { message: Some(message) });
    let answers = node.port_forward(stream::iter(input)).await.expect("a port").into_inner();
    let answers: Vec<_> = answers.map(|answer| answer.expect("good").data).collect().await;
    assert_eq!(answers, ["80 hi"]);

    let wrong = ContainerOpen { container: "x".into(), ..open };
    let refused = node.attach(stream::iter([ContainerInput { message: Some(In::Open(wrong)) }])).await;
    assert_eq!(rpc::status::from_grpc(&refused.expect_err("refused")).code, 400);
    asker.stop().await;
}

#[tokio::test]
async fn policies_have_a_say_in_streams() {
    let asker = start().await;
    let group = "/apis/admissionregistration.k8s.io/v1";
    let policy = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "p"}, "spec": {"matchConstraints": {"resourceRules": [{"operations": ["CONNECT"],
            "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/exec"]}]},
        "validations": [{"message": "no shells", "expression":
            "request.operation == 'CONNECT' && request.name == 'p' && object.kind == 'PodExecOptions' && object.command[0] != 'sh'"}]}});
    let bound = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": ["Deny"]}});
    assert_eq!(asker.post(&format!("{group}/validatingadmissionpolicies"), &policy).await.code, 201);
    assert_eq!(asker.post(&format!("{group}/validatingadmissionpolicybindings"), &bound).await.code, 201);
    for (command, code) in [("sh", 422), ("ls", 101)] {
        let path = format!("{POD}/exec?command={command}&stdout=true");
        let (head, _stream) = upgrade(&asker, &path, "v5.channel.k8s.io").await;
        assert!(head.starts_with(&format!("HTTP/1.1 {code} ")), "{command}: {head}");
    }
    asker.stop().await;
}
