//! Plugins that are small shell scripts: what each is told, and what becomes of what it answers.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// A folder of plugins, with a network that uses them.
struct World {
    folder: tempfile::TempDir,
    network: Network,
}

/// Writes down its environment and its input, one file per call, and answers with `answer`.
fn plugin(answer: &str, code: i32) -> String {
    format!(
        "#!/bin/sh\n\
         dir=$(dirname \"$0\")\n\
         n=$(ls \"$dir/../calls\" | wc -l)\n\
         {{ printf '%s %s %s %s %s %s\\n' \"$(basename \"$0\")\" \"$CNI_COMMAND\" \"$CNI_CONTAINERID\" \
         \"$CNI_IFNAME\" \"$CNI_NETNS\" \"$CNI_ARGS\"; cat; }} > \"$dir/../calls/$n-$(basename \"$0\")\"\n\
         printf '%s' '{answer}'\n\
         exit {code}\n"
    )
}

const ADDED: &str = r#"{"cniVersion":"1.0.0","ips":[{"address":"10.244.1.7/24"}]}"#;

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["bin", "conf", "calls"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        let network = Network::new(Self::config(folder.path()));
        let world = Self { folder, network };
        world.plugin("loopback", &plugin("{}", 0));
        world
    }

    fn config(folder: &Path) -> NetworkConfig {
        NetworkConfig {
            bin_dir: folder.join("bin"),
            conf_dir: folder.join("conf"),
            state_dir: folder.join("state"),
            bridge: "cox-test".to_owned(),
        }
    }

    fn plugin(&self, name: &str, script: &str) {
        let path = self.folder.path().join("bin").join(name);
        // Renamed into its place: a file that is still open for writing by a forked neighbour cannot be executed.
        let shell = self.folder.path().join(format!("{name}.new"));
        fs::write(&shell, script).expect("a script");
        fs::set_permissions(&shell, fs::Permissions::from_mode(0o755)).expect("a mode");
        fs::rename(&shell, &path).expect("a script");
    }

    fn configured(&self, plugins: Value) {
        let list = json!({"cniVersion": "1.0.0", "name": "net", "plugins": plugins});
        let path = self.folder.path().join("conf/10-test.conflist");
        fs::write(path, list.to_string()).expect("a configuration");
    }

    async fn add(&self, ports: &[PortMapping]) -> Result<Vec<IpAddr>, String> {
        let pod = Pod {
            container_id: "s1",
            netns: "/proc/1/ns/net",
            namespace: "shop",
            name: "web",
            uid: "u1",
            port_mappings: ports,
        };
        self.network.add(&pod).await.map_err(|error| error.to_string())
    }

    /// What the plugins but for loopback were told since the last look: the words, and the configuration.
    fn calls(&self) -> Vec<(String, Value)> {
        let folder = self.folder.path().join("calls");
        let mut files: Vec<PathBuf> =
            fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a file").path()).collect();
        files.sort();
        let mut calls = Vec::new();
        for file in &files {
            let text = fs::read_to_string(file).expect("a text");
            fs::remove_file(file).expect("a file");
            let (words, input) = text.split_once('\n').expect("two lines");
            if !words.starts_with("loopback") {
                calls.push((words.to_owned(), serde_json::from_str(input).expect("a configuration")));
            }
        }
        calls
    }
}

fn port() -> PortMapping {
    PortMapping { host_port: 8080, container_port: 80, protocol: "tcp".into(), host_ip: String::new() }
}

#[tokio::test]
async fn a_chain_hands_each_result_on_and_is_taken_back_in_reverse() {
    let world = World::new();
    world.plugin("first", &plugin(ADDED, 0));
    world.plugin("second", &plugin(ADDED, 0));
    world.configured(json!([
        {"type": "first", "bridge": "b"},
        {"type": "second", "capabilities": {"portMappings": true}},
    ]));
    let ips = world.add(&[port()]).await.expect("an address");
    assert_eq!(ips, ["10.244.1.7".parse::<IpAddr>().expect("an address")]);
    let calls = world.calls();
    let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=s1;K8S_POD_UID=u1";
    let words: Vec<&str> = calls.iter().map(|(words, _)| words.as_str()).collect();
    assert_eq!(words, ["first", "second"].map(|name| format!("{name} ADD s1 eth0 /proc/1/ns/net {args}")));
    let (first, second) = (&calls[0].1, &calls[1].1);
    assert_eq!(
        (&first["name"], &first["cniVersion"], &first["bridge"]),
        (&json!("net"), &json!("1.0.0"), &json!("b"))
    );
    assert_eq!(first.get("prevResult"), None);
    assert_eq!(second["prevResult"]["ips"][0]["address"], "10.244.1.7/24");
    assert_eq!(second["runtimeConfig"]["portMappings"][0]["hostPort"], 8080);
    assert_eq!(second.get("capabilities"), None, "what a plugin can do is not told back to it");

    world.network.del("s1", true).await.expect("taken away");
    let calls = world.calls();
    let order: Vec<&str> = calls.iter().filter_map(|(words, _)| words.split(" s1").next()).collect();
    assert_eq!(order, ["second DEL", "first DEL"]);
    assert_eq!(calls[1].1["prevResult"]["ips"][0]["address"], "10.244.1.7/24");
    world.network.del("s1", true).await.expect("nothing to take away");
    assert_eq!(world.calls(), []);
}

#[tokio::test]
async fn a_plugin_that_fails_says_why_and_what_was_added_is_found_again() {
    let world = World::new();
    world.plugin("first", &plugin(ADDED, 0));
    world.plugin("second", &plugin(r#"{"code":11,"msg":"no room","details":"range is full"}"#, 1));
    world.configured(json!([{"type": "first"}, {"type": "second"}]));
    let error = world.add(&[]).await.expect_err("the second fails");
    assert_eq!(error, "plugin type=\"second\" failed (add): no room: range is full");
    assert_eq!(world.network.addresses("s1"), Some(Vec::new()), "half added, without an address");
    world.calls();
    // Another kubelet, and a plugin that can again.
    world.plugin("second", &plugin("", 0));
    let next = Network::new(World::config(world.folder.path()));
    next.del("s1", false).await.expect("taken away");
    let calls = world.calls();
    let words: Vec<&str> =
        calls.iter().filter_map(|(words, _)| words.split(" IgnoreUnknown").next()).collect();
    assert_eq!(words, ["second DEL s1 eth0 ", "first DEL s1 eth0 "], "the namespace has gone");
    assert_eq!(next.addresses("s1"), None);
}

#[tokio::test]
async fn what_is_no_plugin_is_told_in_words() {
    let world = World::new();
    let error = world.add(&[]).await.expect_err("no configuration");
    assert!(error.starts_with("cni plugin not initialized: no network configuration in "), "{error}");
    world.configured(json!([{"type": "gone"}]));
    let error = world.add(&[]).await.expect_err("no such plugin");
    assert!(error.starts_with("plugin type=\"gone\" failed (add): cannot be executed: "), "{error}");
    world.configured(json!([{"type": "../bin/loopback"}]));
    let error = world.add(&[]).await.expect_err("a path");
    assert!(error.ends_with("the plugin has no valid type"), "{error}");
    world.plugin("mute", "#!/bin/sh\necho out of luck >&2\nexit 3\n");
    world.configured(json!([{"type": "mute"}]));
    let error = world.add(&[]).await.expect_err("it fails");
    assert_eq!(error, "plugin type=\"mute\" failed (add): exit status: 3: out of luck");
    fs::write(world.folder.path().join("conf/10-test.conflist"), "{").expect("a file");
    let error = world.add(&[]).await.expect_err("no JSON");
    assert!(error.contains("10-test.conflist is not valid: "), "{error}");
}

#[tokio::test]
async fn what_nobody_lives_at_is_given_back() {
    let world = World::new();
    world.plugin("first", &plugin(ADDED, 0));
    world.configured(json!([{"type": "first"}]));
    world.add(&[]).await.expect("an address");
    let addresses = world.folder.path().join("state/networks").join(NETWORK_NAME);
    fs::create_dir_all(&addresses).expect("a folder");
    for (address, owner) in
        [("10.244.1.7", "s1\neth0"), ("10.244.1.8", "s0\neth0"), ("last_reserved_ip.0", "x")]
    {
        fs::write(addresses.join(address), owner).expect("a file");
    }
    let collect = async |live: &[&str]| {
        let live: Vec<String> = live.iter().map(|id| (*id).to_owned()).collect();
        world.network.collect_garbage(|| async { Ok::<_, NetworkError>(live) }).await.expect("collected")
    };
    assert_eq!(collect(&["s1"]).await, 1, "the address of s0");
    assert_eq!(collect(&["s1"]).await, 0);
    assert_eq!(collect(&[]).await, 2, "the attachment of s1, and its address");
    assert!(addresses.join("last_reserved_ip.0").exists(), "what is no address is not ours");
}

#[test]
fn our_configuration_masquerades_nothing_and_skips_portmap_without_ports() {
    let text = conflist("cox-1", Path::new("/state"), &["10.244.3.0/24".to_owned()]);
    let list: Value = serde_json::from_str(&text).expect("a configuration");
    let types = |ports: &[PortMapping]| -> Vec<String> {
        chain(&list, ports)
            .iter()
            .map(|plugin| plugin["type"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(types(&[]), ["bridge"]);
    assert_eq!(types(&[port()]), ["bridge", "portmap"]);
    let bridge = &chain(&list, &[])[0];
    assert_eq!((&bridge["bridge"], &bridge["ipMasq"]), (&json!("cox-1"), &json!(false)));
    assert_eq!(bridge["ipam"]["ranges"][0][0]["subnet"], "10.244.3.0/24");
    assert_eq!(bridge["ipam"]["routes"][0]["dst"], "0.0.0.0/0");
}
