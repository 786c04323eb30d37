//! The order of a merged list.
//!
//! What the patch names keeps the patch's order, what only the server has keeps the server's. Then both are woven: an
//! element that only the server has goes first where the server had it before the next element of the patch, else the
//! patch's element goes first. So a new element of a patch stands at the front, and clients know it there.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::patch::order::{Ordered, places};

/// What elements of a list are told apart by.
#[derive(Clone, Copy)]
pub(super) enum Identity<'a> {
    /// Scalars, by themselves.
    Itself,
    /// Objects, by the value of a key.
    Key(&'a str),
}

impl<'a> Identity<'a> {
    pub(super) fn by(key: Option<&'a str>) -> Self {
        key.map_or(Self::Itself, Self::Key)
    }

    pub(super) fn of(self, item: &Value) -> Option<&Value> {
        match self {
            Self::Itself => Some(item),
            Self::Key(key) => item.get(key),
        }
    }

    pub(super) fn of_all(self, items: &[Value]) -> Vec<Value> {
        items.iter().map(|item| self.of(item).cloned().unwrap_or_default()).collect()
    }
}

/// Orders `items` by the identities that patch and server have, each in its order.
pub(super) fn partition_and_weave(
    items: Vec<Value>,
    patch_order: &[Value],
    server_order: &[Value],
    identity: Identity<'_>,
) -> Vec<Value> {
    let (patch_places, server_places) = (places(patch_order), places(server_order));
    let place = |places: &BTreeMap<Ordered<'_>, usize>, item: &Value| {
        places.get(&Ordered(identity.of(item)?)).copied()
    };
    let (mut patch, mut server): (Vec<Value>, Vec<Value>) =
        items.into_iter().partition(|item| place(&patch_places, item).is_some());
    patch.sort_by_cached_key(|item| place(&patch_places, item));
    server.sort_by_cached_key(|item| place(&server_places, item));

    let mut woven = Vec::with_capacity(patch.len() + server.len());
    let mut patch = patch.into_iter().peekable();
    for item in server {
        let server_place = place(&server_places, &item);
        while let Some(next) = patch.next_if(|next| {
            let patch_place = place(&server_places, next);
            !matches!((server_place, patch_place), (Some(server), Some(patch)) if server < patch)
        }) {
            woven.push(next);
        }
        woven.push(item);
    }
    woven.extend(patch);
    woven
}
