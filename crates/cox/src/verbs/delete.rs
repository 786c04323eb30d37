//! `cox delete`: by name, by label or by manifest; waits until the objects are gone, as kubectl does.

use client::{DeleteOptions, DynamicApi, ListParams, WatchItem, WatchParams};
use futures_util::StreamExt as _;

use super::target::{dynamic, label, parse};
use super::{Session, manifest};
use crate::cli::{DeleteArgs, Global};
use crate::error::CoxError;
use crate::output::Out;

/// An object that shall go.
struct Doomed {
    api: DynamicApi,
    namespace: String,
    name: String,
    /// As `deployment.apps/web`.
    label: String,
}

pub(crate) async fn delete(global: &Global, args: &DeleteArgs, out: &mut Out) -> Result<(), CoxError> {
    let session = Session::open(global)?;
    let options = options(args)?;
    let mut going = Vec::new();
    for doomed in doomed(&session, args).await? {
        match doomed.api.delete(&doomed.namespace, &doomed.name, &options).await {
            Ok(deleted) => {
                out.line(&format!("{} deleted", doomed.label));
                if !deleted.gone {
                    going.push((doomed, deleted.object.uid, deleted.object.resource_version));
                }
            }
            Err(error) if error.is_not_found() && args.ignore_not_found => {}
            Err(error) => return Err(error.into()),
        }
    }
    if !args.no_wait {
        for (doomed, uid, version) in going {
            doomed.wait_gone(&uid, version).await?;
        }
    }
    Ok(())
}

async fn doomed(session: &Session, args: &DeleteArgs) -> Result<Vec<Doomed>, CoxError> {
    let mut doomed = Vec::new();
    for document in manifest::read(&args.filename, &session.namespace)? {
        doomed.push(Doomed {
            api: dynamic(&session.client, &document.def),
            label: label(&document.def, &document.name),
            namespace: document.namespace,
            name: document.name,
        });
    }
    if args.objects.is_empty() && !args.filename.is_empty() {
        return Ok(doomed);
    }
    for target in parse(&args.objects)? {
        let (api, namespace) = (target.api(&session.client), target.namespace(&session.namespace));
        let names = match &target.name {
            Some(name) => vec![name.clone()],
            None if args.selector.is_empty() => {
                return Err(CoxError::Usage("name the objects, or select them with -l".to_owned()));
            }
            None => {
                let list = api.list(namespace, &ListParams::labels(&args.selector)).await?;
                list.items.into_iter().map(|object| object.name).collect()
            }
        };
        for name in names {
            let label = target.label(&name);
            doomed.push(Doomed { api: api.clone(), namespace: namespace.to_owned(), name, label });
        }
    }
    Ok(doomed)
}

fn options(args: &DeleteArgs) -> Result<DeleteOptions, CoxError> {
    let propagation_policy = match args.cascade.as_str() {
        "background" | "true" => "Background",
        "foreground" => "Foreground",
        "orphan" | "false" => "Orphan",
        other => return Err(CoxError::Usage(format!("--cascade {other}: background, foreground or orphan"))),
    };
    Ok(DeleteOptions {
        grace_period_seconds: args.grace_period,
        propagation_policy: propagation_policy.to_owned(),
        ..DeleteOptions::default()
    })
}

impl Doomed {
    /// Waits until the object is gone. Another one of the same name does not count.
    async fn wait_gone(&self, uid: &str, version: u64) -> Result<(), CoxError> {
        let params = WatchParams {
            fields: format!("metadata.name={}", self.name),
            resource_version: version.to_string(),
            ..WatchParams::default()
        };
        let mut changes = self.api.watch(&self.namespace, &params).await?;
        while let Some(change) = changes.next().await {
            if matches!(change?, WatchItem::Deleted(object) if object.uid == uid) {
                return Ok(());
            }
        }
        // The watch ended before the object did: look once whether it has gone meanwhile.
        match self.api.get(&self.namespace, &self.name).await {
            Ok(object) if object.uid == uid => {
                Err(CoxError::Failed(format!("{} is still there", self.label)))
            }
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
