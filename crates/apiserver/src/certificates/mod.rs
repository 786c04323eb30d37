//! CertificateSigningRequests: who asks, who may say yes and who may sign, and the signers of Kubernetes themselves.
//!
//! ```text
//! create ─> who asks is written into it (asking) ─> approval: by somebody with the right, or by the node's own right
//!        ─> signed by the cluster's authority (signer) ─> forgotten after a while (cleaner)
//! ```
//! The key of the authority never leaves this process: what approves, signs and cleans is a task of this server, which
//! looks at every request when one changes. What it does with one is decided in [`plan`], which is pure.

mod asking;
mod request;
mod signer;

use std::sync::Arc;
use std::time::Duration;

use api::status::Status;
use api::time::Time;
use component::{Context, SharedClock};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use store::Bucket;
use tracing::info;

pub(crate) use self::asking::{begin, judged, reported};
use self::request::Requested;
use self::signer::Signer;
use crate::follow::{self, Failure};
use crate::pipeline::{
    Attributes, Body, DeleteOptions, Pipeline, RequestContext, Subresource, Target, UserInfo, WriteOptions,
    object_of,
};
use crate::pki::Authority;

/// Where they are.
pub(crate) const BUCKET: &str = "certificatesigningrequests.certificates.k8s.io";

const GROUP: &str = "certificates.k8s.io";

/// How long a request is kept after it was answered, and how long one that nobody answers.
const ANSWERED: SignedDuration = SignedDuration::from_hours(1);
const PENDING: SignedDuration = SignedDuration::from_hours(24);

/// How often old requests are looked for.
const CLEAN_EVERY: Duration = Duration::from_secs(600);

/// What is to be done with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    /// It waits for somebody else, or is done.
    Nothing,
    /// It is approved, for the asker has the right that is named.
    Approve { right: &'static str, message: &'static str },
    /// It is signed.
    Sign(Signer),
    /// It cannot be signed.
    Fail(String),
    /// It is old.
    Delete,
}

fn text<'a>(of: &'a Value, field: &str) -> &'a str {
    of[field].as_str().unwrap_or_default()
}

/// The condition of a request.
fn condition<'a>(request: &'a Value, ty: &str) -> Option<&'a Value> {
    request["status"]["conditions"].as_array()?.iter().find(|own| own["type"] == ty)
}

/// Decides what is to be done. `may` says whether the asker has a right.
fn plan(request: &Value, now: Timestamp, may: impl Fn(&str) -> bool) -> Action {
    if !request["metadata"]["deletionTimestamp"].is_null() {
        return Action::Nothing;
    }
    if is_old(request, now) {
        return Action::Delete;
    }
    let is = |ty| condition(request, ty).is_some();
    if is("Denied") || is("Failed") || !text(&request["status"], "certificate").is_empty() {
        return Action::Nothing;
    }
    let spec = &request["spec"];
    let Some(signer) = Signer::named(text(spec, "signerName")) else { return Action::Nothing };
    let requested = match Requested::read(spec) {
        Ok(requested) => requested,
        Err(why) if is("Approved") => return Action::Fail(why),
        Err(_) => return Action::Nothing,
    };
    if is("Approved") {
        return match signer.check(&requested) {
            Ok(()) => Action::Sign(signer),
            Err(why) => Action::Fail(why),
        };
    }
    if signer != Signer::KubeletClient || signer.check(&requested).is_err() {
        return Action::Nothing;
    }
    let rights = [
        (
            "selfnodeclient",
            "Auto approving self kubelet client certificate after SubjectAccessReview.",
            text(spec, "username") == requested.common_name,
        ),
        ("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview.", true),
    ];
    let found = rights.into_iter().find(|(right, _, fits)| *fits && may(right));
    found.map_or(Action::Nothing, |(right, message, _)| Action::Approve { right, message })
}

fn is_old(request: &Value, now: Timestamp) -> bool {
    let since = |time: &str, most: SignedDuration| {
        time.parse::<Timestamp>().is_ok_and(|time| now.duration_since(time) > most)
    };
    let answered = |ty: &str| condition(request, ty).map(|own| text(own, "lastUpdateTime"));
    let is_issued = !text(&request["status"], "certificate").is_empty();
    let approved = answered("Approved").filter(|_| is_issued);
    let answers = [approved, answered("Denied"), answered("Failed")];
    let is_pending = ["Approved", "Denied", "Failed"].into_iter().all(|ty| condition(request, ty).is_none());
    answers.into_iter().flatten().any(|time| since(time, ANSWERED))
        || (is_pending && since(text(&request["metadata"], "creationTimestamp"), PENDING))
}

/// What the task needs.
pub(crate) struct Certificates {
    pub(crate) pipeline: Pipeline,
    pub(crate) authority: Arc<Authority>,
}

/// Answers requests until shutdown.
pub(crate) fn start(certificates: Certificates, context: &Context) {
    let (certificates, clock) = (Arc::new(certificates), context.clock.clone());
    follow::keep(context, "certificates", "answer a certificate signing request", move || {
        let (certificates, clock) = (certificates.clone(), clock.clone());
        async move { certificates.follow(&clock).await }
    });
}

impl Certificates {
    async fn follow(&self, clock: &SharedClock) -> Result<(), Failure> {
        let (bucket, store) = (Bucket::from(BUCKET), self.pipeline.store());
        loop {
            let snapshot = store.snapshot();
            let mut watch = store.watch(&bucket, snapshot.revision(), None).map_err(Failure::Read)?;
            for entry in snapshot.list(&bucket, None, None) {
                let Ok(request) = object_of(entry) else { continue };
                self.answer(request, clock.now()).await.map_err(Failure::Write)?;
            }
            // What was written just now is looked at once more, and found good.
            tokio::select! {
                changed = watch.next() => drop(changed.map_err(Failure::Read)?),
                () = tokio::time::sleep(CLEAN_EVERY) => {}
            }
        }
    }

    async fn answer(&self, mut request: Value, now: Timestamp) -> Result<(), Status> {
        let asker = asker(&request);
        let may = |right: &str| {
            self.pipeline
                .require(&Attributes {
                    verb: "create",
                    group: GROUP,
                    version: "v1",
                    resource: "certificatesigningrequests",
                    subresource: right,
                    ..Attributes::nothing(&asker)
                })
                .is_ok()
        };
        let name = text(&request["metadata"], "name").to_owned();
        match plan(&request, now, may) {
            Action::Nothing => Ok(()),
            Action::Approve { right, message } => {
                info!(name, right, "approve a certificate signing request");
                add(&mut request, "Approved", "AutoApproved", message, now);
                self.write(&request, Subresource::Approval, now).await
            }
            Action::Sign(signer) => {
                let certificate = signer.sign(&self.authority, &request["spec"], now);
                match certificate {
                    Ok(certificate) => request["status"]["certificate"] = certificate.into(),
                    Err(why) => add(&mut request, "Failed", "SigningFailure", &why, now),
                }
                self.write(&request, Subresource::Status, now).await
            }
            Action::Fail(why) => {
                add(&mut request, "Failed", "SignerValidationFailure", &why, now);
                self.write(&request, Subresource::Status, now).await
            }
            Action::Delete => {
                let Some(target) = self.target(&name) else { return Ok(()) };
                let uid = Some(text(&request["metadata"], "uid").to_owned());
                let options = DeleteOptions { uid, ..DeleteOptions::default() };
                match self.pipeline.delete(&context(now), &target, &options).await {
                    Err(status) if !status.is_not_found() && !status.is_conflict() => Err(status),
                    _ => Ok(()),
                }
            }
        }
    }

    fn target(&self, name: &str) -> Option<Target> {
        let def = self.pipeline.registry().resource(GROUP, "v1", "certificatesigningrequests")?;
        Some(Target::object(def, None, name))
    }

    async fn write(&self, request: &Value, part: Subresource, now: Timestamp) -> Result<(), Status> {
        let Some(target) = self.target(text(&request["metadata"], "name")) else { return Ok(()) };
        let (target, body) = (target.part(part), Body::json(request.to_string()));
        match self.pipeline.update(&context(now), &target, body, &WriteOptions::default()).await {
            // Somebody has changed it meanwhile: it is looked at again for that.
            Err(status) if !status.is_conflict() && !status.is_not_found() => Err(status),
            _ => Ok(()),
        }
    }
}

/// Adds a condition that is true.
fn add(request: &mut Value, ty: &str, reason: &str, message: &str, now: Timestamp) {
    let now = Time(now).to_string();
    let condition = json!({"type": ty, "status": "True", "reason": reason, "message": message,
        "lastUpdateTime": now, "lastTransitionTime": now});
    if !request["status"].is_object() {
        request["status"] = json!({});
    }
    match request["status"]["conditions"].as_array_mut() {
        Some(all) => all.push(condition),
        None => request["status"]["conditions"] = json!([condition]),
    }
}

/// Who asks for the certificate.
fn asker(request: &Value) -> UserInfo {
    let spec = &request["spec"];
    UserInfo {
        name: text(spec, "username").to_owned(),
        uid: text(spec, "uid").to_owned(),
        groups: serde_json::from_value(spec["groups"].clone()).unwrap_or_default(),
        extra: serde_json::from_value(spec["extra"].clone()).unwrap_or_default(),
    }
}

fn context(now: Timestamp) -> RequestContext {
    RequestContext::of_server("certificate-controller", now)
}

#[cfg(test)]
mod tests;
