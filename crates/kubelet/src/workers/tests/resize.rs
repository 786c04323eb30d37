//! Resources that change while a pod runs.

use super::*;

fn sized(cpu: &str, memory: &str, policy: &str) -> Value {
    spec(
        "Always",
        json!({
            "resources": {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory}},
            "resizePolicy": [
                {"resourceName": "cpu", "restartPolicy": "NotRequired"},
                {"resourceName": "memory", "restartPolicy": policy},
            ],
        }),
    )
}

fn change(world: &World, spec: Value) {
    let mut pod = world.control.object("web").expect("it is there");
    pod["spec"] = spec;
    world.control.put(pod);
}

fn has(cpu: &'static str) -> impl Fn(&ContainerStatus) -> bool {
    move |status| {
        let resources = status.resources.as_ref();
        resources.and_then(|r| r.requests.get("cpu")).is_some_and(|amount| amount.to_string() == cpu)
    }
}

fn condition(world: &World, kind: &str) -> Option<(String, String)> {
    let conditions = world.status().conditions;
    let found = conditions.into_iter().find(|condition| condition.r#type == kind);
    found.map(|condition| (condition.reason, condition.message))
}

#[tokio::test(start_paused = true)]
async fn a_pod_gets_more_without_a_restart_unless_it_wants_one() {
    let world = World::start();
    world.create("u1", sized("1", "1Gi", "RestartContainer"));
    world.until_main(is_ready).await;
    world.runtime.take_calls();
    change(&world, sized("2", "1Gi", "RestartContainer"));
    world.until_main(has("2")).await;
    super::pass(120).await;
    assert_eq!(world.runtime.take_calls(), ["update main"], "once is enough");
    assert_eq!(world.status().container_statuses[0].restart_count, 0);
    change(&world, sized("2", "2Gi", "RestartContainer"));
    world.until_main(|status| status.restart_count == 1 && is_ready(status)).await;
    let memory = world.status().container_statuses[0].allocated_resources["memory"];
    assert_eq!(memory.to_string(), "2Gi");
    let told = "Killing: Container main resize requires restart";
    assert!(world.control.take_events().iter().any(|event| event == told));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_wants_too_much_keeps_what_it_has() {
    let mut world = World::start();
    world.create("u1", sized("1", "1Gi", "NotRequired"));
    world.until_main(is_ready).await;
    change(&world, sized("5", "1Gi", "NotRequired"));
    let pending = |pod: Option<&Pod>| {
        pod.is_some_and(|pod| pod.status.conditions.iter().any(|c| c.r#type == "PodResizePending"))
    };
    world.until(pending).await;
    let message = "Node didn't have enough capacity: cpu, requested: 5000, capacity: 4000";
    let infeasible = Some(("Infeasible".to_owned(), message.to_owned()));
    assert_eq!(condition(&world, "PodResizePending"), infeasible);
    assert!(has("1")(&world.status().container_statuses[0]));
    // The next kubelet knows what was given.
    world.runtime.take_calls();
    world.start_kubelet();
    super::pass(120).await;
    assert_eq!(condition(&world, "PodResizePending"), infeasible);
    assert_eq!(world.runtime.take_calls(), [""; 0]);
    change(&world, sized("3", "1Gi", "NotRequired"));
    world.until_main(has("3")).await;
    assert_eq!(condition(&world, "PodResizePending"), None);
}
