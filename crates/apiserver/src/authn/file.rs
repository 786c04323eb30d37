//! Tokens of a file (`--token-auth-file`): one user a line, `token,user,uid,"group1,group2"`.

use std::path::{Path, PathBuf};

use aws_lc_rs::constant_time;

use crate::pipeline::UserInfo;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// It cannot be read.
    #[error("read {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A line has fewer than three columns, or no token or name.
    #[error("{path}, line {line}: a token, a user and a uid are needed")]
    Line {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
}

/// The users of the file.
#[derive(Default)]
pub struct TokenFile(Vec<(String, UserInfo)>);

impl TokenFile {
    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self, TokenFileError> {
        let read = std::fs::read_to_string(path);
        let text = read.map_err(|source| TokenFileError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|line| TokenFileError::Line { path: path.to_owned(), line })
    }

    fn parse(text: &str) -> Result<Self, usize> {
        let mut users = Vec::new();
        let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
        for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let columns = columns(line);
            let [token, name, uid, rest @ ..] = columns.as_slice() else { return Err(number) };
            if token.is_empty() || name.is_empty() {
                return Err(number);
            }
            let groups = rest.first().map(String::as_str).unwrap_or_default();
            let groups = groups.split(',').map(str::trim).filter(|group| !group.is_empty());
            let user = UserInfo {
                name: name.clone(),
                uid: uid.clone(),
                groups: groups.map(str::to_owned).collect(),
                ..UserInfo::default()
            };
            users.push((token.clone(), user));
        }
        Ok(Self(users))
    }

    /// Whose token it is. Every token is compared, each in a time that does not depend on what is in it.
    pub(super) fn identify(&self, token: &str) -> Option<UserInfo> {
        let mut found = None;
        for (own, user) in &self.0 {
            if constant_time::verify_slices_are_equal(own.as_bytes(), token.as_bytes()).is_ok() {
                found = Some(user);
            }
        }
        found.cloned()
    }
}

/// The columns of a line; one in quotes may hold commas, and quotes that are doubled.
fn columns(line: &str) -> Vec<String> {
    let mut columns = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                columns.last_mut().expect("there is a first column").push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => columns.push(String::new()),
            other => columns.last_mut().expect("there is a first column").push(other),
        }
    }
    columns.into_iter().map(|column| column.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_user() {
        let text = "# people\nsecret1,alice,1,\"dev,ops\"\n\n secret2 , bob , 2\n";
        let file = TokenFile::parse(text).ok().unwrap();
        let alice = file.identify("secret1").unwrap();
        assert_eq!((alice.name.as_str(), alice.uid.as_str()), ("alice", "1"));
        assert_eq!(alice.groups, ["dev", "ops"]);
        assert_eq!(file.identify("secret2").unwrap().groups, Vec::<String>::new());
        assert_eq!(file.identify("secret"), None);
        assert_eq!(file.identify(""), None);
        for (text, line) in [("a,b", 1), ("x,y,1\n,bob,2", 2)] {
            assert_eq!(TokenFile::parse(text).err(), Some(line), "{text}");
        }
    }
}
