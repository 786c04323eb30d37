//! The page that says what of the API is there and what is not, kind by kind: made of the registry and of
//! `schema/missing.txt`. `COXSWAIN_WRITE_PAGE=1 cargo test -p api --test page` writes it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use api::registry::{ResourceDef, registry};

const MISSING: &str = include_str!("../schema/missing.txt");

fn missing() -> BTreeMap<&'static str, &'static str> {
    let lines = MISSING.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| line.split_once(' ').expect("a resource and a sentence")).collect()
}

fn row(def: &ResourceDef, what: &str) -> String {
    let parts: Vec<String> = def.subresources.iter().map(|part| format!("`{}`", part.name)).collect();
    let scope = if def.namespaced { "namespaced" } else { "cluster" };
    format!("| {} | `{}` | {scope} | {} | {what} |", def.kind, def.plural, parts.join(" "))
}

fn page() -> String {
    let missing = missing();
    let mut out = String::from(
        "# The API, kind by kind\n\n\
         Made by `crates/api/tests/page.rs`, which fails when this page is stale. A kind that has nothing in its last\n\
         column is read, checked, defaulted, stored and watched as Kubernetes 1.36 does, and what it asks for happens.\n",
    );
    let mut old = Vec::new();
    for group_version in registry().group_versions() {
        let resources = registry().resources(&group_version.group, &group_version.version);
        if resources.iter().all(|def| def.deprecated.is_some()) {
            old.extend(resources);
            continue;
        }
        let _ = write!(
            out,
            "\n## {group_version}\n\n| kind | resource | scope | subresources | not yet |\n|---|---|---|---|---|\n"
        );
        for def in resources {
            // Another version of a resource has what its storage version has.
            let what = missing.get(def.qualified().as_str()).copied().unwrap_or_default();
            let _ = writeln!(out, "{}", row(&def, what));
        }
    }
    out.push_str(
        "\n## Versions that Kubernetes serves no more\n\n\
         Written and read as views of the present version; each use is answered with a warning.\n\n\
         | group and version | kind | present version |\n|---|---|---|\n",
    );
    for def in old {
        let _ = writeln!(
            out,
            "| {} | {} | {} |",
            def.api_version(),
            def.kind,
            def.deprecated.as_deref().unwrap_or_default()
        );
    }
    out
}

#[test]
fn the_page_of_kinds_says_what_there_is() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("KINDS.md");
    let page = page();
    if std::env::var_os("COXSWAIN_WRITE_PAGE").is_some() {
        std::fs::write(&path, &page).expect("written");
    }
    let written = std::fs::read_to_string(&path).expect("crates/api/KINDS.md");
    assert!(written == page, "KINDS.md is stale: write it anew with COXSWAIN_WRITE_PAGE=1");
}

#[test]
fn what_is_missing_is_missing_of_a_resource() {
    let groups = registry().group_versions();
    let all: BTreeSet<String> = groups
        .iter()
        .flat_map(|own| registry().resources(&own.group, &own.version))
        .map(|def| def.qualified().to_string())
        .collect();
    let strange: Vec<&str> = missing().into_keys().filter(|name| !all.contains(*name)).collect();
    assert_eq!(strange, Vec::<&str>::new());
}

/// Every resource that Kubernetes lists is listed here, with its subresources and verbs.
#[test]
fn no_resource_is_forgotten() {
    let Some(reference) = std::env::var_os("COXSWAIN_REFERENCE") else { return };
    let table =
        std::fs::read_to_string(PathBuf::from(reference).join("resources.tsv")).expect("resources.tsv");
    let mut forgotten = Vec::new();
    for line in table.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [group_version, resource, .., verbs] = columns[..] else { continue };
        let (group, version) = group_version.split_once('/').unwrap_or(("", group_version));
        let (plural, part) = resource.split_once('/').unwrap_or((resource, ""));
        let def = registry().resource(group, version, plural);
        let own: Option<Vec<String>> = def.as_ref().and_then(|def| {
            let verbs = if part.is_empty() { &def.verbs } else { &def.subresource(part)?.verbs };
            Some(verbs.iter().map(ToString::to_string).collect())
        });
        let own = own.unwrap_or_default();
        forgotten.extend(
            verbs
                .split(',')
                .filter(|verb| !own.iter().any(|have| have == verb))
                .map(|verb| format!("{group_version} {resource} {verb}")),
        );
    }
    assert_eq!(forgotten, Vec::<String>::new());
}
