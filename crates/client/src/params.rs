//! The options of requests, and how they travel.

use rpc::v1;

/// What a list selects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListParams {
    /// A label selector as of `kubectl -l`; empty selects all.
    pub labels: String,
    /// A field selector, as `spec.nodeName=a`; empty selects all.
    pub fields: String,
    /// The most objects; 0 is no limit.
    pub limit: u32,
    /// The token of the page before.
    pub continue_token: String,
    /// Empty is the latest, "0" any.
    pub resource_version: String,
    /// Empty, `Exact` or `NotOlderThan`.
    pub resource_version_match: String,
}

impl ListParams {
    /// Those whose labels match.
    pub fn labels(selector: impl Into<String>) -> Self {
        Self { labels: selector.into(), ..Self::default() }
    }

    /// Those whose fields match.
    pub fn fields(selector: impl Into<String>) -> Self {
        Self { fields: selector.into(), ..Self::default() }
    }

    pub(crate) fn selector(&self) -> Option<v1::Selector> {
        selector(&self.labels, &self.fields)
    }
}

/// What a watch sends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchParams {
    /// As in [`ListParams`].
    pub labels: String,
    /// As in [`ListParams`].
    pub fields: String,
    /// Changes after this version. Empty or "0": first all present objects.
    pub resource_version: String,
    /// First all present objects as ADDED, and then a bookmark.
    pub send_initial_events: bool,
    /// The watch ends by itself after this many seconds; 0 is no limit.
    pub timeout_seconds: u32,
}

impl WatchParams {
    pub(crate) fn selector(&self) -> Option<v1::Selector> {
        selector(&self.labels, &self.fields)
    }
}

fn selector(labels: &str, fields: &str) -> Option<v1::Selector> {
    (!labels.is_empty() || !fields.is_empty())
        .then(|| v1::Selector { labels: labels.to_owned(), fields: fields.to_owned() })
}

/// Options of every write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Everything but the storing.
    pub dry_run: bool,
    /// Who writes; the client's own name where it is empty.
    pub field_manager: String,
    /// `Ignore`, `Warn` (the default) or `Strict`.
    pub field_validation: String,
}

/// How a patch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchType {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Of Kubernetes: lists merge by their keys.
    Strategic,
    /// Server-side apply.
    Apply,
}

impl PatchType {
    pub(crate) fn to_proto(self) -> v1::PatchType {
        match self {
            Self::Json => v1::PatchType::Json,
            Self::Merge => v1::PatchType::Merge,
            Self::Strategic => v1::PatchType::StrategicMerge,
            Self::Apply => v1::PatchType::Apply,
        }
    }
}

/// Options of a patch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PatchOptions {
    /// Those of every write.
    pub write: WriteOptions,
    /// Apply only: take over fields that others manage.
    pub force: bool,
}

/// How an object is deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Everything but the deletion.
    pub dry_run: bool,
    /// Instead of the object's own grace period.
    pub grace_period_seconds: Option<i64>,
    /// `Background`, `Foreground` or `Orphan`; empty is the default of the kind.
    pub propagation_policy: String,
    /// The object must have this uid.
    pub uid: String,
    /// The object must have this resource version.
    pub resource_version: String,
}

impl DeleteOptions {
    /// Only the object with that uid, not another one of the same name.
    pub fn uid(uid: impl Into<String>) -> Self {
        Self { uid: uid.into(), ..Self::default() }
    }

    pub(crate) fn to_proto(&self) -> v1::DeleteOptions {
        v1::DeleteOptions {
            dry_run: self.dry_run,
            grace_period_seconds: self.grace_period_seconds,
            propagation_policy: self.propagation_policy.clone(),
            uid: self.uid.clone(),
            resource_version: self.resource_version.clone(),
        }
    }
}
