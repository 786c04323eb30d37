//! The status of a definition: whether it got the names that it wants, and whether it is served. Pure.
//!
//! Within a group, a plural, singular or short name belongs to one definition, and so does a kind: to the one that had
//! it first. A definition that does not get its names is not served.

use std::collections::HashSet;

use api::time::Time;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// A condition of a definition.
pub(crate) struct Condition<'a> {
    pub(crate) ty: &'a str,
    pub(crate) is_true: bool,
    pub(crate) reason: &'a str,
    pub(crate) message: &'a str,
}

/// Sets a condition; the time changes only with its status.
pub(crate) fn set_condition(definition: &mut Value, condition: &Condition<'_>, now: &str) {
    let status = if condition.is_true { "True" } else { "False" };
    let mut new = json!({
        "lastTransitionTime": now,
        "message": condition.message,
        "reason": condition.reason,
        "status": status,
        "type": condition.ty,
    });
    if !definition["status"].is_object() {
        definition["status"] = json!({});
    }
    let conditions = &mut definition["status"]["conditions"];
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Some(list) = conditions.as_array_mut() else { return };
    match list.iter_mut().find(|own| own["type"] == condition.ty) {
        Some(own) => {
            if own["status"] == status {
                new["lastTransitionTime"] = own["lastTransitionTime"].take();
            }
            *own = new;
        }
        None => list.push(new),
    }
}

/// The names that are taken in a group.
#[derive(Default)]
struct Taken {
    resources: HashSet<String>,
    kinds: HashSet<String>,
}

fn text<'a>(names: &'a Value, field: &str) -> &'a str {
    names[field].as_str().unwrap_or_default()
}

fn words<'a>(names: &'a Value, field: &str) -> impl Iterator<Item = &'a str> {
    names[field].as_array().into_iter().flatten().filter_map(Value::as_str)
}

impl Taken {
    /// What all other definitions of the group have.
    fn by_others(all: &[Value], own: usize) -> Self {
        let mut taken = Self::default();
        for (place, other) in all.iter().enumerate() {
            if place == own || other["spec"]["group"] != all[own]["spec"]["group"] {
                continue;
            }
            let names = &other["status"]["acceptedNames"];
            let resources = [text(names, "plural"), text(names, "singular")];
            let resources = resources.into_iter().chain(words(names, "shortNames"));
            taken.resources.extend(resources.filter(|name| !name.is_empty()).map(str::to_owned));
            let kinds = [text(names, "kind"), text(names, "listKind")];
            taken.kinds.extend(kinds.into_iter().filter(|name| !name.is_empty()).map(str::to_owned));
        }
        taken
    }
}

/// The definitions whose status has to change, by their place, as they then are. The order of `all` is the order in
/// which they get their names.
pub(crate) fn plan(all: &[Value], now: Timestamp) -> Vec<(usize, Value)> {
    let now = Time(now).to_string();
    let mut known = all.to_vec();
    let mut changed = Vec::new();
    for place in 0..known.len() {
        let settled = settle(&known, place, &now);
        if settled["status"] != known[place]["status"] {
            changed.push((place, settled.clone()));
            known[place] = settled;
        }
    }
    changed
}

fn settle(all: &[Value], place: usize, now: &str) -> Value {
    let mut definition = all[place].clone();
    let taken = Taken::by_others(all, place);
    let wanted = definition["spec"]["names"].clone();
    let mut accepted = definition["status"]["acceptedNames"].as_object().cloned().unwrap_or_default();
    let mut conflict: Option<(&str, String)> = None;
    let single =
        [("plural", "PluralConflict", &taken.resources), ("singular", "SingularConflict", &taken.resources)];
    for (field, reason, used) in single {
        accept(&wanted, field, reason, used, &mut accepted, &mut conflict);
    }
    short_names(&wanted, &taken, &mut accepted, &mut conflict);
    for (field, reason) in [("kind", "KindConflict"), ("listKind", "ListKindConflict")] {
        accept(&wanted, field, reason, &taken.kinds, &mut accepted, &mut conflict);
    }
    match wanted.get("categories") {
        Some(categories) => drop(accepted.insert("categories".to_owned(), categories.clone())),
        None => drop(accepted.shift_remove("categories")),
    }
    if !definition["status"].is_object() {
        definition["status"] = json!({});
    }
    definition["status"]["acceptedNames"] = accepted.into();
    let (reason, message) = match &conflict {
        Some((reason, message)) => (*reason, message.as_str()),
        None => ("NoConflicts", "no conflicts found"),
    };
    let is_free = conflict.is_none();
    set_condition(
        &mut definition,
        &Condition { ty: "NamesAccepted", is_true: is_free, reason, message },
        now,
    );
    // Who is served stays so.
    if !api::structural::definition::has_condition(&definition, "Established") {
        let (reason, message) = match is_free {
            true => ("InitialNamesAccepted", "the initial names have been accepted"),
            false => ("NotAccepted", "not all names are accepted"),
        };
        let established = Condition { ty: "Established", is_true: is_free, reason, message };
        set_condition(&mut definition, &established, now);
    }
    definition
}

fn accept<'a>(
    wanted: &Value,
    field: &str,
    reason: &'a str,
    used: &HashSet<String>,
    accepted: &mut Map<String, Value>,
    conflict: &mut Option<(&'a str, String)>,
) {
    let name = text(wanted, field);
    let is_own = accepted.get(field).and_then(Value::as_str) == Some(name);
    if !is_own && used.contains(name) {
        conflict.get_or_insert((reason, format!("{name:?} is already in use")));
    } else if name.is_empty() {
        accepted.shift_remove(field);
    } else {
        accepted.insert(field.to_owned(), name.into());
    }
}

fn short_names(
    wanted: &Value,
    taken: &Taken,
    accepted: &mut Map<String, Value>,
    conflict: &mut Option<(&str, String)>,
) {
    let own: Vec<String> = accepted
        .get("shortNames")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let used: Vec<&str> = words(wanted, "shortNames")
        .filter(|name| !own.iter().any(|own| own == name) && taken.resources.contains(*name))
        .collect();
    if !used.is_empty() {
        let told: Vec<String> = used.iter().map(|name| format!("{name:?} is already in use")).collect();
        let message = if told.len() == 1 { told[0].clone() } else { format!("[{}]", told.join(", ")) };
        conflict.get_or_insert(("ShortNamesConflict", message));
        return;
    }
    match wanted.get("shortNames") {
        Some(names) => drop(accepted.insert("shortNames".to_owned(), names.clone())),
        None => drop(accepted.shift_remove("shortNames")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(plural: &str, kind: &str, short: &str) -> Value {
        json!({
            "metadata": {"name": format!("{plural}.example.com")},
            "spec": {"group": "example.com", "names": {"plural": plural, "singular": plural.trim_end_matches('s'),
                "kind": kind, "listKind": format!("{kind}List"), "shortNames": [short]}},
            "status": {"acceptedNames": {"kind": "", "plural": ""}, "conditions": null, "storedVersions": ["v1"]},
        })
    }

    fn now() -> Timestamp {
        "2026-11-24T12:00:00Z".parse().expect("a time")
    }

    fn condition<'a>(definition: &'a Value, ty: &str) -> (&'a str, &'a str, &'a str) {
        let conditions = definition["status"]["conditions"].as_array().expect("conditions");
        let own = conditions.iter().find(|own| own["type"] == ty).expect("the condition");
        (text(own, "status"), text(own, "reason"), text(own, "message"))
    }

    #[test]
    fn free_names_are_accepted_and_the_second_plan_is_empty() {
        let mut all = vec![definition("foos", "Foo", "f"), definition("bars", "Bar", "b")];
        for (place, settled) in plan(&all.clone(), now()) {
            all[place] = settled;
        }
        for own in &all {
            assert_eq!(own["status"]["acceptedNames"], own["spec"]["names"]);
            assert_eq!(condition(own, "NamesAccepted"), ("True", "NoConflicts", "no conflicts found"));
            assert_eq!(condition(own, "Established").1, "InitialNamesAccepted");
        }
        assert!(plan(&all, "2026-11-25T12:00:00Z".parse().expect("a time")).is_empty());
    }

    #[test]
    fn who_comes_later_does_not_get_a_name_that_is_taken() {
        let mut all = vec![definition("foos", "Foo", "f"), definition("bars", "Foo", "f")];
        for (place, settled) in plan(&all.clone(), now()) {
            all[place] = settled;
        }
        assert_eq!(
            condition(&all[1], "NamesAccepted"),
            ("False", "ShortNamesConflict", "\"f\" is already in use")
        );
        assert_eq!(condition(&all[1], "Established"), ("False", "NotAccepted", "not all names are accepted"));
        assert_eq!(all[1]["status"]["acceptedNames"]["plural"], "bars");
        assert_ne!(all[1]["status"]["acceptedNames"]["kind"], "Foo");
        assert!(plan(&all, now()).is_empty());
        // With the first gone, the second gets them.
        let settled = plan(&all[1..], now()).remove(0).1;
        assert_eq!(condition(&settled, "Established").0, "True");
    }
}
