//! Failures of single operations, full disks and flipped bits.

use std::path::PathBuf;

use rand::Rng;

use super::model::{Ended, Model, Writer, assert_past, assert_recovered, assert_state, commit};
use super::{Driven, options, seeds};
use crate::log::recover::OpenError;
use crate::testing::disk::{Fault, SimulatedDisk};
use crate::testing::{delete, pod, put};
use crate::write::WriteError;

/// A fixed scenario with a fault at one of its operations. Gives the number of operations.
fn scenario(fault: Option<(u64, Fault)>) -> u64 {
    let disk = SimulatedDisk::new(7);
    let mut writer = Writer::new(7);
    let mut model = Model::default();
    let mut on_its_way = Vec::new();
    let arm = |done: u64| {
        if let Some((at, fault)) = fault
            && at >= done
        {
            disk.fault_after(at - done, fault);
        }
    };
    for _ in 0..3 {
        arm(disk.operations());
        let store = Driven::open(&disk);
        let mut store = match store {
            Ok(store) => store,
            Err(OpenError::Io { .. }) => {
                disk.power_cut();
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        assert_recovered(&store, &mut model, std::mem::take(&mut on_its_way));
        for round in 0..14 {
            match commit(&mut store, &mut model, &mut writer) {
                Ended::Well | Ended::Full => {}
                Ended::Broken(writes) => {
                    on_its_way = writes;
                    break;
                }
            }
            assert_state(&store.hub.state(), &model.current);
            if round % 3 == 0 {
                store.keeper.work();
                store.committer.rest();
            }
        }
        drop(store);
        disk.power_cut();
    }
    let store = Driven::open(&disk).unwrap_or_else(|error| panic!("{error}"));
    assert_recovered(&store, &mut model, on_its_way);
    assert_past(&store, &model, &mut writer.random);
    disk.operations()
}

#[test]
fn a_fault_at_any_operation_loses_nothing_that_was_acknowledged() {
    let operations = scenario(None);
    assert!(operations > 100, "{operations}");
    for fault in [Fault::Io, Fault::Full, Fault::Short, Fault::ShortThenFull, Fault::PowerOff] {
        for at in 0..operations {
            let run = || scenario(Some((at, fault)));
            if let Err(panic) = std::panic::catch_unwind(run) {
                eprintln!("{fault:?} at operation {at}");
                std::panic::resume_unwind(panic);
            }
        }
    }
}

#[test]
fn a_full_disk_refuses_puts_takes_deletes_and_recovers_when_there_is_space() {
    let disk = SimulatedDisk::new(1);
    let mut store = Driven::open(&disk).unwrap_or_else(|error| panic!("{error}"));
    disk.set_capacity(Some(24 << 10));
    let mut stored = 0;
    let refused = loop {
        let (results, broken) = store.write(vec![put(&pod(&format!("a/p{stored}")), &"x".repeat(300))]);
        assert!(!broken);
        match &results[0] {
            Ok(_) => stored += 1,
            Err(error) => break error.clone(),
        }
        store.keeper.work();
        assert!(stored < 1000);
    };
    assert!(matches!(refused, WriteError::Full), "{refused}");
    let before = store.hub.state().revision;
    let (results, _) = store.write(vec![
        put(&pod("a/more"), "x"),
        delete(&pod("a/p0"), "x"),
        put(&pod("a/more"), &"x".repeat(2000)),
    ]);
    assert!(matches!(results[0], Err(WriteError::Full)));
    assert_eq!(results[1].as_ref().expect("deletes go on").revision, before.next());
    assert_eq!(store.hub.state().buckets.iter().next().expect("pods").1.objects.len(), stored - 1);
    disk.set_capacity(None);
    let (results, _) = store.write(vec![put(&pod("a/more"), "x")]);
    assert!(results[0].is_ok());
    drop(store);
    disk.power_cut();
    let store = Driven::open(&disk).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(store.hub.state().buckets.iter().next().expect("pods").1.objects.len(), stored);
}

#[test]
fn a_flipped_bit_is_noticed_and_never_served() {
    let seed = 3;
    let disk = SimulatedDisk::new(seed);
    let mut writer = Writer::new(seed);
    let mut model = Model::default();
    let mut store = Driven::open(&disk).unwrap_or_else(|error| panic!("{error}"));
    for _ in 0..12 {
        assert!(matches!(commit(&mut store, &mut model, &mut writer), Ended::Well));
        store.keeper.work();
    }
    store.committer.rest();
    store.keeper.close();
    store.keeper.work();
    drop(store);
    let files: Vec<(PathBuf, u64)> = disk
        .files()
        .into_iter()
        .filter(|(path, _)| path.extension().is_some_and(|end| end == "log"))
        .collect();
    assert!(files.len() >= 2, "{files:?}");
    let expected = model.current.clone();
    let image = disk.image();
    let (mut refused, mut harmless) = (0, 0);
    for _ in seeds(1000) {
        let (path, length) = &files[writer.random.random_range(0..files.len())];
        let bit = writer.random.random_range(0..length * 8);
        assert!(disk.flip(path, bit));
        match Driven::open(&disk) {
            // It hit what is not used: behind the last record, or the mark that ends the log.
            Ok(store) => {
                assert_state(&store.hub.state(), &expected);
                harmless += 1;
            }
            Err(OpenError::Damaged { file, .. }) => {
                assert_eq!(&file, path);
                refused += 1;
            }
            Err(error) => panic!("{error}"),
        }
        disk.restore(&image);
    }
    assert!(refused > harmless && harmless > 0, "{refused} refused, {harmless} harmless");
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let disk = SimulatedDisk::new(1);
    drop(Driven::open(&disk).unwrap_or_else(|error| panic!("{error}")));
    disk.kill();
    let path = options(&disk).dir.join("FORMAT");
    let text = disk.content(&path).expect("there");
    // '2' is 0x32, '0' is 0x30 and '3' is 0x33.
    let digit = text.iter().position(|byte| *byte == b'2').expect("the version") as u64;
    disk.flip(&path, digit * 8 + 1);
    drop(Driven::open(&disk).unwrap_or_else(|error| panic!("an older format opens: {error}")));
    disk.kill();
    assert_eq!(disk.content(&path), Some(text), "and is this one from then on");
    disk.flip(&path, digit * 8);
    match Driven::open(&disk) {
        Err(OpenError::NewerFormat { file, found: 3 }) => assert_eq!(file, path),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("opened"),
    }
}

#[test]
fn a_directory_is_open_once() {
    let disk = SimulatedDisk::new(1);
    let first = Driven::open(&disk).unwrap_or_else(|error| panic!("{error}"));
    assert!(matches!(Driven::open(&disk), Err(OpenError::InUse { .. })));
    drop(first);
    assert!(Driven::open(&disk).is_ok());
}
