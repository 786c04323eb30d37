//! Rollouts in a world of one Deployment: plans are applied, and ReplicaSets and kubelets behave.

use proptest::prelude::*;
use serde_json::json;

use api::meta::OwnerReference;
use api::selector::LabelSelector;

use super::*;
use crate::objects::{
    DeploymentSpec, DeploymentStrategy, PodTemplate, ReplicaSetStatus, RollingUpdateDeployment, whole_seconds,
};

/// A Deployment, its ReplicaSets, and a clock.
struct World {
    deployment: Deployment,
    sets: Vec<ReplicaSet>,
    pods: Vec<Arc<Pod>>,
    now: Timestamp,
}

impl World {
    fn new(replicas: i32, surge: IntOrString, unavailable: IntOrString) -> Self {
        let mut deployment = Deployment {
            spec: DeploymentSpec {
                replicas: Some(replicas),
                selector: LabelSelector {
                    match_labels: [("app".to_owned(), "web".to_owned())].into(),
                    ..LabelSelector::default()
                },
                strategy: DeploymentStrategy {
                    r#type: "RollingUpdate".to_owned(),
                    rolling_update: Some(RollingUpdateDeployment {
                        max_surge: Some(surge),
                        max_unavailable: Some(unavailable),
                    }),
                },
                revision_history_limit: Some(10),
                progress_deadline_seconds: Some(600),
                ..DeploymentSpec::default()
            },
            ..Deployment::default()
        };
        deployment.metadata.name = "web".to_owned();
        deployment.metadata.uid = "deployment".to_owned();
        deployment.metadata.generation = 1;
        let mut world = Self { deployment, sets: Vec::new(), pods: Vec::new(), now: Timestamp::UNIX_EPOCH };
        world.set_image("nginx:1");
        world
    }

    fn set_image(&mut self, image: &str) {
        self.deployment.metadata.generation += 1;
        self.deployment.spec.template = PodTemplate::of(&json!({
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "nginx", "image": image}]},
        }));
    }

    fn set_replicas(&mut self, replicas: i32) {
        self.deployment.metadata.generation += 1;
        self.deployment.spec.replicas = Some(replicas);
    }

    fn plan(&self) -> Plan {
        let replica_sets: Vec<_> = self.sets.iter().cloned().map(Arc::new).collect();
        plan(&Observed {
            deployment: &self.deployment,
            replica_sets: &replica_sets,
            pods: &self.pods,
            now: self.now,
        })
    }

    /// Plans, applies the plan and asserts that there is nothing left to do.
    #[track_caller]
    fn sync(&mut self) -> Plan {
        let plan = self.plan();
        self.apply(&plan);
        let again = self.plan();
        assert_eq!(again.actions, [], "after {:?}", plan.actions);
        plan
    }

    fn apply(&mut self, plan: &Plan) {
        for action in &plan.actions {
            match action {
                Action::Adopt(change) | Action::Release(change) => {
                    self.set(&change.name).metadata.owner_references = change.owner_references.clone();
                }
                Action::CreateReplicaSet(new) => {
                    let mut set: ReplicaSet = serde_json::from_value(new.document.clone()).unwrap();
                    set.metadata.uid = format!("uid-{}", set.metadata.name);
                    set.metadata.creation_timestamp = Some(whole_seconds(self.now));
                    set.metadata.generation = 1;
                    assert!(self.sets.iter().all(|other| other.metadata.name != set.metadata.name));
                    self.sets.push(set);
                }
                Action::UpdateReplicaSet(change) => {
                    let set = self.set(&change.name);
                    set.metadata.annotations.extend(change.annotations.clone());
                    if let Some((from, to)) = change.replicas {
                        assert_eq!(set.replicas(), from);
                        set.spec.replicas = Some(to);
                        set.metadata.generation += 1;
                    }
                    if let Some(seconds) = change.min_ready_seconds {
                        set.spec.min_ready_seconds = seconds;
                    }
                }
                Action::DeleteReplicaSet { name, .. } => self.sets.retain(|set| set.metadata.name != *name),
                Action::SetRevision(revision) => {
                    let annotations = &mut self.deployment.metadata.annotations;
                    annotations.insert(revision::REVISION.to_owned(), revision.clone());
                }
                Action::UpdateStatus(status) => self.deployment.status = (**status).clone(),
            }
        }
    }

    fn set(&mut self, name: &str) -> &mut ReplicaSet {
        self.sets.iter_mut().find(|set| set.metadata.name == name).expect("the plan names a set that exists")
    }

    /// Every ReplicaSet gets its pods, and they become available (`new_ready`: how many of the current template's).
    fn pods_follow(&mut self, new_ready: i32) {
        let template = self.deployment.spec.template.value();
        for set in &mut self.sets {
            let wanted = set.replicas();
            let is_new = crate::template::same_template(&set.spec.template.value(), &template);
            let available =
                if is_new { wanted.min(new_ready) } else { wanted.min(set.status.available_replicas) };
            set.status = ReplicaSetStatus {
                replicas: wanted,
                fully_labeled_replicas: wanted,
                ready_replicas: available,
                available_replicas: available,
                observed_generation: set.metadata.generation,
                ..ReplicaSetStatus::default()
            };
        }
    }

    /// Runs until nothing changes, checking both bounds at every step.
    #[track_caller]
    fn settle(&mut self) -> usize {
        for step in 0..200 {
            let before = (self.sets.clone(), self.deployment.status.clone());
            self.sync();
            self.pods_follow(i32::MAX);
            self.now += jiff::SignedDuration::from_secs(1);
            if before == (self.sets.clone(), self.deployment.status.clone()) {
                return step;
            }
        }
        panic!("it does not settle: {:?}", self.sizes());
    }

    fn sizes(&self) -> Vec<i32> {
        self.sets.iter().map(ReplicaSet::replicas).collect()
    }

    fn reason(&self, r#type: &str) -> &str {
        let condition = self.deployment.status.conditions.iter().find(|condition| condition.r#type == r#type);
        condition.map_or("", |condition| &condition.reason)
    }

    fn revision(&self) -> &str {
        &self.deployment.metadata.annotations[revision::REVISION]
    }
}

#[test]
fn a_new_deployment_gets_a_replica_set_with_hash_selector_owner_and_revision() {
    let mut world = World::new(2, 1.into(), 0.into());
    world.deployment.metadata.annotations.insert("kubernetes.io/change-cause".into(), "first".into());
    let plan = world.sync();
    let Action::CreateReplicaSet(new) = &plan.actions[0] else { panic!("{plan:?}") };
    let set = &world.sets[0];
    let hash = &set.metadata.labels["pod-template-hash"];
    assert_eq!(set.metadata.name, format!("web-{hash}"));
    assert_eq!(set.spec.selector.match_labels["pod-template-hash"], *hash);
    assert_eq!(new.document["spec"]["template"]["metadata"]["labels"]["pod-template-hash"], json!(hash));
    assert_eq!(set.metadata.controller().unwrap().uid, "deployment");
    assert_eq!(set.metadata.annotations["kubernetes.io/change-cause"], "first");
    assert_eq!(set.metadata.annotations[revision::DESIRED_REPLICAS], "2");
    assert_eq!(set.metadata.annotations[revision::MAX_REPLICAS], "3");
    assert_eq!(world.sizes(), [2]);
    assert_eq!(world.revision(), "1");
    assert_eq!(world.reason("Progressing"), "NewReplicaSetCreated");
    assert_eq!(world.reason("Available"), "MinimumReplicasUnavailable");
    world.settle();
    assert_eq!(world.reason("Progressing"), "NewReplicaSetAvailable");
    assert_eq!(world.reason("Available"), "MinimumReplicasAvailable");
    assert_eq!(world.deployment.status.available_replicas, 2);
}

#[test]
fn a_new_image_rolls_over_and_undo_takes_the_old_set_back_with_a_new_number() {
    let mut world = World::new(3, 1.into(), 0.into());
    world.settle();
    world.set_image("nginx:2");
    world.settle();
    assert_eq!(world.sizes(), [0, 3]);
    assert_eq!(world.revision(), "2");
    world.set_image("nginx:1");
    world.settle();
    assert_eq!(world.sizes(), [3, 0]);
    assert_eq!(world.revision(), "3");
    assert_eq!(world.sets[0].metadata.annotations["deployment.kubernetes.io/revision-history"], "1");
}

#[test]
fn a_step_of_a_rollout_uses_all_the_room_there_is() {
    let mut world = World::new(10, "25%".into(), "25%".into());
    world.settle();
    world.set_image("nginx:2");
    let plan = world.sync();
    // Three more than ten are allowed and eight must be available: two old ones go, and make room for two more.
    assert_eq!(world.sizes(), [8, 5]);
    assert!(matches!(plan.actions[0], Action::UpdateReplicaSet(_)), "down before up: {plan:?}");
    world.pods_follow(1);
    world.sync();
    assert_eq!(world.sizes(), [7, 6]);
}

#[test]
fn old_pods_that_serve_no_one_go_first() {
    let mut world = World::new(4, 1.into(), 1.into());
    world.settle();
    world.sets[0].status.available_replicas = 2;
    world.set_image("nginx:2");
    world.sync();
    // Three must be available and only two are. The two that serve no one are free to go, but for the one that
    // would leave fewer than three old pods.
    assert_eq!(world.sizes(), [3, 2]);
}

#[test]
fn recreate_waits_until_no_old_pod_runs() {
    let mut world = World::new(2, 0.into(), 0.into());
    world.deployment.spec.strategy = DeploymentStrategy { r#type: "Recreate".into(), rolling_update: None };
    world.settle();
    let mut pod = Pod::default();
    pod.status.phase = "Running".into();
    pod.metadata.owner_references.push(OwnerReference {
        uid: world.sets[0].metadata.uid.clone(),
        controller: Some(true),
        ..OwnerReference::default()
    });
    world.pods = vec![Arc::new(pod)];
    world.set_image("nginx:2");
    world.settle();
    assert_eq!(world.sizes(), [0]);
    world.pods.clear();
    world.settle();
    assert_eq!(world.sizes(), [0, 2]);
}

#[test]
fn a_paused_deployment_follows_its_size_and_not_its_template() {
    let mut world = World::new(2, 1.into(), 0.into());
    world.settle();
    world.deployment.spec.paused = true;
    world.set_image("nginx:2");
    world.settle();
    assert_eq!(world.sizes(), [2]);
    assert_eq!(world.reason("Progressing"), "DeploymentPaused");
    world.set_replicas(4);
    world.settle();
    assert_eq!(world.sizes(), [4]);
    world.deployment.spec.paused = false;
    world.sync();
    world.settle();
    assert_eq!(world.sizes(), [0, 4]);
    assert_eq!(world.reason("Progressing"), "NewReplicaSetAvailable");
}

#[test]
fn scaling_during_a_rollout_is_shared_in_proportion() {
    let mut world = World::new(10, 3.into(), 2.into());
    world.settle();
    world.set_image("bad");
    for _ in 0..6 {
        world.sync();
        world.pods_follow(0);
    }
    assert_eq!(world.sizes(), [8, 5]);
    world.set_replicas(15);
    world.sync();
    // The example of the Kubernetes documentation: 3 of the 5 more go to the old set, 2 to the new one.
    assert_eq!(world.sizes(), [11, 7]);
}

#[test]
fn a_rollout_that_does_not_move_is_late() {
    let mut world = World::new(2, 1.into(), 0.into());
    world.settle();
    world.set_image("bad");
    world.sync();
    world.pods_follow(0);
    let plan = world.sync();
    let deadline = plan.requeue_after.expect("it looks again at the deadline");
    assert_eq!(deadline.as_secs(), 601);
    world.now += jiff::SignedDuration::from_secs(601);
    world.sync();
    assert_eq!(world.reason("Progressing"), "ProgressDeadlineExceeded");
    assert_eq!(world.reason("Available"), "MinimumReplicasAvailable");
    world.set_image("nginx:3");
    world.settle();
    assert_eq!(world.reason("Progressing"), "NewReplicaSetAvailable");
}

#[test]
fn history_is_kept_to_its_limit() {
    let mut world = World::new(1, 1.into(), 0.into());
    world.deployment.spec.revision_history_limit = Some(2);
    for version in 1..=5 {
        world.set_image(&format!("nginx:{version}"));
        world.settle();
    }
    let revisions: Vec<_> =
        world.sets.iter().map(|set| set.metadata.annotations[revision::REVISION].as_str()).collect();
    assert_eq!(revisions, ["3", "4", "5"]);
}

#[test]
fn orphans_are_adopted_before_anything_else() {
    let mut world = World::new(1, 1.into(), 0.into());
    world.settle();
    world.sets[0].metadata.owner_references.clear();
    let plan = world.plan();
    assert!(matches!(plan.actions[..], [Action::Adopt(_)]), "{plan:?}");
    world.apply(&plan);
    assert_eq!(world.plan().actions, []);
}

#[test]
fn why_pods_cannot_be_made_is_passed_on() {
    let mut world = World::new(1, 1.into(), 0.into());
    world.sync();
    world.sets[0].status.conditions.push(api::meta::Condition {
        r#type: "ReplicaFailure".into(),
        status: "True".into(),
        reason: "FailedCreate".into(),
        message: "quota".into(),
        ..Default::default()
    });
    world.sync();
    assert_eq!(world.reason("ReplicaFailure"), "FailedCreate");
    world.sets[0].status.conditions.clear();
    world.sync();
    assert_eq!(world.reason("ReplicaFailure"), "");
}

/// A share, as a number or in percent.
fn share() -> impl Strategy<Value = IntOrString> {
    prop_oneof![
        (0..5).prop_map(IntOrString::from),
        (0..=100).prop_map(|n| IntOrString::String(format!("{n}%")))
    ]
}

proptest! {
    // A quarter of the usual number; PROPTEST_CASES asks for longer runs.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.div_ceil(4), ..ProptestConfig::default() })]

    #[test]
    fn a_rollout_keeps_its_bounds_and_arrives(
        replicas in 0..20i32,
        surge in share(),
        unavailable in share(),
        readiness in prop::collection::vec(0..8i32, 0..40),
    ) {
        let mut world = World::new(replicas, surge, unavailable);
        world.settle();
        world.set_image("nginx:2");
        let sets: Vec<_> = world.sets.iter().cloned().map(Arc::new).collect();
        let observed =
            Observed { deployment: &world.deployment, replica_sets: &sets, pods: &[], now: world.now };
        let (surge, unavailable) = Draft::new(&observed, sets.clone()).fenceposts();
        let mut ready = 0;
        for more in readiness.into_iter().chain(std::iter::repeat_n(20, 60)) {
            world.sync();
            let total: i32 = world.sizes().iter().sum();
            prop_assert!(total <= replicas + surge, "{total} pods, {replicas} wanted, {surge} more allowed");
            let available: i32 =
                world.sets.iter().map(|set| set.status.available_replicas.min(set.replicas())).sum();
            prop_assert!(available >= replicas - unavailable, "{available} of {replicas} available");
            ready += more;
            world.pods_follow(ready);
        }
        if replicas > 0 {
            prop_assert_eq!(world.sizes(), vec![0, replicas]);
        }
        prop_assert_eq!(world.reason("Progressing"), "NewReplicaSetAvailable");
    }
}
