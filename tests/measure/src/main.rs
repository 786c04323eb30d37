//! What `scripts/bench` measures: the real binaries, release build, beside what real Kubernetes needs.
//!
//! [`control_plane`] has the daemons alone, without a node; [`cluster`] has a whole cluster with its Docker Engine;
//! [`load`] makes the requests; [`report`] prints.

mod cluster;
mod control_plane;
mod load;
mod process;
mod report;

use std::process::ExitCode;

use report::Report;

#[tokio::main]
async fn main() -> ExitCode {
    let mut report = Report::default();
    let measured = async {
        control_plane::measure(&mut report).await?;
        cluster::measure(&mut report).await
    }
    .await;
    report.print(&measured)
}
