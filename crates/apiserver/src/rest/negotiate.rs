//! Which encoding an answer has, and in which form: the object itself, a table for people, or its metadata only.

use api::status::{Details, Reason, Status};
use http::header;
use http::request::Parts;

use super::protobuf;
use crate::discovery::Aggregated;
use crate::view::{Form, MetaVersion};

/// An encoding of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    Json,
    Yaml,
    Protobuf,
}

impl Media {
    /// For the header.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => protobuf::MEDIA_TYPE,
        }
    }
}

/// What the client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) media: Media,
    pub(super) form: Form,
}

impl Accepted {
    const JSON: Self = Self { media: Media::Json, form: Form::Object };
}

/// One of the things that a client accepts.
#[derive(Debug, Default)]
struct Clause<'a> {
    media: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Clause<'a> {
    fn parameter(&self, name: &str) -> &'a str {
        self.parameters.iter().find(|(own, _)| *own == name).map(|(_, value)| *value).unwrap_or_default()
    }
}

/// The clauses of an Accept header, the most wanted first.
fn clauses(header: &str) -> Vec<Clause<'_>> {
    let mut all: Vec<(u16, Clause<'_>)> = header
        .split(',')
        .filter_map(|clause| {
            let mut parts = clause.split(';').map(str::trim);
            let media = parts.next().filter(|media| !media.is_empty())?;
            let parameters: Vec<_> = parts.filter_map(|part| part.split_once('=')).collect();
            let clause = Clause { media, parameters };
            let weight = clause.parameter("q").parse::<f32>().unwrap_or(1.0);
            // Whole thousandths, so that sorting is exact; the sort is stable.
            Some(((weight.clamp(0.0, 1.0) * 1000.0) as u16, clause))
        })
        .filter(|(weight, _)| *weight > 0)
        .collect();
    all.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    all.into_iter().map(|(_, clause)| clause).collect()
}

fn accept(head: &Parts) -> &str {
    super::text(&head.headers, &header::ACCEPT)
}

/// The encoding and form of an object or a list of objects.
pub(super) fn object(head: &Parts) -> Result<Accepted, Status> {
    choose(accept(head), false)
}

/// The encoding and form of a watch.
pub(super) fn watch(head: &Parts) -> Result<Accepted, Status> {
    choose(accept(head), true)
}

fn choose(header: &str, streams: bool) -> Result<Accepted, Status> {
    if header.trim().is_empty() {
        return Ok(Accepted::JSON);
    }
    for clause in clauses(header) {
        let media = match clause.media {
            "*/*" | "application/*" | "application/json" => Media::Json,
            "application/yaml" if !streams => Media::Yaml,
            // A table has no protobuf form, and whoever wants metadata only takes JSON as well.
            protobuf::MEDIA_TYPE if clause.parameter("as").is_empty() => Media::Protobuf,
            _ => continue,
        };
        if !matches!(clause.parameter("stream"), "" | "watch") {
            continue;
        }
        let version = match (clause.parameter("g"), clause.parameter("v")) {
            ("meta.k8s.io", "v1") => Some(MetaVersion::V1),
            ("meta.k8s.io", "v1beta1") => Some(MetaVersion::V1Beta1),
            _ => None,
        };
        let form = match (clause.parameter("as"), version) {
            ("", _) => Form::Object,
            ("Table", Some(version)) => Form::Table(version),
            ("PartialObjectMetadata" | "PartialObjectMetadataList", Some(version)) => Form::Partial(version),
            _ => continue,
        };
        return Ok(Accepted { media, form });
    }
    Err(not_acceptable())
}

/// The first of the client's media types that is one of those, or the first of those where the client takes anything.
pub(super) fn one_of(head: &Parts, served: &[&'static str]) -> Result<&'static str, Status> {
    let header = accept(head);
    if header.trim().is_empty() {
        return Ok(served[0]);
    }
    let wanted = clauses(header).into_iter().find_map(|clause| match clause.media {
        "*/*" | "application/*" => Some(served[0]),
        media => served.iter().copied().find(|own| *own == media),
    });
    wanted.ok_or_else(not_acceptable)
}

/// The encoding of a Status, which every client gets whatever it accepts.
pub(super) fn status(head: &Parts) -> Media {
    choose(accept(head), false).map_or(Media::Json, |accepted| accepted.media)
}

/// Whether the client takes the aggregated form of discovery.
pub(super) fn aggregated(head: &Parts) -> Option<Aggregated> {
    for clause in clauses(accept(head)) {
        let wanted = (clause.parameter("g"), clause.parameter("v"), clause.parameter("as"));
        match (clause.media, wanted) {
            ("application/json", ("apidiscovery.k8s.io", "v2", "APIGroupDiscoveryList")) => {
                return Some(Aggregated::V2);
            }
            ("application/json", ("apidiscovery.k8s.io", "v2beta1", "APIGroupDiscoveryList")) => {
                return Some(Aggregated::V2Beta1);
            }
            ("application/json" | "application/*" | "*/*", ("", "", "")) => return None,
            _ => {}
        }
    }
    None
}

/// The media type of the body, without parameters.
pub(super) fn content_type(head: &Parts) -> &str {
    super::text(&head.headers, &header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim()
}

/// The body is in none of the encodings that are understood.
pub(super) fn unsupported(accepted: &[&str]) -> Status {
    Status::failure(
        Reason::UnsupportedMediaType,
        format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        ),
    )
}

fn not_acceptable() -> Status {
    Status::failure(
        Reason::NotAcceptable,
        "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf, application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch",
    )
    .with_details(Details::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_form_that_is_served_is_chosen() {
        let table = Form::Table(MetaVersion::V1);
        for (header, media, form) in [
            ("", Media::Json, Form::Object),
            ("*/*", Media::Json, Form::Object),
            ("application/yaml", Media::Yaml, Form::Object),
            ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Media::Json, table),
            (
                "application/json;as=Table;g=meta.k8s.io;v=v1beta1",
                Media::Json,
                Form::Table(MetaVersion::V1Beta1),
            ),
            ("application/json;as=Table;g=meta.k8s.io;v=v9, application/json", Media::Json, Form::Object),
            ("application/vnd.kubernetes.protobuf,application/json", Media::Protobuf, Form::Object),
            (
                "application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1,*/*",
                Media::Json,
                Form::Object,
            ),
            ("application/json;q=0.5, application/yaml;q=0.9", Media::Yaml, Form::Object),
            (
                "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
                Media::Json,
                Form::Partial(MetaVersion::V1),
            ),
        ] {
            assert_eq!(choose(header, false).expect(header), Accepted { media, form }, "{header}");
        }
    }

    #[test]
    fn what_is_not_served_is_told_with_what_is() {
        let status = choose("application/xml", false).expect_err("it is refused");
        assert_eq!(
            (status.code, status.message.starts_with("406: Not Acceptable\n\nAvailable")),
            (406, true)
        );
        assert!(choose("application/json;as=Nonsense", false).is_err());
        assert!(choose("application/yaml", true).is_err());
        assert!(choose("application/json;stream=watch", true).is_ok());
    }
}
