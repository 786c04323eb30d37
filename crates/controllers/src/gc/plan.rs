//! The next step about one object: what to ask, or what to write. Pure.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use api::meta::OwnerReference;

use super::graph::{FOREGROUND, Graph, Node, ORPHAN, Uid};

/// What the apiserver said about an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// There is no such object (any more).
    Absent,
    /// It is there.
    Present,
    /// It is there, is being deleted, and takes its dependents along.
    TakesDependents,
}

/// What has been asked in this round.
pub type Owners = HashMap<Uid, Presence>;

/// The next step.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// There is nothing to do.
    Done,
    /// Ask the apiserver for these owners.
    LookUp(Vec<OwnerReference>),
    /// Look at these objects instead.
    Look(Vec<Uid>),
    /// Write.
    Act(Action),
}

/// One write, about the object in question.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Delete it, with this policy.
    Delete(&'static str),
    /// Let these be its owners: of the others, none is left.
    SetOwners(Vec<OwnerReference>),
    /// Let go of these dependents; each with the owners that remain to it.
    Orphan(Vec<(Uid, Vec<OwnerReference>)>),
    /// Take this finalizer away.
    RemoveFinalizer(&'static str),
}

/// Decides the next step about `uid`. `asked` is what the apiserver has said in this round, `is_gone` what it has said
/// before. Pure: no clock, client or randomness.
pub fn step(graph: &Graph, uid: &Uid, asked: &Owners, is_gone: &dyn Fn(&Uid) -> bool) -> Step {
    let Some(node) = graph.get(uid) else { return Step::Done };
    if node.is_orphaning() {
        return orphan(graph, uid);
    }
    if node.is_deleting_dependents() {
        return delete_dependents(graph, uid);
    }
    if node.deleting || node.owners.is_empty() {
        return Step::Done;
    }
    let presence = |owner: &OwnerReference| {
        let uid = Uid::from(owner.uid.as_str());
        match graph.get(&uid) {
            Some(owner) if owner.is_deleting_dependents() => Some(Presence::TakesDependents),
            Some(_) => Some(Presence::Present),
            None if is_gone(&uid) => Some(Presence::Absent),
            None => asked.get(&uid).copied(),
        }
    };
    let unknown: Vec<_> = node.owners.iter().filter(|owner| presence(owner).is_none()).cloned().collect();
    if !unknown.is_empty() {
        return Step::LookUp(unknown);
    }
    let is = |owner: &&OwnerReference, wanted| presence(owner) == Some(wanted);
    let solid: Vec<_> = node.owners.iter().filter(|owner| is(owner, Presence::Present)).cloned().collect();
    if solid.len() == node.owners.len() {
        Step::Done
    } else if !solid.is_empty() {
        Step::Act(Action::SetOwners(solid))
    } else {
        Step::Act(Action::Delete(policy(graph, uid, node, |owner| is(owner, Presence::TakesDependents))))
    }
}

/// An object whose owner waits for it, and that has dependents itself, waits for those.
fn policy<'a>(
    graph: &Graph,
    uid: &Uid,
    node: &'a Node,
    is_waiting: impl Fn(&&'a OwnerReference) -> bool,
) -> &'static str {
    let is_waited_for = node.owners.iter().any(|owner| is_waiting(&owner));
    let has_dependents = graph.dependents(uid).next().is_some();
    if is_waited_for && has_dependents { "Foreground" } else { node.policy() }
}

/// Waits for dependents that block; asks for them to go.
fn delete_dependents(graph: &Graph, uid: &Uid) -> Step {
    let blocks = |node: &Node| {
        let mut owners = node.owners.iter();
        owners.any(|owner| owner.uid == uid.as_str() && owner.block_owner_deletion == Some(true))
    };
    // Two that own each other would wait for ever: one that waits itself does not block.
    let blocking: Vec<_> = graph
        .dependents(uid)
        .filter(|(dependent, node)| blocks(node) && !waits_for(graph, dependent, uid))
        .collect();
    if blocking.is_empty() {
        return Step::Act(Action::RemoveFinalizer(FOREGROUND));
    }
    let look: Vec<_> =
        blocking.iter().filter(|(_, node)| !node.deleting).map(|(uid, _)| (*uid).clone()).collect();
    if look.is_empty() { Step::Done } else { Step::Look(look) }
}

/// Whether `node` waits for `other` to go.
fn waits_for(graph: &Graph, node: &Uid, other: &Uid) -> bool {
    graph.get(node).is_some_and(Node::is_deleting_dependents)
        && graph.dependents(node).any(|(dependent, _)| dependent == other)
}

fn orphan(graph: &Graph, uid: &Uid) -> Step {
    let dependents: Vec<_> = graph
        .dependents(uid)
        .map(|(dependent, node)| {
            let others = node.owners.iter().filter(|owner| owner.uid != uid.as_str()).cloned().collect();
            (dependent.clone(), others)
        })
        .collect();
    if dependents.is_empty() {
        Step::Act(Action::RemoveFinalizer(ORPHAN))
    } else {
        Step::Act(Action::Orphan(dependents))
    }
}
