//! StorageObjectInUseProtection: claims and volumes do not go while something uses them.
//!
//! The finalizers that are set here are taken away by the controller that sees that nothing does.

use serde_json::Value;

use super::{Request, list_mut};

pub(super) fn fill_in(request: &Request<'_>, object: &mut Value) {
    let finalizer = match &*request.def.bucket {
        "persistentvolumeclaims" => "kubernetes.io/pvc-protection",
        "persistentvolumes" => "kubernetes.io/pv-protection",
        _ => return,
    };
    if request.subresource.is_some() {
        return;
    }
    if let Some(finalizers) = list_mut(&mut object["metadata"], "finalizers")
        && !finalizers.iter().any(|own| own == finalizer)
    {
        finalizers.push(finalizer.into());
    }
}
