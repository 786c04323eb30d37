//! Manifests that are broken: the Status that Kubernetes gives, and nothing stored.

use anyhow::{Result, ensure};
use e2e::Host;

pub async fn nothing_is_stored_and_the_reason_is_told(host: &Host) -> Result<()> {
    let ns = host.namespace("bad").await?;
    for (manifest, why) in [
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: []}",
            "spec.containers: Required value",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: P_1}\nspec: {containers: [{name: c, image: i}]}",
            "metadata.name: Invalid value: \"P_1\"",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i, imagePullPolicy: Sometimes}]}",
            "spec.containers[0].imagePullPolicy: Unsupported value: \"Sometimes\"",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: i, bogus: 1}]}",
            "unknown field \"spec.containers[0].bogus\"",
        ),
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: c}}, spec: {containers: [{name: c, image: i}]}}}",
            "`selector` does not match template `labels`",
        ),
        ("apiVersion: v9\nkind: Pod\nmetadata: {name: p}", "no matches for kind \"Pod\" in version \"v9\""),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 0}]}",
            "spec.ports[0].port: Invalid value: 0",
        ),
        ("apiVersion: v1\nkind: Pod\n  metadata: {", "error"),
    ] {
        let refused = ns.kubectl_with("apply -f -", manifest).await?.refused()?;
        ensure!(refused.contains(why), "{manifest}\nwas refused with\n{refused}\nnot with\n{why}");
        ns.cox("apply -f -", manifest).await?.refused()?;
    }
    for resource in ["pods", "deployments.apps", "services"] {
        let stored = ns.api(resource)?.list("bad", &client::ListParams::default()).await?.items;
        ensure!(stored.is_empty(), "{resource} are stored");
    }
    Ok(())
}
