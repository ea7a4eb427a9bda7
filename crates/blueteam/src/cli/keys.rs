//! `blueteam keys`: keys with which applications send events.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use comfy_table::Cell;
use model::{Clock as _, ServiceName, Span, SystemClock, Timestamp};
use store::PgConnection;
use store::keys::{KeyRow, NewKey};
use uuid::Uuid;

use super::out::{self, Look};
use super::session::{Globals, actor, with_database};

/// What a key may be allowed to do.
const SCOPES: [&str; 2] = ["events:write", "metrics:read"];
/// The account that owns keys for which nobody else is named. It has no password, so nobody logs in
/// as it.
const OWNER: &str = "ingest";
/// So many first characters of a key say which one is meant.
const PREFIX_MIN: usize = 6;
/// The longest name of a key, in characters.
const NAME_MAX: usize = 100;

/// Keys with which applications send events.
///
/// Only a key's hash is stored: a key that is lost cannot be shown again, make a new one and revoke
/// the old.
///
/// Exit code: 0 done, 1 failed (no such key, no such user), 2 wrong arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key; it is printed once, alone on standard output
    #[command(
        after_help = "Examples:\n  blueteam keys create web-shop --scope events:write --service \
            web-shop --expires 90d\n  \
                            KEY=$(blueteam keys create web-shop --scope events:write)"
    )]
    Create {
        /// A name that tells what uses the key
        name: String,
        /// What the key may do
        #[arg(long = "scope", required = true, value_parser = SCOPES)]
        scopes: Vec<String>,
        /// The service that sends with it: its events are that service's, whatever they say.
        /// Without it, the key is of a relay that says whose they are
        #[arg(long, value_name = "SERVICE")]
        service: Option<ServiceName>,
        /// How long it is good for, such as 90d; without it, until it is revoked
        #[arg(long, value_name = "SPAN")]
        expires: Option<Span>,
        /// The user that owns it; without it, the service account `ingest`
        #[arg(long, value_name = "USER")]
        owner: Option<String>,
        /// Who makes it, for the record; without it, the system's user name
        #[arg(long = "as", value_name = "NAME")]
        actor: Option<String>,
        /// As a JSON object: the key with its id and what it may do
        #[arg(long)]
        json: bool,
    },
    /// List keys, the newest first
    List {
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Put a key out of force for good
    #[command(
        after_help = "Examples:\n  blueteam keys revoke 0199c2d4-7a10-7000-8000-5b1f3c2d4e5f\n  \
                            blueteam keys revoke bt_Xk3vQ9a      (its first characters, as `keys \
                            list` shows them)"
    )]
    Revoke {
        /// The key's id or its first characters
        id: String,
        /// Who revokes it, for the record; without it, the system's user name
        #[arg(long = "as", value_name = "NAME")]
        actor: Option<String>,
    },
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::Create {
            name,
            scopes,
            service,
            expires,
            owner,
            actor: given,
            json,
        } => {
            if name.trim().is_empty() || name.chars().count() > NAME_MAX {
                out::usage!("a key's name has from 1 to {NAME_MAX} characters");
            }

            let (service, owner) = (service.as_ref(), owner.as_deref());
            let new = New {
                name,
                scopes,
                service,
                expires: *expires,
                owner,
                actor: &actor(given.as_deref()),
            };

            create(&new, *json, globals)
        }
        Action::List { json } => list(*json, globals),
        Action::Revoke { id, actor: given } => revoke(id, &actor(given.as_deref()), globals),
    }
}

struct New<'a> {
    name: &'a str,
    scopes: &'a [String],
    service: Option<&'a ServiceName>,
    expires: Option<Span>,
    owner: Option<&'a str>,
    actor: &'a str,
}

/// Makes a key with the scope `events:write` for the service account, stores it, and returns it.
pub(crate) async fn issue(
    conn: &mut PgConnection,
    actor: &str,
    name: &str,
) -> anyhow::Result<String> {
    let scopes = ["events:write".to_owned()];
    let new = New {
        name,
        scopes: &scopes,
        service: None,
        expires: None,
        owner: None,
        actor,
    };
    Ok(store_new(conn, &new, None, None).await?.0)
}

/// A new key and its id; without an owner it is the service account's.
async fn store_new(
    conn: &mut PgConnection,
    new: &New<'_>,
    owner: Option<Uuid>,
    expires_at: Option<Timestamp>,
) -> anyhow::Result<(String, Uuid)> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).context("the system gives no random numbers")?;
    let minted = app::auth::mint(random);
    let user_id = match owner {
        Some(owner) => owner,
        None => store::users::ensure_service(conn, new.actor, OWNER).await?,
    };

    let (hash, prefix) = (&minted.hash, &minted.prefix);
    let key = NewKey {
        user_id,
        name: new.name,
        hash,
        prefix,
        scopes: new.scopes,
        service: new.service,
        expires_at,
    };

    let id = store::keys::create(conn, new.actor, &key).await?;
    Ok((minted.secret, id))
}

fn create(new: &New<'_>, json: bool, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    if new.expires.is_some_and(|span| span <= Span::ZERO) {
        out::usage!("--expires must be longer than nothing");
    }

    let expires_at = new.expires.map(|span| SystemClock.now().plus(span));
    let (secret, id) = with_database(globals, async |conn, _| {
        let owner = match new.owner {
            Some(owner) => Some(
                store::users::named(conn, owner)
                    .await?
                    .with_context(|| format!("there is no user `{owner}`"))?,
            ),
            None => None,
        };
        store_new(conn, new, owner, expires_at).await
    })?;

    if json {
        let (scopes, service) = (new.scopes, new.service);
        out::json(&serde_json::json!({
            "key_id": id, "name": new.name, "scopes": scopes, "service": service, "expires_at": expires_at, "key": secret,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }

    let until = expires_at.map_or_else(|| "it is revoked".to_owned(), out::time);
    out::note(format_args!(
        "key {id} ({}), good until {until}. It is shown once: store it now.",
        new.scopes.join(", ")
    ));
    out::line(&secret)?;

    Ok(ExitCode::SUCCESS)
}

fn state(key: &KeyRow) -> &'static str {
    match (key.is_active, key.expires_at) {
        (false, _) => "revoked",
        (true, Some(end)) if end <= SystemClock.now() => "expired",
        (true, _) => "active",
    }
}

fn list(json: bool, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    with_database(globals, async |conn, _| {
        let keys = store::keys::list(conn).await?;
        if json {
            out::json(&keys)?;
        } else if keys.is_empty() {
            out::line("no keys; make one with `blueteam keys create NAME --scope events:write`")?;
        } else {
            let header = [
                "key",
                "begins",
                "name",
                "owner",
                "service",
                "scopes",
                "state",
                "expires",
                "last used",
            ];

            let mut table = out::table(Look::stdout(), &header);
            for key in &keys {
                table.add_row([
                    Cell::new(key.key_id),
                    out::text(&key.prefix),
                    out::text(&key.name),
                    out::text(&key.username),
                    out::text(key.service.as_deref().unwrap_or("-")),
                    out::text(key.scopes.join(" ")),
                    Cell::new(state(key)),
                    Cell::new(out::maybe_time(key.expires_at)),
                    Cell::new(out::maybe_time(key.last_used)),
                ]);
            }

            out::print(table)?;
        }

        Ok(ExitCode::SUCCESS)
    })
}

fn revoke(id: &str, actor: &str, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    with_database(globals, async |conn, _| {
        let keys = store::keys::list(conn).await?;
        let meant: Vec<&KeyRow> = match keys.iter().find(|k| k.key_id.to_string() == id) {
            Some(exact) => vec![exact],
            // A key's beginning as the list shows it, or the whole key pasted by somebody in a
            // hurry. Too little means nobody.
            None => keys
                .iter()
                .filter(|k| {
                    id.len() >= PREFIX_MIN
                        && (k.prefix.starts_with(id) || id.starts_with(&k.prefix))
                })
                .collect(),
        };

        match meant[..] {
            [] if id.len() < PREFIX_MIN => {
                out::usage!(
                    "say at least {PREFIX_MIN} characters of the key, or its id; `blueteam keys \
                        list` shows both"
                )
            }
            [] => bail!("there is no such key; `blueteam keys list` shows all"),
            [key] => {
                let name = model::text::sanitize(&key.name);
                if store::keys::revoke(conn, actor, key.key_id).await? {
                    out::line(format_args!(
                        "revoked {} ({name}); a running daemon refuses it within {} seconds",
                        key.key_id,
                        app::auth::KEY_CACHE.as_secs()
                    ))?;
                } else {
                    out::line(format_args!("{} ({name}) was revoked before", key.key_id))?;
                }

                Ok(ExitCode::SUCCESS)
            }
            _ => out::usage!("several keys begin like this; say more of it, or the id"),
        }
    })
}
