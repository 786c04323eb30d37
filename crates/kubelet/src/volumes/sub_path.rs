//! `subPath`: a part of a volume, which must stay in the volume whatever links a pod puts there, and whenever.
//!
//! The path is opened by the kernel, which refuses to leave the volume on the way (`openat2`, `RESOLVE_BENEATH`), and
//! what was opened is mounted at a place of our own. Only that place is given to the runtime: a link that is put in
//! the path between the check and the mount changes nothing.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, fstat, mkdirat};

use super::{VolumeError, is_mount_point};

/// Opens a part of a volume and mounts it at `target`; a part that is absent is made, as a folder. Blocking.
pub fn bind(volume: &Path, sub_path: &str, target: &Path) -> Result<PathBuf, VolumeError> {
    let opened = open_beneath(volume, sub_path)?;
    let io = |source: io::Error| VolumeError::Io { path: target.to_owned(), source };
    place(&opened, target).map_err(io)?;
    Ok(target.to_owned())
}

/// Opens a part of a volume without leaving it.
pub(super) fn open_beneath(volume: &Path, sub_path: &str) -> Result<OwnedFd, VolumeError> {
    let refused = || VolumeError::SubPath(sub_path.to_owned());
    let path = Path::new(sub_path);
    if path.components().any(|part| !matches!(part, Component::Normal(_))) {
        return Err(refused());
    }
    let failed = |error: Errno| match error {
        Errno::EXDEV | Errno::ELOOP => refused(),
        error => VolumeError::Io { path: volume.join(sub_path), source: error.into() },
    };
    let root = open(volume, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).map_err(failed)?;
    match beneath(root.as_fd(), path) {
        Err(Errno::ENOENT) => {}
        opened => return opened.map_err(failed),
    }
    // New folders are as open as the volume is.
    let mode = fs::metadata(volume).map_or(0o750, |metadata| metadata.permissions().mode() & 0o777);
    let mut walked = root;
    let mut gone = PathBuf::new();
    for part in path.components() {
        gone.push(part);
        walked = match beneath(walked.as_fd(), Path::new(part.as_os_str())) {
            Err(Errno::ENOENT) => {
                match mkdirat(&walked, part.as_os_str(), Mode::from_bits_truncate(mode)) {
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(error) => return Err(failed(error)),
                }
                let made = beneath(walked.as_fd(), Path::new(part.as_os_str())).map_err(failed)?;
                // The umask has nothing to say here.
                let known = PathBuf::from(format!("/proc/self/fd/{}", made.as_raw_fd()));
                let open = fs::Permissions::from_mode(mode);
                fs::set_permissions(known, open)
                    .map_err(|source| VolumeError::Io { path: volume.join(&gone), source })?;
                made
            }
            opened => opened.map_err(failed)?,
        };
    }
    Ok(walked)
}

fn beneath(folder: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    loop {
        match openat2(folder, path, how) {
            // Something was renamed while the kernel looked.
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            opened => return opened,
        }
    }
}

/// Mounts what was opened at a place of the same kind, instead of what was there.
fn place(opened: &OwnedFd, target: &Path) -> io::Result<()> {
    if is_mount_point(target) {
        umount2(target, MntFlags::MNT_DETACH)?;
    }
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    let is_folder = fstat(opened)?.st_mode & nix::libc::S_IFMT == nix::libc::S_IFDIR;
    match fs::symlink_metadata(target) {
        Ok(known) if known.is_dir() == is_folder => {}
        Ok(known) if known.is_dir() => fs::remove_dir(target)?,
        Ok(_) => fs::remove_file(target)?,
        Err(_) => {}
    }
    if is_folder {
        fs::create_dir_all(target)?;
    } else if !target.exists() {
        fs::File::create(target)?;
    }
    let source = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
    mount(Some(&source), target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)?;
    Ok(())
}
