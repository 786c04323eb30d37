//! What keeps pods running: deployments, replica sets, stateful sets, daemon sets and the like.

use jiff::Timestamp;
use serde_json::Value;

use super::cell::{self, NONE, integer as number, text};
use super::{AGE, NAME, Printer, integer, text as column, wide};

pub(super) static DEPLOYMENT: Printer = Printer {
    columns: &[
        NAME,
        column("Ready"),
        column("Up-to-date"),
        column("Available"),
        AGE,
        wide("Containers"),
        wide("Images"),
        wide("Selector"),
    ],
    cells: |object, now| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let (names, images) = cell::containers(&spec["template"]["spec"]);
        vec![
            cell::name(object),
            format!("{}/{}", number(&status["readyReplicas"]), number(&spec["replicas"])).into(),
            number(&status["updatedReplicas"]).into(),
            number(&status["availableReplicas"]).into(),
            cell::age(object, now),
            names,
            images,
            cell::requirements(&spec["selector"]).into(),
        ]
    },
};

pub(super) static REPLICA_SET: Printer = Printer {
    columns: REPLICAS,
    cells: |object, now| replicas(object, cell::selector(&object["spec"]["selector"]), now),
};

pub(super) static REPLICATION_CONTROLLER: Printer = Printer {
    columns: REPLICAS,
    cells: |object, now| replicas(object, cell::labels(&object["spec"]["selector"]), now),
};

const REPLICAS: &[super::Column] = &[
    NAME,
    integer("Desired"),
    integer("Current"),
    integer("Ready"),
    AGE,
    wide("Containers"),
    wide("Images"),
    wide("Selector"),
];

fn replicas(object: &Value, selector: String, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let (names, images) = cell::containers(&spec["template"]["spec"]);
    vec![
        cell::name(object),
        number(&spec["replicas"]).into(),
        number(&status["replicas"]).into(),
        number(&status["readyReplicas"]).into(),
        cell::age(object, now),
        names,
        images,
        selector.into(),
    ]
}

pub(super) static STATEFUL_SET: Printer = Printer {
    columns: &[NAME, column("Ready"), AGE, wide("Containers"), wide("Images")],
    cells: |object, now| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let (names, images) = cell::containers(&spec["template"]["spec"]);
        vec![
            cell::name(object),
            format!("{}/{}", number(&status["readyReplicas"]), number(&spec["replicas"])).into(),
            cell::age(object, now),
            names,
            images,
        ]
    },
};

pub(super) static DAEMON_SET: Printer = Printer {
    columns: &[
        NAME,
        integer("Desired"),
        integer("Current"),
        integer("Ready"),
        integer("Up-to-date"),
        integer("Available"),
        column("Node Selector"),
        AGE,
        wide("Containers"),
        wide("Images"),
        wide("Selector"),
    ],
    cells: |object, now| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let (names, images) = cell::containers(&spec["template"]["spec"]);
        vec![
            cell::name(object),
            number(&status["desiredNumberScheduled"]).into(),
            number(&status["currentNumberScheduled"]).into(),
            number(&status["numberReady"]).into(),
            number(&status["updatedNumberScheduled"]).into(),
            number(&status["numberAvailable"]).into(),
            cell::labels(&spec["template"]["spec"]["nodeSelector"]).into(),
            cell::age(object, now),
            names,
            images,
            cell::selector(&spec["selector"]).into(),
        ]
    },
};

pub(super) static CONTROLLER_REVISION: Printer = Printer {
    columns: &[NAME, column("Controller"), column("Revision"), AGE],
    cells: |object, now| {
        let owners = cell::list(&object["metadata"]["ownerReferences"]);
        let controller = owners.iter().find(|owner| owner["controller"] == true).map(|owner| {
            let group = text(&owner["apiVersion"]).split_once('/').map_or("", |(group, _)| group);
            let kind = text(&owner["kind"]).to_lowercase();
            format!("{}/{}", api::status::qualified(group, &kind), text(&owner["name"]))
        });
        vec![
            cell::name(object),
            controller.unwrap_or_else(|| NONE.to_owned()).into(),
            number(&object["revision"]).into(),
            cell::age(object, now),
        ]
    },
};

pub(super) static POD_TEMPLATE: Printer = Printer {
    columns: &[NAME, column("Containers"), column("Images"), column("Pod Labels")],
    cells: |object, _| {
        let template = &object["template"];
        let (names, images) = cell::containers(&template["spec"]);
        vec![cell::name(object), names, images, cell::labels(&template["metadata"]["labels"]).into()]
    },
};
