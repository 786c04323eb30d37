//! Why a pod fits nowhere, in the words of Kubernetes: users and tools read them.

use std::collections::BTreeMap;
use std::fmt;

use crate::plugins::Reason;

/// Why no node is possible.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FitError {
    nodes: usize,
    reasons: BTreeMap<Reason, usize>,
    /// Nodes that could become possible if some of their pods went.
    resolvable: Vec<String>,
    preemption: Option<String>,
    /// What speaks against every node alike.
    everywhere: Option<String>,
}

impl FitError {
    /// Of a cluster of so many nodes.
    pub fn new(nodes: usize) -> Self {
        Self { nodes, ..Self::default() }
    }

    /// Something that has nothing to do with any one node speaks against all of so many.
    pub fn on_every_node(nodes: usize, message: String) -> Self {
        Self { nodes, everywhere: Some(message), ..Self::default() }
    }

    /// Notes why a node is not possible.
    pub fn add(&mut self, node: &str, reasons: &mut Vec<Reason>) {
        if reasons.iter().all(Reason::is_resolvable) {
            self.resolvable.push(node.to_owned());
        }
        for reason in reasons.drain(..) {
            *self.reasons.entry(reason).or_default() += 1;
        }
    }

    /// The nodes that could become possible if some of their pods went.
    pub fn resolvable(&self) -> &[String] {
        &self.resolvable
    }

    /// Whether any node is impossible for such a reason.
    pub fn mentions(&self, is: impl Fn(&Reason) -> bool) -> bool {
        self.reasons.keys().any(is)
    }

    /// Notes why taking down pods of less priority does not help either.
    pub fn without_victims(&mut self) {
        self.preemption = Some("No preemption victims found for incoming pod.".to_owned());
    }

    /// Notes that the pod takes down no others.
    pub fn never_preempts(&mut self) {
        self.preemption = Some("not eligible due to preemptionPolicy=Never.".to_owned());
    }

    fn preemption_text(&self) -> String {
        let not_helpful = self.nodes - self.resolvable.len();
        match &self.preemption {
            Some(text) if text.starts_with("not eligible") => text.clone(),
            Some(text) => {
                let mut counts = vec![(text.as_str(), self.resolvable.len())];
                counts.push(("Preemption is not helpful for scheduling.", not_helpful));
                sentence(self.nodes, counts.iter().map(|(text, count)| (*text, *count)))
            }
            None => {
                sentence(self.nodes, [("Preemption is not helpful for scheduling.", not_helpful)].into_iter())
            }
        }
    }
}

impl fmt::Display for FitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        if let Some(message) = &self.everywhere {
            let nodes = self.nodes;
            let preemption = self.preemption_text();
            return write!(f, "0/{nodes} nodes are available: {message}. preemption: {preemption}");
        }
        // Too little for now and too little for ever read the same.
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for (reason, count) in &self.reasons {
            *counts.entry(reason.to_string()).or_default() += count;
        }
        let reasons = counts.iter().map(|(reason, count)| (reason.as_str(), *count));
        write!(f, "{}. preemption: {}", sentence(self.nodes, reasons), self.preemption_text())
    }
}

impl std::error::Error for FitError {}

/// `0/3 nodes are available: 1 A, 2 B`, the parts in the order of their text.
fn sentence<'a>(nodes: usize, counts: impl Iterator<Item = (&'a str, usize)>) -> String {
    let mut parts: Vec<_> =
        counts.filter(|(_, count)| *count > 0).map(|(text, count)| format!("{count} {text}")).collect();
    parts.sort();
    format!("0/{nodes} nodes are available: {}", parts.join(", "))
}
