//! Reads the built-in resources from `crates/api/schema/resources.txt`.
//!
//! ```text
//! apps/v1 apps.v1                                  # group and version, the package of its types; `deprecated`
//!  deployments Deployment namespaced * short=deploy category=all storage=GROUP/VERSION
//!   select spec.nodeName LABEL=PATH|PATH:DEFAULT   # fields that a field selector may name
//!   /scale autoscaling.v1.Scale get,patch,update   # a subresource, its kind and verbs
//! ```
//! `*` stands for all eight verbs. The singular name is the kind in lower case.

use std::borrow::Cow;
use std::sync::Arc;

use super::{ResourceDef, SelectableField, Subresource};
use crate::gvk::GroupVersion;
use crate::schema::{self, Name};
use crate::status::qualified;

const SOURCE: &str = include_str!("../../schema/resources.txt");
const ALL_VERBS: &str = "create,delete,deletecollection,get,list,patch,update,watch";

#[derive(Default)]
struct Section {
    group: &'static str,
    version: &'static str,
    package: &'static str,
    deprecated: bool,
}

pub(super) fn parse() -> Vec<Arc<ResourceDef>> {
    let mut section = Section::default();
    let mut all: Vec<ResourceDef> = Vec::new();
    for line in SOURCE.lines().filter(|line| !line.starts_with('#')) {
        if let Some(line) = line.strip_prefix("  ") {
            let def = all.last_mut().expect("details follow a resource");
            match line.strip_prefix("select ") {
                Some(fields) => def.fields = fields.split(' ').map(selectable).collect(),
                None => def.subresources.push(subresource(line)),
            }
        } else if let Some(line) = line.strip_prefix(' ') {
            all.push(resource(&section, line));
        } else {
            section = section_line(line);
        }
    }
    all.into_iter().map(Arc::new).collect()
}

fn split_version(group_version: &'static str) -> (&'static str, &'static str) {
    group_version.split_once('/').unwrap_or(("", group_version))
}

fn section_line(line: &'static str) -> Section {
    let mut words = line.split(' ');
    let (group, version) = split_version(words.next().unwrap_or_default());
    Section {
        group,
        version,
        package: words.next().unwrap_or_default(),
        deprecated: words.next() == Some("deprecated"),
    }
}

fn resource(section: &Section, line: &'static str) -> ResourceDef {
    let mut words = line.split(' ');
    let mut next = || words.next().unwrap_or_default();
    let (plural, kind, scope, verbs) = (next(), next(), next(), next());
    let schema = schema::builtin(&format!("{}.{kind}", section.package))
        .expect("every resource of the table has a type of the table");
    let mut def = ResourceDef {
        group: Cow::Borrowed(section.group),
        version: Cow::Borrowed(section.version),
        plural: Cow::Borrowed(plural),
        singular: Cow::Owned(kind.to_lowercase()),
        kind: Cow::Borrowed(kind),
        list_kind: Cow::Owned(format!("{kind}List")),
        namespaced: scope == "namespaced",
        short_names: Vec::new(),
        categories: Vec::new(),
        verbs: names(if verbs == "*" { ALL_VERBS } else { verbs }),
        subresources: Vec::new(),
        schema,
        bucket: Arc::from(""),
        storage: GroupVersion { group: section.group.to_owned(), version: section.version.to_owned() },
        deprecated: None,
        fields: Vec::new(),
        custom: None,
    };
    for word in words {
        match word.split_once('=') {
            Some(("short", value)) => def.short_names = names(value),
            Some(("category", value)) => def.categories = names(value),
            Some(("storage", value)) => def.storage = GroupVersion::parse(value),
            _ => {}
        }
    }
    def.bucket = Arc::from(qualified(&def.storage.group, plural));
    def.deprecated = section.deprecated.then(|| def.storage.to_string());
    def
}

fn subresource(line: &'static str) -> Subresource {
    let mut words = line.split(' ');
    let name = words.next().unwrap_or_default().trim_start_matches('/');
    let ty = words.next().unwrap_or_default();
    let (package, kind) = ty.rsplit_once('.').unwrap_or(("", ty));
    let schema = schema::builtin(ty);
    // The options of exec, proxy and the like are no types of the table: they are read from the query.
    let of = schema.as_ref().and_then(|def| def.kind.clone());
    let (group, version) = of.unwrap_or_else(|| {
        let version = package.split('.').next_back().unwrap_or_default();
        (Cow::Borrowed(""), Cow::Borrowed(version))
    });
    let verbs = names(words.next().unwrap_or_default());
    Subresource { name: Cow::Borrowed(name), group, version, kind: Cow::Borrowed(kind), verbs, schema }
}

fn selectable(word: &'static str) -> SelectableField {
    let (rest, default) = word.split_once(':').unwrap_or((word, ""));
    let (label, paths) = rest.split_once('=').unwrap_or((rest, rest));
    let path = |path: &'static str| path.split('.').map(Cow::Borrowed).collect();
    SelectableField {
        label: Cow::Borrowed(label),
        paths: paths.split('|').map(path).collect(),
        default: Cow::Borrowed(default),
    }
}

fn names(list: &'static str) -> Vec<Name> {
    list.split(',').map(Cow::Borrowed).collect()
}
