//! The compliance part of the demonstration: the checks look at what was played, a made-up person
//! decides what they propose, and plans follow.
//!
//! Everything goes the way that it goes for people; only who decides is made up, and every reason
//! says so.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::Context as _;
use compliance::{Catalog, poam, reports};
use config::{Config, StateDir};
use model::evidence::{Evidence, EvidenceKind};
use model::{
    Alert, Clock as _, ControlId, EvidenceId, Finding, Method, ObjectiveId, PlanId, Source, Span,
    SystemClock, Timestamp,
};
use secrecy::SecretString;
use store::alerts::AlertFilter;
use store::compliance::{Changes, NewDecision};
use uuid::Uuid;

use crate::actor::{Action, Resource, Role};
use crate::compliance::assessment_package::AssessmentData;
use crate::compliance::checks::{self, Surroundings};
use crate::compliance::description::SYSTEM;
use crate::compliance::{claims, evidence_store};
use crate::database::{self, Database};
use crate::sign_in::{self, Client, RecoveryCode, SignIn};
use crate::{AppError, Session, accounts};

/// The description of the made-up system.
const DESCRIPTION: &str = include_str!("demo/system.toml");
/// The diagrams that the description names.
const DIAGRAMS: [(&str, &str); 2] = [
    ("network.svg", include_str!("demo/network.svg")),
    ("flow.svg", include_str!("demo/flow.svg")),
];
/// Who decides, in a world that is not.
pub const WHO: &str = "Sam Example (made up by the demonstration)";
/// The requirement of a plan, which the plan itself is evidence of.
const PLAN: ControlId = ControlId::known("3.12.4");
/// The longest reason that a decision may have.
const REASON_MAX: usize = 4000;

/// How far the analysis of what was played is.
#[derive(Debug)]
pub struct Progress {
    /// Events that the reader has not read yet; `None` when nobody reads.
    pub unread: Option<u64>,
    /// Whether lines of the followed log are among the events.
    pub has_log_lines: bool,
    /// The alerts so far, the newest first.
    pub alerts: Vec<Alert>,
}

/// Returns how far the analysis is, with at most `limit` alerts.
pub async fn progress(session: &mut Session, limit: u32) -> Result<Progress, AppError> {
    let conn = session.read(Resource::System)?;
    let lag = store::overview::lag(conn, store::reader::LIVE_CURSOR).await?;
    let activity = store::overview::activity(conn, SystemClock.now()).await?;

    Ok(Progress {
        unread: lag.map(|lag| lag.unread),
        has_log_lines: activity.iter().any(|a| a.source == Source::Syslog),
        alerts: store::alerts::list(conn, &AlertFilter::default(), limit).await?,
    })
}

/// Someone who is made up, and how they sign in: made for this demonstration, and gone with it.
#[derive(Debug)]
pub struct MadeUpPerson {
    /// Their name.
    pub username: &'static str,
    /// Their role.
    pub role: Role,
    /// Their password.
    pub password: SecretString,
    /// For an authenticator app.
    pub totp_secret: SecretString,
    /// In place of its codes, each once.
    pub recovery_codes: Vec<String>,
}

/// Someone of each role.
const PEOPLE: [(&str, Role); 5] = [
    ("sam", Role::SystemAdmin),
    ("ada", Role::Admin),
    ("max", Role::Manager),
    ("uma", Role::User),
    ("ari", Role::Assessor),
];

/// Makes someone of each role, with a password and a second factor that nobody else has.
pub async fn people(
    session: &mut Session,
    database: &Database,
    state: &StateDir,
) -> anyhow::Result<Vec<MadeUpPerson>> {
    let pool = store::pool(database.options(database::Role::Accounts)?, 1);
    let door = SignIn::open(
        pool,
        Arc::new(SystemClock),
        state,
        sign_in::Settings::default(),
    )?;
    let client = Client {
        address: Ipv4Addr::LOCALHOST.into(),
        user_agent: Some("blueteam demo".to_owned()),
    };
    let mut people = Vec::with_capacity(PEOPLE.len());
    for (username, role) in PEOPLE {
        let request = accounts::Request {
            username,
            email: &format!("{username}@demo.example.com"),
            full_name: Some("Made up by the demonstration"),
            role,
            expires_at: None,
        };
        let invitation = accounts::create(session, &request).await?;
        let password = made_up_password()?;
        let enrolled = door
            .enroll_made_up(invitation.token.expose(), password.clone(), &client)
            .await?;
        let codes = enrolled.recovery_codes.iter().map(RecoveryCode::expose);
        people.push(MadeUpPerson {
            username,
            role,
            password,
            totp_secret: enrolled.totp_secret,
            recovery_codes: codes.collect(),
        });
    }
    Ok(people)
}

/// A password of 100 random bits that each profile takes: characters of all classes.
fn made_up_password() -> anyhow::Result<SecretString> {
    // Without those that look alike.
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0; 20];
    getrandom::fill(&mut random).context("cannot get random numbers from the system")?;
    let mut password = "D3-".to_owned();
    for (place, byte) in random.iter().enumerate() {
        if place > 0 && place % 5 == 0 {
            password.push('-');
        }
        password.push(char::from(LETTERS[usize::from(byte % 32)]));
    }
    Ok(password.into())
}

/// Runs the checks, decides on their proposals, makes plans, and reads all of it for a report. The
/// session is that of the made-up person.
pub async fn assess(
    session: &mut Session,
    config: &Config,
    state: &StateDir,
    now: Timestamp,
) -> anyhow::Result<AssessmentData> {
    for (name, text) in DIAGRAMS.into_iter().chain([(SYSTEM, DESCRIPTION)]) {
        std::fs::write(state.join(name), text).context("cannot write into the state directory")?;
    }

    describe_requirements(session).await?;
    demo_plan(session, state, now).await?;

    // Nothing has run yet, so all of them are due.
    let around = Surroundings { config, state };
    let found = checks::run_due(session, &around, Span::ZERO, now).await?;
    let mut decisions: Vec<NewDecision> = found.iter().flat_map(taken_over).collect();

    // A check that says something of the plan is asked; of the rest of it the made-up person is.
    let described = |id: &ObjectiveId| {
        !decisions
            .iter()
            .any(|d: &NewDecision| d.objective_id == *id)
    };

    let rest: Vec<NewDecision> = objectives_of(&PLAN)
        .filter(described)
        .map(|id| demo_decision(id, Finding::Met, "the plan of the made-up system says so"))
        .collect();
    decisions.extend(rest);

    let (conn, actor) = session.change(Action::Write, Resource::System)?;
    store::compliance::decide(conn, actor, now, &decisions).await?;

    let controls = store::compliance::all(conn, now).await?;
    let mut plans = poam::generate(
        Catalog::r2(),
        &controls,
        &[],
        now,
        || PlanId(Uuid::now_v7()),
    )
    .new;
    for plan in &mut plans {
        plan.owner = Some(WHO.to_owned());
    }

    store::plans::save(conn, actor, &mut plans, now).await?;
    claims::record_score(session, state, now).await?;
    Ok(AssessmentData::read(session, state, None, now).await?)
}

/// What a check proposes, as the made-up person decides it.
fn taken_over(found: &checks::Found) -> impl Iterator<Item = NewDecision> {
    found.says.iter().filter_map(|says| {
        let finding = says.verdict.finding()?;
        let reason = format!(
            "taken over from check {}: {}",
            found.check_id,
            says.verdict.text()
        );
        Some(demo_decision(
            says.objective_id(&found.control_id),
            finding,
            &reason,
        ))
    })
}

fn objectives_of(control: &ControlId) -> impl Iterator<Item = ObjectiveId> {
    Catalog::r2()
        .get(control)
        .into_iter()
        .flat_map(|r| r.assessment_objectives.iter().map(|o| o.id.clone()))
}

fn demo_decision(objective_id: ObjectiveId, finding: Finding, reason: &str) -> NewDecision {
    let reason = format!("Demonstration: {reason}")
        .chars()
        .take(REASON_MAX)
        .collect();
    NewDecision {
        objective_id,
        finding: Some(finding),
        reason,
        methods: vec![Method::Examine],
    }
}

/// Says of each requirement how it is implemented, without which a plan is none (3.12.4[e]).
async fn describe_requirements(session: &mut Session) -> anyhow::Result<()> {
    let (conn, actor) = session.change(Action::Write, Resource::System)?;
    let mut tx = store::begin(conn, actor).await?;
    for r in &Catalog::r2().requirements {
        let changes = Changes {
            notes: Some(format!(
                "Demonstration: as the made-up policy on {} says",
                r.title
            )),
            ..Changes::default()
        };
        store::compliance::change(&mut tx, actor, &r.control_id, &changes).await?;
    }

    tx.commit().await?;
    Ok(())
}

/// The plan as it is at the beginning, approved, as evidence of itself.
async fn demo_plan(session: &mut Session, state: &StateDir, now: Timestamp) -> anyhow::Result<()> {
    let before = AssessmentData::read(session, state, None, now).await?;
    let content = reports::ssp(&before.known()).markdown();
    let piece = Evidence {
        objectives: objectives_of(&PLAN).collect(),
        description: "System security plan of the made-up system".to_owned(),
        size_bytes: Some(content.len() as u64),
        sha256: Some(evidence_store::sha256(content.as_bytes())),
        content: Some(content),
        valid_until: Some(now.plus(Span::days(366))),
        owner: Some(WHO.to_owned()),
        approved_by: Some(WHO.to_owned()),
        approved_at: Some(now),
        ..Evidence::draft(
            EvidenceId(Uuid::now_v7()),
            PLAN,
            EvidenceKind::PolicyDoc,
            WHO,
            now,
        )
    };

    let (conn, actor) = session.change(Action::Write, Resource::System)?;
    store::evidence::add(conn, actor, &piece).await?;
    Ok(())
}
