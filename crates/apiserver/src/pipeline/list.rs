//! List: a page of a snapshot. The objects are pointers into the store; nothing is copied or decoded.

use std::sync::Arc;

use api::status::{Cause, Details, Reason, Status};
use store::{Entry, Key, ReadError, Revision, Snapshot};

use super::continue_token::ContinueToken;
use super::options::{self, shortened};
use super::selection::Selection;
use super::types::{Answer, ListOptions, ListResult, RequestContext, Target};
use super::{Pipeline, convert, object};

/// Which snapshot a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// The present one.
    Latest,
    /// The present one, which must not be older than this.
    NotOlderThan(u64),
    /// The one of this revision.
    Exact(u64),
}

impl Pipeline {
    /// Lists the objects of a resource.
    pub async fn list(
        &self,
        context: &RequestContext,
        target: &Target,
        options: &ListOptions,
    ) -> Answer<ListResult> {
        self.allowed_to_select(context, "list", target, &options.field_selector)?;
        let selection = Selection::parse(target, &options.label_selector, &options.field_selector)?;
        self.page(target, &selection, options, context.at).await
    }

    pub(super) async fn page(
        &self,
        target: &Target,
        selection: &Selection,
        options: &ListOptions,
        at: Option<u64>,
    ) -> Answer<ListResult> {
        // Of the past there is one state, whatever version a client that knows the present asks for.
        let moment = at.map_or_else(|| moment(options), |at| Ok(Moment::Exact(at)))?;
        let (snapshot, after, consistent) = if options.continue_token.is_empty() {
            (self.snapshot_of(moment).await?, None, true)
        } else {
            let token = ContinueToken::decode(&options.continue_token)?;
            let after = Key::new(&object::bucket(&target.def), &token.namespace, &token.name);
            let snapshot = match token.revision {
                None => self.inner.store.snapshot(),
                Some(revision) => self.snapshot_to_continue(revision, &token).await?,
            };
            (snapshot, Some(after), token.revision.is_some())
        };
        let revision = snapshot.revision().0;
        let namespace = target.namespace.as_deref().filter(|_| target.def.namespaced);

        if let (Some(name), true) = (selection.name(), namespace.is_some() || !target.def.namespaced) {
            let key = Key::new(&object::bucket(&target.def), namespace.unwrap_or_default(), name);
            let found = snapshot.get(&key).cloned().into_iter().collect();
            let mut entries = self.all_shown(&target.def, found).await?;
            entries.retain(|entry| selection.matches(entry));
            return Ok(ListResult {
                def: target.def.clone(),
                revision,
                entries,
                continue_token: None,
                remaining: None,
            });
        }

        let bucket = object::bucket(&target.def);
        let (entries, rest) = if convert::webhook(&target.def).is_some() && !selection.is_everything() {
            // What is selected by is in the version of the request.
            let all = snapshot.list(&bucket, namespace, after.as_ref()).cloned().collect();
            let all = self.all_shown(&target.def, all).await?;
            taken(all.iter(), selection, options.limit)
        } else {
            let all = snapshot.list(&bucket, selection.scope(namespace), after.as_ref());
            let (entries, rest) = taken(all, selection, options.limit);
            (self.all_shown(&target.def, entries).await?, rest)
        };
        let last = entries.last().filter(|_| rest.is_some());
        let continue_token = last.map(|last| {
            ContinueToken {
                revision: consistent.then_some(revision),
                namespace: last.key.namespace().to_owned(),
                name: last.key.name().to_owned(),
            }
            .encode()
        });
        let remaining = rest.filter(|_| selection.is_everything());
        Ok(ListResult { def: target.def.clone(), revision, entries, continue_token, remaining })
    }

    /// The present snapshot, which is refused where it is older than asked for.
    pub(super) fn snapshot_not_older(&self, resource_version: &str) -> Answer<Snapshot> {
        match options::resource_version(resource_version)? {
            None | Some(0) => Ok(self.inner.store.snapshot()),
            Some(revision) => {
                let present = self.inner.store.snapshot();
                if revision > present.revision().0 {
                    Err(too_large(revision, present.revision().0))
                } else {
                    Ok(present)
                }
            }
        }
    }

    /// The snapshot that a request reads.
    pub(super) async fn snapshot_for(
        &self,
        context: &RequestContext,
        resource_version: &str,
    ) -> Answer<Snapshot> {
        match context.at {
            Some(at) => self.snapshot_of(Moment::Exact(at)).await,
            None => self.snapshot_not_older(resource_version),
        }
    }

    async fn snapshot_of(&self, moment: Moment) -> Answer<Snapshot> {
        let present = self.inner.store.snapshot();
        match moment {
            Moment::Latest => Ok(present),
            Moment::NotOlderThan(revision) if revision > present.revision().0 => {
                Err(too_large(revision, present.revision().0))
            }
            Moment::NotOlderThan(_) => Ok(present),
            Moment::Exact(revision) => match self.inner.store.snapshot_at(Revision(revision)).await {
                Ok(snapshot) => Ok(snapshot),
                Err(ReadError::Future { .. }) => Err(too_large(revision, present.revision().0)),
                Err(ReadError::Compacted { .. }) => {
                    Err(expired("The resourceVersion for the provided list is too old."))
                }
                Err(other) => Err(Status::internal(other)),
            },
        }
    }

    async fn snapshot_to_continue(&self, revision: u64, token: &ContinueToken) -> Answer<Snapshot> {
        match self.inner.store.snapshot_at(Revision(revision)).await {
            Ok(snapshot) => Ok(snapshot),
            Err(ReadError::Compacted { .. }) => {
                let mut status = expired(
                    "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
                );
                status.metadata.continue_token = ContinueToken { revision: None, ..token.clone() }.encode();
                Err(status)
            }
            Err(ReadError::Future { .. }) => {
                Err(too_large(revision, self.inner.store.snapshot().revision().0))
            }
            Err(other) => Err(Status::internal(other)),
        }
    }
}

/// The first entries that are selected, and how many there are beside: nothing where these are all.
fn taken<'e>(
    mut rest: impl Iterator<Item = &'e Arc<Entry>>,
    selection: &Selection,
    limit: u64,
) -> (Vec<Arc<Entry>>, Option<i64>) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let everything = selection.is_everything();
    let mut entries = Vec::new();
    while let Some(entry) = rest.next() {
        if !everything && !selection.matches(entry) {
            continue;
        }
        if limit > 0 && entries.len() == limit {
            // With a selector nobody wants to know.
            let more = if everything { i64::try_from(1 + rest.count()).unwrap_or(i64::MAX) } else { 1 };
            return (entries, Some(more));
        }
        entries.push(entry.clone());
    }
    (entries, None)
}

/// What was asked for is no longer kept.
pub(super) fn expired(message: &str) -> Status {
    Status::failure(Reason::Expired, message)
}

/// What was asked for is in the future.
pub(super) fn too_large(revision: u64, current: u64) -> Status {
    Status::failure(
        Reason::Timeout,
        format!("Timeout: Too large resource version: {revision}, current: {current}"),
    )
    .with_details(Details {
        causes: vec![Cause {
            reason: "ResourceVersionTooLarge".to_owned(),
            message: "Too large resource version".to_owned(),
            field: String::new(),
        }],
        retry_after_seconds: 1,
        ..Details::default()
    })
}

fn moment(options: &ListOptions) -> Answer<Moment> {
    let wanted = &options.resource_version_match;
    let forbidden = |message: &str| {
        Err(options::invalid(
            "ListOptions",
            "resourceVersionMatch",
            "FieldValueForbidden",
            &format!("Forbidden: {message}"),
        ))
    };
    if !wanted.is_empty() {
        if options.resource_version.is_empty() {
            return forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided");
        }
        if !options.continue_token.is_empty() {
            return forbidden("resourceVersionMatch is forbidden when continue is provided");
        }
        if wanted != "Exact" && wanted != "NotOlderThan" {
            return Err(options::invalid(
                "ListOptions",
                "resourceVersionMatch",
                "FieldValueNotSupported",
                &format!(
                    "Unsupported value: \"{}\": supported values: \"Exact\", \"NotOlderThan\"",
                    shortened(wanted)
                ),
            ));
        }
        if wanted == "Exact" && options.resource_version == "0" {
            return forbidden("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
        }
    }
    let revision = options::resource_version(&options.resource_version)?;
    if !options.continue_token.is_empty() && revision.is_some_and(|revision| revision != 0) {
        return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
    }
    Ok(match revision {
        None | Some(0) => Moment::Latest,
        Some(revision) if wanted == "Exact" || (wanted.is_empty() && options.limit > 0) => {
            Moment::Exact(revision)
        }
        Some(revision) => Moment::NotOlderThan(revision),
    })
}
