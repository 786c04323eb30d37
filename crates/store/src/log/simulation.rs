//! The log on a simulated disk: power cuts, failures and full disks, by seed, against a model.
//!
//! Everything runs in one thread, so a seed replays: `COXSWAIN_STORE_SEED=n` runs one seed,
//! `COXSWAIN_STORE_RUNS=n` sets how many are run. Read on: [`model`] for what must hold.

mod model;

mod power;

mod faults;

mod lies;

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::disk::Disk;
use crate::entry::Extract;
use crate::hub::{Hub, Window};
use crate::log::LogOptions;
use crate::log::committer::{Appender, Committer, Queue, Request};
use crate::log::keeper::Keeper;
use crate::log::recover::{OpenError, Recovered, recover};
use crate::stage::Prepared;
use crate::testing::disk::SimulatedDisk;
use crate::testing::{ticking_clock, word_terms};
use crate::write::{Change, Write, WriteResult};

/// A store on a simulated disk, its two threads driven by hand.
struct Driven {
    hub: Arc<Hub>,
    committer: Committer,
    keeper: Arc<Keeper>,
    extract: Extract,
    _lock: Box<dyn Send + Sync>,
}

fn options(disk: &SimulatedDisk) -> LogOptions {
    options_on(Arc::new(disk.clone()))
}

fn options_on(disk: Arc<dyn Disk>) -> LogOptions {
    LogOptions { dir: "/store".into(), disk, segment_bytes: 4 << 10, history_bytes: 16 << 10, seal: None }
}

impl Driven {
    fn open(disk: &SimulatedDisk) -> Result<Driven, OpenError> {
        Driven::open_with(options(disk))
    }

    fn open_with(options: LogOptions) -> Result<Driven, OpenError> {
        let extract = word_terms();
        let Recovered { files, index, state, tail, unindexed, lock } = recover(&options, &extract)?;
        let hub = Arc::new(Hub::new(state, Window { events: 8, bytes: 1 << 20 }));
        let keeper = Arc::new(Keeper::new(files.clone(), index, options.clone(), hub.clone()));
        if let Some((versions, position)) = unindexed {
            keeper.indexed_later(versions, position);
        }
        let appender = Appender::new(files, tail, keeper.clone());
        let queue = Arc::new(Queue::default());
        let mut committer = Committer::new(hub.clone(), ticking_clock(), queue, appender);
        committer.start();
        Ok(Driven { hub, committer, keeper, extract, _lock: lock })
    }

    /// Commits one group. The flag says whether the disk failed.
    fn write(&mut self, writes: Vec<Write>) -> (Vec<WriteResult>, bool) {
        let prepare = |write: Write| {
            let (Change::Put(template) | Change::Delete { last: template }) = &write.change;
            let extracted =
                (self.extract)(&write.key, &template.fill(Default::default())).expect("understood");
            Ok(Prepared { write, extracted })
        };
        let (reply, mut answer) = oneshot::channel();
        let request = Request { writes: writes.into_iter().map(prepare).collect(), reply };
        let state = self.hub.state();
        let broken = self.committer.commit(&state, vec![request]).is_err();
        (answer.try_recv().expect("answered"), broken)
    }
}

/// The seeds to run.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("COXSWAIN_STORE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("COXSWAIN_STORE_RUNS").unwrap_or(usual),
    }
}
