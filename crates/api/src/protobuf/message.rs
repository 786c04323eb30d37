//! The messages that the schema tables describe: fields by their numbers, wrappers and all.
//!
//! A struct that JSON writes inline is a message of its own in protobuf; its fields have the wrapper's number before
//! their own. Here they are put back into a tree, once for each type.

use std::sync::OnceLock;

use crate::schema::{Field, TypeRef, table};

/// The fields of a message, ordered by number.
#[derive(Default)]
pub(super) struct Message {
    pub(super) slots: Vec<(u16, Slot)>,
}

/// What has a number.
pub(super) enum Slot {
    /// A field of the type.
    Field(&'static Field),
    /// A struct that JSON writes inline: its fields are the type's own there.
    Inline(Message),
}

impl Message {
    /// The message of a type; custom resources have none.
    pub(super) fn of(ty: &TypeRef) -> Option<&'static Message> {
        static MESSAGES: OnceLock<Vec<OnceLock<Message>>> = OnceLock::new();
        let TypeRef::Builtin(index) = ty else { return None };
        let types = table::builtin();
        let messages = MESSAGES.get_or_init(|| types.types().iter().map(|_| OnceLock::new()).collect());
        Some(messages.get(*index as usize)?.get_or_init(|| {
            let mut message = Message::default();
            types.at(*index).fields.iter().for_each(|field| message.add(field.numbers(), field));
            message
        }))
    }

    /// What has that number.
    pub(super) fn slot(&self, number: u32) -> Option<&Slot> {
        let place = self.slots.binary_search_by_key(&number, |(number, _)| u32::from(*number)).ok()?;
        Some(&self.slots[place].1)
    }

    fn add(&mut self, numbers: &[u16], field: &'static Field) {
        let Some((number, rest)) = numbers.split_first() else { return };
        let place = self.slots.binary_search_by_key(number, |(number, _)| *number);
        if rest.is_empty() {
            let (Ok(place) | Err(place)) = place;
            self.slots.insert(place, (*number, Slot::Field(field)));
            return;
        }
        let place = place.unwrap_or_else(|place| {
            self.slots.insert(place, (*number, Slot::Inline(Message::default())));
            place
        });
        if let (_, Slot::Inline(message)) = &mut self.slots[place] {
            message.add(rest, field);
        }
    }
}
