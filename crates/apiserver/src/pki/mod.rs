//! Keys and certificates: the cluster's certificate authority, what the server shows, and who may come in.
//!
//! ```text
//! DIR/pki/ca.crt, ca.key               made at the first start and kept
//! DIR/pki/apiserver.crt, .key          renewed when names or addresses change and long before it expires
//! DIR/pki/sa.key                       signs the tokens of service accounts; made at the first start and kept
//! DIR/pki/kubelet-client.crt, .key     shown to kubelets
//! DIR/pki/front-proxy-ca.crt, .key     signs who may say for whom a request is; made at the first start and kept
//! DIR/pki/front-proxy-client.crt, .key shown to the servers of aggregated APIs
//! DIR/{admin,scheduler,controllers}.kubeconfig
//! ```
//! Without a directory everything is made anew in memory, for tests. Every certificate begins an hour before it was
//! made, so that a clock that is a little behind accepts it. Read on: [`authority`] for signing, [`request`] for the
//! certificates of nodes.

pub mod authority;
mod files;
pub mod request;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use component::Kubeconfig;
use component::kubeconfig::{Identity, KubeconfigError};
use jiff::Timestamp;

pub use authority::{Authority, IssueError, Purpose, Subject};

use crate::authn::{KeyError, SigningKey};
use crate::config::{API_SERVICE_ADDRESS, CLUSTER_DOMAIN};

/// The name in the certificate that this server shows as a front proxy.
pub const FRONT_PROXY: &str = "front-proxy-client";

/// Why the keys and certificates could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file could not be read.
    #[error("read {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file could not be written.
    #[error("write {path}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The certificate authority's certificate is there without its key: nothing can be signed, and a new authority
    /// would lock everyone out.
    #[error("{0} is missing while its certificate is there")]
    MissingKey(PathBuf),
    /// A certificate could not be made.
    #[error("issue a certificate")]
    Issue(#[source] IssueError),
    /// The key that signs tokens.
    #[error("prepare the key of service accounts")]
    Tokens(#[source] KeyError),
    /// A kubeconfig could not be written.
    #[error("write a kubeconfig")]
    Kubeconfig(#[source] KubeconfigError),
}

/// Everything that the server signs with and shows.
pub struct Pki {
    /// Signs certificates.
    pub authority: Authority,
    /// What the server shows to its clients.
    pub serving: Identity,
    /// What the server shows to kubelets.
    pub kubelet_client: Identity,
    /// Signs the certificates of front proxies.
    pub front_proxy: Authority,
    /// What the server shows to the servers of aggregated APIs, which believe it who its users are.
    pub proxy_client: Identity,
    /// Signs the tokens of service accounts.
    pub tokens: Arc<SigningKey>,
    /// How the components connect.
    pub kubeconfigs: Kubeconfigs,
}

/// How the components connect, each with a client certificate of its own.
#[derive(Debug, Clone)]
pub struct Kubeconfigs {
    /// For people: may do everything.
    pub admin: Kubeconfig,
    /// For the scheduler.
    pub scheduler: Kubeconfig,
    /// For the controllers.
    pub controllers: Kubeconfig,
}

/// What the certificates are made for.
#[derive(Debug, Clone)]
pub struct Place {
    /// Where files are kept, if anywhere.
    pub data_dir: Option<PathBuf>,
    /// Where the server listens, its real port included.
    pub listening: SocketAddr,
    /// The address at which others reach it.
    pub advertise: IpAddr,
    /// The time.
    pub now: Timestamp,
}

impl Pki {
    /// Loads what is there, makes what is missing, renews what is about to expire or does not fit any more.
    pub fn open(place: &Place) -> Result<Self, PkiError> {
        let directory = place.data_dir.as_ref().map(|dir| dir.join("pki"));
        if let Some(directory) = &directory {
            files::make_private_directory(directory)?;
        }
        let directory = directory.as_deref();
        let authority = authority(directory, ("ca", "kubernetes"), place.now)?;
        let front_proxy = self::authority(directory, ("front-proxy-ca", "front-proxy-ca"), place.now)?;
        let proxy = Subject::client(FRONT_PROXY, None);
        let proxy_client = identity(directory, FRONT_PROXY, &front_proxy, &proxy, place.now)?;
        let serving = identity(directory, "apiserver", &authority, &server(place), place.now)?;
        let client = Subject::client("kube-apiserver-kubelet-client", Some("system:masters"));
        let kubelet_client = identity(directory, "kubelet-client", &authority, &client, place.now)?;
        let kubeconfig = |file: &str, subject: Subject| kubeconfig(place, file, &authority, &subject);
        let kubeconfigs = Kubeconfigs {
            admin: kubeconfig("admin", Subject::client("kubernetes-admin", Some("system:masters")))?,
            scheduler: kubeconfig("scheduler", Subject::client("system:kube-scheduler", None))?,
            controllers: kubeconfig("controllers", Subject::client("system:kube-controller-manager", None))?,
        };
        let tokens = Arc::new(tokens(directory)?);
        Ok(Self { authority, serving, kubelet_client, front_proxy, proxy_client, tokens, kubeconfigs })
    }
}

/// The names and addresses under which clients know the server.
fn server(place: &Place) -> Subject {
    let cluster = format!("kubernetes.default.svc.{CLUSTER_DOMAIN}");
    let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", &cluster];
    let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), API_SERVICE_ADDRESS];
    for address in [place.listening.ip(), place.advertise] {
        if !address.is_unspecified() && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Subject {
        common_name: "kube-apiserver".to_owned(),
        organization: None,
        names: names.map(str::to_owned).to_vec(),
        addresses,
        purpose: Purpose::Server,
    }
}

/// The authority of a file, or a new one of that name.
fn authority(
    directory: Option<&Path>,
    (file, name): (&str, &str),
    now: Timestamp,
) -> Result<Authority, PkiError> {
    let Some(directory) = directory else { return Authority::named(name, now).map_err(PkiError::Issue) };
    let (certificate, key) = (directory.join(format!("{file}.crt")), directory.join(format!("{file}.key")));
    match (files::read(&certificate)?, files::read(&key)?) {
        (Some(certificate), Some(key)) => Authority::load(&certificate, &key).map_err(PkiError::Issue),
        (Some(_), None) => Err(PkiError::MissingKey(key)),
        (None, _) => {
            // The key goes first: a start that was cut off between the two is simply done again.
            let authority = Authority::named(name, now).map_err(PkiError::Issue)?;
            files::write_private(&key, authority.key_pem().as_bytes())?;
            files::write_private(&certificate, authority.certificate_pem().as_bytes())?;
            Ok(authority)
        }
    }
}

fn tokens(directory: Option<&Path>) -> Result<SigningKey, PkiError> {
    let Some(directory) = directory else { return SigningKey::generate().map_err(PkiError::Tokens) };
    let path = directory.join("sa.key");
    if let Some(pem) = files::read(&path)? {
        return SigningKey::from_pem(&pem).map_err(PkiError::Tokens);
    }
    let key = SigningKey::generate().map_err(PkiError::Tokens)?;
    files::write_private(&path, key.to_pem().as_bytes())?;
    Ok(key)
}

fn identity(
    directory: Option<&Path>,
    name: &str,
    authority: &Authority,
    subject: &Subject,
    now: Timestamp,
) -> Result<Identity, PkiError> {
    let Some(directory) = directory else { return authority.issue(subject, now).map_err(PkiError::Issue) };
    let (certificate, key) = (directory.join(format!("{name}.crt")), directory.join(format!("{name}.key")));
    if let (Some(certificate), Some(key)) = (files::read(&certificate)?, files::read(&key)?) {
        let identity = Identity { certificate, key };
        if authority.vouches_for(&identity, subject, now) {
            return Ok(identity);
        }
    }
    let identity = authority.issue(subject, now).map_err(PkiError::Issue)?;
    files::write_private(&key, &identity.key)?;
    files::write_private(&certificate, &identity.certificate)?;
    Ok(identity)
}

fn kubeconfig(
    place: &Place,
    file: &str,
    authority: &Authority,
    subject: &Subject,
) -> Result<Kubeconfig, PkiError> {
    let host = match place.listening.ip() {
        address if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        address => address,
    };
    let server = format!("https://{}", SocketAddr::new(host, place.listening.port()));
    let ca = authority.certificate_pem().as_bytes();
    let path = place.data_dir.as_ref().map(|dir| dir.join(format!("{file}.kubeconfig")));
    let known = path.as_ref().and_then(|path| Kubeconfig::load(path).ok()).filter(|known| {
        let fits = |identity: &Identity| authority.vouches_for(identity, subject, place.now);
        known.server == server
            && known.certificate_authority == ca
            && known.identity.as_ref().is_some_and(fits)
    });
    if let Some(known) = known {
        return Ok(known);
    }
    let identity = authority.issue(subject, place.now).map_err(PkiError::Issue)?;
    let kubeconfig = Kubeconfig::new(server, ca, subject.common_name.clone(), identity);
    if let Some(path) = path {
        kubeconfig.write(path).map_err(PkiError::Kubeconfig)?;
    }
    Ok(kubeconfig)
}

#[cfg(test)]
mod tests;
