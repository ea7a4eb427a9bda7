//! The component definition of this program: which requirements it serves, and how.

use model::ControlId;
use serde_json::{Value, json};

use super::{control, href, id, metadata};
use crate::reports::Known;

/// What the program does for a requirement today: an assessor reads it as a claim.
pub(super) const SERVES: [(&str, &str); 18] = [
    (
        "3.3.1",
        "Takes in audit events and logs of applications and systems, and keeps them in \
            append-only tables.",
    ),
    (
        "3.3.2",
        "Keeps user, session and address with each event, and shows what one user did as a \
            timeline.",
    ),
    (
        "3.3.3",
        "Counts the types of logged events, and keeps signed reviews of them as evidence.",
    ),
    (
        "3.3.4",
        "Raises an alert when a source is silent, loses events, or when this program itself fails \
            to record.",
    ),
    (
        "3.3.5",
        "Correlates the events of all sources by rules, and opens one incident for one attack.",
    ),
    (
        "3.3.6",
        "Filters, counts and exports events on demand, and records who asked what.",
    ),
    (
        "3.3.7",
        "Measures the skew of each producer's clock, and reads whether its own host is \
            synchronised.",
    ),
    (
        "3.3.8",
        "Refuses changes of the record by privileges and by triggers that raise, for every role.",
    ),
    (
        "3.3.9",
        "Gives the management of the record to one database role, and shows who has it.",
    ),
    (
        "3.6.1",
        "Opens an incident for each attack that is detected, and joins later alerts about it.",
    ),
    (
        "3.6.2",
        "Tracks incidents with their alerts, and marks those to be reported under DFARS \
            252.204-7012.",
    ),
    (
        "3.12.1",
        "Keeps findings for each assessment objective, with who decided, when and why.",
    ),
    (
        "3.12.2",
        "Keeps plans of action with owners, milestones and clocks.",
    ),
    (
        "3.12.3",
        "Runs checks that look at the controls and keep what they saw.",
    ),
    (
        "3.12.4",
        "Makes the system security plan from its description, the findings and the evidence.",
    ),
    (
        "3.14.3",
        "Delivers alerts to the right people, and keeps each attempt and acknowledgement.",
    ),
    (
        "3.14.6",
        "Watches the events of all sources for attacks at all times.",
    ),
    (
        "3.14.7",
        "Compares what users do with what is usual for them, and raises an alert when it is not.",
    ),
];

/// The component's id, in every document that names it.
pub(super) fn component_id() -> String {
    id(&["component", "blueteam"]).to_string()
}

pub(super) fn definition(known: &Known<'_>) -> Value {
    let requirements = SERVES.iter().map(|(c, does)| {
        json!({
            "uuid": id(&["component-requirement", c]),
            "control-id": control(&ControlId::known(c)),
            "description": does,
        })
    });

    json!({
        "metadata": metadata(known, "blueteam"),
        "components": [{
            "uuid": component_id(),
            "type": "software",
            "title": "blueteam",
            "description": "Audit events in, attacks detected, alerts out; and the evidence for \
                an assessment.",
            "control-implementations": [{
                "uuid": id(&["component-implementation"]),
                "source": href("profiles", "profile"),
                "description": "What the program does by itself. The rest of each requirement is \
                    the organisation's.",
                "implemented-requirements": requirements.collect::<Vec<_>>(),
            }],
        }],
    })
}
