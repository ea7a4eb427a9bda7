//! Runs of red teams and scanners, and what they found.

use app::redteam::{self, Filter, Side, State};
use axum::extract::Path;
use axum::response::Response;
use model::Severity;

use super::Api;
use super::list::{Asked, Listing, Nothing};
use super::operation::{Field, Record, Schema, query};
use crate::error::Problem;

const SEVERITIES: Schema = Schema::OneOf(&["info", "low", "medium", "high", "critical"]);

pub(super) async fn runs(mut api: Api, listing: Listing<Nothing>) -> Result<Response, Problem> {
    let page = listing.page;
    let found = redteam::runs(&mut api.session).await;
    let found = found.map(|all| page.cut(all, |run| run.run_id.to_string()));
    api.page(page, found).await
}

pub(super) async fn run(mut api: Api, Path(id): Path<String>) -> Result<Response, Problem> {
    let found = redteam::show_run(&mut api.session, &id).await;
    api.answer(found).await
}

query! {
    /// Which findings.
    FindingQuery {
        /// Also closed ones.
        all: bool = Schema::Boolean;
        /// In this state.
        state: State = Schema::OneOf(&["open", "gone_proposed", "closed", "accepted"]);
        /// At least this severity.
        severity: Severity = SEVERITIES;
    }
}

pub(super) async fn findings(
    mut api: Api,
    listing: Listing<FindingQuery>,
) -> Result<Response, Problem> {
    let Listing { query, page } = listing;
    let filter = Filter {
        closed: query.all.unwrap_or(false),
        state: query.state,
        severity: query.severity,
    };
    let found = redteam::findings(&mut api.session, filter).await;
    let found = found.map(|all| page.cut(all, |finding| finding.finding_id.to_string()));
    api.page(page, found).await
}

pub(super) async fn finding(mut api: Api, Path(id): Path<String>) -> Result<Response, Problem> {
    let found = redteam::show_finding(&mut api.session, &id).await;
    api.answer(found).await
}

query! {
    /// What is compared: two runs of the same tool and target, or two times.
    CompareQuery {
        /// A run's id, or a time.
        before: Side = Schema::Text;
        /// The same, later.
        after: Side = Schema::Text;
    }
}

pub(super) async fn compare(
    mut api: Api,
    Asked(query): Asked<CompareQuery>,
) -> Result<Response, Problem> {
    let (Some(before), Some(after)) = (query.before, query.after) else {
        let error = app::AppError::invalid("give `before` and `after`: two runs, or two times");
        return api.answer::<()>(Err(error)).await;
    };
    let found = redteam::compare(&mut api.session, &before, &after).await;
    api.answer(found).await
}
