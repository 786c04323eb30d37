//! What is done with requests, from their documents alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DnType, KeyPair};

use super::*;
use crate::pki::Authority;

const KUBELET: &str = "kubernetes.io/kube-apiserver-client-kubelet";

fn request(name: &str, organization: &str, names: &[&str]) -> String {
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        .expect("names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.distinguished_name.push(DnType::CommonName, name);
    let signed = params.serialize_request(&KeyPair::generate().expect("a key")).expect("a request");
    STANDARD.encode(signed.pem().expect("PEM"))
}

fn document(signer: &str, request: String, usages: &[&str]) -> Value {
    json!({"metadata": {"name": "r", "creationTimestamp": "2026-11-24T12:00:00Z"},
        "spec": {"signerName": signer, "request": request, "usages": usages, "username": "system:node:n1"}})
}

fn node(signer: &str) -> Value {
    document(signer, request("system:node:n1", "system:nodes", &[]), &["digital signature", "client auth"])
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn now() -> Timestamp {
    at("2026-11-24T12:01:00Z")
}

#[test]
fn a_node_is_approved_by_its_own_right_then_signed_then_left_alone() {
    let mut request = node(KUBELET);
    assert_eq!(plan(&request, now(), |_| false), Action::Nothing);
    let Action::Approve { right, message } = plan(&request, now(), |_| true) else { panic!("approved") };
    assert_eq!(right, "selfnodeclient");
    request["spec"]["username"] = "bootstrapper".into();
    let Action::Approve { right: other, .. } = plan(&request, now(), |_| true) else { panic!("approved") };
    assert_eq!(other, "nodeclient");
    add(&mut request, "Approved", "AutoApproved", message, now());
    assert_eq!(plan(&request, now(), |_| false), Action::Sign(Signer::KubeletClient));
    let authority = Authority::generate(now()).expect("an authority");
    let signed = Signer::KubeletClient.sign(&authority, &request["spec"], now()).expect("signed");
    request["status"]["certificate"] = signed.into();
    assert_eq!(plan(&request, now(), |_| true), Action::Nothing);
    assert_eq!(plan(&request, at("2026-11-24T13:02:00Z"), |_| true), Action::Delete);
}

#[test]
fn what_a_signer_does_not_sign_fails_once_it_is_approved() {
    let usages = &["digital signature", "client auth"];
    for (signer, name, organization, names, usages, expected) in [
        (
            KUBELET,
            "ann",
            "system:nodes",
            &[][..],
            &usages[..],
            "subject common name does not begin with system:node:",
        ),
        (KUBELET, "system:node:n", "dev", &[], usages, "subject organization is not system:nodes"),
        (KUBELET, "system:node:n", "system:nodes", &["n"], usages, "DNS subjectAltNames are not allowed"),
        (
            "kubernetes.io/kubelet-serving",
            "system:node:n",
            "system:nodes",
            &[],
            usages,
            "DNS or IP subjectAltName is required",
        ),
        (
            "kubernetes.io/kubelet-serving",
            "system:node:n",
            "system:nodes",
            &["n"],
            usages,
            "usages did not match [digital signature server auth]",
        ),
        (
            "kubernetes.io/kube-apiserver-client",
            "ann",
            "system:masters",
            &[],
            usages,
            "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed",
        ),
    ] {
        let mut own = document(signer, request(name, organization, names), usages);
        assert_eq!(plan(&own, now(), |_| true), Action::Nothing, "{expected}");
        add(&mut own, "Approved", "Me", "", now());
        assert_eq!(plan(&own, now(), |_| true), Action::Fail(expected.to_owned()));
        add(&mut own, "Failed", "SignerValidationFailure", expected, now());
        assert_eq!(plan(&own, now(), |_| true), Action::Nothing);
    }
}

#[test]
fn others_signers_and_old_requests_are_not_ours_to_keep() {
    let mut own = node("example.com/mine");
    add(&mut own, "Approved", "Me", "", now());
    assert_eq!(plan(&own, now(), |_| true), Action::Nothing);
    let pending =
        document("kubernetes.io/kube-apiserver-client", request("ann", "dev", &[]), &["client auth"]);
    assert_eq!(plan(&pending, now(), |_| true), Action::Nothing, "people are approved by people");
    assert_eq!(plan(&pending, at("2026-11-25T12:01:00Z"), |_| true), Action::Delete);
    let mut denied = pending;
    add(&mut denied, "Denied", "Me", "", now());
    assert_eq!(plan(&denied, at("2026-11-24T12:30:00Z"), |_| true), Action::Nothing);
    assert_eq!(plan(&denied, at("2026-11-24T13:02:00Z"), |_| true), Action::Delete);
}
