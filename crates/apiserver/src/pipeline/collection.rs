//! Deletecollection: every deletion is planned on one snapshot, and the writes go to the store in groups.

use std::sync::Arc;

use api::registry::ResourceDef;
use store::{Entry, Key, WriteError};

use super::admit::Admitted;
use super::delete::{self, Plan};
use super::selection::Selection;
use super::types::{Answer, DeleteOptions, DeletedCollection, ListOptions, RequestContext, Target};
use super::{Pipeline, convert, object};
use crate::admission::Operation;

/// How many objects are planned and written in one group: enough to share a sync, few enough to hold in memory.
const GROUP: usize = 256;

impl Pipeline {
    /// Deletes every object that the selectors of `selected` select.
    pub async fn delete_collection(
        &self,
        context: &RequestContext,
        target: &Target,
        selected: &ListOptions,
        options: &DeleteOptions,
    ) -> Answer<DeletedCollection> {
        self.allowed_to_select(context, "deletecollection", target, &selected.field_selector)?;
        let selection = Selection::parse(target, &selected.label_selector, &selected.field_selector)?;
        let page = self.page(target, &selection, selected, None).await?;
        if convert::webhook(&target.def).is_some() {
            // The page has them as they are shown; each is planned as it is stored.
            for entry in &page.entries {
                let one = named(&target.def, entry.key.namespace(), entry.key.name());
                match self.remove(context, &one, options).await {
                    Err(status) if !status.is_not_found() => return Err(status),
                    _ => {}
                }
            }
            return Ok(DeletedCollection { def: page.def, revision: page.revision, entries: page.entries });
        }
        for group in page.entries.chunks(GROUP) {
            self.delete_group(context, target, group, options).await?;
        }
        Ok(DeletedCollection { def: page.def, revision: page.revision, entries: page.entries })
    }

    async fn delete_group(
        &self,
        context: &RequestContext,
        target: &Target,
        group: &[Arc<Entry>],
        options: &DeleteOptions,
    ) -> Answer<()> {
        let def = &target.def;
        let storage = self.registry().storage(def);
        let snapshot = self.inner.store.snapshot();
        let mut planned: Vec<(Key, Plan)> = Vec::with_capacity(group.len());
        let mut writes = Vec::with_capacity(group.len());
        for entry in group {
            delete::check_preconditions(def, entry, options)?;
            let old = object::stored(entry)?;
            let one = named(def, entry.key.namespace(), entry.key.name());
            let (dry_run, operation) = (options.dry_run, Operation::Delete);
            let admitted =
                Admitted { context, target: &one, storage: &storage, part: None, dry_run, operation };
            let _permit = self.judge(&admitted, &snapshot, None, Some(&old), &mut Vec::new()).await?;
            let plan = delete::plan(def, &old, options, context.now);
            if let Some(write) = delete::to_write(entry, &plan, self.author(context, "")) {
                planned.push((entry.key.clone(), plan));
                writes.push(write);
            }
        }
        if options.dry_run {
            return Ok(());
        }
        let results = self.inner.store.write_all(writes).await;
        for ((key, plan), result) in planned.into_iter().zip(results) {
            match result {
                Ok(entry) => drop(self.deleted(def, entry, &plan).await?),
                Err(WriteError::PreconditionFailed { current: None }) => {}
                // It has changed since the snapshot: it is deleted as it is now.
                Err(WriteError::PreconditionFailed { .. }) => {
                    let one = named(def, key.namespace(), key.name());
                    match self.remove(context, &one, options).await {
                        Err(status) if !status.is_not_found() => return Err(status),
                        _ => {}
                    }
                }
                Err(error) => return Err(object::write_failed(&error)),
            }
        }
        self.written(def, true, context.now).await;
        Ok(())
    }
}

fn named(def: &Arc<ResourceDef>, namespace: &str, name: &str) -> Target {
    Target::object(def.clone(), Some(namespace).filter(|namespace| !namespace.is_empty()), name)
}
