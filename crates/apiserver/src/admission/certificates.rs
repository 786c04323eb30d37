//! CertificateApproval, CertificateSigning and CertificateSubjectRestriction: who may have a certificate made depends on
//! who signs it, and nobody is made an administrator by the way.

use api::status::Status;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{Operation, Request, quoted, text};
use crate::authz::ADMINISTRATORS;
use crate::pipeline::{Attributes, Authorizer, Subresource};

const BUCKET: &str = "certificatesigningrequests.certificates.k8s.io";
const CLIENTS_OF_SERVER: &str = "kubernetes.io/kube-apiserver-client";

/// Says no to what the user may not do with a request for a certificate.
pub(crate) fn check(
    request: &Request<'_>,
    authorizer: &dyn Authorizer,
    object: Option<&Value>,
    old: Option<&Value>,
) -> Result<(), Status> {
    let Some(object) = object.filter(|_| &*request.def.bucket == BUCKET) else { return Ok(()) };
    let signer = text(&object["spec"], "signerName");
    let may = |verb: &str, what: &str| match is_allowed(request, authorizer, verb, signer) {
        true => Ok(()),
        false => {
            let why = format!("user not permitted to {what} requests with signerName {}", quoted(signer));
            Err(request.forbid(Some(object), why))
        }
    };
    match (request.operation, request.subresource) {
        (Operation::Create, None)
            if signer == CLIENTS_OF_SERVER && names_group(&object["spec"]["request"], ADMINISTRATORS) =>
        {
            let why = format!("use of {CLIENTS_OF_SERVER} signer with {ADMINISTRATORS} group is not allowed");
            Err(request.forbid(Some(object), why))
        }
        (Operation::Update, Some(Subresource::Approval)) => may("approve", "approve"),
        (Operation::Update, Some(Subresource::Status)) => {
            let signed = |object: &Value| {
                let conditions = super::items(&object["status"], "conditions");
                let failed = conditions.filter(|own| own["type"] == "Failed").cloned().collect::<Vec<_>>();
                (object["status"]["certificate"].clone(), failed)
            };
            if old.is_some_and(|old| signed(old) == signed(object)) { Ok(()) } else { may("sign", "sign") }
        }
        _ => Ok(()),
    }
}

/// Whether the user may do that for this signer, or for all of its domain.
fn is_allowed(request: &Request<'_>, authorizer: &dyn Authorizer, verb: &str, signer: &str) -> bool {
    let domain = signer.split_once('/').map_or("", |(domain, _)| domain);
    [signer.to_owned(), format!("{domain}/*")].iter().any(|name| {
        let asked = Attributes {
            verb,
            group: "certificates.k8s.io",
            version: "*",
            resource: "signers",
            name,
            ..Attributes::nothing(request.user)
        };
        authorizer.authorize(&asked).is_allowed()
    })
}

/// Whether a request (PEM in base64) wants to be of a group: whether its bytes hold an organization of that name.
fn names_group(request: &Value, group: &str) -> bool {
    const ORGANIZATION: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x0a];
    let pem = request.as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
    let pem = String::from_utf8_lossy(&pem);
    let inner: String = pem.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
    let der = STANDARD.decode(inner).unwrap_or_default();
    der.windows(ORGANIZATION.len()).enumerate().any(|(place, window)| {
        // The type of the text, and its length.
        let own = der.get(place + ORGANIZATION.len() + 1..).unwrap_or_default();
        window == ORGANIZATION
            && own.first().is_some_and(|length| usize::from(*length) == group.len())
            && own[1..].starts_with(group.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    #[test]
    fn the_groups_that_a_request_names_are_seen() {
        let request = |group: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::OrganizationName, group);
            let made = params.serialize_request(&KeyPair::generate().expect("a key")).expect("a request");
            Value::from(STANDARD.encode(made.pem().expect("PEM")))
        };
        assert!(names_group(&request("system:masters"), "system:masters"));
        assert!(!names_group(&request("system:masterss"), "system:masters"));
        assert!(!names_group(&request("system:nodes"), "system:masters"));
        assert!(!names_group(&Value::from("no request"), "system:masters"));
    }
}
