//! LimitRange and ResourceQuota: amounts for a namespace.

use serde_json::Value;

use super::access::{list_mut, object_mut, text};
use super::resources::{entries, fill_list, round_list};
use super::{PLAIN, Rules, checks};

pub(super) const RULES: Rules = Rules { default, validate: checks::amounts::limit_range, ..PLAIN };
pub(super) const QUOTA: Rules = Rules {
    default: default_quota,
    validate: checks::amounts::resource_quota,
    validate_update: checks::amounts::resource_quota_update,
    validate_status: checks::amounts::resource_quota_status,
    ..PLAIN
};

fn default(range: &mut Value) {
    let Some(spec) = object_mut(range, "spec") else { return };
    for limit in list_mut(spec, "limits") {
        for name in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
            round_list(limit, name);
        }
        if text(limit, "type") == "Container" {
            // The largest amount is the usual limit, the usual limit the usual request.
            let most = entries(limit, "max");
            fill_list(limit, "default", &most);
            let usual = entries(limit, "default");
            fill_list(limit, "defaultRequest", &usual);
            let least = entries(limit, "min");
            fill_list(limit, "defaultRequest", &least);
        }
    }
}

fn default_quota(quota: &mut Value) {
    if let Some(spec) = object_mut(quota, "spec") {
        round_list(spec, "hard");
    }
}
