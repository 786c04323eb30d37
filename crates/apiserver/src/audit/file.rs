//! The file that records go to: for its owner only, and begun anew when it is large.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::AuditArgs;

const MEGABYTE: u64 = 1024 * 1024;

/// As in kube-apiserver.
const DEFAULT_MEGABYTES: u64 = 100;

/// How the time stands in the name of an old file.
const STAMP: &str = "%Y-%m-%dT%H-%M-%S.%3f";

/// An open log.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
    most: u64,
    backups: usize,
    age: Option<Duration>,
}

impl LogFile {
    pub(super) fn open(path: &Path, args: &AuditArgs) -> io::Result<Self> {
        let file = append(path)?;
        let size = file.metadata()?.len();
        let megabytes = if args.audit_log_maxsize == 0 { DEFAULT_MEGABYTES } else { args.audit_log_maxsize };
        let days = args.audit_log_maxage;
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
            most: megabytes * MEGABYTE,
            backups: args.audit_log_maxbackup,
            age: (days > 0).then(|| Duration::from_secs(days * 24 * 3600)),
        })
    }

    /// Appends a line, in one write.
    pub(super) fn write(&mut self, line: &[u8], now: Timestamp) -> io::Result<()> {
        if self.size > 0 && self.size + line.len() as u64 > self.most {
            self.rotate(now)?;
        }
        self.file.write_all(line)?;
        self.size += line.len() as u64;
        Ok(())
    }

    fn rotate(&mut self, now: Timestamp) -> io::Result<()> {
        let (prefix, suffix) = self.parts();
        let old = self.path.with_file_name(format!("{prefix}{}{suffix}", now.strftime(STAMP)));
        fs::rename(&self.path, old)?;
        self.file = append(&self.path)?;
        self.size = 0;
        self.remove_old(now)
    }

    /// What stands before and after the time in the names of old files.
    fn parts(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
        let suffix = text(self.path.extension()).map(|extension| format!(".{extension}")).unwrap_or_default();
        (format!("{}-", text(self.path.file_stem()).unwrap_or_default()), suffix)
    }

    fn remove_old(&self, now: Timestamp) -> io::Result<()> {
        let (prefix, suffix) = self.parts();
        let Some(directory) = self.path.parent() else { return Ok(()) };
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let mut old = Vec::new();
        for entry in fs::read_dir(directory)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let stamp = name.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(&suffix));
            let time = stamp.and_then(|stamp| jiff::civil::DateTime::strptime(STAMP, stamp).ok());
            let time = time.and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC).ok());
            old.extend(time.map(|time| (time.timestamp(), name)));
        }
        old.sort_by(|left, right| right.cmp(left));
        for (at, (time, name)) in old.into_iter().enumerate() {
            let too_many = self.backups > 0 && at >= self.backups;
            if too_many || self.age.is_some_and(|age| time + age < now) {
                fs::remove_file(directory.join(name))?;
            }
        }
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_that_is_full_is_put_aside_and_old_ones_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let args = AuditArgs { audit_log_maxbackup: 2, audit_log_maxage: 1, ..AuditArgs::default() };
        let mut log = LogFile::open(&path, &args).unwrap();
        log.most = 10;
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let at = |seconds: u64| now + Duration::from_secs(seconds);
        log.write(b"123456\n", at(0)).unwrap();
        assert_eq!(names(directory.path()), ["audit.log"]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for second in 1..=3 {
            log.write(b"123456\n", at(second)).unwrap();
        }
        let kept = ["audit-2026-11-24T12-00-02.000.log", "audit-2026-11-24T12-00-03.000.log", "audit.log"];
        assert_eq!(names(directory.path()), kept);
        log.write(b"123456\n", at(2 * 24 * 3600)).unwrap();
        assert_eq!(names(directory.path()), ["audit-2026-11-26T12-00-00.000.log", "audit.log"]);
        let mut again = LogFile::open(&path, &args).unwrap();
        again.write(b"x\n", at(0)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"123456\nx\n");
    }
}
