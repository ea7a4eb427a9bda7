//! `blueteam policy`: what passwords must meet, when accounts are locked and disabled, and what roles may
//! do.

use std::process::ExitCode;

use app::actor::{Resource, Role};
use app::password_policy::{self, Changes, InForce};
use app::permissions::{self, Change, Permission};
use clap::{Args as _, Subcommand};
use comfy_table::Cell;
use identity::Profile;

use super::out::{self, Look};
use super::session::{Globals, with_session};
use super::{Command, parsed};

pub(super) const COMMAND: Command = Command {
    name: "policy",
    arguments: Args::augment_args,
    run: |matches, globals| run(&parsed(matches), globals),
};

/// The policy: what passwords must meet, when accounts are locked and disabled, and what roles may do.
///
/// Three profiles: `nist-63b-4` (SP 800-63B-4: 15 characters, 12 with a second factor, a blocklist,
/// no classes, no rotation), `document` (the SecureGuard document: 12 characters of four classes,
/// 90 days), and `custom`, which is any other. What a setting contradicts is shown beside it.
///
/// Exit code: 0 done, 1 failed, 2 wrong arguments or a number out of its range.
#[derive(Debug, clap::Args)]
struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the policy in force
    #[command(after_help = "Examples:\n  blueteam policy show\n  blueteam policy show --json")]
    Show {
        /// As a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Change the policy; passwords that are there already are asked at their next change
    #[command(
        after_help = "Examples:\n  blueteam policy set --profile nist-63b-4\n  blueteam policy set \
            --profile document --max-age-days 365\n  blueteam policy set --max-failed-attempts 3 \
            --lockout-minutes 60"
    )]
    Set(Settings),
    /// What each role may do
    #[command(subcommand)]
    Permissions(Permissions),
}

/// What each role may do: what is built in, and what was changed of it. A safe core stays: the record
/// is only read, an assessor writes nothing but notes, and a system_admin can put things right.
#[derive(Debug, Subcommand)]
enum Permissions {
    /// List what each role may do
    #[command(
        after_help = "Examples:\n  blueteam policy permissions list\n  blueteam policy permissions \
            list --changed\n  blueteam policy permissions list --role user --json"
    )]
    List {
        /// Only those of this role
        #[arg(long)]
        role: Option<Role>,
        /// Only what differs from what is built in
        #[arg(long)]
        changed: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Let a role do something
    #[command(after_help = "Examples:\n  blueteam policy permissions allow user write silences")]
    Allow(Subject),
    /// Let a role do something no more
    #[command(
        after_help = "Examples:\n  blueteam policy permissions revoke manager export reports"
    )]
    Revoke(Subject),
}

#[derive(Debug, clap::Args)]
struct Subject {
    /// user, manager, admin, system_admin or assessor
    role: Role,
    /// read, acknowledge, write, approve or export
    action: app::actor::Action,
    /// Such as alerts, silences, reports: `list` shows all
    resource: Resource,
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Settings {
    /// Take all numbers of a profile: nist-63b-4 or document
    #[arg(long)]
    profile: Option<Profile>,
    /// Characters of a password that is the only factor
    #[arg(long, value_name = "N")]
    min_length: Option<u32>,
    /// Characters of a password that is used with a second factor
    #[arg(long, value_name = "N")]
    mfa_min_length: Option<u32>,
    /// Whether all four classes of characters are required
    #[arg(long, value_name = "BOOL")]
    require_classes: Option<bool>,
    /// Days after which a password must be changed; 0 for never
    #[arg(long, value_name = "N")]
    max_age_days: Option<u32>,
    /// Former passwords that are not taken again (3.5.8)
    #[arg(long, value_name = "N")]
    history_count: Option<u32>,
    /// Characters that must differ from the old password (3.5.7)
    #[arg(long, value_name = "N")]
    min_changed_characters: Option<u32>,
    /// Wrong attempts in a row that lock an account (3.1.8)
    #[arg(long, value_name = "N")]
    max_failed_attempts: Option<u32>,
    /// Minutes for which it is locked
    #[arg(long, value_name = "N")]
    lockout_minutes: Option<u32>,
    /// Days without a sign-in after which an account is disabled (3.5.6)
    #[arg(long, value_name = "N")]
    idle_disable_days: Option<u32>,
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
}

fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::Show { json } => {
            let in_force = with_session(globals, None, async |session, _| {
                Ok(password_policy::show(session).await?)
            })?;
            show(&in_force, *json)
        }
        Action::Permissions(action) => run_permissions(action, globals),
        Action::Set(settings) => {
            let changes = Changes {
                profile: settings.profile,
                min_length: settings.min_length,
                mfa_min_length: settings.mfa_min_length,
                require_classes: settings.require_classes,
                max_age_days: settings.max_age_days,
                history_count: settings.history_count,
                min_changed_characters: settings.min_changed_characters,
                max_failed_attempts: settings.max_failed_attempts,
                lockout_minutes: settings.lockout_minutes,
                idle_disable_days: settings.idle_disable_days,
            };
            let given = settings.on_behalf_of.as_deref();
            let in_force = with_session(globals, given, async |session, _| {
                Ok(password_policy::set(session, &changes).await?)
            })?;
            show(&in_force, false)
        }
    }
}

fn run_permissions(action: &Permissions, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match action {
        Permissions::List {
            role,
            changed,
            json,
        } => {
            let mut all = with_session(globals, None, async |session, _| {
                Ok(permissions::list(session).await?)
            })?;
            all.retain(|one| role.is_none_or(|role| one.role == role));
            all.retain(|one| !changed || one.allowed != one.built_in);
            show_permissions(&all, *json)
        }
        Permissions::Allow(subject) => change_permission(subject, true, globals),
        Permissions::Revoke(subject) => change_permission(subject, false, globals),
    }
}

fn change_permission(
    subject: &Subject,
    allowed: bool,
    globals: Globals<'_>,
) -> anyhow::Result<ExitCode> {
    let Subject {
        role,
        action,
        resource,
        on_behalf_of,
    } = subject;
    let change = Change {
        role: *role,
        action: *action,
        resource: *resource,
        allowed,
    };
    let given = on_behalf_of.as_deref();
    let is_new = with_session(globals, given, async |session, _| {
        Ok(permissions::set(session, change).await?)
    })?;
    let may = if allowed { "may" } else { "may not" };
    let since = if is_new { "from now on" } else { "already" };
    out::line(format!("{role} {may} {action} {resource} {since}"))?;
    Ok(ExitCode::SUCCESS)
}

fn show_permissions(all: &[Permission], json: bool) -> anyhow::Result<ExitCode> {
    if json {
        out::json(&all)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = out::table(Look::stdout(), &["role", "resource", "may", "changed"]);
    let same = |a: &&Permission, b: &&Permission| a.role == b.role && a.resource == b.resource;
    let all: Vec<&Permission> = all.iter().collect();
    for of_resource in all.chunk_by(same) {
        let Some(first) = of_resource.first() else {
            continue;
        };
        let may = of_resource.iter().filter(|one| one.allowed);
        let may: Vec<&str> = may.map(|one| one.action.as_str()).collect();
        let changed = of_resource.iter().filter(|one| one.allowed != one.built_in);
        let changed: Vec<String> = changed
            .map(|one| {
                let sign = if one.allowed { '+' } else { '-' };
                format!("{sign}{}", one.action)
            })
            .collect();
        table.add_row([
            Cell::new(first.role),
            Cell::new(first.resource),
            Cell::new(if may.is_empty() {
                "-".to_owned()
            } else {
                may.join(", ")
            }),
            Cell::new(changed.join(", ")),
        ]);
    }
    out::print(table)?;
    Ok(ExitCode::SUCCESS)
}

fn show(in_force: &InForce, json: bool) -> anyhow::Result<ExitCode> {
    let policy = &in_force.policy;
    if json {
        out::json(&in_force.to_json())?;
        return Ok(ExitCode::SUCCESS);
    }

    let classes = [
        (policy.classes.uppercase, "upper case"),
        (policy.classes.lowercase, "lower case"),
        (policy.classes.numbers, "digits"),
        (policy.classes.special_chars, "others"),
    ];
    let classes: Vec<&str> = classes
        .into_iter()
        .filter_map(|(is_required, name)| is_required.then_some(name))
        .collect();
    let classes = if classes.is_empty() {
        "none required".to_owned()
    } else {
        classes.join(", ")
    };
    let age = match policy.max_age_days {
        0 => "no end".to_owned(),
        days => format!("{days} days"),
    };
    let blocklist = if policy.use_blocklist {
        "refused"
    } else {
        "taken"
    };
    let rows = [
        ("profile", policy.profile.as_str().to_owned()),
        ("characters", policy.min_length.to_string()),
        ("with a second factor", policy.mfa_min_length.to_string()),
        ("classes", classes),
        ("common passwords", blocklist.to_owned()),
        ("age", age),
        ("former ones refused", policy.history_count.to_string()),
        ("new characters", policy.min_changed_characters.to_string()),
        (
            "wrong attempts",
            policy.lockout.max_failed_attempts.to_string(),
        ),
        (
            "lock",
            format!("{} minutes", policy.lockout.lockout_duration_minutes),
        ),
        (
            "disabled after",
            format!("{} days without a sign-in", policy.idle_disable_days),
        ),
    ];
    let mut table = out::table(Look::stdout(), &["password policy", ""]);
    for (label, value) in rows {
        table.add_row([Cell::new(label), out::text(value)]);
    }
    out::print(table)?;
    for contradiction in &in_force.contradictions {
        out::note(format_args!(
            "{}: {} ({})",
            contradiction.field.as_str(),
            contradiction.statement,
            contradiction.requirements
        ));
    }

    Ok(ExitCode::SUCCESS)
}
