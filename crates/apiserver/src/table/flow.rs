//! Priority and fairness.

use super::cell::{self, NONE, text, text_or};
use super::{AGE, NAME, Printer, text as column};

pub(super) static FLOW_SCHEMA: Printer = Printer {
    columns: &[
        NAME,
        column("PriorityLevel"),
        column("MatchingPrecedence"),
        column("DistinguisherMethod"),
        AGE,
        column("MissingPL"),
    ],
    cells: |object, now| {
        let spec = &object["spec"];
        let missing = cell::condition(object, "Dangling").map_or("?", |one| text(&one["status"]));
        vec![
            cell::name(object),
            text(&spec["priorityLevelConfiguration"]["name"]).into(),
            cell::integer(&spec["matchingPrecedence"]).into(),
            text_or(&spec["distinguisherMethod"]["type"], NONE).into(),
            cell::age(object, now),
            missing.into(),
        ]
    },
};

pub(super) static PRIORITY_LEVEL: Printer = Printer {
    columns: &[
        NAME,
        column("Type"),
        column("NominalConcurrencyShares"),
        column("Queues"),
        column("HandSize"),
        column("QueueLengthLimit"),
        AGE,
    ],
    cells: |object, now| {
        let spec = &object["spec"];
        let kind = if spec["limited"].is_object() { "limited" } else { "exempt" };
        let shares = &spec[kind]["nominalConcurrencyShares"];
        let queuing = &spec["limited"]["limitResponse"]["queuing"];
        let or_none = |value| cell::scalar(value).unwrap_or_else(|| NONE.to_owned());
        vec![
            cell::name(object),
            text(&spec["type"]).into(),
            or_none(shares).into(),
            or_none(&queuing["queues"]).into(),
            or_none(&queuing["handSize"]).into(),
            or_none(&queuing["queueLengthLimit"]).into(),
            cell::age(object, now),
        ]
    },
};
