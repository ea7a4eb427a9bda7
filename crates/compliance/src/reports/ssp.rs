//! The system security plan (3.12.4): the sections of NIST's CUI template, and what CMMC adds.
//! Missing information is marked as missing.

use std::collections::BTreeMap;

use model::{Control, EvidenceId, Implementation, Responsibility, Validity};

use super::{ReportContext, counted, cover, format_day, maybe_day, or_missing, standing_word};
use crate::catalog::Requirement;
use crate::claim::approved_plan;
use crate::diagram::{KINDS, Picture};
use crate::document::{Block, Document, Figure};
use crate::evidence;
use crate::system::{System, category_words};

/// Builds the system security plan.
pub fn build_report(known: &ReportContext<'_>) -> Document {
    let s = known.system;
    let mut doc = Document {
        title: format!("System Security Plan: {}", or_missing(&s.name)),
        subtitle: vec![
            or_missing(&s.organization.name),
            format!(
                "version {}, {}",
                or_missing(&s.version),
                known.catalog.name()
            ),
            format!(
                "date of the plan: {}",
                or_missing(&s.plan_date().unwrap_or_default())
            ),
            approval_line(known),
        ],
        marking: s.marking.clone(),
        // The assessment date for SPRS.
        date: s.plan_date().unwrap_or_else(|| format_day(known.now)),
        cover: cover::subject(s),
        designation: cover::designation(s),
        blocks: Vec::new(),
    };

    add_missing(&mut doc, known);
    add_objective_index(&mut doc);
    add_identification(&mut doc, s);
    add_environment(&mut doc, known);
    add_scope(&mut doc, known);
    add_requirements(&mut doc, known);
    doc.heading(1, "5 Record of changes");

    let rows = s
        .changes
        .iter()
        .map(|c| vec![c.date.clone(), c.description.clone(), c.by.clone()])
        .collect();
    doc.table(&["Date", "Description", "Made by"], rows);
    add_approval(&mut doc, known);

    doc
}

/// Adds the block in which the plan is signed, with the names that are known.
fn add_approval(doc: &mut Document, known: &ReportContext<'_>) {
    let roles = [
        "system owner",
        "information owner",
        "system security officer",
        "affirming official",
    ];
    let rows = roles.iter().map(|role| {
        let person = known.system.person(role);
        let of = |text: Option<&String>| or_missing(text.map_or("", String::as_str));
        vec![
            capitalized(role),
            of(person.map(|p| &p.name)),
            person.map_or_else(String::new, |p| p.title.clone()),
            String::new(),
            String::new(),
        ]
    });

    doc.heading(1, "6 Approval")
        .text(format!("This plan is {}.", approval_line(known)))
        .table(
            &["Role", "Name", "Title", "Signature", "Date"],
            rows.collect(),
        );
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

/// Adds the diagrams of one kind; without one, says that it is missing.
fn add_diagrams(doc: &mut Document, known: &ReportContext<'_>, kind: &str) {
    let mut found = false;
    for picture in known.pictures {
        if picture.diagram.kind.eq_ignore_ascii_case(kind) {
            doc.add(Block::Figure(figure(picture)));
            found = true;
        }
    }

    if !found {
        doc.text(format!("Diagram of the {kind}: NOT STATED"));
    }
}

fn figure(picture: &Picture) -> Figure {
    Figure {
        title: picture.diagram.title().to_owned(),
        caption: picture.diagram.caption.clone(),
        image: picture.image.clone(),
    }
}

/// Returns the line about the approval of the plan that counts today.
fn approval_line(known: &ReportContext<'_>) -> String {
    match approved_plan(known.evidence, known.now) {
        Some(e) => format!(
            "approved by {} on {}",
            e.approved_by.as_deref().unwrap_or("-"),
            maybe_day(e.approved_at)
        ),
        None => "NOT APPROVED: no score and no CMMC status can be claimed".to_owned(),
    }
}

/// Adds the first chapter: what an assessor would find missing.
fn add_missing(doc: &mut Document, known: &ReportContext<'_>) {
    let mut points = known.system.missing();
    let claim = known.claim();
    points.extend(claim.no_score().map(|why| format!("score: {why}")));
    points.extend(claim.cautions().iter().map(ToString::to_string));
    let count = |what: fn(&&Control) -> bool| known.controls.iter().filter(what).count();
    let unwritten = count(|c| !c.is_described());
    let undecided = count(|c| c.objectives.iter().any(|o| o.decision.is_none()));
    let unowned = count(|c| c.owner.is_none());

    let mut note = |n: usize, one: &str, many: &str| {
        if n > 0 {
            points.push(counted(n, one, many));
        }
    };
    note(
        unwritten,
        "requirement does not say how it is implemented (3.12.4[e])",
        "requirements do not say how they are implemented (3.12.4[e])",
    );
    note(
        undecided,
        "requirement has undecided objectives",
        "requirements have undecided objectives",
    );
    note(
        unowned,
        "requirement has no owner",
        "requirements have no owner",
    );

    doc.heading(1, "What is missing").add(Block::Gaps(points));
}

/// Adds the index of where each objective of 3.12.4 is met.
fn add_objective_index(doc: &mut Document) {
    doc.heading(1, "Where this plan meets 3.12.4");
    let rows = [
        ("3.12.4[a]", "this document"),
        ("3.12.4[b] boundary", "2 System environment"),
        ("3.12.4[c] environment of operation", "2 System environment"),
        (
            "3.12.4[d] not applicable requirements",
            "4 Requirements, marked Not Applicable with their rationale",
        ),
        ("3.12.4[e] method of implementation", "4 Requirements"),
        ("3.12.4[f] connections to other systems", "2.4 Connections"),
        ("3.12.4[g] update frequency", "1.5 Updates"),
        ("3.12.4[h] updated as defined", "5 Record of changes"),
    ];

    doc.table(
        &["Objective", "Section"],
        rows.iter()
            .map(|(a, b)| vec![(*a).to_owned(), (*b).to_owned()])
            .collect(),
    );
}

fn add_identification(doc: &mut Document, s: &System) {
    doc.heading(1, "1 System identification")
        .heading(2, "1.1 Name")
        .list(vec![
            format!("System name: {}", or_missing(&s.name)),
            "Categorization: moderate impact for confidentiality".to_owned(),
            format!("Unique identifier: {}", or_missing(&s.identifier)),
        ]);

    let o = &s.organization;
    doc.heading(2, "1.2 Responsible organization").list(vec![
        format!("Name: {}", or_missing(&o.name)),
        format!("Address: {}", or_missing(&o.address)),
        format!("Phone: {}", or_missing(&o.phone)),
        format!("CAGE codes: {}", or_missing(&o.cage_codes.join(", "))),
    ]);

    let rows = s.people.iter().map(|p| {
        [&p.role, &p.name, &p.title, &p.address, &p.phone, &p.email]
            .into_iter()
            .map(|t| or_missing(t))
            .collect()
    });

    let rows = rows.collect();
    doc.table(
        &["Role", "Name", "Title", "Office address", "Phone", "E-mail"],
        rows,
    );
    doc.heading(2, "1.3 Purpose and users")
        .text(or_missing(&s.purpose));

    let rows = s.users.iter().map(|u| {
        vec![
            u.role.clone(),
            u.count.to_string(),
            if u.privileged { "privileged" } else { "" }.to_owned(),
        ]
    });

    doc.table(&["Role", "Users", ""], rows.collect());
    doc.heading(2, "1.4 CUI");
    let rows = s
        .information
        .iter()
        .map(|i| vec![i.category.clone(), i.description.clone()])
        .collect();
    doc.table(&["Category of the CUI Registry", "Description"], rows);

    doc.heading(2, "1.5 Updates").text(format!(
        "This plan is updated: {}",
        or_missing(&s.update_frequency)
    ));
}

fn add_environment(doc: &mut Document, known: &ReportContext<'_>) {
    let s = known.system;
    let [topology, flow] = KINDS;
    doc.heading(1, "2 System environment")
        .heading(2, "2.1 Boundary")
        .text(or_missing(&s.boundary));
    add_diagrams(doc, known, topology);
    doc.heading(2, "2.2 Environment of operation")
        .text(or_missing(&s.environment));
    doc.heading(2, "2.3 Flow of CUI")
        .text(or_missing(&s.data_flow));
    add_diagrams(doc, known, flow);
    doc.heading(2, "2.4 Connections");

    let rows = s.connections.iter().map(|c| {
        vec![
            c.system.clone(),
            c.owner.clone(),
            c.direction.clone(),
            c.data.clone(),
            c.protection.clone(),
        ]
    });

    doc.table(
        &["System", "Owner", "Direction", "Data", "Protection"],
        rows.collect(),
    );
    doc.heading(2, "2.5 Hardware and software");

    let rows = s.components.iter().map(|c| {
        vec![
            c.name.clone(),
            c.kind.clone(),
            c.version.clone(),
            or_missing(&c.responsible),
            c.description.clone(),
        ]
    });

    doc.table(
        &["Name", "Kind", "Version", "Responsible", "Description"],
        rows.collect(),
    );
    doc.heading(2, "2.6 Ownership")
        .text(or_missing(&s.ownership));

    let is_other = |p: &&Picture| !KINDS.iter().any(|k| p.diagram.kind.eq_ignore_ascii_case(k));
    let others: Vec<&Picture> = known.pictures.iter().filter(is_other).collect();
    if !others.is_empty() {
        doc.heading(2, "2.7 Other diagrams");
        for picture in others {
            doc.add(Block::Figure(figure(picture)));
        }
    }
}

fn add_scope(doc: &mut Document, known: &ReportContext<'_>) {
    doc.heading(1, "3 Assessment scope")
        .text("32 CFR 170.19(c). Each asset is in exactly one category.");
    let rows = known.assets.iter().map(|a| {
        vec![
            a.name.clone(),
            category_words(&a.category),
            or_missing(&a.owner),
            a.description.clone(),
            a.treatment.clone(),
        ]
    });

    doc.table(
        &["Asset", "Category", "Owner", "Description", "Treatment"],
        rows.collect(),
    );
    doc.heading(2, "3.1 External service providers");

    let rows = known.system.providers.iter().map(|p| {
        vec![
            p.name.clone(),
            p.services.clone(),
            or_missing(&p.relationship),
            or_missing(&p.authorization),
            or_missing(&p.responsibility_matrix),
        ]
    });

    doc.table(
        &[
            "Provider",
            "Services",
            "Relationship",
            "Authorization",
            "Responsibility matrix",
        ],
        rows.collect(),
    );
}

fn add_requirements(doc: &mut Document, known: &ReportContext<'_>) {
    doc.heading(1, "4 Requirements");
    let names = evidence::names(known.evidence);
    for (n, (id, name)) in (1..).zip(known.catalog.families()) {
        // The numbers of the families are not those of the plan's chapters.
        doc.heading(2, format!("4.{n} {name} (family {id})"));
        for r in known
            .catalog
            .requirements
            .iter()
            .filter(|r| r.family_id == id)
        {
            if let Some(c) = known.controls.iter().find(|c| c.control_id == r.control_id) {
                add_requirement(doc, r, c);
                add_evidence_and_findings(doc, known, r, c, &names);
            }
        }
    }
}

fn add_requirement(doc: &mut Document, r: &Requirement, c: &Control) {
    // Beginning with the practice, because a number alone is that of a chapter.
    doc.heading(
        3,
        format!(
            "{} {} (requirement {})",
            r.cmmc_practice, r.title, r.control_id
        ),
    )
    .text(&r.requirement);

    let status = match c.implementation() {
        Implementation::Implemented => "Implemented",
        Implementation::NotApplicable => "Not Applicable",
        _ if c.planned => "Planned to be Implemented",
        _ => "NOT STATED: neither implemented, nor planned, nor not applicable",
    };

    let mut points = vec![
        format!("Status: {status}"),
        format!(
            "Responsible: {}",
            c.owner.as_deref().unwrap_or("NOT STATED")
        ),
        format!(
            "Implementation: {}",
            or_missing(c.notes.as_deref().unwrap_or_default())
        ),
    ];

    if c.responsibility != Responsibility::Own {
        let part = |t: &Option<String>| or_missing(t.as_deref().unwrap_or_default());
        points.push(format!(
            "{} from {}: the provider does: {}; the organization does: {}",
            if c.responsibility == Responsibility::Inherited {
                "Inherited"
            } else {
                "Shared"
            },
            part(&c.provider),
            part(&c.provider_duties),
            part(&c.customer_duties)
        ));
    }

    doc.list(points);
}

fn add_evidence_and_findings(
    doc: &mut Document,
    known: &ReportContext<'_>,
    r: &Requirement,
    c: &Control,
    names: &BTreeMap<EvidenceId, String>,
) {
    let evidence: Vec<String> = known
        .evidence
        .iter()
        .filter(|e| {
            e.approved_at.is_some() && e.objectives.iter().any(|o| o.control() == r.control_id.0)
        })
        .map(|e| {
            let until = match e.validity(known.now) {
                Validity::Lapsed => format!("LAPSED on {}", maybe_day(e.valid_until)),
                Validity::Tampered => "TAMPERED WITH".to_owned(),
                _ if e.valid_until.is_none() => "valid".to_owned(),
                _ => format!("valid until {}", maybe_day(e.valid_until)),
            };
            format!("{} ({until})", names[&e.evidence_id])
        })
        .collect();

    if evidence.is_empty() {
        doc.text("Evidence: none");
    } else {
        doc.text("Evidence:").list(evidence);
    }

    let rows = r
        .assessment_objectives
        .iter()
        .zip(&c.objectives)
        .map(|(text, o)| {
            let reason = o
                .decision
                .as_ref()
                .map_or_else(String::new, |d| d.reason.clone());
            vec![
                o.objective_id.to_string(),
                text.text.clone(),
                standing_word(o.standing()).to_owned(),
                reason,
            ]
        });

    doc.table(
        &["Objective", "Determine if", "Finding", "How, or why not"],
        rows.collect(),
    );
}
