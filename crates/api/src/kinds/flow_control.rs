//! FlowSchema and PriorityLevelConfiguration.

use serde_json::{Value, json};

use super::access::{at_mut, fill, int, object_mut, set, text};
use super::{COUNTED, Rules, checks};

pub(super) const SCHEMA: Rules = Rules { default: default_schema, validate: checks::flow::schema, ..COUNTED };
pub(super) const PRIORITY_LEVEL: Rules =
    Rules { default: default_level, validate: checks::flow::priority_level, ..COUNTED };

fn default_schema(schema: &mut Value) {
    if let Some(spec) = object_mut(schema, "spec")
        && int(spec, "matchingPrecedence").unwrap_or_default() == 0
    {
        set(spec, "matchingPrecedence", 1000);
    }
}

fn default_level(level: &mut Value) {
    let Some(spec) = object_mut(level, "spec") else { return };
    if let Some(exempt) = at_mut(spec, "exempt") {
        fill(exempt, "nominalConcurrencyShares", 0);
        fill(exempt, "lendablePercent", 0);
    }
    if let Some(limited) = at_mut(spec, "limited") {
        fill(limited, "nominalConcurrencyShares", 30);
        fill(limited, "lendablePercent", 0);
        if let Some(response) = at_mut(limited, "limitResponse")
            && text(response, "type") == "Queue"
        {
            fill(response, "queuing", json!({}));
            if let Some(queuing) = object_mut(response, "queuing") {
                for (name, number) in [("queues", 64), ("handSize", 8), ("queueLengthLimit", 50)] {
                    if int(queuing, name).unwrap_or_default() == 0 {
                        set(queuing, name, number);
                    }
                }
            }
        }
    }
}
