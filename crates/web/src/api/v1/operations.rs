//! Rules, sources, monitors, organizations and upkeep.

use std::sync::Arc;

use app::{monitors, rules, sources, tenants, upkeep};
use axum::extract::Path;
use axum::response::Response;

use super::Api;
use super::list::{Listing, Nothing};
use crate::error::Problem;

pub(super) async fn rules(mut api: Api, listing: Listing<Nothing>) -> Result<Response, Problem> {
    let page = listing.page;
    let config = Arc::clone(&api.console.config);
    let found = rules::list(&mut api.session, &config).await;
    let found = found.map(|all| page.cut(all, |rule| rule.rule_id.to_string()));
    api.page(page, found).await
}

pub(super) async fn enable_rule(mut api: Api, Path(id): Path<String>) -> Result<Response, Problem> {
    let config = Arc::clone(&api.console.config);
    let done = rules::enable(&mut api.session, &config, &id).await;
    api.done(done).await
}

pub(super) async fn disable_rule(
    mut api: Api,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let config = Arc::clone(&api.console.config);
    let done = rules::disable(&mut api.session, &config, &id).await;
    api.done(done).await
}

pub(super) async fn sources(mut api: Api, listing: Listing<Nothing>) -> Result<Response, Problem> {
    let page = listing.page;
    let found = sources::list(&mut api.session).await;
    let found = found.map(|all| page.cut(all, |listed| listed.row.source_id.clone()));
    api.page(page, found).await
}

pub(super) async fn source(mut api: Api, Path(id): Path<String>) -> Result<Response, Problem> {
    let found = sources::show(&mut api.session, &id).await;
    api.tagged(found).await
}

pub(super) async fn monitors(mut api: Api, listing: Listing<Nothing>) -> Result<Response, Problem> {
    let page = listing.page;
    let config = Arc::clone(&api.console.config);
    let found = monitors::list(&mut api.session, &config).await;
    let found = found.map(|all| page.cut(all, |row| row.name.to_owned()));
    api.page(page, found).await
}

pub(super) async fn upkeep(mut api: Api) -> Result<Response, Problem> {
    let found = upkeep::show(&mut api.session).await;
    api.answer(found).await
}

pub(super) async fn tenants(mut api: Api, listing: Listing<Nothing>) -> Result<Response, Problem> {
    let page = listing.page;
    let found = tenants::list(&mut api.session).await;
    let found = found.map(|all| page.cut(all, |one| one.name.to_string()));
    api.page(page, found).await
}
