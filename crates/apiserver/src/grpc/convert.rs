//! What the messages of the contract mean in the words of the pipeline, and back.

use std::sync::Arc;

use api::codec::MediaType;
use api::registry::ResourceDef;
use api::status::{Details, Reason, Status};
use bytes::Bytes;
use jiff::Timestamp;
use rpc::v1;
use serde::Deserialize;
use store::Entry;

use crate::pipeline::{
    Answer, Body, DeleteOptions, Object, PatchType, Pipeline, Propagation, Subresource, Target,
    WatchEventType, WatchItem, WriteOptions, field_validation, render,
};
use crate::view::{Form, MetaVersion, View};

/// What a request is about.
pub(super) struct Place<'a> {
    pub(super) resource: &'a Option<v1::GroupVersionResource>,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) subresource: &'a str,
}

/// Finds the resource.
pub(super) fn target(pipeline: &Pipeline, place: &Place<'_>) -> Answer<Target> {
    let Some(resource) = place.resource else {
        return Err(Status::bad_request("the request names no resource"));
    };
    let v1::GroupVersionResource { group, version, resource } = resource;
    let def = pipeline.registry().resource(group, version, resource).ok_or_else(no_such_resource)?;
    let subresource = match place.subresource {
        "" => None,
        name => {
            def.subresource(name).ok_or_else(no_such_resource)?;
            Some(Subresource::parse(name).ok_or_else(no_such_resource)?)
        }
    };
    if !def.namespaced && !place.namespace.is_empty() {
        return Err(no_such_resource());
    }
    if def.namespaced && place.namespace.is_empty() && !place.name.is_empty() {
        return Err(Status::bad_request("an object of this resource is in a namespace"));
    }
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Ok(Target { def, namespace: given(place.namespace), name: given(place.name), subresource })
}

/// The same where the request must name an object.
pub(super) fn named(pipeline: &Pipeline, place: &Place<'_>) -> Answer<Target> {
    if place.name.is_empty() {
        return Err(Status::bad_request("the request names no object"));
    }
    target(pipeline, place)
}

fn no_such_resource() -> Status {
    Status::failure(Reason::NotFound, "the server could not find the requested resource")
        .with_details(Details::default())
}

/// How objects are sent: as they are, or as tables.
pub(super) fn form(encoding: i32) -> Answer<Form> {
    match v1::Encoding::try_from(encoding) {
        Ok(v1::Encoding::Unspecified | v1::Encoding::Json) => Ok(Form::Object),
        Ok(v1::Encoding::Table) => Ok(Form::Table(MetaVersion::V1)),
        Ok(v1::Encoding::Protobuf | v1::Encoding::Yaml) | Err(_) => {
            Err(Status::failure(Reason::NotAcceptable, "objects are sent as JSON or as tables only"))
        }
    }
}

/// The view of the objects of a resource in that form.
pub(super) fn view(def: &Arc<ResourceDef>, form: Form, now: Timestamp) -> Answer<View> {
    View::new(def.clone(), form, "", now)
}

/// The encoding that an answer of that form says it has.
pub(super) fn encoding(form: Form) -> i32 {
    match form {
        Form::Object | Form::Partial(_) => v1::Encoding::Json,
        Form::Table(_) => v1::Encoding::Table,
    }
    .into()
}

/// The payload of a write.
pub(super) fn body(encoding: i32, bytes: Bytes) -> Answer<Body> {
    let media = match v1::Encoding::try_from(encoding) {
        Ok(v1::Encoding::Unspecified | v1::Encoding::Json) => MediaType::Json,
        Ok(v1::Encoding::Yaml) => MediaType::Yaml,
        Ok(v1::Encoding::Protobuf | v1::Encoding::Table) | Err(_) => {
            let message = "the payload is in an encoding that is not understood";
            return Err(Status::failure(Reason::UnsupportedMediaType, message));
        }
    };
    crate::audit::sent(&bytes);
    Ok(Body { media, bytes })
}

/// The body of a patch: an apply may be YAML.
pub(super) fn patch_body(kind: PatchType, bytes: Bytes) -> Body {
    crate::audit::sent(&bytes);
    let is_json = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let media = if kind == PatchType::Apply && !is_json { MediaType::Yaml } else { MediaType::Json };
    Body { media, bytes }
}

/// The type of a patch.
pub(super) fn patch_type(number: i32) -> Answer<PatchType> {
    match v1::PatchType::try_from(number) {
        Ok(v1::PatchType::Json) => Ok(PatchType::Json),
        Ok(v1::PatchType::Merge) => Ok(PatchType::Merge),
        Ok(v1::PatchType::StrategicMerge) => Ok(PatchType::StrategicMerge),
        Ok(v1::PatchType::Apply) => Ok(PatchType::Apply),
        Ok(v1::PatchType::Unspecified) | Err(_) => Err(Status::bad_request("the patch has no type")),
    }
}

/// Options of a write; `kind` is as `CreateOptions`.
pub(super) fn write_options(
    kind: &str,
    options: Option<v1::WriteOptions>,
    force: bool,
) -> Answer<WriteOptions> {
    let v1::WriteOptions { dry_run, field_manager, field_validation: validation } =
        options.unwrap_or_default();
    let field_validation = field_validation(kind, &validation)?;
    Ok(WriteOptions { dry_run, field_manager, field_validation, force })
}

/// Options of a deletion.
pub(super) fn delete_options(options: Option<v1::DeleteOptions>) -> Answer<DeleteOptions> {
    let options = options.unwrap_or_default();
    let v1::DeleteOptions { dry_run, grace_period_seconds, propagation_policy, uid, resource_version } =
        options;
    let propagation = match propagation_policy.as_str() {
        "" => None,
        policy => Some(Propagation::parse(policy).ok_or_else(|| {
            Status::bad_request(format!(
                "propagation policy {policy:?} is none of Background, Foreground, Orphan"
            ))
        })?),
    };
    let given = |text: String| (!text.is_empty()).then_some(text);
    Ok(DeleteOptions {
        dry_run,
        grace_period_seconds,
        propagation,
        uid: given(uid),
        resource_version: given(resource_version),
    })
}

/// An object of the pipeline.
pub(super) fn object(object: &Object) -> v1::Object {
    let metadata = match &object.entry {
        Some(entry) => meta(&object.api_version, &object.kind, entry),
        None => read_meta(&object.api_version, &object.kind, &object.bytes),
    };
    v1::Object {
        metadata: Some(metadata),
        encoding: v1::Encoding::Json.into(),
        payload: object.bytes.clone(),
        warnings: object.warnings.clone(),
    }
}

/// A stored object in the version of `def`.
pub(super) fn entry(def: &ResourceDef, api_version: &str, entry: &Arc<Entry>) -> v1::Object {
    v1::Object {
        metadata: Some(meta(api_version, &def.kind, entry)),
        encoding: v1::Encoding::Json.into(),
        payload: render(def, entry),
        warnings: Vec::new(),
    }
}

/// A change.
pub(super) fn event(def: &ResourceDef, api_version: &str, item: WatchItem) -> v1::WatchEvent {
    let kind = match item.kind {
        WatchEventType::Added => v1::WatchEventType::Added,
        WatchEventType::Modified => v1::WatchEventType::Modified,
        WatchEventType::Deleted => v1::WatchEventType::Deleted,
        WatchEventType::Bookmark => v1::WatchEventType::Bookmark,
    };
    let metadata = match &item.entry {
        Some(entry) => {
            v1::ObjectMeta { resource_version: item.revision, ..meta(api_version, &def.kind, entry) }
        }
        None => v1::ObjectMeta {
            api_version: api_version.to_owned(),
            kind: def.kind.to_string(),
            resource_version: item.revision,
            ..v1::ObjectMeta::default()
        },
    };
    v1::WatchEvent {
        r#type: kind.into(),
        object: Some(v1::Object {
            metadata: Some(metadata),
            encoding: v1::Encoding::Json.into(),
            payload: item.object,
            warnings: Vec::new(),
        }),
        initial_events_end: item.initial_events_end,
    }
}

fn meta(api_version: &str, kind: &str, entry: &Entry) -> v1::ObjectMeta {
    v1::ObjectMeta {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: entry.key.namespace().to_owned(),
        name: entry.key.name().to_owned(),
        uid: uid(entry),
        resource_version: entry.revision.0,
    }
}

/// The uid of a stored object.
pub(super) fn uid(entry: &Entry) -> String {
    entry.header::<api::object::Header>().map(|header| header.uid.to_string()).unwrap_or_default()
}

/// The same of an object that is not stored, as a scale.
fn read_meta(api_version: &str, kind: &str, bytes: &[u8]) -> v1::ObjectMeta {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Outer {
        metadata: api::meta::ObjectMeta,
    }
    let metadata = serde_json::from_slice::<Outer>(bytes).unwrap_or_default().metadata;
    v1::ObjectMeta {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: metadata.namespace,
        name: metadata.name,
        uid: metadata.uid,
        resource_version: metadata.resource_version.parse().unwrap_or_default(),
    }
}
