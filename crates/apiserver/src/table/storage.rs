//! Volumes, claims, and what provides them.

use serde_json::Value;

use super::cell::{self, NONE, UNSET, list, text, text_or};
use super::{AGE, Column, NAME, Printer, boolean, integer, text as column, wide};

/// The old place of a storage class's name.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

/// Which mark a storage class as the default one.
const DEFAULT_CLASS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

pub(super) static PERSISTENT_VOLUME: Printer = Printer {
    columns: &[
        NAME,
        column("Capacity"),
        column("Access Modes"),
        column("Reclaim Policy"),
        column("Status"),
        column("Claim"),
        column("StorageClass"),
        column("VolumeAttributesClass"),
        column("Reason"),
        AGE,
        wide("VolumeMode"),
    ],
    cells: |object, now| {
        let (spec, claim) = (&object["spec"], &object["spec"]["claimRef"]);
        let claim = if claim.is_object() {
            format!("{}/{}", text(&claim["namespace"]), text(&claim["name"]))
        } else {
            String::new()
        };
        vec![
            cell::name(object),
            cell::scalar(&spec["capacity"]["storage"]).unwrap_or_default().into(),
            modes(&spec["accessModes"]).into(),
            text(&spec["persistentVolumeReclaimPolicy"]).into(),
            phase(object).into(),
            claim.into(),
            class(object).into(),
            text_or(&spec["volumeAttributesClassName"], UNSET).into(),
            text(&object["status"]["reason"]).into(),
            cell::age(object, now),
            text_or(&spec["volumeMode"], UNSET).into(),
        ]
    },
};

pub(super) static PERSISTENT_VOLUME_CLAIM: Printer = Printer {
    columns: &[
        NAME,
        column("Status"),
        column("Volume"),
        column("Capacity"),
        column("Access Modes"),
        column("StorageClass"),
        column("VolumeAttributesClass"),
        AGE,
        wide("VolumeMode"),
    ],
    cells: |object, now| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let bound = !text(&spec["volumeName"]).is_empty();
        let capacity = cell::scalar(&status["capacity"]["storage"]).filter(|_| bound);
        vec![
            cell::name(object),
            phase(object).into(),
            text(&spec["volumeName"]).into(),
            capacity.unwrap_or_default().into(),
            if bound { modes(&status["accessModes"]) } else { String::new() }.into(),
            class(object).into(),
            text_or(&spec["volumeAttributesClassName"], UNSET).into(),
            cell::age(object, now),
            text_or(&spec["volumeMode"], UNSET).into(),
        ]
    },
};

fn phase(object: &Value) -> &str {
    if object["metadata"]["deletionTimestamp"].is_null() {
        text(&object["status"]["phase"])
    } else {
        "Terminating"
    }
}

fn class(object: &Value) -> &str {
    let old = &object["metadata"]["annotations"][CLASS_ANNOTATION];
    text_or(old, text(&object["spec"]["storageClassName"]))
}

/// In a fixed order, each once.
fn modes(modes: &Value) -> String {
    let known = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let has = |name: &str| list(modes).iter().any(|mode| mode == name);
    known.into_iter().filter(|(name, _)| has(name)).map(|(_, short)| short).collect::<Vec<_>>().join(",")
}

pub(super) static STORAGE_CLASS: Printer = Printer {
    columns: &[
        NAME,
        column("Provisioner"),
        column("ReclaimPolicy"),
        column("VolumeBindingMode"),
        column("AllowVolumeExpansion"),
        AGE,
    ],
    cells: |object, now| {
        let annotations = &object["metadata"]["annotations"];
        let default = DEFAULT_CLASS.iter().any(|name| annotations[*name] == "true");
        let mark = if default { " (default)" } else { "" };
        vec![
            format!("{}{mark}", text(&object["metadata"]["name"])).into(),
            text(&object["provisioner"]).into(),
            text_or(&object["reclaimPolicy"], "Delete").into(),
            text_or(&object["volumeBindingMode"], "Immediate").into(),
            (object["allowVolumeExpansion"] == true).into(),
            cell::age(object, now),
        ]
    },
};

pub(super) static CSI_DRIVER: Printer = Printer {
    columns: &[
        NAME,
        boolean("AttachRequired"),
        boolean("PodInfoOnMount"),
        boolean("StorageCapacity"),
        column("TokenRequests"),
        boolean("RequiresRepublish"),
        column("Modes"),
        AGE,
    ],
    cells: |object, now| {
        let spec = &object["spec"];
        let audiences = cell::joined(&spec["tokenRequests"], "audience");
        let modes = cell::texts(&spec["volumeLifecycleModes"]);
        vec![
            cell::name(object),
            (spec["attachRequired"] != false).into(),
            (spec["podInfoOnMount"] == true).into(),
            (spec["storageCapacity"] == true).into(),
            if audiences.is_empty() { UNSET.to_owned() } else { audiences }.into(),
            (spec["requiresRepublish"] == true).into(),
            if modes.is_empty() { NONE.to_owned() } else { modes }.into(),
            cell::age(object, now),
        ]
    },
};

pub(super) static CSI_NODE: Printer = Printer {
    columns: &[NAME, integer("Drivers"), AGE],
    cells: |object, now| {
        vec![cell::name(object), cell::count(&object["spec"]["drivers"]).into(), cell::age(object, now)]
    },
};

pub(super) static VOLUME_ATTACHMENT: Printer = Printer {
    columns: &[
        NAME,
        Column { format: "name", ..column("Attacher") },
        column("PV"),
        column("Node"),
        boolean("Attached"),
        AGE,
    ],
    cells: |object, now| {
        let spec = &object["spec"];
        vec![
            cell::name(object),
            text(&spec["attacher"]).into(),
            text(&spec["source"]["persistentVolumeName"]).into(),
            text(&spec["nodeName"]).into(),
            (object["status"]["attached"] == true).into(),
            cell::age(object, now),
        ]
    },
};

pub(super) static VOLUME_ATTRIBUTES_CLASS: Printer = Printer {
    columns: &[NAME, column("DriverName"), AGE],
    cells: |object, now| vec![cell::name(object), text(&object["driverName"]).into(), cell::age(object, now)],
};
