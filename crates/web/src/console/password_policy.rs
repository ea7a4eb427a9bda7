//! The policy: what passwords must meet, and when accounts are locked and disabled. Of two who change
//! it, the second sees both texts.

use app::actor::{Action, Resource};
use app::password_policy::{self, Changes, InForce};
use app::{AppError, Session};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use pages::{Cell, Field, FieldKind, Form, RecordPage, Section};

use super::form::{Done, Fields, kept, version_of, wrong};
use super::{Desk, NoPage, Visit, admin, html, see_other};
use crate::turn::turn;

/// A number of the policy.
struct Number {
    /// Its name in the form and in JSON.
    name: &'static str,
    label: &'static str,
    hint: &'static str,
    from: u32,
    to: u32,
}

const fn number(
    name: &'static str,
    label: &'static str,
    hint: &'static str,
    [from, to]: [u32; 2],
) -> Number {
    Number {
        name,
        label,
        hint,
        from,
        to,
    }
}

/// The numbers, with what they may be.
const NUMBERS: [Number; 8] = [
    number(
        "min_length",
        "Characters of a password",
        "Of one that is the only factor.",
        [8, 128],
    ),
    number(
        "mfa_min_length",
        "Characters with a second factor",
        "",
        [8, 128],
    ),
    number(
        "max_age_days",
        "Days after which it must be changed",
        "0: never.",
        [0, 3650],
    ),
    number(
        "history_count",
        "Former passwords that are not taken again",
        "3.5.8",
        [0, 24],
    ),
    number(
        "min_changed_characters",
        "Characters that must be new",
        "3.5.7",
        [0, 16],
    ),
    number(
        "max_failed_attempts",
        "Wrong attempts that lock an account",
        "3.1.8",
        [3, 100],
    ),
    number(
        "lockout_duration_minutes",
        "Minutes for which it is locked",
        "",
        [1, 1440],
    ),
    number(
        "idle_disable_days",
        "Days without a sign-in that disable it",
        "3.5.6",
        [1, 365],
    ),
];
const CLASSES: &str = "require_classes";
const CLASSES_LABEL: &str = "Upper case, lower case, digits and other characters are required";

/// The settings of a policy, by the names of the form's fields.
fn settings(in_force: &InForce) -> Vec<(&'static str, &'static str, String)> {
    let json = in_force.to_json();
    let mut settings: Vec<_> = NUMBERS
        .iter()
        .map(|number| {
            let value = json.get(number.name).map(ToString::to_string);
            (number.name, number.label, value.unwrap_or_default())
        })
        .collect();
    let classes = [
        "require_uppercase",
        "require_lowercase",
        "require_numbers",
        "require_special_chars",
    ];
    let all = classes
        .iter()
        .all(|name| json.get(*name) == Some(&serde_json::Value::Bool(true)));
    let all = if all { "yes" } else { "" };
    settings.push((CLASSES, CLASSES_LABEL, all.to_owned()));
    settings
}

/// The version of what a page showed.
fn version(in_force: &InForce) -> String {
    version_of(&in_force.to_json().to_string())
}

/// What of a policy someone has typed, and why it was not taken.
struct Refused<'a> {
    typed: &'a Fields,
    why: String,
}

fn page(desk: &Desk, in_force: &InForce, refused: Option<&Refused<'_>>) -> RecordPage {
    let settings = settings(in_force);
    let contradictions = Section {
        title: "What speaks against it",
        about:
            "Standards contradict each other; this is what each says against the settings in force."
                .to_owned(),
        columns: vec!["Setting", "Requirement", "It says"],
        rows: in_force
            .contradictions
            .iter()
            .map(|one| {
                vec![
                    Cell::from(one.field.as_str()),
                    Cell::from(one.requirements),
                    Cell::from(one.statement),
                ]
            })
            .collect(),
        empty: "Nothing.",
    };
    // Whoever takes a profile types nothing.
    let typed = refused
        .map(|refused| refused.typed)
        .filter(|typed| typed.get("profile").is_empty());
    let mut sections = Vec::from_iter(typed.map(|typed| both(&settings, typed)));
    sections.push(contradictions);

    let mut frame = desk.frame("Policy", "Admin");
    if let Some(refused) = refused {
        frame.notice = Some(wrong(refused.why.clone()));
    }
    RecordPage {
        back: None,
        about: "What passwords must meet, and when accounts are locked and disabled. Passwords that are \
                there already are asked at their next change."
            .to_owned(),
        beside: admin::beside(desk),
        facts: facts(in_force),
        sections,
        forms: if desk.may(Action::Write, Resource::Policy) {
            forms(in_force, &settings, typed)
        } else {
            Vec::new()
        },
        frame,
    }
}

fn facts(in_force: &InForce) -> Vec<(&'static str, Cell)> {
    let mut facts = vec![("Profile", Cell::from(in_force.policy.profile.as_str()))];
    facts.extend(settings(in_force).into_iter().map(|(name, label, value)| {
        let value = match (name, value.as_str()) {
            (CLASSES, "yes") => "yes".to_owned(),
            (CLASSES, _) => "no".to_owned(),
            _ => value,
        };
        (label, Cell::from(value))
    }));
    facts
}

/// What is in force beside what was typed, for whoever comes second.
fn both(settings: &[(&'static str, &'static str, String)], typed: &Fields) -> Section {
    let words = |name: &str, value: &str| match (name, value) {
        (CLASSES, "yes") => "yes".to_owned(),
        (CLASSES, _) => "no".to_owned(),
        _ => value.to_owned(),
    };
    let rows = settings
        .iter()
        .map(|(name, label, value)| {
            let own = words(name, typed.get(name).trim());
            let now = words(name, value);
            let own = if own == now {
                Cell::from(own)
            } else {
                Cell::Trouble(own)
            };
            vec![Cell::from(*label), Cell::from(now), own]
        })
        .collect();
    Section {
        title: "Both texts",
        about: "The form below holds what you typed. Saving it replaces what is in force."
            .to_owned(),
        columns: vec!["Setting", "In force now", "You typed"],
        rows,
        empty: "",
    }
}

fn forms(
    in_force: &InForce,
    settings: &[(&'static str, &'static str, String)],
    typed: Option<&Fields>,
) -> Vec<Form> {
    let value = |name: &str| match typed {
        Some(typed) => typed.get(name).trim().to_owned(),
        None => settings
            .iter()
            .find(|(known, _, _)| *known == name)
            .map_or_else(String::new, |(_, _, value)| value.clone()),
    };
    let mut fields: Vec<Field> = NUMBERS
        .iter()
        .map(|number| {
            let kind = FieldKind::Number(number.from, number.to);
            Field::new(number.name, number.label, &value(number.name), kind).hint(number.hint)
        })
        .collect();
    fields.push(Field::new(
        CLASSES,
        CLASSES_LABEL,
        &value(CLASSES),
        FieldKind::Yes,
    ));
    let hidden = vec![("version", version(in_force))];
    let numbers = Form {
        id: "numbers",
        action: "/admin/policy".to_owned(),
        title: "Change the settings",
        about: String::new(),
        hidden: hidden.clone(),
        fields,
        button: "Save the settings",
    };
    let profile = Form {
        id: "profile",
        action: "/admin/policy".to_owned(),
        title: "Take a profile",
        about: "All settings of a profile at once.".to_owned(),
        hidden,
        fields: vec![Field::choice(
            "profile",
            "Profile",
            in_force.policy.profile.as_str(),
            [
                (
                    "nist-63b-4",
                    "nist-63b-4: long passwords, no classes, no rotation (SP 800-63B-4)",
                ),
                (
                    "document",
                    "document: 12 characters of four classes, 90 days",
                ),
            ],
        )],
        button: "Take the profile",
    };
    vec![numbers, profile]
}

/// `GET /admin/policy`.
pub(super) async fn show(mut visit: Visit) -> Result<Response, NoPage> {
    let found = password_policy::show(&mut visit.session).await;
    let (in_force, desk) = visit.finish(found).await?;
    Ok(html(&page(&desk, &in_force, None)))
}

fn changes_of(fields: &Fields) -> Result<Changes, AppError> {
    let profile = fields.get("profile");
    if !profile.is_empty() {
        return Ok(Changes {
            profile: Some(
                profile
                    .parse()
                    .map_err(|_| AppError::invalid("Choose a profile."))?,
            ),
            ..Changes::default()
        });
    }
    let value = |name: &str| {
        let label = NUMBERS
            .iter()
            .find(|number| number.name == name)
            .map_or(name, |number| number.label);
        fields
            .get(name)
            .trim()
            .parse::<u32>()
            .map(Some)
            .map_err(|_| AppError::invalid(format!("{label}: a whole number")))
    };
    Ok(Changes {
        profile: None,
        min_length: value("min_length")?,
        mfa_min_length: value("mfa_min_length")?,
        require_classes: Some(fields.get(CLASSES) == "yes"),
        max_age_days: value("max_age_days")?,
        history_count: value("history_count")?,
        min_changed_characters: value("min_changed_characters")?,
        max_failed_attempts: value("max_failed_attempts")?,
        lockout_minutes: value("lockout_duration_minutes")?,
        idle_disable_days: value("idle_disable_days")?,
    })
}

async fn change(session: &mut Session, fields: &Fields) -> Result<(), AppError> {
    password_policy::set(session, &changes_of(fields)?).await?;
    Ok(())
}

/// `POST /admin/policy`. Whoever has not seen what is in force sees it, beside what they typed.
pub(super) async fn set(mut visit: Visit, fields: Fields) -> Result<Response, NoPage> {
    visit.check_form(&fields)?;
    let _turn = turn().await;
    let done = async {
        let session = &mut visit.session;
        session.require(Action::Write, Resource::Policy)?;
        let in_force = password_policy::show(session).await?;
        if fields.get("version") != version(&in_force) {
            let why = "Someone else has changed the policy since you opened the page. Nothing of yours \
                       was saved; both are below.";
            return Ok(Err((why.to_owned(), in_force)));
        }
        let done = kept(change(session, &fields).await)?;
        Ok(done.map_err(|why| (why, in_force)))
    };
    let done = done.await;
    let (done, desk) = visit.finish_form(&fields, done).await?;
    match done {
        Ok(()) => Ok(see_other(&Done::Changed.at("/admin/policy"))),
        Err((why, in_force)) => {
            let refused = Refused {
                typed: &fields,
                why,
            };
            let page = page(&desk, &in_force, Some(&refused));
            Ok((StatusCode::CONFLICT, html(&page)).into_response())
        }
    }
}
