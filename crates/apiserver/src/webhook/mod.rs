//! Asking servers of others over HTTPS: where they are, whom to trust, and where they may be at all.
//!
//! Shared by admission webhooks and conversion webhooks; what is asked is theirs. Aggregated APIs are found in the same
//! way. A server is named by a URL or by a
//! Service, which is resolved to one of its ready endpoints in a snapshot. Redirects are not followed.
//!
//! Read on: [`place`] (where), [`networks`] (where not), [`connection`] (how).

mod connection;
mod networks;
mod place;

use std::time::Duration;

use api::field::quote;
use bytes::Bytes;
use parking_lot::RwLock;
use serde::Deserialize;
use store::Snapshot;

use self::connection::Connections;
pub(crate) use self::connection::trusting;
pub use self::networks::{Allowed, Network};
pub(crate) use self::place::of_service as place_of_service;

/// Where a webhook is (`clientConfig`).
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ClientConfig {
    pub(crate) url: Option<String>,
    pub(crate) service: Option<ServiceReference>,
    /// Base64 of PEM.
    pub(crate) ca_bundle: Option<String>,
}

/// A Service, and a path behind it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(default)]
pub(crate) struct ServiceReference {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) path: Option<String>,
    pub(crate) port: Option<u16>,
}

/// Asks webhooks; keeps connections to them.
#[derive(Default)]
pub(crate) struct Client {
    connections: Connections,
    allowed: RwLock<Allowed>,
}

impl Client {
    /// Lets webhooks be at these addresses from now on.
    pub(crate) fn allow(&self, allowed: Allowed) {
        *self.allowed.write() = allowed;
        self.connections.forget();
    }

    /// Sends a question and gives the body of the answer. What goes wrong is told as Kubernetes tells it.
    pub(crate) async fn ask(
        &self,
        config: &ClientConfig,
        snapshot: &Snapshot,
        limit: Duration,
        question: Bytes,
    ) -> Result<Bytes, String> {
        let allowed = self.allowed.read().clone();
        let place = place::find(config, snapshot, &allowed)?;
        let seconds = limit.as_secs();
        let post = self.connections.post(&place, seconds, config.ca_bundle.as_deref(), question, &allowed);
        let at = |why: String| format!("Post {}: {why}", quote(&place.url(seconds)));
        let answer = match tokio::time::timeout(limit, post).await {
            Ok(answer) => answer.map_err(at)?,
            Err(_) => return Err(at("context deadline exceeded".to_owned())),
        };
        match answer.code {
            200..=299 => Ok(answer.body),
            404 => Err("the server could not find the requested resource".to_owned()),
            503 => Err("the server is currently unable to handle the request".to_owned()),
            _ => {
                let text: String = String::from_utf8_lossy(&answer.body).trim().chars().take(200).collect();
                let text = quote(if text.is_empty() { "unknown" } else { &text });
                Err(format!("an error on the server ({text}) has prevented the request from succeeding"))
            }
        }
    }
}
