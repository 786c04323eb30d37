//! What the types and fields are for, in words. The build script collects them (see `build.rs`); of types that are not
//! in that crate `ours.txt` says it.
//!
//! Versions that Kubernetes serves no more are described as their later selves.

use std::collections::HashMap;

use crate::schema::TypeDef;

static TEXT: &str = include_str!(concat!(env!("OUT_DIR"), "/descriptions.txt"));

static OURS: &str = include_str!("ours.txt");

/// How long they are together: other descriptions are other documents.
pub(super) const LENGTH: usize = TEXT.len() + OURS.len();

/// The descriptions, to be looked up. Made for a document, and dropped with what made it.
pub(super) struct Descriptions {
    types: HashMap<&'static str, Described>,
    /// The same by the last part of their names, the first of each.
    short: HashMap<&'static str, &'static str>,
}

#[derive(Default)]
struct Described {
    text: &'static str,
    fields: HashMap<&'static str, &'static str>,
}

impl Descriptions {
    pub(super) fn new() -> Self {
        let mut types: HashMap<&'static str, Described> = HashMap::new();
        let mut short = HashMap::new();
        let blocks = [TEXT, OURS].into_iter().flat_map(|text| text.split_terminator("\n="));
        for block in blocks.map(|block| block.trim_start_matches('=')) {
            let mut lines = block.lines();
            let (Some(name), text) = (lines.next(), lines.next().unwrap_or_default()) else { continue };
            let fields = lines.filter_map(|line| line.split_once(' ')).collect();
            types.insert(name, Described { text, fields });
            short.entry(simple(name)).or_insert(name);
        }
        Self { types, short }
    }

    /// What a type is.
    pub(super) fn of_type(&self, full_name: &str) -> Option<String> {
        let described = self.described(full_name)?;
        (!described.text.is_empty()).then(|| shown(described.text))
    }

    /// What a field of a type is.
    pub(super) fn of_field(&self, def: &TypeDef, full_name: &str, field: &str) -> Option<String> {
        let found = self.types.get(full_name).and_then(|described| described.fields.get(field));
        let text = found.or_else(|| self.described(full_name)?.fields.get(field)).copied();
        text.map(shown).or_else(|| Some(common(def, field)?.to_owned()))
    }

    fn described(&self, full_name: &str) -> Option<&Described> {
        self.types.get(full_name).or_else(|| self.types.get(self.short.get(simple(full_name))?))
    }
}

fn simple(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, last)| last)
}

fn shown(text: &str) -> String {
    text.replace("\\n", "\n")
}

/// Fields that the crate has as constants, or not at all.
fn common(def: &TypeDef, field: &str) -> Option<&'static str> {
    let is_list = def.name.ends_with("List");
    Some(match field {
        "apiVersion" => "The group and version in which this document is written, as apps/v1.",
        "kind" => "The kind of object that this document describes.",
        "metadata" if is_list => "Metadata of the list: its resource version, and how to go on reading it.",
        "metadata" => "Metadata of the object: its name, namespace, labels, annotations, owners.",
        "items" if is_list => "The objects of the list.",
        _ => return None,
    })
}
