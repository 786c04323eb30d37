//! Rules about what lies where: the top folder, the scripts, the page that shows the way.

use std::process::Command;

use tidy::text::has_word;
use tidy::{Complaint, assert_tidy};

use crate::REPOSITORY;

/// What the top folder holds, beside dot files.
const TOP: &[&str] = &[
    "ARCHITECTURE.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "clippy.toml",
    "crates",
    "deny.toml",
    "proto",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "scripts",
    "tests",
];

#[test]
fn the_top_folder_holds_what_everybody_expects() {
    let entries = std::fs::read_dir(&REPOSITORY.root).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| !name.starts_with('.') && name != "target");
    names.sort();
    assert_eq!(names, TOP);
}

#[test]
fn the_contract_folder_holds_the_contract_only() {
    let strays = REPOSITORY.files.iter().filter(|file| file.path.starts_with("proto/") && !file.is("proto"));
    assert_tidy(strays.map(|file| Complaint::at(file, 1, "not a .proto file")));
}

#[test]
fn the_architecture_names_every_crate() {
    let page = REPOSITORY.file("ARCHITECTURE.md").expect("ARCHITECTURE.md is the way in");
    let crates = REPOSITORY.packages.iter().filter(|package| package.folder.starts_with("crates/"));
    let missing = crates.filter(|package| !page.text.lines().any(|line| has_word(line, &package.name)));
    assert_tidy(missing.map(|package| Complaint::at(page, 1, format!("{} is not named", package.name))));
}

#[test]
fn scripts_are_short_and_stop_at_the_first_error() {
    let scripts = REPOSITORY
        .files
        .iter()
        .filter(|file| file.path.starts_with("scripts/") && file.text.starts_with("#!") || file.is("sh"));
    let mut seen = 0;
    let mut complaints = Vec::new();
    for script in scripts {
        seen += 1;
        let strict = |line: &str| {
            line == "set -euo pipefail"
                || line.starts_with("source ") && line.contains("lib/common.sh")
                || line.starts_with(". ") && line.contains("lib/common.sh")
        };
        let first = script.lines().find(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        if !first.is_some_and(|(_, line)| strict(line)) {
            complaints.push(Complaint::at(
                script,
                first.map_or(1, |(n, _)| n),
                "begins without set -euo pipefail",
            ));
        }
        let lines = script.text.lines().count();
        if lines >= 80 {
            complaints.push(Complaint::at(script, lines, "80 lines or more: that is a program"));
        }
        let parsed = Command::new("bash").arg("-n").arg(REPOSITORY.root.join(&script.path)).output().unwrap();
        if !parsed.status.success() {
            complaints.push(Complaint::at(script, 1, String::from_utf8_lossy(&parsed.stderr)));
        }
    }
    assert!(seen > 0, "no script found");
    assert_tidy(complaints);
}

/// What a script started has to end when the script fails, too.
#[test]
fn a_script_that_fails_cleans_up_to_the_end() {
    let script = "source scripts/lib/common.sh; trap 'within_30s true; echo cleaned' EXIT; false";
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let run = Command::new("bash").args(["-ec", script]).current_dir(root).output();
    let run = run.expect("bash is there");
    assert_eq!(String::from_utf8_lossy(&run.stdout), "cleaned\n", "{}", String::from_utf8_lossy(&run.stderr));
    assert!(!run.status.success(), "and says that it failed");
}
