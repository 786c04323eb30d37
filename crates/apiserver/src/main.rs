//! apiserver: keeps the objects of the cluster and serves them. All logic is in the library.

use std::process::ExitCode;

use apiserver::config::{Args, Config};
use component::{Failure, Spec, Threads};

component::allocator!();

fn main() -> ExitCode {
    let args: Args = match component::parse() {
        Ok(args) => args,
        Err(code) => return code,
    };
    let (common, backup) = (args.common.clone(), args.restore.clone());
    let spec = Spec::new("apiserver", 0).with_threads(Threads::Workers(2)).without_endpoints();
    component::main(&spec, &common, async move |context| {
        let config = Config::try_from(args).map_err(Failure::config)?;
        match backup {
            Some(backup) => apiserver::restore(config, backup, context).await,
            None => apiserver::run(config, context).await,
        }
    })
}
