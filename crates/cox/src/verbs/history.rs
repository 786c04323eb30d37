//! `cox history`: the versions of objects, newest first: when, by whom, and what changed.

use client::{GroupVersionResource, Version, VersionsRequest, WatchEventType};
use futures_util::StreamExt as _;
use serde_json::Value;

use super::Session;
use super::changes::changes;
use super::target::parse;
use crate::cli::{Global, HistoryArgs};
use crate::error::CoxError;
use crate::output::Out;

pub(crate) async fn history(global: &Global, args: &HistoryArgs, out: &mut Out) -> Result<(), CoxError> {
    let session = Session::open(global)?;
    let mut first = true;
    for target in parse(&args.objects.objects)? {
        let Some(name) = &target.name else {
            return Err(CoxError::Usage("say whose history: TYPE/NAME or TYPE NAME".to_owned()));
        };
        let def = &target.def;
        let request = VersionsRequest {
            resource: Some(GroupVersionResource::new(&*def.group, &*def.version, &*def.plural).to_proto()),
            namespace: target.namespace(&session.namespace).to_owned(),
            name: name.clone(),
        };
        let mut stream = session.client.versions(request).await?;
        if !std::mem::take(&mut first) {
            out.line("");
        }
        out.line(&target.label(name));
        let limit = args.limit.unwrap_or(usize::MAX);
        let mut newer: Option<Version> = None;
        let mut count = 0;
        // A version is told when the one before it is known.
        loop {
            let older = stream.next().await.transpose()?;
            if let Some(version) = &newer {
                for line in told(version, older.as_ref())? {
                    out.line(&line);
                }
                count += 1;
            }
            newer = older;
            if newer.is_none() || count == limit {
                break;
            }
        }
    }
    Ok(())
}

fn document(version: &Version) -> Result<Value, CoxError> {
    let payload = version.object.as_ref().map(|object| object.payload.clone()).unwrap_or_default();
    serde_json::from_slice(&payload)
        .map_err(|error| CoxError::Failed(format!("revision {} is not JSON: {error}", version.revision)))
}

/// The lines of one version.
fn told(version: &Version, older: Option<&Version>) -> Result<Vec<String>, CoxError> {
    let (what, is_change) = match (version.r#type(), older) {
        (WatchEventType::Deleted, _) => ("deleted", false),
        (WatchEventType::Added, _) => ("created", false),
        (_, Some(_)) => ("changed", true),
        // What was before it is not in the history any more.
        (_, None) => ("changed, from what is no longer known", false),
    };
    let who = match (version.user.as_str(), version.manager.as_str()) {
        ("", _) => "not recorded who".to_owned(),
        (user, "") => user.to_owned(),
        (user, manager) => format!("{user} ({manager})"),
    };
    let time = version.time.split('.').next().unwrap_or_default().trim_end_matches('Z');
    let mut lines = vec![format!("revision {}   {time}Z   {who}   {what}", version.revision)];
    if let (true, Some(older)) = (is_change, older) {
        lines.extend(
            changes(&document(older)?, &document(version)?).into_iter().map(|line| format!("    {line}")),
        );
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use client::Object;

    use super::*;

    fn version(kind: WatchEventType, revision: u64, user: &str, payload: &'static str) -> Version {
        Version {
            revision,
            time: "2026-11-24T12:00:00.123456Z".to_owned(),
            r#type: kind.into(),
            user: user.to_owned(),
            manager: if user.is_empty() { String::new() } else { "kubectl".to_owned() },
            object: Some(Object { payload: payload.as_bytes().to_vec().into(), ..Object::default() }),
        }
    }

    #[test]
    fn a_version_says_when_by_whom_and_what() {
        let old = version(WatchEventType::Added, 7, "", r#"{"a":1}"#);
        let new = version(WatchEventType::Modified, 9, "admin", r#"{"a":2}"#);
        assert_eq!(
            told(&new, Some(&old)).expect("told"),
            ["revision 9   2026-11-24T12:00:00Z   admin (kubectl)   changed", "      a: 1 -> 2"]
        );
        assert_eq!(
            told(&old, None).expect("told"),
            ["revision 7   2026-11-24T12:00:00Z   not recorded who   created"]
        );
        assert!(told(&new, None).expect("told")[0].ends_with("no longer known"));
    }
}
