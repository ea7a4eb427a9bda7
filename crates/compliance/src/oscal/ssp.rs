//! The system security plan.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::{Control, Implementation, Responsibility};
use serde_json::{Value, json};

use super::component::component_id;
use super::{
    document_metadata, format_time, insert_list, oscal_control_id, oscal_prop, stable_id,
    statement_id, text_or_not_stated, trestle_href,
};
use crate::diagram::{KINDS, Picture};
use crate::reports::ReportContext;
use crate::system::{STATES, System};

/// Returns the id of the component that stands for the whole system.
fn this_system() -> String {
    stable_id(&["component", "this-system"]).to_string()
}

pub(super) fn ssp_document(known: &ReportContext<'_>) -> Value {
    let s = known.system;
    let mut document = json!({
        "metadata": metadata_with_people(known),
        "import-profile": { "href": trestle_href("profiles", "profile") },
        "system-characteristics": system_characteristics(s, known.pictures),
        "system-implementation": system_implementation(known),
        "control-implementation": {
            "description": "How each requirement of NIST SP 800-171 Rev. 2 is implemented.",
            "implemented-requirements": known.controls.iter().map(implemented_requirement).collect::<Vec<_>>(),
        },
    });

    let resources: Vec<Value> = known.pictures.iter().enumerate().map(resource).collect();
    if !resources.is_empty() {
        document["back-matter"] = json!({ "resources": resources });
    }
    document
}

/// Returns the id of a picture's file among the resources of the document.
fn resource_id(place: usize, picture: &Picture) -> String {
    let place = place.to_string();
    stable_id(&["picture", &place, &picture.diagram.sha256]).to_string()
}

/// Returns a picture as a resource: whoever has the document has the picture.
fn resource((place, picture): (usize, &Picture)) -> Value {
    let form = picture.image.form();
    let file = format!("diagram-{}.{}", place + 1, form.extension());
    json!({
        "uuid": resource_id(place, picture),
        "title": text_or_not_stated(picture.diagram.title()),
        "base64": {
            "filename": file,
            "media-type": form.media_type(),
            "value": STANDARD.encode(&*picture.original),
        },
    })
}

/// Returns the diagrams of the pictures that `is_meant` picks.
fn diagrams(pictures: &[Picture], is_meant: impl Fn(&str) -> bool) -> Vec<Value> {
    let chosen = pictures
        .iter()
        .enumerate()
        .filter(|(_, picture)| is_meant(&picture.diagram.kind));
    chosen
        .map(|(place, picture)| {
            let resource = resource_id(place, picture);
            let mut diagram = json!({
                "uuid": stable_id(&["diagram", &resource]),
                "links": [{ "href": format!("#{resource}"), "rel": "diagram" }],
                "caption": text_or_not_stated(picture.diagram.title()),
            });
            if !picture.diagram.caption.trim().is_empty() {
                diagram["description"] = json!(picture.diagram.caption);
            }
            diagram
        })
        .collect()
}

/// Returns the name of a role as a token.
fn role_token(text: &str) -> String {
    let word: String = text
        .to_lowercase()
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '-' })
        .collect();
    format!("role-{word}")
}

fn metadata_with_people(known: &ReportContext<'_>) -> Value {
    let s = known.system;
    let mut meta = Value::Object(document_metadata(
        known,
        &format!("System security plan of {}", text_or_not_stated(&s.name)),
    ));
    let mut roles: Vec<(String, &str)> = s
        .people
        .iter()
        .map(|p| (role_token(&p.role), p.role.as_str()))
        .collect();

    roles.sort();
    roles.dedup_by(|a, b| a.0 == b.0);
    insert_list(
        &mut meta,
        "roles",
        roles
            .iter()
            .map(|(id, title)| json!({ "id": id, "title": text_or_not_stated(title) }))
            .collect(),
    );

    let mut parties = Vec::new();
    if !s.organization.name.trim().is_empty() {
        parties.push(json!({
            "uuid": stable_id(&["party", "organisation"]),
            "type": "organization",
            "name": s.organization.name,
        }));
    }

    let mut responsible = Vec::new();
    for (n, p) in s.people.iter().enumerate() {
        let uuid = stable_id(&["party", &n.to_string(), &p.name]);
        let mut party =
            json!({ "uuid": uuid, "type": "person", "name": text_or_not_stated(&p.name) });
        if p.email.contains('@') {
            party["email-addresses"] = json!([p.email]);
        }

        if !p.phone.trim().is_empty() {
            party["telephone-numbers"] = json!([{ "number": p.phone }]);
        }

        parties.push(party);
        responsible.push((role_token(&p.role), uuid));
    }

    insert_list(&mut meta, "parties", parties);
    let of = |role: &str| {
        responsible
            .iter()
            .filter(|(r, _)| r == role)
            .map(|(_, uuid)| *uuid)
            .collect::<Vec<_>>()
    };

    insert_list(
        &mut meta,
        "responsible-parties",
        roles
            .iter()
            .map(|(role, _)| json!({ "role-id": role, "party-uuids": of(role) }))
            .collect(),
    );

    meta
}

fn system_characteristics(s: &System, pictures: &[Picture]) -> Value {
    let state = if STATES.contains(&s.state.as_str()) {
        &s.state
    } else {
        "other"
    };

    let mut types: Vec<Value> = s
        .information
        .iter()
        .enumerate()
        .map(|(n, i)| {
            json!({
                "uuid": stable_id(&["information", &n.to_string(), &i.category]),
                "title": text_or_not_stated(&i.category),
                "description": text_or_not_stated(&i.description),
                "confidentiality-impact": { "base": "fips-199-moderate" },
            })
        })
        .collect();

    if types.is_empty() {
        types.push(
            json!({ "uuid": stable_id(&["information"]), "title": "CUI", "description": "Not stated." }),
        );
    }

    let mut c = json!({
        "system-ids": [{ "id": text_or_not_stated(&s.identifier) }],
        "system-name": text_or_not_stated(&s.name),
        "description": text_or_not_stated(&s.purpose),
        "security-sensitivity-level": "fips-199-moderate",
        "system-information": { "information-types": types },
        "status": { "state": state },
        "authorization-boundary": { "description": text_or_not_stated(&s.boundary) },
    });

    if state == "other" {
        c["status"]["remarks"] = json!(text_or_not_stated(&s.state));
    }

    let [topology, flow] = KINDS;
    let is = |kind: &str, other: &str| kind.eq_ignore_ascii_case(other);
    let others = diagrams(pictures, |kind| !is(kind, topology) && !is(kind, flow));
    insert_list(&mut c["authorization-boundary"], "diagrams", others);

    let parts = [
        ("network-architecture", &s.environment, topology),
        ("data-flow", &s.data_flow, flow),
    ];
    for (name, description, kind) in parts {
        let shown = diagrams(pictures, |other| is(other, kind));
        if !description.trim().is_empty() || !shown.is_empty() {
            c[name] = json!({ "description": text_or_not_stated(description) });
            insert_list(&mut c[name], "diagrams", shown);
        }
    }

    c
}

fn system_implementation(known: &ReportContext<'_>) -> Value {
    let s = known.system;
    let component = |uuid: String, kind: &str, title: &str, description: &str| json!({ "uuid": uuid, "type": kind, "title": title, "description": description, "status": { "state": "operational" } });
    let mut components = vec![
        component(
            this_system(),
            "this-system",
            &text_or_not_stated(&s.name),
            &text_or_not_stated(&s.purpose),
        ),
        component(
            component_id(),
            "software",
            "blueteam",
            "Collects and monitors the audit record. A security protection asset.",
        ),
    ];

    for (n, c) in s.components.iter().enumerate() {
        const KINDS: [&str; 6] = [
            "hardware", "software", "service", "network", "policy", "physical",
        ];
        let kind = if KINDS.contains(&c.kind.as_str()) {
            c.kind.as_str()
        } else {
            "system"
        };

        let what = format!("{} {}", text_or_not_stated(&c.description), c.version);
        components.push(component(
            stable_id(&["component", &n.to_string(), &c.name]).to_string(),
            kind,
            &text_or_not_stated(&c.name),
            what.trim(),
        ));
    }

    let users = s.users.iter().enumerate().map(|(n, u)| {
        json!({
            "uuid": stable_id(&["users", &n.to_string(), &u.role]),
            "title": text_or_not_stated(&u.role),
            "props": [oscal_prop("count", u.count), oscal_prop("privileged", u.privileged)],
        })
    });

    let mut body = json!({});
    let mut users: Vec<Value> = users.collect();
    if users.is_empty() {
        users.push(json!({ "uuid": stable_id(&["users"]), "title": "Not stated." }));
    }

    insert_list(&mut body, "users", users);
    insert_list(&mut body, "components", components);
    let items = known.assets.iter().map(|a| {
        json!({
            "uuid": stable_id(&["asset", &a.name]),
            "description": format!("{}: {}", a.name, text_or_not_stated(&a.description)),
            "props": [oscal_prop("cmmc-asset-category", &a.category)],
        })
    });

    insert_list(&mut body, "inventory-items", items.collect());
    body
}

fn implemented_requirement(c: &Control) -> Value {
    let state = match c.implementation() {
        Implementation::Implemented => "implemented",
        Implementation::NotApplicable => "not-applicable",
        Implementation::PartiallyImplemented => "partial",
        _ => "planned",
    };

    let notes = text_or_not_stated(c.notes.as_deref().unwrap_or_default());
    let part = |component: String, what: &str, description: &str| {
        json!({
            "component-uuid": component,
            "uuid": stable_id(&["by-component", &c.control_id.0, what]),
            "description": description,
            "implementation-status": { "state": state },
        })
    };

    let mut parts = vec![part(this_system(), "this-system", &notes)];
    if let Some((_, does)) = super::component::SERVES
        .iter()
        .find(|(id, _)| *id == c.control_id.0)
    {
        parts.push(part(component_id(), "blueteam", does));
    }

    let mut props = vec![
        oscal_prop("finding", c.standing()),
        oscal_prop("responsibility", c.responsibility),
    ];
    props.extend(
        c.owner
            .as_ref()
            .filter(|o| !o.trim().is_empty())
            .map(|o| oscal_prop("owner", o.trim())),
    );
    props.extend(
        c.due
            .map(|due| oscal_prop("next-assessment", format_time(due))),
    );
    if c.partial_credit {
        props.push(oscal_prop("partial-credit", true));
    }

    if c.responsibility != Responsibility::Own {
        props.extend(
            c.provider
                .as_ref()
                .map(|p| oscal_prop("provider", p.trim())),
        );
    }

    json!({
        "uuid": stable_id(&["implemented-requirement", &c.control_id.0]),
        "control-id": oscal_control_id(&c.control_id),
        "props": props,
        "statements": [{
            "statement-id": statement_id(&c.control_id),
            "uuid": stable_id(&["statement", &c.control_id.0]),
            "by-components": parts,
        }],
    })
}
