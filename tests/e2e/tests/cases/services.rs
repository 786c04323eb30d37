//! Services: addresses that lead to pods.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::{Host, Namespace, PATIENCE, datagrams, get};
use futures_util::future::try_join_all;
use serde_json::Value;

/// As it was written ten years ago.
pub const OLD: &str = "
apiVersion: extensions/v1beta1
kind: Deployment
metadata:
  name: nginx-deployment
  labels:
    name: nginx-deployment
spec:
  replicas: 2
  template:
    metadata:
      labels:
        app: nginx
    spec:
      containers:
        - name: nginx
          image: nginx
          imagePullPolicy: Always
";

/// A Deployment of today with both kinds of Service; the node port is left to the cluster.
pub const TODAY: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: nginx
          image: nginx
          imagePullPolicy: Always
          ports: [{containerPort: 80}]
          readinessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 1}
          livenessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 2}
          # Endpoints go before the server does: requests that are on their way are still answered.
          lifecycle: {preStop: {exec: {command: [sleep, '3']}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: web-nodeport}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80}]}
";

pub async fn the_old_manifest_runs_unchanged(host: &Host) -> Result<()> {
    let ns = host.namespace("old").await?;
    let applied = ns.kubectl_with("apply -f -", OLD).await?;
    ensure!(applied.stderr.contains("extensions/v1beta1 Deployment is deprecated"), "{}", applied.stderr);
    applied.ok()?;
    let pods = ns.ready_pods("app=nginx", 2).await?;
    let mut addresses = Vec::new();
    for pod in &pods {
        let ip = pod["status"]["podIP"].as_str().unwrap_or_default().to_owned();
        ensure!(ip.starts_with("10.244.") && !addresses.contains(&ip), "an address of its own: {ip}");
        ensure!(get(&format!("{ip}:80"), "/").await?.body.contains("Welcome to nginx!"));
        addresses.push(ip);
    }
    let deployment: Value = ns.api("deployments.apps")?.get("old", "nginx-deployment").await?.decode()?;
    ensure!(
        deployment["spec"]["selector"]["matchLabels"]["app"] == "nginx",
        "the selector is the template's labels"
    );
    Ok(())
}

pub async fn todays_manifest_answers_on_both_services(host: &Host) -> Result<()> {
    let ns = host.namespace("today").await?;
    ns.apply(TODAY).await?;
    ns.ready_pods("app=web", 2).await?;
    let address = ns.service("web").await?;
    ns.first_answer(&address).await?;
    ns.answers_of(&address, 2).await?;
    let service: Value = ns.api("services")?.get("today", "web-nodeport").await?.decode()?;
    let node_port = &service["spec"]["ports"][0]["nodePort"];
    let pod: Value = ns.ready_pods("app=web", 2).await?.remove(0);
    for host in ["127.0.0.1", pod["status"]["hostIP"].as_str().unwrap_or_default()] {
        let address = format!("{host}:{node_port}");
        ns.first_answer(&address).await?;
        ns.answers_of(&address, 2).await?;
    }
    // From a pod, too, and to itself.
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let id = host
        .engine
        .docker(&[
            "ps",
            "-q",
            "--filter",
            &format!("label=io.kubernetes.pod.name={name}"),
            "--filter",
            "label=io.kubernetes.container.name=nginx",
        ])
        .await?
        .ok()?;
    for _ in 0..8 {
        let page = host
            .engine
            .docker(&["exec", id.trim(), "wget", "-qO-", &format!("http://{address}/")])
            .await?
            .ok()?;
        ensure!(page.contains("Welcome to nginx!"), "{page}");
    }
    // And the API, where every client library in a pod looks for it.
    let api = "nc -w 5 10.96.0.1 443 </dev/null";
    host.engine.docker(&["exec", id.trim(), "sh", "-c", api]).await?.ok()?;
    Ok(())
}

pub async fn a_service_without_endpoints_refuses_at_once(host: &Host) -> Result<()> {
    let ns = host.namespace("empty").await?;
    ns.apply("apiVersion: v1\nkind: Service\nmetadata: {name: none}\nspec: {selector: {app: none}, ports: [{port: 80}]}").await?;
    let address = ns.service("none").await?;
    let started = Instant::now();
    // The rule follows the Service within moments; before it an unreachable route refuses just as well.
    let error = get(&address, "/").await.err();
    ensure!(error.is_some(), "nobody can answer");
    ensure!(started.elapsed() < Duration::from_secs(5), "refused only after {:?}", started.elapsed());
    Ok(())
}

/// Pods to answer datagrams in, and two Services before them.
const DATAGRAMS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: names}
spec:
  replicas: 2
  selector: {matchLabels: {app: names}}
  template:
    metadata: {labels: {app: names}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - {name: names, image: busybox, command: [sleep, '3600']}
---
apiVersion: v1
kind: Service
metadata: {name: spread}
spec: {selector: {app: names}, ports: [{port: 53, targetPort: 5353, protocol: UDP}]}
---
apiVersion: v1
kind: Service
metadata: {name: sticky}
spec: {selector: {app: names}, sessionAffinity: ClientIP, ports: [{port: 53, targetPort: 5353, protocol: UDP}]}
";

pub async fn datagrams_are_spread_and_clients_stay_where_they_are(host: &Host) -> Result<()> {
    let ns = host.namespace("datagrams").await?;
    ns.apply(DATAGRAMS).await?;
    let mut servers = Vec::new();
    let mut names = BTreeSet::new();
    for pod in ns.ready_pods("app=names", 2).await? {
        let container = pod["status"]["containerStatuses"][0]["containerID"].as_str().unwrap_or_default();
        let id = container.trim_start_matches("docker://");
        let pid = host.engine.docker(&["inspect", "--format", "{{.State.Pid}}", id]).await?.ok()?;
        let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        servers.push((datagrams::bind_in(pid.trim(), 5353)?, name.clone()));
        names.insert(name);
    }
    let served =
        try_join_all(servers.into_iter().map(async |(socket, name)| datagrams::answer(socket, &name).await));
    tokio::select! {
        ended = served => ended.map(|_never| ()),
        asked = ask_both(&ns, &names) => asked,
    }
}

async fn ask_both(ns: &Namespace<'_>, names: &BTreeSet<String>) -> Result<()> {
    let address = async |service: &str| -> Result<String> {
        let service: Value = ns.api("services")?.get(&ns.name, service).await?.decode()?;
        Ok(format!("{}:53", service["spec"]["clusterIP"].as_str().unwrap_or_default()))
    };
    let begun = Instant::now();
    let (spread, mut seen) = (address("spread").await?, BTreeSet::new());
    while seen != *names {
        ensure!(begun.elapsed() < PATIENCE, "of {names:?} only {seen:?} answered");
        seen.extend(datagrams::ask(&spread).await?);
    }
    let (sticky, mut answers) = (address("sticky").await?, Vec::new());
    while answers.len() < 20 {
        ensure!(begun.elapsed() < PATIENCE, "only {} answers", answers.len());
        answers.extend(datagrams::ask(&sticky).await?);
    }
    let seen: BTreeSet<_> = answers.into_iter().collect();
    ensure!(seen.len() == 1, "one client was answered by {seen:?}");
    Ok(())
}
