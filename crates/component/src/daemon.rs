//! The frame of every daemon: arguments, runtime, log, signals, endpoints, drain, exit code.

use std::error::Error;
use std::ffi::OsString;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser};
use futures_util::FutureExt as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};

use crate::health::Question;
use crate::logging::{self, LogFormat};
use crate::{Endpoints, ErrorChain, Health, Metrics, SharedClock, Shutdown, SystemClock, spawn};

/// How long tasks may take to end after SIGTERM, unless the daemon's [`Spec`] says otherwise.
const GRACE: Duration = Duration::from_secs(10);

/// The exit code for a configuration that cannot work (`EX_USAGE`).
const EXIT_CONFIG: u8 = 64;

/// The arguments that every daemon has. Flatten them into the daemon's own.
#[derive(Debug, Clone, Default, Args)]
pub struct CommonArgs {
    /// How log lines are written.
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// How much is logged: 0 state changes, 4 each reconcile, 6 everything.
    #[arg(short, long = "v", default_value_t = 0, value_name = "LEVEL")]
    pub verbosity: u8,
    /// Where health and metrics are served over plain HTTP.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics_bind_address: Option<SocketAddr>,
}

/// How many threads run the daemon's tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// The main thread only: least memory.
    Current,
    /// This many workers.
    Workers(usize),
}

/// What a daemon is, for [`main()`].
#[derive(Debug, Clone)]
pub struct Spec {
    /// As `scheduler`.
    pub name: &'static str,
    /// How many threads run its tasks.
    pub threads: Threads,
    /// The port on 127.0.0.1 for health and metrics where no address is given; `None` serves none then.
    pub metrics_port: Option<u16>,
    /// How long tasks may take to end after SIGTERM.
    pub grace: Duration,
}

impl Spec {
    /// A daemon on one thread that serves metrics on `metrics_port`.
    pub fn new(name: &'static str, metrics_port: u16) -> Self {
        Self { name, threads: Threads::Current, metrics_port: Some(metrics_port), grace: GRACE }
    }

    /// The same with worker threads.
    #[must_use]
    pub fn with_threads(mut self, threads: Threads) -> Self {
        self.threads = threads;
        self
    }

    /// The same without an endpoint of its own: the daemon serves health and metrics elsewhere.
    #[must_use]
    pub fn without_endpoints(mut self) -> Self {
        self.metrics_port = None;
        self
    }
}

/// What a daemon runs with. In tests it is made with [`Context::for_tests`].
#[derive(Clone)]
pub struct Context {
    /// Ends the daemon.
    pub shutdown: Shutdown,
    /// Where checks are registered.
    pub health: Health,
    /// Where metrics are registered.
    pub metrics: Metrics,
    /// The machine's clock.
    pub clock: SharedClock,
}

impl Context {
    /// A context of its own, with nothing served.
    pub fn for_tests() -> Self {
        Self {
            shutdown: Shutdown::new(),
            health: Health::new(),
            metrics: Metrics::new(),
            clock: SystemClock::shared(),
        }
    }
}

/// Why a daemon ended badly. `?` makes a [`Failure::Run`] of any error.
#[derive(Debug)]
pub enum Failure {
    /// The configuration cannot work: exit code 64, and no use in starting it again.
    Config(Box<dyn Error + Send + Sync>),
    /// Something else: exit code 1.
    Run(Box<dyn Error + Send + Sync>),
}

impl Failure {
    /// The configuration cannot work. For `map_err`.
    pub fn config(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Config(error.into())
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Run(Box::new(error))
    }
}

/// Reads the command line; an error (or `--help`) is printed and becomes the exit code to return from `main`.
pub fn parse<A: Parser>() -> Result<A, ExitCode> {
    parse_from(std::env::args_os())
}

fn parse_from<A: Parser>(arguments: impl IntoIterator<Item = OsString>) -> Result<A, ExitCode> {
    A::try_parse_from(arguments).map_err(|error| {
        let _nowhere_to_report = error.print();
        if error.use_stderr() { ExitCode::from(EXIT_CONFIG) } else { ExitCode::SUCCESS }
    })
}

/// Runs a daemon: makes the runtime and the log, serves the endpoints, runs `run` until it ends or SIGTERM or
/// SIGINT comes, and drains. Exit codes: 0 when it was asked to end, 64 for a bad configuration, 1 otherwise.
///
/// `run` may return as soon as its tasks are started; the daemon then lives until it is asked to end.
pub fn main<F, Fut>(spec: &Spec, args: &CommonArgs, run: F) -> ExitCode
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<(), Failure>>,
{
    logging::init(args.log_format, args.verbosity);
    // The allocator asks for huge pages, of which a daemon with little to do fills a small part: half of the resident
    // memory was that. A kernel that cannot refuse them is no reason not to start.
    let _ = nix::sys::prctl::set_thp_disable(true);
    // Both may have been done already, by a library or a test: the first one stands.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let reason = panic.payload_as_str().unwrap_or("no message");
        error!(%place, %reason, "panic");
    }));
    let runtime = match spec.threads {
        Threads::Current => tokio::runtime::Builder::new_current_thread(),
        Threads::Workers(workers) => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(workers);
            builder
        }
    }
    .max_blocking_threads(16)
    .enable_all()
    .build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(supervise(spec, args, run));
            // Blocking tasks that still run (a DNS look-up, say) must not hold up the exit.
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            error!(error = %ErrorChain(&error), "make the runtime");
            ExitCode::FAILURE
        }
    }
}

async fn supervise<F, Fut>(spec: &Spec, args: &CommonArgs, run: F) -> ExitCode
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = Result<(), Failure>>,
{
    let context = Context {
        shutdown: Shutdown::new(),
        health: Health::new(),
        metrics: Metrics::new(),
        clock: SystemClock::shared(),
    };
    let shutdown = context.shutdown.clone();
    info!(daemon = spec.name, version = env!("CARGO_PKG_VERSION"), started = %context.clock.now(), "starting");
    let started = async {
        watch_signals(&shutdown)?;
        let default = spec.metrics_port.map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
        if let Some(address) = args.metrics_bind_address.or(default) {
            let listener = TcpListener::bind(address).await.map_err(|source| Bind { address, source })?;
            let endpoints = Endpoints { health: context.health.clone(), metrics: context.metrics.clone() };
            crate::endpoints::serve(listener, endpoints, &shutdown);
        }
        let stopping = shutdown.clone();
        // From SIGTERM on, no new work.
        context.health.register_fn("shutdown", Question::Ready, move || {
            if stopping.is_triggered() { Err("shutting down".to_owned()) } else { Ok(()) }
        });
        match AssertUnwindSafe(run(context)).catch_unwind().await {
            Ok(result) => result,
            // The panic itself is in the log already.
            Err(_) => Err(Panicked.into()),
        }
    };
    tokio::pin!(started);
    let mut result = tokio::select! {
        result = &mut started => Some(result),
        () = shutdown.triggered() => None,
    };
    if let Some(Ok(())) = result {
        shutdown.triggered().await;
    }
    shutdown.trigger();
    // `run` sees the same shutdown: what it does last (a final sync) happens beside the tasks.
    let finish = async {
        if result.is_none() {
            result = tokio::time::timeout(spec.grace, started).await.ok();
        }
    };
    let (drained, ()) = tokio::join!(shutdown.drain(spec.grace), finish);
    if !drained {
        warn!(tasks = shutdown.task_count(), "tasks still run at the end of the grace period");
    }
    match result {
        Some(Err(Failure::Config(error))) => {
            error!(error = %ErrorChain(error.as_ref()), "bad configuration");
            ExitCode::from(EXIT_CONFIG)
        }
        Some(Err(Failure::Run(error))) => {
            error!(error = %ErrorChain(error.as_ref()), "failed");
            ExitCode::FAILURE
        }
        Some(Ok(())) | None => match shutdown.failure() {
            Some(reason) => {
                error!(%reason, "failed");
                ExitCode::FAILURE
            }
            None => {
                info!(daemon = spec.name, "stopped");
                ExitCode::SUCCESS
            }
        },
    }
}

#[derive(Debug, thiserror::Error)]
#[error("listen on the metrics address {address}")]
struct Bind {
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

#[derive(Debug, thiserror::Error)]
#[error("panicked")]
struct Panicked;

fn watch_signals(shutdown: &Shutdown) -> Result<(), std::io::Error> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stopping = shutdown.clone();
    spawn(shutdown, "signals", async move {
        tokio::select! {
            _ = terminate.recv() => info!("SIGTERM, draining"),
            _ = interrupt.recv() => info!("SIGINT, draining"),
            () = stopping.triggered() => {}
        }
        stopping.trigger();
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Daemon {
        #[command(flatten)]
        common: CommonArgs,
    }

    fn arguments(text: &str) -> Result<Daemon, ExitCode> {
        parse_from(text.split(' ').map(OsString::from))
    }

    #[test]
    fn the_common_arguments_are_read() {
        let args = arguments("d --log-format json -v 4 --metrics-bind-address 127.0.0.1:0").expect("good");
        assert_eq!((args.common.log_format, args.common.verbosity), (LogFormat::Json, 4));
        assert_eq!(arguments("d --v=2").expect("the long form of Kubernetes").common.verbosity, 2);
        assert_eq!(
            format!("{:?}", arguments("d --nonsense").unwrap_err()),
            format!("{:?}", ExitCode::from(64))
        );
    }

    #[test]
    fn the_exit_code_says_how_it_ended() {
        let args = CommonArgs::default();
        let spec = Spec::new("test", 0);
        let code = |result: Result<(), Failure>, asked: bool| {
            let code = main(&spec, &args, async move |context: Context| {
                if asked {
                    context.shutdown.trigger();
                }
                result
            });
            format!("{code:?}")
        };
        assert_eq!(code(Ok(()), true), format!("{:?}", ExitCode::SUCCESS));
        assert_eq!(code(Err(Failure::config("no")), false), format!("{:?}", ExitCode::from(64)));
        assert_eq!(code(Err(std::io::Error::other("x").into()), false), format!("{:?}", ExitCode::FAILURE));
        let panicked = main(&spec, &args, async |_: Context| -> Result<(), Failure> { panic!("as planned") });
        assert_eq!(format!("{panicked:?}"), format!("{:?}", ExitCode::FAILURE));
        let panicked = main(&spec, &args, async |context: Context| {
            spawn(&context.shutdown, "bad", async { panic!("as planned") });
            Ok(())
        });
        assert_eq!(format!("{panicked:?}"), format!("{:?}", ExitCode::FAILURE));
    }
}
