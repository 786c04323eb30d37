//! `cox scale`: through the scale subresource, whatever the kind.

use client::{PatchOptions, PatchType};
use serde_json::{Value, json};

use super::Session;
use super::target::parse;
use crate::cli::{Global, ScaleArgs};
use crate::error::CoxError;
use crate::output::Out;

pub(crate) async fn scale(global: &Global, args: &ScaleArgs, out: &mut Out) -> Result<(), CoxError> {
    let session = Session::open(global)?;
    for target in parse(&args.objects.objects)? {
        let Some(name) = &target.name else {
            return Err(CoxError::Usage("name the objects to scale".to_owned()));
        };
        if target.def.subresource("scale").is_none() {
            return Err(CoxError::Failed(format!("{} cannot be scaled", target.def.qualified())));
        }
        let (api, namespace) = (target.api(&session.client), target.namespace(&session.namespace));
        let mut patch = json!({"spec": {"replicas": args.replicas}});
        if let Some(expected) = args.current_replicas {
            let scale: Value = api.get_subresource(namespace, name, "scale").await?.decode()?;
            let current = scale["spec"]["replicas"].as_i64().unwrap_or(0);
            if current != i64::from(expected) {
                let text = format!("expected replicas to be {expected}, was {current}");
                return Err(CoxError::Failed(text));
            }
            // What was read must still hold when it is written.
            patch["metadata"] = json!({"resourceVersion": scale["metadata"]["resourceVersion"]});
        }
        let patch = (PatchType::Merge, patch.to_string().into_bytes().into());
        api.patch(namespace, name, "scale", patch, &PatchOptions::default()).await?;
        out.line(&format!("{} scaled", target.label(name)));
    }
    Ok(())
}
