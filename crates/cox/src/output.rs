//! What is printed, and where: results on standard output, the rest on standard error.

use std::io::{self, Write};

/// The two streams of a command. Tests give their own.
pub(crate) struct Out {
    results: Box<dyn Write>,
    messages: Box<dyn Write>,
}

impl Out {
    /// The streams of this process.
    pub(crate) fn standard() -> Self {
        Self { results: Box::new(io::stdout()), messages: Box::new(io::stderr()) }
    }

    /// A line of the result. A reader that has gone away (`| head`) ends the command quietly, as it should.
    pub(crate) fn line(&mut self, text: &str) {
        self.bytes(format!("{text}\n").as_bytes());
    }

    /// Bytes of the result, as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        if self.results.write_all(bytes).and_then(|()| self.results.flush()).is_err() {
            std::process::exit(0);
        }
    }

    /// Bytes that a command in a container wrote to its standard error.
    pub(crate) fn error_bytes(&mut self, bytes: &[u8]) {
        let _nowhere_to_report = self.messages.write_all(bytes).and_then(|()| self.messages.flush());
    }

    /// Something that the user should know.
    pub(crate) fn message(&mut self, text: &str) {
        let _nowhere_to_report = writeln!(self.messages, "{text}");
    }

    /// Why the command failed.
    pub(crate) fn error(&mut self, text: &str) {
        self.message(&format!("error: {text}"));
    }

    /// Rows under a header, in columns as wide as they need to be, three spaces apart.
    pub(crate) fn table(&mut self, rows: &[Vec<String>]) {
        for line in columns(rows) {
            self.line(&line);
        }
    }
}

/// Lays rows out in columns.
pub(crate) fn columns(rows: &[Vec<String>]) -> Vec<String> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max())
        .map(|width| width.unwrap_or(0))
        .collect();
    let lay = |row: &Vec<String>| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width + 3 - cell.chars().count()));
        }
        line.trim_end().to_owned()
    };
    rows.iter().map(lay).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows =
            [["NAME", "READY"], ["web-1", "1/1"], ["x", "0/1"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(columns(&rows), ["NAME    READY", "web-1   1/1", "x       0/1"]);
    }
}
