//! OSCAL documents against NIST's schema, from empty and from complete data.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use compliance::diagram::{Diagram, Image, Picture};
use compliance::oscal::{self, Imported};
use compliance::reports::ReportContext;
use compliance::system::System;
use compliance::{Catalog, poam};
use model::evidence::{Evidence, EvidenceKind};
use model::{EvidenceId, Finding, Plan, PlanId, Responsibility, Span, Timestamp};
use serde_json::Value;
use uuid::Uuid;

use crate::{all_controls, decide_as};

const SCHEMA: &str = include_str!("../data/oscal-1.2.3-complete-schema.json");
const FULL: &str = include_str!("../data/system.full.toml");

fn now() -> Timestamp {
    Timestamp::from_secs(1_800_000_000)
}

fn policy_evidence() -> Evidence {
    Evidence {
        evidence_id: EvidenceId(Uuid::from_u128(7)),
        control_id: model::ControlId::known("3.1.1"),
        objectives: vec![model::ObjectiveId("3.1.1[a]".to_owned())],
        kind: EvidenceKind::PolicyDoc,
        description: "who may log in".to_owned(),
        content: None,
        file_path: None,
        file_name: Some("policy.pdf".to_owned()),
        size_bytes: Some(1),
        sha256: Some("0".repeat(64)),

        collected_at: now(),
        collected_by: None,
        effective_at: None,
        valid_until: Some(now().plus(Span::days(365))),
        owner: None,
        approved_by: Some("alice".to_owned()),
        approved_at: Some(now()),
        refused: None,
        retain_until: now(),
        recorded: None,
        confirmed_at: None,
        review: false,
        upkeep: None,
        tampered: false,
    }
}

/// Runs `check` on all documents of empty and of complete data.
fn for_empty_and_full(check: impl Fn(&ReportContext<'_>, Vec<oscal::File>)) {
    let (nothing, full) = (System::default(), toml::from_str::<System>(FULL).unwrap());
    assert!(full.missing().is_empty(), "{:?}", full.missing());
    let (unassessed, mut controls) = (all_controls(None), all_controls(Some(Finding::Met)));
    controls[0].notes = Some("by role, reviewed each quarter".to_owned());
    controls[0].owner = Some("alice".to_owned());
    controls[1].objectives[0].decision = Some(decide_as(Finding::NotApplicable));
    controls[2].objectives[0].decision = Some(decide_as(Finding::NotMet));
    controls[3].responsibility = Responsibility::Shared;

    controls[3].provider = Some("Example Hosting".to_owned());
    let mut plans = poam::generate(Catalog::r2(), &controls, &[], now(), || {
        PlanId(Uuid::from_u128(9))
    })
    .new;
    plans[0].milestones = Some("2027-01-15 buy; 2027-02-01 roll out".to_owned());
    plans[0].mitigation = Some("watched".to_owned());
    plans[0].owner = Some("bob".to_owned());
    plans[0].conditional_since = Some(now().minus(Span::days(30)));
    plans[0].tasks = vec![
        "https://tracker.example/SEC-7".to_owned(),
        "SEC-8".to_owned(),
    ];
    let fips = controls
        .iter_mut()
        .find(|c| c.control_id.0 == *"3.13.11")
        .unwrap();
    fips.partial_credit = true;
    fips.due = Some(now().plus(Span::days(90)));

    let pieces = [policy_evidence()];
    let pictures: Vec<Picture> = full.diagrams.iter().map(picture).collect();
    let base = ReportContext {
        catalog: Catalog::r2(),
        system: &nothing,
        controls: &unassessed,
        evidence: &[],
        plans: &[],
        assets: &[],
        pictures: &[],
        facts: None,
        scores: &[],
        now: now(),
    };

    check(&base, oscal::all_documents(&base));
    let known = ReportContext {
        system: &full,
        controls: &controls,
        evidence: &pieces,
        plans: &plans,
        assets: &full.assets,
        pictures: &pictures,
        ..base
    };

    check(&known, oscal::all_documents(&known));
}

#[test]
fn documents_are_valid_and_have_no_dangling_references() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let validator = jsonschema::draft7::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap();
    for_empty_and_full(|known, files| {
        assert!(files.len() >= 6);
        for file in &files {
            let errors: Vec<String> = validator
                .iter_errors(&file.json)
                .map(|e| e.to_string().chars().rev().take(400).collect())
                .take(5)
                .collect();
            assert!(errors.is_empty(), "{}: {errors:#?}", file.path);

            assert_eq!(
                oscal::dangling_references(known, file),
                Vec::<String>::new(),
                "{}",
                file.path
            );
        }

        assert_eq!(files, oscal::all_documents(known), "the same each time");
        let ids: BTreeSet<&str> = files
            .iter()
            .map(|f| {
                f.json.as_object().unwrap().values().next().unwrap()["uuid"]
                    .as_str()
                    .unwrap()
            })
            .collect();
        assert_eq!(ids.len(), files.len());
    });
}

/// Validates every document with trestle, which follows imports as well.
#[test]
fn trestle_accepts_every_document() {
    let trestle = std::env::var_os("TRESTLE").unwrap_or_else(|| "trestle".into());
    if std::process::Command::new(&trestle)
        .arg("version")
        .output()
        .is_err()
    {
        eprintln!(
            "SKIPPED: trestle is not installed (pip install compliance-trestle; TRESTLE names the \
                program)"
        );
        return;
    }
    for_empty_and_full(|_, files| {
        let folder = tempfile::tempdir().unwrap();
        let run = |args: &[&str]| {
            let out = std::process::Command::new(&trestle)
                .args(args)
                .current_dir(folder.path())
                .output()
                .unwrap();
            let said = format!(
                "{}{}",
                String::from_utf8_lossy(&out.stdout),
                String::from_utf8_lossy(&out.stderr)
            );

            assert!(out.status.success(), "trestle {args:?}: {said}");
        };

        run(&["init", "--local"]);
        for file in &files {
            let path = folder.path().join(&file.path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file.json.to_string()).unwrap();
        }

        run(&["validate", "--all"]);
    });
}

#[test]
fn dangling_reference_is_found() {
    for_empty_and_full(|known, mut files| {
        let ssp = files
            .iter_mut()
            .find(|f| f.path.starts_with("system-security-plans"))
            .unwrap();
        let at = "/system-security-plan/control-implementation/implemented-requirements/0/statements/0/by-components/0/component-uuid";
        *ssp.json.pointer_mut(at).unwrap() = Value::from(Uuid::nil().to_string());
        assert_eq!(oscal::dangling_references(known, ssp).len(), 1);
    });
}

#[test]
fn written_documents_are_read_back() {
    for_empty_and_full(|known, files| {
        for file in files {
            let text = file.json.to_string();
            match oscal::read(known.catalog, text.as_bytes(), now()) {
                Ok(Imported::Plan(found)) => {
                    assert_eq!(found.len(), 110);
                    for (read, c) in found.iter().zip(known.controls) {
                        assert_eq!(read.control_id, c.control_id);
                        assert_eq!(read.notes, c.notes);
                        assert_eq!(read.owner, c.owner);
                        assert_eq!(read.due, c.due);
                        assert_eq!(read.partial_credit.unwrap_or_default(), c.partial_credit);
                    }
                }
                Ok(Imported::Poam(plans)) => assert_eq!(plans, without_resources(known.plans)),
                Err(error) => assert!(
                    error.to_string().contains("neither"),
                    "{}: {error}",
                    file.path
                ),
            }
        }
    });
}

fn picture(diagram: &Diagram) -> Picture {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let original = std::fs::read(folder.join(&diagram.file)).unwrap();
    Picture {
        diagram: diagram.clone(),
        image: Image::read(&original).unwrap(),
        original: original.into(),
    }
}

/// Whoever has the document has the pictures, at the places that OSCAL has for them.
#[test]
fn the_plan_holds_its_diagrams() {
    for_empty_and_full(|known, files| {
        let plan = files
            .iter()
            .find_map(|file| file.json.get("system-security-plan"))
            .unwrap();
        let system = &plan["system-characteristics"];
        if known.pictures.is_empty() {
            assert!(plan.get("back-matter").is_none());
            assert!(system.get("data-flow").is_none());
            return;
        }

        for (part, file) in [("network-architecture", 0), ("data-flow", 1)] {
            let diagram = &system[part]["diagrams"][0];
            let target = diagram["links"][0]["href"].as_str().unwrap();
            let resource = &plan["back-matter"]["resources"][file];
            assert_eq!(target.trim_start_matches('#'), resource["uuid"]);
            let value = resource["base64"]["value"].as_str().unwrap();
            let bytes = STANDARD.decode(value).unwrap();
            assert_eq!(bytes, &*known.pictures[file].original);
            assert_eq!(resource["base64"]["media-type"], "image/svg+xml");
        }
    });
}

/// The plans without what OSCAL cannot express.
fn without_resources(plans: &[Plan]) -> Vec<Plan> {
    plans
        .iter()
        .cloned()
        .map(|p| Plan {
            resources: None,
            ..p
        })
        .collect()
}

#[test]
fn invalid_document_is_refused_with_its_path() {
    let refused = |text: &str| {
        oscal::read(Catalog::r2(), text.as_bytes(), now())
            .unwrap_err()
            .to_string()
    };

    assert!(refused("{").contains("not JSON"));
    assert!(refused("{\"catalog\":{}}").contains("neither"));
    let ssp = r#"{"system-security-plan":{"control-implementation":{"implemented-requirements":[{"control-id":"ac-2"}]}}}"#;
    assert_eq!(
        refused(ssp),
        "control-implementation.implemented-requirements[0]: the catalog has no control `ac-2`"
    );
}
