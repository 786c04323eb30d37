//! Nodes, and one pod on each.

use super::*;
use crate::objects::{DaemonSetSpec, PodTemplate, RawJson, Taint, whole_seconds};
use api::meta::Condition;
use api::selector::LabelSelector;

struct World {
    set: DaemonSet,
    nodes: Vec<Arc<Node>>,
    pods: Vec<Pod>,
    revisions: Vec<ControllerRevision>,
    now: Timestamp,
    names: u32,
}

fn world(nodes: usize) -> World {
    let mut set = DaemonSet {
        spec: DaemonSetSpec {
            selector: LabelSelector {
                match_labels: [("app".to_owned(), "agent".to_owned())].into(),
                ..LabelSelector::default()
            },
            ..DaemonSetSpec::default()
        },
        ..DaemonSet::default()
    };
    set.metadata.name = "agent".into();
    set.metadata.uid = "set".into();
    let nodes = (0..nodes).map(|i| Arc::new(node(&format!("n{i}")))).collect();
    let mut world =
        World { set, nodes, pods: Vec::new(), revisions: Vec::new(), now: Timestamp::UNIX_EPOCH, names: 0 };
    world.set_image("1");
    world
}

fn node(name: &str) -> Node {
    let mut node = Node::default();
    node.metadata.name = name.into();
    node
}

impl World {
    fn set_image(&mut self, image: &str) {
        self.set.spec.template = PodTemplate::of(&json!({
            "metadata": {"labels": {"app": "agent"}},
            "spec": {"containers": [{"name": "c", "image": image}], "nodeSelector": {}},
        }));
    }

    fn plan(&mut self) -> Plan {
        let pods: Vec<_> = self.pods.iter().cloned().map(Arc::new).collect();
        let revisions: Vec<_> = self.revisions.iter().cloned().map(Arc::new).collect();
        let names = &mut self.names;
        let observed = Observed {
            set: &self.set,
            pods: &pods,
            nodes: &self.nodes,
            revisions: &revisions,
            unseen: Unseen::default(),
            now: self.now,
        };
        plan(&observed, &mut || {
            *names += 1;
            names.to_string()
        })
    }

    /// Syncs until nothing is left to do; pods become ready in between where `ready`.
    #[track_caller]
    fn settle(&mut self, ready: bool) {
        for _ in 0..40 {
            let plan = self.plan();
            if plan.actions.is_empty() {
                return;
            }
            self.apply(&plan);
            let available = self.pods.iter().filter(|pod| pod.is_ready()).count();
            assert!(!ready || self.pods.len() - available <= self.nodes.len());
            for pod in self.pods.iter_mut().filter(|_| ready) {
                pod.status.conditions =
                    vec![Condition { r#type: "Ready".into(), status: "True".into(), ..Condition::default() }];
            }
        }
        panic!("it does not settle: {:?}", self.plan());
    }

    fn apply(&mut self, plan: &Plan) {
        for action in &plan.actions {
            match action {
                Action::Adopt(_) | Action::Release(_) => panic!("nothing here is to be adopted"),
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
                        let mut pod: Pod = serde_json::from_value(new.document.clone()).unwrap();
                        pod.metadata.uid = format!("uid-{}", new.name);
                        pod.metadata.creation_timestamp = Some(whole_seconds(self.now));
                        pod.status.phase = "Running".into();
                        self.pods.push(pod);
                    }
                }
                Action::UpdateStatus(status) => self.set.status = (**status).clone(),
            }
        }
    }

    fn places(&self) -> Vec<&str> {
        let mut places: Vec<_> = self.pods.iter().map(target).collect();
        places.sort_unstable();
        places
    }
}

#[test]
fn every_node_gets_one_pod_pinned_to_it() {
    let mut world = world(3);
    world.settle(true);
    assert_eq!(world.places(), ["n0", "n1", "n2"]);
    assert_eq!(world.set.status.number_available, 3);
    assert_eq!(world.set.status.updated_number_scheduled, 3);
    world.nodes.push(Arc::new(node("n3")));
    world.settle(true);
    assert_eq!(world.places(), ["n0", "n1", "n2", "n3"]);
}

#[test]
fn taints_keep_daemons_away_but_not_those_of_sick_nodes() {
    let taint = |key: &str, effect: &str| {
        let mut node = node(key);
        node.spec.taints.push(Taint { key: key.into(), effect: effect.into(), ..Taint::default() });
        Arc::new(node)
    };
    let mut world = world(0);
    world.nodes = vec![
        taint("mine", "NoSchedule"),
        taint("node.kubernetes.io/not-ready", "NoExecute"),
        taint("node.kubernetes.io/unschedulable", "NoSchedule"),
    ];
    world.settle(true);
    assert_eq!(world.places(), ["node.kubernetes.io/not-ready", "node.kubernetes.io/unschedulable"]);
}

#[test]
fn a_new_template_rolls_over_node_by_node_and_is_kept_in_the_history() {
    let mut world = world(3);
    world.settle(true);
    world.set_image("2");
    let plan = world.plan();
    world.apply(&plan);
    assert_eq!(world.pods.len(), 2, "one at a time");
    world.settle(true);
    assert_eq!(world.set.status.updated_number_scheduled, 3);
    assert_eq!(world.revisions.len(), 2);
    world.set_image("1");
    world.settle(true);
    assert_eq!(world.revisions.iter().map(|revision| revision.revision).collect::<Vec<_>>(), [3, 2]);
}

#[test]
fn a_pod_that_fails_is_replaced_after_a_while() {
    let mut world = world(1);
    world.settle(true);
    world.pods[0].status.phase = "Failed".into();
    world.now += jiff::SignedDuration::from_secs(4);
    world.settle(false);
    assert_eq!(world.plan().requeue_after, Some(Duration::from_secs(6)));
    world.now += jiff::SignedDuration::from_secs(6);
    world.settle(true);
    assert_eq!(world.pods.len(), 1);
    assert_eq!(world.pods[0].status.phase, "Running");
}
