//! A Service, its pods and its slices: plans are applied, and the second plan is empty.

use proptest::prelude::*;

use api::intstr::IntOrString;
use api::meta::Condition;

use super::*;
use crate::objects::{Container, ContainerPort, PodIp, ServicePort};

struct World {
    service: Service,
    pods: Vec<Pod>,
    slices: Vec<EndpointSlice>,
    writes: usize,
}

fn world() -> World {
    let mut service = Service::default();
    service.metadata.name = "web".into();
    service.metadata.namespace = "default".into();
    service.metadata.uid = "service".into();
    service.spec.selector.insert("app".into(), "web".into());
    service.spec.cluster_ip = "10.96.0.9".into();
    service.spec.ports.push(ServicePort {
        name: "http".into(),
        protocol: "TCP".into(),
        port: 80,
        target_port: Some(IntOrString::from("http")),
        app_protocol: None,
    });
    World { service, pods: Vec::new(), slices: Vec::new(), writes: 0 }
}

impl World {
    fn plan(&self) -> Vec<Action> {
        let pods: Vec<_> = self.pods.iter().cloned().map(Arc::new).collect();
        let slices: Vec<_> = self.slices.iter().cloned().map(Arc::new).collect();
        let zone = |node: &str| Some(format!("zone-of-{node}"));
        plan(&Observed { service: &self.service, pods: &pods, slices: &slices, zone: &zone })
    }

    #[track_caller]
    fn sync(&mut self) {
        let actions = self.plan();
        self.writes = actions.len();
        for action in actions.clone() {
            match action {
                Action::Create(mut slice) => {
                    assert!(self.slices.iter().all(|other| other.metadata.name != slice.metadata.name));
                    slice.metadata.uid = format!("uid-{}", slice.metadata.name);
                    self.slices.push(*slice);
                }
                Action::Update { slice, .. } => {
                    let name = slice.metadata.name.clone();
                    let there = self.slices.iter_mut().find(|there| there.metadata.name == name).unwrap();
                    *there = *slice;
                }
                Action::Delete { name, .. } => self.slices.retain(|slice| slice.metadata.name != name),
            }
        }
        assert_eq!(self.plan(), [], "after {actions:?}");
    }

    fn add(&mut self, name: &str, port: i32) -> &mut Pod {
        let mut pod = Pod::default();
        pod.metadata.name = name.into();
        pod.metadata.uid = format!("uid-{name}");
        pod.spec.node_name = "n1".into();
        pod.spec.containers.push(Container {
            ports: vec![ContainerPort { name: "http".into(), container_port: port, protocol: "TCP".into() }],
            ..Container::default()
        });
        pod.status.phase = "Running".into();
        pod.status.pod_ip = format!("10.244.0.{}", self.pods.len());
        pod.status.pod_ips = vec![PodIp { ip: pod.status.pod_ip.clone() }];
        self.pods.push(pod);
        self.pods.last_mut().unwrap()
    }

    fn sizes(&self) -> Vec<usize> {
        self.slices.iter().map(|slice| slice.endpoints.len()).collect()
    }
}

fn ready(pod: &mut Pod) {
    pod.status.conditions =
        vec![Condition { r#type: "Ready".into(), status: "True".into(), ..Condition::default() }];
}

#[test]
fn a_slice_says_all_that_a_proxy_needs() {
    let mut world = world();
    ready(world.add("a", 8080));
    world.add("b", 8080);
    world.sync();
    let [slice] = &world.slices[..] else { panic!("{:?}", world.slices) };
    assert_eq!(slice.metadata.labels[SERVICE_NAME], "web");
    assert_eq!(slice.metadata.labels[MANAGED_BY], CONTROLLER);
    assert_eq!(slice.metadata.controller().unwrap().kind, "Service");
    assert_eq!(slice.address_type, "IPv4");
    assert_eq!((slice.ports[0].name.as_deref(), slice.ports[0].port), (Some("http"), Some(8080)));
    let [a, b] = &slice.endpoints[..] else { panic!("{slice:?}") };
    assert_eq!(a.conditions.ready, Some(true));
    assert_eq!(
        b.conditions,
        EndpointConditions { ready: Some(false), serving: Some(false), terminating: Some(false) }
    );
    assert_eq!(a.zone.as_deref(), Some("zone-of-n1"));
    assert_eq!(a.target_ref.as_ref().unwrap().name, "a");
}

#[test]
fn a_service_without_pods_has_one_empty_slice() {
    let mut world = world();
    world.sync();
    assert_eq!(world.sizes(), [0]);
    ready(world.add("a", 80));
    world.sync();
    assert_eq!(world.sizes(), [1]);
    world.pods.clear();
    world.sync();
    assert_eq!(world.sizes(), [0]);
}

#[test]
fn a_pod_that_ends_serves_to_the_last_and_is_not_ready() {
    let mut world = world();
    let pod = world.add("a", 80);
    ready(pod);
    pod.metadata.deletion_timestamp = Some(crate::objects::whole_seconds(jiff::Timestamp::UNIX_EPOCH));
    world.sync();
    let conditions = world.slices[0].endpoints[0].conditions.clone();
    assert_eq!(
        (conditions.ready, conditions.serving, conditions.terminating),
        (Some(false), Some(true), Some(true))
    );
    world.pods[0].status.phase = "Failed".into();
    world.sync();
    assert_eq!(world.sizes(), [0]);
}

#[test]
fn addresses_are_published_early_where_the_service_wants_it() {
    let mut world = world();
    world.service.spec.publish_not_ready_addresses = true;
    world.add("a", 80);
    world.sync();
    assert_eq!(world.slices[0].endpoints[0].conditions.ready, Some(true));
}

#[test]
fn pods_with_other_ports_have_slices_of_their_own() {
    let mut world = world();
    world.add("a", 80);
    world.add("b", 8080);
    world.sync();
    assert_eq!(world.sizes(), [1, 1]);
    assert_ne!(world.slices[0].ports, world.slices[1].ports);
}

#[test]
fn one_change_among_hundreds_touches_one_slice() {
    let mut world = world();
    for i in 0..250 {
        world.add(&format!("p{i:03}"), 80);
    }
    world.sync();
    assert_eq!(world.sizes(), [100, 100, 50]);
    ready(&mut world.pods[17]);
    world.sync();
    assert_eq!(world.writes, 1);
    world.pods.remove(3);
    world.sync();
    assert_eq!(world.writes, 1);
    world.add("more", 80);
    world.sync();
    assert_eq!(world.writes, 1);
    assert_eq!(world.sizes(), [100, 100, 50]);
}

#[test]
fn a_slice_that_the_cache_does_not_show_is_not_made_under_another_name() {
    let mut world = world();
    world.add("a", 80);
    let (first, second) = (world.plan(), world.plan());
    assert_eq!(first, second);
}

#[test]
fn headless_is_said_and_labels_follow_the_service() {
    let mut world = world();
    world.service.spec.cluster_ip = "None".into();
    world.service.metadata.labels.insert("team".into(), "a".into());
    world.sync();
    assert!(world.slices[0].metadata.labels.contains_key(service_endpoints::HEADLESS));
    world.service.metadata.labels.clear();
    world.sync();
    assert!(!world.slices[0].metadata.labels.contains_key("team"));
}

proptest! {
    // A quarter of the usual number; PROPTEST_CASES asks for longer runs.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.div_ceil(4), ..ProptestConfig::default() })]

    #[test]
    fn every_pod_is_in_exactly_one_slice(steps in prop::collection::vec((0..300usize, 1..4i32), 1..6)) {
        let mut world = world();
        for (count, ports) in steps {
            world.pods.clear();
            for i in 0..count {
                world.add(&format!("p{i}"), 80 + i32::try_from(i).unwrap() % ports);
            }
            world.sync();
            let mut uids: Vec<_> = world.slices.iter().flat_map(|slice| &slice.endpoints)
                .filter_map(|endpoint| endpoint.target_ref.as_ref()).map(|target| &target.uid).collect();
            prop_assert!(world.sizes().iter().all(|size| *size <= MAX_ENDPOINTS));
            uids.sort();
            uids.dedup();
            prop_assert_eq!(uids.len(), count);
            prop_assert_eq!(world.sizes().iter().sum::<usize>(), count);
        }
    }
}
