//! Resources that users add: a CustomResourceDefinition, its objects, and the end of both.

use anyhow::{Result, ensure};
use e2e::Host;

const DEFINITION: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: backups.e2e.example}
spec:
  group: e2e.example
  scope: Namespaced
  names: {plural: backups, singular: backup, kind: Backup, shortNames: [bk]}
  versions:
    - name: v1
      served: true
      storage: true
      additionalPrinterColumns:
        - {name: Every, type: string, jsonPath: .spec.every}
      subresources: {status: {}}
      schema:
        openAPIV3Schema:
          type: object
          required: [spec]
          properties:
            spec:
              type: object
              required: [every]
              properties:
                every: {type: string, enum: [hour, day]}
                keep: {type: integer, minimum: 1, default: 7}
            status:
              type: object
              x-kubernetes-preserve-unknown-fields: true
";

fn backup(name: &str, spec: &str) -> String {
    format!("apiVersion: e2e.example/v1\nkind: Backup\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

pub async fn a_custom_resource_is_as_good_as_a_built_in_one(host: &Host) -> Result<()> {
    let ns = host.namespace("extend").await?;
    ns.apply(DEFINITION).await?;
    ns.kubectl("wait --for=condition=Established crd/backups.e2e.example --timeout=30s").await?.ok()?;
    ns.apply(&backup("good", "{every: day}")).await?;
    ensure!(
        ns.kubectl("get bk good -o jsonpath={.spec.keep}").await?.ok()? == "7",
        "the default of its schema is filled in"
    );
    let table = ns.kubectl("get backups").await?.ok()?;
    ensure!(table.contains("EVERY") && table.contains("day"), "{table}");
    let refused = ns.kubectl_with("create -f -", &backup("bad", "{every: year}")).await?.refused()?;
    ensure!(refused.contains("spec.every: Unsupported value: \"year\""), "{refused}");
    let unknown = ns.kubectl_with("create -f -", &backup("odd", "{every: day, evry: 1}")).await?.refused()?;
    ensure!(unknown.contains("unknown field \"spec.evry\""), "{unknown}");
    ns.kubectl("patch bk good --type=merge -p {\"spec\":{\"keep\":3}}").await?.ok()?;
    ensure!(ns.kubectl("get bk good -o jsonpath={.metadata.generation}").await?.ok()? == "2");
    let explained = ns.kubectl("explain backup.spec").await?.ok()?;
    ensure!(explained.contains("every") && explained.contains("keep"), "{explained}");

    ns.kubectl("delete crd backups.e2e.example --timeout=30s").await?.ok()?;
    let gone = ns.kubectl("get backups.e2e.example").await?.refused()?;
    ensure!(gone.contains("the server doesn't have a resource type"), "{gone}");
    ns.apply(DEFINITION).await?;
    ns.kubectl("wait --for=condition=Established crd/backups.e2e.example --timeout=30s").await?.ok()?;
    let list = ns.kubectl("get backups -o name").await?.ok()?;
    ensure!(list.is_empty(), "its objects went with the definition: {list}");
    ns.kubectl("delete crd backups.e2e.example --timeout=30s").await?.ok()?;
    Ok(())
}
