//! DefaultIngressClass: an Ingress that names no class gets the one that is marked as the default.

use serde_json::Value;

use super::{Request, default_class};

const MARK: &str = "ingressclass.kubernetes.io/is-default-class";

pub(super) fn fill_in(request: &Request<'_>, ingress: &mut Value) {
    let named = ingress["spec"].get("ingressClassName").is_some_and(|name| !name.is_null())
        || ingress["metadata"]["annotations"].get("kubernetes.io/ingress.class").is_some();
    if request.subresource.is_some() || named || !ingress["spec"].is_object() {
        return;
    }
    if let Some(class) = default_class(request, "ingressclasses.networking.k8s.io", &[MARK]) {
        ingress["spec"]["ingressClassName"] = class.into();
    }
}
