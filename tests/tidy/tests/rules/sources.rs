//! Rules about the text of sources, contract and everything else.

use tidy::text::{self, MANY_LINES};
use tidy::{Complaint, File, assert_tidy};

use crate::REPOSITORY;

/// The rules quote what they forbid.
fn not_the_rules(file: &&File) -> bool {
    !file.path.starts_with("tests/tidy/")
}

#[test]
fn every_source_says_what_it_is_for() {
    assert_tidy(REPOSITORY.sources().flat_map(text::starts_with_doc));
}

#[test]
fn no_file_is_too_long_to_read() {
    let sources = || REPOSITORY.sources();
    for file in sources() {
        let lines = file.text.lines().count();
        if lines > MANY_LINES {
            println!("{}: {lines} lines; could it be two files?", file.path);
        }
    }
    assert_tidy(sources().flat_map(text::short_enough));
}

#[test]
fn main_is_a_doorway() {
    let doors = REPOSITORY.sources().filter(|file| file.path.ends_with("src/main.rs"));
    assert_tidy(doors.filter_map(|file| {
        let lines = file.text.lines().count();
        (lines >= 40).then(|| Complaint::at(file, lines, "40 lines or more: logic belongs to the library"))
    }));
}

#[test]
fn nothing_is_unfinished_or_switched_off() {
    assert_tidy(REPOSITORY.sources().filter(not_the_rules).flat_map(text::nothing_forbidden));
}

#[test]
fn tests_wait_for_conditions_and_never_sleep() {
    assert_tidy(REPOSITORY.sources().filter(not_the_rules).flat_map(text::no_sleep_in_tests));
}

#[test]
fn tasks_are_spawned_by_component_only() {
    let sources = REPOSITORY.sources().filter(not_the_rules);
    let outside = sources.filter(|file| !file.path.starts_with("crates/component/"));
    assert_tidy(outside.flat_map(text::no_bare_spawn));
}

#[test]
fn nothing_tells_of_somebodys_machine_or_tools() {
    let named = |file: &&File| not_the_rules(file) && !file.path.ends_with(".lock") && file.path != "LICENSE";
    // Facts taken over from Kubernetes keep their words: field names, and answers recorded from it.
    let facts = |file: &&File| !file.path.ends_with(".json") && !file.path.ends_with(".txt");
    assert_tidy(REPOSITORY.files.iter().filter(named).filter(facts).flat_map(text::no_workplace));
}

#[test]
fn the_contract_explains_every_call_and_message() {
    let contract = REPOSITORY.files.iter().filter(|file| file.is("proto"));
    assert_tidy(contract.flat_map(text::contract_is_commented));
}
