//! CertificateSigningRequest: what may be asked for, and which parts of an answer stay as they are.

use serde_json::Value;

use super::access::{at, int, list, some, text};
use super::metadata::NameRule;
use super::{FieldError, PLAIN, Rules, keep};
use crate::names;

pub(super) const RULES: Rules =
    Rules { update, name: NameRule::PathSegment, validate_create: validate, validate_status, ..PLAIN };

/// What a certificate can be for.
const USAGES: [&str; 23] = [
    "signing",
    "digital signature",
    "content commitment",
    "key encipherment",
    "key agreement",
    "data encipherment",
    "cert sign",
    "crl sign",
    "encipher only",
    "decipher only",
    "any",
    "server auth",
    "client auth",
    "code signing",
    "email protection",
    "s/mime",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "timestamping",
    "ocsp signing",
    "microsoft sgc",
    "netscape sgc",
];

fn update(new: &mut Value, old: &Value) {
    keep(new, old, "spec");
}

fn validate(request: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(request, "spec");
    let usages = list(spec, "usages");
    if usages.is_empty() {
        errors.push(FieldError::required("spec.usages", ""));
    }
    for (place, usage) in usages.iter().enumerate() {
        let field = format!("spec.usages[{place}]");
        let text = usage.as_str().unwrap_or_default();
        if !USAGES.contains(&text) {
            let mut known = USAGES;
            known.sort_unstable();
            errors.push(FieldError::not_supported(field, text, &known));
        } else if usages[..place].contains(usage) {
            errors.push(FieldError::duplicate(field, text));
        }
    }
    signer(text(spec, "signerName"), errors);
    if let Some(seconds) = int(spec, "expirationSeconds").filter(|seconds| *seconds < 600) {
        let why = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.push(FieldError::invalid("spec.expirationSeconds", seconds, why));
    }
}

fn signer(name: &str, errors: &mut Vec<FieldError>) {
    let field = "spec.signerName";
    if name.is_empty() {
        return errors.push(FieldError::required(field, ""));
    }
    if name == "kubernetes.io/legacy-unknown" {
        let why = "the legacy signerName is not allowed via this API version";
        return errors.push(FieldError::invalid(field, name, why));
    }
    let Some((domain, path)) = name.split_once('/').filter(|(_, path)| !path.contains('/')) else {
        let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return errors.push(FieldError::invalid(field, name, why));
    };
    for part in [domain, path] {
        errors
            .extend(names::dns_subdomain(part).into_iter().map(|why| FieldError::invalid(field, part, why)));
    }
    if !domain.contains('.') {
        let why = "should be a domain with at least two segments separated by dots";
        errors.push(FieldError::invalid(field, domain, why));
    }
}

fn conditions(of: &Value) -> &[Value] {
    list(at(of, "status"), "conditions")
}

fn has(of: &Value, ty: &str) -> bool {
    conditions(of).iter().any(|condition| text(condition, "type") == ty)
}

fn validate_status(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    for (place, condition) in conditions(new).iter().enumerate() {
        let field = |name: &str| format!("status.conditions[{place}].{name}");
        let ty = text(condition, "type");
        if ty.is_empty() {
            errors.push(FieldError::required(field("type"), ""));
        }
        match (text(condition, "status"), matches!(ty, "Approved" | "Denied" | "Failed")) {
            ("", _) => errors.push(FieldError::required(field("status"), "")),
            ("True", _) | ("False" | "Unknown", false) => {}
            (status @ ("False" | "Unknown"), true) => {
                errors.push(FieldError::not_supported(field("status"), status, &["True"]));
            }
            (status, _) => {
                let all = ["False", "True", "Unknown"];
                errors.push(FieldError::not_supported(field("status"), status, &all));
            }
        }
        if matches!(ty, "Approved" | "Denied")
            && conditions(new)[..place].iter().any(|own| {
                let other = text(own, "type");
                other != ty && matches!(other, "Approved" | "Denied")
            })
        {
            let why = "Approved and Denied conditions are mutually exclusive";
            errors.push(FieldError::invalid(field("type"), ty, why));
        }
    }
    for ty in ["Approved", "Denied", "Failed"] {
        if has(old, ty) && !has(new, ty) {
            let why = format!("updates may not remove a condition of type {}", crate::field::quote(ty));
            errors.push(FieldError::forbidden("status.conditions", why));
        }
    }
    let (before, after) = (text(at(old, "status"), "certificate"), text(at(new, "status"), "certificate"));
    if !before.is_empty() && before != after {
        let why = "updates may not change an issued certificate once it is set";
        errors.push(FieldError::forbidden("status.certificate", why));
    }
    if some(at(new, "status"), "certificate").is_some() && !has(new, "Approved") && before.is_empty() {
        errors.push(FieldError::forbidden("status.certificate", "only approved requests have one"));
    }
}
