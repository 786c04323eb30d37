//! A node, its pods and a host outside, as network namespaces; gone when it is dropped.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kube_proxy::apply::Nft;
use kube_proxy::proxier::{Proxier, Synced};
use kube_proxy::{Cidr, EndpointSlice, Network, Service, host, rules};
use nix::sched::{CloneFlags, setns};
use serde_json::{Value, json};

/// Long enough for a busy machine, short enough for a test that waits for nothing to come.
const TIMEOUT: Duration = Duration::from_millis(800);

static LABS: AtomicU32 = AtomicU32::new(0);

pub fn network() -> Network {
    let cidr = |text: &str| text.parse::<Cidr>().expect("a network");
    Network {
        cluster: cidr("10.244.0.0/16"),
        services: cidr("10.96.0.0/16"),
        node_port_addresses: Vec::new(),
    }
}

/// A Service `web` on 10.96.0.20 and the node port 30080.
pub fn web(spec: Value) -> Arc<Service> {
    let mut document = json!({
        "metadata": {"namespace": "default", "name": "web"},
        "spec": {
            "clusterIP": "10.96.0.20",
            "type": "NodePort",
            "ports": [{"name": "http", "protocol": "TCP", "port": 80, "nodePort": 30080}],
        },
    });
    for (key, value) in spec.as_object().expect("an object") {
        document["spec"][key] = value.clone();
    }
    Arc::new(serde_json::from_value(document).expect("a Service"))
}

/// Its endpoints, as "10.244.0.5:8080 on n1".
pub fn web_slice(endpoints: &[&str]) -> Arc<EndpointSlice> {
    slice_of("TCP", endpoints)
}

pub fn slice_of(protocol: &str, endpoints: &[&str]) -> Arc<EndpointSlice> {
    let mut port = 8080;
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|endpoint| {
            let (address, node) = endpoint.split_once(" on ").expect("a node");
            let address: std::net::SocketAddrV4 = address.parse().expect("an address");
            port = address.port();
            json!({"addresses": [address.ip()], "conditions": {"ready": true}, "nodeName": node})
        })
        .collect();
    slice("web", protocol, port, endpoints)
}

fn slice(service: &str, protocol: &str, port: u16, endpoints: Vec<Value>) -> Arc<EndpointSlice> {
    let document = json!({
        "metadata": {
            "namespace": "default",
            "name": service,
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "protocol": protocol, "port": port}],
    });
    Arc::new(serde_json::from_value(document).expect("an EndpointSlice"))
}

/// That many Services with three endpoints each.
pub fn many(count: u16) -> (Vec<Arc<Service>>, Vec<Arc<EndpointSlice>>) {
    let one = |n: u16| {
        let [high, low] = n.to_be_bytes();
        let name = format!("many-{n}");
        let document = json!({
            "metadata": {"namespace": "default", "name": name},
            "spec": {
                "clusterIP": Ipv4Addr::new(10, 96, 100 + high, low),
                "ports": [{"name": "http", "port": 80}],
            },
        });
        let endpoints = (1..4).map(|host: u8| {
            let address = Ipv4Addr::new(10, 244, 100 + high + host * 10, low);
            json!({"addresses": [address], "nodeName": "n2"})
        });
        let service = Arc::new(serde_json::from_value(document).expect("a Service"));
        (service, slice(&name, "TCP", 8080, endpoints.collect()))
    };
    (0..count).map(one).unzip()
}

/// A network namespace.
#[derive(Clone)]
pub struct Place {
    pub name: String,
}

impl Place {
    /// Runs on a thread that is in this namespace.
    fn within<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let name = self.name.clone();
        let thread = std::thread::spawn(move || {
            let namespace = std::fs::File::open(format!("/run/netns/{name}")).expect("a namespace");
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("entered");
            work()
        });
        match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Connects and returns the line that is answered: the server's name and the client's address.
    pub fn ask(&self, address: &str) -> io::Result<String> {
        Ok(self.connect(address)?.greeting.clone())
    }

    pub fn connect(&self, address: &str) -> io::Result<Conversation> {
        let address: SocketAddr = address.parse().expect("an address");
        self.within(move || {
            let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
            stream.set_read_timeout(Some(TIMEOUT * 5))?;
            let mut reader = BufReader::new(stream);
            let mut greeting = String::new();
            if reader.read_line(&mut greeting)? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            let greeting = greeting.trim().to_owned();
            Ok(Conversation { greeting, reader })
        })
    }

    /// Sends a datagram from `port` (0 for any) and returns the answer.
    pub fn ask_udp(&self, address: &str, port: u16) -> io::Result<String> {
        let address: SocketAddr = address.parse().expect("an address");
        self.within(move || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
            socket.set_read_timeout(Some(TIMEOUT))?;
            socket.connect(address)?;
            socket.send(b"?")?;
            let mut answer = [0; 64];
            let length = socket.recv(&mut answer)?;
            Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
        })
    }

    /// Serves until the process ends: over TCP a greeting and then an echo, over UDP the name.
    fn serve(&self, name: &'static str, tcp: u16, udp: u16) {
        let (listener, socket) = self.within(move || {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, tcp)).expect("a port");
            (listener, UdpSocket::bind((Ipv4Addr::UNSPECIFIED, udp)).expect("a port"))
        });
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                std::thread::spawn(move || converse(name, stream));
            }
        });
        std::thread::spawn(move || {
            let mut datagram = [0; 64];
            while let Ok((_, peer)) = socket.recv_from(&mut datagram) {
                let _gone = socket.send_to(format!("{name} {}", peer.ip()).as_bytes(), peer);
            }
        });
    }
}

fn converse(name: &str, mut stream: TcpStream) -> io::Result<()> {
    writeln!(stream, "{name} {}", stream.peer_addr()?.ip())?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        write!(stream, "echo {line}")?;
        line.clear();
    }
    Ok(())
}

pub struct Conversation {
    greeting: String,
    reader: BufReader<TcpStream>,
}

impl Conversation {
    /// Says a line and returns the answer.
    pub fn talk(&mut self, line: &str) -> String {
        writeln!(self.reader.get_mut(), "{line}").expect("said");
        let mut answer = String::new();
        self.reader.read_line(&mut answer).expect("answered");
        answer
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        // Half-closed first, so that neither end resets.
        let _closed = self.reader.get_mut().shutdown(std::net::Shutdown::Write);
        let _rest = self.reader.read_to_end(&mut Vec::new());
    }
}

pub struct Lab {
    pub node: Place,
    pub pod_a: Place,
    pub pod_b: Place,
    pub pod_c: Place,
    pub outside: Place,
}

impl Lab {
    /// `None`, and a line that says why, where it cannot be built.
    pub fn new() -> Option<Self> {
        let tools = ["ip", "nft"].iter().all(|tool| run(tool, &["-V"]).is_some());
        if !nix::unistd::Uid::effective().is_root() || !tools {
            let _nobody_reads = writeln!(io::stderr(), "skipped: needs root, ip and nft");
            return None;
        }
        let id = format!("{}-{}", std::process::id(), LABS.fetch_add(1, Ordering::SeqCst));
        let place = |name: &str| Place { name: format!("kp-{name}-{id}") };
        let lab = Self {
            node: place("n"),
            pod_a: place("a"),
            pod_b: place("b"),
            pod_c: place("c"),
            outside: place("o"),
        };
        for place in lab.places() {
            ip(&format!("netns add {}", place.name));
            ip(&format!("-n {} link set lo up", place.name));
        }
        let node = &lab.node.name;
        ip(&format!("-n {node} link add br0 type bridge"));
        ip(&format!("-n {node} addr add 10.244.0.1/24 dev br0"));
        ip(&format!("-n {node} link set br0 up"));
        lab.sysctl("net.bridge.bridge-nf-call-iptables=1");
        for (host, pod) in [(5, &lab.pod_a), (6, &lab.pod_b), (7, &lab.pod_c)] {
            let port = format!("v{host}");
            ip(&format!("-n {node} link add {port} type veth peer name eth0 netns {}", pod.name));
            ip(&format!("-n {node} link set {port} master br0 up"));
            ip(&format!("-n {node} link set {port} type bridge_slave hairpin on"));
            ip(&format!("-n {} addr add 10.244.0.{host}/24 dev eth0", pod.name));
            ip(&format!("-n {} link set eth0 up", pod.name));
            ip(&format!("-n {} route add default via 10.244.0.1", pod.name));
        }
        let outside = &lab.outside.name;
        ip(&format!("-n {node} link add uplink type veth peer name eth0 netns {outside}"));
        ip(&format!("-n {node} addr add 198.51.100.1/24 dev uplink"));
        ip(&format!("-n {node} link set uplink up"));
        ip(&format!("-n {node} route add default via 198.51.100.2"));
        ip(&format!("-n {outside} addr add 198.51.100.2/24 dev eth0"));
        ip(&format!("-n {outside} link set eth0 up"));
        ip(&format!("-n {outside} route add default via 198.51.100.1"));
        lab.pod_a.serve("a", 8080, 5353);
        lab.pod_b.serve("b", 8080, 5353);
        lab.outside.serve("outside", 9000, 9000);
        lab.trap();
        Some(lab)
    }

    /// Has the outside host answer for all cluster addresses that nothing outside should ever see as a target.
    fn trap(&self) {
        for address in ["10.96.0.20", "10.244.9.9"] {
            ip(&format!("-n {} addr add {address}/32 dev lo", self.outside.name));
            // But what it sends itself to the cluster goes to the node.
            ip(&format!("-n {} rule add to {address} iif lo lookup main pref 0", self.outside.name));
        }
        ip(&format!("-n {} rule del pref 0 lookup local", self.outside.name));
        ip(&format!("-n {} rule add pref 1 lookup local", self.outside.name));
        self.outside.serve("escaped", 80, 53);
    }

    fn places(&self) -> [&Place; 5] {
        [&self.node, &self.pod_a, &self.pod_b, &self.pod_c, &self.outside]
    }

    pub fn sysctl(&self, setting: &str) {
        ip_netns(&self.node.name, &format!("sysctl -qw {setting}"));
    }

    /// Whether it is there and has done it.
    pub fn iptables(&self, arguments: &[&str]) -> bool {
        let mut all = vec!["netns", "exec", &self.node.name, "iptables", "-w"];
        all.extend(arguments);
        run("ip", &all).is_some()
    }

    pub fn firewall(&self) -> String {
        ip_netns(&self.node.name, "iptables -w -S FORWARD")
    }

    /// Runs in the node's namespace, on a runtime of its own.
    pub fn on_node<T: Send + 'static>(&self, work: impl AsyncFnOnce(()) -> T + Send + 'static) -> T {
        self.node.within(move || block_on(work(())))
    }

    /// A kube-proxy that starts on the node and has brought everything in place.
    pub fn sync(&self, services: &[Arc<Service>], slices: &[Arc<EndpointSlice>]) -> Node {
        let mut node =
            Node { place: self.node.clone(), proxier: Some(Proxier::new(Nft, network(), "n1".to_owned())) };
        let synced = node.check_and_resync(services, slices);
        assert_eq!(synced, Synced::Everything);
        node
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // The kernel settings from before are kept in a file that outlives the namespace.
        self.on_node(async |()| host::cleanup(&network()).await);
        for place in self.places() {
            let _gone = run("ip", &["netns", "del", &place.name]);
        }
    }
}

/// kube-proxy on the node.
pub struct Node {
    place: Place,
    proxier: Option<Proxier<Nft>>,
}

impl Node {
    /// Looks whether all is in place, and applies.
    pub fn check_and_resync(&mut self, services: &[Arc<Service>], slices: &[Arc<EndpointSlice>]) -> Synced {
        self.apply(services, slices, true)
    }

    /// Applies, and checks that a second time there is nothing to do.
    pub fn resync(&mut self, services: &[Arc<Service>], slices: &[Arc<EndpointSlice>]) {
        self.apply(services, slices, false);
        assert_eq!(self.apply(services, slices, false), Synced::Nothing);
    }

    fn apply(&mut self, services: &[Arc<Service>], slices: &[Arc<EndpointSlice>], check: bool) -> Synced {
        let rules = rules::compute(services, slices, "n1");
        let mut proxier = self.proxier.take().expect("a proxier");
        let (proxier, synced) = self.place.within(move || {
            block_on(async move {
                if check {
                    host::prepare(&network()).await;
                    proxier.check(host::pods_need_masquerade()).await.expect("looked");
                }
                let synced = proxier.sync(rules).await.expect("applied");
                (proxier, synced)
            })
        });
        self.proxier = Some(proxier);
        synced
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

fn ip(arguments: &str) {
    let arguments: Vec<&str> = arguments.split(' ').collect();
    assert!(run("ip", &arguments).is_some(), "ip {}", arguments.join(" "));
}

/// Runs a command in a namespace and returns what it prints.
pub fn ip_netns(namespace: &str, command: &str) -> String {
    let mut arguments = vec!["netns", "exec", namespace];
    arguments.extend(command.split(' '));
    run("ip", &arguments).unwrap_or_else(|| panic!("{command}"))
}

fn run(tool: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(tool).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
