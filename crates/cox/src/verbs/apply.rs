//! `cox apply`: server-side apply of each object of a manifest.

use client::{PatchOptions, PatchType, WriteOptions};

use super::Session;
use super::manifest::{self, Document};
use super::target::{dynamic, label};
use crate::cli::{ApplyArgs, Global};
use crate::error::CoxError;
use crate::output::Out;

pub(crate) async fn apply(global: &Global, args: &ApplyArgs, out: &mut Out) -> Result<(), CoxError> {
    let session = Session::open(global)?;
    let options = PatchOptions {
        write: WriteOptions {
            dry_run: args.dry_run,
            field_validation: "Strict".to_owned(),
            ..WriteOptions::default()
        },
        force: args.force_conflicts,
    };
    documents(&session, manifest::read(&args.filename, &session.namespace)?, &options, out).await
}

/// Applies each object, and says what became of it.
pub(super) async fn documents(
    session: &Session,
    documents: Vec<Document>,
    options: &PatchOptions,
    out: &mut Out,
) -> Result<(), CoxError> {
    let mut failed = Vec::new();
    for document in documents {
        let api = dynamic(&session.client, &document.def);
        let before = match api.get(&document.namespace, &document.name).await {
            Ok(object) => Some(object.resource_version),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error.into()),
        };
        let patch = serde_json::to_vec(&document.object).expect("a document holds only what JSON can").into();
        let applied =
            api.patch(&document.namespace, &document.name, "", (PatchType::Apply, patch), options).await;
        let name = label(&document.def, &document.name);
        match applied {
            Ok(object) => {
                for warning in &object.warnings {
                    out.message(&format!("Warning: {warning}"));
                }
                let what = match before {
                    None => "created",
                    Some(version) if version == object.resource_version => "unchanged",
                    Some(_) => "configured",
                };
                out.line(&format!("{name} {what}{}", if options.write.dry_run { " (dry run)" } else { "" }));
            }
            // The other objects are applied all the same, as kubectl does.
            Err(error) => failed.push(format!("{name}: {}", error.to_status())),
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(CoxError::Failed(failed.join("\n"))) }
}
