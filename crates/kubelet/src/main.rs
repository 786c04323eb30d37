//! kubelet: runs the pods of one node. All logic is in the library.

use std::process::ExitCode;

use component::{Failure, Spec, Threads};
use kubelet::{Args, Config};

component::allocator!();

fn main() -> ExitCode {
    let args: Args = match component::parse() {
        Ok(args) => args,
        Err(code) => return code,
    };
    let common = args.common.clone();
    let mut spec = Spec::new("kubelet", 10248).with_threads(Threads::Workers(2));
    if args.cleanup {
        spec = spec.without_endpoints();
    }
    component::main(&spec, &common, async move |context| {
        let cleanup = args.cleanup;
        let config = Config::try_from(args).map_err(Failure::config)?;
        if cleanup {
            kubelet::cleanup(&config).await?;
            context.shutdown.trigger();
            return Ok(());
        }
        Ok(kubelet::run(config, context).await?)
    })
}
