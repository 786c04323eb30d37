//! Compiles the part of etcd's API that the etcd backend speaks, from /proto, with a pure-Rust protobuf compiler.
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let files = ["kv", "watch", "auth"].map(|f| root.join(format!("etcdserverpb/{f}.proto")));
    let descriptors = protox::compile(&files, [&root])?;
    tonic_prost_build::configure().build_server(false).bytes(".").compile_fds(descriptors)?;
    println!("cargo:rerun-if-changed={}", root.join("etcdserverpb").display());
    Ok(())
}
