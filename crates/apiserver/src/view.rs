//! How one object looks in the form that was asked for: itself, a row of a table, or its metadata only.
//!
//! Objects pass through as bytes. Only a row for a table needs the document, and only for as long as it is made.

use std::fmt::Write as _;
use std::sync::Arc;

use api::encode;
use api::registry::ResourceDef;
use api::status::Status;
use bytes::{BufMut as _, Bytes, BytesMut};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::table;

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As stored.
    Object,
    /// `meta.k8s.io` Table.
    Table(MetaVersion),
    /// `meta.k8s.io` PartialObjectMetadata, or its list.
    Partial(MetaVersion),
}

/// A version of the group `meta.k8s.io`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetaVersion {
    V1,
    V1Beta1,
}

impl MetaVersion {
    /// As in objects.
    pub(crate) fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

/// What the rows of a table carry beside their cells (`includeObject`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Include {
    None,
    Metadata,
    Object,
}

/// How objects of a resource are shown.
#[derive(Debug, Clone)]
pub(crate) struct View {
    def: Arc<ResourceDef>,
    form: Form,
    include: Include,
    now: Timestamp,
}

/// What stands at the top of a list.
#[derive(Debug, Default)]
pub(crate) struct ListMeta {
    pub(crate) revision: String,
    pub(crate) continue_token: Option<String>,
    pub(crate) remaining: Option<i64>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
}

impl View {
    /// `include` is the parameter `includeObject`.
    pub(crate) fn new(
        def: Arc<ResourceDef>,
        form: Form,
        include: &str,
        now: Timestamp,
    ) -> Result<Self, Status> {
        let include = match include {
            "" | "Metadata" => Include::Metadata,
            "None" => Include::None,
            "Object" => Include::Object,
            other => {
                return Err(Status::bad_request(format!("unrecognized includeObject value: {other:?}")));
            }
        };
        Ok(Self { def, form, include, now })
    }

    /// From when ages are counted: a watch goes on for long.
    pub(crate) fn set_now(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// Everything of a list before its first item.
    pub(crate) fn list_head(&self, meta: &ListMeta) -> Bytes {
        let mut text = String::with_capacity(256);
        let (kind, version) = match self.form {
            Form::Object => (&*self.def.list_kind, self.def.api_version()),
            Form::Table(version) => ("Table", version.api_version().to_owned()),
            Form::Partial(version) => ("PartialObjectMetadataList", version.api_version().to_owned()),
        };
        let _ = write!(
            text,
            "{{\"kind\":\"{kind}\",\"apiVersion\":\"{version}\",\"metadata\":{{\"resourceVersion\":\"{}\"",
            meta.revision
        );
        if let Some(token) = &meta.continue_token {
            let _ = write!(text, ",\"continue\":\"{token}\"");
        }
        if let Some(remaining) = meta.remaining {
            let _ = write!(text, ",\"remainingItemCount\":{remaining}");
        }
        text.push('}');
        match self.form {
            Form::Object | Form::Partial(_) => text.push_str(",\"items\":["),
            Form::Table(_) => {
                let _ = write!(text, ",\"columnDefinitions\":{},\"rows\":[", self.columns());
            }
        }
        text.into()
    }

    /// Everything of a list after its last item.
    pub(crate) fn list_tail(&self) -> &'static [u8] {
        b"]}"
    }

    /// One item of a list. `stored` is the object in the storage version, for the cells of a table.
    pub(crate) fn item(&self, object: &Bytes, stored: &Bytes, out: &mut BytesMut) {
        match self.form {
            // As in Kubernetes, the kind of a list says the kind of its items.
            Form::Object => match encode::split_type(object) {
                Some(place) => {
                    out.put_u8(b'{');
                    out.put_slice(&object[place..]);
                }
                None => out.put_slice(object),
            },
            Form::Table(version) => self.row(object, stored, version, out),
            Form::Partial(version) => partial(object, version, out),
        }
    }

    /// One object on its own.
    pub(crate) fn object(&self, object: &Bytes, stored: &Bytes) -> Bytes {
        match self.form {
            Form::Object => object.clone(),
            Form::Table(_) => {
                let revision = revision(object);
                let meta = ListMeta { revision, ..ListMeta::default() };
                let mut out = BytesMut::from(&*self.list_head(&meta));
                self.item(object, stored, &mut out);
                out.put_slice(self.list_tail());
                out.freeze()
            }
            Form::Partial(version) => {
                let mut out = BytesMut::with_capacity(512);
                partial(object, version, &mut out);
                out.freeze()
            }
        }
    }

    /// The object of a watch frame. The columns of a table come with the first frame only.
    pub(crate) fn frame(&self, object: &Bytes, stored: &Bytes, first: bool, out: &mut BytesMut) {
        let Form::Table(version) = self.form else {
            match self.form {
                Form::Partial(version) => partial(object, version, out),
                Form::Object | Form::Table(_) => out.put_slice(object),
            }
            return;
        };
        let columns = if first { self.columns() } else { "null".to_owned() };
        let head = format!(
            "{{\"kind\":\"Table\",\"apiVersion\":\"{}\",\"metadata\":{{\"resourceVersion\":\"{}\"}},\"columnDefinitions\":{columns},\"rows\":[",
            version.api_version(),
            revision(object),
        );
        out.put_slice(head.as_bytes());
        self.row(object, stored, version, out);
        out.put_slice(b"]}");
    }

    fn columns(&self) -> String {
        table::definitions(&self.def)
    }

    fn row(&self, object: &Bytes, stored: &Bytes, version: MetaVersion, out: &mut BytesMut) {
        // What was stored was a document when it was written; an empty one gives an empty row.
        let document: Value = serde_json::from_slice(stored).unwrap_or_default();
        let table::Row { cells, conditions } = table::row(&self.def, &document, self.now);
        out.put_slice(b"{\"cells\":");
        out.put_slice(Value::Array(cells).to_string().as_bytes());
        if let Some(conditions) = conditions {
            out.put_slice(b",\"conditions\":");
            out.put_slice(conditions.to_string().as_bytes());
        }
        out.put_slice(b",\"object\":");
        match self.include {
            Include::None => out.put_slice(b"null"),
            Include::Metadata => partial(object, version, out),
            Include::Object => out.put_slice(object),
        }
        out.put_u8(b'}');
    }
}

fn partial(object: &[u8], version: MetaVersion, out: &mut BytesMut) {
    out.put_slice(b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"");
    out.put_slice(version.api_version().as_bytes());
    out.put_slice(b"\",\"metadata\":");
    match serde_json::from_slice::<Metadata<'_>>(object) {
        Ok(found) => out.put_slice(found.metadata.get().as_bytes()),
        Err(_) => out.put_slice(b"{}"),
    }
    out.put_u8(b'}');
}

fn revision(object: &[u8]) -> String {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Of {
        metadata: Own,
    }
    #[derive(Deserialize, Default)]
    #[serde(default, rename_all = "camelCase")]
    struct Own {
        resource_version: String,
    }
    serde_json::from_slice::<Of>(object).unwrap_or_default().metadata.resource_version
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(form: Form, include: &str) -> View {
        let def = api::registry::registry().resource("", "v1", "configmaps").expect("config maps");
        View::new(def, form, include, "2026-11-24T12:00:00Z".parse().expect("a time")).expect("a view")
    }

    const OBJECT: &[u8] = br#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","creationTimestamp":"2026-11-24T11:55:00Z","resourceVersion":"7"},"data":{"k":"v"}}"#;

    fn item(form: Form, include: &str) -> Value {
        let object = Bytes::from_static(OBJECT);
        let mut out = BytesMut::new();
        view(form, include).item(&object, &object, &mut out);
        serde_json::from_slice(&out).expect("an item")
    }

    #[test]
    fn items_of_a_list_do_not_repeat_their_kind() {
        let item = item(Form::Object, "");
        assert_eq!((item.get("kind"), &item["data"]["k"]), (None, &Value::from("v")));
    }

    #[test]
    fn a_row_carries_what_was_asked_for() {
        let table = Form::Table(MetaVersion::V1);
        let row = item(table, "");
        assert_eq!(row["cells"], serde_json::json!(["a", 1, "5m"]));
        assert_eq!(row["object"]["kind"], "PartialObjectMetadata");
        assert_eq!(row["object"]["metadata"]["name"], "a");
        assert_eq!(item(table, "None")["object"], Value::Null);
        assert_eq!(item(table, "Object")["object"]["data"]["k"], "v");
    }

    #[test]
    fn a_single_object_is_a_table_of_one_row() {
        let object = Bytes::from_static(OBJECT);
        let table = view(Form::Table(MetaVersion::V1Beta1), "").object(&object, &object);
        let table: Value = serde_json::from_slice(&table).expect("a table");
        assert_eq!(table["apiVersion"], "meta.k8s.io/v1beta1");
        assert_eq!(table["metadata"]["resourceVersion"], "7");
        assert_eq!(table["rows"].as_array().map(Vec::len), Some(1));
        assert_eq!(table["columnDefinitions"][0]["name"], "Name");
    }
}
