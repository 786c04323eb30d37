//! cox: the command line of Coxswain. See ARCHITECTURE.md.

use std::process::ExitCode;

component::allocator!();

fn main() -> ExitCode {
    match component::parse::<cox::Cli>() {
        Ok(cli) => cox::main(cli),
        Err(code) => code,
    }
}
