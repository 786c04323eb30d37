//! A node that falls silent, and its pods.

use super::*;
use crate::objects::Toleration;

struct World {
    node: Node,
    pods: Vec<Pod>,
    seen_at: Timestamp,
    now: Timestamp,
}

fn world() -> World {
    let mut node = Node::default();
    node.metadata.name = "n".into();
    node.status.conditions.push(NodeCondition {
        r#type: "Ready".into(),
        status: "True".into(),
        ..NodeCondition::default()
    });
    World { node, pods: Vec::new(), seen_at: Timestamp::UNIX_EPOCH, now: Timestamp::UNIX_EPOCH }
}

impl World {
    fn plan(&self) -> Plan {
        let pods: Vec<_> = self.pods.iter().cloned().map(Arc::new).collect();
        plan(&Observed {
            node: &self.node,
            seen_at: self.seen_at,
            has_lease: true,
            pods: &pods,
            now: self.now,
        })
    }

    #[track_caller]
    fn sync(&mut self) -> Plan {
        let plan = self.plan();
        for action in &plan.actions {
            match action {
                Action::SetTaints(taints) => self.node.spec.taints = taints.clone(),
                Action::SetConditions(conditions) => {
                    for condition in conditions {
                        let all = &mut self.node.status.conditions;
                        all.retain(|is| is.r#type != condition.r#type);
                        all.push(condition.clone());
                    }
                }
                Action::MarkNotReady { pod, condition } => {
                    let name = &pod.metadata.name;
                    let pod = self.pods.iter_mut().find(|pod| pod.metadata.name == *name).unwrap();
                    pod.status.conditions = vec![condition.clone()];
                }
                Action::Evict { pod } => self.pods.retain(|other| other.metadata.name != pod.metadata.name),
            }
        }
        assert_eq!(self.plan().actions, [], "after {:?}", plan.actions);
        plan
    }

    fn add(&mut self, name: &str, tolerations: &[(&str, Option<i64>)]) {
        let mut pod = Pod::default();
        pod.metadata.name = name.into();
        pod.status.phase = "Running".into();
        pod.status.conditions.push(Condition {
            r#type: "Ready".into(),
            status: "True".into(),
            ..Condition::default()
        });
        pod.spec.tolerations = tolerations
            .iter()
            .map(|(key, seconds)| Toleration {
                key: (*key).into(),
                operator: "Exists".into(),
                effect: "NoExecute".into(),
                toleration_seconds: *seconds,
                ..Toleration::default()
            })
            .collect();
        self.pods.push(pod);
    }

    fn at(&mut self, second: i64) {
        self.now = Timestamp::from_second(second).unwrap();
    }

    fn taints(&self) -> Vec<(&str, &str)> {
        self.node.spec.taints.iter().map(|taint| (taint.key.as_str(), taint.effect.as_str())).collect()
    }

    fn names(&self) -> Vec<&str> {
        self.pods.iter().map(|pod| pod.metadata.name.as_str()).collect()
    }
}

#[test]
fn a_silent_node_becomes_unknown_its_pods_leave_services_and_go_when_they_no_longer_tolerate_it() {
    let mut world = world();
    world.add("usual", &[(NOT_READY, Some(300)), (UNREACHABLE, Some(300))]);
    world.add("hasty", &[]);
    world.add("daemon", &[(UNREACHABLE, None)]);
    world.at(39);
    let plan = world.sync();
    assert_eq!(plan, Plan { actions: Vec::new(), requeue_after: Some(Duration::from_secs(1)) });
    world.at(40);
    world.sync();
    assert_eq!(world.taints(), [(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")]);
    let ready = world.node.condition("Ready").unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("Unknown", "NodeStatusUnknown"));
    assert_eq!(world.names(), ["usual", "daemon"]);
    assert!(world.pods.iter().all(|pod| !pod.is_ready()));
    assert_eq!(world.sync().requeue_after, Some(Duration::from_secs(300)));
    world.at(340);
    world.sync();
    assert_eq!(world.names(), ["daemon"]);
}

#[test]
fn a_node_that_is_back_loses_its_taints_and_keeps_those_of_others() {
    let mut world = world();
    world.node.spec.taints.push(Taint {
        key: "mine".into(),
        effect: "NoSchedule".into(),
        ..Taint::default()
    });
    world.at(50);
    world.sync();
    assert_eq!(world.taints().len(), 3);
    world.seen_at = world.now;
    for condition in &mut world.node.status.conditions {
        condition.status = if condition.r#type == "Ready" { "True".into() } else { "False".into() };
    }
    world.sync();
    assert_eq!(world.taints(), [("mine", "NoSchedule")]);
}

#[test]
fn a_node_that_says_it_is_not_ready_is_believed() {
    let mut world = world();
    world.node.status.conditions[0].status = "False".into();
    world.add("usual", &[(NOT_READY, Some(300))]);
    world.sync();
    assert_eq!(world.taints(), [(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute")]);
    assert_eq!(world.names(), ["usual"]);
}

#[test]
fn pressure_and_cordons_become_taints() {
    let mut world = world();
    world.node.spec.unschedulable = true;
    world.node.status.conditions.push(NodeCondition {
        r#type: "DiskPressure".into(),
        status: "True".into(),
        ..NodeCondition::default()
    });
    world.sync();
    assert_eq!(
        world.taints(),
        [("node.kubernetes.io/disk-pressure", "NoSchedule"), (UNSCHEDULABLE, "NoSchedule")]
    );
    world.node.spec.unschedulable = false;
    world.node.status.conditions.pop();
    world.sync();
    assert_eq!(world.taints(), []);
}
