//! Exec, attach, port-forward and cp, by today's kubectl (WebSocket) and by Debian's 1.20 (SPDY).

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use e2e::{Host, Output, PATIENCE, get, is_ready, run};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;

use serde_json::Value;

use super::services::TODAY;

/// A pod that has what `kubectl cp` needs.
const SHELL: &str = "
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - {name: c, image: busybox, command: [sh, -c, 'touch /tmp/up; sleep 3600'],
       readinessProbe: {exec: {command: [cat, /tmp/up]}, periodSeconds: 1}}
    - {name: other, image: busybox, command: [sleep, '3600']}
";

/// Today's, and an old one where it is there.
fn programs() -> Result<Vec<PathBuf>> {
    let Some(old) = std::env::var_os("COXSWAIN_OLD_KUBECTL") else {
        bail!("COXSWAIN_OLD_KUBECTL is not set: scripts/test does");
    };
    Ok(vec!["kubectl".into(), old.into()])
}

/// One kubectl in one namespace.
struct Kubectl<'h> {
    host: &'h Host,
    program: PathBuf,
    namespace: &'static str,
}

impl Kubectl<'_> {
    async fn run(&self, arguments: &[&str], input: &str) -> Result<Output> {
        let all = [&["--namespace", self.namespace], arguments].concat();
        let done = self.host.kubectl_at(&self.program, &all, input);
        tokio::time::timeout(PATIENCE, done)
            .await
            .with_context(|| format!("{} {arguments:?} does not end", self.program.display()))?
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--namespace", self.namespace]).args(arguments);
        command.env("KUBECONFIG", self.host.kubeconfig()).kill_on_drop(true);
        command
    }
}

pub async fn a_command_in_a_container_is_as_one_beside_it(host: &Host) -> Result<()> {
    let ns = host.namespace("exec").await?;
    ns.apply(SHELL).await?;
    ns.wait("pods", "p", "ready", is_ready).await?;
    let long: String = (0..150_000).map(|line| format!("line {line}\n")).collect();
    for program in programs()? {
        let kubectl = Kubectl { host, program, namespace: "exec" };
        let both = ["exec", "p", "-c", "c", "--", "sh", "-c", "echo out; echo err >&2; exit 7"];
        let ended = kubectl.run(&both, "").await?;
        ensure!(ended.code == Some(7) && ended.stdout == "out\n", "{ended:?}");
        ensure!(ended.stderr.starts_with("err\n"), "{ended:?}");

        // The end of standard input is seen inside, and nothing is lost on either way.
        let copied = kubectl.run(&["exec", "-i", "p", "-c", "c", "--", "cat"], &long).await?.ok()?;
        ensure!(copied == long, "{} bytes of {}", copied.len(), long.len());
        let other = ["exec", "p", "-c", "other", "--", "hostname"];
        ensure!(kubectl.run(&other, "").await?.ok()? == "p\n");

        let missing = kubectl.run(&["exec", "p", "-c", "c", "--", "no-such-command"], "").await?;
        ensure!(matches!(missing.code, Some(126 | 127)), "{missing:?}");
        let nowhere = kubectl.run(&["exec", "p", "-c", "nope", "--", "ls"], "").await?.refused()?;
        ensure!(nowhere.contains("nope"), "{nowhere}");

        // A terminal of the size of the one that kubectl runs in.
        let inside = "sleep 1; busybox stty size; busybox tty; exit 3";
        let outside = format!(
            "stty rows 31 cols 97; {} -n exec exec -it p -c c -- sh -c '{inside}'; echo code $?",
            kubectl.program.display()
        );
        let mut script = Command::new("script");
        script
            .args(["-qec", &outside, "/dev/null"])
            .env("KUBECONFIG", host.kubeconfig())
            .env("SHELL", "/bin/sh");
        let screen =
            tokio::time::timeout(PATIENCE, run(&mut script, "")).await.context("a terminal ends")??;
        ensure!(screen.stdout.contains("31 97") && screen.stdout.contains("code 3"), "{screen:?}");
        ensure!(screen.stdout.contains("/dev/pts/"), "{screen:?}");
    }
    Ok(())
}

pub async fn a_command_ends_with_its_client(host: &Host) -> Result<()> {
    let ns = host.namespace("gone").await?;
    ns.apply(SHELL).await?;
    ns.wait("pods", "p", "ready", is_ready).await?;
    for (program, seconds) in programs()?.into_iter().zip(["12345", "12346"]) {
        let kubectl = Kubectl { host, program, namespace: "gone" };
        let script = format!("echo up; exec sleep {seconds}");
        let arguments = ["exec", "p", "-c", "c", "--", "sh", "-c", &script];
        let mut client = kubectl.command(&arguments).stdout(Stdio::piped()).spawn()?;
        let mut up = [0; 3];
        client.stdout.take().context("a pipe")?.read_exact(&mut up).await?;
        client.kill().await?;
        let mut look = tokio::time::interval(Duration::from_millis(200));
        let ended = async {
            loop {
                look.tick().await;
                let processes = kubectl.run(&["exec", "p", "-c", "c", "--", "ps"], "").await?.ok()?;
                if !processes.contains(seconds) {
                    return anyhow::Ok(());
                }
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.context("the command ends with its client")??;
    }
    Ok(())
}

pub async fn files_are_copied_both_ways(host: &Host) -> Result<()> {
    let ns = host.namespace("copy").await?;
    ns.apply(SHELL).await?;
    ns.wait("pods", "p", "ready", is_ready).await?;
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let bytes: Vec<u8> =
        (0..3_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::write(path("there"), &bytes)?;
    for program in programs()? {
        let kubectl = Kubectl { host, program, namespace: "copy" };
        kubectl.run(&["cp", &path("there"), "p:/tmp/file", "-c", "c"], "").await?.ok()?;
        kubectl.run(&["cp", "p:/tmp/file", &path("back"), "-c", "c"], "").await?.ok()?;
        ensure!(std::fs::read(path("back"))? == bytes, "what comes back is what went there");
        std::fs::remove_file(path("back"))?;
        kubectl.run(&["exec", "p", "-c", "c", "--", "rm", "/tmp/file"], "").await?.ok()?;
    }
    Ok(())
}

pub async fn the_first_process_is_joined(host: &Host) -> Result<()> {
    let ns = host.namespace("attach").await?;
    let script = "read line; echo got $line; sleep 1";
    let started = async |name: &str| {
        ns.apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{restartPolicy: Never, containers: [{{name: c, image: busybox, stdin: true, stdinOnce: true, command: [sh, -c, '{script}']}}]}}"
        ))
        .await?;
        ns.wait("pods", name, "running", |pod| pod["status"]["phase"] == "Running").await
    };
    for (program, name) in programs()?.into_iter().zip(["new", "old"]) {
        started(name).await?;
        let kubectl = Kubectl { host, program, namespace: "attach" };
        let joined = kubectl.run(&["attach", "-i", name], "a line\n").await?.ok()?;
        ensure!(joined.contains("got a line"), "{joined}");
        ns.wait("pods", name, "done", |pod| pod["status"]["phase"] == "Succeeded").await?;
    }
    started("cox").await?;
    let joined = ns.cox("attach -i cox", "a line\n").await?.ok()?;
    ensure!(joined.contains("got a line"), "{joined}");
    ns.wait("pods", "cox", "done", |pod| pod["status"]["phase"] == "Succeeded").await?;
    Ok(())
}

pub async fn ports_are_forwarded(host: &Host) -> Result<()> {
    let ns = host.namespace("forward").await?;
    ns.apply(TODAY).await?;
    let pods = ns.ready_pods("app=web", 2).await?;
    let pod = format!("pod/{}", pods[0]["metadata"]["name"].as_str().unwrap_or_default());
    for program in programs()? {
        let kubectl = Kubectl { host, program, namespace: "forward" };
        let address = forward(&kubectl, &[&pod, ":80"]).await?;
        let all = (0..20).map(|_| get(&address.at, "/"));
        for answer in futures_util::future::join_all(all).await {
            ensure!(answer?.body.contains("nginx"));
        }
        drop(address);
        // What nobody listens on is refused, and told.
        let mut closed = forward(&kubectl, &[&pod, ":81"]).await?;
        ensure!(get(&closed.at, "/").await.is_err(), "nobody listens");
        let mut told = String::new();
        let stderr = closed.client.stderr.as_mut().context("a pipe")?;
        let read = BufReader::new(stderr).read_line(&mut told).await;
        ensure!(read? > 0 && told.contains("refused"), "{told}");
    }
    Ok(())
}

pub async fn pods_and_services_answer_through_the_apiserver(host: &Host) -> Result<()> {
    let ns = host.namespace("proxied").await?;
    ns.apply(TODAY).await?;
    let pods = ns.ready_pods("app=web", 2).await?;
    let pod = pods[0]["metadata"]["name"].as_str().unwrap_or_default();
    let services = ns.api("services")?.list("proxied", &client::ListParams::default()).await?;
    let services: Vec<Value> = services.items.iter().map(|item| item.decode()).collect::<Result<_, _>>()?;
    let service = services[0]["metadata"]["name"].as_str().context("a Service")?;
    let port = &services[0]["spec"]["ports"][0]["port"];
    ns.first_answer(&ns.service(service).await?).await?;
    for place in [format!("pods/{pod}:80"), format!("services/{service}:{port}")] {
        let path = format!("/api/v1/namespaces/proxied/{place}/proxy/");
        let page = ns.kubectl(&format!("get --raw {path}")).await?.ok()?;
        ensure!(page.contains("Welcome to nginx!"), "{path}: {page}");
        let missing = ns.kubectl(&format!("get --raw {path}nothing-here")).await?.refused()?;
        ensure!(missing.contains("could not find") || missing.contains("NotFound"), "{missing}");
    }
    Ok(())
}

pub async fn cox_speaks_with_processes_and_ports_too(host: &Host) -> Result<()> {
    let ns = host.namespace("coxstreams").await?;
    ns.apply(SHELL).await?;
    ns.wait("pods", "p", "ready", is_ready).await?;
    let cox = async |arguments: &[&str], input: &str| {
        host.cox(&[&["--namespace", "coxstreams"], arguments].concat(), input).await
    };
    let ended =
        cox(&["exec", "p", "-c", "c", "--", "sh", "-c", "echo out; echo err >&2; exit 7"], "").await?;
    ensure!(ended.code == Some(7) && ended.stdout == "out\n" && ended.stderr == "err\n", "{ended:?}");
    let copied = cox(&["exec", "-i", "p", "-c", "c", "--", "cat"], "some words").await?.ok()?;
    ensure!(copied == "some words", "{copied}");
    let refused = cox(&["exec", "p", "--", "ls"], "").await?.refused()?;
    ensure!(refused.contains("a container name must be specified"), "{refused}");
    ns.apply(TODAY).await?;
    ns.ready_pods("app=web", 2).await?;
    let arguments = ["--namespace", "coxstreams", "port-forward", "deploy/web", ":80"];
    let forwarded = forwarding(&mut host.cox_command(&arguments)).await?;
    ensure!(get(&forwarded.at, "/").await?.body.contains("nginx"));
    Ok(())
}

/// A kubectl that forwards, until it is dropped.
struct Forwarded {
    client: tokio::process::Child,
    /// On this machine.
    at: String,
}

async fn forward(kubectl: &Kubectl<'_>, arguments: &[&str]) -> Result<Forwarded> {
    forwarding(&mut kubectl.command(&[&["port-forward", "--address=127.0.0.1"], arguments].concat())).await
}

/// Starts a program that says first where it listens.
async fn forwarding(command: &mut Command) -> Result<Forwarded> {
    let mut client = command.kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(client.stdout.take().context("a pipe")?).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.context("a port")??;
    let line = line.context("kubectl says where it listens")?;
    let at = line.split_whitespace().nth(2).with_context(|| line.clone())?.to_owned();
    // What it says later is read by nobody, and must not end it.
    let mut rest = lines.into_inner();
    component::spawn(&component::Shutdown::new(), "kubectl", async move {
        let _ended = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
    });
    Ok(Forwarded { client, at })
}
