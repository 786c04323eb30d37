//! NFS shares, mounted by the `mount` command, which knows the helper for them.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::is_mount_point;
use crate::pod::NfsSource;

/// Mounts a share, where it is not mounted yet. Blocking, for as long as the server does not answer.
pub fn mount(source: &NfsSource, options: &[String], path: &Path) -> Result<(), String> {
    if is_mount_point(path) {
        return Ok(());
    }
    fs::create_dir_all(path).map_err(|error| format!("cannot make {}: {error}", path.display()))?;
    let mut arguments = vec!["-t".to_owned(), "nfs".to_owned()];
    let mut options = options.to_vec();
    if source.read_only {
        options.push("ro".to_owned());
    }
    if !options.is_empty() {
        arguments.extend(["-o".to_owned(), options.join(",")]);
    }
    // A source that looks like an option is none.
    let share = format!("{}:{}", source.server, source.path);
    arguments.extend(["--".to_owned(), share, path.display().to_string()]);
    let shown: Vec<&str> = arguments.iter().map(String::as_str).filter(|word| *word != "--").collect();
    let shown = shown.join(" ");
    let failed = |why: &str, output: &str| {
        format!(
            "mount failed: {why}\nMounting command: mount\nMounting arguments: {shown}\nOutput: {output}\n"
        )
    };
    match Command::new("mount").args(&arguments).env("LC_ALL", "C").output() {
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) => {
            let code = done.status.code().map_or("killed".to_owned(), |code| format!("exit status {code}"));
            Err(failed(&code, String::from_utf8_lossy(&done.stderr).trim()))
        }
        Err(error) => Err(failed(&error.to_string(), "")),
    }
}
