//! In which order objects are made anew, where many come back at once: what others refer to by name comes before them.

/// Buckets that others refer to, in the order in which they are needed.
const FIRST: [&str; 12] = [
    "namespaces",
    "customresourcedefinitions.apiextensions.k8s.io",
    "priorityclasses.scheduling.k8s.io",
    "storageclasses.storage.k8s.io",
    "clusterroles.rbac.authorization.k8s.io",
    "roles.rbac.authorization.k8s.io",
    "serviceaccounts",
    "secrets",
    "configmaps",
    "persistentvolumes",
    "persistentvolumeclaims",
    "services",
];

/// The place of a bucket in that order: the smaller, the earlier. All that nobody refers to share the last one.
pub fn creation_rank(bucket: &str) -> usize {
    FIRST.iter().position(|first| *first == bucket).unwrap_or(FIRST.len())
}

#[cfg(test)]
mod tests {
    use super::creation_rank;

    #[test]
    fn what_a_pod_refers_to_comes_before_it() {
        for first in ["namespaces", "serviceaccounts", "secrets", "configmaps", "persistentvolumeclaims"] {
            assert!(creation_rank(first) < creation_rank("pods"), "{first}");
        }
        assert!(creation_rank("namespaces") < creation_rank("secrets"));
        assert_eq!(creation_rank("pods"), creation_rank("deployments.apps"));
    }

    #[test]
    fn every_bucket_of_the_order_exists() {
        let registry = crate::registry::registry();
        for bucket in super::FIRST.iter().filter(|bucket| !bucket.starts_with("customresourcedefinitions")) {
            assert!(registry.all().iter().any(|def| *def.bucket == **bucket), "{bucket}");
        }
    }
}
