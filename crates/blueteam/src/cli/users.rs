//! `blueteam users`: who may sign in.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use app::accounts::{self, AccountRow, Elsewhere, Invitation, Shown};
use app::database::Database;
use app::{breached, recovery};
use clap::{Args as _, Subcommand};
use comfy_table::Cell;
use identity::Role;
use model::text::sanitize;
use model::{Clock as _, Span, SystemClock, Timestamp};

use super::out::{self, Look};
use super::session::{Globals, list_anywhere, with_session};
use super::{Command, parsed};

pub(super) const COMMAND: Command = Command {
    name: "users",
    arguments: Args::augment_args,
    run: |matches, globals| run(&parsed(matches), globals),
};

/// Accounts of people: who may sign in, and as what.
///
/// There is no default password. An account is made without one, and an enrollment link lets its
/// person choose a password and a second factor: once, within a day. Accounts are disabled and not
/// deleted, and no name is given twice.
///
/// Exit code: 0 done, 1 failed (no such user, the last system administrator), 2 wrong arguments.
#[derive(Debug, clap::Args)]
struct Args {
    #[command(subcommand)]
    action: Action,
}

/// Lists of passwords that nobody may choose.
#[derive(Debug, Subcommand)]
enum Blocklist {
    /// Import a list; it takes the place of the one before
    #[command(
        after_help = "Examples:\n  blueteam users blocklist import pwned-passwords.txt\n\nOne password \
            a line, or the SHA-1 hashes of \"Have I Been Pwned\" in ascending order. The passwords \
            that people have are asked at their next change."
    )]
    Import {
        /// The list
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List accounts by name
    #[command(
        after_help = "Examples:\n  blueteam users list\n  blueteam users list --locked --json | jq \
        '.[].username'"
    )]
    List {
        /// Only those that wrong passwords have locked
        #[arg(long)]
        locked: bool,
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show one account
    #[command(after_help = "Examples:\n  blueteam users show dana")]
    Show {
        /// User name or email address
        name: String,
        /// As a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Make an account, and the link by which its person sets it up
    #[command(
        after_help = "Examples:\n  blueteam users create dana --email dana@example.com --role \
            system_admin\n  blueteam users create assessor --email a@c3pao.example --role assessor \
            --until 2027-01-31"
    )]
    Create {
        /// The user name: letters, digits, and . _ -
        name: String,
        /// Where mail to the person goes
        #[arg(long)]
        email: String,
        /// The person's name
        #[arg(long, value_name = "NAME")]
        full_name: Option<String>,
        /// user, manager, admin, system_admin or assessor
        #[arg(long, default_value = "user")]
        role: Role,
        /// How long it is given for, such as 30d; without it, until it is disabled
        #[arg(long, value_name = "SPAN")]
        expires: Option<Span>,
        /// The last day for which it is given, such as 2027-01-31 (UTC); an assessor's account ends
        /// after 90 days unless something else is said
        #[arg(long, value_name = "DATE", value_parser = last_day, conflicts_with = "expires")]
        until: Option<Timestamp>,
        /// The person you act for; recorded beside your own account, which is who acts
        #[arg(long, value_name = "NAME")]
        on_behalf_of: Option<String>,
        /// As a JSON object: the account with its link
        #[arg(long)]
        json: bool,
    },
    /// Make another enrollment link; earlier ones end
    #[command(
        visible_alias = "recover",
        after_help = "Examples:\n  blueteam users enroll-link dana\n  blueteam users recover dana\
            \n\nFor a person who lost password or authenticator: the link lets them choose both \
            again. Make sure that it is them."
    )]
    EnrollLink {
        /// User name or email address
        name: String,
        /// The person you act for; recorded beside your own account, which is who acts
        #[arg(long, value_name = "NAME")]
        on_behalf_of: Option<String>,
        /// As a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Lists of passwords that nobody may choose
    #[command(subcommand)]
    Blocklist(Blocklist),
    /// Give an account another role; its sessions end
    #[command(after_help = "Examples:\n  blueteam users role dana manager")]
    Role {
        /// User name or email address
        name: String,
        /// user, manager, admin, system_admin or assessor
        role: Role,
        /// The person you act for; recorded beside your own account, which is who acts
        #[arg(long, value_name = "NAME")]
        on_behalf_of: Option<String>,
    },
    /// Put an account out of use: its sessions, links and keys end
    #[command(
        after_help = "Examples:\n  blueteam users disable dana --reason 'left on 2026-11-30'"
    )]
    Disable {
        /// User name or email address
        name: String,
        /// Why; part of the record
        #[arg(long)]
        reason: String,
        /// The person you act for; recorded beside your own account, which is who acts
        #[arg(long, value_name = "NAME")]
        on_behalf_of: Option<String>,
    },
    /// Let a disabled account be used again
    #[command(after_help = "Examples:\n  blueteam users enable dana")]
    Enable {
        /// User name or email address
        name: String,
        /// The person you act for; recorded beside your own account, which is who acts
        #[arg(long, value_name = "NAME")]
        on_behalf_of: Option<String>,
    },
    /// Link an account to who its person is to the OpenID Connect provider or the directory
    #[command(
        after_help = "Examples:\n  blueteam users link dana --oidc 248289761001\n  blueteam users link \
            dana --ldap 6f0d3a52-51f1-4f0e-9c53-1f2a3b4c5d6e\n\nWhoever is that there signs in as \
            this account. The daemon's log names the subject of a person whose name another account \
            has. Make sure that it is them."
    )]
    Link {
        /// User name or email address
        name: String,
        #[command(flatten)]
        who: Who,
        /// The person you act for; recorded beside your own account, which is who acts
        #[arg(long, value_name = "NAME")]
        on_behalf_of: Option<String>,
    },
    /// End the links of an account to who its person is elsewhere, and its sessions
    #[command(after_help = "Examples:\n  blueteam users unlink dana")]
    Unlink {
        /// User name or email address
        name: String,
        /// The person you act for; recorded beside your own account, which is who acts
        #[arg(long, value_name = "NAME")]
        on_behalf_of: Option<String>,
    },
    /// End the lock that wrong passwords have put on an account
    #[command(
        after_help = "Examples:\n  blueteam users unlock dana\n  blueteam users unlock --all"
    )]
    Unlock {
        #[command(flatten)]
        whom: Whom,
        /// The person you act for; recorded beside your own account, which is who acts
        #[arg(long, value_name = "NAME")]
        on_behalf_of: Option<String>,
    },
    /// Have a new password chosen at the next sign-in
    #[command(
        after_help = "Examples:\n  blueteam users require-password-change dana\n  blueteam users \
            require-password-change --all"
    )]
    RequirePasswordChange {
        #[command(flatten)]
        whom: Whom,
        /// The person you act for; recorded beside your own account, which is who acts
        #[arg(long, value_name = "NAME")]
        on_behalf_of: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Who {
    /// The person's subject (`sub`) at the provider
    #[arg(long, value_name = "SUBJECT")]
    oidc: Option<String>,
    /// The id of the person's entry in the directory (`entryUUID`, or `objectGUID` in hex)
    #[arg(long, value_name = "ID")]
    ldap: Option<String>,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Whom {
    /// User name or email address
    name: Option<String>,
    /// Every account
    #[arg(long)]
    all: bool,
}

/// The end of a day, in UTC.
fn last_day(text: &str) -> Result<Timestamp, String> {
    let text = text.trim();
    let end = Timestamp::parse(&format!("{text}T23:59:59Z"));
    end.map_err(|_| format!("`{}` is not a day: write 2027-01-31", sanitize(text)))
}

fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::List { locked, json } => list_accounts(*locked, *json, globals),
        Action::Show { name, json } => show_account(name, *json, globals),
        Action::Create {
            name,
            email,
            full_name,
            role,
            expires,
            until,
            on_behalf_of,
            json,
        } => {
            let request = accounts::Request {
                username: name,
                email,
                full_name: full_name.as_deref(),
                role: *role,
                expires_at: until.or(expires.map(|span| SystemClock.now().plus(span))),
            };
            let invitation = with_session(globals, on_behalf_of.as_deref(), async |session, _| {
                Ok(accounts::create(session, &request).await?)
            })?;
            show_invitation(&invitation, *json, globals)
        }
        Action::EnrollLink {
            name,
            on_behalf_of,
            json,
        } => {
            let invitation = make_link(name, on_behalf_of.as_deref(), globals)?;
            show_invitation(&invitation, *json, globals)
        }
        Action::Blocklist(Blocklist::Import { file }) => import_blocklist(file, globals),
        Action::Role {
            name,
            role,
            on_behalf_of,
        } => {
            let before = with_session(globals, on_behalf_of.as_deref(), async |session, _| {
                Ok(accounts::set_role(session, name, *role).await?)
            })?;
            let (who, was) = (&before.username, &before.role);
            done(&format!(
                "{who} is {role} now, and was {was}; its sessions have ended"
            ))
        }
        Action::Disable {
            name,
            reason,
            on_behalf_of,
        } => {
            let before = with_session(globals, on_behalf_of.as_deref(), async |session, _| {
                Ok(accounts::disable(session, name, reason).await?)
            })?;
            let who = &before.username;
            done(&if before.is_active {
                format!("{who} is disabled; its sessions, links and keys have ended")
            } else {
                format!("{who} was disabled before; the reason is the new one")
            })
        }
        Action::Enable { name, on_behalf_of } => {
            let before = with_session(globals, on_behalf_of.as_deref(), async |session, _| {
                Ok(accounts::enable(session, name).await?)
            })?;
            let who = &before.username;
            done(&if before.is_active {
                format!("{who} was not disabled")
            } else {
                format!("{who} may be used again")
            })
        }
        Action::Link {
            name,
            who,
            on_behalf_of,
        } => link(name, who, on_behalf_of.as_deref(), globals),
        Action::Unlink { name, on_behalf_of } => unlink(name, on_behalf_of.as_deref(), globals),
        Action::Unlock { whom, on_behalf_of } => {
            let names = with_session(globals, on_behalf_of.as_deref(), async |session, _| {
                Ok(accounts::unlock(session, whom.name.as_deref()).await?)
            })?;
            done(&if names.is_empty() {
                "no account was locked".to_owned()
            } else {
                format!("unlocked {}", names.join(", "))
            })
        }
        Action::RequirePasswordChange { whom, on_behalf_of } => {
            let count = with_session(globals, on_behalf_of.as_deref(), async |session, _| {
                Ok(accounts::require_password_change(session, whom.name.as_deref()).await?)
            })?;
            done(&match count {
                0 => "every one of them has to choose a new password already".to_owned(),
                1 => "1 account chooses a new password at its next sign-in".to_owned(),
                n => format!("{n} accounts choose a new password at their next sign-in"),
            })
        }
    }
}

/// Makes a link, and records it, which raises an alert.
fn make_link(
    name: &str,
    on_behalf_of: Option<&str>,
    globals: Globals<'_>,
) -> anyhow::Result<Invitation> {
    let (loaded, state) = (globals.load()?, globals.state()?);
    with_session(globals, on_behalf_of, async |session, _| {
        let invitation = accounts::make_link(session, name).await?;
        let database = Database::existing(&loaded, &state).await?;
        let recorded = recovery::record(&database, &invitation, session.actor()).await;
        database.leave().await?;
        recorded?;
        Ok(invitation)
    })
}

fn import_blocklist(file: &Path, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let state = globals.state()?;
    let imported = with_session(globals, None, async |session, _| {
        Ok(breached::import(session, &state, file).await?)
    })?;
    let skipped = match imported.skipped {
        0 => String::new(),
        n => format!("; {n} lines that cannot be passwords were left out"),
    };
    done(&format!(
        "{} entries are refused as passwords from now on{skipped}",
        imported.entries
    ))
}

fn link(
    name: &str,
    who: &Who,
    on_behalf_of: Option<&str>,
    globals: Globals<'_>,
) -> anyhow::Result<ExitCode> {
    let subject = who.oidc.as_deref().or(who.ldap.as_deref());
    let subject = subject.unwrap_or_default();
    let elsewhere = match who.ldap {
        Some(_) => Elsewhere::Ldap(subject),
        None => Elsewhere::Oidc(subject),
    };
    let account = with_session(globals, on_behalf_of, async |session, loaded| {
        Ok(accounts::link(session, &loaded.config, name, elsewhere).await?)
    })?;
    let who = &account.username;
    done(&format!("{who} is linked to {subject}"))
}

fn unlink(
    name: &str,
    on_behalf_of: Option<&str>,
    globals: Globals<'_>,
) -> anyhow::Result<ExitCode> {
    let ended = with_session(globals, on_behalf_of, async |session, _| {
        Ok(accounts::unlink(session, name).await?)
    })?;
    done(&match ended {
        0 => format!("{name} was not linked"),
        1 => format!("{name} is no longer linked; its sessions have ended"),
        n => format!("{name} is no longer linked ({n} links); its sessions have ended"),
    })
}

fn done(text: &str) -> anyhow::Result<ExitCode> {
    out::line(sanitize(text))?;
    Ok(ExitCode::SUCCESS)
}

fn show_invitation(
    invitation: &Invitation,
    json: bool,
    globals: Globals<'_>,
) -> anyhow::Result<ExitCode> {
    let page = accounts::enrollment_page(&globals.load()?.config);
    if json {
        out::json(&serde_json::json!({
            "user_id": invitation.user_id,
            "username": invitation.username,
            "page": page,
            "code": invitation.token.expose(),
            "expires_at": invitation.until,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }

    out::note(format_args!(
        "{} opens {page} and enters this enrollment code, before {}. It is shown once, and works \
         once:",
        sanitize(&invitation.username),
        out::time(invitation.until)
    ));
    out::line(invitation.token.expose())?;
    Ok(ExitCode::SUCCESS)
}

/// What an account is to whoever looks after it.
fn state_of(account: &AccountRow) -> &'static str {
    let now = SystemClock.now();
    if account.is_service {
        "owns keys"
    } else if !account.is_active {
        "disabled"
    } else if account.expires_at.is_some_and(|end| end <= now) {
        "expired"
    } else if account.locked_until.is_some_and(|until| until > now) {
        "locked"
    } else if account.has_password && account.factors.is_empty() {
        "no second factor"
    } else if account.has_password && account.must_change_password {
        "must change password"
    } else if account.has_password {
        "active"
    } else if account.invited_until.is_some() {
        "invited"
    } else {
        "no password"
    }
}

fn list_accounts(locked: bool, json: bool, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let query = [("locked", locked.to_string())];
    let accounts = list_anywhere(globals, "/api/v1/users", &query, u32::MAX, || {
        with_session(globals, None, async |session, _| {
            Ok(accounts::list(session, Shown { locked }).await?)
        })
    })?;
    if json {
        out::json(&accounts)?;
        return Ok(ExitCode::SUCCESS);
    }
    if accounts.is_empty() {
        out::line(if locked {
            "no account is locked"
        } else {
            "no accounts; make one with `blueteam users create NAME --email ADDRESS --role \
             system_admin`"
        })?;
        return Ok(ExitCode::SUCCESS);
    }

    let header = ["user", "name", "role", "state", "factors", "last sign-in"];
    let mut table = out::table(Look::stdout(), &header);
    for account in &accounts {
        table.add_row([
            out::text(&account.username),
            out::text(account.full_name.as_deref().unwrap_or("-")),
            out::text(&account.role),
            Cell::new(state_of(account)),
            out::text(if account.factors.is_empty() {
                "-".to_owned()
            } else {
                account.factors.join(", ")
            }),
            Cell::new(out::maybe_time(account.last_login)),
        ]);
    }
    out::print(table)?;
    Ok(ExitCode::SUCCESS)
}

fn show_account(name: &str, json: bool, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let account = with_session(globals, None, async |session, _| {
        Ok(accounts::find(session, name).await?)
    })?;
    if json {
        out::json(&account)?;
        return Ok(ExitCode::SUCCESS);
    }

    let factors = if account.factors.is_empty() {
        "none".to_owned()
    } else {
        account.factors.join(", ")
    };
    let rows = [
        ("user", account.username.clone()),
        (
            "name",
            account.full_name.clone().unwrap_or_else(|| "-".to_owned()),
        ),
        ("email", account.email.clone()),
        ("role", account.role.clone()),
        ("state", state_of(&account).to_owned()),
        (
            "disabled because",
            account
                .disabled_reason
                .clone()
                .unwrap_or_else(|| "-".to_owned()),
        ),
        ("second factors", factors),
        (
            "password of",
            out::maybe_time(
                account
                    .password_last_changed
                    .filter(|_| account.has_password),
            ),
        ),
        ("wrong attempts", account.failed_attempts.to_string()),
        ("locked until", out::maybe_time(account.locked_until)),
        ("given until", out::maybe_time(account.expires_at)),
        ("last sign-in", out::maybe_time(account.last_login)),
        ("made", out::time(account.created_at)),
        ("id", account.user_id.to_string()),
    ];
    let mut table = out::table(Look::stdout(), &["account", ""]);
    for (label, value) in rows {
        table.add_row([Cell::new(label), out::text(value)]);
    }
    out::print(table)?;
    Ok(ExitCode::SUCCESS)
}
