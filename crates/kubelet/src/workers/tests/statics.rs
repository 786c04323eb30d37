//! Pods of the node's own folder.

use super::*;

const WEB: &str = "{apiVersion: v1, kind: Pod, metadata: {name: web}, \
                   spec: {containers: [{name: main, image: 'app:1'}]}}";

fn write(world: &World, text: &str) {
    let folder = world.root.path().join("manifests");
    std::fs::create_dir_all(&folder).expect("it is made");
    std::fs::write(folder.join("web.yaml"), text).expect("it is written");
}

/// Waits for a state of the mirror.
async fn mirror(world: &World, what: impl Fn(Option<&Pod>) -> bool) {
    let mut changes = world.control.changes();
    let wait = changes.wait_for(|_| what(world.control.pod("web-n1").as_ref()));
    let waited = tokio::time::timeout(PATIENCE, wait).await.map(|_| ());
    assert!(waited.is_ok(), "it stays {:#?}", world.control.pod("web-n1").map(|pod| pod.status));
}

fn runs(pod: Option<&Pod>) -> bool {
    pod.and_then(|pod| pod.status.container_statuses.first()).is_some_and(is_ready)
}

#[tokio::test(start_paused = true)]
async fn a_file_is_a_pod_and_its_mirror_shows_it() {
    let mut world = World::start();
    write(&world, WEB);
    mirror(&world, runs).await;
    assert_eq!(World::count(&world.runtime.take_calls(), "start main"), 1);
    // The next kubelet disturbs nothing.
    world.start_kubelet();
    super::pass(60).await;
    assert_eq!(world.runtime.take_calls(), [""; 0]);
    // Who deletes the mirror deletes nothing.
    let before = world.control.pod("web-n1").expect("it is there").metadata.uid;
    world.control.delete("web-n1", component::Clock::now(&world.clock), 30);
    mirror(&world, |pod| pod.is_some_and(|pod| pod.metadata.uid != before) && runs(pod)).await;
    assert_eq!(world.runtime.take_calls(), [""; 0]);
    // Another text is another pod.
    world.runtime.script("app:2", Script::default());
    write(&world, &WEB.replace("app:1", "app:2"));
    mirror(&world, |pod| {
        runs(pod) && pod.is_some_and(|pod| pod.status.container_statuses[0].image == "app:2")
    })
    .await;
    std::fs::remove_file(world.root.path().join("manifests/web.yaml")).expect("it was there");
    mirror(&world, |pod| pod.is_none()).await;
    super::pass(60).await;
    assert!(world.runtime.pods().is_empty(), "nothing is left");
}
