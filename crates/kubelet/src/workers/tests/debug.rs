//! Containers that are added to a pod that runs, and containers that have a restart policy of their own.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_container_that_is_added_is_started_once_beside_the_others() {
    let world = World::start();
    world.runtime.script("busybox:1", Script::exits(Duration::from_secs(5), 3));
    world.create("u1", spec("Always", json!({})));
    world.until_main(is_ready).await;
    let mut pod = world.control.object("web").expect("it is there");
    pod["spec"]["ephemeralContainers"] =
        json!([{"name": "look", "image": "busybox:1", "targetContainerName": "main"}]);
    world.control.put(pod);
    let look = |what: fn(&ContainerStatus) -> bool| {
        move |pod: Option<&Pod>| {
            pod.and_then(|pod| pod.status.ephemeral_container_statuses.first()).is_some_and(what)
        }
    };
    world.until(look(|status| status.state.running.is_some())).await;
    assert!(is_ready(&world.status().container_statuses[0]), "the others go on");
    world.until(look(|status| status.state.terminated.is_some())).await;
    super::pass(700).await;
    let status = world.status();
    assert_eq!(status.phase, PodPhase::Running);
    let ended = &status.ephemeral_container_statuses[0];
    assert_eq!(ended.state.terminated.as_ref().map(|ended| ended.exit_code), Some(3));
    let calls = world.runtime.take_calls();
    assert_eq!(World::count(&calls, "start look"), 1, "{calls:?}");
    assert_eq!(World::count(&calls, "start main"), 1, "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_container_may_have_a_restart_policy_of_its_own() {
    for (pod_policy, own, phase) in [
        ("Always", "Never", PodPhase::Failed),
        ("Never", "OnFailure", PodPhase::Succeeded),
        ("Always", "OnFailure", PodPhase::Succeeded),
    ] {
        let world = World::start();
        let lives = [1, 0].map(|code| Life::Exits { after: Duration::from_secs(1), code });
        world.runtime.script("app:1", Script { lives: lives.into(), ..Script::default() });
        world.create("u1", spec(pod_policy, json!({"restartPolicy": own})));
        world.until_phase(phase).await;
        let restarts = i32::from(phase == PodPhase::Succeeded);
        assert_eq!(world.status().container_statuses[0].restart_count, restarts, "{pod_policy} {own}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_wants_users_of_its_own_is_not_run_without_them() {
    let world = World::start();
    let mut spec = spec("Always", json!({}));
    spec["hostUsers"] = json!(false);
    world.create("u1", spec);
    super::pass(10).await;
    assert_eq!(world.runtime.take_calls(), [""; 0]);
    let told =
        "FailedCreatePodSandBox: Failed to create pod sandbox: runtime does not support user namespaces";
    assert!(world.control.take_events().iter().any(|event| event == told));
}
