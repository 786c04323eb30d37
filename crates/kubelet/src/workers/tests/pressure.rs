//! Pods that a node refuses, pods that it ends to make room, and whose images are pulled when and by whom.

use super::*;

fn is_evicted(pod: Option<&Pod>) -> bool {
    pod.is_some_and(|pod| pod.status.phase == PodPhase::Failed && pod.status.reason == "Evicted")
}

fn memory(available: i64) -> Levels {
    [(Signal::Memory, Level { available, capacity: 1 << 30 })].into()
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_does_not_fit_fails_with_the_reason_and_nothing_is_made_of_it() {
    let world = World::start();
    world.create("u1", spec("Always", json!({"resources": {"requests": {"cpu": "9"}}})));
    world.until_phase(PodPhase::Failed).await;
    let status = world.status();
    assert_eq!(status.reason, "OutOfcpu");
    let message =
        "Pod was rejected: Node didn't have enough resource: cpu, requested: 9000, used: 0, capacity: 4000";
    assert_eq!(status.message, message);
    assert!(status.container_statuses.is_empty());
    assert_eq!(world.runtime.take_calls(), [""; 0]);
    let event = "OutOfcpu: Node didn't have enough resource: cpu, requested: 9000, used: 0, capacity: 4000";
    assert_eq!(world.control.take_events(), [event]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_runs_is_not_refused_by_the_next_kubelet() {
    let mut world = World::start();
    world.create("u1", spec("Always", json!({"resources": {"requests": {"cpu": "3"}}})));
    world.until_main(is_ready).await;
    world.cpu = "1";
    world.start_kubelet();
    let failed = tokio::time::timeout(Duration::from_secs(5), world.until_phase(PodPhase::Failed)).await;
    assert!(failed.is_err());
}

#[tokio::test(start_paused = true)]
async fn when_memory_runs_out_a_pod_is_ended_and_the_node_says_so() {
    let world = World::start();
    world.runtime.script("app:1", Script { memory: 500 << 20, stop_time: None, ..Script::default() });
    world.create("u1", spec("Always", json!({})));
    let ran = world.until_main(is_ready).await;
    world.signals.set(memory(50 << 20));
    let gone = world.until(is_evicted).await;
    assert!(gone - ran <= 12, "a look every ten seconds, and one second of grace: {}", gone - ran);
    let status = world.status();
    assert_eq!(
        status.message,
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. \
         Container main was using 500Mi, request is 0, has larger consumption of memory. "
    );
    let target = status.conditions.iter().find(|condition| condition.r#type == "DisruptionTarget");
    assert_eq!(target.expect("it says so").reason, "TerminationByKubelet");
    assert_eq!(world.pressure(), [Condition::Memory].into());
    // What comes now and says nothing of memory is refused.
    world.control.remove("web");
    world.until(|pod| pod.is_none()).await;
    world.create("u2", spec("Always", json!({})));
    world.until_phase(PodPhase::Failed).await;
    assert_eq!(world.status().message, "Pod was rejected: The node had condition: [MemoryPressure]. ");
    // Five minutes after it was last seen, it is over.
    world.signals.set(memory(500 << 20));
    super::pass(330).await;
    assert!(world.pressure().is_empty());
}

#[tokio::test(start_paused = true)]
async fn images_go_before_pods_when_the_disk_fills() {
    let world = World::start();
    world.runtime.script("app:0", Script::exits(Duration::from_secs(1), 0));
    let mut first = spec("Never", json!({}));
    first["containers"][0]["image"] = "app:0".into();
    world.create("u1", first);
    world.until_phase(PodPhase::Succeeded).await;
    world.control.remove("web");
    world.until(|pod| pod.is_none()).await;
    world.create("u2", spec("Always", json!({})));
    world.until_main(is_ready).await;
    super::pass(300).await;
    let full = |available| [(Signal::NodeFs, Level { available, capacity: 1000 })].into();
    world.signals.set_then(full(10), full(500));
    super::pass(30).await;
    assert!(world.runtime.take_calls().contains(&"remove image app:0".to_owned()));
    assert_eq!(world.status().phase, PodPhase::Running, "it could stay");
    assert_eq!(world.pressure(), [Condition::Disk].into());
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_writes_more_than_its_limit_is_ended() {
    let world = World::start();
    world.runtime.script("app:1", Script { disk: 2 << 20, ..Script::default() });
    let limit = json!({"resources": {"limits": {"ephemeral-storage": "1Mi"}}});
    world.create("u1", spec("Always", limit));
    world.until(is_evicted).await;
    let message = "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ";
    assert_eq!(world.status().message, message);
}

#[tokio::test(start_paused = true)]
async fn secrets_of_the_pod_are_tried_in_order() {
    let world = World::start();
    let auths = r#"{"auths":{"docker.io":{"username":"me","password":"p"}}}"#;
    world.control.put_secret("account", &[(".dockerconfigjson", auths)]);
    let mut spec = spec("Always", json!({}));
    spec["imagePullSecrets"] = json!([{"name": "gone"}, {"name": "account"}]);
    world.create("u1", spec);
    world.until_main(is_ready).await;
    let calls = world.runtime.take_calls();
    assert!(calls.contains(&"pull app:1 as me".to_owned()), "{calls:?}");
    let told = "FailedToRetrieveImagePullSecret: Unable to retrieve some image pull secrets (gone); \
                attempting to pull the image may not succeed.";
    assert!(world.control.take_events().iter().any(|event| event == told));
}

#[tokio::test(start_paused = true)]
async fn images_are_pulled_one_after_the_other() {
    let world = World::start();
    for image in ["app:1", "app:2"] {
        world.runtime.script(image, Script { pull_time: Duration::from_secs(10), ..Script::default() });
    }
    let mut both = spec("Always", json!({}));
    both["containers"] = json!([{"name": "a", "image": "app:1"}, {"name": "b", "image": "app:2"}]);
    world.create("u1", both);
    let all = |pod: Option<&Pod>| {
        pod.is_some_and(|pod| {
            pod.status.container_statuses.len() == 2 && pod.status.container_statuses.iter().all(is_ready)
        })
    };
    assert_eq!(world.until(all).await, 20);
    let waited = "Pulled: Successfully pulled image \"app:2\" in 10.000s (20.000s including waiting). \
                  Image size: 1048576 bytes.";
    let events = world.control.take_events();
    let one_waited = events.iter().any(|event| event == waited)
        || events.iter().any(|event| *event == waited.replace("app:2", "app:1"));
    assert!(one_waited, "{events:#?}");
}
