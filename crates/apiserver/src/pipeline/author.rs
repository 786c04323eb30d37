//! Who makes a write, for the history: the user, and what it wrote with.
//!
//! The two stand in one text, `USER TAB MANAGER`, the second part only where it says something. The store keeps it with
//! the version. Read on: [`parts`] for how it is read.

use std::collections::HashSet;

use parking_lot::Mutex;
use store::Author;

use super::Pipeline;
use super::types::RequestContext;

/// Authors that were seen, so that a thousand objects of one controller share its name. Forgotten when there are many.
pub(super) type Authors = Mutex<HashSet<Author>>;

const MOST: usize = 4096;

/// Names of libraries, which say nothing about who uses them.
const LIBRARIES: [&str; 2] = ["tonic", "grpc"];

impl Pipeline {
    /// The author of a write. `manager` is the field manager, where the request names one.
    pub(super) fn author(&self, context: &RequestContext, manager: &str) -> Author {
        let text = text(&context.user.name, manager, &context.user_agent);
        let mut authors = self.inner.authors.lock();
        if let Some(known) = authors.get(text.as_str()) {
            return known.clone();
        }
        if authors.len() >= MOST {
            authors.clear();
        }
        let author = Author::from(text);
        authors.insert(author.clone());
        author
    }
}

fn text(user: &str, manager: &str, agent: &str) -> String {
    let agent = agent.split(['/', '-', ' ']).next().unwrap_or_default();
    let tool = match manager {
        "" if LIBRARIES.contains(&agent) => "",
        "" => agent,
        manager => manager,
    };
    let clean = |text: &str| text.replace(char::is_control, " ");
    if tool.is_empty() { clean(user) } else { format!("{}\t{}", clean(user), clean(tool)) }
}

/// User and manager of what the store kept.
pub(super) fn parts(author: &str) -> (&str, &str) {
    author.split_once('\t').unwrap_or((author, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_author_is_a_user_and_what_it_wrote_with() {
        for (user, manager, agent, expected) in [
            ("admin", "", "kubectl/v1.36 (linux)", ("admin", "kubectl")),
            ("admin", "cox", "tonic/0.14", ("admin", "cox")),
            ("admin", "", "tonic/0.14", ("admin", "")),
            ("ad\tmin", "", "", ("ad min", "")),
        ] {
            assert_eq!(parts(&text(user, manager, agent)), expected, "{user} {manager} {agent}");
        }
    }
}
