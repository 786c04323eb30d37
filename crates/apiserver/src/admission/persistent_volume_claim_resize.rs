//! PersistentVolumeClaimResize: a claim grows only where it is bound and its class can make it grow.

use api::quantity::Quantity;
use api::status::Status;
use serde_json::Value;

use super::{Operation, Request, read, text};

pub(super) fn check(request: &Request<'_>, claim: &Value, old: Option<&Value>) -> Result<(), Status> {
    let Some(old) = old else { return Ok(()) };
    if request.operation != Operation::Update || !request.is_about("persistentvolumeclaims") {
        return Ok(());
    }
    let size = |claim: &Value| {
        Quantity::parse(text(&claim["spec"]["resources"]["requests"], "storage")).unwrap_or(Quantity::ZERO)
    };
    if size(claim) <= size(old) {
        return Ok(());
    }
    if text(&old["status"], "phase") != "Bound" {
        return Err(request.forbid(Some(claim), "Only bound persistent volume claims can be expanded"));
    }
    let class = text(&claim["spec"], "storageClassName");
    let grows = !class.is_empty()
        && request
            .find("storageclasses.storage.k8s.io", "", class)
            .and_then(read)
            .is_some_and(|class| class["allowVolumeExpansion"] == true);
    if !grows {
        return Err(request.forbid(
            Some(claim),
            "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
        ));
    }
    Ok(())
}
