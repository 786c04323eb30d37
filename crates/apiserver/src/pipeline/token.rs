//! TokenRequest: a token for a service account, bound to it and perhaps to a pod, a node or a Secret.

use api::codec;
use api::field::FieldError;
use api::kinds;
use api::registry::ResourceDef;
use api::status::Status;
use api::time::Time;
use serde_json::{Value, json};
use store::{Bucket, Key, Snapshot};

use super::admit::Admitted;
use super::object::{self, meta};
use super::types::{Answer, Body, RequestContext, Target, WriteOptions, Written};
use super::{Pipeline, metadata};
use crate::admission::Operation;
use crate::authn::accounts::{Bound, Claims, ISSUER, Reference, username};

/// The shortest life of a token.
const SHORTEST_SECONDS: i64 = 600;

/// The longest that a client may ask for.
const LONGEST_SECONDS: i64 = 1 << 32;

/// What a client gets that does not say.
const DEFAULT_SECONDS: i64 = 3600;

impl Pipeline {
    /// Issues a token. Nothing is stored.
    pub(super) async fn token(
        &self,
        context: &RequestContext,
        target: &Target,
        body: &Body,
        options: &WriteOptions,
    ) -> Answer<Written> {
        let name = target.name.as_deref().unwrap_or_default();
        let namespace = target.namespace.as_deref().unwrap_or_default();
        let def = object::part_def(&target.def, "token")?;
        let decoded =
            codec::decode(&def, body.media, &body.bytes, options.field_validation.unwrap_or_default())?;
        let mut request = decoded.object;
        same(&def, name, ("name", name, "must match the service account name if specified"), &request)?;
        same(
            &def,
            name,
            ("namespace", namespace, "must match the service account namespace if specified"),
            &request,
        )?;
        let snapshot = self.inner.store.snapshot();
        let account = self.existing(&snapshot, target)?;
        let account = object::stored(&account)?;
        let (dry_run, operation) = (options.dry_run, Operation::Create);
        let admitted =
            Admitted { context, target, storage: &target.def, part: Some(&def), dry_run, operation };
        admitted.mutate(&snapshot, &mut request, None)?;
        let mut warnings = decoded.warnings;
        self.ask(&admitted, &snapshot, &mut request, &mut warnings).await?;
        complete(&mut request, namespace, name, context);
        let errors = validate(&request["spec"]);
        if !errors.is_empty() {
            return Err(kinds::invalid(&def, "", &errors));
        }
        let mut bound = Bound {
            namespace: namespace.to_owned(),
            node: None,
            pod: None,
            secret: None,
            serviceaccount: Reference { name: name.to_owned(), uid: meta(&account, "uid").to_owned() },
        };
        bind(&snapshot, &request["spec"]["boundObjectRef"], &mut bound)?;

        let now = context.now.as_second();
        let seconds = request["spec"]["expirationSeconds"].as_i64().unwrap_or(DEFAULT_SECONDS);
        let audiences = request["spec"]["audiences"].as_array().into_iter().flatten();
        let claims = Claims {
            aud: audiences.filter_map(|audience| audience.as_str().map(str::to_owned)).collect(),
            exp: now + seconds,
            iat: now,
            iss: ISSUER.to_owned(),
            jti: self.inner.names.uid(),
            nbf: now,
            sub: username(namespace, name),
            bound,
        };
        let token = self.inner.authn.key().sign(&claims);
        let token = token.ok_or_else(|| Status::internal("the token could not be signed"))?;
        let expires = jiff::Timestamp::from_second(claims.exp).map_err(Status::internal)?;
        request["status"] = json!({"token": token, "expirationTimestamp": Time(expires).to_string()});
        let mut object = object::of_value(&request);
        object.warnings = warnings;
        Ok(Written { object, created: true })
    }
}

/// What the document says of its metadata must be what the path says.
fn same(def: &ResourceDef, name: &str, field: (&str, &str, &str), request: &Value) -> Answer<()> {
    let (field, wanted, why) = field;
    let given = meta(request, field);
    if given.is_empty() || given == wanted {
        return Ok(());
    }
    Err(kinds::invalid(def, name, &[FieldError::invalid(format!("metadata.{field}"), given.to_owned(), why)]))
}

/// Fills in what the client need not say.
fn complete(request: &mut Value, namespace: &str, name: &str, context: &RequestContext) {
    let fields = metadata::of(request);
    fields.insert("name".to_owned(), name.into());
    fields.insert("namespace".to_owned(), namespace.into());
    fields.insert("creationTimestamp".to_owned(), Time(context.now).to_string().into());
    if !request["spec"].is_object() {
        request["spec"] = json!({});
    }
    let spec = &mut request["spec"];
    if spec["audiences"].as_array().is_none_or(Vec::is_empty) {
        spec["audiences"] = json!([ISSUER]);
    }
    if spec["expirationSeconds"].is_null() {
        spec["expirationSeconds"] = DEFAULT_SECONDS.into();
    }
}

fn validate(spec: &Value) -> Vec<FieldError> {
    let seconds = spec["expirationSeconds"].as_i64().unwrap_or(DEFAULT_SECONDS);
    let why = match seconds {
        ..SHORTEST_SECONDS => "may not specify a duration less than 10 minutes",
        SHORTEST_SECONDS..=LONGEST_SECONDS => return Vec::new(),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    vec![FieldError::invalid("spec.expirationSeconds", seconds, why)]
}

/// Finds the object that the token is to be bound to.
fn bind(snapshot: &Snapshot, reference: &Value, bound: &mut Bound) -> Answer<()> {
    if !reference.is_object() {
        return Ok(());
    }
    let text = |name: &str| reference[name].as_str().unwrap_or_default();
    let (version, kind, name) = (text("apiVersion"), text("kind"), text("name"));
    let (plural, namespace) = match (version, kind) {
        ("v1", "Pod") => ("pods", bound.namespace.as_str()),
        ("v1", "Secret") => ("secrets", bound.namespace.as_str()),
        ("v1", "Node") => ("nodes", ""),
        _ => {
            let version = if version.contains('/') { version.to_owned() } else { format!("/{version}") };
            let message = format!("cannot bind token to object of type {version}, Kind={kind}");
            return Err(Status::bad_request(message));
        }
    };
    let find = |plural: &str, namespace: &str, name: &str| -> Answer<Value> {
        let entry = snapshot.get(&Key::new(&Bucket::from(plural), namespace, name));
        object::stored(entry.ok_or_else(|| Status::not_found("", plural, name))?)
    };
    let found = find(plural, namespace, name)?;
    let uid = meta(&found, "uid").to_owned();
    let account = &bound.serviceaccount.name;
    if kind == "Pod" && found["spec"]["serviceAccountName"].as_str().unwrap_or("default") != account {
        return Err(Status::bad_request(format!(
            "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
        )));
    }
    let wanted = text("uid");
    if !wanted.is_empty() && wanted != uid {
        let why = format!(
            "the UID in the bound object reference ({wanted}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(Status::conflict("", kind, name, &why));
    }
    let reference = Some(Reference { name: name.to_owned(), uid });
    match kind {
        "Pod" => {
            bound.pod = reference;
            if let Some(node) = found["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) {
                let uid = find("nodes", "", node).map(|node| meta(&node, "uid").to_owned());
                bound.node = Some(Reference { name: node.to_owned(), uid: uid.unwrap_or_default() });
            }
        }
        "Secret" => bound.secret = reference,
        _ => bound.node = reference,
    }
    Ok(())
}
