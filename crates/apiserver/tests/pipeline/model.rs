//! Random creates, updates, patches and deletes against the plainest model of what they mean, and what a watcher
//! that saw all of it must know in the end.

use std::collections::BTreeMap;

use apiserver::pipeline::{DeleteOptions, ListOptions, WatchEventType, WatchOptions};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::harness::{Server, cases};

#[derive(Debug, Clone)]
enum Step {
    Create {
        name: usize,
        data: u8,
    },
    /// `fresh`: with the version that the model knows; else with one that is out of date.
    Update {
        name: usize,
        data: u8,
        fresh: bool,
    },
    Patch {
        name: usize,
        data: u8,
        label: bool,
    },
    Delete {
        name: usize,
        fresh: bool,
    },
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const MAPS: &str = "v1/configmaps";

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    prop_oneof![
        (name.clone(), 0..3_u8).prop_map(|(name, data)| Step::Create { name, data }),
        (name.clone(), 0..3_u8, any::<bool>()).prop_map(|(name, data, fresh)| Step::Update {
            name,
            data,
            fresh
        }),
        (name.clone(), 0..3_u8, any::<bool>()).prop_map(|(name, data, label)| Step::Patch {
            name,
            data,
            label
        }),
        (name, any::<bool>()).prop_map(|(name, fresh)| Step::Delete { name, fresh }),
    ]
}

/// What the model knows of an object: its data, whether it is labelled, its version.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    data: u8,
    label: bool,
    version: String,
}

fn document(name: &str, data: u8) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": data.to_string()}})
}

fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().expect("a version").to_owned()
}

async fn run(steps: Vec<Step>) {
    let server = Server::bare().await;
    let target = server.target(MAPS, None);
    let options = WatchOptions { label_selector: "l=1".to_owned(), ..WatchOptions::default() };
    let mut watch = server.pipeline.watch(&server.context, &target, &options).expect("a watch");
    let mut model: BTreeMap<&str, Known> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Create { name, data } => {
                let name = NAMES[name];
                let made = server.create(MAPS, document(name, data)).await;
                assert_eq!(made.is_ok(), !model.contains_key(name));
                if let Ok(made) = made {
                    model.insert(name, Known { data, label: false, version: version(&made) });
                }
            }
            Step::Update { name, data, fresh } => {
                let name = NAMES[name];
                let known = model.get(name).cloned();
                let mut changed = document(name, data);
                let held = known.as_ref().filter(|_| fresh).map_or("1", |known| &known.version);
                changed["metadata"]["resourceVersion"] = held.into();
                if known.as_ref().is_some_and(|known| known.label) {
                    changed["metadata"]["labels"] = json!({"l": "1"});
                }
                match (server.update(MAPS, &changed).await, known) {
                    (Err(status), None) => assert_eq!(status.code, 404),
                    (Err(status), Some(_)) => assert!(!fresh && status.code == 409, "{status}"),
                    (Ok(object), Some(known)) => {
                        assert!(fresh);
                        assert_eq!(version(&object) == known.version, data == known.data);
                        model.insert(name, Known { data, version: version(&object), ..known });
                    }
                    (Ok(_), None) => panic!("{name} was never made"),
                }
            }
            Step::Patch { name, data, label } => {
                let name = NAMES[name];
                let value = if label { json!("1") } else { Value::Null };
                let patch = json!({"data": {"k": data.to_string()}, "metadata": {"labels": {"l": value}}});
                match (server.merge(MAPS, name, patch).await, model.get(name).cloned()) {
                    (Err(status), known) => assert!(status.code == 404 && known.is_none(), "{status}"),
                    (Ok(object), known) => {
                        let known = known.expect("it was made");
                        let same = data == known.data && label == known.label;
                        assert_eq!(version(&object) == known.version, same);
                        model.insert(name, Known { data, label, version: version(&object) });
                    }
                }
            }
            Step::Delete { name, fresh } => {
                let name = NAMES[name];
                let held = model.get(name).filter(|_| fresh).map_or("1", |known| &known.version).to_owned();
                let options = DeleteOptions { resource_version: Some(held), ..DeleteOptions::default() };
                match server.delete(MAPS, name, &options).await {
                    Ok(deleted) => assert!(deleted.is_gone() && fresh && model.remove(name).is_some()),
                    Err(status) if model.contains_key(name) => {
                        assert!(!fresh && status.code == 409, "{status}")
                    }
                    Err(status) => assert_eq!(status.code, 404),
                }
            }
        }
    }

    let names = server.names(MAPS, &ListOptions::default()).await.expect("a list");
    assert_eq!(names, model.keys().copied().collect::<Vec<_>>());
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    while let Some(item) = watch.try_next() {
        let item = item.expect("it goes on").expect("no error");
        let object: Value = serde_json::from_slice(&item.object).expect("an object");
        let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
        assert_eq!(version(&object), item.revision.to_string());
        match item.kind {
            WatchEventType::Added => assert!(seen.insert(name, version(&object)).is_none()),
            WatchEventType::Modified => assert!(seen.insert(name, version(&object)).is_some()),
            WatchEventType::Deleted => assert!(seen.remove(&name).is_some()),
            WatchEventType::Bookmark => panic!("no bookmark was asked for"),
        }
    }
    let labelled: BTreeMap<String, String> = model
        .iter()
        .filter(|(_, known)| known.label)
        .map(|(name, known)| ((*name).to_owned(), known.version.clone()))
        .collect();
    assert_eq!(seen, labelled);
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn writes_mean_what_the_model_says_and_a_watcher_learns_it(steps in proptest::collection::vec(step(), 1..60)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(run(steps));
    }
}
