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
    let input = VolumeInput {
        pod,
        node: &NodeFacts::default(),
        pod_ips: &[],
        references,
        tokens: &tokens,
        persistent: &BTreeMap::new(),
        root,
        in_memory: false,
    };
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

/// What a part of a volume is seen as once it is opened.
fn opened(volume: &Path, sub_path: &str) -> Result<PathBuf, String> {
    let opened = sub_path::open_beneath(volume, sub_path).map_err(|error| error.to_string())?;
    let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&opened));
    fs::read_link(link).map_err(|error| error.to_string())
}

#[test]
fn a_sub_path_never_leaves_its_volume() {
    let root = tempfile::tempdir().expect("a folder");
    let root = root.path().canonicalize().expect("a path");
    let volume = root.join("v");
    fs::create_dir_all(volume.join("in")).expect("folders");
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o777)).expect("a mode");
    fs::write(volume.join("in/file"), "x").expect("a file");
    for (link, target) in [("out", "/etc"), ("up", ".."), ("side", "in"), ("loop", "loop")] {
        std::os::unix::fs::symlink(target, volume.join(link)).expect("a link");
    }
    for (good, expected) in
        [("in/file", "in/file"), ("side/file", "in/file"), ("new/deep", "new/deep"), ("side/new", "in/new")]
    {
        assert_eq!(opened(&volume, good), Ok(volume.join(expected)), "{good}");
    }
    assert_eq!(fs::metadata(volume.join("new/deep")).expect("made").permissions().mode() & 0o777, 0o777);
    for bad in ["../x", "out", "out/passwd", "out/new", "up/x", "/etc", "a/../../x", "loop/x", "up/v/in"] {
        let expected = format!("subPath \"{bad}\" must stay within its volume");
        assert_eq!(opened(&volume, bad), Err(expected), "{bad}");
    }
    assert!(!root.join("x").exists() && !Path::new("/etc/new").exists());
}

#[test]
fn a_mounted_part_stays_what_it_was_and_goes_with_the_pod_but_not_what_it_shows() {
    let root = tempfile::tempdir().expect("a folder");
    let pod = pod(json!([{"name": "v", "emptyDir": {}}]));
    let mut paths = set(root.path(), &pod, &References::default()).expect("a volume");
    let data = root.path().join("data");
    fs::create_dir_all(data.join("part")).expect("folders");
    fs::write(data.join("part/file"), "kept").expect("a file");
    paths.insert("v".to_owned(), Place { path: data.clone(), read_only: true });
    let folder = PodFolder::new(root.path(), "u1");
    let mounts_of = |mount: serde_json::Value| {
        let container = serde_json::from_value(json!({"name": "c", "volumeMounts": [mount]}));
        mounts(&folder, &container.expect("a container"), &paths, |text| text.replace("$(X)", "part"))
    };
    let all = mounts_of(json!({"name": "v", "mountPath": "/m"})).expect("a mount");
    assert!(all[0].read_only, "the volume is");
    assert_eq!(all[0].below, Below::AsItIs);
    let all = mounts_of(json!({"name": "v", "mountPath": "/m", "recursiveReadOnly": "Enabled"}));
    assert_eq!(all.expect("a mount")[0].below, Below::ReadOnly);
    let part = match mounts_of(json!({"name": "v", "mountPath": "/m", "subPathExpr": "$(X)"})) {
        Ok(mounts) => mounts[0].host_path.clone(),
        // Where mounting is not allowed, there is nothing to see.
        Err(VolumeError::Io { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => return,
        Err(error) => panic!("{error}"),
    };
    assert!(part.starts_with(folder.path()));
    fs::rename(data.join("part"), data.join("moved")).expect("renamed");
    std::os::unix::fs::symlink("/etc", data.join("part")).expect("a link");
    assert_eq!(fs::read_to_string(part.join("file")).expect("still there"), "kept");
    // A kubelet whose root is reached by a link must not take the contents for its own.
    let link = root.path().join("link");
    std::os::unix::fs::symlink(root.path(), &link).expect("a link");
    tear_down(&PodFolder::new(&link, "u1")).expect("torn down");
    assert!(!folder.path().exists());
    assert_eq!(fs::read_to_string(data.join("moved/file")).expect("kept"), "kept");
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
