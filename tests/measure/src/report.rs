//! The table that is printed: what was measured, and how it compares.

use std::process::ExitCode;

/// What is better: a smaller number, or a larger one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Better {
    Less,
    More,
}

/// What Kubernetes 1.36 with etcd 3.4 did on a machine with as many cores, load generator included: the best of its runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) f64, pub(crate) Better);

/// All rows, in the order of their measurement.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<String>,
}

impl Report {
    /// Adds a row, and shows it at once: the next one may take a while.
    pub(crate) fn row(&mut self, what: &str, value: f64, unit: &str, peer: Option<Peer>) {
        let number = |value: f64| match value {
            value if value >= 100.0 => format!("{value:.0}"),
            value if value >= 10.0 => format!("{value:.1}"),
            value => format!("{value:.2}"),
        };
        let (theirs, ratio) = peer.map_or_else(Default::default, |Peer(theirs, better)| {
            let ratio = match better {
                Better::Less => theirs / value,
                Better::More => value / theirs,
            };
            (format!("{} {unit}", number(theirs)), format!("{ratio:.1} times better"))
        });
        let row = format!("| {what} | {} {unit} | {theirs} | {ratio} |", number(value));
        show(&mut std::io::stderr(), &row);
        self.rows.push(row);
    }

    /// Prints the table, and why it is not whole if it is not.
    pub(crate) fn print(&self, measured: &anyhow::Result<()>) -> ExitCode {
        let out = &mut std::io::stdout();
        show(out, "| | Coxswain | Kubernetes 1.36, etcd 3.4 | |\n|---|---|---|---|");
        for row in &self.rows {
            show(out, row);
        }
        match measured {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                show(&mut std::io::stderr(), &format!("stopped: {error:?}"));
                ExitCode::FAILURE
            }
        }
    }
}

/// A line for whoever listens.
fn show(out: &mut impl std::io::Write, line: &str) {
    let _nobody_listens = writeln!(out, "{line}").and_then(|()| out.flush());
}
