//! A ReplicaSet and its pods: plans are applied, and the second plan is empty.

use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::json;

use api::meta::OwnerReference;
use api::selector::LabelSelector;
use api::time::Time;

use super::*;
use crate::objects::PodTemplate;

struct World {
    set: ReplicaSet,
    pods: Vec<Pod>,
    unseen: Unseen,
    now: Timestamp,
    names: u32,
}

fn world(replicas: i32) -> World {
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c"}]}});
    let mut set = ReplicaSet {
        spec: ReplicaSetSpec {
            replicas: Some(replicas),
            selector: LabelSelector {
                match_labels: [("app".to_owned(), "web".to_owned())].into(),
                ..LabelSelector::default()
            },
            template: PodTemplate::of(&template),
            min_ready_seconds: 0,
        },
        ..ReplicaSet::default()
    };
    set.metadata.name = "web".into();
    set.metadata.uid = "set".into();
    set.metadata.generation = 1;
    World { set, pods: Vec::new(), unseen: Unseen::default(), now: Timestamp::UNIX_EPOCH, names: 0 }
}

impl World {
    fn plan(&mut self) -> Plan {
        let pods: Vec<_> = self.pods.iter().cloned().map(Arc::new).collect();
        let names = &mut self.names;
        plan(
            &Observed {
                flavor: Flavor::ReplicaSet,
                replica_set: &self.set,
                pods: &pods,
                related: &pods,
                unseen: self.unseen.clone(),
                now: self.now,
            },
            &mut || {
                *names += 1;
                names.to_string()
            },
        )
    }

    #[track_caller]
    fn sync(&mut self) -> Plan {
        let plan = self.plan();
        for action in &plan.actions {
            match action {
                Action::Adopt(change) | Action::Release(change) => {
                    self.pod(&change.name).metadata.owner_references = change.owner_references.clone();
                }
                Action::CreatePods(pods) => {
                    for new in pods {
                        let mut pod: Pod = serde_json::from_value(new.document.clone()).unwrap();
                        assert_eq!(pod.metadata.name, new.name);
                        pod.metadata.uid = format!("uid-{}", new.name);
                        pod.status.phase = "Pending".into();
                        self.pods.push(pod);
                    }
                }
                Action::DeletePods(victims) => {
                    for victim in victims {
                        let now = self.now;
                        let pod = self.pod(&victim.name);
                        assert_eq!(pod.metadata.uid, victim.uid);
                        if pod.spec.node_name.is_empty() {
                            self.pods.retain(|pod| pod.metadata.name != victim.name);
                        } else {
                            pod.metadata.deletion_timestamp = Some(whole_seconds(now));
                        }
                    }
                }
                Action::UpdateStatus(status) => self.set.status = (**status).clone(),
            }
        }
        let again = self.plan();
        assert_eq!(again.actions, [], "after {:?}", plan.actions);
        plan
    }

    fn pod(&mut self, name: &str) -> &mut Pod {
        self.pods.iter_mut().find(|pod| pod.metadata.name == name).expect("the plan names a pod that exists")
    }

    fn add(&mut self, name: &str) -> &mut Pod {
        let mut pod = Pod::default();
        pod.metadata.name = name.into();
        pod.metadata.uid = format!("uid-{name}");
        pod.metadata.labels.insert("app".into(), "web".into());
        pod.metadata.owner_references.push(OwnerReference {
            uid: "set".into(),
            controller: Some(true),
            ..OwnerReference::default()
        });
        pod.spec.node_name = "node".into();
        pod.status.phase = "Running".into();
        self.pods.push(pod);
        self.pods.last_mut().unwrap()
    }

    fn active(&self) -> Vec<&str> {
        self.pods.iter().filter(|pod| pod.is_active()).map(|pod| pod.metadata.name.as_str()).collect()
    }
}

fn ready(pod: &mut Pod, second: i64) {
    pod.status.conditions = vec![Condition {
        r#type: "Ready".into(),
        status: "True".into(),
        last_transition_time: Some(Time(Timestamp::from_second(second).unwrap())),
        ..Condition::default()
    }];
}

#[test]
fn missing_pods_are_made_with_labels_owner_and_a_name_of_their_own() {
    let mut world = world(3);
    world.sync();
    assert_eq!(world.active(), ["web-1", "web-2", "web-3"]);
    assert_eq!(world.set.status.replicas, 3);
    assert_eq!(world.set.status.fully_labeled_replicas, 3);
    let pod = &world.pods[0];
    assert_eq!(pod.metadata.labels["app"], "web");
    assert_eq!(pod.metadata.generate_name, "web-");
    let owner = pod.metadata.controller().unwrap();
    assert_eq!((owner.kind.as_str(), owner.api_version.as_str()), ("ReplicaSet", "apps/v1"));
}

#[test]
fn a_pod_that_ends_or_is_deleted_is_replaced() {
    let mut world = world(2);
    world.add("failed").status.phase = "Failed".into();
    world.add("leaving").metadata.deletion_timestamp = Some(whole_seconds(Timestamp::UNIX_EPOCH));
    world.sync();
    assert_eq!(world.active().len(), 2);
    assert_eq!(world.set.status.terminating_replicas, Some(1));
}

#[test]
fn pods_that_were_made_and_are_not_seen_yet_are_not_made_again() {
    let mut world = world(3);
    world.unseen.created = HashSet::from(["web-x".to_owned(), "web-y".to_owned()]);
    let plan = world.plan();
    let Action::CreatePods(pods) = &plan.actions[0] else { panic!("{plan:?}") };
    assert_eq!(pods.len(), 1);
    assert!(plan.requeue_after.is_some(), "it looks again if they never come");
}

#[test]
fn pods_that_were_deleted_and_still_seem_there_are_not_counted() {
    let mut world = world(1);
    world.add("a");
    world.add("b");
    world.unseen.deleted = HashSet::from(["uid-a".to_owned()]);
    world.sync();
    assert_eq!(world.active(), ["a", "b"], "nothing more is deleted");
}

#[test]
fn pods_are_taken_down_in_the_order_of_kubernetes() {
    let mut world = world(8);
    ready(world.add("oldest-ready"), 100);
    ready(world.add("newest-ready"), 200);
    world.add("not-ready");
    world.add("pending").status.phase = "Pending".into();
    world.add("unassigned").spec.node_name = String::new();
    let cheap = world.add("cheap");
    ready(cheap, 100);
    cheap.metadata.annotations.insert("controller.kubernetes.io/pod-deletion-cost".into(), "-1".into());
    let alone = world.add("alone");
    ready(alone, 300);
    alone.spec.node_name = "other".into();
    let restarted = world.add("restarted");
    ready(restarted, 100);
    restarted.status.container_statuses =
        vec![crate::objects::ContainerStatus { restart_count: 2, ..Default::default() }];
    let mut gone = Vec::new();
    for replicas in (0..8).rev() {
        world.set.spec.replicas = Some(replicas);
        let before: Vec<_> = world.active().into_iter().map(str::to_owned).collect();
        world.sync();
        let after = world.active();
        gone.extend(before.into_iter().filter(|name| !after.contains(&name.as_str())));
    }
    let expected =
        ["unassigned", "pending", "not-ready", "cheap", "newest-ready", "restarted", "alone", "oldest-ready"];
    assert_eq!(gone, expected);
}

#[test]
fn a_pod_is_available_when_it_has_been_ready_long_enough() {
    let mut world = world(1);
    world.set.spec.min_ready_seconds = 10;
    ready(world.add("a"), 0);
    world.now = Timestamp::from_second(4).unwrap();
    let plan = world.sync();
    assert_eq!((world.set.status.ready_replicas, world.set.status.available_replicas), (1, 0));
    assert_eq!(plan.requeue_after, Some(Duration::from_secs(6)));
    world.now = Timestamp::from_second(10).unwrap();
    world.sync();
    assert_eq!(world.set.status.available_replicas, 1);
}

#[test]
fn orphans_count_and_relabelled_pods_are_let_go_and_replaced() {
    let mut world = world(2);
    world.add("orphan").metadata.owner_references.clear();
    world.add("strange").metadata.labels.insert("app".into(), "debug".into());
    world.sync();
    assert_eq!(world.pods.len(), 3);
    assert_eq!(world.pod("orphan").metadata.controller().unwrap().uid, "set");
    assert!(world.pod("strange").metadata.owner_references.is_empty());
}

#[test]
fn a_set_that_is_being_deleted_makes_nothing() {
    let mut world = world(3);
    world.set.metadata.deletion_timestamp = Some(whole_seconds(Timestamp::UNIX_EPOCH));
    world.sync();
    assert!(world.pods.is_empty());
}

#[test]
fn a_failure_is_told_and_not_counted() {
    let mut world = world(3);
    let plan = world.plan();
    let Some(Action::UpdateStatus(status)) = plan.actions.last() else { panic!("{plan:?}") };
    let observed = Observed {
        flavor: Flavor::ReplicaSet,
        replica_set: &world.set,
        pods: &[],
        related: &[],
        unseen: Unseen::default(),
        now: world.now,
    };
    let failure = Failure { reason: "FailedCreate", message: "exceeded quota".into(), missing: 2 };
    let status = status_after_failure(&observed, Some(status), &failure);
    assert_eq!(status.replicas, 1);
    assert_eq!(status.conditions[0].message, "exceeded quota");
    world.set.status = status;
    world.sync();
    assert!(world.set.status.conditions.is_empty(), "and forgotten when it works");
}

proptest! {
    // A quarter of the usual number; PROPTEST_CASES asks for longer runs.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.div_ceil(4), ..ProptestConfig::default() })]

    #[test]
    fn any_set_of_pods_becomes_the_wanted_number_in_one_sync(
        replicas in 0..30i32,
        pods in prop::collection::vec((0..3usize, any::<bool>(), any::<bool>()), 0..40),
    ) {
        let mut world = world(replicas);
        for (i, (phase, assigned, leaving)) in pods.into_iter().enumerate() {
            let pod = world.add(&format!("p{i}"));
            pod.status.phase = ["Pending", "Running", "Failed"][phase].into();
            if !assigned {
                pod.spec.node_name.clear();
            }
            pod.metadata.deletion_timestamp = leaving.then(|| whole_seconds(Timestamp::UNIX_EPOCH));
        }
        world.sync();
        prop_assert_eq!(world.active().len(), usize::try_from(replicas).unwrap());
        prop_assert_eq!(world.set.status.replicas, replicas);
    }
}
