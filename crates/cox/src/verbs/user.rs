//! `cox user`: lets people in, each with a token of their own, and takes tokens back.
//!
//! The token is made here and kept nowhere but in the kubeconfig: the cluster has its hash, in a Secret of
//! `kube-system`, and forgets whom it lets in when that is deleted.

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use client::{DeleteOptions, ListParams, WriteOptions};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Session;
use super::target::{dynamic, resource};
use crate::cli::{Global, UserAddArgs, UserArgs, UserCommand, UserRemoveArgs};
use crate::error::CoxError;
use crate::output::Out;

const NAMESPACE: &str = "kube-system";
const TYPE: &str = "coxswain.io/user-token";
const LABEL: &str = "coxswain.io/user-token";
const DAY: Duration = Duration::from_secs(24 * 3600);

pub(crate) async fn user(global: &Global, args: &UserArgs, out: &mut Out) -> Result<(), CoxError> {
    match &args.command {
        UserCommand::Add(args) => add(global, args, out).await,
        UserCommand::Remove(args) => remove(global, args, out).await,
    }
}

async fn add(global: &Global, args: &UserAddArgs, out: &mut Out) -> Result<(), CoxError> {
    let session = Session::open(global)?;
    let id = hex(&rand::random::<[u8; 5]>());
    let token = format!("cox-{id}.{}", hex(&rand::random::<[u8; 32]>()));
    let expires = Timestamp::now() + DAY * args.days;
    let api = dynamic(&session.client, &*resource("secrets")?);
    api.create(NAMESPACE, &secret(args, &id, &token, expires), &WriteOptions::default()).await?;

    let mut config = Session::config(global, None)?;
    config.identity = None;
    config.token = Some(token);
    config.user_name.clone_from(&args.name);
    if let Some(namespace) = &global.namespace {
        config.namespace.clone_from(namespace);
    }
    let file =
        args.filename.clone().unwrap_or_else(|| format!("{}.kubeconfig", file_name(&args.name)).into());
    config.write(&file)?;
    out.line(&format!("export KUBECONFIG={}", file.display()));
    Ok(())
}

/// What the cluster is told.
fn secret(args: &UserAddArgs, id: &str, token: &str, expires: Timestamp) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": format!("user-token-{id}"), "labels": {LABEL: "true"}},
        "type": TYPE,
        "stringData": {
            "username": args.name,
            "groups": args.groups.join(","),
            "expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "sha256": hex(&Sha256::digest(token)),
        },
    })
}

async fn remove(global: &Global, args: &UserRemoveArgs, out: &mut Out) -> Result<(), CoxError> {
    let session = Session::open(global)?;
    let api = dynamic(&session.client, &*resource("secrets")?);
    let params = ListParams { labels: format!("{LABEL}=true"), ..ListParams::default() };
    let mut count = 0;
    for found in api.list(NAMESPACE, &params).await?.items {
        let secret: Value = found.decode()?;
        if !is_of(&secret, &args.name) {
            continue;
        }
        let name = secret["metadata"]["name"].as_str().unwrap_or_default();
        api.delete(NAMESPACE, name, &DeleteOptions::default()).await?;
        count += 1;
    }
    if count == 0 {
        return Err(CoxError::Failed(format!("no token lets {:?} in", args.name)));
    }
    out.line(&format!("{}: {count} tokens taken back", args.name));
    Ok(())
}

fn is_of(secret: &Value, user: &str) -> bool {
    secret["type"] == TYPE && secret["data"]["username"] == STANDARD.encode(user).as_str()
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A name of which a file can be made.
fn file_name(user: &str) -> String {
    user.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.@".contains(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_is_told_who_and_until_when_but_not_the_token() {
        let args = UserAddArgs {
            name: "ann".to_owned(),
            groups: vec!["dev".to_owned(), "ops".to_owned()],
            days: 1,
            filename: None,
        };
        let secret = secret(&args, "ab", "cox-ab.hidden", "2026-11-24T12:00:00Z".parse().unwrap());
        assert_eq!(secret["metadata"]["name"], "user-token-ab");
        assert_eq!(secret["stringData"]["groups"], "dev,ops");
        assert_eq!(secret["stringData"]["expiration"], "2026-11-24T12:00:00Z");
        assert!(!secret.to_string().contains("hidden"));
        let stored = json!({"type": TYPE, "data": {"username": "YW5u"}});
        assert!(is_of(&stored, "ann") && !is_of(&stored, "an"));
        assert_eq!(file_name("a/b c@d"), "a_b_c@d");
    }
}
