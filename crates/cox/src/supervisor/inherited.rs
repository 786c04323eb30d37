//! What the one who called `cox up` had open, and the daemons must not keep: a lock, a pipe that somebody reads to its
//! end, a file on a disk that is to be unmounted.

use std::os::fd::RawFd;
use std::path::Path;

/// Closes all that was inherited beside the three standard streams.
///
/// For the first lines of a program only: what the program itself has opened would be closed too.
pub(super) fn close_all() {
    for fd in open_descriptors(Path::new("/proc/self/fd")) {
        // The one that read the list is in it, and closed by now; nothing else can fail that could be mended.
        let _closed = nix::unistd::close(fd);
    }
}

/// The descriptors from 3 upwards that `folder` has names of; none where it cannot be read.
fn open_descriptors(folder: &Path) -> Vec<RawFd> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|fd| *fd > 2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_streams_stay() {
        let folder = tempfile::tempdir().expect("a directory");
        for name in ["0", "1", "2", "3", "17", "no number"] {
            std::fs::write(folder.path().join(name), "").expect("a file");
        }
        let mut found = open_descriptors(folder.path());
        found.sort_unstable();
        assert_eq!(found, [3, 17]);
        assert!(open_descriptors(&folder.path().join("none")).is_empty());
    }
}
