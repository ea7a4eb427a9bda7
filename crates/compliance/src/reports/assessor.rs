//! The assessor's report: result, scope, the 110 requirements with their objectives and evidence,
//! unmet ones, plans, the evidence register, and what blueteam observed apart from what people
//! attested.

use model::facts::SampleEvent;
use model::{Control, Decision, Evidence, Responsibility, Standing, Validity};

use super::{
    ReportContext, counted, cover, format_day, maybe_day, or_missing, poam, standing_word,
};
use crate::catalog::Requirement;
use crate::claim::Claim;
use crate::cmmc::CONDITIONAL_FROM;
use crate::document::{Bar, Block, Document, Point, Trend};
use crate::evidence::artifacts;
use crate::system::category_words;

/// Reads an optional field of an event.
type EventField = fn(&SampleEvent) -> Option<&String>;

/// Builds the assessor's report.
pub fn build_report(known: &ReportContext<'_>) -> Document {
    let s = known.system;
    let mut doc = Document {
        title: "CMMC Level 2 Assessment Report".to_owned(),
        subtitle: vec![
            format!(
                "{}, {}",
                or_missing(&s.organization.name),
                or_missing(&s.name)
            ),
            format!(
                "{}, catalog last verified {}",
                known.catalog.name(),
                known.catalog.last_verified
            ),
        ],
        marking: s.marking.clone(),
        date: format_day(known.now),
        cover: cover::assessment(known),
        designation: cover::designation(s),
        blocks: Vec::new(),
    };

    let claim = known.claim();
    add_result(&mut doc, known, &claim);
    add_scope(&mut doc, known);
    add_all_requirements(&mut doc, known, &claim);
    add_details(&mut doc, known);
    add_not_met(&mut doc, known);
    poam::add_chapters(&mut doc, &known.plans_of_action());
    add_inapplicable_and_shared(&mut doc, known);

    add_evidence_register(&mut doc, known);
    add_observations(&mut doc, known);
    doc.heading(1, "Sign-off").table(
        &["Role", "Name", "Date", "Signature"],
        vec![
            vec![
                "Assessor".to_owned(),
                String::new(),
                String::new(),
                String::new(),
            ],
            vec![
                "Affirming official".to_owned(),
                String::new(),
                String::new(),
                String::new(),
            ],
        ],
    );

    doc
}

fn add_result(doc: &mut Document, known: &ReportContext<'_>, claim: &Claim) {
    let counts = claim.counts();
    doc.heading(1, "Result");
    let points = claim.no_score().map_or_else(
        || format!("{} out of 110", claim.points().unwrap_or_default()),
        |why| format!("no score: {why}"),
    );
    let mut points = vec![
        format!("Score (DoD Assessment Methodology v1.2.1): {points}"),
        format!("Threshold of a conditional status: {CONDITIONAL_FROM}"),
        format!("Status that the findings allow: {}", claim.level()),
        format!(
            "Requirements: {} met or not applicable, {} not met, {} open",
            counts.met, counts.not_met, counts.open
        ),
    ];

    // Without a score there is nothing to deduct from, and a sum would be mistaken for one.
    if claim.points().is_some() {
        points.push(format!("Points lost: {}", counts.lost()));
    }

    points.extend(claim.until().map(|until| {
        format!(
            "The conditional status ends on {} (32 CFR 170.21(b))",
            format_day(until)
        )
    }));
    points.extend(claim.cautions().iter().map(ToString::to_string));
    let self_approved = known
        .evidence
        .iter()
        .filter(|e| e.is_self_approved())
        .count();
    if self_approved > 0 {
        points.push(format!(
            "Evidence that was approved by who collected it, number of pieces: {self_approved}"
        ));
    }

    let tampered = known.evidence.iter().filter(|e| e.tampered).count();
    if tampered > 0 {
        points.push(format!(
            "Evidence that is NOT what was taken in, number of pieces: {tampered}"
        ));
    }

    doc.list(points);

    if !claim.obstacles().is_empty() {
        doc.text("Obstacles to a status:");
        doc.list(claim.obstacles().iter().map(ToString::to_string).collect());
    }

    doc.heading(2, "Requirements met, by family");
    let bars = known.catalog.families().into_iter().map(|(id, name)| {
        let of: Vec<&Control> = known
            .controls
            .iter()
            .filter(|c| {
                known
                    .catalog
                    .get(&c.control_id)
                    .is_some_and(|r| r.family_id == id)
            })
            .collect();

        Bar {
            label: format!("{id} {name}"),
            part: of.iter().filter(|c| c.standing().counts()).count(),
            whole: of.len(),
        }
    });

    doc.add(Block::Bars(bars.collect()));
    add_score_history(doc, known, claim);
    doc.heading(2, "Gaps in this report")
        .add(Block::Gaps(known.system.missing()));
}

/// Adds the score over time. The line ends at the score of this report.
fn add_score_history(doc: &mut Document, known: &ReportContext<'_>, claim: &Claim) {
    doc.heading(2, "Score over time");
    let Some(first) = known.scores.first().filter(|s| s.at < known.now) else {
        doc.text("No earlier score was recorded.");
        return;
    };

    let before = known.scores.iter().filter(|s| s.at < known.now);
    let points: Vec<Point> = before
        .chain([&claim.noted(known.now)])
        .map(|s| Point {
            at: s.at.as_micros().div_euclid(1_000_000),
            day: format_day(s.at),
            value: s.points,
        })
        .collect();

    if points.iter().all(|p| p.value.is_none()) {
        doc.text(format!(
            "Recorded since {}; there was never a score, for lack of a system security plan (3.12.4).",
            format_day(first.at)
        ));
        return;
    }

    let label = format!(
        "The score from {} to {}. The line is broken where there was no score, for lack of a \
            system security plan (3.12.4).",
        format_day(first.at),
        format_day(known.now)
    );
    doc.add(Block::Trend(Trend::new(
        label,
        points,
        crate::score::MAX_SCORE,
        CONDITIONAL_FROM,
        "conditional status".to_owned(),
    )));
}

fn add_scope(doc: &mut Document, known: &ReportContext<'_>) {
    let s = known.system;
    doc.heading(1, "Scope").text(or_missing(&s.boundary));
    let count = |category: &str| {
        known
            .assets
            .iter()
            .filter(|a| a.category == category)
            .count()
    };

    let rows = crate::system::CATEGORIES
        .iter()
        .map(|c| vec![category_words(c), count(c).to_string()])
        .collect();
    doc.table(&["Asset category (32 CFR 170.19(c))", "Assets"], rows);
    doc.heading(2, "External service providers");

    let rows = s.providers.iter().map(|p| {
        vec![
            p.name.clone(),
            p.services.clone(),
            or_missing(&p.authorization),
            or_missing(&p.responsibility_matrix),
        ]
    });

    doc.table(
        &[
            "Provider",
            "Services",
            "Authorization",
            "Responsibility matrix",
        ],
        rows.collect(),
    );
}

fn add_all_requirements(doc: &mut Document, known: &ReportContext<'_>, claim: &Claim) {
    doc.heading(1, "All requirements");
    let rows = known.catalog.requirements.iter().map(|r| {
        let standing = find_control(known, r).map_or(Standing::NotAssessed, Control::standing);
        let scored = claim.points().is_some();
        let lost = claim
            .counts()
            .deductions
            .iter()
            .filter(|_| scored)
            .find(|d| d.control_id == r.control_id);

        vec![
            r.control_id.to_string(),
            r.title.clone(),
            standing_word(standing).to_owned(),
            r.dod_weight
                .map_or_else(|| "-".to_owned(), |w| w.to_string()),
            lost.map_or_else(String::new, |d| format!("-{}", d.points)),
        ]
    });

    doc.table(
        &["Id", "Requirement", "Result", "Weight", "Deduction"],
        rows.collect(),
    );
}

fn find_control<'a>(known: &ReportContext<'a>, r: &Requirement) -> Option<&'a Control> {
    known.controls.iter().find(|c| c.control_id == r.control_id)
}

fn add_details(doc: &mut Document, known: &ReportContext<'_>) {
    for (id, name) in known.catalog.families() {
        doc.heading(1, format!("{id} {name}"));
        for r in known
            .catalog
            .requirements
            .iter()
            .filter(|r| r.family_id == id)
        {
            doc.heading(
                2,
                format!("{} {} ({})", r.control_id, r.title, r.cmmc_practice),
            )
            .text(&r.requirement);

            let Some(c) = find_control(known, r) else {
                continue;
            };
            doc.text(format!(
                "Result: {}. Responsible: {}. {}",
                standing_word(c.standing()),
                c.owner.as_deref().unwrap_or("NOT STATED"),
                c.notes
                    .as_deref()
                    .unwrap_or("How it is implemented is not stated.")
            ));
            if let Some(note) = evidence_note(c) {
                doc.text(note);
            }

            let rows = r
                .assessment_objectives
                .iter()
                .zip(&c.objectives)
                .map(|(text, o)| {
                    let d = o.decision.as_ref();
                    let pieces = known.evidence.iter().filter(|e| {
                        e.approved_at.is_some() && e.objectives.contains(&o.objective_id)
                    });
                    vec![
                        o.objective_id.to_string(),
                        text.text.clone(),
                        standing_word(o.standing()).to_owned(),
                        d.map_or_else(String::new, join_methods),
                        d.map_or_else(String::new, |d| {
                            format!("{} ({}, {})", d.reason, d.by, format_day(d.at))
                        }),
                        pieces
                            .map(|e| {
                                let id = short_id(&e.evidence_id.to_string());
                                format!("{id}{}", e.mark(known.now))
                            })
                            .collect::<Vec<_>>()
                            .join(" "),
                    ]
                });

            doc.table(
                &[
                    "Objective",
                    "Determine if",
                    "Finding",
                    "Methods",
                    "Reason, who and when",
                    "Evidence",
                ],
                rows.collect(),
            );
        }
    }
}

fn join_methods(d: &Decision) -> String {
    d.methods
        .iter()
        .map(|m| m.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

/// Returns the last group of an id: ids of the same hour begin alike.
fn short_id(id: &str) -> String {
    id.rsplit('-').next().unwrap_or(id).to_owned()
}

fn add_not_met(doc: &mut Document, known: &ReportContext<'_>) {
    doc.heading(1, "Not met");
    let mut rows = Vec::new();
    for o in known
        .controls
        .iter()
        .flat_map(|c| &c.objectives)
        .filter(|o| o.standing() == Standing::NotMet)
    {
        let reason = o
            .decision
            .as_ref()
            .map_or_else(String::new, |d| d.reason.clone());
        rows.push(vec![o.objective_id.to_string(), reason]);
    }
    doc.table(&["Objective", "Why the evidence does not conform"], rows);
}

fn add_inapplicable_and_shared(doc: &mut Document, known: &ReportContext<'_>) {
    doc.heading(1, "Not applicable, inherited and shared");
    let mut rows = Vec::new();
    for c in known.controls {
        for o in c
            .objectives
            .iter()
            .filter(|o| o.standing() == Standing::NotApplicable)
        {
            let reason = o
                .decision
                .as_ref()
                .map_or_else(String::new, |d| d.reason.clone());
            rows.push(vec![
                o.objective_id.to_string(),
                "not applicable".to_owned(),
                reason,
            ]);
        }
        if c.responsibility != Responsibility::Own {
            let text = |t: &Option<String>| or_missing(t.as_deref().unwrap_or_default());
            let what = format!(
                "{}: {}; the organization: {}",
                text(&c.provider),
                text(&c.provider_duties),
                text(&c.customer_duties)
            );
            rows.push(vec![
                c.control_id.to_string(),
                c.responsibility.to_string(),
                what,
            ]);
        }
    }

    doc.table(&["Id", "", "Rationale, or who does what"], rows);
}

fn add_evidence_register(doc: &mut Document, known: &ReportContext<'_>) {
    doc.heading(1, "Evidence").text(
        "Hashed with SHA-256 (FIPS 180-4). The package lists the same hashes, and the hash \
            of that list.",
    );

    let rows = artifacts(known.evidence).into_iter().map(|(artifact, e)| {
        vec![
            short_id(&e.evidence_id.to_string()),
            artifact.name,
            e.description.clone(),
            counts_word(e.validity(known.now)),
            e.confirmed_at.map_or_else(
                || maybe_day(e.effective_at),
                |at| format!("{}, again {}", maybe_day(e.effective_at), format_day(at)),
            ),
            maybe_day(e.valid_until),
            approval(e),
            artifact.sha256,
        ]
    });

    doc.table(
        &[
            "Id",
            "Artifact",
            "Shows",
            "Counts",
            "Effective",
            "Until",
            "Approved by",
            "SHA-256",
        ],
        rows.collect(),
    );
}

/// Returns whether a piece counts; what must not be overlooked is in capitals.
fn counts_word(validity: Validity) -> String {
    match validity {
        Validity::Lapsed => "LAPSED".to_owned(),
        Validity::Tampered => "TAMPERED WITH".to_owned(),
        other => other.to_string(),
    }
}

/// Returns who approved a piece, and whether that person also collected it.
fn approval(e: &Evidence) -> String {
    let by = e.approved_by.clone().unwrap_or_else(|| "-".to_owned());
    if e.is_self_approved() {
        format!("{by} (who also collected it)")
    } else {
        by
    }
}

/// Returns what an assessor should know of the evidence of a requirement.
fn evidence_note(c: &Control) -> Option<String> {
    let kind = c.evidence_type.map(|kind| format!("Evidence is {kind}."));
    let notes = c
        .assessor_notes
        .clone()
        .filter(|text| !text.trim().is_empty());
    let parts: Vec<String> = kind.into_iter().chain(notes).collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

fn add_observations(doc: &mut Document, known: &ReportContext<'_>) {
    doc.heading(1, "What blueteam observed, and what people attested")
        .text(
            "Findings are decisions of the named people above. The checks of blueteam only propose \
            findings; what they observed supports EXAMINE and, in part, TEST. Nothing here \
            replaces an INTERVIEW.",
        );

    let decided = |c: &Control| c.objectives.iter().filter(|o| o.decision.is_some()).count();
    let proposed = |c: &Control| c.objectives.iter().filter(|o| o.proposal.is_some()).count();
    let sum = |of: &dyn Fn(&Control) -> usize| known.controls.iter().map(of).sum::<usize>();
    doc.list(vec![
        format!("{} of 320 objectives were decided by people", sum(&decided)),
        format!("{} have a finding proposed by a check", sum(&proposed)),
        counted(
            known
                .evidence
                .iter()
                .filter(|e| e.recorded.is_some())
                .count(),
            "piece of evidence is the result of a check",
            "pieces of evidence are results of checks",
        ),
    ]);

    let differ = known
        .controls
        .iter()
        .flat_map(|c| &c.objectives)
        .filter_map(|o| {
            let (d, p) = (o.decision.as_ref()?, o.proposal.as_ref()?);
            // A check that ran before the decision may be outdated by it.
            let when = if p.at < d.at {
                "before the decision"
            } else {
                "after the decision"
            };

            let seen = format!("{} ({}, {when})", p.reason, format_day(p.at));
            let words = [d.finding, p.finding].map(|finding| finding.to_string().replace('_', " "));
            (d.finding != p.finding)
                .then(|| [vec![o.objective_id.to_string()], words.to_vec(), vec![seen]].concat())
        });

    doc.heading(2, "Where people and checks differ");
    doc.table(
        &["Objective", "Decided", "Proposed", "Observation"],
        differ.collect(),
    );

    let Some(facts) = known.facts else { return };
    if let Some(events) = &facts.events {
        doc.heading(2, "Sample of events");
        // An empty column would only make the others narrow: logs have no users, jobs no addresses.
        let optional: [(&str, EventField); 3] = [
            ("User", |e| e.user_name.as_ref().or(e.user_id.as_ref())),
            ("Address", |e| e.ip_address.as_ref()),
            ("Resource", |e| e.resource.as_ref()),
        ];
        let shown: Vec<_> = optional
            .iter()
            .filter(|(_, of)| events.sample.iter().any(|e| of(e).is_some()))
            .take(2)
            .collect();

        let head: Vec<&str> = ["Time", "Category", "Action", "Result"]
            .into_iter()
            .chain(shown.iter().map(|(name, _)| *name))
            .collect();

        let rows = events.sample.iter().map(|e| {
            let more = shown
                .iter()
                .map(|(_, of)| of(e).cloned().unwrap_or_default());
            [
                e.timestamp.to_string(),
                e.category.clone(),
                e.action.clone(),
                e.result.clone(),
            ]
            .into_iter()
            .chain(more)
            .collect()
        });

        doc.table(&head, rows.collect());
    }

    if let Some(alerts) = &facts.alerts {
        doc.heading(2, "Sample of alerts");
        let rows = alerts.sample.iter().map(|a| {
            vec![
                a.created_at.to_string(),
                a.severity.clone(),
                a.rule_id.clone(),
                a.title.clone(),
            ]
        });

        doc.table(&["Time", "Severity", "Rule", "Alert"], rows.collect());
    }
}
