//! Rules about the text of one file. Each is a function from a file to complaints, tried below on bad samples.

use crate::{Complaint, File};

/// A longer file is two files.
pub const MOST_LINES: usize = 1000;
/// Files above this are named, not refused.
pub const MANY_LINES: usize = 600;

/// Whether `word` stands in `line` with no letter, digit or underscore beside it.
pub fn has_word(line: &str, word: &str) -> bool {
    words_at(line, word).next().is_some()
}

fn words_at<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        !line[..at].chars().next_back().is_some_and(part)
            && !line[at + word.len()..].chars().next().is_some_and(part)
    })
}

/// For each line whether it belongs to tests: files of tests as a whole, else the `#[cfg(test)]` items.
pub fn test_lines(file: &File) -> Vec<bool> {
    let count = file.text.lines().count();
    let whole = file.path.split('/').any(|part| part == "tests" || part == "tests.rs" || part == "testing");
    if whole || file.path.ends_with("/testing.rs") {
        return vec![true; count];
    }
    let mut marks = Vec::with_capacity(count);
    let mut end: Option<String> = None;
    let mut announced = false;
    for line in file.text.lines() {
        let indent = &line[..line.len() - line.trim_start().len()];
        if let Some(closing) = &end {
            marks.push(true);
            if line == closing {
                end = None;
            }
            continue;
        }
        announced |= line.trim_start().starts_with("#[cfg(test)]");
        marks.push(announced);
        if announced && !line.trim_start().starts_with("#[") {
            announced = false;
            // rustfmt closes an item at the indent that it opened at.
            end = line.ends_with('{').then(|| format!("{indent}}}"));
        }
    }
    marks
}

/// Every source says what it is for.
pub fn starts_with_doc(file: &File) -> Vec<Complaint> {
    let first = file.text.lines().next().unwrap_or_default();
    if first.starts_with("//! ") { vec![] } else { vec![Complaint::at(file, 1, "starts without //!")] }
}

/// No file is too long to read.
pub fn short_enough(file: &File) -> Vec<Complaint> {
    let lines = file.text.lines().count();
    if lines <= MOST_LINES { vec![] } else { vec![Complaint::at(file, lines, "more than 1,000 lines")] }
}

/// Words that no source may hold, and why.
const FORBIDDEN: &[(&str, &str)] = &[
    ("todo!", "unfinished: finish it or leave it out"),
    ("unimplemented!", "unfinished: finish it or leave it out"),
    ("dbg!", "a trace of debugging"),
    ("#[ignore", "a test that does not run is no test: tiers are separate targets"),
    ("#[should_panic", "assert on the error instead"),
    ("allow(dead_code", "what nothing uses is not there"),
    ("allow(unused", "what nothing uses is not there"),
];

/// Nothing unfinished, switched off or left over.
pub fn nothing_forbidden(file: &File) -> Vec<Complaint> {
    let code = |line: &str| !line.trim_start().starts_with("//");
    file.lines()
        .filter(|(_, line)| code(line))
        .flat_map(|(number, line)| {
            FORBIDDEN
                .iter()
                .filter(|(word, _)| line.contains(word))
                .map(move |(word, why)| Complaint::at(file, number, format!("{word}: {why}")))
        })
        .collect()
}

/// Tests wait for conditions, not for time to pass.
pub fn no_sleep_in_tests(file: &File) -> Vec<Complaint> {
    file.lines()
        .zip(test_lines(file))
        .filter(|((_, line), test)| *test && (line.contains("thread::sleep") || line.contains("time::sleep")))
        .map(|((number, _), _)| Complaint::at(file, number, "a test sleeps: wait for a condition"))
        .collect()
}

/// Tasks are named and tracked.
pub fn no_bare_spawn(file: &File) -> Vec<Complaint> {
    file.lines()
        .zip(test_lines(file))
        .filter(|((_, line), test)| {
            !test && ["tokio::spawn(", "task::spawn("].iter().any(|call| line.contains(call))
        })
        .map(|((number, _), _)| Complaint::at(file, number, "a bare spawn: use component::spawn"))
        .collect()
}

/// Files say nothing of the place and the tools they were written with.
pub fn no_workplace(file: &File) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (number, line) in file.lines() {
        for path in ["/work/", "/root/"] {
            let inside =
                |at: usize| line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}$*".contains(c));
            if line.match_indices(path).any(|(at, _)| !inside(at)) {
                complaints.push(Complaint::at(file, number, format!("{path}: a path of somebody's machine")));
            }
        }
        // Code may call its own things what it likes; words are about prose.
        let prose = !file.is("rs") || line.trim_start().starts_with("//");
        let lower = if prose { line.to_lowercase() } else { String::new() };
        for (word, before, after) in [
            (
                "session",
                &["tls ", "spdy ", "quic "][..],
                &[" affinity", "-affinity", " ticket", " of its own"][..],
            ),
            ("sessions", &["tls "], &[]),
            ("agent", &["user ", "user-", "user_"], &[]),
            ("agents", &["user ", "user-"], &[]),
        ] {
            let known = |at: usize| {
                before.iter().any(|text| lower[..at].ends_with(text))
                    || after.iter().any(|text| lower[at + word.len()..].starts_with(text))
            };
            if words_at(&lower, word).any(|at| !known(at)) {
                complaints.push(Complaint::at(file, number, format!("{word:?}: not a word of this project")));
            }
        }
    }
    complaints
}

/// Each message, service and call of the contract is explained.
pub fn contract_is_commented(file: &File) -> Vec<Complaint> {
    let mut commented = false;
    let mut complaints = Vec::new();
    for (number, line) in file.lines() {
        let line = line.trim();
        let needs = ["message ", "service ", "rpc ", "enum "].iter().any(|word| line.starts_with(word));
        if needs && !commented {
            complaints.push(Complaint::at(file, number, "without a comment"));
        }
        commented = line.starts_with("//");
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    #[track_caller]
    fn check(rule: fn(&File) -> Vec<Complaint>, path: &str, text: &str, lines: &[usize]) {
        let found: Vec<String> = rule(&file(path, text)).into_iter().map(|complaint| complaint.0).collect();
        assert_eq!(found.len(), lines.len(), "{found:?}");
        for (complaint, line) in found.iter().zip(lines) {
            assert!(complaint.starts_with(&format!("{path}:{line}: ")), "{complaint}");
        }
    }

    #[test]
    fn words_have_borders() {
        assert!(has_word("use sled::Db;", "sled"));
        assert!(!has_word("fn assembled() {}", "sled"));
        assert!(!has_word("let sled_dir = 1;", "sled"));
    }

    #[test]
    fn a_source_needs_its_first_line() {
        check(starts_with_doc, "a.rs", "use std::fmt;\n", &[1]);
        check(starts_with_doc, "a.rs", "//! What it is.\n", &[]);
    }

    #[test]
    fn long_files_are_refused() {
        check(short_enough, "a.rs", &"x\n".repeat(1001), &[1001]);
        check(short_enough, "a.rs", &"x\n".repeat(1000), &[]);
    }

    #[test]
    fn leftovers_are_found_in_code_and_allowed_in_comments() {
        check(nothing_forbidden, "a.rs", "// no todo!() here\nfn f() { todo!() }\n#[ignore]\n", &[2, 3]);
    }

    #[test]
    fn sleeping_is_for_daemons() {
        let text = "async fn f() {\n    tokio::time::sleep(d).await;\n}\n#[cfg(test)]\nmod tests {\n    fn g() {\n        std::thread::sleep(d);\n    }\n}\nfn h() {\n    std::thread::sleep(d);\n}\n";
        check(no_sleep_in_tests, "src/a.rs", text, &[7]);
        check(no_sleep_in_tests, "src/a/tests.rs", text, &[2, 7, 11]);
        check(
            no_sleep_in_tests,
            "src/a.rs",
            "#[cfg(test)]\nmod tests;\nfn f() { tokio::time::sleep(d) }\n",
            &[],
        );
    }

    #[test]
    fn bare_spawns_are_found_outside_tests() {
        check(no_bare_spawn, "src/a.rs", "fn f() {\n    tokio::spawn(x);\n}\n", &[2]);
        check(no_bare_spawn, "tests/a.rs", "fn f() {\n    tokio::spawn(x);\n}\n", &[]);
    }

    #[test]
    fn workplaces_are_found_and_affinity_is_not() {
        check(no_workplace, "a.md", "see /work/x\nsessionAffinity and session affinity\n", &[1]);
        check(
            no_workplace,
            "a.md",
            "the user agent of TLS sessions in crates/work/x\nan agent wrote this\n",
            &[2],
        );
    }

    #[test]
    fn the_contract_is_explained() {
        check(contract_is_commented, "a.proto", "// Words.\nmessage A {}\nmessage B {\n", &[3]);
    }
}
