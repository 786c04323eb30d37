//! kube-proxy's rules in the kernel: a node with a bridge and pods, and a host outside, each a network namespace of
//! its own. Needs root, `ip` and `nft`; says so and passes where they are missing.
//!
//! The outside host claims every cluster address for itself: what escapes from the node is answered with "escaped".

mod lab;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use kube_proxy::proxier::Synced;
use serde_json::json;

use lab::{Lab, ip_netns, web, web_slice};

const CLUSTER: &str = "10.96.0.20:80";
const A: &str = "10.244.0.5:8080 on n1";
const B: &str = "10.244.0.6:8080 on n1";

#[test]
fn before_any_rule_nothing_for_the_cluster_leaves_the_machine() {
    let Some(lab) = Lab::new() else { return };
    // The trap works: without routes it would be seen.
    lab.sysctl("net.ipv4.ip_forward=1");
    assert!(lab.pod_c.ask(CLUSTER).expect("an answer from outside").starts_with("escaped"));
    lab.on_node(async |_| {
        let network = lab::network();
        kube_proxy::host::routes::install_unreachable(&network).await.expect("routes");
        kube_proxy::host::routes::install_unreachable(&network).await.expect("again");
    });
    for place in [&lab.pod_c, &lab.node] {
        let refused = place.ask(CLUSTER).unwrap_err();
        assert_ne!(refused.kind(), ErrorKind::TimedOut, "{refused}");
        let refused = place.ask("10.244.9.9:80").unwrap_err();
        assert_ne!(refused.kind(), ErrorKind::TimedOut, "{refused}");
    }
}

#[test]
fn a_service_is_reached_from_everywhere_and_spreads_over_its_endpoints() {
    let Some(lab) = Lab::new() else { return };
    let (services, slices) = (vec![web(json!({}))], vec![web_slice(&[A, B])]);
    lab.sync(&services, &slices);
    for (place, address) in [
        (&lab.pod_c, CLUSTER),
        (&lab.pod_a, CLUSTER),
        (&lab.node, CLUSTER),
        (&lab.outside, CLUSTER),
        (&lab.pod_c, "198.51.100.1:30080"),
        (&lab.pod_a, "10.244.0.1:30080"),
        (&lab.node, "127.0.0.1:30080"),
        (&lab.node, "198.51.100.1:30080"),
        (&lab.node, "10.244.0.1:30080"),
        (&lab.outside, "198.51.100.1:30080"),
    ] {
        let answers: BTreeSet<String> = (0..24)
            .map(|_| {
                place.ask(address).unwrap_or_else(|error| panic!("{} -> {address}: {error}", place.name))
            })
            .map(|answer| answer.split(' ').next().expect("a name").to_owned())
            .collect();
        assert_eq!(answers, ["a", "b"].map(str::to_owned).into(), "{} -> {address}", place.name);
    }
    // Pods see each other's addresses; what comes from elsewhere is masqueraded.
    let seen = |answer: String| answer.split(' ').nth(1).map(str::to_owned);
    assert_eq!(seen(lab.pod_c.ask(CLUSTER).expect("an answer")).as_deref(), Some("10.244.0.7"));
    assert_eq!(seen(lab.outside.ask(CLUSTER).expect("an answer")).as_deref(), Some("10.244.0.1"));
}

#[test]
fn what_nobody_serves_is_refused_at_once() {
    let Some(lab) = Lab::new() else { return };
    lab.sync(&[web(json!({"externalIPs": ["203.0.113.5"]}))], &[web_slice(&[])]);
    for (place, address) in [
        (&lab.pod_c, CLUSTER),
        (&lab.node, CLUSTER),
        (&lab.pod_c, "10.96.200.200:443"),
        (&lab.node, "10.96.200.200:443"),
        (&lab.pod_c, "198.51.100.1:30080"),
        (&lab.outside, "198.51.100.1:30080"),
        (&lab.node, "127.0.0.1:30080"),
        (&lab.pod_c, "203.0.113.5:80"),
        (&lab.node, "203.0.113.5:80"),
    ] {
        let error = place.ask(address).expect_err(address);
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{} -> {address}", place.name);
    }
    for place in [&lab.pod_c, &lab.node] {
        let error = place.ask_udp("10.96.0.20:53", 0).expect_err("refused");
        // A datagram of the node itself is refused before it is one: the kernel says "not permitted".
        let refused = matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::PermissionDenied);
        assert!(refused, "{}: {error}", place.name);
    }
}

#[test]
fn a_client_stays_at_its_endpoint_while_that_is_there() {
    let Some(lab) = Lab::new() else { return };
    let sticky = web(json!({"sessionAffinity": "ClientIP"}));
    let mut node = lab.sync(std::slice::from_ref(&sticky), &[web_slice(&[A, B])]);
    let name = |answer: std::io::Result<String>| answer.expect("an answer")[..1].to_owned();
    for place in [&lab.pod_c, &lab.node] {
        let first = name(place.ask(CLUSTER));
        for _ in 0..15 {
            assert_eq!(name(place.ask(CLUSTER)), first, "{}", place.name);
        }
    }
    let home = name(lab.pod_c.ask(CLUSTER));
    let stays = if home == "a" { A } else { B };
    for endpoints in [vec![stays], vec![A, B], vec!["10.244.0.99:8080 on n1", A, B]] {
        node.resync(std::slice::from_ref(&sticky), &[web_slice(&endpoints)]);
        assert_eq!(name(lab.pod_c.ask(CLUSTER)), home);
    }
    let other = if home == "a" { B } else { A };
    node.resync(std::slice::from_ref(&sticky), &[web_slice(&[other])]);
    assert_ne!(name(lab.pod_c.ask(CLUSTER)), home);
}

#[test]
fn changes_and_a_restart_drop_no_connection() {
    let Some(lab) = Lab::new() else { return };
    let mut node = lab.sync(&[web(json!({}))], &[web_slice(&[A, B])]);
    let mut open = lab.pod_c.connect(CLUSTER).expect("a connection");
    assert!(open.talk("before").starts_with("echo before"));

    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicU32::new(0));
    let (client, ending, count) = (lab.pod_c.clone(), Arc::clone(&stop), Arc::clone(&asked));
    let asking = std::thread::spawn(move || {
        while !ending.load(Ordering::SeqCst) {
            client.ask(CLUSTER)?;
            count.fetch_add(1, Ordering::SeqCst);
        }
        Ok::<_, std::io::Error>(())
    });
    for round in 0..30 {
        let endpoints = [vec![A], vec![A, B], vec![B], vec![B, A]][round % 4].clone();
        if round % 10 == 9 {
            node = lab.sync(&[web(json!({}))], &[web_slice(&endpoints)]);
        } else {
            node.resync(&[web(json!({}))], &[web_slice(&endpoints)]);
        }
        assert!(open.talk("while").starts_with("echo while"), "round {round}");
    }
    stop.store(true, Ordering::SeqCst);
    asking.join().expect("the client").expect("no request failed");
    assert!(asked.load(Ordering::SeqCst) > 30);
}

#[test]
fn udp_is_served_and_follows_when_an_endpoint_goes() {
    let Some(lab) = Lab::new() else { return };
    let dns =
        || vec![web(json!({"ports": [{"name": "http", "protocol": "UDP", "port": 53, "nodePort": 30053}]}))];
    let slice = |endpoints: &[&str]| vec![lab::slice_of("UDP", endpoints)];
    let (a, b) = ("10.244.0.5:5353 on n1", "10.244.0.6:5353 on n1");
    let mut node = lab.sync(&dns(), &slice(&[a]));
    // The same port of the client all along, as a resolver has it.
    for (place, address, port) in
        [(&lab.pod_c, "10.96.0.20:53", 40001), (&lab.outside, "198.51.100.1:30053", 40002)]
    {
        node.resync(&dns(), &slice(&[a]));
        assert_eq!(&place.ask_udp(address, port).expect("an answer")[..1], "a");
        node.resync(&dns(), &slice(&[b]));
        assert_eq!(&place.ask_udp(address, port).expect("an answer")[..1], "b", "{}", place.name);
    }
}

#[test]
fn an_external_policy_of_local_keeps_the_clients_address_and_drops_where_no_endpoint_is() {
    let Some(lab) = Lab::new() else { return };
    let local = [web(json!({"externalTrafficPolicy": "Local"}))];
    let mut node = lab.sync(&local, &[web_slice(&[A, "10.244.1.5:8080 on n2"])]);
    for _ in 0..8 {
        assert_eq!(lab.outside.ask("198.51.100.1:30080").expect("an answer"), "a 198.51.100.2");
    }
    // Here the endpoint is said to be elsewhere: inside it is reached all the same.
    node.resync(&local, &[web_slice(&["10.244.0.6:8080 on n2"])]);
    let dropped = lab.outside.ask("198.51.100.1:30080").unwrap_err();
    assert!(matches!(dropped.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock), "{dropped}");
    assert_eq!(&lab.pod_c.ask("198.51.100.1:30080").expect("an answer")[..1], "b");
    assert_eq!(&lab.node.ask("127.0.0.1:30080").expect("an answer")[..1], "b");
}

#[test]
fn pods_are_masqueraded_where_bridged_packets_do_not_pass_netfilter() {
    let Some(lab) = Lab::new() else { return };
    lab.sysctl("net.bridge.bridge-nf-call-iptables=0");
    lab.sync(&[web(json!({}))], &[web_slice(&[A, B])]);
    for _ in 0..12 {
        let answer = lab.pod_c.ask(CLUSTER).expect("an answer");
        assert!(answer.ends_with(" 10.244.0.1"), "{answer}");
        lab.pod_a.ask(CLUSTER).expect("an answer to itself");
    }
}

#[test]
fn a_firewall_that_drops_forwarded_packets_is_told_to_let_pods_through_until_the_cleanup() {
    let Some(lab) = Lab::new() else { return };
    if !lab.iptables(&["-P", "FORWARD", "DROP"]) {
        eprintln!("skipped: no iptables");
        return;
    }
    let before = lab.firewall();
    lab.sync(&[web(json!({}))], &[web_slice(&[A, B])]);
    lab.sync(&[web(json!({}))], &[web_slice(&[A, B])]);
    lab.pod_c.ask(CLUSTER).expect("an answer");
    lab.pod_c.ask("198.51.100.2:9000").expect("the world outside answers");
    lab.outside.ask("198.51.100.1:30080").expect("an answer");
    assert_eq!(lab.firewall().lines().count(), before.lines().count() + 2);

    lab.on_node(async |_| kube_proxy::host::cleanup(&lab::network()).await);
    assert_eq!(lab.firewall(), before);
}

#[test]
fn the_cleanup_leaves_the_host_as_it_was() {
    let Some(lab) = Lab::new() else { return };
    let state = || {
        let show = |command: &str| ip_netns(&lab.node.name, command);
        [
            show("ip route show table all"),
            show("nft list tables"),
            show("sysctl -n net.ipv4.ip_forward net.ipv4.conf.all.route_localnet"),
        ]
    };
    let before = state();
    lab.on_node(async |_| {
        kube_proxy::host::routes::install_unreachable(&lab::network()).await.expect("routes");
    });
    lab.sync(&[web(json!({}))], &[web_slice(&[A])]);
    assert_ne!(state(), before);
    for _ in 0..2 {
        lab.on_node(async |_| kube_proxy::host::cleanup(&lab::network()).await);
        assert_eq!(state(), before);
    }
}

#[test]
fn a_table_that_somebody_flushed_comes_back() {
    let Some(lab) = Lab::new() else { return };
    let (services, slices) = (vec![web(json!({}))], vec![web_slice(&[A])]);
    let mut node = lab.sync(&services, &slices);
    ip_netns(&lab.node.name, "nft flush ruleset");
    assert!(lab.pod_c.ask(CLUSTER).is_err());
    let synced = node.check_and_resync(&services, &slices);
    assert_eq!(synced, Synced::Everything);
    lab.pod_c.ask(CLUSTER).expect("an answer");
}

#[test]
fn pods_of_another_node_are_reached_over_its_address_and_see_who_asks() {
    let Some(lab) = Lab::new() else { return };
    lab.sync(&[], &[]);
    ip_netns(&lab.outside.name, "ip addr add 10.244.1.5/32 dev lo");
    let node = |name: &str, pods: &str, address: &str| {
        let document = json!({
            "metadata": {"name": name},
            "spec": {"podCIDRs": [pods]},
            "status": {"addresses": [{"type": "InternalIP", "address": address}]},
        });
        Arc::new(serde_json::from_value::<kube_proxy::Node>(document).expect("a Node"))
    };
    let own = node("n1", "10.244.0.0/24", "198.51.100.1");
    let far = node("n3", "10.244.3.0/24", "192.0.2.77");
    let lead = |nodes: Vec<_>| {
        lab.on_node(async move |()| {
            kube_proxy::host::node_routes::sync(&nodes, "n1", lab::network().cluster).await.map_err(drop)
        })
    };
    assert!(lab.pod_c.ask("10.244.1.5:9000").is_err());
    // One that is not on this link is told, and hinders nothing.
    assert_eq!(lead(vec![own.clone(), far, node("n2", "10.244.1.0/24", "198.51.100.2")]), Err(()));
    assert_eq!(lab.pod_c.ask("10.244.1.5:9000").expect("an answer"), "outside 10.244.0.7");
    assert_eq!(lead(vec![own.clone(), node("n2", "10.244.1.0/24", "198.51.100.2")]), Ok(()));
    let routes = ip_netns(&lab.node.name, "ip route show 10.244.1.0/24");
    assert!(routes.starts_with("10.244.1.0/24 via 198.51.100.2 dev uplink"), "{routes}");
    assert_eq!(lead(vec![own]), Ok(()));
    assert_eq!(ip_netns(&lab.node.name, "ip route show 10.244.1.0/24"), "");
    assert!(lab.pod_c.ask("10.244.1.5:9000").is_err());
}

#[test]
fn many_services_are_applied_in_reasonable_time() {
    let Some(lab) = Lab::new() else { return };
    let (services, slices) = lab::many(1000);
    let start = std::time::Instant::now();
    let mut node = lab.sync(&services, &slices);
    let whole = start.elapsed();
    let (mut services, mut slices) = (services, slices);
    services.push(web(json!({})));
    slices.push(web_slice(&[A]));
    let start = std::time::Instant::now();
    node.resync(&services, &slices);
    let one = start.elapsed();
    lab.pod_c.ask(CLUSTER).expect("an answer");
    eprintln!("1000 Services with 3 endpoints each: all in {whole:?}, one more in {one:?}");
    assert!(whole < Duration::from_secs(30) && one < Duration::from_secs(5));
}
