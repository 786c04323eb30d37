//! Who may depend on whom, and on what. The arrows of ARCHITECTURE.md are written down here.

use std::collections::{BTreeMap, BTreeSet};

use tidy::repository::{Dependency, Package};
use tidy::{Complaint, File, assert_tidy};

use crate::REPOSITORY;

/// What each package depends on. A new arrow is a change of the architecture: draw it there first.
const ARROWS: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("component", &[]),
    ("store", &[]),
    ("rpc", &["api"]),
    ("client", &["api", "component", "rpc"]),
    ("apiserver", &["api", "component", "rpc", "store"]),
    ("scheduler", &["api", "client", "component"]),
    ("controllers", &["api", "client", "component"]),
    ("kube-proxy", &["api", "client", "component"]),
    ("cox", &["api", "client", "component"]),
    ("kubelet", &["api", "client", "component", "rpc"]),
    ("cluster", &["api", "apiserver", "client", "component", "controllers", "scheduler"]),
    ("clients", &["apiserver"]),
    ("e2e", &["client", "component"]),
    ("measure", &["client", "component", "e2e"]),
    ("tidy", &[]),
];

/// Arrows of tests and benches only: to the `testing` features of these.
const TESTING: &[(&str, &[&str])] =
    &[("store", &["store"]), ("scheduler", &["scheduler"]), ("apiserver", &["apiserver"])];

/// The feature that holds builders and fakes.
const TESTING_FEATURE: &str = "testing";

/// Words that only some sources may hold: a library behind one door can be replaced.
const FENCES: &[(&str, &[&str])] = &[
    ("sled", &["crates/store/"]),
    ("bollard", &["crates/kubelet/src/runtime/docker"]),
    (
        "tonic",
        &[
            "crates/rpc/",
            // etcd speaks gRPC; its messages are nobody else's.
            "crates/store/src/etcd",
            "crates/store/build.rs",
            "crates/client/",
            "crates/component/",
            "crates/apiserver/src/grpc",
            "crates/apiserver/src/logs/",
            "crates/apiserver/src/streams/",
            "crates/apiserver/tests/",
            "crates/kubelet/src/server",
            "crates/kubelet/src/streams/",
            // Where the server is started, and may fail to be.
            "crates/kubelet/src/run.rs",
            "crates/kubelet/tests/",
        ],
    ),
];

/// Dependencies that no source names, and who needs them.
const UNNAMED: &[(&str, &str, &str)] = &[
    ("rpc", "prost", "the generated code"),
    ("rpc", "prost-types", "the generated code"),
    ("rpc", "tonic-prost", "the generated code"),
    ("store", "prost", "the generated code"),
    ("store", "tonic-prost", "the generated code"),
];

fn names(dependencies: &[Dependency], kind: &str) -> BTreeSet<String> {
    let ours = dependencies.iter().filter(|dependency| dependency.ours && dependency.kind == kind);
    ours.map(|dependency| dependency.name.clone()).collect()
}

fn set(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|&name| name.to_owned()).collect()
}

fn about(package: &Package, what: String) -> Complaint {
    Complaint(format!("{}/Cargo.toml:1: {what}", package.folder))
}

/// The line of a manifest that declares a dependency.
fn line_of(manifest: &File, dependency: &str) -> usize {
    let declares = |line: &str| {
        line.strip_prefix(dependency).is_some_and(|rest| rest.starts_with('.') || rest.starts_with(' '))
    };
    manifest.lines().find(|(_, line)| declares(line)).map_or(1, |(number, _)| number)
}

#[test]
fn arrows_are_those_of_the_architecture() {
    let drawn: BTreeMap<&str, BTreeSet<String>> = ARROWS.iter().map(|(from, to)| (*from, set(to))).collect();
    let there: BTreeSet<String> = REPOSITORY.packages.iter().map(|package| package.name.clone()).collect();
    let unknown = drawn.keys().filter(|name| !there.contains(**name));
    assert_tidy(unknown.map(|name| Complaint(format!("{name}: drawn, but no package"))));
    assert_tidy(REPOSITORY.packages.iter().filter_map(|package| {
        let Some(drawn) = drawn.get(package.name.as_str()) else {
            return Some(about(package, "a package without arrows".to_owned()));
        };
        let found = names(&package.dependencies, "normal");
        (found != *drawn)
            .then(|| about(package, format!("depends on {found:?}, the architecture says {drawn:?}")))
    }));
}

#[test]
fn tests_add_no_arrows_but_to_testing_features() {
    let testing: BTreeMap<&str, BTreeSet<String>> =
        TESTING.iter().map(|(from, to)| (*from, set(to))).collect();
    assert_tidy(REPOSITORY.packages.iter().flat_map(|package| {
        let normal = names(&package.dependencies, "normal");
        let extra = testing.get(package.name.as_str()).cloned().unwrap_or_default();
        let arrows = package.dependencies.iter().filter(|d| d.ours && d.kind != "normal");
        arrows
            .filter(|d| !normal.contains(&d.name) && !extra.contains(&d.name))
            .map(|d| about(package, format!("a {} arrow to {} that nobody drew", d.kind, d.name)))
            .collect::<Vec<_>>()
    }));
}

#[test]
fn daemons_are_built_without_testing_features() {
    let daemons = REPOSITORY.packages.iter().filter(|package| package.folder.starts_with("crates/"));
    assert_tidy(daemons.flat_map(|package| {
        let built = package.dependencies.iter().filter(|d| d.ours && d.kind != "dev");
        let testing = built.filter(|d| d.features.iter().any(|feature| feature == TESTING_FEATURE));
        testing
            .map(|d| about(package, format!("builds {} with its testing feature", d.name)))
            .collect::<Vec<_>>()
    }));
}

#[test]
fn libraries_stay_behind_their_doors() {
    for (word, doors) in FENCES {
        let outside = REPOSITORY.sources().filter(|file| {
            !doors.iter().any(|door| file.path.starts_with(door)) && !file.path.starts_with("tests/tidy/")
        });
        assert_tidy(outside.flat_map(|file| {
            let code = file.lines().filter(|(_, line)| !line.trim_start().starts_with("//"));
            code.filter(|(_, line)| uses(line, word))
                .map(|(number, _)| Complaint::at(file, number, format!("{word} is named in {doors:?} only")))
                .collect::<Vec<_>>()
        }));
    }
}

/// Whether a line of code uses a library, by itself or by one of its family (tonic_health).
fn uses(line: &str, library: &str) -> bool {
    line.match_indices(library).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let rest = &line[at + library.len()..];
        let family = rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
        let whole = rest.starts_with("::") || rest.starts_with('_') && family.starts_with("::");
        let imported = line.trim_start().starts_with("use ") && before.is_none_or(|c| c != ':');
        let path = before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':');
        path && (whole || imported && rest.starts_with([';', ' ']))
    })
}

#[test]
fn every_package_takes_versions_and_lints_from_the_workspace() {
    assert_tidy(REPOSITORY.manifests().flat_map(|(package, manifest)| {
        let mut complaints = Vec::new();
        if !manifest.text.contains("[lints]\nworkspace = true") {
            complaints.push(about(package, "without the lints of the workspace".to_owned()));
        }
        let mut section = "";
        for (number, line) in manifest.lines().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        {
            if line.starts_with('[') {
                section = line;
            } else if section.ends_with("dependencies]") && line.contains('=') {
                let shared = line.contains(".workspace = true") || line.contains("workspace = true");
                if !shared {
                    complaints.push(Complaint::at(
                        manifest,
                        number,
                        "a dependency with a version of its own",
                    ));
                }
            }
        }
        complaints
    }));
}

#[test]
fn every_declared_dependency_is_used() {
    assert_tidy(REPOSITORY.manifests().flat_map(|(package, manifest)| {
        let sources: Vec<&File> = REPOSITORY.sources_of(package).collect();
        let excused = |d: &Dependency| UNNAMED.iter().any(|(p, n, _)| *p == package.name && *n == d.name);
        let unused = package.dependencies.iter().filter(|d| !excused(d)).filter(|dependency| {
            let name = dependency.name.replace('-', "_");
            !sources.iter().any(|file| file.text.lines().any(|line| names_crate(line, &name)))
        });
        unused
            .map(|d| {
                Complaint::at(manifest, line_of(manifest, &d.name), format!("{}: no source names it", d.name))
            })
            .collect::<Vec<_>>()
    }));
}

fn names_crate(line: &str, name: &str) -> bool {
    tidy::text::has_word(line, name)
        && !line.trim_start().starts_with("//")
        && (line.contains(&format!("{name}::"))
            || line.contains(&format!("{name}!"))
            || line.trim_start().starts_with("use ")
            || line.trim_start().starts_with("pub use ")
            || line.contains(&format!("with = \"{name}")))
}

#[test]
fn the_workspace_offers_no_dependency_that_nobody_takes() {
    let manifest = REPOSITORY.file("Cargo.toml").expect("the workspace has a manifest");
    let taken: BTreeSet<String> = REPOSITORY
        .packages
        .iter()
        .flat_map(|package| package.dependencies.iter().map(|dependency| dependency.name.clone()))
        .collect();
    let mut section = "";
    let mut complaints = Vec::new();
    for (number, line) in manifest.lines().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        if line.starts_with('[') {
            section = line;
        } else if section == "[workspace.dependencies]"
            && let Some((name, value)) = line.split_once(" = ")
            && !value.contains("path = ")
            && !taken.contains(name)
        {
            complaints.push(Complaint::at(manifest, number, format!("nobody takes {name}")));
        }
    }
    assert_tidy(complaints);
}
