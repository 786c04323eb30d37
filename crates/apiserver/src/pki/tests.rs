//! What is kept over restarts, what is renewed, and what a node's request can and cannot ask for.

use std::os::unix::fs::PermissionsExt as _;

use rcgen::{CertificateParams, DnType, KeyPair};

use super::request::{NodeCertificate, sign};
use super::*;

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

fn place(dir: Option<&Path>) -> Place {
    Place {
        data_dir: dir.map(Path::to_owned),
        listening: "127.0.0.1:6443".parse().unwrap(),
        advertise: "192.0.2.7".parse().unwrap(),
        now: now(),
    }
}

#[test]
fn a_second_start_changes_nothing_and_files_are_private() {
    let dir = tempfile::tempdir().unwrap();
    let first = Pki::open(&place(Some(dir.path()))).unwrap();
    let second = Pki::open(&place(Some(dir.path()))).unwrap();
    assert_eq!(first.authority.certificate_pem(), second.authority.certificate_pem());
    assert!(first.serving == second.serving && first.kubelet_client == second.kubelet_client);
    assert_eq!(first.kubeconfigs.admin, second.kubeconfigs.admin);
    for file in ["pki/ca.key", "pki/ca.crt", "pki/apiserver.key", "admin.kubeconfig", "scheduler.kubeconfig"]
    {
        let mode = std::fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    assert_eq!(first.kubeconfigs.admin.server, "https://127.0.0.1:6443");
}

#[test]
fn a_certificate_is_renewed_when_names_change_or_time_is_short() {
    let dir = tempfile::tempdir().unwrap();
    let first = Pki::open(&place(Some(dir.path()))).unwrap();
    let moved = Place { advertise: "192.0.2.8".parse().unwrap(), ..place(Some(dir.path())) };
    let second = Pki::open(&moved).unwrap();
    assert!(first.serving != second.serving);
    assert_eq!(first.kubeconfigs.admin, second.kubeconfigs.admin);
    let later = Place { now: now() + jiff::SignedDuration::from_hours(24 * 200), ..moved };
    let third = Pki::open(&later).unwrap();
    assert!(second.serving != third.serving);
    assert!(second.kubeconfigs.admin != third.kubeconfigs.admin);
    assert_eq!(first.authority.certificate_pem(), third.authority.certificate_pem());
}

#[test]
fn an_authority_without_its_key_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    Pki::open(&place(Some(dir.path()))).unwrap();
    std::fs::remove_file(dir.path().join("pki/ca.key")).unwrap();
    assert!(matches!(Pki::open(&place(Some(dir.path()))), Err(PkiError::MissingKey(_))));
    let other = Authority::generate(now()).unwrap();
    std::fs::write(dir.path().join("pki/ca.key"), other.key_pem()).unwrap();
    assert!(matches!(Pki::open(&place(Some(dir.path()))), Err(PkiError::Issue(IssueError::KeyMismatch))));
}

#[test]
fn a_request_gets_the_subject_of_its_node_whatever_it_asks_for() {
    let authority = Authority::generate(now()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut wanted = CertificateParams::new(vec!["kubernetes".to_owned()]).unwrap();
    wanted.distinguished_name.push(DnType::CommonName, "kubernetes-admin");
    wanted.distinguished_name.push(DnType::OrganizationName, "system:masters");
    let request = wanted.serialize_request(&key).unwrap().pem().unwrap();
    let signed = |which| {
        let addresses = ["10.0.0.5".to_owned(), "node-1.example".to_owned(), "10.0.0.5".to_owned()];
        let pem = sign(&authority, &request, "node-1", &addresses, which, now()).unwrap();
        Identity { certificate: pem.into_bytes(), key: key.serialize_pem().into_bytes() }
    };
    let user = "system:node:node-1";
    let client = Subject::client(user, Some("system:nodes"));
    assert!(authority.vouches_for(&signed(NodeCertificate::KubeletClient), &client, now()));
    let proxy = Subject::client("system:kube-proxy", Some("system:node-proxier"));
    assert!(authority.vouches_for(&signed(NodeCertificate::KubeProxyClient), &proxy, now()));
    let serving = Subject {
        names: vec!["node-1".to_owned(), "node-1.example".to_owned()],
        addresses: vec!["10.0.0.5".parse().unwrap()],
        purpose: Purpose::Server,
        ..client
    };
    assert!(authority.vouches_for(&signed(NodeCertificate::KubeletServing), &serving, now()));
}

#[test]
fn a_request_whose_signature_is_not_of_its_key_is_refused() {
    let authority = Authority::generate(now()).unwrap();
    let request = CertificateParams::default().serialize_request(&KeyPair::generate().unwrap()).unwrap();
    let mut der = request.der().to_vec();
    let last = der.len() - 1;
    der[last] ^= 1;
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let pem = format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n");
    for text in [pem.as_str(), "nonsense", ""] {
        assert!(sign(&authority, text, "n", &[], NodeCertificate::KubeletClient, now()).is_err());
    }
}
