//! The component definition of blueteam: which requirements it supports, and how.

use model::ControlId;
use serde_json::{Value, json};

use super::{document_metadata, oscal_control_id, stable_id, trestle_href};
use crate::reports::ReportContext;

/// What blueteam does for a requirement today. An assessor reads it as a claim.
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
        "Raises an alert when a source is silent or loses events, or when blueteam itself fails to \
            record.",
    ),
    (
        "3.3.5",
        "Correlates the events of all sources by rules, and opens one incident per attack.",
    ),
    (
        "3.3.6",
        "Filters, counts and exports events on demand, and records who searched for what.",
    ),
    (
        "3.3.7",
        "Measures the skew of each producer's clock, and reads whether its own host is \
            synchronized.",
    ),
    (
        "3.3.8",
        "Refuses changes to the record by privileges, and by triggers for every role.",
    ),
    (
        "3.3.9",
        "Limits management of the record to one database role, and shows who has it.",
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
        "Keeps plans of action with owners, milestones and deadlines.",
    ),
    (
        "3.12.3",
        "Runs checks of the controls and keeps their results.",
    ),
    (
        "3.12.4",
        "Builds the system security plan from its description, the findings and the evidence.",
    ),
    (
        "3.14.3",
        "Delivers alerts to the right people, and keeps each attempt and acknowledgment.",
    ),
    (
        "3.14.6",
        "Monitors the events of all sources for attacks at all times.",
    ),
    (
        "3.14.7",
        "Compares what users do with what is usual for them, and raises an alert when it is not.",
    ),
];

/// Returns the id of the component, the same in every document.
pub(super) fn component_id() -> String {
    stable_id(&["component", "blueteam"]).to_string()
}

pub(super) fn component_document(known: &ReportContext<'_>) -> Value {
    let requirements = SERVES.iter().map(|(c, does)| {
        json!({
            "uuid": stable_id(&["component-requirement", c]),
            "control-id": oscal_control_id(&ControlId::known(c)),
            "description": does,
        })
    });

    json!({
        "metadata": document_metadata(known, "blueteam"),
        "components": [{
            "uuid": component_id(),
            "type": "software",
            "title": "blueteam",
            "description": "Audit events in, attacks detected, alerts out; and the evidence for \
                an assessment.",
            "control-implementations": [{
                "uuid": stable_id(&["component-implementation"]),
                "source": trestle_href("profiles", "profile"),
                "description": "What blueteam does by itself. The rest of each requirement is \
                    the responsibility of the organization.",
                "implemented-requirements": requirements.collect::<Vec<_>>(),
            }],
        }],
    })
}
