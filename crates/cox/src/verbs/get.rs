//! `cox get`: lists objects as a table, JSON, YAML or names, and goes on to show changes.

use client::{Encoding, ListParams, RawObject, WatchItem, WatchParams};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::Session;
use super::table::Table;
use super::target::{Target, parse};
use crate::cli::{Format, GetArgs, Global};
use crate::error::CoxError;
use crate::output::Out;

pub(crate) async fn get(global: &Global, args: &GetArgs, out: &mut Out) -> Result<(), CoxError> {
    let session = Session::open_at(global, args.at.as_deref())?;
    let targets = parse(&args.objects.objects)?;
    let namespace = if args.all_namespaces { String::new() } else { session.namespace.clone() };
    let question = Question { session: &session, namespace: &namespace, args };
    if args.watch {
        let [target] = targets.as_slice() else {
            return Err(CoxError::Usage("only one resource can be watched at a time".to_owned()));
        };
        return question.watch(target, out).await;
    }
    match args.output {
        Format::Table | Format::Wide => question.tables(&targets, out).await,
        Format::Name => {
            for (target, object) in question.objects(&targets).await? {
                out.line(&target.label(&object.name));
            }
            Ok(())
        }
        Format::Json | Format::Yaml => {
            let single = targets.len() == 1 && targets[0].name.is_some();
            let mut items = Vec::new();
            for (_, object) in question.objects(&targets).await? {
                items.push(object.decode::<Value>()?);
            }
            let document = match (single, items.len()) {
                (true, 1) => items.remove(0),
                _ => {
                    json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items})
                }
            };
            out.bytes(render(&document, args.output).as_bytes());
            Ok(())
        }
    }
}

fn render(document: &Value, format: Format) -> String {
    match format {
        Format::Yaml => serde_saphyr::to_string(document).expect("JSON can be written as YAML"),
        Format::Json | Format::Table | Format::Wide | Format::Name => {
            let text = serde_json::to_string_pretty(document).expect("a value can be written");
            format!("{text}\n")
        }
    }
}

struct Question<'a> {
    session: &'a Session,
    namespace: &'a str,
    args: &'a GetArgs,
}

impl Question<'_> {
    fn params(&self) -> ListParams {
        ListParams {
            labels: self.args.selector.clone(),
            fields: self.args.field_selector.clone(),
            ..ListParams::default()
        }
    }

    async fn tables(&self, targets: &[Target], out: &mut Out) -> Result<(), CoxError> {
        let mut first = true;
        // The named objects of one resource share a table.
        for group in targets.chunk_by(|a, b| a.def.bucket == b.def.bucket) {
            let mut table = Table::default();
            for target in group {
                let api = target.api(&self.session.client).with_encoding(Encoding::Table);
                let namespace = target.namespace(self.namespace);
                match &target.name {
                    Some(name) => table.extend(api.get(namespace, name).await?.decode()?),
                    None => {
                        for chunk in api.list(namespace, &self.params()).await?.items {
                            table.extend(chunk.decode()?);
                        }
                    }
                }
            }
            if table.is_empty() {
                continue;
            }
            if !std::mem::take(&mut first) {
                out.line("");
            }
            let namespaces = self.args.all_namespaces && group[0].def.namespaced;
            out.table(&table.rows(namespaces, self.args.output == Format::Wide, false));
        }
        if first {
            out.message(&match self.namespace {
                "" => "No resources found".to_owned(),
                namespace => format!("No resources found in {namespace} namespace."),
            });
        }
        Ok(())
    }

    async fn objects<'t>(&self, targets: &'t [Target]) -> Result<Vec<(&'t Target, RawObject)>, CoxError> {
        let mut objects = Vec::new();
        for target in targets {
            let (api, namespace) = (target.api(&self.session.client), target.namespace(self.namespace));
            match &target.name {
                Some(name) => objects.push((target, api.get(namespace, name).await?)),
                None => {
                    let list = api.list(namespace, &self.params()).await?;
                    objects.extend(list.items.into_iter().map(|object| (target, object)));
                }
            }
        }
        Ok(objects)
    }

    async fn watch(&self, target: &Target, out: &mut Out) -> Result<(), CoxError> {
        let is_table = matches!(self.args.output, Format::Table | Format::Wide);
        let encoding = if is_table { Encoding::Table } else { Encoding::Json };
        let mut params = WatchParams {
            labels: self.args.selector.clone(),
            fields: self.args.field_selector.clone(),
            ..WatchParams::default()
        };
        if let Some(name) = &target.name {
            params.fields = format!("metadata.name={name}");
        }
        let api = target.api(&self.session.client).with_encoding(encoding);
        let mut changes = api.watch(target.namespace(self.namespace), &params).await?;
        let mut headless = false;
        while let Some(change) = changes.next().await {
            let object = match change? {
                WatchItem::Added(object) | WatchItem::Modified(object) | WatchItem::Deleted(object) => object,
                WatchItem::Bookmark { .. } => continue,
            };
            let is_first = !std::mem::replace(&mut headless, true);
            match self.args.output {
                Format::Table | Format::Wide => {
                    let table: Table = object.decode()?;
                    let wide = self.args.output == Format::Wide;
                    let namespaces = self.args.all_namespaces && target.def.namespaced;
                    out.table(&table.rows(namespaces, wide, !is_first));
                }
                Format::Name => out.line(&target.label(&object.name)),
                Format::Json | Format::Yaml => {
                    if self.args.output == Format::Yaml && !is_first {
                        out.line("---");
                    }
                    out.bytes(render(&object.decode()?, self.args.output).as_bytes());
                }
            }
        }
        Ok(())
    }
}
