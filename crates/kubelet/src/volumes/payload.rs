//! Files that appear and change all at once: a new folder is filled, and a link is moved to it.
//!
//! The layout is that of Kubernetes, since programs watch it: `..data` leads to the current folder, and each file of
//! the volume is a link through `..data`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Component, Path};

/// The link to the current folder.
const DATA: &str = "..data";

/// A file of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its content.
    pub bytes: Vec<u8>,
    /// Its permissions.
    pub mode: u32,
    /// Whom it belongs to, where that is not root.
    pub user: Option<u32>,
}

impl File {
    /// A file of root.
    pub fn new(bytes: Vec<u8>, mode: u32) -> Self {
        Self { bytes, mode, user: None }
    }
}

/// Whom the files of a pod's volumes are for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Owner {
    /// Who all of the pod's containers run as.
    pub user: Option<u32>,
    /// `fsGroup`.
    pub group: Option<u32>,
}

/// The files of a volume, by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Payload(BTreeMap<String, File>);

impl Payload {
    /// Adds a file; a path that leaves the volume is refused.
    pub fn add(&mut self, path: &str, file: File) -> Result<(), String> {
        let inside = !path.is_empty()
            && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
            && !path.starts_with("..");
        if !inside {
            return Err(format!("invalid path \"{path}\""));
        }
        self.0.insert(path.to_owned(), file);
        Ok(())
    }

    /// Adds the files of another one.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Makes the volume at `path` show these files and no others. Does nothing where it does already. Blocking.
    pub fn write(&self, path: &Path, owner: Owner) -> io::Result<()> {
        fs::create_dir_all(path)?;
        let data = path.join(DATA);
        let current = fs::read_link(&data).ok();
        if current.is_some() && self.is_shown_by(&data) {
            return Ok(());
        }
        let number = current
            .as_deref()
            .and_then(|link| link.to_str()?.strip_prefix("..").and_then(|text| text.parse::<u64>().ok()))
            .map_or(1, |number| number + 1);
        let name = format!("..{number}");
        let folder = path.join(&name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
        for (file, content) in &self.0 {
            let target = folder.join(file);
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent)?;
            }
            let mut opened =
                fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&target)?;
            opened.write_all(&content.bytes)?;
            let mut mode = content.mode;
            if content.user.is_some() || owner.group.is_some() {
                chown(&target, content.user, owner.group)?;
            }
            if owner.group.is_some() {
                mode |= 0o440;
            }
            fs::set_permissions(&target, fs::Permissions::from_mode(mode))?;
        }
        // The switch: whoever reads sees all of the old files or all of the new ones.
        let next = path.join("..data_tmp");
        let _left_from_a_crash = fs::remove_file(&next);
        symlink(&name, &next)?;
        fs::rename(&next, &data)?;
        self.link_names(path)?;
        if let Some(old) = current {
            let _left_for_the_tear_down = fs::remove_dir_all(path.join(old));
        }
        Ok(())
    }

    fn is_shown_by(&self, data: &Path) -> bool {
        let Ok(files) = list(data, Path::new("")) else { return false };
        files.len() == self.0.len()
            && self
                .0
                .iter()
                .all(|(path, file)| fs::read(data.join(path)).is_ok_and(|bytes| bytes == file.bytes))
    }

    /// One link for each first component, and none for what is no longer there.
    fn link_names(&self, path: &Path) -> io::Result<()> {
        let first = |path: &String| path.split('/').next().unwrap_or_default().to_owned();
        let wanted: std::collections::BTreeSet<String> = self.0.keys().map(first).collect();
        for entry in fs::read_dir(path)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if !name.starts_with("..") && !wanted.contains(&name) {
                fs::remove_file(path.join(name))?;
            }
        }
        for name in wanted {
            let link = path.join(&name);
            if fs::symlink_metadata(&link).is_err() {
                symlink(Path::new(DATA).join(&name), link)?;
            }
        }
        Ok(())
    }
}

fn list(folder: &Path, below: &Path) -> io::Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            files.extend(list(folder, &path)?);
        } else {
            files.push(path.display().to_string());
        }
    }
    Ok(files)
}
