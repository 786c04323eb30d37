//! `metadata.managedFields`: who set which fields, by which operation, when.

use serde_json::{Map, Value, json};

use super::fields::Set;

/// More managers that only update are kept no more apart: the oldest are told as one.
const MAX_UPDATERS: usize = 10;
const ANCIENT_CHANGES: &str = "ancient-changes";

/// How a manager set its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// By server-side apply: what it applies no more goes away.
    Apply,
    /// By any other write.
    Update,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// Who writes: what tells two entries apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manager {
    /// As `kubectl`.
    pub name: String,
    /// How it writes.
    pub operation: Operation,
    /// The version of the fields' names. An applier has one entry, whatever version it used last.
    pub api_version: String,
    /// As `status`, or empty.
    pub subresource: String,
}

impl Manager {
    fn is(&self, other: &Self) -> bool {
        self.name == other.name
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    /// As conflicts name it: `"kubectl" with subresource "status" using apps/v1`.
    pub fn describe(&self) -> String {
        let mut text = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            text += &format!(" with subresource {:?}", self.subresource);
        }
        if self.operation == Operation::Update {
            text += &format!(" using {}", self.api_version);
        }
        text
    }
}

/// One entry of managedFields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Who.
    pub manager: Manager,
    /// When it changed its fields last, as text; entries of clients may have none.
    pub time: Option<String>,
    /// Which fields.
    pub fields: Set,
}

/// All entries of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Managed {
    /// In the order of the object.
    pub entries: Vec<Entry>,
}

impl Managed {
    /// The entries of an object. One that cannot be read is dropped.
    pub fn of(object: &Value) -> Self {
        let entries = object["metadata"]["managedFields"].as_array();
        Self { entries: entries.into_iter().flatten().filter_map(read).collect() }
    }

    /// Whether `object` asks to forget all: a list of one empty entry.
    pub fn is_reset(object: &Value) -> bool {
        let entries = object["metadata"]["managedFields"].as_array();
        entries.is_some_and(|entries| matches!(&entries[..], [Value::Object(entry)] if entry.is_empty()))
    }

    /// Whether nobody is known to have set anything.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry of `manager`.
    pub fn get(&self, manager: &Manager) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.manager.is(manager))
    }

    /// The entry of `manager`, made where there is none.
    pub fn entry(&mut self, manager: &Manager) -> &mut Entry {
        let place = self.entries.iter().position(|entry| entry.manager.is(manager)).unwrap_or_else(|| {
            self.entries.push(Entry { manager: manager.clone(), time: None, fields: Set::default() });
            self.entries.len() - 1
        });
        &mut self.entries[place]
    }

    /// The entries of everyone but `manager`.
    pub fn others<'a>(&'a self, manager: &'a Manager) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(|entry| !entry.manager.is(manager))
    }

    /// The fields of everyone.
    pub fn all_fields(&self) -> Set {
        let mut all = Set::default();
        self.entries.iter().for_each(|entry| all.union(&entry.fields));
        all
    }

    /// Writes the entries into `object`; those without fields are dropped.
    pub fn write(mut self, object: &mut Value) {
        self.entries.retain(|entry| !entry.fields.is_empty());
        self.join_ancient_changes();
        self.entries.sort_by(|a, b| sort_key(a).cmp(&sort_key(b)));
        let Value::Object(object) = object else { return };
        if self.entries.is_empty() {
            remove_from(object);
            return;
        }
        let metadata = object.entry("metadata").or_insert_with(|| json!({}));
        if let Value::Object(metadata) = metadata {
            metadata.insert("managedFields".to_owned(), self.entries.iter().map(to_json).collect());
        }
    }

    fn join_ancient_changes(&mut self) {
        let count =
            |entries: &[Entry]| entries.iter().filter(|e| e.manager.operation == Operation::Update).count();
        let mut excess = count(&self.entries).saturating_sub(MAX_UPDATERS);
        if excess == 0 {
            return;
        }
        self.entries.sort_by(|a, b| (&a.time, &a.manager.name).cmp(&(&b.time, &b.manager.name)));
        let mut i = 0;
        while excess > 0 && i < self.entries.len() {
            let oldest = &self.entries[i];
            let version = oldest.manager.api_version.clone();
            let joins = |entry: &Entry| {
                entry.manager.operation == Operation::Update && entry.manager.api_version == version
            };
            let next = self.entries.iter().skip(i + 1).position(joins).map(|place| place + i + 1);
            let (true, Some(next)) = (joins(oldest), next) else {
                i += 1;
                continue;
            };
            let newer = self.entries.remove(next);
            let oldest = &mut self.entries[i];
            oldest.manager.name = ANCIENT_CHANGES.to_owned();
            oldest.manager.subresource.clear();
            oldest.fields.union(&newer.fields);
            oldest.time = newer.time;
            excess -= 1;
        }
    }
}

/// Takes out of `fields` what nobody owns: names, and what the server sets.
pub(super) fn strip(fields: &mut Set) {
    fields.subtract(&Set::of_fields(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ]));
}

/// Takes managedFields out of `object`.
pub(super) fn remove_from(object: &mut Map<String, Value>) {
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.shift_remove("managedFields");
    }
}

fn sort_key(entry: &Entry) -> (Operation, &Option<String>, &str, &str, &str) {
    let manager = &entry.manager;
    (manager.operation, &entry.time, &manager.name, &manager.api_version, &manager.subresource)
}

fn read(entry: &Value) -> Option<Entry> {
    let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let operation = match entry["operation"].as_str()? {
        "Apply" => Operation::Apply,
        "Update" => Operation::Update,
        _ => return None,
    };
    Some(Entry {
        manager: Manager {
            name: text("manager"),
            operation,
            api_version: text("apiVersion"),
            subresource: text("subresource"),
        },
        time: entry["time"].as_str().map(str::to_owned),
        fields: Set::from_json(&entry["fieldsV1"])?,
    })
}

fn to_json(entry: &Entry) -> Value {
    let manager = &entry.manager;
    let mut json = json!({
        "manager": manager.name, "operation": manager.operation.as_str(), "apiVersion": manager.api_version
    });
    if let Some(time) = &entry.time {
        json["time"] = time.as_str().into();
    }
    json["fieldsType"] = "FieldsV1".into();
    json["fieldsV1"] = entry.fields.to_json();
    if !manager.subresource.is_empty() {
        json["subresource"] = manager.subresource.as_str().into();
    }
    json
}
