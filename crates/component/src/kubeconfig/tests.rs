//! Kubeconfig files as people and tools write them.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

const TWO_CONTEXTS: &str = r#"
apiVersion: v1
kind: Config
preferences: {}
current-context: near
clusters:
- name: one
  cluster: {server: "https://127.0.0.1:6443", certificate-authority: ca.crt}
- name: two
  cluster: {server: "https://10.0.0.1:6443", certificate-authority-data: "Q0E=", insecure-skip-tls-verify: false}
contexts:
- name: near
  context: {cluster: one, user: admin}
- name: far
  context: {cluster: two, user: robot, namespace: work}
- name: broken
  context: {cluster: three, user: robot}
users:
- name: admin
  user: {client-certificate: pki/admin.crt, client-key-data: "S0VZ"}
- name: robot
  user: {token: s3cret}
"#;

#[test]
fn files_are_found_beside_the_kubeconfig_and_contexts_are_chosen_by_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("config");
    std::fs::create_dir(dir.path().join("pki")).expect("a directory");
    std::fs::write(dir.path().join("ca.crt"), "CA of one").expect("a file");
    std::fs::write(dir.path().join("pki/admin.crt"), "CERT").expect("a file");
    std::fs::write(&path, TWO_CONTEXTS).expect("a file");

    let near = Kubeconfig::load(&path).expect("a kubeconfig");
    assert_eq!(near.server, "https://127.0.0.1:6443");
    assert_eq!(near.certificate_authority, b"CA of one");
    assert_eq!(near.identity, Some(Identity { certificate: b"CERT".into(), key: b"KEY".into() }));
    assert_eq!(near.namespace, "default");

    let far = Kubeconfig::load_context(&path, Some("far")).expect("a kubeconfig");
    assert_eq!((far.certificate_authority.as_slice(), far.namespace.as_str()), (&b"CA"[..], "work"));
    assert_eq!((far.token.as_deref(), far.identity), (Some("s3cret"), None));
}

#[test]
fn what_is_wrong_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("config");
    let broken = |context| Kubeconfig::parse(TWO_CONTEXTS, &path, Some(context)).unwrap_err().to_string();
    assert_eq!(broken("broken"), "kubeconfig: no cluster \"three\"");
    assert_eq!(broken("none"), "kubeconfig: no context \"none\"");
    assert!(broken("near").ends_with("pki/admin.crt"), "{}", broken("near"));
    let not_one = Kubeconfig::parse("clusters: 3", &path, None).unwrap_err().to_string();
    assert!(not_one.contains("is not a kubeconfig"), "{not_one}");
    assert!(matches!(Kubeconfig::load(&path), Err(KubeconfigError::Read { .. })));
}

#[test]
fn what_is_written_is_read_back_and_only_its_owner_may_read_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("admin.kubeconfig");
    let identity = Identity { certificate: b"-----CERT-----\n".into(), key: b"key: #1\n".into() };
    let config = Kubeconfig::new("https://127.0.0.1:6443", "ca", "kubernetes-admin", identity);
    config.write(&path).expect("written");
    config.write(&path).expect("written again");
    assert_eq!(Kubeconfig::load(&path).expect("read"), config);
    let mode = std::fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
