//! `blueteam keys`: keys with which applications send events, and people's programs use the API.

use std::process::ExitCode;

use app::keys::{self, Key, Kind};
use clap::{Args as _, Subcommand};
use comfy_table::Cell;
use model::{Clock as _, ServiceName, Span, SystemClock};

use super::out::{self, Look};
use super::session::{Globals, list_anywhere, with_session};
use super::{Command, parsed};

pub(super) const COMMAND: Command = Command {
    name: "keys",
    arguments: Args::augment_args,
    run: |matches, globals| run(&parsed(matches), globals),
};

/// Keys with which applications send events, and people's programs use the API.
///
/// A key with the scope events:write or metrics:read is of a machine. Any other is of the person
/// that --owner names, and may at most what that person may: `read` all of it, or single things
/// such as alerts:acknowledge. It never may what asks for both factors again.
///
/// Only a key's hash is stored: a key that is lost cannot be shown again, make a new one and revoke
/// the old.
///
/// Exit code: 0 done, 1 failed (no such key, no such user), 2 wrong arguments.
#[derive(Debug, clap::Args)]
struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key; it is printed once, alone on standard output
    #[command(
        after_help = "Examples:\n  blueteam keys create web-shop --scope events:write --service \
            web-shop --expires 90d\n  \
                            KEY=$(blueteam keys create web-shop --scope events:write)\n  \
                            blueteam keys create dashboard --owner dana\n  \
                            blueteam keys create triage --owner dana --scope read --scope \
                            alerts:acknowledge --expires 30d"
    )]
    Create {
        /// A name that tells what uses the key
        name: String,
        /// What the key may do: events:write, metrics:read; for a person `read`, or a resource and
        /// an action. Without it, a person's key may read
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
        /// The service that sends with it: its events are that service's, whatever they say.
        /// Without it, the key is of a relay that says whose they are
        #[arg(long, value_name = "SERVICE")]
        service: Option<ServiceName>,
        /// How long it is good for, such as 90d; without it, a machine's key until it is revoked, a
        /// person's for 90 days. A person's for a year at most
        #[arg(long, value_name = "SPAN")]
        expires: Option<Span>,
        /// The person whose key it is; for a machine's key, the account that owns it (without it,
        /// the service account `ingest`)
        #[arg(long, value_name = "USER")]
        owner: Option<String>,
        /// The person you act for; recorded beside your own account, which is who acts
        #[arg(long, value_name = "NAME")]
        on_behalf_of: Option<String>,
        /// As a JSON object: the key with its id and what it may do
        #[arg(long)]
        json: bool,
    },
    /// List keys, the newest first
    #[command(
        after_help = "Examples:\n  blueteam keys list\n  blueteam keys list --json | jq \
        '.[] | select(.is_active)'"
    )]
    List {
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Give a person's key another secret; the old one counts a little longer
    #[command(
        after_help = "Examples:\n  blueteam keys rotate 0199c2d4-7a10-7000-8000-5b1f3c2d4e5f\n  \
                            KEY=$(blueteam keys rotate bt_api_Xk3vQ --grace 10m)"
    )]
    Rotate {
        /// The key's id or its first characters
        id: String,
        /// How much longer the old secret counts; 24h at most, 0s to end it at once
        #[arg(long, value_name = "SPAN", default_value = "1h")]
        grace: Span,
        /// The person you act for; recorded beside your own account, which is who acts
        #[arg(long, value_name = "NAME")]
        on_behalf_of: Option<String>,
        /// As a JSON object: the new secret with the key's id
        #[arg(long)]
        json: bool,
    },
    /// Revoke a key: nothing sent with it is taken from then on
    #[command(
        after_help = "Examples:\n  blueteam keys revoke 0199c2d4-7a10-7000-8000-5b1f3c2d4e5f\n  \
                            blueteam keys revoke bt_Xk3vQ9a      (its first characters, as `keys \
                            list` shows them)"
    )]
    Revoke {
        /// The key's id or its first characters
        id: String,
        /// The person you act for; recorded beside your own account, which is who acts
        #[arg(long, value_name = "NAME")]
        on_behalf_of: Option<String>,
    },
}

fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::Create {
            name,
            scopes,
            service,
            expires,
            owner,
            on_behalf_of,
            json,
        } => {
            let request = keys::Request {
                name,
                scopes,
                service: service.as_ref(),
                valid_for: *expires,
                owner: owner.as_deref(),
            };

            create_key(&request, on_behalf_of.as_deref(), *json, globals)
        }
        Action::List { json } => list_keys(*json, globals),
        Action::Rotate {
            id,
            grace,
            on_behalf_of,
            json,
        } => {
            let rotated = with_session(globals, on_behalf_of.as_deref(), async |session, _| {
                Ok(keys::rotate(session, id, *grace).await?)
            })?;
            print_rotated(&rotated, *json)
        }
        Action::Revoke { id, on_behalf_of } => revoke_key(id, on_behalf_of.as_deref(), globals),
    }
}

fn create_key(
    request: &keys::Request<'_>,
    given: Option<&str>,
    json: bool,
    globals: Globals<'_>,
) -> anyhow::Result<ExitCode> {
    let key = with_session(globals, given, async |session, _| {
        Ok(keys::create(session, request).await?)
    })?;

    if json {
        out::json(&serde_json::json!({
            "key_id": key.key_id,
            "kind": key.kind,
            "name": request.name,
            "scopes": key.scopes,
            "service": request.service,
            "expires_at": key.expires_at,
            "key": key.secret,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }

    let until = key
        .expires_at
        .map_or_else(|| "it is revoked".to_owned(), out::time);
    out::note(format_args!(
        "key {} ({}), valid until {until}. It is shown once: store it now.",
        key.key_id,
        key.scopes.join(", ")
    ));
    if let Some(other) = &key.namesake {
        out::note(format_args!(
            "warning: another active key is called `{}` as well: {other}… (`blueteam keys revoke \
                {other}`)",
            model::text::sanitize(request.name)
        ));
    }
    out::line(&key.secret)?;

    Ok(ExitCode::SUCCESS)
}

fn print_rotated(rotated: &keys::Rotated, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        out::json(&serde_json::json!({
            "key_id": rotated.key.key_id,
            "expires_at": rotated.expires_at,
            "former_until": rotated.former_until,
            "key": rotated.secret,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }

    out::note(format_args!(
        "key {} has another secret, valid until {}. It is shown once: store it now. The old one \
            counts until {}.",
        rotated.key.key_id,
        out::time(rotated.expires_at),
        out::time(rotated.former_until)
    ));
    out::line(&rotated.secret)?;
    Ok(ExitCode::SUCCESS)
}

fn key_state(key: &Key) -> &'static str {
    match (key.is_active, key.expires_at) {
        (false, _) => "revoked",
        (true, Some(end)) if end <= SystemClock.now() => "expired",
        (true, _) => "active",
    }
}

fn list_keys(json: bool, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let keys = list_anywhere(globals, "/api/v1/keys", &[], u32::MAX, || {
        with_session(globals, None, async |session, _| {
            Ok(keys::list(session).await?)
        })
    })?;

    if json {
        out::json(&keys)?;
    } else if keys.is_empty() {
        out::line("no keys; make one with `blueteam keys create NAME --scope events:write`")?;
    } else {
        show_table(&keys)?;
    }

    Ok(ExitCode::SUCCESS)
}

fn show_table(keys: &[Key]) -> anyhow::Result<()> {
    let header = [
        "key",
        "begins",
        "name",
        "owner",
        "of",
        "scopes",
        "state",
        "expires",
        "last used",
    ];

    let mut table = out::table(Look::stdout(), &header);
    for key in keys {
        table.add_row([
            Cell::new(key.key_id),
            out::text(&key.prefix),
            out::text(&key.name),
            out::text(&key.username),
            out::text(match (key.kind, key.service.as_deref()) {
                (Kind::Person, _) => "a person",
                (Kind::Machine, service) => service.unwrap_or("-"),
            }),
            out::text(key.scopes.join(" ")),
            Cell::new(key_state(key)),
            Cell::new(out::maybe_time(key.expires_at)),
            Cell::new(out::maybe_time(key.last_used)),
        ]);
    }

    out::print(table)
}

fn revoke_key(id: &str, given: Option<&str>, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let (key, revoked) = with_session(globals, given, async |session, _| {
        Ok(keys::revoke(session, id).await?)
    })?;

    let name = model::text::sanitize(&key.name);
    if revoked && key.kind == Kind::Person {
        out::line(format_args!("revoked {} ({name})", key.key_id))?;
    } else if revoked {
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
