//! controllers: runs every reconcile loop of the cluster. All logic is in the library.

use std::process::ExitCode;

use component::{Failure, Spec};
use controllers::{Args, Config};

component::allocator!();

fn main() -> ExitCode {
    let args: Args = match component::parse() {
        Ok(args) => args,
        Err(code) => return code,
    };
    let common = args.common.clone();
    component::main(&Spec::new("controllers", 10257), &common, async move |daemon| {
        let config = Config::try_from(args).map_err(Failure::config)?;
        Ok(controllers::run(config, daemon).await?)
    })
}
