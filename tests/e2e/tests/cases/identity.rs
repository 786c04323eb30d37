//! Who may do what: roles, tokens, and a pod that asks the API with its own.

use anyhow::{Result, ensure};
use e2e::{Host, is_ready};

/// A pod that can look at what was mounted for it.
const LOOKER: &str = "
apiVersion: v1
kind: Pod
metadata: {name: looker}
spec:
  serviceAccountName: reader
  terminationGracePeriodSeconds: 1
  containers:
    - {name: c, image: busybox, command: [sleep, '3600']}
";

pub async fn roles_decide_and_tokens_prove(host: &Host) -> Result<()> {
    let ns = host.namespace("identity").await?;
    let nobody = ns.kubectl("get pods --as=alice").await?.refused()?;
    ensure!(
        nobody.contains("pods is forbidden: User \"alice\" cannot list resource \"pods\" in API group \"\" in the namespace \"identity\""),
        "{nobody}"
    );
    ns.kubectl("create serviceaccount reader").await?.ok()?;
    ns.kubectl("create rolebinding read --clusterrole=view --serviceaccount=identity:reader --user=alice")
        .await?
        .ok()?;
    ns.kubectl("get pods --as=alice").await?.ok()?;
    let write = ns.kubectl("create configmap c --as=alice").await?.refused()?;
    ensure!(write.contains("cannot create resource \"configmaps\""), "{write}");
    let can = ns.kubectl("auth can-i --list --as=alice").await?.ok()?;
    ensure!(can.contains("pods") && can.contains("[get list watch]"), "{can}");
    let greedy = "create role more --verb=* --resource=secrets --as=alice";
    ensure!(ns.kubectl(greedy).await?.refused()?.contains("forbidden"));

    let token = ns.kubectl("create token reader").await?.ok()?;
    let as_reader = format!(
        "--kubeconfig=/dev/null --server=https://127.0.0.1:{} --token={} --certificate-authority={}",
        e2e::PORT,
        token.trim(),
        host.data_dir().join("pki/ca.crt").display()
    );
    let who = ns.kubectl(&format!("auth whoami {as_reader}")).await?.ok()?;
    ensure!(who.contains("system:serviceaccount:identity:reader"), "{who}");
    ns.kubectl(&format!("get pods {as_reader}")).await?.ok()?;
    ensure!(
        ns.kubectl(&format!("get secrets {as_reader}")).await?.refused()?.contains("cannot list resource")
    );

    ns.apply(LOOKER).await?;
    ns.wait("pods", "looker", "ready", is_ready).await?;
    let mounted = "/var/run/secrets/kubernetes.io/serviceaccount";
    let look = |file: &str| format!("exec looker -- cat {mounted}/{file}");
    ensure!(ns.kubectl(&look("namespace")).await?.ok()? == "identity");
    ensure!(ns.kubectl(&look("ca.crt")).await?.ok()?.contains("BEGIN CERTIFICATE"));
    let bound = ns.kubectl(&look("token")).await?.ok()?;
    let as_pod = as_reader.replace(token.trim(), bound.trim());
    let who = ns.kubectl(&format!("auth whoami {as_pod}")).await?.ok()?;
    ensure!(who.contains("pod-name") && who.contains("looker"), "the token is bound to its pod: {who}");
    ns.kubectl("delete pod looker --wait").await?.ok()?;
    let late = ns.kubectl(&format!("get pods {as_pod}")).await?.refused()?;
    ensure!(late.contains("Unauthorized") || late.contains("must be logged in"), "{late}");
    Ok(())
}

pub async fn namespaces_have_limits(host: &Host) -> Result<()> {
    let ns = host.namespace("quotas").await?;
    ns.kubectl("create quota q --hard=pods=1").await?.ok()?;
    ns.wait("resourcequotas", "q", "a status", |quota| quota["status"]["hard"]["pods"] == "1").await?;
    ns.apply(&LOOKER.replace("reader", "default")).await?;
    let second = LOOKER.replace("reader", "default").replace("looker", "second");
    let refused = ns.kubectl_with("create -f -", &second).await?.refused()?;
    ensure!(
        refused.contains("exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"),
        "{refused}"
    );
    ns.kubectl("label namespace quotas pod-security.kubernetes.io/enforce=restricted").await?.ok()?;
    ns.kubectl("delete quota q").await?.ok()?;
    let refused = ns.kubectl_with("create -f -", &second).await?.refused()?;
    ensure!(refused.contains("violates PodSecurity \"restricted:latest\""), "{refused}");
    Ok(())
}
