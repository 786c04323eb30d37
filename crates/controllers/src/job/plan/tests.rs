//! A Job and its pods: plans are applied, the watch catches up, and the second plan is empty.

use super::*;
use crate::objects::{ContainerState, ContainerStatus, JobSpec, PodTemplate, Terminated};
use api::selector::LabelSelector;

struct World {
    job: Job,
    pods: Vec<Pod>,
    now: Timestamp,
    names: u32,
    told: Vec<&'static str>,
    deleted: bool,
}

fn world(completions: Option<i32>, parallelism: i32) -> World {
    let template = json!({
        "metadata": {"labels": {"job": "a"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]},
    });
    let mut job = Job {
        spec: JobSpec {
            completions,
            parallelism: Some(parallelism),
            backoff_limit: Some(2),
            selector: LabelSelector {
                match_labels: [("job".to_owned(), "a".to_owned())].into(),
                ..LabelSelector::default()
            },
            template: PodTemplate::of(&template),
            ..JobSpec::default()
        },
        ..Job::default()
    };
    job.metadata.name = "pi".into();
    job.metadata.uid = "job".into();
    World { job, pods: Vec::new(), now: Timestamp::UNIX_EPOCH, names: 0, told: Vec::new(), deleted: false }
}

impl World {
    fn plan(&mut self) -> Plan {
        let pods: Vec<_> = self.pods.iter().cloned().map(Arc::new).collect();
        let names = &mut self.names;
        plan(&Observed { job: &self.job, pods: &pods, unseen: Unseen::default(), now: self.now }, &mut || {
            *names += 1;
            format!("r{names}")
        })
    }

    /// Syncs until there is nothing left to do: counting takes a few rounds.
    #[track_caller]
    fn settle(&mut self) -> Plan {
        for _ in 0..6 {
            let plan = self.plan();
            if plan.actions.is_empty() || self.deleted {
                return plan;
            }
            self.apply(&plan);
        }
        panic!("it does not settle: {:?}", self.plan());
    }

    fn apply(&mut self, plan: &Plan) {
        for action in &plan.actions {
            match action {
                Action::Adopt(_) | Action::Release(_) => panic!("nothing here is to be adopted"),
                Action::CreatePods(pods) => {
                    for new in pods {
                        let mut pod: Pod = serde_json::from_value(new.document.clone()).unwrap();
                        pod.metadata.uid = format!("uid-{}", new.name);
                        pod.metadata.creation_timestamp = Some(whole_seconds(self.now));
                        pod.status.phase = "Running".into();
                        self.pods.push(pod);
                    }
                }
                Action::DeletePods(victims) => {
                    for pod in &mut self.pods {
                        if victims.iter().any(|victim| victim.uid == pod.metadata.uid) {
                            pod.metadata.deletion_timestamp = Some(whole_seconds(self.now));
                        }
                    }
                }
                Action::UpdateStatus(status) => self.job.status = (**status).clone(),
                Action::Untrack(ended) => {
                    for pod in &mut self.pods {
                        if ended.iter().any(|ended| ended.metadata.uid == pod.metadata.uid) {
                            pod.metadata.finalizers.clear();
                        }
                    }
                    self.pods.retain(|pod| !pod.metadata.is_being_deleted() || is_tracked(pod));
                }
                Action::Tell(_, reason, _) => self.told.push(reason),
                Action::DeleteJob => self.deleted = true,
            }
        }
    }

    fn end(&mut self, place: usize, phase: &str) {
        let now = whole_seconds(self.now);
        let mut running = self.pods.iter_mut().filter(|pod| pod.status.phase == "Running");
        let pod = running.nth(place).expect("a pod runs");
        pod.status.phase = phase.into();
        pod.status.container_statuses = vec![ContainerStatus {
            state: ContainerState { terminated: Some(Terminated { exit_code: 1, finished_at: Some(now) }) },
            ..ContainerStatus::default()
        }];
    }

    fn counts(&self) -> (i32, i32, i32) {
        (self.job.status.active, self.job.status.succeeded, self.job.status.failed)
    }

    fn wait(&mut self, seconds: i64) {
        self.now += jiff::SignedDuration::from_secs(seconds);
    }
}

#[test]
fn a_job_runs_its_pods_counts_each_once_and_completes() {
    let mut world = world(Some(3), 2);
    world.settle();
    assert_eq!(world.counts(), (2, 0, 0));
    assert_eq!(world.pods[0].metadata.finalizers, [TRACKING]);
    world.end(0, "Succeeded");
    world.end(0, "Succeeded");
    world.settle();
    assert_eq!(world.counts(), (1, 2, 0));
    world.end(0, "Succeeded");
    world.settle();
    assert_eq!(world.counts(), (0, 3, 0));
    assert!(world.job.is("Complete") && world.job.is("SuccessCriteriaMet"));
    assert!(world.job.status.completion_time.is_some());
    assert_eq!(world.told, ["Completed"]);
    assert!(world.pods.iter().all(|pod| !is_tracked(pod)));
}

#[test]
fn a_failure_is_retried_later_each_time_until_the_limit() {
    let mut world = world(Some(1), 1);
    world.settle();
    for (failures, wait) in [(1, 10), (2, 20)] {
        world.end(0, "Failed");
        let plan = world.settle();
        assert_eq!(world.counts(), (0, 0, failures));
        assert_eq!(plan.requeue_after, Some(Duration::from_secs(wait)));
        world.wait(i64::try_from(wait).unwrap());
        world.settle();
        assert_eq!(world.counts(), (1, 0, failures));
    }
    world.end(0, "Failed");
    world.settle();
    assert!(world.job.is("Failed"));
    assert_eq!(world.told, ["BackoffLimitExceeded"]);
}

#[test]
fn a_deadline_ends_all() {
    let mut world = world(Some(2), 2);
    world.job.spec.active_deadline_seconds = Some(60);
    let plan = world.settle();
    assert_eq!(plan.requeue_after, Some(Duration::from_secs(60)));
    world.wait(60);
    world.settle();
    assert!(world.job.is("Failed"));
    assert_eq!((world.told.clone(), world.counts()), (vec!["DeadlineExceeded"], (0, 0, 2)));
}

#[test]
fn a_suspended_job_runs_nothing_until_it_is_resumed() {
    let mut world = world(Some(1), 1);
    world.job.spec.suspend = true;
    world.settle();
    assert_eq!(world.counts(), (0, 0, 0));
    assert!(world.job.is("Suspended"));
    world.job.spec.suspend = false;
    world.settle();
    assert_eq!(world.counts(), (1, 0, 0));
    assert_eq!(world.told, ["Suspended", "Resumed"]);
}

#[test]
fn without_a_number_of_completions_the_first_success_ends_it_when_all_have_ended() {
    let mut world = world(None, 3);
    world.settle();
    assert_eq!(world.counts(), (3, 0, 0));
    world.end(0, "Succeeded");
    world.settle();
    assert_eq!(world.counts(), (2, 1, 0));
    world.end(0, "Succeeded");
    world.end(0, "Succeeded");
    world.settle();
    assert!(world.job.is("Complete"));
}

#[test]
fn each_index_runs_until_it_has_succeeded() {
    let mut world = world(Some(3), 3);
    world.job.spec.completion_mode = "Indexed".into();
    world.settle();
    let names: Vec<_> = world.pods.iter().map(|pod| pod.metadata.name.as_str()).collect();
    assert_eq!(names, ["pi-0-r1", "pi-1-r2", "pi-2-r3"]);
    assert_eq!(world.pods[1].metadata.annotations[INDEX], "1");
    world.end(1, "Failed");
    world.end(0, "Succeeded");
    world.settle();
    world.wait(10);
    world.settle();
    assert_eq!(world.job.status.completed_indexes, "0");
    assert!(world.pods.last().unwrap().metadata.name.starts_with("pi-1-"));
}

#[test]
fn a_finished_job_goes_when_its_time_has_come() {
    let mut world = world(Some(1), 1);
    world.job.spec.ttl_seconds_after_finished = Some(30);
    world.settle();
    world.end(0, "Succeeded");
    let plan = world.settle();
    assert_eq!(plan.requeue_after, Some(Duration::from_secs(30)));
    world.wait(30);
    world.settle();
    assert!(world.deleted);
}
