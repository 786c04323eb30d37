//! Secret: text that was given as text is stored as bytes; each type has keys that it needs.

use base64::Engine as _;
use serde_json::Value;

use super::access::{at, fill, map, object_mut, remove, set, text};
use super::config_map::{MAX_SIZE, check_key, stays_immutable};
use super::path::Path;
use super::{PLAIN, Rules};
use crate::field::FieldError;

pub(super) const RULES: Rules = Rules { default, validate, validate_update, ..PLAIN };

fn default(secret: &mut Value) {
    if let Some(Value::Object(texts)) = remove(secret, "stringData")
        && let Some(data) = object_mut(secret, "data")
    {
        for (key, text) in texts {
            let bytes = text.as_str().unwrap_or_default();
            set(data, &key, base64::engine::general_purpose::STANDARD.encode(bytes));
        }
    }
    fill(secret, "type", "Opaque");
}

fn validate(secret: &Value, errors: &mut Vec<FieldError>) {
    let path = Path::Root("data");
    let mut size = 0;
    for (key, value) in map(secret, "data") {
        check_key(key, &path, errors);
        size += value.as_str().unwrap_or_default().len() / 4 * 3;
    }
    if size > MAX_SIZE {
        errors.push(FieldError::too_long(path, MAX_SIZE));
    }
    let data = at(secret, "data");
    let has = |key: &str| data.get(key).is_some();
    let mut require = |keys: &[&str]| {
        let missing = keys.iter().filter(|key| !has(key));
        errors.extend(missing.map(|key| FieldError::required(path.key(key), "")));
    };
    match text(secret, "type") {
        "kubernetes.io/service-account-token" => {
            let account = "kubernetes.io/service-account.name";
            let annotations = at(at(secret, "metadata"), "annotations");
            if text(annotations, account).is_empty() {
                let metadata = Path::Root("metadata");
                let annotations = metadata.field("annotations");
                errors.push(FieldError::required(annotations.key(account), ""));
            }
        }
        "kubernetes.io/dockercfg" => require(&[".dockercfg"]),
        "kubernetes.io/dockerconfigjson" => require(&[".dockerconfigjson"]),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            require(&["username", "password"]);
        }
        "kubernetes.io/ssh-auth" => require(&["ssh-privatekey"]),
        "kubernetes.io/tls" => require(&["tls.crt", "tls.key"]),
        _ => {}
    }
    for key in [".dockercfg", ".dockerconfigjson"] {
        let is_json = |text: &str| {
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap_or_default();
            serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok()
        };
        let is_for = text(secret, "type") == format!("kubernetes.io/{}", key.trim_start_matches('.'));
        if is_for && has(key) && !is_json(text(data, key)) {
            let why = "must be JSON";
            errors.push(FieldError::invalid(path.key(key), "<secret contents redacted>", why));
        }
    }
}

fn validate_update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    if text(new, "type") != text(old, "type") {
        errors.push(FieldError::immutable("type", at(new, "type")));
    }
    stays_immutable(new, old, &["data"], errors);
}
