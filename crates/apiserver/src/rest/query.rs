//! Query parameters, as Kubernetes reads them.

use api::status::Status;

use crate::pipeline::{ListOptions, WatchOptions, WriteOptions, dry_run, field_validation};

/// The parameters of a request, in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what stands after the question mark.
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(&name.replace('+', " ")), decode(&value.replace('+', " ")))
                })
                .collect(),
        )
    }

    /// Every parameter.
    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// The first value of a parameter, or nothing.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    /// Every value of a parameter.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str()).collect()
    }

    /// A parameter that is on, unless it is absent or says no.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.switch(name).unwrap_or(false)
    }

    /// The same, where absence means something of its own.
    pub(super) fn switch(&self, name: &str) -> Option<bool> {
        let (_, value) = self.0.iter().find(|(own, _)| own == name)?;
        Some(!matches!(value.to_ascii_lowercase().as_str(), "false" | "0"))
    }

    fn number(&self, name: &str) -> Result<Option<i64>, Status> {
        let text = self.get(name);
        if text.is_empty() {
            return Ok(None);
        }
        text.parse()
            .map(Some)
            .map_err(|_| Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")))
    }

    /// Options of list.
    pub(super) fn list_options(&self) -> Result<ListOptions, Status> {
        Ok(ListOptions {
            label_selector: self.get("labelSelector").to_owned(),
            field_selector: self.get("fieldSelector").to_owned(),
            limit: self.number("limit")?.and_then(|limit| u64::try_from(limit).ok()).unwrap_or(0),
            continue_token: self.get("continue").to_owned(),
            resource_version: self.get("resourceVersion").to_owned(),
            resource_version_match: self.get("resourceVersionMatch").to_owned(),
        })
    }

    /// Options of watch.
    pub(super) fn watch_options(&self) -> Result<WatchOptions, Status> {
        Ok(WatchOptions {
            label_selector: self.get("labelSelector").to_owned(),
            field_selector: self.get("fieldSelector").to_owned(),
            resource_version: self.get("resourceVersion").to_owned(),
            resource_version_match: self.get("resourceVersionMatch").to_owned(),
            send_initial_events: self.switch("sendInitialEvents"),
            allow_bookmarks: self.flag("allowWatchBookmarks"),
            timeout_seconds: self
                .number("timeoutSeconds")?
                .and_then(|seconds| u64::try_from(seconds).ok())
                .unwrap_or(0),
        })
    }

    /// Options of a write; `kind` is as `CreateOptions`.
    pub(super) fn write_options(&self, kind: &str) -> Result<WriteOptions, Status> {
        Ok(WriteOptions {
            dry_run: dry_run(kind, &self.all("dryRun"))?,
            field_manager: self.get("fieldManager").to_owned(),
            field_validation: field_validation(kind, self.get("fieldValidation"))?,
            force: self.flag("force"),
        })
    }

    /// Options of a deletion that has no body, as the body that it could have had.
    pub(super) fn delete_options(&self) -> Result<serde_json::Value, Status> {
        let mut options = serde_json::json!({"kind": "DeleteOptions", "apiVersion": "v1"});
        if let Some(seconds) = self.number("gracePeriodSeconds")? {
            options["gracePeriodSeconds"] = seconds.into();
        }
        if !self.get("propagationPolicy").is_empty() {
            options["propagationPolicy"] = self.get("propagationPolicy").into();
        }
        if let Some(orphan) = self.switch("orphanDependents") {
            options["orphanDependents"] = orphan.into();
        }
        let dry_run = self.all("dryRun");
        if !dry_run.is_empty() {
            options["dryRun"] = serde_json::json!(dry_run);
        }
        Ok(options)
    }
}

/// Undoes percent encoding; what is not encoded rightly stays as it is.
pub(crate) fn decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|_| byte == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) => {
                decoded.push(value);
                rest = &after[2..];
            }
            None => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::parse("labelSelector=a%3Db%2Cc+in+%28d%29&watch&x=%zz&limit=5&dryRun=All&dryRun=");
        assert_eq!(query.get("labelSelector"), "a=b,c in (d)");
        assert_eq!(query.get("x"), "%zz");
        assert!(query.flag("watch"));
        assert_eq!(query.all("dryRun"), ["All", ""]);
        assert_eq!(query.list_options().expect("options").limit, 5);
    }

    #[test]
    fn a_switch_is_on_unless_it_says_no() {
        for (text, on) in [
            ("", None),
            ("watch", Some(true)),
            ("watch=true", Some(true)),
            ("watch=1", Some(true)),
            ("watch=0", Some(false)),
            ("watch=False", Some(false)),
        ] {
            assert_eq!(Query::parse(text).switch("watch"), on, "{text}");
        }
    }

    #[test]
    fn a_number_that_is_none_is_refused() {
        let status = Query::parse("limit=ten").list_options().expect_err("it is refused");
        assert_eq!(
            (status.code, status.message.as_str()),
            (400, "strconv.ParseInt: parsing \"ten\": invalid syntax")
        );
    }
}
