//! The command line: the life cycle of a cluster on this machine, and the verbs of kubectl over gRPC.
//!
//! ```text
//! cli        what can be asked
//! cluster    up, down, status: starts, ends and looks at the supervisor; backup, restore, keys
//! supervisor the process behind `cox up`: starts the daemons and starts them again when they die
//! node       what a node's daemons need: keys, certificates, configuration
//! verbs      get, apply, delete, history, ...: each one a request or two
//! output     what is printed
//! ```

pub mod cli;
mod cluster;
mod error;
mod node;
mod output;
mod supervisor;
mod verbs;

use std::process::ExitCode;

pub use cli::Cli;
pub use error::CoxError;
use output::Out;

use crate::cli::Command;

/// Does what the command line asks and says how it went: 0, 1 for a failure, 64 for a request that makes no sense.
pub fn main(cli: Cli) -> ExitCode {
    // Before a runtime has files of its own open: the supervisor closes what it finds.
    if let Command::Supervise(args) = &cli.command {
        return supervisor::main(&cli.global, args);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            Out::standard().error(&format!("make the runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let mut out = Out::standard();
    match runtime.block_on(run(&cli, &mut out)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ CoxError::Command(_)) => ExitCode::from(error.exit_code()),
        Err(error) => {
            out.error(&component::ErrorChain(&error).to_string());
            ExitCode::from(error.exit_code())
        }
    }
}

async fn run(cli: &Cli, out: &mut Out) -> Result<(), CoxError> {
    let global = &cli.global;
    match &cli.command {
        Command::Up(args) => cluster::up(global, args, out).await,
        Command::Down(args) => cluster::down(global, args, out).await,
        Command::Status => cluster::status(global, out).await,
        Command::Backup(args) => cluster::backup(global, args, out).await,
        Command::Restore(args) => cluster::restore(global, args, out).await,
        Command::RotateKeys => cluster::rotate_keys(global, out).await,
        Command::History(args) => verbs::history(global, args, out).await,
        Command::Diff(args) => verbs::diff(global, args, out).await,
        Command::Undelete(args) => verbs::undelete(global, args, out).await,
        Command::User(args) => verbs::user(global, args, out).await,
        Command::Context(args) => verbs::context(global, args, out).await,
        Command::Export(args) => verbs::export(global, args, out).await,
        Command::Import(args) => verbs::import(global, args, out).await,
        Command::Supervise(_) => unreachable!("handled before there is a runtime"),
        Command::Apply(args) => verbs::apply(global, args, out).await,
        Command::Get(args) => verbs::get(global, args, out).await,
        Command::Describe(args) => verbs::describe(global, args, out).await,
        Command::Delete(args) => verbs::delete(global, args, out).await,
        Command::Scale(args) => verbs::scale(global, args, out).await,
        Command::Logs(args) => verbs::logs(global, args, out).await,
        Command::Exec(args) => verbs::exec(global, args, out).await,
        Command::Attach(args) => verbs::attach(global, args, out).await,
        Command::PortForward(args) => verbs::port_forward(global, args, out).await,
        Command::Rollout(args) => verbs::rollout(global, args, out).await,
    }
}
