//! The server as a whole: what is opened at the start, in which order, and what is closed at the end.
//!
//! Read on: [`listener`] for connections, [`app`] for what handlers share, [`mod@encryption`] for Secrets on the disk.

mod app;
mod encryption;
mod listener;
mod restore;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use api::status::Status;
use component::health::Question;
use component::tls::{self, ClientCertificates, TlsError};
use component::{Context, ErrorChain, spawn};
use store::{Backend, Bucket, EtcdOptions, LogOptions, OpenError, Options, Store, Window};
use tokio::net::TcpListener;
use tracing::{info, warn};

pub(crate) use app::App;
pub use encryption::EncryptionError;
pub(crate) use encryption::{Encryption, SEALED};
pub(crate) use listener::{Body, Peer, empty, full};
pub use restore::{RestoreFailure, restore};

use self::listener::Tls;

use crate::audit::{Audit, AuditError};
use crate::authn::{self, Authenticator, Certificates, FrontProxy, TokenFile, TokenFileError};
use crate::authz::{self, Authorization};
use crate::bootstrap::Bootstrap;
use crate::certificates;
use crate::config::{Config, EtcdStore, StoreKind};
use crate::logs::Kubelets;
use crate::pipeline::{self, EXPIRE_EVERY, Parts, Pipeline, RandomNames};
use crate::pki::{Kubeconfigs, Pki, PkiError, Place};

/// How long connections may take to finish after shutdown before the store is closed under them.
const DRAIN: Duration = Duration::from_secs(8);

/// What watches can go back to with a store in etcd: unlike a log it is not read again for them.
const ETCD_WINDOW: Window = Window { events: 65_536, bytes: 32 << 20 };

/// How often the server looks whether its certificates are to be renewed.
const RENEW_EVERY: Duration = Duration::from_secs(12 * 3600);

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("listen on {address}")]
    Bind {
        /// Which address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Keys and certificates.
    #[error("prepare keys and certificates")]
    Pki(#[source] PkiError),
    /// The audit log.
    #[error("open the audit log")]
    Audit(#[source] AuditError),
    /// The file of tokens.
    #[error("read the tokens of --token-auth-file")]
    TokenFile(#[source] TokenFileError),
    /// The authority of front proxies.
    #[error("read {}", file.display())]
    FrontProxies {
        /// Which file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// TLS.
    #[error("set up TLS")]
    Tls(#[source] TlsError),
    /// Encryption at rest.
    #[error("prepare encryption")]
    Encryption(#[source] EncryptionError),
    /// A file for the connection to etcd.
    #[error("read {}", file.display())]
    EtcdFile {
        /// Which file.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The store.
    #[error("open the store")]
    Store(#[source] OpenError),
    /// The store's thread ended without an answer.
    #[error("open the store: it panicked")]
    StorePanicked,
    /// The store has a part of a backup only.
    #[error("a restore was interrupted: the store has a part of the backup only; restore again")]
    HalfRestored,
    /// What must exist from the first second could not be made.
    #[error("make the first objects")]
    Bootstrap(#[source] Status),
}

/// A running server.
pub struct Server {
    address: SocketAddr,
    kubeconfigs: Kubeconfigs,
    pipeline: Pipeline,
    connections: listener::Connections,
    context: Context,
}

impl Server {
    /// Opens everything and starts to serve. When this returns, requests are answered.
    pub async fn start(config: Config, context: Context) -> Result<Self, StartError> {
        let listening = context.health.register("poststarthook/bootstrap");
        let bound = async {
            let listener = TcpListener::bind(config.bind).await?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) =
            bound.await.map_err(|source| StartError::Bind { address: config.bind, source })?;

        let now = context.clock.now();
        let place =
            Place { data_dir: config.data_dir.clone(), listening: address, advertise: config.advertise, now };
        let pki = Pki::open(&place).map_err(StartError::Pki)?;
        let proxies = FrontProxy::new(front_proxies(&config, &pki)?, &config.authn);
        let clients = authorities(&pki, &proxies);
        let certificates =
            Certificates::new(pki.authority.certificate_pem().as_bytes(), proxies.authority.as_bytes());
        let certificates = certificates.map_err(StartError::Tls)?;
        let tls = Tls::new(tls_config(&pki, &clients).map_err(StartError::Tls)?, certificates);
        let kubelets = Kubelets::new(&pki);
        let Pki { authority, kubeconfigs, tokens, proxy_client, .. } = pki;
        let announced = proxies.announced(authority.certificate_pem());
        let token_file = config.authn.token_auth_file.as_deref().map(TokenFile::read).transpose();
        let token_file = token_file.map_err(StartError::TokenFile)?.unwrap_or_default();

        let encryption = encryption(&config.store)?;
        let store = open(&config, encryption.as_ref(), &context).await?;
        if store::was_interrupted(&store.snapshot()) {
            return Err(StartError::HalfRestored);
        }
        let watched = store.clone();
        // The name under which monitoring looks for the store of an apiserver.
        context.health.register_fn("etcd", Question::Live, move || alive(&watched));
        let reached = store.clone();
        let reachable = move || reached.reachable().map_err(|reason| reason.to_string());
        context.health.register_fn("etcd-readiness", Question::Ready, reachable);
        let pipeline = Pipeline::new(Parts {
            store: store.clone(),
            authorizer: Arc::new(Authorization::new(&store)),
            authn: Arc::new(
                Authenticator::new(&store, tokens.clone(), token_file).with_front_proxies(proxies),
            ),
            names: Arc::new(RandomNames),
        });
        pipeline.allow_webhooks(config.webhooks.clone());
        let bootstrap = Bootstrap { address: config.advertise, port: address.port(), now };
        bootstrap.run(&pipeline).await.map_err(StartError::Bootstrap)?;
        bootstrap.front_proxies(&pipeline, announced).await.map_err(StartError::Bootstrap)?;
        pipeline.settle_definitions(now).await;
        listening.ok();

        let audit = Audit::open(&config.audit, context.clock.clone()).map_err(StartError::Audit)?;
        let account_secrets = authn::secrets::Tokens {
            pipeline: pipeline.clone(),
            key: tokens,
            authority: authority.certificate_pem().to_owned(),
        };
        let authority = Arc::new(authority);
        let app = App::new(app::Inputs {
            pipeline: pipeline.clone(),
            context: context.clone(),
            authority: authority.clone(),
            proxy_client,
            allowed: config.webhooks,
            // Several servers have the keys of what is in etcd: none of them can change them for all.
            encryption: encryption.filter(|_| matches!(config.store, StoreKind::Local(_))),
            kubelets,
            audit,
            address: SocketAddr::new(config.advertise, address.port()),
        });
        let aggregator = app.aggregator.clone();
        renew(place, &tls, clients, &app, &context);
        let connections = listener::serve(listener, tls, app, &context.shutdown);
        aggregator.start(&context);
        certificates::start(certificates::Certificates { pipeline: pipeline.clone(), authority }, &context);
        authz::aggregation::start(&pipeline, &context);
        authn::secrets::start(account_secrets, &context);
        maintain(&pipeline, bootstrap, &context);
        info!(%address, revision = store.snapshot().revision().0, "serving");
        Ok(Self { address, kubeconfigs, pipeline, connections, context })
    }

    /// The address that is listened on, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As `https://127.0.0.1:6443`.
    pub fn url(&self) -> &str {
        &self.kubeconfigs.admin.server
    }

    /// How the components connect.
    pub fn kubeconfigs(&self) -> &Kubeconfigs {
        &self.kubeconfigs
    }

    /// What the transports are shells over.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Waits for shutdown, until all connections have finished, and closes the store.
    pub async fn finished(self) {
        self.context.shutdown.triggered().await;
        if tokio::time::timeout(DRAIN, self.connections.finished()).await.is_err() {
            warn!("connections are still open at the end of the drain");
        }
        self.pipeline.store().close().await;
    }
}

/// The keys of a store that lasts.
fn encryption(kind: &StoreKind) -> Result<Option<Encryption>, StartError> {
    match kind {
        StoreKind::Memory => Ok(None),
        StoreKind::Local(beside) | StoreKind::Etcd(EtcdStore { beside, .. }) => {
            Encryption::open(beside).map(Some).map_err(StartError::Encryption)
        }
    }
}

async fn open(
    config: &Config,
    encryption: Option<&Encryption>,
    context: &Context,
) -> Result<Store, StartError> {
    let kind = &config.store;
    let backend = match (kind, encryption) {
        (StoreKind::Local(dir), Some(encryption)) => {
            Backend::Log(LogOptions { history_bytes: config.history_bytes, ..encryption.log(dir) })
        }
        (StoreKind::Etcd(etcd), encryption) => {
            let options = etcd.options().map_err(|(file, source)| StartError::EtcdFile { file, source })?;
            Backend::Etcd(EtcdOptions { seal: encryption.map(Encryption::seal), ..options })
        }
        (StoreKind::Local(_), None) | (StoreKind::Memory, _) => Backend::Memory,
    };
    let mut options = Options::new(backend, pipeline::extract());
    if let StoreKind::Etcd(_) = kind {
        options.window = ETCD_WINDOW;
    }
    let clock = context.clock.clone();
    options.clock = Arc::new(move || SystemTime::from(clock.now()));
    // Reading a large log takes a while, and the threads here have other things to do.
    match tokio::task::spawn_blocking(move || Store::open(options)).await {
        Ok(opened) => opened.map_err(StartError::Store),
        Err(_panicked) => Err(StartError::StorePanicked),
    }
}

/// Whether the store goes on: when it is closed, by a disk that failed or at the end, its watches end.
fn alive(store: &Store) -> Result<(), String> {
    let newest = store.snapshot().revision();
    let watch = store.watch(&Bucket::from("namespaces"), newest, None);
    let news = watch.and_then(|mut watch| watch.try_next());
    news.map(|_| ()).map_err(|error| error.to_string())
}

/// The authority of front proxies (PEM): that of the flag, or our own.
fn front_proxies(config: &Config, pki: &Pki) -> Result<String, StartError> {
    match &config.authn.requestheader_client_ca_file {
        None => Ok(pki.front_proxy.certificate_pem().to_owned()),
        Some(file) => std::fs::read_to_string(file)
            .map_err(|source| StartError::FrontProxies { file: file.clone(), source }),
    }
}

/// Those who sign the certificates of clients (PEM).
fn authorities(pki: &Pki, proxies: &FrontProxy) -> String {
    format!("{}\n{}", pki.authority.certificate_pem(), proxies.authority)
}

fn tls_config(pki: &Pki, clients: &str) -> Result<rustls::ServerConfig, TlsError> {
    tls::server_config(&pki.serving, clients.as_bytes(), ClientCertificates::Optional)
}

/// Renews certificates long before they expire, for a server that is not started anew for half a year.
fn renew(place: Place, tls: &Tls, clients: String, app: &App, context: &Context) {
    if place.data_dir.is_none() {
        return;
    }
    let (tls, app, clock) = (tls.clone(), app.clone(), context.clock.clone());
    let stopping = context.shutdown.clone();
    spawn(&context.shutdown, "certificates", async move {
        loop {
            tokio::select! {
                () = stopping.triggered() => return,
                () = tokio::time::sleep(RENEW_EVERY) => {}
            }
            let place = Place { now: clock.now(), ..place.clone() };
            // A few small files, twice a day.
            match Pki::open(&place) {
                Ok(pki) => {
                    match tls_config(&pki, &clients) {
                        Ok(config) => tls.renew(config),
                        Err(error) => warn!(error = %ErrorChain(&error), "show the renewed certificate"),
                    }
                    app.kubelets.renew(&pki);
                    app.aggregator.renew(pki.proxy_client);
                }
                Err(error) => warn!(error = %ErrorChain(&error), "renew certificates"),
            }
        }
    });
}

/// Deletes events whose time is over, and announces the API anew where that was deleted, now and then.
fn maintain(pipeline: &Pipeline, bootstrap: Bootstrap, context: &Context) {
    let (pipeline, clock, stopping) = (pipeline.clone(), context.clock.clone(), context.shutdown.clone());
    spawn(&context.shutdown, "maintenance", async move {
        let mut ticks = tokio::time::interval(EXPIRE_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stopping.triggered() => return,
                _ = ticks.tick() => {}
            }
            match pipeline.expire_events(clock.now()).await {
                Ok(0) => {}
                Ok(count) => info!(count, "expired events"),
                Err(status) => warn!(error = %ErrorChain(&status), "expire events"),
            }
            pipeline.settle_definitions(clock.now()).await;
            let bootstrap = Bootstrap { now: clock.now(), ..bootstrap };
            if let Err(status) = bootstrap.announce(&pipeline).await {
                warn!(error = %ErrorChain(&status), "announce the API's address");
            }
        }
    });
}
