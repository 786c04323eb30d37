//! Volumes on a temporary directory.

use std::os::unix::fs::MetadataExt as _;

use serde_json::json;

use super::*;

fn pod(volumes: serde_json::Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "u1", "labels": {"app": "x"}},
        "spec": {"volumes": volumes, "containers": [{"name": "c"}]},
    }))
    .expect("a pod")
}

fn values(pairs: &[(&str, &str)]) -> Option<Values> {
    Some(pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect())
}

#[track_caller]
fn set(root: &Path, pod: &Pod, references: &References) -> Result<Paths, String> {
    let tokens = [(TokenKey { audience: String::new(), lifetime: 3600 }, "the token".to_owned())].into();
    let input = VolumeInput { pod, node: &NodeFacts::default(), pod_ips: &[], references, tokens: &tokens };
    set_up(&PodFolder::new(root, "u1"), input).map_err(|error| error.to_string())
}

#[test]
fn a_config_map_changes_all_at_once_and_its_folder_goes_with_the_pod() {
    let root = tempfile::tempdir().expect("a folder");
    let pod = pod(json!([{"name": "v", "configMap": {"name": "cm", "defaultMode": 0o640}}]));
    let mut references = References::default();
    references.config_maps.insert("cm".into(), values(&[("a", "1"), ("b", "2")]));
    let path = set(root.path(), &pod, &references).expect("a volume")["v"].path.clone();
    assert_eq!(fs::read_to_string(path.join("a")).expect("a file"), "1");
    assert_eq!(fs::metadata(path.join("a")).expect("a file").permissions().mode() & 0o777, 0o640);
    let before = fs::read_link(path.join("..data")).expect("a link");
    set(root.path(), &pod, &references).expect("the same volume");
    assert_eq!(fs::read_link(path.join("..data")).expect("a link"), before, "nothing changed");

    references.config_maps.insert("cm".into(), values(&[("a", "3"), ("c", "4")]));
    set(root.path(), &pod, &references).expect("a new content");
    assert_eq!(fs::read_to_string(path.join("a")).expect("a file"), "3");
    assert!(!path.join("b").exists() && path.join("c").exists());
    assert_ne!(fs::read_link(path.join("..data")).expect("a link"), before);

    let folder = PodFolder::new(root.path(), "u1");
    tear_down(&folder).expect("torn down");
    assert!(!folder.path().exists());
    tear_down(&folder).expect("nothing to tear down");
}

#[test]
fn what_is_missing_is_told_unless_it_is_optional() {
    let root = tempfile::tempdir().expect("a folder");
    let mut references = References::default();
    references.secrets.insert("s".into(), values(&[("a", "1")]));
    for (source, expected) in [
        (json!({"secretName": "gone"}), Some("secret \"gone\" not found")),
        (json!({"secretName": "gone", "optional": true}), None),
        (
            json!({"secretName": "s", "items": [{"key": "b", "path": "b"}]}),
            Some("references non-existent secret key: b"),
        ),
        (json!({"secretName": "s", "items": [{"key": "a", "path": "../a"}]}), Some("invalid path \"../a\"")),
        (json!({"secretName": "s", "items": [{"key": "a", "path": "deep/er"}]}), None),
    ] {
        let pod = pod(json!([{"name": "v", "secret": source}]));
        let got = set(root.path(), &pod, &references).err();
        let expected = expected.map(|text| format!("MountVolume.SetUp failed for volume \"v\" : {text}"));
        assert_eq!(got, expected, "{source}");
    }
}

#[test]
fn a_projected_volume_joins_its_sources() {
    let root = tempfile::tempdir().expect("a folder");
    let pod = pod(json!([{"name": "v", "projected": {"sources": [
        {"configMap": {"name": "cm", "items": [{"key": "a", "path": "x/a"}]}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ]}}]));
    let mut references = References::default();
    references.config_maps.insert("cm".into(), values(&[("a", "1")]));
    let path = set(root.path(), &pod, &references).expect("a volume")["v"].path.clone();
    assert_eq!(fs::read_to_string(path.join("x/a")).expect("a file"), "1");
    assert_eq!(fs::read_to_string(path.join("labels")).expect("a file"), "app=\"x\"");
}

#[test]
fn a_token_is_for_those_who_run_the_pod() {
    let sources = json!([{"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}]);
    let volumes = json!([{"name": "v", "projected": {"sources": sources}}]);
    for (pod_security, own, mode, ids) in [
        (json!({}), json!({}), 0o644, (0, 0)),
        (json!({"fsGroup": 77}), json!({}), 0o640, (0, 77)),
        (json!({"runAsUser": 1000}), json!({}), 0o600, (1000, 0)),
        (json!({"runAsUser": 1000}), json!({"runAsUser": 1001}), 0o644, (0, 0)),
        (json!({"runAsUser": 1000, "fsGroup": 77}), json!({}), 0o640, (1000, 77)),
    ] {
        let root = tempfile::tempdir().expect("a folder");
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u1"},
            "spec": {
                "volumes": volumes, "securityContext": pod_security,
                "containers": [{"name": "a"}, {"name": "b", "securityContext": own}],
            },
        }))
        .expect("a pod");
        let place = set(root.path(), &pod, &References::default()).expect("a volume")["v"].clone();
        let file = fs::metadata(place.path.join("token")).expect("a token");
        let found = (file.permissions().mode() & 0o777, (file.uid(), file.gid()));
        assert_eq!(found, (mode, ids), "{pod_security} {own}");
        assert!(place.read_only);
    }
}

#[test]
fn a_sub_path_never_leaves_its_volume() {
    let root = tempfile::tempdir().expect("a folder");
    let pod = pod(json!([{"name": "v", "emptyDir": {}}]));
    let paths = set(root.path(), &pod, &References::default()).expect("a volume");
    std::os::unix::fs::symlink("/etc", paths["v"].path.join("out")).expect("a link");
    let mount = |sub_path: &str| {
        let container = serde_json::from_value(json!({
            "name": "c", "volumeMounts": [{"name": "v", "mountPath": "/m", "subPath": sub_path}],
        }))
        .expect("a container");
        mounts(&container, &paths, str::to_owned).map(|mounts| mounts[0].host_path.clone())
    };
    assert_eq!(mount("a/b").expect("inside"), paths["v"].path.canonicalize().expect("a path").join("a/b"));
    for bad in ["../x", "out", "out/passwd", "/etc", "a/../../x"] {
        assert!(mount(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_host_path_must_be_what_its_type_says() {
    let root = tempfile::tempdir().expect("a folder");
    let file = root.path().join("f");
    fs::write(&file, "").expect("a file");
    let check = |path: &Path, kind: &str| {
        host_path(&HostPathSource { path: path.display().to_string(), r#type: Some(kind.to_owned()) }).is_ok()
    };
    assert!(check(&file, "File") && !check(&file, "Directory") && !check(&file, "Socket"));
    assert!(check(root.path(), "Directory") && !check(root.path(), "File"));
    let new = root.path().join("new/folder");
    assert!(!check(&new, "Directory") && check(&new, "DirectoryOrCreate") && new.is_dir());
    assert!(check(Path::new("/dev/null"), "CharDevice"));
}
