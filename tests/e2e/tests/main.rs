//! The end-to-end tests: one cluster for all of them, a namespace for each, one file for each behaviour. The faults come
//! last and one after the other, since they stop what the others need.

use std::sync::Arc;

use anyhow::Result;
use e2e::Host;
use futures_util::future::BoxFuture;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

mod cases;

/// A test: its name, which is that of its namespace too, and what it does.
type Case = (&'static str, for<'h> fn(&'h Host) -> BoxFuture<'h, Result<()>>);

/// Names a test function and boxes its future.
#[macro_export]
macro_rules! case {
    ($function:path) => {
        (stringify!($function), |host| Box::pin($function(host)))
    };
}

fn main() -> Result<()> {
    let mut arguments = Arguments::from_args();
    // Each test waits for Docker most of its time: two at a time keep two cores busy enough.
    arguments.test_threads.get_or_insert(2);
    let runtime = Arc::new(Runtime::new()?);
    if arguments.list {
        libtest_mimic::run(&arguments, trials(cases::all(), None, &runtime)).exit();
    }
    let host = Arc::new(runtime.block_on(Host::start())?);
    let together = libtest_mimic::run(&arguments, trials(cases::all(), Some(&host), &runtime));
    arguments.test_threads = Some(1);
    let alone = libtest_mimic::run(&arguments, trials(cases::faults(), Some(&host), &runtime));
    let host = Arc::into_inner(host).ok_or_else(|| anyhow::anyhow!("every test has ended"))?;
    runtime.block_on(host.end())?;
    if together.has_failed() { together.exit() } else { alone.exit() }
}

fn trials(cases: Vec<Case>, host: Option<&Arc<Host>>, runtime: &Arc<Runtime>) -> Vec<Trial> {
    let trial = |(name, test): Case| {
        let (host, runtime) = (host.cloned(), Arc::clone(runtime));
        Trial::test(name.replace("::", " "), move || {
            let Some(host) = host else { return Ok(()) };
            runtime.block_on(test(&host)).map_err(|error| Failed::from(format!("{error:?}")))
        })
    };
    cases.into_iter().map(trial).collect()
}
