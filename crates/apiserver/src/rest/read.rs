//! Get and list.

use http::{Response, StatusCode, header};

use super::list::Pieces;
use super::negotiate::{self, Media};
use super::{Answered, Call, answer, protobuf};
use crate::metrics_api::{self, Asking};
use crate::pipeline::{DeletedCollection, GetOptions, ListResult, Object, Target};
use crate::serve::{Body, empty};
use crate::view::{ListMeta, View};

/// Answers with one object.
pub(super) async fn get(call: &Call<'_>, target: &Target) -> Answered {
    let accepted = negotiate::object(call.head)?;
    if metrics_api::serves(&target.def) {
        let found = metrics_api::get(&asking(call), target).await?;
        return object(call, target, accepted, StatusCode::OK, &found);
    }
    let options = GetOptions { resource_version: call.query.get("resourceVersion").to_owned() };
    let found = call.app.pipeline.get(&call.context, target, &options).await?;
    object(call, target, accepted, StatusCode::OK, &found)
}

/// One object in the form and encoding that the client accepts.
pub(super) fn object(
    call: &Call<'_>,
    target: &Target,
    accepted: negotiate::Accepted,
    code: StatusCode,
    object: &Object,
) -> Answered {
    let bytes = if object.kind == "Status" {
        object.bytes.clone()
    } else {
        let view =
            View::new(target.def.clone(), accepted.form, call.query.get("includeObject"), call.context.now)?;
        let stored = object.entry.as_ref().map_or(&object.bytes, |entry| &entry.value);
        view.object(&object.bytes, stored)
    };
    let mut response = answer::json(call.head, accepted.media, code, bytes);
    answer::warn(response.headers_mut(), &object.warnings);
    Ok(response)
}

/// Answers with the objects of a resource, or a page of them.
pub(super) async fn list(call: &Call<'_>, target: &Target) -> Answered {
    let accepted = negotiate::object(call.head)?;
    let mut options = call.query.list_options()?;
    if let Some(name) = &target.name {
        options.field_selector = format!("metadata.name={name}");
    }
    if metrics_api::serves(&target.def) {
        let found = metrics_api::list(&asking(call), target, &options).await?;
        let view =
            View::new(target.def.clone(), accepted.form, call.query.get("includeObject"), call.context.now)?;
        let bytes = metrics_api::together(&view, &found);
        return Ok(answer::json(call.head, accepted.media, StatusCode::OK, bytes));
    }
    let found = call.app.pipeline.list(&call.context, target, &options).await?;
    page(call, accepted, found)
}

fn asking<'a>(call: &'a Call<'_>) -> Asking<'a> {
    Asking { pipeline: &call.app.pipeline, kubelets: &call.app.kubelets, context: &call.context }
}

/// Answers with the objects that a deletion of many chose.
pub(super) fn deleted(call: &Call<'_>, accepted: negotiate::Accepted, found: DeletedCollection) -> Answered {
    let DeletedCollection { def, revision, entries } = found;
    page(call, accepted, ListResult { def, revision, entries, continue_token: None, remaining: None })
}

fn page(call: &Call<'_>, accepted: negotiate::Accepted, found: ListResult) -> Answered {
    let ListResult { def, revision, entries, continue_token, remaining } = found;
    let view = View::new(def.clone(), accepted.form, call.query.get("includeObject"), call.context.now)?;
    let meta = ListMeta { revision: revision.to_string(), continue_token, remaining };
    if accepted.media == Media::Protobuf
        && let Some(bytes) = protobuf::list(&def, &meta, entries.iter().map(|entry| &**entry))
    {
        let response = answer::with(StatusCode::OK, protobuf::MEDIA_TYPE, Default::default());
        return Ok(answer::compressed(call.head, response, bytes));
    }
    let size: usize = entries.iter().map(|entry| entry.value.len()).sum();
    let pieces = Pieces::new(def, view, &meta, entries);
    if accepted.media != Media::Json || answer::is_pretty(call.head) {
        return Ok(answer::json(call.head, accepted.media, StatusCode::OK, pieces.whole()));
    }
    let response = answer::with(StatusCode::OK, accepted.media.content_type(), Default::default());
    if call.head.method == http::Method::HEAD {
        return Ok(response.map(|_| empty()));
    }
    Ok(if size >= answer::COMPRESS_FROM && answer::takes_gzip(call.head) {
        compressed(response, pieces)
    } else {
        response.map(|_| pieces.into_body())
    })
}

fn compressed(response: Response<Body>, pieces: Pieces) -> Response<Body> {
    let (body, is_compressed) = pieces.into_gzip_body();
    debug_assert!(!response.headers().contains_key(header::CONTENT_ENCODING));
    let response = if is_compressed { answer::as_gzip(response) } else { response };
    response.map(|_| body)
}
