//! What can be done with a resource: paths, methods, parameters, bodies and answers.

use serde_json::{Map, Value, json};

use super::schemas::{Dialect, reference};
use crate::gvk::GroupVersion;
use crate::registry::{ResourceDef, Subresource};

const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
const RESOURCE_LIST: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList";

const LIST: &[&str] = &[
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
];
const WRITE: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
const PATCHED: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];
const DELETE: &[&str] = &["dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"];
const DELETE_COLLECTION: &[&str] = &[
    "continue",
    "dryRun",
    "fieldSelector",
    "gracePeriodSeconds",
    "labelSelector",
    "limit",
    "orphanDependents",
    "propagationPolicy",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
];
const LOG: &[&str] =
    &["container", "follow", "limitBytes", "previous", "sinceSeconds", "stream", "tailLines", "timestamps"];

const ENCODINGS: &[&str] = &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const STREAMS: &[&str] =
    &["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];
/// What custom resources are sent in, and how they are patched: they have no protobuf, and no strategies.
const PLAIN: &[&str] = &["application/json", "application/yaml"];
const PLAIN_STREAM: &str = "application/json;stream=watch";
const PLAIN_PATCHES: &[&str] =
    &["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"];
const PATCHES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// What a request carries.
pub(super) enum Body {
    None,
    Object(String),
    DeleteOptions,
    Patch,
}

/// A parameter of a path or of the query.
pub(super) struct Parameter {
    name: &'static str,
    place: &'static str,
    kind: &'static str,
    text: &'static str,
}

impl Parameter {
    fn query(name: &'static str) -> Self {
        let kind = match name {
            "allowWatchBookmarks"
            | "watch"
            | "sendInitialEvents"
            | "force"
            | "orphanDependents"
            | "follow"
            | "previous"
            | "timestamps" => "boolean",
            "limit" | "timeoutSeconds" | "gracePeriodSeconds" | "limitBytes" | "sinceSeconds"
            | "tailLines" => "integer",
            _ => "string",
        };
        Self { name, place: "query", kind, text: describe(name) }
    }

    fn path(name: &'static str) -> Self {
        Self { name, place: "path", kind: "string", text: describe(name) }
    }

    pub(super) fn to_v3(&self) -> Value {
        let schema = json!({"type": self.kind, "uniqueItems": true});
        let mut out =
            json!({"name": self.name, "in": self.place, "description": self.text, "schema": schema});
        if self.place == "path" {
            out["required"] = true.into();
        }
        out
    }

    pub(super) fn to_v2(&self) -> Value {
        let mut out = json!({"name": self.name, "in": self.place, "description": self.text, "type": self.kind,
            "uniqueItems": true});
        if self.place == "path" {
            out["required"] = true.into();
        }
        out
    }
}

fn describe(name: &str) -> &'static str {
    match name {
        "name" => "The name of the object.",
        "namespace" => "The namespace of the object.",
        "pretty" => "Whether the answer is indented for people.",
        "dryRun" => "`All`: do everything but store the result.",
        "fieldManager" => "Who makes the change; required to apply.",
        "fieldValidation" => {
            "What to do with unknown and duplicate fields: `Ignore`, `Warn` (tell them, the default) or `Strict` (refuse)."
        }
        "force" => "When applying: take over fields that others own.",
        "allowWatchBookmarks" => "Whether to tell from time to time how far a watch has come.",
        "continue" => "Where the next page begins: what the page before said.",
        "fieldSelector" => "Only objects whose fields have these values.",
        "labelSelector" => "Only objects whose labels are meant by this.",
        "limit" => "How many objects a page holds at most.",
        "resourceVersion" => "As of when, or from when.",
        "resourceVersionMatch" => "How the resourceVersion is meant: `Exact` or `NotOlderThan`.",
        "sendInitialEvents" => "Whether a watch begins with what there is.",
        "timeoutSeconds" => "How long a list or watch may last.",
        "watch" => "Whether to tell changes as they happen.",
        "gracePeriodSeconds" => "How long the object has to end; 0 deletes at once.",
        "orphanDependents" => "Whether dependents stay; say it with propagationPolicy instead.",
        "propagationPolicy" => "What becomes of dependents: `Orphan`, `Background` or `Foreground`.",
        "container" => "Of which container.",
        "follow" => "Whether to go on as more is written.",
        "limitBytes" => "How many bytes at most.",
        "previous" => "Whether of the container that ended before.",
        "sinceSeconds" => "Only what is newer than this.",
        "stream" => "`All`, `Stdout` or `Stderr`.",
        "tailLines" => "How many lines from the end.",
        "timestamps" => "Whether each line begins with its time.",
        _ => "",
    }
}

/// One operation.
pub(super) struct Operation {
    pub(super) path: String,
    pub(super) method: &'static str,
    pub(super) body: Body,
    /// The type of the answer; empty for text.
    pub(super) response: String,
    id: String,
    action: &'static str,
    kind: (String, String, String),
    tag: String,
    query: &'static [&'static str],
    codes: &'static [(&'static str, &'static str)],
    is_stream: bool,
    is_custom: bool,
}

const OK: &[(&str, &str)] = &[("200", "OK")];
const CREATED: &[(&str, &str)] = &[("200", "OK"), ("201", "Created"), ("202", "Accepted")];
const REPLACED: &[(&str, &str)] = &[("200", "OK"), ("201", "Created")];
const DELETED: &[(&str, &str)] = &[("200", "OK"), ("202", "Accepted")];

impl Operation {
    /// The parameters that the path itself has.
    pub(super) fn path_parameters(&self) -> Vec<Parameter> {
        if self.action.is_empty() {
            return Vec::new();
        }
        let named =
            |name: &'static str| self.path.contains(&format!("{{{name}}}")).then(|| Parameter::path(name));
        [named("name"), named("namespace"), Some(Parameter::query("pretty"))].into_iter().flatten().collect()
    }

    fn encodings(&self) -> Vec<&'static str> {
        let mut all = if self.is_custom { PLAIN } else { ENCODINGS }.to_vec();
        if self.is_stream && self.is_custom {
            all.push(PLAIN_STREAM);
        } else if self.is_stream {
            all.extend(STREAMS);
        }
        if self.response.is_empty() {
            all = vec!["*/*"];
        }
        all
    }

    fn patches(&self) -> &'static [&'static str] {
        if self.is_custom { PLAIN_PATCHES } else { PATCHES }
    }

    fn common(&self, parameters: Vec<Value>) -> Map<String, Value> {
        let mut out = Map::new();
        out.insert("operationId".to_owned(), self.id.clone().into());
        out.insert("tags".to_owned(), json!([self.tag]));
        if !parameters.is_empty() {
            out.insert("parameters".to_owned(), parameters.into());
        }
        if !self.action.is_empty() {
            let (group, version, kind) = &self.kind;
            out.insert("x-kubernetes-action".to_owned(), self.action.into());
            out.insert(
                "x-kubernetes-group-version-kind".to_owned(),
                json!({"group": group, "version": version, "kind": kind}),
            );
        }
        out
    }

    pub(super) fn to_v3(&self) -> Value {
        let schema = |name: &str| match name {
            "" => json!({"type": "string"}),
            name => reference(Dialect::V3, name),
        };
        let content = |types: &[&str], name: &str| -> Value {
            types
                .iter()
                .map(|ty| ((*ty).to_owned(), json!({"schema": schema(name)})))
                .collect::<Map<_, _>>()
                .into()
        };
        let parameters = self.query.iter().map(|name| Parameter::query(name).to_v3()).collect();
        let mut out = self.common(parameters);
        let body = match &self.body {
            Body::None => None,
            Body::Object(name) => Some(json!({"content": content(&["*/*"], name), "required": true})),
            Body::DeleteOptions => Some(json!({"content": content(&["*/*"], DELETE_OPTIONS)})),
            Body::Patch => Some(json!({"content": content(self.patches(), PATCH), "required": true})),
        };
        if let Some(body) = body {
            out.insert("requestBody".to_owned(), body);
        }
        let mut responses = Map::new();
        for (code, text) in self.codes {
            let answer = json!({"description": text, "content": content(&self.encodings(), &self.response)});
            responses.insert((*code).to_owned(), answer);
        }
        responses.insert("401".to_owned(), json!({"description": "Unauthorized"}));
        out.insert("responses".to_owned(), responses.into());
        out.into()
    }

    pub(super) fn to_v2(&self) -> Value {
        let mut parameters: Vec<Value> = Vec::new();
        let body = |name: &str, required: bool| {
            let mut out = json!({"name": "body", "in": "body", "schema": reference(Dialect::V2, name)});
            if required {
                out["required"] = true.into();
            }
            out
        };
        let mut consumes = vec!["*/*"];
        match &self.body {
            Body::None => {}
            Body::Object(name) => parameters.push(body(name, true)),
            Body::DeleteOptions => parameters.push(body(DELETE_OPTIONS, false)),
            Body::Patch => {
                parameters.push(body(PATCH, true));
                consumes = self.patches().to_vec();
            }
        }
        parameters.extend(self.query.iter().map(|name| Parameter::query(name).to_v2()));
        let mut out = self.common(parameters);
        out.insert("consumes".to_owned(), json!(consumes));
        out.insert("produces".to_owned(), json!(self.encodings()));
        let mut responses = Map::new();
        for (code, text) in self.codes {
            let schema = match self.response.as_str() {
                "" => json!({"type": "string"}),
                name => reference(Dialect::V2, name),
            };
            responses.insert((*code).to_owned(), json!({"description": text, "schema": schema}));
        }
        responses.insert("401".to_owned(), json!({"description": "Unauthorized"}));
        out.insert("responses".to_owned(), responses.into());
        out.into()
    }
}

/// As `RbacAuthorization` for `rbac.authorization.k8s.io`.
fn group_word(group: &str) -> String {
    let short = match group {
        "" => "core",
        group => group.strip_suffix(".k8s.io").unwrap_or(group),
    };
    short.split(['.', '-']).map(capitalized).collect()
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn tag(group: &str, version: &str) -> String {
    let word = group_word(group);
    let mut letters = word.chars();
    let first = letters.next().map(|first| first.to_lowercase().collect::<String>()).unwrap_or_default();
    format!("{first}{}_{version}", letters.as_str())
}

/// The list of resources of a group version.
pub(super) fn discovery(group_version: &GroupVersion) -> Operation {
    let GroupVersion { group, version } = group_version;
    Operation {
        path: format!("/{}/", super::path_of(group_version)),
        method: "get",
        body: Body::None,
        response: RESOURCE_LIST.to_owned(),
        id: format!("get{}{}APIResources", group_word(group), capitalized(version)),
        action: "",
        kind: Default::default(),
        tag: tag(group, version),
        query: &[],
        codes: OK,
        is_stream: false,
        is_custom: false,
    }
}

struct Maker<'a> {
    def: &'a ResourceDef,
    all: Vec<Operation>,
}

impl Maker<'_> {
    /// As `AppsV1`.
    fn version_word(&self) -> String {
        format!("{}{}", group_word(&self.def.group), capitalized(&self.def.version))
    }

    fn add(&mut self, path: &str, method: &'static str, action: &'static str, id: String) -> &mut Operation {
        let def = self.def;
        self.all.push(Operation {
            path: path.to_owned(),
            method,
            body: Body::None,
            response: def.schema.full_name(),
            id,
            action,
            kind: (def.group.to_string(), def.version.to_string(), def.kind.to_string()),
            tag: tag(&def.group, &def.version),
            query: &[],
            codes: OK,
            is_stream: false,
            is_custom: def.custom.is_some(),
        });
        self.all.last_mut().expect("one was just added")
    }

    fn collection(&mut self, path: &str) {
        let (word, kind) = (self.version_word(), self.def.kind.clone());
        let scope = if self.def.namespaced { "Namespaced" } else { "" };
        let list_type = format!("{}.{}", self.def.schema.package, self.def.list_kind);
        if self.def.has_verb("list") {
            let operation = self.add(path, "get", "list", format!("list{word}{scope}{kind}"));
            operation.query = LIST;
            operation.response = list_type;
            operation.is_stream = true;
        }
        if self.def.has_verb("create") {
            let body = Body::Object(self.def.schema.full_name());
            let operation = self.add(path, "post", "post", format!("create{word}{scope}{kind}"));
            (operation.query, operation.codes, operation.body) = (WRITE, CREATED, body);
        }
        if self.def.has_verb("deletecollection") {
            let id = format!("delete{word}Collection{scope}{kind}");
            let operation = self.add(path, "delete", "deletecollection", id);
            (operation.query, operation.body) = (DELETE_COLLECTION, Body::DeleteOptions);
            operation.response = STATUS.to_owned();
        }
    }

    fn object(&mut self, path: &str) {
        let (word, kind) = (self.version_word(), self.def.kind.clone());
        let scope = if self.def.namespaced { "Namespaced" } else { "" };
        if self.def.has_verb("get") {
            self.add(path, "get", "get", format!("read{word}{scope}{kind}"));
        }
        if self.def.has_verb("update") {
            let body = Body::Object(self.def.schema.full_name());
            let operation = self.add(path, "put", "put", format!("replace{word}{scope}{kind}"));
            (operation.query, operation.codes, operation.body) = (WRITE, REPLACED, body);
        }
        if self.def.has_verb("patch") {
            let operation = self.add(path, "patch", "patch", format!("patch{word}{scope}{kind}"));
            (operation.query, operation.codes, operation.body) = (PATCHED, REPLACED, Body::Patch);
        }
        if self.def.has_verb("delete") {
            let operation = self.add(path, "delete", "delete", format!("delete{word}{scope}{kind}"));
            (operation.query, operation.codes, operation.body) = (DELETE, DELETED, Body::DeleteOptions);
            operation.response = STATUS.to_owned();
        }
    }

    fn subresource(&mut self, path: &str, sub: &Subresource) {
        let scope = if self.def.namespaced { "Namespaced" } else { "" };
        let name: String = sub.name.split('-').map(capitalized).collect();
        let word = self.version_word();
        let own = self.def.kind.clone();
        let response = match &sub.schema {
            Some(_) if sub.name == "log" => String::new(),
            Some(schema) => schema.full_name(),
            None => String::new(),
        };
        let kind = (sub.group.to_string(), sub.version.to_string(), sub.kind.to_string());
        for verb in &sub.verbs {
            let (method, act) = match &**verb {
                "get" if sub.schema.is_none() => ("get", "connect"),
                "create" if sub.schema.is_none() => ("post", "connect"),
                "get" => ("get", "get"),
                "create" => ("post", "post"),
                "update" => ("put", "put"),
                "patch" => ("patch", "patch"),
                "delete" => ("delete", "delete"),
                _ => continue,
            };
            let verb_word = match (method, act) {
                ("get", "connect") => "connectGet",
                ("post", "connect") => "connectPost",
                ("get", _) => "read",
                ("post", _) => "create",
                ("put", _) => "replace",
                ("patch", _) => "patch",
                _ => "delete",
            };
            let operation = self.add(path, method, act, format!("{verb_word}{word}{scope}{own}{name}"));
            operation.kind.clone_from(&kind);
            operation.response.clone_from(&response);
            match act {
                "post" => {
                    operation.body = Body::Object(response.clone());
                    (operation.query, operation.codes) = (WRITE, CREATED);
                }
                "put" if sub.schema.is_some() => {
                    operation.body = Body::Object(response.clone());
                    (operation.query, operation.codes) = (WRITE, REPLACED);
                }
                "patch" if sub.schema.is_some() => {
                    operation.body = Body::Patch;
                    (operation.query, operation.codes) = (PATCHED, REPLACED);
                }
                "get" if sub.name == "log" => operation.query = LOG,
                _ => {}
            }
        }
    }
}

/// Every operation of a resource.
pub(super) fn of(def: &ResourceDef) -> Vec<Operation> {
    let mut maker = Maker { def, all: Vec::new() };
    let root = format!("/{}", super::path_of(&def.group_version()));
    let collection = match def.namespaced {
        true => format!("{root}/namespaces/{{namespace}}/{}", def.plural),
        false => format!("{root}/{}", def.plural),
    };
    maker.collection(&collection);
    if def.namespaced && def.has_verb("list") {
        let id = format!("list{}{}ForAllNamespaces", maker.version_word(), def.kind);
        let list_type = format!("{}.{}", def.schema.package, def.list_kind);
        let operation = maker.add(&format!("{root}/{}", def.plural), "get", "list", id);
        (operation.query, operation.response, operation.is_stream) = (LIST, list_type, true);
    }
    let object = format!("{collection}/{{name}}");
    maker.object(&object);
    for sub in &def.subresources {
        maker.subresource(&format!("{object}/{}", sub.name), sub);
    }
    maker.all
}
