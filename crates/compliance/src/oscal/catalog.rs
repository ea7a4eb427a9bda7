//! The catalog of NIST SP 800-171 r2, and a profile that selects all of it.

use serde_json::{Value, json};

use super::{
    document_metadata, oscal_control_id, oscal_objective_id, oscal_prop, statement_id, trestle_href,
};
use crate::catalog::Requirement;
use crate::reports::ReportContext;

/// Builds the catalog: families as groups, requirements as controls, objectives and methods as
/// parts.
pub(super) fn catalog_document(known: &ReportContext<'_>) -> Value {
    let families = known.catalog.families().into_iter().map(|(id, name)| {
        let controls = known
            .catalog
            .requirements
            .iter()
            .filter(|r| r.family_id == id)
            .map(requirement_control);
        json!({
            "id": format!("sp800-171r2-{id}"),
            "class": "family",
            "title": name,
            "props": [{ "name": "label", "value": id }],
            "controls": controls.collect::<Vec<_>>(),
        })
    });

    let title = format!("{}: {}", known.catalog.name(), known.catalog.title);
    json!({ "metadata": document_metadata(known, &title), "groups": families.collect::<Vec<_>>() })
}

fn requirement_control(r: &Requirement) -> Value {
    let mut props = vec![
        json!({ "name": "label", "value": r.control_id }),
        oscal_prop("cmmc-practice", &r.cmmc_practice),
        oscal_prop("cmmc-level", r.cmmc_level),
        oscal_prop("poam-allowed", r.poam_allowed),
    ];
    props.extend(r.dod_weight.map(|w| oscal_prop("dod-weight", w)));
    props.extend(
        r.partial_weight
            .map(|w| oscal_prop("dod-partial-weight", w)),
    );

    props.extend(
        r.nist_800_53_r4_mappings
            .iter()
            .map(|m| oscal_prop("sp800-53r4-control", m)),
    );

    let base = oscal_control_id(&r.control_id);
    let objectives = r.assessment_objectives.iter().map(|o| {
        json!({
            "id": oscal_objective_id(&o.id),
            "name": "assessment-objective",
            "props": [{ "name": "label", "value": o.id }],
            "prose": o.text,
            "links": [{ "href": format!("#{}", statement_id(&r.control_id)), "rel": "assessment-for" }],
        })
    });

    let mut parts = vec![
        json!({ "id": statement_id(&r.control_id), "name": "statement", "prose": r.requirement }),
        json!({ "id": format!("{base}_obj"), "name": "assessment-objective", "prose": "Determine if:",
                "parts": objectives.collect::<Vec<_>>() }),
    ];

    let m = &r.assessment_methods;
    for (method, objects) in [
        ("EXAMINE", &m.examine),
        ("INTERVIEW", &m.interview),
        ("TEST", &m.test),
    ] {
        if !objects.is_empty() {
            parts.push(json!({
                "id": format!("{base}_asm-{}", method.to_ascii_lowercase()),
                "name": "assessment-method",
                "props": [{ "name": "method", "value": method }],
                "parts": [{ "name": "assessment-objects", "prose": objects.join("\n\n") }],
            }));
        }
    }

    json!({ "id": base, "class": "requirement", "title": r.title, "props": props, "parts": parts })
}

/// Builds the profile of CMMC Level 2, which selects the whole catalog.
pub(super) fn profile_document(known: &ReportContext<'_>) -> Value {
    json!({
        "metadata": document_metadata(known, "CMMC Level 2"),
        "imports": [{ "href": trestle_href("catalogs", "catalog"), "include-all": {} }],
        "merge": { "as-is": true },
    })
}
