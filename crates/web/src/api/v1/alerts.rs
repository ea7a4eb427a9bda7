//! Alerts, notifications, silences and events.

use std::sync::Arc;

use app::listing::Before;
use app::{AppError, alerts, events, notifications, silences};
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::HeaderMap;
use axum::response::Response;
use model::{
    AlertState, Channel, IncidentId, RuleId, Severity, SilenceKind, SilenceScope, SilenceTarget,
    Span, Timestamp, Verdict,
};
use serde_json::json;
use uuid::Uuid;

use super::Api;
use super::list::{Listing, Page, Word};
use super::operation::{Field, Record, Schema, body, query};
use super::version::Given;
use crate::api::people::read_json;
use crate::error::Problem;

const SEVERITIES: Schema = Schema::OneOf(&["low", "medium", "high", "critical"]);

query! {
    /// Which alerts.
    AlertQuery {
        /// Also closed ones; without it and `state`, open ones.
        all: bool = Schema::Boolean;
        /// In this state.
        state: Word<AlertState> = Schema::OneOf(&["open", "closed"]);
        /// At least this severity.
        severity: Severity = SEVERITIES;
        /// Of this rule.
        rule_id: String = Schema::Text;
        /// Of this service.
        service: String = Schema::Text;
        /// Of this tenant.
        tenant: Uuid = Schema::Id;
        /// Acknowledged ones, or those that are not.
        acknowledged: bool = Schema::Boolean;
        /// Written at or after this time.
        since: Timestamp = Schema::Time;
        /// Of this incident.
        incident_id: Uuid = Schema::Id;
        /// Silenced ones, or those that are not.
        silenced: bool = Schema::Boolean;
    }
}

pub(super) async fn list(mut api: Api, listing: Listing<AlertQuery>) -> Result<Response, Problem> {
    let Listing { query, page } = listing;
    let filter = alerts::Filter {
        severity: query.severity,
        service: query.service,
        tenant: query.tenant,
        rule_id: query.rule_id.map(|id| RuleId(id.into())),
        state: match (query.state, query.all) {
            (Some(Word(state)), _) => Some(state),
            (None, Some(true)) => None,
            (None, _) => Some(AlertState::Open),
        },
        acknowledged: query.acknowledged,
        since: query.since,
        incident_id: query.incident_id.map(IncidentId),
        silenced: query.silenced,
        entity: None,
        before: page.before(),
    };
    let config = Arc::clone(&api.console.config);
    let found = async {
        let total = if page.count {
            Some(alerts::count(&mut api.session, &config, &filter).await?)
        } else {
            None
        };
        let found = alerts::page(&mut api.session, &config, &filter, page.fetch()).await?;
        Ok(page.fetched(found, total, |alert| Before {
            at: alert.created_at,
            id: alert.alert_id.0,
        }))
    };
    let found = found.await;
    api.page(page, found).await
}

pub(super) async fn show(mut api: Api, Path(id): Path<String>) -> Result<Response, Problem> {
    let config = Arc::clone(&api.console.config);
    let found = alerts::show(&mut api.session, &config, &id).await;
    api.tagged(found.map(|details| details.alert)).await
}

pub(super) async fn acknowledge(
    mut api: Api,
    Path(id): Path<String>,
    given: Given,
) -> Result<Response, Problem> {
    let _turn = match given.expected() {
        Some(expected) => {
            let turn = expected.turn().await;
            let config = Arc::clone(&api.console.config);
            let current = alerts::show(&mut api.session, &config, &id).await;
            let current = current.map(|details| details.alert);
            api = api.unchanged(expected, current).await?;
            Some(turn)
        }
        None => None,
    };
    let done = alerts::acknowledge_all(&mut api.session, &[id]).await;
    let first = done.and_then(|alerts| {
        let first = alerts.into_iter().next();
        first.ok_or_else(|| AppError::not_found("the alert is gone"))
    });
    api.answer(first).await
}

body! {
    /// What an alert turned out to be.
    VerdictBody {
        /// What it was; `undetermined` takes an earlier verdict back.
        verdict: Verdict = Schema::OneOf(&["true_positive", "benign_positive", "false_positive", "undetermined"]);
        /// Why; needed for all but `true_positive`.
        note: Option<String> = Schema::Maybe(&Schema::TextUpTo(4000));
    }
}

pub(super) async fn judge(
    mut api: Api,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: VerdictBody = read_json(&headers, &body)?;
    let note = body.note.as_deref();
    let judged = alerts::judge(&mut api.session, &id, body.verdict, note).await;
    api.answer(judged).await
}

pub(super) async fn verdicts(
    mut api: Api,
    Path(id): Path<String>,
    listing: Listing<super::list::Nothing>,
) -> Result<Response, Problem> {
    let page = listing.page;
    let found = alerts::verdicts(&mut api.session, &id).await;
    let found = found.map(|all| page.cut(all, |judged| judged.decided_at.as_micros().to_string()));
    api.page(page, found).await
}

body! {
    /// Alerts to acknowledge.
    BatchBody {
        /// Their ids, whole or their first characters.
        ids: Vec<String> = Schema::ListUpTo(&Schema::IdStart, 500);
        /// Only says what would be done.
        dry_run: Option<bool> = Schema::Maybe(&Schema::Boolean);
    }
}

pub(super) async fn batch(
    mut api: Api,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: BatchBody = read_json(&headers, &body)?;
    let dry_run = body.dry_run.unwrap_or(false);
    let done = alerts::acknowledge_each(&mut api.session, &body.ids, dry_run).await;
    api.answer(done.map(|items| json!({ "items": items, "dry_run": dry_run })))
        .await
}

query! {
    /// Which notifications.
    NotificationQuery {
        /// In this state.
        state: String = Schema::OneOf(&["pending", "delivered", "dead"]);
        /// Through this channel.
        channel: Channel = Schema::Text;
        /// Of the alert whose id begins like this.
        alert: String = Schema::IdStart;
        /// Written at or after this time.
        since: Timestamp = Schema::Time;
    }
}

pub(super) async fn notifications(
    mut api: Api,
    listing: Listing<NotificationQuery>,
) -> Result<Response, Problem> {
    let Listing { query, page } = listing;
    let filter = notifications::Filter {
        state: query.state.as_deref(),
        channel: query.channel,
        alert: query.alert.as_deref(),
        since: query.since,
        before: page.before(),
    };
    let found = async {
        let total = if page.count {
            Some(notifications::count(&mut api.session, &filter).await?)
        } else {
            None
        };
        let found = notifications::list(&mut api.session, &filter, page.fetch()).await?;
        Ok(page.fetched(found, total, |entry| Before {
            at: entry.created_at,
            id: entry.delivery_id,
        }))
    };
    let found = found.await;
    api.page(page, found).await
}

query! {
    /// Which of them.
    AllQuery {
        /// Also what is over.
        all: bool = Schema::Boolean;
    }
}

pub(super) async fn silences(
    mut api: Api,
    listing: Listing<AllQuery>,
) -> Result<Response, Problem> {
    let Listing { query, page } = listing;
    let which = match query.all {
        Some(true) => silences::Which::All,
        _ => silences::Which::Unended,
    };
    let found = silences::list(&mut api.session, which).await;
    let found = found.map(|all| page.cut(all, |listed| listed.silence.mute_id.to_string()));
    api.page(page, found).await
}

body! {
    /// A silence to be made. At least one of `rule_id`, `source`, `tenant` and `entity` says what it
    /// covers.
    SilenceBody {
        /// What it is; `silence` if it is left out.
        kind: Option<SilenceKind> = Schema::Maybe(&Schema::OneOf(&["silence", "maintenance", "exception"]));
        /// Alerts of this rule.
        rule_id: Option<RuleId> = Schema::Maybe(&Schema::Text);
        /// Alerts from this source.
        source: Option<String> = Schema::Maybe(&Schema::Text);
        /// Alerts of this tenant alone.
        tenant: Option<Uuid> = Schema::Maybe(&Schema::Id);
        /// Alerts about this, such as `ip:203.0.113.7`.
        entity: Option<String> = Schema::Maybe(&Schema::Text);
        /// When it begins; now if it is left out.
        from: Option<Timestamp> = Schema::Maybe(&Schema::Time);
        /// How long it lasts, 366 days at most.
        length: Span = Schema::Span;
        /// Why.
        reason: String = Schema::TextUpTo(1000);
        /// Where it is written up.
        ticket: Option<String> = Schema::Maybe(&Schema::Text);
        /// Also if nothing of that name has been seen so far.
        allow_unknown: Option<bool> = Schema::Maybe(&Schema::Boolean);
    }
}

pub(super) async fn create_silence(
    mut api: Api,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let body: SilenceBody = read_json(&headers, &body)?;
    let entity = body.entity.as_deref().map(str::parse::<SilenceTarget>);
    let entity = entity
        .transpose()
        .map_err(|error| AppError::invalid(format!("entity: {error}")))?;
    let request = silences::Request {
        kind: body.kind.unwrap_or(SilenceKind::Silence),
        scope: SilenceScope {
            rule_id: body.rule_id,
            source: body.source,
            tenant: body.tenant,
            entity,
        },
        from: body.from,
        length: body.length,
        reason: &body.reason,
        ticket: body.ticket.as_deref(),
        allow_unknown: body.allow_unknown.unwrap_or(false),
    };
    let config = Arc::clone(&api.console.config);
    let added = silences::add(&mut api.session, &config, &request).await;
    api.answer(added.map(|added| added.silence)).await
}

pub(super) async fn expire_silence(
    mut api: Api,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let done = silences::expire(&mut api.session, &id).await;
    api.done(done).await
}

query! {
    /// Which events. Without a beginning, of the last 24 hours.
    EventQuery {
        /// From this time on.
        since: Timestamp = Schema::Time;
        /// Before this time.
        until: Timestamp = Schema::Time;
        /// Of this user: a name or an id.
        user: String = Schema::Text;
        /// From this address or network.
        ip: events::Range = Schema::Text;
        /// About this.
        category: Word<model::Category> = Schema::OneOf(&["auth", "access", "admin", "data", "ai", "system", "network"]);
        /// This action.
        action: String = Schema::Text;
        /// With this result.
        result: Word<model::Outcome> = Schema::OneOf(&["success", "failure", "denied"]);
        /// Of this kind of source.
        source: String = Schema::Text;
        /// Of this service.
        service: String = Schema::Text;
        /// In this session.
        session: String = Schema::Text;
        /// Logged by this machine.
        host: String = Schema::Text;
        /// From this file, journal or listener.
        source_id: String = Schema::Text;
        /// Sent by this address or network to a listener.
        peer: events::Range = Schema::Text;
        /// With CUI only.
        cui: bool = Schema::Boolean;
        /// With this text in it.
        text: String = Schema::Text;
        /// Those of the alert whose id begins like this.
        alert: String = Schema::IdStart;
    }
}

pub(super) async fn events(
    mut api: Api,
    listing: Listing<EventQuery>,
) -> Result<Response, Problem> {
    let Listing { query, page } = listing;
    if page.count {
        return Err(Page::no_total());
    }
    let filter = events::Filter {
        since: query.since,
        until: query.until,
        user: query.user,
        ip: query.ip,
        category: query.category.map(|word| word.0),
        action: query.action,
        result: query.result.map(|word| word.0),
        source: query.source,
        service: query.service,
        session: query.session,
        host: query.host,
        source_id: query.source_id,
        peer: query.peer,
        cui: query.cui.unwrap_or(false),
        text: query.text,
        ids: Vec::new(),
        before: page.before(),
    };
    let found = async {
        let search = events::Search {
            question: events::Question::new(filter)?,
            alert: query.alert.as_deref(),
            timeline: false,
            limit: page.fetch(),
        };
        let answer = events::search(&mut api.session, search).await?;
        Ok(page.fetched(answer.events, None, |event| Before {
            at: event.timestamp,
            id: event.event_id,
        }))
    };
    let found = found.await;
    api.page(page, found).await
}
