//! What people mean who write a name: sources, rules and users as lists and mails show them.

use config::Config;
use detect::sigma::Sigma;
use model::text::sanitize;
use model::{EntityKind, RuleId, Source};
use store::PgConnection;

use crate::AppError;

/// `; did you mean ...?`, where a known name resembles the given one.
pub(crate) fn meant<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    config::nearest(name, known)
        .map(|near| format!("; did you mean `{}`?", sanitize(near)))
        .unwrap_or_default()
}

/// Returns the source of events that a name stands for.
pub fn source(name: &str) -> Result<Source, AppError> {
    Source::named(name).ok_or_else(|| {
        let known = Source::ALL.map(Source::as_str);
        AppError::invalid(format!(
            "there is no source `{}`{} Known: {}",
            sanitize(name),
            meant(name, known.iter().copied()).replace("; did", ". Did"),
            known.join(", ")
        ))
    })
}

/// Returns the rule that a name stands for: its ID, the beginning of an ID that is a UUID, the
/// title of a custom rule, or the name of its file.
pub fn rule(config: &Config, name: &str) -> Result<RuleId, AppError> {
    let sigma = config::rules::sigma(config)?;
    rule_of(&sigma, name)
}

pub(crate) fn rule_of(sigma: &Sigma, name: &str) -> Result<RuleId, AppError> {
    let builtin = || detect::rules::ALL.iter().map(|d| d.info.id.clone());
    let others = monitors::ALL.iter().map(|m| m.rule_id());
    let known: Vec<RuleId> = builtin().chain(others).chain([model::ADVISORY]).collect();
    if let Some(id) = known.iter().find(|id| id.as_str() == name) {
        return Ok(id.clone());
    }

    match &sigma.named(name)[..] {
        [id] => Ok(id.clone()),
        [] => {
            let titles = sigma.infos().flat_map(|info| [info.id.as_str(), info.name]);
            let known = known.iter().map(RuleId::as_str).chain(titles);
            Err(AppError::not_found(format!(
                "there is no rule `{}`{}; `blueteam rules list` lists them",
                sanitize(name),
                meant(name, known)
            )))
        }
        several => {
            let ids: Vec<&str> = several.iter().map(RuleId::as_str).collect();
            Err(AppError::invalid(format!(
                "`{}` is the name of several rules: {}",
                sanitize(name),
                ids.join(", ")
            )))
        }
    }
}

/// Returns what alerts call the user of a name or ID. A UUID is taken as it is.
pub(crate) async fn user(conn: &mut PgConnection, name: &str) -> Result<String, AppError> {
    if uuid::Uuid::try_parse(name).is_ok() {
        return Ok(name.to_ascii_lowercase());
    }

    match &store::known_names::user_values(conn, name).await?[..] {
        [one] => Ok(one.clone()),
        [] => Err(unknown_user(conn, name).await?),
        several => Err(AppError::invalid(format!(
            "several users are called `{}`: {}; say which",
            sanitize(name),
            several.join(", ")
        ))),
    }
}

async fn unknown_user(conn: &mut PgConnection, name: &str) -> Result<AppError, AppError> {
    let known = store::known_names::users(conn).await?;
    Ok(AppError::invalid(format!(
        "no user is called `{}`{}",
        sanitize(name),
        meant(name, known.iter().map(String::as_str))
    )))
}

/// Returns why a search for a user found nothing, if it is the name that is wrong.
pub(crate) async fn user_hint(
    conn: &mut PgConnection,
    name: &str,
) -> Result<Option<String>, AppError> {
    if uuid::Uuid::try_parse(name).is_ok() {
        return Ok(None);
    }

    let known = store::known_names::users(conn).await?;
    if known.iter().any(|known| known == name) {
        return Ok(None);
    }
    Ok(Some(format!(
        "no user is called `{}`{}",
        sanitize(name),
        meant(name, known.iter().map(String::as_str))
    )))
}

/// Fails unless an alert has been about this entity.
pub(crate) async fn check_entity(
    conn: &mut PgConnection,
    kind: EntityKind,
    value: &str,
) -> Result<(), AppError> {
    let known = store::known_names::entities(conn, kind).await?;
    if known.iter().any(|known| known == value) {
        return Ok(());
    }

    Err(AppError::invalid(format!(
        "no alert has been about {} `{}`{}",
        kind.as_str(),
        sanitize(value),
        meant(value, known.iter().map(String::as_str))
    )))
}
