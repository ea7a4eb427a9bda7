//! Whether the database answers, and keeps what it has confirmed.

use crate::actor::Resource;
use std::collections::BTreeMap;

use super::{Finding, Look, Part, Site};
use crate::status::unchecked_server;

pub(super) const PART: Part = Part {
    name: "database",
    look: Look::Asks(|site| Box::pin(look(site))),
};

/// Settings that must be on, and what is lost otherwise.
const MUST_BE_ON: [(&str, &str); 4] = [
    (
        "fsync",
        "a crash of the machine loses or damages confirmed events",
    ),
    (
        "full_page_writes",
        "a crash of the machine can damage tables",
    ),
    (
        "autovacuum",
        "tables grow without end, and one day nothing can be written",
    ),
    ("track_counts", "autovacuum does not know what to do"),
];

async fn look(site: &Site) -> anyhow::Result<Vec<Finding>> {
    let loaded = site.loaded()?;
    let mut session = match site.session().await {
        Ok(session) => session,
        Err(error) => {
            return Ok(vec![Finding::wrong(
                format!("{error:#}"),
                "start PostgreSQL or the service; check DATABASE_URL or database.url_file",
            )]);
        }
    };
    let conn = session.read(Resource::System)?;
    let schema = store::overview::schema(conn).await?;
    let login = store::overview::login(conn).await?;
    let settings = store::overview::server_settings(conn).await?;
    session.close().await;

    let mut found = unsafe_settings(&settings);
    if schema.applied < schema.known {
        found.push(Finding::wrong(
            format!(
                "the schema is at version {} of {}",
                schema.applied, schema.known
            ),
            "back up, then `blueteam migrate`",
        ));
    }
    if login.may_rewrite_records() {
        found.push(Finding::warning(
            format!(
                "the login {} can switch off what keeps records append-only",
                login.name
            ),
            "docs/operations.md, \"A login that owns nothing\"",
        ));
    }
    if let Some(what) = unchecked_server(loaded) {
        found.push(Finding::warning(
            format!("of the database server {what}"),
            "add sslmode=verify-full and sslrootcert=FILE to the database URL",
        ));
    }
    if !login.copies_log_events {
        found.push(Finding::ok(
            "log events are written without COPY, because blueteam_engine has no BYPASSRLS: slower",
        ));
    }
    found.extend(too_few_connections(
        &settings,
        loaded.config.database.max_connections,
    ));

    found.push(Finding::ok(format!(
        "schema {}, login {}",
        schema.applied, login.name
    )));
    Ok(found)
}

fn unsafe_settings(settings: &BTreeMap<String, String>) -> Vec<Finding> {
    let is = |name: &str, value: &str| settings.get(name).is_some_and(|found| found == value);
    let off = MUST_BE_ON.into_iter().filter(|(name, _)| is(name, "off"));
    let mut found: Vec<Finding> = off
        .map(|(name, why)| {
            Finding::wrong(
                format!("{name} is off: {why}"),
                format!("{name} = on in postgresql.conf, then restart PostgreSQL"),
            )
        })
        .collect();

    if is("synchronous_commit", "off") {
        found.push(Finding::warning(
            "synchronous_commit is off: a crash loses events that were confirmed a moment ago",
            "synchronous_commit = on in postgresql.conf, then reload PostgreSQL",
        ));
    }
    found
}

fn too_few_connections(settings: &BTreeMap<String, String>, own: u32) -> Option<Finding> {
    let number = |name: &str| settings.get(name)?.parse::<u32>().ok();
    let free = number("max_connections")?.saturating_sub(number("superuser_reserved_connections")?);
    (free < own).then(|| {
        Finding::wrong(
            format!("the server takes {free} connections, and database.max_connections is {own}"),
            "raise max_connections of PostgreSQL, or lower the key",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(own).collect()
    }

    #[test]
    fn a_server_that_may_forget_is_named() {
        let found = unsafe_settings(&settings(&[
            ("fsync", "off"),
            ("autovacuum", "on"),
            ("synchronous_commit", "off"),
        ]));
        let says: Vec<&str> = found.iter().map(|finding| finding.says.as_str()).collect();
        assert_eq!(says.len(), 2, "{says:?}");
        assert!(says[0].starts_with("fsync is off"), "{says:?}");
        assert!(unsafe_settings(&settings(&[("fsync", "on")])).is_empty());
    }

    #[test]
    fn connections_of_the_superuser_are_not_ours() {
        let server = settings(&[
            ("max_connections", "20"),
            ("superuser_reserved_connections", "3"),
        ]);
        assert!(too_few_connections(&server, 16).is_none());
        assert!(too_few_connections(&server, 18).is_some());
    }
}
