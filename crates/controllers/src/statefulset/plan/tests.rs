//! A StatefulSet and its pods, one step at a time.

use super::*;
use crate::objects::{PodTemplate, RawJson, RollingUpdate, StatefulSetSpec, UpdateStrategy};
use api::meta::Condition;
use api::selector::LabelSelector;

struct World {
    set: StatefulSet,
    pods: Vec<Pod>,
    revisions: Vec<ControllerRevision>,
    claims: Vec<String>,
}

fn world(replicas: i32) -> World {
    let mut set = StatefulSet {
        spec: StatefulSetSpec {
            replicas: Some(replicas),
            selector: LabelSelector {
                match_labels: [("app".to_owned(), "db".to_owned())].into(),
                ..LabelSelector::default()
            },
            service_name: "db".into(),
            volume_claim_templates: vec![RawJson::of(&json!({"metadata": {"name": "data"}, "spec": {}}))],
            ..StatefulSetSpec::default()
        },
        ..StatefulSet::default()
    };
    set.metadata.name = "db".into();
    set.metadata.uid = "set".into();
    let mut world = World { set, pods: Vec::new(), revisions: Vec::new(), claims: Vec::new() };
    world.set_image("1");
    world
}

impl World {
    fn set_image(&mut self, image: &str) {
        self.set.spec.template = PodTemplate::of(&json!({
            "metadata": {"labels": {"app": "db"}},
            "spec": {"containers": [{"name": "c", "image": image}]},
        }));
    }

    fn plan(&self) -> Plan {
        let pods: Vec<_> = self.pods.iter().cloned().map(Arc::new).collect();
        let revisions: Vec<_> = self.revisions.iter().cloned().map(Arc::new).collect();
        plan(&Observed {
            set: &self.set,
            pods: &pods,
            revisions: &revisions,
            claims: &[],
            unseen: Unseen::default(),
            now: Timestamp::UNIX_EPOCH,
        })
    }

    /// One sync. What follows before any pod changes is at most the status, and then nothing.
    #[track_caller]
    fn sync(&mut self) {
        let plan = self.plan();
        self.apply(&plan);
        let status = self.plan();
        assert!(status.actions.iter().all(|action| matches!(action, Action::UpdateStatus(_))), "{status:?}");
        self.apply(&status);
        assert_eq!(self.plan().actions, []);
    }

    fn apply(&mut self, plan: &Plan) {
        for action in &plan.actions {
            match action {
                Action::Adopt(_) | Action::Release(_) | Action::OwnClaim(_) => {
                    panic!("nothing here is to be adopted")
                }
                Action::Revise(Change::Create(document)) => {
                    let mut revision: ControllerRevision = serde_json::from_value(document.clone()).unwrap();
                    revision.data = RawJson::of(&document["data"]);
                    self.revisions.push(revision);
                }
                Action::Revise(Change::Renumber { name, revision, .. }) => {
                    self.revisions.iter_mut().find(|is| is.metadata.name == *name).unwrap().revision =
                        *revision;
                }
                Action::Revise(Change::Delete { name, .. }) => {
                    self.revisions.retain(|is| is.metadata.name != *name);
                }
                Action::DeletePods(victims) => {
                    self.pods.retain(|pod| victims.iter().all(|victim| victim.name != pod.metadata.name));
                }
                Action::CreatePods(pods) => {
                    for new in pods {
                        for claim in &new.claims {
                            self.claims.push(claim["metadata"]["name"].as_str().unwrap().to_owned());
                        }
                        let mut pod: Pod = serde_json::from_value(new.pod.document.clone()).unwrap();
                        pod.metadata.uid = format!("uid-{}", new.pod.name);
                        pod.status.phase = "Running".into();
                        self.pods.push(pod);
                    }
                }
                Action::UpdateStatus(status) => self.set.status = (**status).clone(),
            }
        }
    }

    fn all_ready(&mut self) {
        for pod in &mut self.pods {
            pod.status.conditions =
                vec![Condition { r#type: "Ready".into(), status: "True".into(), ..Condition::default() }];
        }
    }

    #[track_caller]
    fn settle(&mut self) {
        for _ in 0..30 {
            let plan = self.plan();
            if plan.actions.is_empty() {
                return;
            }
            self.apply(&plan);
            self.all_ready();
        }
        panic!("it does not settle: {:?}", self.plan());
    }

    fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.pods.iter().map(|pod| pod.metadata.name.as_str()).collect();
        names.sort_unstable();
        names
    }
}

#[test]
fn pods_come_one_by_one_each_when_the_one_before_is_well() {
    let mut world = world(3);
    world.sync();
    assert_eq!(world.names(), ["db-0"]);
    world.sync();
    assert_eq!(world.names(), ["db-0"]);
    world.all_ready();
    world.settle();
    assert_eq!(world.names(), ["db-0", "db-1", "db-2"]);
    assert_eq!(world.claims, ["data-db-0", "data-db-1", "data-db-2"]);
    let pod = &world.pods[0];
    assert_eq!((pod.spec.hostname.as_str(), pod.spec.subdomain.as_str()), ("db-0", "db"));
    assert_eq!(pod.metadata.labels[POD_NAME], "db-0");
    let status = &world.set.status;
    assert_eq!((status.replicas, status.ready_replicas, status.current_replicas), (3, 3, 3));
    assert_eq!(status.current_revision, status.update_revision);
}

#[test]
fn the_highest_go_first_and_one_at_a_time() {
    let mut world = world(3);
    world.settle();
    world.set.spec.replicas = Some(1);
    let plan = world.plan();
    world.apply(&plan);
    assert_eq!(world.names(), ["db-0", "db-1"]);
    world.settle();
    assert_eq!(world.names(), ["db-0"]);
}

#[test]
fn in_parallel_all_come_and_go_at_once() {
    let mut world = world(3);
    world.set.spec.pod_management_policy = "Parallel".into();
    world.sync();
    assert_eq!(world.names(), ["db-0", "db-1", "db-2"]);
    world.set.spec.replicas = Some(0);
    world.sync();
    assert_eq!(world.names(), [""; 0]);
}

#[test]
fn a_new_template_goes_from_the_highest_number_down_to_the_partition() {
    let mut world = world(3);
    world.settle();
    world.set.spec.update_strategy = UpdateStrategy {
        r#type: "RollingUpdate".into(),
        rolling_update: Some(RollingUpdate { partition: Some(1), ..RollingUpdate::default() }),
    };
    world.set_image("2");
    world.settle();
    let status = world.set.status.clone();
    assert_eq!((status.current_replicas, status.updated_replicas), (1, 2));
    assert_ne!(status.current_revision, status.update_revision);
    world.pods.retain(|pod| pod.metadata.name != "db-0");
    world.settle();
    assert_eq!(world.set.status.updated_replicas, 2, "below the partition the former template holds");
    world.set.spec.update_strategy.rolling_update = None;
    world.settle();
    assert_eq!(world.set.status.updated_replicas, 3);
    assert_eq!(world.set.status.current_revision, world.set.status.update_revision);
}

#[test]
fn a_pod_that_has_ended_is_made_anew() {
    let mut world = world(1);
    world.settle();
    world.pods[0].status.phase = "Failed".into();
    world.settle();
    assert_eq!(world.pods[0].status.phase, "Running");
}
