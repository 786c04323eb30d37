//! The loop's memory of what the kernel has.

use std::sync::Mutex;

use serde_json::json;

use super::*;
use crate::testing::{network, service, slice};

/// Records scripts; fails or loses its table when told to.
#[derive(Default)]
struct Fake {
    scripts: Arc<Mutex<Vec<String>>>,
    fails: Arc<Mutex<bool>>,
    flushed: Arc<Mutex<bool>>,
}

impl Apply for Fake {
    async fn apply(&self, script: &str) -> Result<(), ApplyError> {
        if *self.fails.lock().unwrap() {
            return Err(ApplyError::Refused { tool: "nft", message: "no".to_owned() });
        }
        self.scripts.lock().unwrap().push(script.to_owned());
        *self.flushed.lock().unwrap() = false;
        Ok(())
    }

    async fn is_present(&self) -> Result<bool, ApplyError> {
        Ok(!*self.flushed.lock().unwrap())
    }
}

fn rules(endpoints: &[&str]) -> RuleSet {
    rules::compute(&[service("web", "10.96.0.20", json!({}))], &[slice("web", endpoints)], "n1")
}

#[tokio::test]
async fn the_first_round_takes_over_the_whole_table_and_later_ones_change_what_differs() {
    let fake = Fake::default();
    let scripts = Arc::clone(&fake.scripts);
    let mut proxier = Proxier::new(fake, network(), "n1".to_owned());
    let one = rules(&["10.244.0.5:8080 on n1"]);
    assert_eq!(proxier.sync(one.clone()).await.expect("applied"), Synced::Everything);
    assert_eq!(proxier.sync(one).await.expect("applied"), Synced::Nothing);
    assert_eq!(proxier.sync(rules(&["10.244.0.6:8080 on n1"])).await.expect("applied"), Synced::Difference);
    let scripts = scripts.lock().unwrap();
    assert_eq!(scripts.len(), 2);
    assert!(scripts[0].starts_with("add table ip coxswain\ndelete table ip coxswain\n"), "{}", scripts[0]);
    assert!(!scripts[1].contains("table ip"), "{}", scripts[1]);
}

#[tokio::test]
async fn after_a_failure_nothing_is_taken_for_granted() {
    let fake = Fake::default();
    let fails = Arc::clone(&fake.fails);
    let mut proxier = Proxier::new(fake, network(), "n1".to_owned());
    proxier.sync(rules(&["10.244.0.5:8080 on n1"])).await.expect("applied");
    *fails.lock().unwrap() = true;
    let changed = rules(&["10.244.0.6:8080 on n1"]);
    assert!(proxier.sync(changed.clone()).await.is_err());
    *fails.lock().unwrap() = false;
    assert_eq!(proxier.sync(changed).await.expect("applied"), Synced::Everything);
}

#[tokio::test]
async fn a_table_that_somebody_flushed_is_made_anew() {
    let fake = Fake::default();
    let flushed = Arc::clone(&fake.flushed);
    let mut proxier = Proxier::new(fake, network(), "n1".to_owned());
    let one = rules(&["10.244.0.5:8080 on n1"]);
    proxier.sync(one.clone()).await.expect("applied");
    proxier.check(false).await.expect("looked");
    assert_eq!(proxier.sync(one.clone()).await.expect("applied"), Synced::Nothing);
    *flushed.lock().unwrap() = true;
    proxier.check(false).await.expect("looked");
    assert_eq!(proxier.sync(one.clone()).await.expect("applied"), Synced::Everything);
    proxier.check(true).await.expect("looked");
    assert_eq!(proxier.sync(one).await.expect("applied"), Synced::Everything, "the layout has changed");
}
