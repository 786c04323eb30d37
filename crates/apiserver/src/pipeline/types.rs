//! What a request says and what it gets: the words that REST and gRPC both translate into.
//!
//! Nothing here knows of HTTP or protobuf. The verbs themselves are methods of [`Pipeline`](super::Pipeline).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use api::codec::{FieldValidation, MediaType};
use api::registry::ResourceDef;
use api::status::Status;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use store::{Entry, Event};

use crate::authz::ADMINISTRATORS;

/// Who asks, as authentication found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserInfo {
    /// As `kubernetes-admin`; `system:anonymous` where nobody was named.
    pub name: String,
    /// Empty for certificates.
    pub uid: String,
    /// As `system:masters`.
    pub groups: Vec<String>,
    /// What authentication adds, as the certificate's hash.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    /// As reviews and admission show it: `authentication.k8s.io/v1` UserInfo.
    pub fn document(&self) -> Value {
        let mut info = json!({"username": self.name});
        if !self.uid.is_empty() {
            info["uid"] = self.uid.as_str().into();
        }
        if !self.groups.is_empty() {
            info["groups"] = json!(self.groups);
        }
        if !self.extra.is_empty() {
            info["extra"] = json!(self.extra);
        }
        info
    }
}

/// What surrounds a request.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// Who asks.
    pub user: UserInfo,
    /// When; every time stamp that the request causes. Of a request about the past, when that was.
    pub now: Timestamp,
    /// The revision that a request about the past reads. Nothing is written then.
    pub at: Option<u64>,
    /// The part before the first slash names the field manager where the request does not.
    pub user_agent: String,
}

impl RequestContext {
    /// Of a request that the server makes itself, as the part of it that `user_agent` names.
    pub fn of_server(user_agent: &str, now: Timestamp) -> Self {
        let user = UserInfo {
            name: "system:apiserver".to_owned(),
            groups: vec![ADMINISTRATORS.to_owned()],
            ..UserInfo::default()
        };
        Self { user, now, at: None, user_agent: user_agent.to_owned() }
    }
}

/// A part of an object that has an address of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subresource {
    /// What controllers report.
    Status,
    /// The number of replicas, as an `autoscaling/v1` Scale.
    Scale,
    /// Puts a pod on a node.
    Binding,
    /// Deletes a pod where its disruption budgets allow it.
    Eviction,
    /// The finalizers in the spec of a namespace.
    Finalize,
    /// Issues a token for a service account.
    Token,
    /// Changes the resources of a running pod.
    Resize,
    /// Adds ephemeral containers to a running pod.
    EphemeralContainers,
    /// Approves a certificate signing request.
    Approval,
    /// What a container has printed.
    Log,
    /// Runs a command in a container.
    Exec,
    /// Connects to a container's main process.
    Attach,
    /// Connects to a port of a pod.
    PortForward,
    /// Passes requests on to a pod, service or node.
    Proxy,
}

impl Subresource {
    /// Every subresource, for tables.
    pub const ALL: [Self; 14] = [
        Self::Status,
        Self::Scale,
        Self::Binding,
        Self::Eviction,
        Self::Finalize,
        Self::Token,
        Self::Resize,
        Self::EphemeralContainers,
        Self::Approval,
        Self::Log,
        Self::Exec,
        Self::Attach,
        Self::PortForward,
        Self::Proxy,
    ];

    /// Reads the path segment after the object's name.
    pub fn parse(segment: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|subresource| subresource.as_str() == segment)
    }

    /// The path segment.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Scale => "scale",
            Self::Binding => "binding",
            Self::Eviction => "eviction",
            Self::Finalize => "finalize",
            Self::Token => "token",
            Self::Resize => "resize",
            Self::EphemeralContainers => "ephemeralcontainers",
            Self::Approval => "approval",
            Self::Log => "log",
            Self::Exec => "exec",
            Self::Attach => "attach",
            Self::PortForward => "portforward",
            Self::Proxy => "proxy",
        }
    }
}

impl fmt::Display for Subresource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a request is about.
#[derive(Debug, Clone)]
pub struct Target {
    /// The resource, in the version that the request names.
    pub def: Arc<ResourceDef>,
    /// Absent for cluster-scoped resources, and for lists over all namespaces.
    pub namespace: Option<String>,
    /// Absent for create, list, watch and deletecollection.
    pub name: Option<String>,
    /// Present where the request is about a part.
    pub subresource: Option<Subresource>,
}

impl Target {
    /// All objects of a resource.
    pub fn collection(def: Arc<ResourceDef>, namespace: Option<&str>) -> Self {
        Self { def, namespace: namespace.map(str::to_owned), name: None, subresource: None }
    }

    /// One object.
    pub fn object(def: Arc<ResourceDef>, namespace: Option<&str>, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..Self::collection(def, namespace) }
    }

    /// A part of the same object.
    #[must_use]
    pub fn part(mut self, subresource: Subresource) -> Self {
        self.subresource = Some(subresource);
        self
    }
}

/// The body of a request.
#[derive(Debug, Clone)]
pub struct Body {
    /// How it is encoded.
    pub media: MediaType,
    /// What came.
    pub bytes: Bytes,
}

impl Body {
    /// A JSON body.
    pub fn json(bytes: impl Into<Bytes>) -> Self {
        Self { media: MediaType::Json, bytes: bytes.into() }
    }
}

/// An object to send, in the version that the request names.
#[derive(Debug, Clone)]
pub struct Object {
    /// As `apps/v1`. A scale is `autoscaling/v1`, the answer to a binding a `v1` Status.
    pub api_version: String,
    /// As `Deployment`.
    pub kind: String,
    /// Compact JSON; shared with the store where no conversion was needed.
    pub bytes: Bytes,
    /// The stored object, where there is one.
    pub entry: Option<Arc<Entry>>,
    /// For the user, as the Warning header of REST.
    pub warnings: Vec<String>,
}

/// Options of get.
#[derive(Debug, Clone, Default)]
pub struct GetOptions {
    /// Not older than this version; empty or `0` is the present one.
    pub resource_version: String,
}

/// Options of list.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// As `app=web,tier in (a,b)`.
    pub label_selector: String,
    /// As `spec.nodeName=n1`.
    pub field_selector: String,
    /// The most objects of one page; 0 is no limit.
    pub limit: u64,
    /// The token of the page before.
    pub continue_token: String,
    /// Empty, `0`, or a version.
    pub resource_version: String,
    /// Empty, `Exact` or `NotOlderThan`.
    pub resource_version_match: String,
}

/// A page of objects.
#[derive(Debug, Clone)]
pub struct ListResult {
    /// The version of the request: its `list_kind` names the list.
    pub def: Arc<ResourceDef>,
    /// The revision of the snapshot that the list shows.
    pub revision: u64,
    /// As stored: [`render`](super::render()) gives the bytes to send.
    pub entries: Vec<Arc<Entry>>,
    /// Present where there are more objects.
    pub continue_token: Option<String>,
    /// How many more there are, where that is known (it is not with a selector).
    pub remaining: Option<i64>,
}

/// Options of watch.
#[derive(Debug, Clone, Default)]
pub struct WatchOptions {
    /// As for list.
    pub label_selector: String,
    /// As for list.
    pub field_selector: String,
    /// Changes after this version are sent; empty or `0` first sends what there is.
    pub resource_version: String,
    /// Only with `send_initial_events`: `NotOlderThan`.
    pub resource_version_match: String,
    /// Whether what there is comes first, ended by a bookmark.
    pub send_initial_events: Option<bool>,
    /// Whether bookmarks are wanted.
    pub allow_bookmarks: bool,
    /// After this many seconds the watch ends; 0 is the server's choice.
    pub timeout_seconds: u64,
}

/// What happened to an object, as the watcher sees it: an object that starts to match its selector was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WatchEventType {
    /// It appeared.
    Added,
    /// It changed.
    Modified,
    /// It is gone, or matches no more: the object is its last state.
    Deleted,
    /// Only the resource version of the object means something.
    Bookmark,
}

impl WatchEventType {
    /// As in a watch frame.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
            Self::Bookmark => "BOOKMARK",
        }
    }
}

/// One change.
#[derive(Debug, Clone)]
pub struct WatchItem {
    /// What happened.
    pub kind: WatchEventType,
    /// The object in the version of the request, as compact JSON. Without conversion it is the memory of the
    /// store, shared by all watchers.
    pub object: Bytes,
    /// The object's resource version.
    pub revision: u64,
    /// The stored object; absent for bookmarks.
    pub entry: Option<Arc<Entry>>,
    /// The store's event, where `object` is what it holds: a frame that is encoded by it
    /// ([`Event::encoding`]) is shared by all watchers. What a frame says beside the object (its type, the version)
    /// must be part of the encoding's number.
    pub event: Option<Arc<Event>>,
    /// Set on the bookmark that ends the initial events.
    pub initial_events_end: bool,
}

/// Options of create, update and patch.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    /// Everything happens but the write.
    pub dry_run: bool,
    /// Who owns the fields that are written; empty takes the user agent. Apply needs it.
    pub field_manager: String,
    /// What unknown and duplicate fields do; absent is `Warn`.
    pub field_validation: Option<FieldValidation>,
    /// Apply only: take over the fields of others.
    pub force: bool,
}

/// How a patch is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PatchType {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Merge, where lists of objects have keys.
    StrategicMerge,
    /// Server-side apply.
    Apply,
}

impl PatchType {
    /// Every type.
    pub const ALL: [Self; 4] = [Self::Json, Self::Merge, Self::StrategicMerge, Self::Apply];

    /// The media type that names it.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json-patch+json",
            Self::Merge => "application/merge-patch+json",
            Self::StrategicMerge => "application/strategic-merge-patch+json",
            Self::Apply => "application/apply-patch+yaml",
        }
    }

    /// Reads a media type without parameters.
    pub fn from_media_type(media_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|patch| patch.media_type() == media_type)
    }
}

/// What a write gives.
#[derive(Debug, Clone)]
pub struct Written {
    /// The object now; its warnings include those of the write.
    pub object: Object,
    /// Whether it is new (201 in REST).
    pub created: bool,
}

/// What becomes of the dependents of a deleted object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Propagation {
    /// They are collected after it is gone.
    Background,
    /// They go first.
    Foreground,
    /// They stay.
    Orphan,
}

impl Propagation {
    /// Reads `propagationPolicy`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "Background" => Some(Self::Background),
            "Foreground" => Some(Self::Foreground),
            "Orphan" => Some(Self::Orphan),
            _ => None,
        }
    }
}

/// Options of delete and deletecollection.
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    /// Everything happens but the write.
    pub dry_run: bool,
    /// Absent takes the kind's own.
    pub grace_period_seconds: Option<i64>,
    /// Absent takes what the object's finalizers say, else Background.
    pub propagation: Option<Propagation>,
    /// The object must have this uid.
    pub uid: Option<String>,
    /// The object must have this resource version.
    pub resource_version: Option<String>,
}

/// What a deletion gives.
#[derive(Debug, Clone)]
pub enum Deleted {
    /// It is gone; REST answers with a Status of success that names it. `object` is its last state.
    Gone {
        /// The last state.
        object: Object,
        /// What REST sends.
        status: SuccessStatus,
    },
    /// It is gone, and this kind's answer is its last state (pods and a few more).
    GoneWithObject(Object),
    /// It waits for its finalizers or its grace period; this is its state now.
    Terminating(Object),
}

impl Deleted {
    /// The last state, or the state now.
    pub fn object(&self) -> &Object {
        match self {
            Self::Gone { object, .. } | Self::GoneWithObject(object) | Self::Terminating(object) => object,
        }
    }

    /// Whether the object is gone from the store.
    pub fn is_gone(&self) -> bool {
        !matches!(self, Self::Terminating(_))
    }
}

/// A Status that says that something was done: its JSON.
#[derive(Debug, Clone)]
pub struct SuccessStatus(pub Bytes);

/// The objects that a deletecollection deleted or began to delete.
#[derive(Debug, Clone)]
pub struct DeletedCollection {
    /// As [`ListResult::def`].
    pub def: Arc<ResourceDef>,
    /// The revision of the snapshot that was selected from.
    pub revision: u64,
    /// Their states before.
    pub entries: Vec<Arc<Entry>>,
}

/// A pod that goes to a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Binding {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod must have this uid, where it is not empty.
    pub uid: String,
    /// The node.
    pub node: String,
    /// Added to the pod's.
    pub annotations: BTreeMap<String, String>,
}

/// Where the kubelet of a pod listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodHost {
    /// The pod as stored.
    pub pod: Bytes,
    /// The node's name.
    pub node: String,
    /// The node's InternalIP, or its name where it reports none.
    pub address: String,
    /// The kubelet's port.
    pub port: u16,
}

/// What every verb gives.
pub type Answer<T> = Result<T, Status>;
