//! Manifests: the objects of files, folders and standard input; YAML of many documents, JSON, Lists.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::registry::{ResourceDef, registry};
use serde_json::Value;

use crate::error::CoxError;

/// An object of a manifest, as it was written.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) def: Arc<ResourceDef>,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) object: Value,
}

/// Reads every object that the paths hold, in order; `namespace` is that of objects which name none.
pub(crate) fn read(paths: &[PathBuf], namespace: &str) -> Result<Vec<Document>, CoxError> {
    let mut documents = Vec::new();
    for path in paths {
        for file in files(path)? {
            let text = if file == Path::new("-") {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).map_err(CoxError::file("read", &file))?;
                text
            } else {
                std::fs::read_to_string(&file).map_err(CoxError::file("read", &file))?
            };
            let failed = |why: String| CoxError::Failed(format!("{}: {why}", file.display()));
            documents.extend(parse(&text, namespace).map_err(failed)?);
        }
    }
    Ok(documents)
}

/// The path itself, or the manifests of a folder, by name.
fn files(path: &Path) -> Result<Vec<PathBuf>, CoxError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(CoxError::file("read", path))?;
    let is_manifest = |file: &PathBuf| {
        let ending = file.extension().map(|ending| ending.to_string_lossy().into_owned());
        matches!(ending.as_deref(), Some("yaml" | "yml" | "json"))
    };
    let mut files: Vec<_> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_manifest).collect();
    files.sort();
    Ok(files)
}

fn parse(text: &str, namespace: &str) -> Result<Vec<Document>, String> {
    // As Kubernetes reads YAML: `0644` is octal.
    let mut options = serde_saphyr::Options::default();
    options.legacy_octal_numbers = true;
    let first_line =
        |error: serde_saphyr::Error| error.to_string().lines().next().unwrap_or_default().to_owned();
    let values: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options).map_err(first_line)?;
    let mut documents = Vec::new();
    for value in values {
        flatten(value, namespace, &mut documents)?;
    }
    Ok(documents)
}

fn flatten(mut object: Value, namespace: &str, into: &mut Vec<Document>) -> Result<(), String> {
    if object.is_null() {
        return Ok(());
    }
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind) = (text("/apiVersion"), text("/kind"));
    let (own, name) = (text("/metadata/namespace"), text("/metadata/name"));
    if api_version.is_empty() || kind.is_empty() {
        return Err("an object needs apiVersion and kind".to_owned());
    }
    if kind == "List" && api_version == "v1" {
        let items = object.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take);
        return items.unwrap_or_default().into_iter().try_for_each(|item| flatten(item, namespace, into));
    }
    let version = api::gvk::GroupVersion::parse(&api_version);
    let def = registry()
        .kind(&version.group, &version.version, &kind)
        .ok_or_else(|| format!("no matches for kind \"{kind}\" in version \"{api_version}\""))?;
    let namespace = match (def.namespaced, own.is_empty()) {
        (false, _) => String::new(),
        (true, true) => namespace.to_owned(),
        (true, false) => own,
    };
    if name.is_empty() {
        return Err(format!("an object of kind {kind} needs metadata.name"));
    }
    into.push(Document { def, namespace, name, object });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_lists_are_read_in_order() {
        let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n---\n\
                    apiVersion: v1\nkind: List\nitems:\n- apiVersion: extensions/v1beta1\n  kind: Deployment\n  \
                    metadata: {name: b, namespace: other}\n- {apiVersion: v1, kind: Namespace, metadata: {name: c}}\n";
        let read: Vec<_> = parse(text, "here")
            .expect("a good manifest")
            .into_iter()
            .map(|document| (document.def.plural.to_string(), document.namespace, document.name))
            .collect();
        let expected = [("configmaps", "here", "a"), ("deployments", "other", "b"), ("namespaces", "", "c")]
            .map(|(plural, namespace, name)| (plural.to_owned(), namespace.to_owned(), name.to_owned()));
        assert_eq!(read, expected);
    }

    #[test]
    fn a_mode_is_octal() {
        let text = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {mode: 0644}}";
        assert_eq!(parse(text, "d").expect("a manifest")[0].object["data"]["mode"], 420);
    }

    #[test]
    fn what_is_no_object_is_refused_with_the_reason() {
        for (text, why) in [
            ("a: b", "an object needs apiVersion and kind"),
            ("{apiVersion: v9, kind: Pod}", "no matches for kind \"Pod\" in version \"v9\""),
            ("{apiVersion: v1, kind: Pod}", "an object of kind Pod needs metadata.name"),
        ] {
            assert_eq!(parse(text, "d").expect_err(text), why);
        }
    }
}
