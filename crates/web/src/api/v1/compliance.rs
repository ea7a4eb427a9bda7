//! Compliance: requirements, evidence, plans of action, advisories and reports.

use app::compliance::reports::{self, Form};
use app::compliance::{evidence, overview, poam, score};
use app::{AppError, advisories};
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use model::{EvidenceKind, Implementation, PlanKind, PlanStatus, RiskLevel, Span, Timestamp};

use super::alerts::AllQuery;
use super::list::{Asked, Listing, Nothing};
use super::operation::{Field, Record, Schema, body, query};
use super::version::Expected;
use super::{Api, answers};
use crate::api::people::{no_store, read_json};
use crate::error::Problem;

pub(super) async fn advisories(
    mut api: Api,
    listing: Listing<AllQuery>,
) -> Result<Response, Problem> {
    let Listing { query, page } = listing;
    let filter = advisories::Filter {
        all: query.all.unwrap_or(false),
        ..advisories::Filter::default()
    };
    let found = advisories::list(&mut api.session, &filter).await;
    let found = found.map(|all| page.cut(all, |found| found.match_id.to_string()));
    api.page(page, found).await
}

query! {
    /// Which requirements.
    RequirementQuery {
        /// Of this family: `3.3`, `AU`, or part of its name.
        family: String = Schema::Text;
        /// With one of these statuses, separated by commas.
        status: Statuses = Schema::Text;
        /// That this person answers for.
        owner: String = Schema::Text;
        /// To be assessed within this time from now.
        due: Span = Schema::Span;
    }
}

/// Statuses, separated by commas.
pub(super) struct Statuses(Vec<Implementation>);

impl std::str::FromStr for Statuses {
    type Err = <Implementation as std::str::FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',')
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl RequirementQuery {
    fn wanted(&self) -> overview::Filter<'_> {
        overview::Filter {
            family: self.family.as_deref(),
            status: self.status.as_ref().map_or(&[], |statuses| &statuses.0),
            owner: self.owner.as_deref(),
            due: self.due,
        }
    }
}

pub(super) async fn status(
    mut api: Api,
    listing: Listing<RequirementQuery>,
) -> Result<Response, Problem> {
    let Listing { query, page } = listing;
    let state = api.console.state.clone();
    let filter = query.wanted();
    let found = overview::status(&mut api.session, &state, &filter).await;
    let found = found.map(|found| page.cut(found.requirements, |r| r.control_id.to_owned()));
    api.page(page, found).await
}

pub(super) async fn gaps(
    mut api: Api,
    listing: Listing<RequirementQuery>,
) -> Result<Response, Problem> {
    let Listing { query, page } = listing;
    let state = api.console.state.clone();
    let filter = query.wanted();
    let found = overview::gaps(&mut api.session, &state, &filter).await;
    let found = found.map(|found| page.cut(found.requirements, |r| r.control_id.to_owned()));
    api.page(page, found).await
}

pub(super) async fn scores(mut api: Api, listing: Listing<Nothing>) -> Result<Response, Problem> {
    let page = listing.page;
    let found = score::history(&mut api.session).await;
    let found = found.map(|all| page.cut(all, |score| score.at.as_micros().to_string()));
    api.page(page, found).await
}

pub(super) async fn plans(mut api: Api, listing: Listing<AllQuery>) -> Result<Response, Problem> {
    let Listing { query, page } = listing;
    let filter = poam::Filter {
        closed: query.all.unwrap_or(false),
        ..poam::Filter::default()
    };
    let found = poam::list(&mut api.session, filter).await;
    let found = found.map(|all| page.cut(all, |listed| listed.plan.poam_id.to_string()));
    api.page(page, found).await
}

async fn find_plan(api: &mut Api, id: &str) -> Result<poam::Listed, AppError> {
    let filter = poam::Filter {
        closed: true,
        ..poam::Filter::default()
    };
    let all = poam::list(&mut api.session, filter).await?;
    let found = all
        .into_iter()
        .find(|listed| listed.plan.poam_id.to_string() == id);
    found.ok_or_else(|| AppError::not_found("there is no such item"))
}

pub(super) async fn plan(mut api: Api, Path(id): Path<String>) -> Result<Response, Problem> {
    let found = find_plan(&mut api, &id).await;
    api.tagged(found).await
}

body! {
    /// An item of the plan of action to be made.
    PlanBody {
        /// The requirement that it is about, such as `3.1.1`.
        control: String = Schema::Text;
        /// What is wrong.
        weakness: String = Schema::TextUpTo(4000);
        /// What is done about it.
        remediation: String = Schema::TextUpTo(4000);
        /// Of which plan; as the requirement allows if it is left out.
        kind: Option<PlanKind> = Schema::Maybe(&Schema::OneOf(&["poam", "operational"]));
        /// How great the risk is; by the requirement's weight if it is left out.
        risk: Option<RiskLevel> = Schema::Maybe(&Schema::OneOf(answers::RISKS));
        /// Who answers for it.
        owner: Option<String> = Schema::Maybe(&Schema::TextUpTo(200));
        /// Until when it is to be done.
        due: Option<Timestamp> = Schema::Maybe(&Schema::Time);
        /// In which steps.
        milestones: Option<String> = Schema::Maybe(&Schema::TextUpTo(4000));
        /// What it takes.
        resources: Option<String> = Schema::Maybe(&Schema::TextUpTo(4000));
        /// What lowers the risk until then.
        mitigation: Option<String> = Schema::Maybe(&Schema::TextUpTo(4000));
    }
}

pub(super) async fn create_plan(
    mut api: Api,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: PlanBody = read_json(&headers, &body)?;
    let details = poam::Details {
        weakness: Some(body.weakness),
        remediation: Some(body.remediation),
        kind: body.kind,
        risk: body.risk,
        owner: body.owner,
        due: body.due,
        milestones: body.milestones,
        resources: body.resources,
        mitigation: body.mitigation,
        ..poam::Details::default()
    };
    let saved = poam::add(&mut api.session, &body.control, &details).await;
    let saved = match saved {
        Ok(saved) => find_plan(&mut api, &saved.plan.poam_id.to_string()).await,
        Err(error) => Err(error),
    };
    api.tagged(saved).await
}

body! {
    /// What is changed of an item of the plan of action; what is left out stays.
    PlanChange {
        /// What is wrong.
        weakness: Option<String> = Schema::Maybe(&Schema::TextUpTo(4000));
        /// What is done about it.
        remediation: Option<String> = Schema::Maybe(&Schema::TextUpTo(4000));
        /// How great the risk is.
        risk: Option<RiskLevel> = Schema::Maybe(&Schema::OneOf(answers::RISKS));
        /// How far it is; it is closed with evidence, which the command does.
        status: Option<PlanStatus> = Schema::Maybe(&Schema::OneOf(answers::PLAN_STATUSES));
        /// Who answers for it.
        owner: Option<String> = Schema::Maybe(&Schema::TextUpTo(200));
        /// Until when it is to be done.
        due: Option<Timestamp> = Schema::Maybe(&Schema::Time);
        /// In which steps.
        milestones: Option<String> = Schema::Maybe(&Schema::TextUpTo(4000));
        /// What it takes.
        resources: Option<String> = Schema::Maybe(&Schema::TextUpTo(4000));
        /// What lowers the risk until then.
        mitigation: Option<String> = Schema::Maybe(&Schema::TextUpTo(4000));
    }
}

pub(super) async fn change_plan(
    mut api: Api,
    Path(id): Path<String>,
    expected: Expected,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: PlanChange = read_json(&headers, &body)?;
    let _turn = expected.turn().await;
    let current = find_plan(&mut api, &id).await;
    let mut api = api.unchanged(&expected, current).await?;
    let details = poam::Details {
        weakness: body.weakness,
        remediation: body.remediation,
        risk: body.risk,
        status: body.status,
        owner: body.owner,
        due: body.due,
        milestones: body.milestones,
        resources: body.resources,
        mitigation: body.mitigation,
        ..poam::Details::default()
    };
    let changed = match poam::update(&mut api.session, &id, &details).await {
        Ok(_) => find_plan(&mut api, &id).await,
        Err(error) => Err(error),
    };
    api.tagged(changed).await
}

pub(super) async fn evidence(
    mut api: Api,
    listing: Listing<AllQuery>,
) -> Result<Response, Problem> {
    let Listing { query, page } = listing;
    let state = api.console.state.clone();
    let filter = evidence::Filter {
        all: query.all.unwrap_or(false),
        ..evidence::Filter::default()
    };
    let found = evidence::list(&mut api.session, &state, &filter).await;
    let found = found.map(|all| page.cut(all, |listed| listed.evidence.evidence_id.to_string()));
    api.page(page, found).await
}

pub(super) async fn piece(mut api: Api, Path(id): Path<String>) -> Result<Response, Problem> {
    let state = api.console.state.clone();
    let found = evidence::show(&mut api.session, &state, &id).await;
    api.tagged(found).await
}

body! {
    /// A piece of evidence to be taken in: a text. Files are taken in on the machine. It is a draft
    /// until somebody approves it.
    EvidenceBody {
        /// The text.
        text: String = Schema::TextUpTo(1_048_576);
        /// The requirements and objectives that it supports, such as `3.1.1` or `3.1.1[a]`.
        supports: Vec<String> = Schema::ListUpTo(&Schema::Text, 320);
        /// What it is.
        kind: EvidenceKind = Schema::OneOf(answers::EVIDENCE_KINDS);
        /// What it shows, in a sentence.
        shows: String = Schema::TextUpTo(500);
        /// From when on it says so; now if it is left out.
        effective: Option<Timestamp> = Schema::Maybe(&Schema::Time);
        /// For how long it counts; without an end if it is left out.
        valid_for: Option<Span> = Schema::Maybe(&Schema::Span);
        /// Who answers for it.
        owner: Option<String> = Schema::Maybe(&Schema::TextUpTo(200));
    }
}

pub(super) async fn create_evidence(
    mut api: Api,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: EvidenceBody = read_json(&headers, &body)?;
    let state = api.console.state.clone();
    let separate = api.console.config.compliance.separate_approver;
    // Never a file: a path would be one of this machine.
    let new = evidence::NewEvidence {
        source: evidence::Source::Text(&body.text),
        supports: &body.supports,
        kind: body.kind,
        shows: &body.shows,
        effective: body.effective,
        valid_for: body.valid_for,
        owner: body.owner.as_deref(),
        approved: false,
    };
    let added = match evidence::add(&mut api.session, &state, &new, separate).await {
        Ok(added) => {
            let id = added.evidence_id.to_string();
            evidence::show(&mut api.session, &state, &id).await
        }
        Err(error) => Err(error),
    };
    api.tagged(added).await
}

pub(super) async fn approve_evidence(
    mut api: Api,
    Path(id): Path<String>,
    expected: Expected,
) -> Result<Response, Problem> {
    // Nobody approves what they have not seen.
    let _turn = expected.turn().await;
    let state = api.console.state.clone();
    let current = evidence::show(&mut api.session, &state, &id).await;
    let mut api = api.unchanged(&expected, current).await?;
    let separate = api.console.config.compliance.separate_approver;
    let done = evidence::approve(&mut api.session, &id, separate).await;
    api.answer(done).await
}

query! {
    /// In which format.
    FormatQuery {
        /// The format; PDF if it is left out.
        format: Form = Schema::OneOf(&["pdf", "html", "markdown", "json", "csv", "xlsx"]);
    }
}

pub(super) async fn ssp(api: Api, query: Asked<FormatQuery>) -> Result<Response, Problem> {
    report(api, reports::Report::Ssp, query).await
}

pub(super) async fn assessor(api: Api, query: Asked<FormatQuery>) -> Result<Response, Problem> {
    report(api, reports::Report::Assessor, query).await
}

pub(super) async fn poam_report(api: Api, query: Asked<FormatQuery>) -> Result<Response, Problem> {
    report(api, reports::Report::Poam, query).await
}

async fn report(
    mut api: Api,
    report: reports::Report,
    Asked(query): Asked<FormatQuery>,
) -> Result<Response, Problem> {
    let state = api.console.state.clone();
    let form = query.format.unwrap_or(Form::Pdf);
    let made = reports::write(&mut api.session, &state, report, form).await;
    let bytes = api.checked(made).await?;
    Ok(as_file(bytes, report.name(), form))
}

/// A document as a file that nobody runs.
pub(crate) fn as_file(bytes: Vec<u8>, name: &str, form: Form) -> Response {
    let name = format!("attachment; filename=\"{name}.{}\"", form.extension());
    let mut response = no_store(bytes.into_response());
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static(form.media_type());
    headers.insert(header::CONTENT_TYPE, kind);
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    // What people have written into a report is not run by whoever opens it here.
    let policy = HeaderValue::from_static("sandbox; default-src 'none'; style-src 'unsafe-inline'");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}
