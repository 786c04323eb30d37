//! Who owns whom, over all objects there are: a few words for each object. Pure.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use api::meta::{ObjectMeta, OwnerReference};
use foldhash::fast::FixedState;

/// Deletion waits for the dependents.
pub const FOREGROUND: &str = "foregroundDeletion";
/// Deletion first lets the dependents go.
pub const ORPHAN: &str = "orphan";

/// The uid of an object.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uid(Arc<str>);

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        Self(Arc::from(text))
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Uid {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is known of an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Node {
    /// Which resource, by its place in the list of resources.
    pub resource: usize,
    /// Empty for cluster-scoped objects.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its version, for writes that must not lose another's change.
    pub resource_version: Box<str>,
    /// Whom it belongs to.
    pub owners: Vec<OwnerReference>,
    /// Who must act before it may go.
    pub finalizers: Vec<String>,
    /// Whether its deletion has been asked for.
    pub deleting: bool,
}

impl Node {
    /// From the metadata of an object.
    pub fn new(resource: usize, meta: &ObjectMeta) -> Self {
        Self {
            resource,
            namespace: meta.namespace.as_str().into(),
            name: meta.name.as_str().into(),
            resource_version: meta.resource_version.as_str().into(),
            owners: meta.owner_references.clone(),
            finalizers: meta.finalizers.clone(),
            deleting: meta.is_being_deleted(),
        }
    }

    fn has(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|has| has == finalizer)
    }

    /// Whether it waits for its dependents to go.
    pub fn is_deleting_dependents(&self) -> bool {
        self.deleting && self.has(FOREGROUND)
    }

    /// Whether it waits for its dependents to be let go.
    pub fn is_orphaning(&self) -> bool {
        self.deleting && self.has(ORPHAN)
    }

    /// The policy by which it would be deleted: its finalizers say so.
    pub fn policy(&self) -> &'static str {
        if self.has(ORPHAN) {
            "Orphan"
        } else if self.has(FOREGROUND) {
            "Foreground"
        } else {
            "Background"
        }
    }
}

/// The graph.
#[derive(Debug, Default)]
pub struct Graph {
    nodes: HashMap<Uid, Node, FixedState>,
    dependents: HashMap<Uid, HashSet<Uid, FixedState>, FixedState>,
}

impl Graph {
    /// One object.
    pub fn get(&self, uid: &Uid) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// The objects that name `uid` as an owner.
    pub fn dependents<'a>(&'a self, uid: &Uid) -> impl Iterator<Item = (&'a Uid, &'a Node)> + use<'a> {
        let uids = self.dependents.get(uid).into_iter().flatten();
        uids.filter_map(|uid| self.nodes.get_key_value(uid))
    }

    /// The uids of a resource.
    pub fn uids(&self, resource: usize) -> HashSet<Uid, FixedState> {
        self.nodes.iter().filter(|(_, node)| node.resource == resource).map(|(uid, _)| uid.clone()).collect()
    }

    /// An object is there, or has changed. Returns which objects have to be looked at.
    pub fn apply(&mut self, uid: &Uid, node: Node) -> Vec<Uid> {
        let owners: Vec<Uid> = node.owners.iter().map(|owner| Uid::from(owner.uid.as_str())).collect();
        let before = self.nodes.insert(uid.clone(), node.clone());
        let owners_before: Vec<Uid> = before
            .iter()
            .flat_map(|before| &before.owners)
            .map(|owner| Uid::from(owner.uid.as_str()))
            .collect();
        for gone in owners_before.iter().filter(|owner| !owners.contains(owner)) {
            self.unlink(gone, uid);
        }
        for owner in &owners {
            self.dependents.entry(owner.clone()).or_default().insert(uid.clone());
        }
        let mut look_at = Vec::new();
        let started_deleting = node.deleting && !before.as_ref().is_some_and(|before| before.deleting);
        if node.is_deleting_dependents() || node.is_orphaning() {
            look_at.push(uid.clone());
            if started_deleting && node.is_deleting_dependents() {
                look_at.extend(self.dependents(uid).map(|(dependent, _)| dependent.clone()));
            }
        } else if !node.deleting && self.has_doubtful_owner(&node) {
            look_at.push(uid.clone());
        }
        // An owner that waits for its dependents may wait for one less.
        let waiting = owners_before.iter().chain(&owners).filter(|owner| {
            self.nodes.get(*owner).is_some_and(|owner| owner.is_deleting_dependents() || owner.is_orphaning())
        });
        look_at.extend(waiting.cloned());
        look_at
    }

    /// An object is gone. Returns which objects have to be looked at.
    pub fn remove(&mut self, uid: &Uid) -> Vec<Uid> {
        let Some(node) = self.nodes.remove(uid) else { return Vec::new() };
        let mut look_at: Vec<_> = self.dependents(uid).map(|(dependent, _)| dependent.clone()).collect();
        for owner in &node.owners {
            let owner = Uid::from(owner.uid.as_str());
            self.unlink(&owner, uid);
            if self.nodes.get(&owner).is_some_and(|owner| owner.is_deleting_dependents()) {
                look_at.push(owner);
            }
        }
        look_at
    }

    /// Whether an owner is not known, or takes its dependents along.
    fn has_doubtful_owner(&self, node: &Node) -> bool {
        node.owners.iter().any(|owner| {
            self.nodes.get(&Uid::from(owner.uid.as_str())).is_none_or(Node::is_deleting_dependents)
        })
    }

    fn unlink(&mut self, owner: &Uid, dependent: &Uid) {
        if let Some(dependents) = self.dependents.get_mut(owner) {
            dependents.remove(dependent);
            if dependents.is_empty() {
                self.dependents.remove(owner);
            }
        }
    }
}
