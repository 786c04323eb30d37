//! Collects what the types and fields of Kubernetes are for: the doc comments of the k8s-openapi crate, which carry the
//! descriptions of the official OpenAPI document. Nothing of that crate ends up in the program but those sentences,
//! and nothing of it is kept in this repository. Read by `src/openapi/descriptions.rs`.
//!
//! The sources are found through the list of files that the compiler wrote when it compiled the crate: that needs
//! no second run of cargo, and holds for vendored sources too.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

// Not called: it has to be there.
use k8s_openapi as _;

/// The version of Kubernetes whose types are read; the same that `Cargo.toml` asks the crate for.
const VERSION: &str = "v1_36";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sources = sources()?.join(VERSION);
    let mut files = Vec::new();
    collect(&sources, &mut files)?;
    files.sort();
    let mut out = String::new();
    for file in &files {
        describe(&fs::read_to_string(file)?, &mut out);
    }
    if out.is_empty() {
        return Err(format!("no descriptions in {}", sources.display()).into());
    }
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("descriptions.txt"), out)?;
    println!("cargo:rerun-if-changed=build.rs");
    Ok(())
}

/// The `src` of the crate that this script was linked with.
fn sources() -> io::Result<PathBuf> {
    let program = env::current_exe()?;
    // DIR/build/api-HASH/build-script-build, and DIR/deps/k8s_openapi-HASH.d
    let missing = || io::Error::other("no list of the files of k8s-openapi beside the build script");
    let deps = program.ancestors().nth(3).ok_or_else(missing)?.join("deps");
    let mut lists: Vec<PathBuf> = fs::read_dir(&deps)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    lists.retain(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("k8s_openapi-") && path.extension().is_some_and(|extension| extension == "d")
    });
    lists.sort();
    for list in lists {
        let text = fs::read_to_string(list)?;
        let root = text.split_whitespace().map(Path::new).find(|path| {
            path.ends_with("src/lib.rs") && path.parent().is_some_and(|src| src.join(VERSION).is_dir())
        });
        if let Some(src) = root.and_then(Path::parent) {
            return Ok(src.to_owned());
        }
    }
    Err(missing())
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// Writes the descriptions of one file: `=TYPE`, its description, then `NAME description` for each field, one line
/// each. A line break within is written as `\n`.
fn describe(source: &str, out: &mut String) {
    let Some(name) =
        source.lines().next().and_then(|line| line.strip_prefix("// Generated from definition "))
    else {
        return;
    };
    let mut comment: Vec<&str> = Vec::new();
    let mut of_type = None;
    let mut fields: Vec<(&str, String)> = Vec::new();
    let mut names: Vec<(&str, &str)> = Vec::new();
    for line in source.lines().skip(1) {
        let line = line.trim();
        if let Some(text) = line.strip_prefix("///") {
            comment.push(text.strip_prefix(' ').unwrap_or(text));
            continue;
        }
        if line.starts_with("#[") {
            continue;
        }
        // `"hostIP" => Field::Key_host_ip,`
        if let Some((json, rust)) = line.split_once(" => Field::Key_") {
            names.push((rust.trim_end_matches(','), json.trim_matches('"')));
        }
        if let Some(declared) = line.strip_prefix("pub ") {
            if declared.starts_with("struct ") || declared.starts_with("enum ") {
                of_type.get_or_insert_with(|| plain(&comment));
            } else if let Some((field, _)) = declared.split_once(": ") {
                fields.push((field, plain(&comment)));
            }
        }
        comment.clear();
    }
    let _ = writeln!(out, "={name}\n{}", of_type.unwrap_or_default());
    for (field, text) in fields.iter().filter(|(_, text)| !text.is_empty()) {
        if let Some((_, json)) = names.iter().find(|(rust, _)| rust == field) {
            let _ = writeln!(out, "{json} {text}");
        }
    }
}

/// A doc comment as it was before it was escaped for rustdoc, on one line.
fn plain(comment: &[&str]) -> String {
    let text = comment.join("\\n").replace(r"\\\\", "\u{1}");
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, characters.peek()) {
            ('\\', Some('[' | ']' | '<' | '>' | '*' | '_' | '`' | '\\')) => {}
            ('\u{1}', _) => out.push('\\'),
            _ => out.push(character),
        }
    }
    out
}
