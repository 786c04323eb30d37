//! A pipeline on a store in memory, spoken to in the words of REST: enough of it to replay recorded exchanges.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use api::codec::MediaType;
use api::status::{Reason, Status};
use apiserver::authn::{Authenticator, SigningKey, TokenFile};
use apiserver::authz::Authorization;
use apiserver::bootstrap::Bootstrap;
use apiserver::pipeline::{
    Body, DeleteOptions, Deleted, GetOptions, ListOptions, Names, Object, Parts, PatchType, Pipeline,
    Propagation, RequestContext, Subresource, Target, UserInfo, WatchOptions, WriteOptions, dry_run, extract,
    field_validation, render,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use store::{Backend, Options, Store};

/// Counts instead of throwing dice.
#[derive(Default)]
pub struct CountedNames(AtomicU64);

impl Names for CountedNames {
    fn uid(&self) -> String {
        format!("00000000-0000-4000-8000-{:012x}", self.random())
    }

    fn random(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// A pipeline and who uses it.
pub struct Server {
    pub pipeline: Pipeline,
    pub context: RequestContext,
}

impl Server {
    /// An empty store, bootstrapped.
    pub async fn start() -> Self {
        let store = Store::open(Options::new(Backend::Memory, extract())).expect("a store in memory opens");
        Self::on(store).await
    }

    /// A store that has next to nothing: for tests that start many.
    pub async fn bare() -> Self {
        let store = Store::open(Options::new(Backend::Memory, extract())).expect("a store in memory opens");
        let server = Self::over(store);
        for (resource, document) in [
            (
                "v1/namespaces",
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}),
            ),
            (
                "v1/serviceaccounts",
                json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}),
            ),
            (
                "v1/services",
                json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "kubernetes"},
                "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443}]}}),
            ),
        ] {
            server.create(resource, document).await.expect("created");
        }
        server
    }

    /// On a store that may hold something, bootstrapped.
    pub async fn on(store: Store) -> Self {
        let server = Self::over(store);
        Bootstrap { address: [192, 0, 2, 10].into(), port: 6443, now: server.context.now }
            .run(&server.pipeline)
            .await
            .expect("bootstrap");
        server
    }

    fn over(store: Store) -> Self {
        let pipeline = Pipeline::new(Parts {
            authorizer: Arc::new(Authorization::new(&store)),
            authn: Arc::new(Authenticator::new(
                &store,
                Arc::new(SigningKey::generate().expect("a key")),
                TokenFile::default(),
            )),
            store,
            names: Arc::new(CountedNames::default()),
        });
        let context = RequestContext {
            user: UserInfo {
                name: "kubernetes-admin".to_owned(),
                groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()],
                extra: [(
                    "authentication.kubernetes.io/credential-id".to_owned(),
                    vec!["X509SHA256=00".to_owned()],
                )]
                .into(),
                ..UserInfo::default()
            },
            now: "2026-11-24T10:00:00Z".parse::<Timestamp>().expect("a time"),
            at: None,
            user_agent: "test/1.0".to_owned(),
        };
        Self { pipeline, context }
    }

    /// The target of a path as `apps/v1/deployments`, in the namespace `default` where there are any.
    pub fn target(&self, resource: &str, name: Option<&str>) -> Target {
        let (group_version, plural) = resource.rsplit_once('/').expect("group/version/plural");
        let (group, version) = group_version.split_once('/').unwrap_or(("", group_version));
        let def = self
            .pipeline
            .registry()
            .resource(group, version, plural)
            .unwrap_or_else(|| panic!("no resource {resource}"));
        let namespace = def.namespaced.then(|| "default".to_owned());
        Target { def, namespace, name: name.map(str::to_owned), subresource: None }
    }

    /// Creates a document in the namespace `default`.
    pub async fn create(&self, resource: &str, document: Value) -> Result<Value, Status> {
        let target = self.target(resource, None);
        let written =
            self.pipeline.create(&self.context, &target, body(&document), &WriteOptions::default()).await?;
        Ok(json_of(&written.object))
    }

    /// Reads an object of the namespace `default`.
    pub async fn get(&self, resource: &str, name: &str) -> Result<Value, Status> {
        let target = self.target(resource, Some(name));
        Ok(json_of(&self.pipeline.get(&self.context, &target, &GetOptions::default()).await?))
    }

    /// Replaces an object.
    pub async fn update(&self, resource: &str, document: &Value) -> Result<Value, Status> {
        let name = document["metadata"]["name"].as_str().unwrap_or_default();
        let target = self.target(resource, Some(name));
        let written =
            self.pipeline.update(&self.context, &target, body(document), &WriteOptions::default()).await?;
        Ok(json_of(&written.object))
    }

    /// Merges a patch into an object.
    pub async fn merge(&self, resource: &str, name: &str, patch: Value) -> Result<Value, Status> {
        let target = self.target(resource, Some(name));
        let options = WriteOptions::default();
        let written =
            self.pipeline.patch(&self.context, &target, PatchType::Merge, body(&patch), &options).await?;
        Ok(json_of(&written.object))
    }

    /// Deletes an object.
    pub async fn delete(
        &self,
        resource: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, Status> {
        let target = self.target(resource, Some(name));
        self.pipeline.delete(&self.context, &target, options).await
    }

    /// The names that a list gives.
    pub async fn names(&self, resource: &str, options: &ListOptions) -> Result<Vec<String>, Status> {
        let target = self.target(resource, None);
        let list = self.pipeline.list(&self.context, &target, options).await?;
        Ok(list.entries.iter().map(|entry| entry.key.name().to_owned()).collect())
    }

    /// One exchange: method, path with query, content type, body; code and body.
    pub async fn exchange(&self, method: &str, path: &str, content_type: &str, body: &[u8]) -> (u16, Value) {
        match self.answer(method, path, content_type, body).await {
            Ok(answer) => answer,
            Err(status) => (status.code, serde_json::to_value(status).expect("a status encodes")),
        }
    }

    async fn answer(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        bytes: &[u8],
    ) -> Result<(u16, Value), Status> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let query: HashMap<String, String> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), unescape(value)))
            .collect();
        let get = |name: &str| query.get(name).cloned().unwrap_or_default();
        let target = self.resolve(path)?;
        let media = if content_type.contains("yaml") { MediaType::Yaml } else { MediaType::Json };
        let body = Body { media, bytes: bytes.to_vec().into() };
        let kind = match method {
            "POST" => "CreateOptions",
            "PUT" => "UpdateOptions",
            "PATCH" => "PatchOptions",
            _ => "DeleteOptions",
        };
        let write = WriteOptions {
            dry_run: dry_run(kind, &[get("dryRun")])?,
            field_manager: get("fieldManager"),
            field_validation: field_validation(kind, &get("fieldValidation"))?,
            force: get("force") == "true",
        };
        let list = ListOptions {
            label_selector: get("labelSelector"),
            field_selector: get("fieldSelector"),
            limit: get("limit").parse().unwrap_or(0),
            continue_token: get("continue"),
            resource_version: get("resourceVersion"),
            resource_version_match: get("resourceVersionMatch"),
        };
        let (pipeline, context) = (&self.pipeline, &self.context);
        match (method, target.name.is_some()) {
            ("GET", true) => {
                let object = pipeline.get(context, &target, &GetOptions::default()).await?;
                Ok((200, json_of(&object)))
            }
            ("GET", false) if get("watch") == "true" || get("watch") == "1" => {
                let options = WatchOptions {
                    label_selector: list.label_selector,
                    field_selector: list.field_selector,
                    resource_version: list.resource_version,
                    resource_version_match: list.resource_version_match,
                    send_initial_events: query.get("sendInitialEvents").map(|value| value == "true"),
                    allow_bookmarks: get("allowWatchBookmarks") == "true",
                    timeout_seconds: get("timeoutSeconds").parse().unwrap_or(1),
                };
                let mut watch = pipeline.watch(context, &target, &options)?;
                let mut events = Vec::new();
                while let Some(item) = watch.next().await {
                    let item = item?;
                    let object: Value = serde_json::from_slice(&item.object).expect("an object");
                    events.push(json!({"type": item.kind.as_str(), "object": object}));
                }
                Ok((200, events.into()))
            }
            ("GET", false) => {
                let page = pipeline.list(context, &target, &list).await?;
                let items: Vec<Value> = page
                    .entries
                    .iter()
                    .map(|entry| {
                        let mut item: Value =
                            serde_json::from_slice(&render(&page.def, entry)).expect("an object");
                        let fields = item.as_object_mut().expect("an object");
                        fields.remove("kind");
                        fields.remove("apiVersion");
                        item
                    })
                    .collect();
                let mut metadata = json!({"resourceVersion": page.revision.to_string()});
                if let Some(token) = page.continue_token {
                    metadata["continue"] = token.into();
                }
                if let Some(remaining) = page.remaining {
                    metadata["remainingItemCount"] = remaining.into();
                }
                let list = json!({"kind": &*page.def.list_kind, "apiVersion": page.def.api_version(),
                    "metadata": metadata, "items": items});
                Ok((200, list))
            }
            ("POST", _) => {
                let written = pipeline.create(context, &target, body, &write).await?;
                Ok((if written.created { 201 } else { 200 }, json_of(&written.object)))
            }
            ("PUT", true) => {
                let written = pipeline.update(context, &target, body, &write).await?;
                Ok((if written.created { 201 } else { 200 }, json_of(&written.object)))
            }
            ("PATCH", true) => {
                let kind = PatchType::from_media_type(content_type).expect("a patch type");
                let written = pipeline.patch(context, &target, kind, body, &write).await?;
                Ok((if written.created { 201 } else { 200 }, json_of(&written.object)))
            }
            ("DELETE", true) => {
                let mut options = DeleteOptions::decode(&body)?;
                options.dry_run |= write.dry_run;
                if let Some(policy) = query.get("propagationPolicy") {
                    options.propagation = Propagation::parse(policy);
                }
                let object = match pipeline.delete(context, &target, &options).await? {
                    Deleted::Gone { status, .. } => serde_json::from_slice(&status.0).expect("a status"),
                    Deleted::GoneWithObject(object) | Deleted::Terminating(object) => json_of(&object),
                };
                Ok((200, object))
            }
            _ => Err(Status::failure(
                Reason::MethodNotAllowed,
                "the server does not allow this method on the requested resource",
            )
            .with_details(Default::default())),
        }
    }

    fn resolve(&self, path: &str) -> Result<Target, Status> {
        let unknown = || {
            Status::failure(Reason::NotFound, "the server could not find the requested resource")
                .with_details(Default::default())
        };
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, version, rest) = match segments.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Err(unknown()),
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..]
                if !rest.is_empty() && !matches!(rest[0], "finalize" | "status") =>
            {
                (Some((*namespace).to_owned()), rest)
            }
            rest => (None, rest),
        };
        let [plural, rest @ ..] = rest else { return Err(unknown()) };
        let def = self.pipeline.registry().resource(group, version, plural).ok_or_else(unknown)?;
        Ok(Target {
            def,
            namespace,
            name: rest.first().map(|name| (*name).to_owned()),
            subresource: match rest.get(1) {
                None => None,
                Some(segment) => Some(Subresource::parse(segment).ok_or_else(unknown)?),
            },
        })
    }
}

/// A document as a body.
pub fn body(document: &Value) -> Body {
    Body::json(document.to_string())
}

/// What was answered, decoded.
pub fn json_of(object: &Object) -> Value {
    serde_json::from_slice(&object.bytes).expect("an answer is JSON")
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next().unwrap_or(b'0'), rest.next().unwrap_or(b'0')];
                let digits = std::str::from_utf8(&digits).unwrap_or("00").to_owned();
                bytes.push(u8::from_str_radix(&digits, 16).unwrap_or(b'?'));
            }
            b'+' => bytes.push(b' '),
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// As many cases as make a short run; `PROPTEST_CASES` asks for another number.
pub fn cases(usual: u32) -> proptest::test_runner::Config {
    let config = proptest::test_runner::Config::default();
    if std::env::var_os("PROPTEST_CASES").is_some() {
        config
    } else {
        proptest::test_runner::Config { cases: usual, ..config }
    }
}
