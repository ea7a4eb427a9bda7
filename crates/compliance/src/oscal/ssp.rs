//! The system security plan.

use model::{Control, Implementation, Responsibility};
use serde_json::{Value, json};

use super::component::component_id;
use super::{control, href, id, metadata, prop, put, said, statement};
use crate::reports::Known;
use crate::system::System;

/// The system as a whole, as a component.
fn this_system() -> String {
    id(&["component", "this-system"]).to_string()
}

pub(super) fn document(known: &Known<'_>) -> Value {
    let s = known.system;
    json!({
        "metadata": people(known),
        "import-profile": { "href": href("profiles", "profile") },
        "system-characteristics": characteristics(s),
        "system-implementation": implementation(known),
        "control-implementation": {
            "description": "How each requirement of NIST SP 800-171 Rev. 2 is implemented.",
            "implemented-requirements": known.controls.iter().map(requirement).collect::<Vec<_>>(),
        },
    })
}

/// A role's name as a token.
fn token(text: &str) -> String {
    let word: String = text
        .to_lowercase()
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '-' })
        .collect();
    format!("role-{word}")
}

fn people(known: &Known<'_>) -> Value {
    let s = known.system;
    let mut meta = Value::Object(metadata(
        known,
        &format!("System security plan of {}", said(&s.name)),
    ));
    let mut roles: Vec<(String, &str)> = s
        .people
        .iter()
        .map(|p| (token(&p.role), p.role.as_str()))
        .collect();

    roles.sort();
    roles.dedup_by(|a, b| a.0 == b.0);
    put(
        &mut meta,
        "roles",
        roles
            .iter()
            .map(|(id, title)| json!({ "id": id, "title": said(title) }))
            .collect(),
    );

    let mut parties = Vec::new();
    if !s.organisation.name.trim().is_empty() {
        parties.push(json!({
            "uuid": id(&["party", "organisation"]),
            "type": "organization",
            "name": s.organisation.name,
        }));
    }

    let mut responsible = Vec::new();
    for (n, p) in s.people.iter().enumerate() {
        let uuid = id(&["party", &n.to_string(), &p.name]);
        let mut party = json!({ "uuid": uuid, "type": "person", "name": said(&p.name) });
        if p.email.contains('@') {
            party["email-addresses"] = json!([p.email]);
        }

        if !p.phone.trim().is_empty() {
            party["telephone-numbers"] = json!([{ "number": p.phone }]);
        }

        parties.push(party);
        responsible.push((token(&p.role), uuid));
    }

    put(&mut meta, "parties", parties);
    let of = |role: &str| {
        responsible
            .iter()
            .filter(|(r, _)| r == role)
            .map(|(_, uuid)| *uuid)
            .collect::<Vec<_>>()
    };

    put(
        &mut meta,
        "responsible-parties",
        roles
            .iter()
            .map(|(role, _)| json!({ "role-id": role, "party-uuids": of(role) }))
            .collect(),
    );

    meta
}

fn characteristics(s: &System) -> Value {
    const STATES: [&str; 5] = [
        "operational",
        "under-development",
        "under-major-modification",
        "disposition",
        "other",
    ];

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
                "uuid": id(&["information", &n.to_string(), &i.category]),
                "title": said(&i.category),
                "description": said(&i.description),
                "confidentiality-impact": { "base": "fips-199-moderate" },
            })
        })
        .collect();

    if types.is_empty() {
        types.push(
            json!({ "uuid": id(&["information"]), "title": "CUI", "description": "Not stated." }),
        );
    }

    let mut c = json!({
        "system-ids": [{ "id": said(&s.identifier) }],
        "system-name": said(&s.name),
        "description": said(&s.purpose),
        "security-sensitivity-level": "fips-199-moderate",
        "system-information": { "information-types": types },
        "status": { "state": state },
        "authorization-boundary": { "description": said(&s.boundary) },
    });

    if state == "other" {
        c["status"]["remarks"] = json!(said(&s.state));
    }

    if !s.environment.trim().is_empty() {
        c["network-architecture"] = json!({ "description": s.environment });
    }

    if !s.data_flow.trim().is_empty() {
        c["data-flow"] = json!({ "description": s.data_flow });
    }

    c
}

fn implementation(known: &Known<'_>) -> Value {
    let s = known.system;
    let component = |uuid: String, kind: &str, title: &str, description: &str| json!({ "uuid": uuid, "type": kind, "title": title, "description": description, "status": { "state": "operational" } });
    let mut components = vec![
        component(
            this_system(),
            "this-system",
            &said(&s.name),
            &said(&s.purpose),
        ),
        component(
            component_id(),
            "software",
            "blueteam",
            "Collects and watches the audit record. A security protection asset.",
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

        let what = format!("{} {}", said(&c.description), c.version);
        components.push(component(
            id(&["component", &n.to_string(), &c.name]).to_string(),
            kind,
            &said(&c.name),
            what.trim(),
        ));
    }

    let users = s.users.iter().enumerate().map(|(n, u)| {
        json!({
            "uuid": id(&["users", &n.to_string(), &u.role]),
            "title": said(&u.role),
            "props": [prop("count", u.count), prop("privileged", u.privileged)],
        })
    });

    let mut body = json!({});
    let mut users: Vec<Value> = users.collect();
    if users.is_empty() {
        users.push(json!({ "uuid": id(&["users"]), "title": "Not stated." }));
    }

    put(&mut body, "users", users);
    put(&mut body, "components", components);
    let items = known.assets.iter().map(|a| {
        json!({
            "uuid": id(&["asset", &a.name]),
            "description": format!("{}: {}", a.name, said(&a.description)),
            "props": [prop("cmmc-asset-category", &a.category)],
        })
    });

    put(&mut body, "inventory-items", items.collect());
    body
}

fn requirement(c: &Control) -> Value {
    let state = match c.implementation() {
        Implementation::Implemented => "implemented",
        Implementation::NotApplicable => "not-applicable",
        Implementation::PartiallyImplemented => "partial",
        _ => "planned",
    };
    let notes = said(c.notes.as_deref().unwrap_or_default());
    let part = |component: String, what: &str, description: &str| {
        json!({
            "component-uuid": component,
            "uuid": id(&["by-component", &c.control_id.0, what]),
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
        prop("finding", c.standing()),
        prop("responsibility", c.responsibility),
    ];
    props.extend(
        c.owner
            .as_ref()
            .filter(|o| !o.trim().is_empty())
            .map(|o| prop("owner", o.trim())),
    );
    if c.responsibility != Responsibility::Own {
        props.extend(c.provider.as_ref().map(|p| prop("provider", p.trim())));
    }
    json!({
        "uuid": id(&["implemented-requirement", &c.control_id.0]),
        "control-id": control(&c.control_id),
        "props": props,
        "statements": [{
            "statement-id": statement(&c.control_id),
            "uuid": id(&["statement", &c.control_id.0]),
            "by-components": parts,
        }],
    })
}
