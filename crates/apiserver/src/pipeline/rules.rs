//! The few points in which kinds are treated differently by the verbs themselves: plain tables of facts.

use api::registry::ResourceDef;

/// What the verbs ask about a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    /// A PUT to a name that does not exist creates it.
    pub create_on_update: bool,
    /// A PUT without a resource version overwrites whatever there is.
    pub unconditional_update: bool,
    /// A deletion answers with the object, not with a Status.
    pub returns_deleted: bool,
    /// The garbage collector's finalizers may be put on it.
    pub garbage_collected: bool,
    /// It has a grace period of its own.
    pub graceful: bool,
}

const CREATE_ON_UPDATE: [&str; 9] = [
    "endpoints",
    "events",
    "limitranges",
    "services",
    "leases.coordination.k8s.io",
    "roles.rbac.authorization.k8s.io",
    "rolebindings.rbac.authorization.k8s.io",
    "clusterroles.rbac.authorization.k8s.io",
    "clusterrolebindings.rbac.authorization.k8s.io",
];

const CONDITIONAL_UPDATE: [&str; 11] = [
    "leases.coordination.k8s.io",
    "customresourcedefinitions.apiextensions.k8s.io",
    "apiservices.apiregistration.k8s.io",
    "csinodes.storage.k8s.io",
    "volumeattachments.storage.k8s.io",
    "csistoragecapacities.storage.k8s.io",
    "runtimeclasses.node.k8s.io",
    "poddisruptionbudgets.policy",
    "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
    "validatingadmissionpolicies.admissionregistration.k8s.io",
];

const RETURNS_DELETED: [&str; 15] = [
    "pods",
    "podtemplates",
    "services",
    "serviceaccounts",
    "resourcequotas",
    "persistentvolumes",
    "persistentvolumeclaims",
    "storageclasses.storage.k8s.io",
    "csidrivers.storage.k8s.io",
    "csinodes.storage.k8s.io",
    "volumeattachments.storage.k8s.io",
    "resourceclaims.resource.k8s.io",
    "resourceclaimtemplates.resource.k8s.io",
    "resourceslices.resource.k8s.io",
    "deviceclasses.resource.k8s.io",
];

/// The rules of a resource.
pub(super) fn of(def: &ResourceDef) -> Rules {
    let bucket: &str = &def.bucket;
    Rules {
        create_on_update: CREATE_ON_UPDATE.contains(&bucket),
        unconditional_update: !CONDITIONAL_UPDATE.contains(&bucket),
        returns_deleted: RETURNS_DELETED.contains(&bucket),
        garbage_collected: bucket != "events",
        graceful: bucket == "pods",
    }
}
