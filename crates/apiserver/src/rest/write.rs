//! Create, update, patch, delete and deletecollection.

use api::codec::MediaType;
use http::StatusCode;

use super::body::Unread;
use super::negotiate::{self, Accepted};
use super::{Answered, Call, Verb, answer, body, read};
use crate::pipeline::{Body, DeleteOptions, Deleted, PatchType, Target, Written};

/// Does one write. Reads never come here.
pub(super) async fn write(call: &Call<'_>, verb: Verb, target: &Target, body: &mut Unread) -> Answered {
    let accepted = negotiate::object(call.head)?;
    match verb {
        Verb::Create => create(call, target, accepted, body).await,
        Verb::Update => update(call, target, accepted, body).await,
        Verb::Patch => patch(call, target, accepted, body).await,
        Verb::Delete => delete(call, target, accepted, body).await,
        Verb::DeleteCollection => delete_collection(call, target, accepted, body).await,
        Verb::Get | Verb::List | Verb::Watch | Verb::Connect => Err(super::not_found().into()),
    }
}

async fn create(call: &Call<'_>, target: &Target, accepted: Accepted, body: &mut Unread) -> Answered {
    let options = call.query.write_options("CreateOptions")?;
    let body = body::object(call.head, target, body).await?;
    let written = call.app.pipeline.create(&call.context, target, body, &options).await?;
    answer(call, target, accepted, &Written { created: true, ..written })
}

async fn update(call: &Call<'_>, target: &Target, accepted: Accepted, body: &mut Unread) -> Answered {
    let options = call.query.write_options("UpdateOptions")?;
    let body = body::object(call.head, target, body).await?;
    let written = call.app.pipeline.update(&call.context, target, body, &options).await?;
    answer(call, target, accepted, &written)
}

async fn patch(call: &Call<'_>, target: &Target, accepted: Accepted, body: &mut Unread) -> Answered {
    let kind = PatchType::from_media_type(negotiate::content_type(call.head))
        .ok_or_else(|| negotiate::unsupported(&PatchType::ALL.map(PatchType::media_type)))?;
    let options = call.query.write_options("PatchOptions")?;
    let bytes = body::read(body).await?;
    // A server-side apply is YAML, which JSON is too, and is read faster where it is.
    let media = match kind {
        PatchType::Apply if !looks_like_json(&bytes) => MediaType::Yaml,
        _ => MediaType::Json,
    };
    let body = Body { media, bytes };
    let written = call.app.pipeline.patch(&call.context, target, kind, body, &options).await?;
    answer(call, target, accepted, &written)
}

fn looks_like_json(bytes: &[u8]) -> bool {
    bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

fn answer(call: &Call<'_>, target: &Target, accepted: Accepted, written: &Written) -> Answered {
    let code = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    read::object(call, target, accepted, code, &written.object)
}

async fn delete(call: &Call<'_>, target: &Target, accepted: Accepted, body: &mut Unread) -> Answered {
    let options = delete_options(call, target, body).await?;
    let deleted = call.app.pipeline.delete(&call.context, target, &options).await?;
    match &deleted {
        Deleted::Gone { status, .. } => {
            Ok(answer::json(call.head, accepted.media, StatusCode::OK, status.0.clone()))
        }
        Deleted::GoneWithObject(object) | Deleted::Terminating(object) => {
            read::object(call, target, accepted, StatusCode::OK, object)
        }
    }
}

async fn delete_collection(
    call: &Call<'_>,
    target: &Target,
    accepted: Accepted,
    body: &mut Unread,
) -> Answered {
    let selected = call.query.list_options()?;
    let options = delete_options(call, target, body).await?;
    let deleted = call.app.pipeline.delete_collection(&call.context, target, &selected, &options).await?;
    read::deleted(call, accepted, deleted)
}

/// As in Kubernetes, a body goes before the query.
async fn delete_options(
    call: &Call<'_>,
    target: &Target,
    body: &mut Unread,
) -> Result<DeleteOptions, super::Refusal> {
    let mut body = body::object(call.head, target, body).await?;
    if body.bytes.is_empty() {
        body = Body::json(call.query.delete_options()?.to_string());
    }
    Ok(DeleteOptions::decode(&body)?)
}
