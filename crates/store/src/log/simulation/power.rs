//! Power cuts and kills at any moment.

use std::sync::Arc;

use rand::Rng;

use super::model::{Ended, Model, Writer, assert_past, assert_recovered, assert_state, commit};
use super::{Driven, options_on, seeds};
use crate::disk::Disk;
use crate::testing::disk::{Fault, SimulatedDisk};

/// Writes, crashes at some operation of the disk, starts again, and so on. The store sees what `on` makes of the disk.
pub(super) fn crash_again_and_again(seed: u64, on: impl Fn(&SimulatedDisk) -> Arc<dyn Disk>) {
    let disk = SimulatedDisk::new(seed);
    let open = || Driven::open_with(options_on(on(&disk)));
    let mut writer = Writer::new(seed);
    let mut model = Model::default();
    let mut on_its_way = Vec::new();
    for _ in 0..writer.random.random_range(1..8) {
        // Power may also go while the store starts.
        if writer.random.random_ratio(1, 3) {
            disk.fault_after(writer.random.random_range(0..12), Fault::PowerOff);
        }
        let Ok(mut store) = open() else {
            disk.power_cut();
            continue;
        };
        assert_recovered(&store, &mut model, std::mem::take(&mut on_its_way));
        assert_past(&store, &model, &mut writer.random);
        if writer.random.random_ratio(2, 3) {
            disk.fault_after(writer.random.random_range(0..100), Fault::PowerOff);
        }
        for _ in 0..writer.random.random_range(0..40) {
            if let Ended::Broken(writes) = commit(&mut store, &mut model, &mut writer) {
                on_its_way = writes;
                break;
            }
            assert_state(&store.hub.state(), &model.current);
            if writer.random.random_ratio(1, 3) {
                store.keeper.work();
            }
            if writer.random.random_ratio(1, 4) {
                store.committer.rest();
            }
            if writer.random.random_ratio(1, 10) {
                assert_past(&store, &model, &mut writer.random);
            }
        }
        if writer.random.random_ratio(1, 4) {
            store.keeper.close();
            store.keeper.work();
        }
        drop(store);
        if writer.random.random_ratio(1, 4) {
            disk.kill();
        } else {
            disk.power_cut();
        }
    }
    let store = open().unwrap_or_else(|error| panic!("{error}"));
    assert_recovered(&store, &mut model, on_its_way);
    assert_past(&store, &model, &mut writer.random);
}

#[test]
fn whatever_a_power_cut_leaves_all_that_was_acknowledged_is_there() {
    for seed in seeds(200) {
        let run = std::panic::AssertUnwindSafe(|| crash_again_and_again(seed, |disk| Arc::new(disk.clone())));
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("seed {seed}: run it alone with COXSWAIN_STORE_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
