//! Python's client at work: `everyday.py` in an environment of its own, which is made with pip. Skipped where there is
//! no Python, or no package index to be reached.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clients::Served;

/// The client and its version.
const PACKAGE: &str = "kubernetes==37.0.2";

const SCRIPT: &str = include_str!("everyday.py");

fn run(command: &mut Command) -> Result<Output, String> {
    let shown = format!("{command:?}");
    let output = command.output().map_err(|error| format!("{shown}: {error}"))?;
    if output.status.success() {
        Ok(output)
    } else {
        Err(format!("{shown}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// An environment that has the client.
fn environment(directory: &Path) -> Result<PathBuf, String> {
    run(Command::new("python3").args(["-m", "venv"]).arg(directory))?;
    let python = directory.join("bin/python");
    run(Command::new(&python).args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--retries=1",
        "--timeout=10",
        PACKAGE,
    ]))?;
    Ok(python)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_works_unchanged() {
    let directory = tempfile::tempdir().expect("a directory");
    let python = match environment(&directory.path().join("venv")) {
        Ok(python) => python,
        Err(why) => {
            let line = format!("skipped: {PACKAGE} cannot be installed: {}\n", why.trim_end());
            std::io::stderr().write_all(line.as_bytes()).expect("a place for messages");
            return;
        }
    };
    let served = Served::start().await;
    let kubeconfig = served.kubeconfig_in(directory.path()).expect("written");
    let script = directory.path().join("everyday.py");
    std::fs::write(&script, SCRIPT).expect("written");
    let mut command = Command::new(python);
    command.arg(script).env("KUBECONFIG", kubeconfig).current_dir(directory.path());
    let ran = tokio::task::spawn_blocking(move || run(&mut command)).await.expect("it ends");
    if let Err(why) = ran {
        panic!("{why}");
    }
    served.stop().await;
}
