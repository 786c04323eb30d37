//! scheduler: binds pods to nodes. All logic is in the library.

use std::process::ExitCode;

use component::{Failure, Spec};
use scheduler::{Args, Config};

component::allocator!();

fn main() -> ExitCode {
    let args: Args = match component::parse() {
        Ok(args) => args,
        Err(code) => return code,
    };
    let common = args.common.clone();
    component::main(&Spec::new("scheduler", 10259), &common, async move |daemon| {
        let config = Config::try_from(args).map_err(Failure::config)?;
        Ok(scheduler::run(config, daemon).await?)
    })
}
