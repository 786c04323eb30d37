//! kubectl at work, as a person types it: the one in the path, and the old one that `COXSWAIN_OLD_KUBECTL` names.
//! Skipped where there is none.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clients::Served;

/// One line of a dialogue: what is typed, what comes in on its standard input, and a part of what must come out.
struct Step {
    typed: &'static str,
    input: &'static str,
    shown: &'static str,
}

const fn step(typed: &'static str, shown: &'static str) -> Step {
    Step { typed, input: "", shown }
}

const fn given(typed: &'static str, input: &'static str, shown: &'static str) -> Step {
    Step { typed, input, shown }
}

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: 'nginx:1', ports: [{containerPort: 80}]}]}
";

const OLD: &str = "
apiVersion: extensions/v1beta1
kind: Deployment
metadata: {name: old}
spec:
  template:
    metadata: {labels: {app: old}}
    spec: {containers: [{name: c, image: nginx}]}
";

/// Said to every kubectl. What begins with `!` must fail, and what it says is on standard error.
const EVERYDAY: &[Step] = &[
    step("create namespace work", "namespace/work created"),
    step("create serviceaccount default", "serviceaccount/default created"),
    given("apply -f -", WEB, "deployment.apps/web created"),
    given("apply -f -", WEB, "deployment.apps/web unchanged"),
    given("diff -f -", WEB, ""),
    step("scale deployment web --replicas=3", "deployment.apps/web scaled"),
    given("apply -f -", WEB, "deployment.apps/web unchanged"),
    step("get deployment web -o jsonpath={.spec.replicas}", "3"),
    step("set image deployment/web c=nginx:2", "deployment.apps/web image updated"),
    given("apply --dry-run=server -f -", WEB, "deployment.apps/web configured (server dry run)"),
    step("get deployment web -o jsonpath={.spec.template.spec.containers[0].image}", "nginx:2"),
    step("patch deployment web -p {\"spec\":{\"paused\":true}}", "deployment.apps/web patched"),
    step(
        "patch deployment web --type=json -p [{\"op\":\"remove\",\"path\":\"/spec/paused\"}]",
        "deployment.apps/web patched",
    ),
    step("patch deployment web --type=merge -p {\"spec\":{\"paused\":true}}", "deployment.apps/web patched"),
    step("label deployment web tier=front", "deployment.apps/web labeled"),
    step("!label deployment web tier=back", "'tier' already has a value (front), and --overwrite is false"),
    step("get deployments -l tier=front -o name", "deployment.apps/web"),
    step("get deployments -l tier!=front -o name", ""),
    step("annotate deployment web why=because", "deployment.apps/web annotated"),
    step("get deployments", "NAME   READY   UP-TO-DATE   AVAILABLE"),
    step("get deployments -o wide", "CONTAINERS   IMAGES    SELECTOR"),
    step("get deployments -o custom-columns=N:.metadata.name,R:.spec.replicas --no-headers", "web   3"),
    step("get deployments --sort-by=.metadata.name -o name", "deployment.apps/web"),
    step("get deployment web -o go-template={{.spec.replicas}}", "3"),
    step("!get pods --field-selector=colour=red", "field label not supported: colour"),
    step("!get nonsense", "the server doesn't have a resource type \"nonsense\""),
    step("!get configmap nothing", "configmaps \"nothing\" not found"),
    step("create configmap one --from-literal=a=b", "configmap/one created"),
    step("!create configmap one --from-literal=a=b", "configmaps \"one\" already exists"),
    step("create configmap two --from-literal=a=b", "configmap/two created"),
    step("create secret generic hidden --from-literal=a=b", "secret/hidden created"),
    step("get configmaps --chunk-size=1 -o name", "configmap/one\nconfigmap/two\n"),
    step("run idle --image=nginx", "pod/idle created"),
    step("get pods --field-selector=status.phase=Pending -o name", "pod/idle"),
    step("get pod idle", "idle   0/1     Pending"),
    step("describe pod idle", "Image:        nginx"),
    step("delete pod idle", "pod \"idle\" deleted"),
    step("expose deployment web --port=80", "service/web exposed"),
    step("describe service web", "Selector:"),
    step("create role reader --verb=get --resource=pods", "role.rbac.authorization.k8s.io/reader created"),
    step(
        "create rolebinding reads --role=reader --user=bob",
        "rolebinding.rbac.authorization.k8s.io/reads created",
    ),
    step("auth can-i get pods --as=bob", "yes"),
    step("!auth can-i delete pods --as=bob", ""),
    step("create quota few --hard=pods=5", "resourcequota/few created"),
    step("create job once --image=busybox", "job.batch/once created"),
    step("explain pods.spec.containers.image", "Container image name."),
    step("explain deployments --recursive", "maxSurge"),
    step("api-resources --api-group=apps -o name", "deployments.apps"),
    step("api-versions", "apps/v1\n"),
    step("version", "v1.36"),
    given("create -f -", OLD, "deployment.extensions/old created"),
    step("get deployment.apps old -o jsonpath={.spec.selector.matchLabels.app}", "old"),
    step("delete deployment web", "deployment.apps \"web\" deleted"),
    step("delete configmaps --all", "configmap \"two\" deleted"),
    step("get configmaps", "No resources found in work namespace."),
];

/// Of versions that apply on the server's side as a matter of course.
const APPLYING: &[Step] = &[
    given("apply -f -", WEB, "deployment.apps/web created"),
    step("scale deployment web --replicas=3", "deployment.apps/web scaled"),
    given("apply --server-side -f -", WEB, "deployment.apps/web serverside-applied"),
    step("get deployment web -o jsonpath={.spec.replicas}", "3"),
    given("apply --server-side -f -", WEB, "deployment.apps/web serverside-applied"),
    step("get deployment web -o jsonpath={.metadata.managedFields[*].manager}", "kubectl"),
    given("!apply --server-side --field-manager=other -f -", OTHER, "conflict with \"kubectl\""),
    given("apply --server-side --field-manager=other --force-conflicts -f -", OTHER, "serverside-applied"),
    step("get deployment web -o jsonpath={.spec.template.spec.containers[0].image}", "nginx:9"),
    given("!apply --server-side -f -", WRONG, ".spec.replica: field not declared in schema"),
    given("!create -f -", WRONG, "unknown field \"spec.replica\""),
];

const OTHER: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {template: {spec: {containers: [{name: c, image: 'nginx:9'}]}}}
";

const WRONG: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: wrong}
spec:
  replica: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: nginx}]}
";

fn run(kubectl: &Path, home: &Path, step: &Step) {
    let (typed, fails) = match step.typed.strip_prefix('!') {
        Some(typed) => (typed, true),
        None => (step.typed, false),
    };
    let mut child = Command::new(kubectl)
        .args(["--namespace", "work"])
        .args(typed.split(' '))
        .env("KUBECONFIG", home.join("admin.kubeconfig"))
        .env("HOME", home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl runs");
    child.stdin.take().expect("an input").write_all(step.input.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("it ends");
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.success(), !fails, "{}: {typed}: {out}{error}", kubectl.display());
    let told = format!("{out}{error}");
    assert!(told.contains(step.shown), "{}: {typed}: {told}", kubectl.display());
    if step.shown.is_empty() && !fails {
        assert_eq!(out, "", "{}: {typed}", kubectl.display());
    }
}

fn skip(why: &str) {
    let line = format!("skipped: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("a place for messages");
}

async fn dialogue(kubectl: Option<PathBuf>, steps: &[&'static [Step]]) {
    let Some(kubectl) = kubectl else { return skip("there is no kubectl") };
    let served = Served::start().await;
    let home = tempfile::tempdir().expect("a directory");
    served.kubeconfig_in(home.path()).expect("written");
    let (path, steps) = (home.path().to_owned(), steps.to_vec());
    let all = move || steps.into_iter().flatten().for_each(|step| run(&kubectl, &path, step));
    tokio::task::spawn_blocking(all).await.expect("every step shows what it must");
    served.stop().await;
}

/// The kubectl of the path, where there is one.
fn present() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join("kubectl")).find(|file| file.exists())
}

fn old() -> Option<PathBuf> {
    let named: OsString = std::env::var_os("COXSWAIN_OLD_KUBECTL")?;
    Some(PathBuf::from(named)).filter(|file| file.exists())
}

#[tokio::test(flavor = "multi_thread")]
async fn todays_kubectl_works_unchanged() {
    dialogue(present(), &[EVERYDAY, APPLYING]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kubectl_of_years_ago_works_unchanged() {
    dialogue(old(), &[EVERYDAY]).await;
}
