//! The scheduler without its surroundings: events in, decisions out. No client, no clock.
//!
//! One task owns the [`State`], so nothing in it is locked, and a decision is never made on half a change.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::FixedState;
use tokio::time::Instant;

use client::ClientError;

use crate::objects::{Node, Pod};
use crate::plugins::Reason;
use crate::queue::{Change, Queue, Queued, WaitsFor};
use crate::schedule::preemption::{Preemption, preempt};
use crate::schedule::{FitError, schedule};
use crate::snapshot::{PodInfo, Snapshot};

/// What happens to the scheduler.
#[derive(Debug)]
pub enum Event {
    /// A pod has changed: from, to.
    Pod(Option<Arc<Pod>>, Option<Arc<Pod>>),
    /// A node has changed: from, to.
    Node(Option<Arc<Node>>, Option<Arc<Node>>),
    /// The apiserver has answered to a binding.
    Answered {
        /// The uid of the pod.
        uid: String,
        /// Whether the pod is bound.
        result: Result<(), ClientError>,
    },
}

/// What the scheduler has decided.
#[derive(Debug)]
pub enum Decision {
    /// Bind a pod.
    Bind {
        /// The pod.
        pod: Arc<Pod>,
        /// The name of the node.
        node: String,
    },
    /// Tell that a pod fits nowhere, and take down others for it, if any.
    Unschedulable {
        /// The pod.
        pod: Arc<Pod>,
        /// Why.
        error: FitError,
        /// Whether that is news.
        is_news: bool,
        /// The node to be cleared for it.
        preemption: Option<Preemption>,
    },
}

/// Everything the scheduler knows.
#[derive(Debug, Default)]
pub struct State {
    snapshot: Snapshot,
    queue: Queue,
    /// Pods that have been given a node and that the watch does not show there yet.
    assumed: HashMap<String, Queued, FixedState>,
    /// Why a pod fitted nowhere when it was last told.
    told: HashMap<String, String, FixedState>,
    /// The pods that have been told to go for a pod.
    victims: HashMap<String, HashSet<String>, FixedState>,
    /// From which node on the next pod is tried.
    start: usize,
}

impl State {
    /// Nothing known.
    pub fn new() -> Self {
        Self::default()
    }

    /// The pods that wait.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The nodes and what is on them.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Takes in what has happened.
    pub fn handle(&mut self, event: Event, now: Instant) {
        match event {
            Event::Pod(old, new) => self.pod_changed(old.as_deref(), new, now),
            Event::Node(old, new) => self.node_changed(old.as_deref(), new, now),
            Event::Answered { uid, result } => self.answered(&uid, result, now),
        }
    }

    fn pod_changed(&mut self, old: Option<&Pod>, new: Option<Arc<Pod>>, now: Instant) {
        let Some(pod) = new.filter(|pod| !pod.is_terminal()) else {
            if let Some(old) = old {
                self.forget(&old.metadata.uid, now);
            }
            return;
        };
        let uid = pod.metadata.uid.clone();
        if !pod.spec.node_name.is_empty() {
            let is_new = self.snapshot.place(&uid) != Some(&pod.spec.node_name);
            self.queue.remove(&uid);
            self.assumed.remove(&uid);
            self.told.remove(&uid);
            self.victims.remove(&uid);
            let node = pod.spec.node_name.clone();
            self.snapshot.add_pod(Arc::new(PodInfo::new(pod)), &node);
            if is_new {
                self.queue.wake(Change::PodPlaced, now);
            }
        } else if pod.metadata.is_being_deleted() {
            self.queue.remove(&uid);
        } else if is_ours(&pod) && !self.assumed.contains_key(&uid) {
            self.queue.upsert(Arc::new(PodInfo::new(pod)), now);
        }
    }

    /// A pod is gone, or has run to its end.
    fn forget(&mut self, uid: &str, now: Instant) {
        self.queue.remove(uid);
        self.assumed.remove(uid);
        self.told.remove(uid);
        self.victims.remove(uid);
        if self.snapshot.remove_pod(uid) {
            self.queue.wake(Change::PodGone, now);
        }
    }

    fn node_changed(&mut self, old: Option<&Node>, new: Option<Arc<Node>>, now: Instant) {
        match new {
            None => {
                if let Some(old) = old {
                    self.snapshot.remove_node(&old.metadata.name);
                }
            }
            Some(node) => {
                // Heartbeats change nothing that matters here.
                let same = old.is_some_and(|old| {
                    old.spec == node.spec
                        && old.status == node.status
                        && old.metadata.labels == node.metadata.labels
                });
                if !same || self.snapshot.node(&node.metadata.name).is_none() {
                    self.snapshot.set_node(node);
                    self.queue.wake(Change::Node, now);
                }
            }
        }
    }

    fn answered(&mut self, uid: &str, result: Result<(), ClientError>, now: Instant) {
        let Err(error) = result else { return };
        // Where the watch has shown the pod on its node meanwhile, or its end, nothing is assumed any more.
        let Some(queued) = self.assumed.remove(uid) else { return };
        self.snapshot.remove_pod(uid);
        self.queue.wake(Change::PodGone, now);
        if !error.is_not_found() {
            self.queue.retry(queued, now);
        }
    }

    /// Decides on the pod that is next; `None` where none can be tried now.
    pub fn step(&mut self, now: Instant) -> Option<Decision> {
        let queued = self.queue.pop(now)?;
        let info = Arc::clone(&queued.info);
        match schedule(&self.snapshot, &info, self.start) {
            Ok(assignment) => {
                self.start = (self.start + assignment.evaluated) % self.snapshot.nodes().len().max(1);
                self.snapshot.add_pod(Arc::clone(&info), &assignment.node);
                self.assumed.insert(info.pod.metadata.uid.clone(), queued);
                // Those that want to be near it need not wait for the binding.
                self.queue.wake(Change::PodPlaced, now);
                Some(Decision::Bind { pod: Arc::clone(&info.pod), node: assignment.node })
            }
            Err(error) => Some(self.fits_nowhere(queued, error, now)),
        }
    }

    fn fits_nowhere(&mut self, queued: Queued, mut error: FitError, now: Instant) -> Decision {
        let pod = Arc::clone(&queued.info.pod);
        let uid = pod.metadata.uid.clone();
        let going = self
            .victims
            .get(&uid)
            .is_some_and(|victims| victims.iter().any(|victim| self.snapshot.place(victim).is_some()));
        let preemption = if going { None } else { preempt(&self.snapshot, &queued.info, &mut error) };
        if let Some(preemption) = &preemption {
            let victims = preemption.victims.iter().map(|victim| victim.pod.metadata.uid.clone());
            self.victims.insert(uid.clone(), victims.collect());
        }
        let waits_for = WaitsFor {
            pod_gone: error.mentions(Reason::is_resolvable),
            pod_placed: error
                .mentions(|reason| matches!(reason, Reason::PodAffinity | Reason::TopologySpread)),
            eager: going || preemption.is_some(),
        };
        self.queue.put_back(queued, waits_for, now);
        let message = error.to_string();
        let is_news = self.told.get(&uid) != Some(&message);
        self.told.insert(uid, message);
        Decision::Unschedulable { pod, error, is_news, preemption }
    }
}

/// Whether the pod asks for this scheduler.
fn is_ours(pod: &Pod) -> bool {
    matches!(pod.spec.scheduler_name.as_str(), "" | "default-scheduler")
}

#[cfg(test)]
mod tests {
    use api::status::{Reason as StatusReason, Status};

    use super::*;
    use crate::testing::{node, pod_with};

    fn pod(name: &str) -> Arc<Pod> {
        Arc::new(pod_with(name, "600m", "1Mi"))
    }

    fn bound(name: &str, node: &str) -> Arc<Pod> {
        let mut pod = pod_with(name, "600m", "1Mi");
        pod.spec.node_name = node.into();
        Arc::new(pod)
    }

    fn places(state: &mut State, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| state.step(now))
            .map(|decision| match decision {
                Decision::Bind { pod, node } => format!("{}->{node}", pod.metadata.name),
                Decision::Unschedulable { pod, is_news, .. } => {
                    format!("{} waits {is_news}", pod.metadata.name)
                }
            })
            .collect()
    }

    #[test]
    fn a_pod_that_was_given_a_node_takes_its_room_at_once() {
        let (mut state, now) = (State::new(), Instant::now());
        state.handle(Event::Node(None, Some(node("n", "1", "1Gi"))), now);
        state.handle(Event::Pod(None, Some(pod("a"))), now);
        state.handle(Event::Pod(None, Some(pod("b"))), now);
        assert_eq!(places(&mut state, now), ["a->n", "b waits true"]);
        // A change that does not show the binding yet must not bring it back.
        state.handle(Event::Pod(Some(pod("a")), Some(pod("a"))), now);
        assert_eq!(places(&mut state, now), [""; 0]);
        state.handle(Event::Pod(Some(pod("a")), Some(bound("a", "n"))), now);
        state.handle(Event::Pod(Some(bound("a", "n")), None), now);
        let later = now + std::time::Duration::from_secs(1);
        assert_eq!(places(&mut state, later), ["b->n"]);
    }

    #[test]
    fn a_binding_that_fails_gives_the_room_back_and_is_tried_again() {
        let (mut state, now) = (State::new(), Instant::now());
        state.handle(Event::Node(None, Some(node("n", "1", "1Gi"))), now);
        state.handle(Event::Pod(None, Some(pod("a"))), now);
        assert_eq!(places(&mut state, now), ["a->n"]);
        let error = ClientError::from(Status::failure(StatusReason::InternalError, "no"));
        state.handle(Event::Answered { uid: "uid-a".into(), result: Err(error) }, now);
        assert_eq!(state.snapshot().nodes()[0].requested.milli_cpu, 0);
        assert_eq!(places(&mut state, now), [""; 0]);
        let rested = state.queue().next_at().unwrap();
        assert_eq!(places(&mut state, rested), ["a->n"]);
    }

    #[test]
    fn a_pod_that_is_gone_is_not_tried_again() {
        let (mut state, now) = (State::new(), Instant::now());
        state.handle(Event::Node(None, Some(node("n", "1", "1Gi"))), now);
        state.handle(Event::Pod(None, Some(pod("a"))), now);
        assert_eq!(places(&mut state, now), ["a->n"]);
        let error = ClientError::from(Status::not_found("", "pods", "a"));
        state.handle(Event::Answered { uid: "uid-a".into(), result: Err(error) }, now);
        assert_eq!(state.queue().lengths(), (0, 0, 0, 0));
    }

    #[test]
    fn others_pods_and_heartbeats_are_left_alone_and_a_new_node_wakes() {
        let (mut state, now) = (State::new(), Instant::now());
        let mut other = pod_with("x", "1", "1Mi");
        other.spec.scheduler_name = "another".into();
        state.handle(Event::Pod(None, Some(Arc::new(other))), now);
        state.handle(Event::Pod(None, Some(pod("a"))), now);
        assert_eq!(places(&mut state, now), ["a waits true"]);
        let n = node("n", "500m", "1Gi");
        state.handle(Event::Node(None, Some(Arc::clone(&n))), now);
        let later = now + std::time::Duration::from_secs(1);
        assert_eq!(places(&mut state, later), ["a waits true"], "for another reason");
        state.handle(Event::Node(Some(Arc::clone(&n)), Some(n)), later);
        assert_eq!(state.queue().lengths(), (0, 0, 1, 0), "a heartbeat wakes no one");
        state.handle(Event::Node(None, Some(node("m", "1", "1Gi"))), later);
        assert_eq!(places(&mut state, later + std::time::Duration::from_secs(9)), ["a->m"]);
    }

    #[test]
    fn the_important_push_the_others_out_once() {
        let (mut state, now) = (State::new(), Instant::now());
        state.handle(Event::Node(None, Some(node("n", "1", "1Gi"))), now);
        state.handle(Event::Pod(None, Some(bound("small", "n"))), now);
        let mut vip = pod_with("vip", "600m", "1Mi");
        vip.spec.priority = 10;
        state.handle(Event::Pod(None, Some(Arc::new(vip))), now);
        let Some(Decision::Unschedulable { preemption: Some(preemption), .. }) = state.step(now) else {
            panic!("it preempts")
        };
        assert_eq!(preemption.victims.len(), 1);
        state.queue.wake(Change::Node, now);
        let Some(Decision::Unschedulable { preemption, .. }) = state.step(now) else { panic!("it waits") };
        assert!(preemption.is_none(), "the victim is on its way out");
        state.handle(Event::Pod(Some(bound("small", "n")), None), now);
        assert_eq!(places(&mut state, now), ["vip->n"]);
    }
}
