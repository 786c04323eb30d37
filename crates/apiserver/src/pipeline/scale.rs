//! The scale of a workload: its number of replicas as an object of its own, for autoscalers and `kubectl scale`.

use api::codec::{self, MediaType};
use api::encode;
use api::field::{FieldError, invalid_kind};
use api::registry::ResourceDef;
use api::selector::{LabelSelector, Selector};
use api::status::Status;
use api::structural;
use serde_json::{Map, Value, json};
use store::Entry;

use super::Pipeline;
use super::metadata::{self, Expected};
use super::object::{self, meta};
use super::patch::PatchDocument;
use super::types::{Answer, Body, Object, RequestContext, Target, WriteOptions, Written};
use super::update::{Draft, Edit, Part};

/// The scale of a stored object.
pub(super) fn of_entry(def: &ResourceDef, entry: &Entry) -> Answer<Object> {
    let scale_def = object::part_def(def, "scale")?;
    let stored = object::stored(entry)?;
    let paths = Paths::of(def);
    if def.custom.is_some() && structural::scale::find(&stored, &paths.replicas).is_none_or(Value::is_null) {
        let path = &paths.replicas;
        return Err(Status::internal(format!("the spec replicas field {path:?} does not exist")));
    }
    let scale = of(&scale_def, &paths, &stored);
    Ok(Object {
        api_version: scale_def.api_version(),
        kind: scale_def.kind.to_string(),
        bytes: encode::to_bytes(&scale),
        entry: None,
        warnings: Vec::new(),
    })
}

/// What a scale is, and the one of an object.
pub(super) fn shown(def: &ResourceDef, object: &Value) -> Answer<(ResourceDef, Value)> {
    let scale_def = object::part_def(def, "scale")?;
    let scale = of(&scale_def, &Paths::of(def), object);
    Ok((scale_def, scale))
}

/// Gives an object the number of replicas of a scale.
pub(super) fn put_back(def: &ResourceDef, object: &mut Value, scale: &Value) -> Answer<()> {
    let (paths, replicas) = (Paths::of(def), scale["spec"]["replicas"].as_i64().unwrap_or(0));
    if structural::scale::find(object, &paths.replicas).and_then(Value::as_i64) == Some(replicas)
        || structural::scale::set(object, &paths.replicas, replicas.into())
    {
        return Ok(());
    }
    Err(Status::bad_request(format!("{} is no place for a number", paths.replicas)))
}

/// Where an object has its numbers.
struct Paths {
    replicas: String,
    present: String,
    /// A text; `None` where the selector is the usual one in the spec.
    selector: Option<String>,
}

impl Paths {
    fn of(def: &ResourceDef) -> Self {
        match def.custom.as_ref().and_then(|custom| custom.scale.as_ref()) {
            Some(scale) => Self {
                replicas: scale.spec_replicas.clone(),
                present: scale.status_replicas.clone(),
                selector: Some(scale.selector.clone()),
            },
            None => Self {
                replicas: ".spec.replicas".to_owned(),
                present: ".status.replicas".to_owned(),
                selector: None,
            },
        }
    }
}

/// The scale of a document in its storage version.
fn of(scale_def: &ResourceDef, paths: &Paths, stored: &Value) -> Value {
    let number = |path: &str| structural::scale::find(stored, path).and_then(Value::as_i64);
    let mut metadata = Map::new();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = stored["metadata"].get(field) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    let mut spec = Map::new();
    if let Some(replicas) = number(&paths.replicas).filter(|replicas| *replicas != 0) {
        spec.insert("replicas".to_owned(), replicas.into());
    }
    let mut status = Map::new();
    status.insert("replicas".to_owned(), number(&paths.present).unwrap_or(0).into());
    if scale_def.group == "autoscaling" {
        let selector = match &paths.selector {
            Some(path) => {
                let found = structural::scale::find(stored, path).and_then(Value::as_str);
                found.unwrap_or_default().to_owned()
            }
            None => selector(&stored["spec"]["selector"]),
        };
        if !selector.is_empty() {
            status.insert("selector".to_owned(), selector.into());
        }
    } else {
        // The scale of extensions/v1beta1 and apps/v1beta1 has both forms.
        let labels = stored["spec"]["selector"].get("matchLabels").cloned().unwrap_or(Value::Null);
        if labels.is_object() {
            status.insert("selector".to_owned(), labels);
        }
        status.insert("targetSelector".to_owned(), selector(&stored["spec"]["selector"]).into());
    }
    json!({
        "kind": &*scale_def.kind,
        "apiVersion": scale_def.api_version(),
        "metadata": metadata,
        "spec": spec,
        "status": status,
    })
}

/// The selector as text: a replication controller's is plain labels, the others' a label selector.
fn selector(selector: &Value) -> String {
    let is_label_selector = selector.get("matchLabels").is_some_and(Value::is_object)
        || selector.get("matchExpressions").is_some_and(Value::is_array);
    if is_label_selector {
        serde_json::from_value::<LabelSelector>(selector.clone())
            .ok()
            .and_then(|selector| selector.to_selector().ok())
            .map(|selector| selector.to_string())
            .unwrap_or_default()
    } else {
        serde_json::from_value(selector.clone())
            .map(|labels| Selector::from_labels(&labels).to_string())
            .unwrap_or_default()
    }
}

impl Pipeline {
    pub(super) async fn update_scale(
        &self,
        context: &RequestContext,
        target: &Target,
        body: &Body,
        options: &WriteOptions,
    ) -> Answer<Written> {
        let scale_def = object::part_def(&target.def, "scale")?;
        let decoded =
            codec::decode(&scale_def, body.media, &body.bytes, options.field_validation.unwrap_or_default())?;
        let mut scale = decoded.object;
        metadata::named(target, &mut scale)?;
        metadata::place(target, &mut scale)?;
        let expected = metadata::expected(&scale);
        self.scale_to(context, target, options, &scale_def, |_| Ok((scale.clone(), expected.clone()))).await
    }

    pub(super) async fn patch_scale(
        &self,
        context: &RequestContext,
        target: &Target,
        patch: &PatchDocument,
        options: &WriteOptions,
    ) -> Answer<Written> {
        let scale_def = object::part_def(&target.def, "scale")?;
        let validation = options.field_validation.unwrap_or_default();
        self.scale_to(context, target, options, &scale_def, |old| {
            let before = of(&scale_def, &Paths::of(&target.def), old);
            let mut scale = before.clone();
            patch.apply(&scale_def, &mut scale)?;
            codec::check(&scale_def, &mut scale, validation)?;
            metadata::named(target, &mut scale)?;
            metadata::place(target, &mut scale)?;
            let mut expected = metadata::expected(&scale);
            if meta(&before, "resourceVersion") == expected.resource_version {
                expected = Expected { uid: expected.uid, ..Expected::default() };
            }
            Ok((scale, expected))
        })
        .await
    }

    /// Applies a scale. Whoever does so owns the number of replicas of the object itself.
    pub(super) async fn apply_scale(
        &self,
        context: &RequestContext,
        target: &Target,
        body: &Body,
        options: &WriteOptions,
    ) -> Answer<Written> {
        let (def, scale_def) = (&target.def, object::part_def(&target.def, "scale")?);
        let validation = options.field_validation.unwrap_or_default();
        let decoded = codec::decode(&scale_def, MediaType::Yaml, &body.bytes, validation)?;
        let mut scale = decoded.object;
        metadata::named(target, &mut scale)?;
        metadata::place(target, &mut scale)?;
        let replicas = &scale["spec"]["replicas"];
        check_replicas(&scale_def, &scale, replicas.as_i64().unwrap_or(0))?;
        let mut document = json!({
            "kind": &*def.kind,
            "apiVersion": def.api_version(),
            "metadata": scale["metadata"],
        });
        let paths = Paths::of(def);
        if !replicas.is_null() && !structural::scale::set(&mut document, &paths.replicas, replicas.clone()) {
            return Err(Status::bad_request(format!("{} is no place for a number", paths.replicas)));
        }
        let written =
            self.apply_existing(context, target, Part::Main, &document, &decoded.warnings, options).await?;
        scaled(&scale_def, &paths, written)
    }

    async fn scale_to<F>(
        &self,
        context: &RequestContext,
        target: &Target,
        options: &WriteOptions,
        scale_def: &ResourceDef,
        mut wanted: F,
    ) -> Answer<Written>
    where
        F: FnMut(&Value) -> Answer<(Value, Expected)>,
    {
        let edit = Edit { context, target, options, part: Part::Main };
        let paths = Paths::of(&target.def);
        let written = self
            .edit(&edit, |old| {
                let (scale, expected) = wanted(old)?;
                let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
                check_replicas(scale_def, &scale, replicas)?;
                let mut object = old.clone();
                if !structural::scale::set(&mut object, &paths.replicas, replicas.into()) {
                    let why = format!("{} is no place for a number", paths.replicas);
                    return Err(Status::bad_request(why));
                }
                Ok(Draft { object, expected, warnings: Vec::new(), applied: false })
            })
            .await?;
        scaled(scale_def, &paths, written)
    }
}

fn check_replicas(scale_def: &ResourceDef, scale: &Value, replicas: i64) -> Answer<()> {
    if (0..=i64::from(i32::MAX)).contains(&replicas) {
        return Ok(());
    }
    let error = FieldError::invalid("spec.replicas", replicas, "must be greater than or equal to 0");
    Err(invalid_kind(&scale_def.group, &scale_def.kind, meta(scale, "name"), &[error]))
}

/// The scale of what was written.
fn scaled(scale_def: &ResourceDef, paths: &Paths, written: Written) -> Answer<Written> {
    let stored: Value = serde_json::from_slice(&written.object.bytes).map_err(Status::internal)?;
    let mut scale = object::of_value(&of(scale_def, paths, &stored));
    scale.warnings = written.object.warnings;
    Ok(Written { object: scale, created: false })
}
