//! kube-proxy: turns Services into nftables maps. See the library beside this file.

use std::process::ExitCode;

use component::Spec;
use kube_proxy::{Args, Config, HEALTHZ_PORT};

component::allocator!();

fn main() -> ExitCode {
    let args = match component::parse::<Args>() {
        Ok(args) => args,
        Err(code) => return code,
    };
    let mut spec = Spec::new("kube-proxy", HEALTHZ_PORT);
    if args.cleanup {
        spec = spec.without_endpoints();
    }
    let common = args.common.clone();
    component::main(&spec, &common, async move |context| {
        kube_proxy::run(Config::try_from(args)?, context).await
    })
}
