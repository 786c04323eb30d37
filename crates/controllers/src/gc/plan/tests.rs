//! Small families of objects: steps are applied until nothing is left to do.

use std::collections::BTreeMap;

use super::*;

/// The apiserver, as far as the collector sees it.
#[derive(Default)]
struct World {
    graph: Graph,
    objects: BTreeMap<String, Node>,
    queue: Vec<Uid>,
    asked: usize,
}

impl World {
    fn add(&mut self, name: &str, owners: &[&str]) {
        let owners = owners.iter().map(|owner| OwnerReference {
            uid: (*owner).to_owned(),
            block_owner_deletion: Some(true),
            ..OwnerReference::default()
        });
        self.put(name, Node { name: name.into(), owners: owners.collect(), ..Node::default() });
    }

    fn put(&mut self, name: &str, node: Node) {
        self.objects.insert(name.to_owned(), node.clone());
        self.queue.extend(self.graph.apply(&Uid::from(name), node));
    }

    /// What the apiserver does with a deletion.
    fn delete(&mut self, name: &str, policy: &str) {
        let Some(mut node) = self.objects.get(name).cloned() else { return };
        node.deleting = true;
        node.finalizers.retain(|finalizer| finalizer != FOREGROUND && finalizer != ORPHAN);
        match policy {
            "Foreground" => node.finalizers.push(FOREGROUND.to_owned()),
            "Orphan" => node.finalizers.push(ORPHAN.to_owned()),
            _ => {}
        }
        self.settle(name, node);
    }

    fn settle(&mut self, name: &str, node: Node) {
        if node.deleting && node.finalizers.is_empty() {
            self.objects.remove(name);
            self.queue.extend(self.graph.remove(&Uid::from(name)));
        } else {
            self.put(name, node);
        }
    }

    #[track_caller]
    fn run(&mut self) {
        let mut asked = Owners::new();
        for _ in 0..100 {
            let Some(uid) = self.queue.pop() else { return };
            match step(&self.graph, &uid, &asked, &|_| false) {
                Step::Done => {}
                Step::LookUp(owners) => {
                    for owner in owners {
                        self.asked += 1;
                        let there = self.objects.contains_key(&owner.uid);
                        let presence = if there { Presence::Present } else { Presence::Absent };
                        asked.insert(Uid::from(owner.uid.as_str()), presence);
                    }
                    self.queue.push(uid);
                }
                Step::Look(uids) => self.queue.extend(uids),
                Step::Act(Action::Delete(policy)) => self.delete(uid.as_str(), policy),
                Step::Act(Action::SetOwners(owners)) => {
                    let node = Node { owners, ..self.objects[uid.as_str()].clone() };
                    self.put(uid.as_str(), node);
                }
                Step::Act(Action::Orphan(dependents)) => {
                    for (dependent, owners) in dependents {
                        let node = Node { owners, ..self.objects[dependent.as_str()].clone() };
                        self.put(dependent.as_str(), node);
                    }
                    self.queue.push(uid);
                }
                Step::Act(Action::RemoveFinalizer(finalizer)) => {
                    let mut node = self.objects[uid.as_str()].clone();
                    node.finalizers.retain(|has| has != finalizer);
                    self.settle(uid.as_str(), node);
                }
            }
        }
        panic!("it does not end: {:?}", self.objects);
    }

    fn names(&self) -> Vec<&str> {
        self.objects.keys().map(String::as_str).collect()
    }
}

fn family() -> World {
    let mut world = World::default();
    world.add("deployment", &[]);
    world.add("set", &["deployment"]);
    world.add("pod", &["set"]);
    world.add("stranger", &[]);
    world.run();
    assert_eq!(world.names(), ["deployment", "pod", "set", "stranger"]);
    world
}

#[test]
fn background_takes_dependents_after_the_owner_and_only_after_asking() {
    let mut world = family();
    world.delete("deployment", "Background");
    assert_eq!(world.names(), ["pod", "set", "stranger"]);
    world.run();
    assert_eq!(world.names(), ["stranger"]);
    assert_eq!(world.asked, 2);
}

#[test]
fn foreground_takes_the_owner_last() {
    let mut world = family();
    world.objects.get_mut("pod").unwrap().finalizers.push("example.com/hold".into());
    let pod = world.objects["pod"].clone();
    world.put("pod", pod);
    world.delete("deployment", "Foreground");
    world.run();
    assert_eq!(world.names(), ["deployment", "pod", "set", "stranger"], "all wait for the pod");
    assert!(world.objects["set"].is_deleting_dependents());
    let mut pod = world.objects["pod"].clone();
    pod.finalizers.clear();
    world.settle("pod", pod);
    world.run();
    assert_eq!(world.names(), ["stranger"]);
}

#[test]
fn orphans_stay_without_their_owner() {
    let mut world = family();
    world.delete("deployment", "Orphan");
    world.run();
    assert_eq!(world.names(), ["pod", "set", "stranger"]);
    assert!(world.objects["set"].owners.is_empty());
}

#[test]
fn one_owner_left_is_enough() {
    let mut world = World::default();
    world.add("a", &[]);
    world.add("b", &[]);
    world.add("child", &["a", "b"]);
    world.delete("a", "Background");
    world.run();
    assert_eq!(world.names(), ["b", "child"]);
    assert_eq!(world.objects["child"].owners.len(), 1);
}

#[test]
fn an_owner_that_the_watch_has_not_shown_yet_is_asked_for() {
    let mut world = World::default();
    world.objects.insert("owner".into(), Node::default());
    world.add("child", &["owner"]);
    world.run();
    assert_eq!((world.names(), world.asked), (vec!["child", "owner"], 1));
}

#[test]
fn two_that_own_each_other_do_not_wait_for_ever() {
    let mut world = World::default();
    world.add("a", &["b"]);
    world.add("b", &["a"]);
    world.queue.clear();
    world.delete("a", "Foreground");
    world.run();
    assert_eq!(world.names(), [""; 0]);
}
