//! `cox undelete`: brings back deleted objects with what they owned.

use client::{GroupVersionResource, UndeleteOutcome, UndeleteRequest};

use super::Session;
use super::target::{label, parse};
use crate::cli::{Global, UndeleteArgs};
use crate::error::CoxError;
use crate::output::Out;

pub(crate) async fn undelete(global: &Global, args: &UndeleteArgs, out: &mut Out) -> Result<(), CoxError> {
    let session = Session::open(global)?;
    let mut failed = Vec::new();
    for target in parse(&args.objects.objects)? {
        let Some(name) = &target.name else {
            return Err(CoxError::Usage("say what shall come back: TYPE/NAME or TYPE NAME".to_owned()));
        };
        let def = &target.def;
        let request = UndeleteRequest {
            resource: Some(GroupVersionResource::new(&*def.group, &*def.version, &*def.plural).to_proto()),
            namespace: target.namespace(&session.namespace).to_owned(),
            name: name.clone(),
            dry_run: args.dry_run,
        };
        for object in session.client.undelete(request).await? {
            let outcome = object.outcome();
            let resource = object.resource.unwrap_or_default();
            let def =
                api::registry::registry().resource(&resource.group, &resource.version, &resource.resource);
            let name = def.map_or_else(|| object.name.clone(), |def| label(&def, &object.name));
            match outcome {
                UndeleteOutcome::Restored if args.dry_run => out.line(&format!("{name} restored (dry run)")),
                UndeleteOutcome::Restored => out.line(&format!("{name} restored")),
                UndeleteOutcome::Exists => out.line(&format!("{name} is there already")),
                UndeleteOutcome::Failed | UndeleteOutcome::Unspecified => {
                    failed.push(format!("{name}: {}", object.message));
                }
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(CoxError::Failed(failed.join("\n"))) }
}
