//! `fsGroup`: the files of a volume belong to the group that the pod names, which may write them.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown};
use std::path::Path;

use crate::pod::Pod;

/// What the group may do with files, and with folders beside.
const FILES: u32 = 0o660;
const FOLDERS: u32 = 0o2110;

/// Gives the files of a volume to the pod's group, as its change policy says. Links are not followed. Blocking.
pub fn apply(pod: &Pod, path: &Path) -> io::Result<()> {
    let Some(security) = &pod.spec.security_context else { return Ok(()) };
    let Some(group) = security.fs_group.and_then(|group| u32::try_from(group).ok()) else { return Ok(()) };
    let on_mismatch = security.fs_group_change_policy.as_deref() == Some("OnRootMismatch");
    if on_mismatch && fits(&fs::symlink_metadata(path)?, group) {
        return Ok(());
    }
    give(path, group)
}

/// Whether the root of a volume is as it shall be: then what is below counts as right, too.
fn fits(root: &fs::Metadata, group: u32) -> bool {
    let wanted = FILES | FOLDERS;
    root.gid() == group && root.mode() & wanted == wanted
}

/// The root comes last, so that it says that all is done.
fn give(path: &Path, group: u32) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            match give(&entry?.path(), group) {
                // A program that runs may take its files away meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result?,
            }
        }
    }
    if metadata.gid() != group {
        lchown(path, None, Some(group))?;
    }
    if metadata.is_symlink() {
        return Ok(());
    }
    let mode = metadata.mode() & 0o7777;
    let wanted = mode | FILES | if metadata.is_dir() { FOLDERS } else { 0 };
    // A change of the group may take bits away.
    fs::set_permissions(path, fs::Permissions::from_mode(wanted))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_volume_belongs_to_the_group_of_its_pod_and_is_not_walked_twice_for_nothing() {
        let root = tempfile::tempdir().expect("a folder");
        let volume = root.path().join("v");
        fs::create_dir_all(volume.join("deep")).expect("folders");
        fs::write(volume.join("deep/file"), "x").expect("a file");
        let outside = root.path().join("outside");
        fs::write(&outside, "x").expect("a file");
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o600)).expect("a mode");
        symlink(&outside, volume.join("link")).expect("a link");
        let pod = |policy: &str| -> Pod {
            let security = json!({"fsGroup": 4321, "fsGroupChangePolicy": policy});
            serde_json::from_value(json!({"spec": {"securityContext": security}})).expect("a pod")
        };
        apply(&pod("Always"), &volume).expect("given");
        let of = |path: &str| {
            let metadata = fs::symlink_metadata(volume.join(path)).expect("it is there");
            (metadata.gid(), metadata.mode() & 0o7777)
        };
        assert_eq!(of("deep/file"), (4321, 0o664));
        assert_eq!(of("deep"), (4321, 0o2775));
        assert_eq!(fs::metadata(&outside).expect("a file").mode() & 0o777, 0o600, "links are not followed");
        fs::write(volume.join("new"), "x").expect("a file");
        lchown(volume.join("new"), None, Some(0)).expect("a group");
        apply(&pod("OnRootMismatch"), &volume).expect("given");
        assert_eq!(of("new").0, 0, "the root fits");
        apply(&pod("Always"), &volume).expect("given");
        assert_eq!(of("new").0, 4321);
    }
}
