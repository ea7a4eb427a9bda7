//! `blueteam tenants`: the organizations that use this installation.

use std::process::ExitCode;
use std::str::FromStr;

use app::tenants::{self, LimitChanges, Limits, Organization};
use clap::{Args as _, Subcommand};
use comfy_table::Cell;
use model::{TenantName, size};

use super::out::{self, Look, usage};
use super::session::{Globals, list_anywhere, with_organizations};
use super::{Command, parsed};

pub(super) const COMMAND: Command = Command {
    name: "tenants",
    arguments: Args::augment_args,
    run: |matches, globals| run(&parsed(matches), globals),
};

/// The organizations that use this installation. There is one, `default`, until another is made.
///
/// Each has its own accounts, keys, sources, events, alerts, incidents and compliance record, and
/// sees nothing of another's. Whose an event is follows from the key or source by which it came. Other
/// commands are about `default`, or the organization that --tenant or BLUETEAM_TENANT names; its
/// alerts go to the channels of [alerts.organizations.NAME] in the configuration.
///
/// Exit code: 0 done, 1 failed (no such tenant, name taken), 2 wrong arguments.
#[derive(Debug, clap::Args)]
struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the organizations, with what they use of their plans
    #[command(after_help = "Examples:\n  blueteam tenants list\n  blueteam tenants list --json")]
    List {
        /// As a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Show one organization
    #[command(
        after_help = "Examples:\n  blueteam tenants show acme\n  blueteam tenants show acme --json | \
            jq .usage.events"
    )]
    Show {
        /// Its name
        name: TenantName,
        /// As a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Make an organization; it keeps its name
    #[command(
        after_help = "Examples:\n  blueteam tenants create acme --title 'Acme Machining LLC'\n  \
            blueteam --tenant acme users create dana --email dana@acme.example --role system_admin\n  \
            blueteam --tenant acme keys create web-shop --scope events:write --service web-shop"
    )]
    Create {
        /// What commands and the configuration call it: lower-case letters, digits, `_` and `-`
        name: TenantName,
        /// What documents call it
        #[arg(long, value_name = "TEXT")]
        title: Option<String>,
        /// The person you act for; recorded beside your own account, which is who acts
        #[arg(long, value_name = "NAME")]
        on_behalf_of: Option<String>,
        /// As a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Give an organization another title; the name stays, because keys, sources and spools use it
    #[command(
        after_help = "Examples:\n  blueteam tenants rename acme --title 'Acme Precision LLC'"
    )]
    Rename {
        /// Its name
        name: TenantName,
        /// What documents call it; empty for none
        #[arg(long, value_name = "TEXT")]
        title: String,
        /// The person you act for; recorded beside your own account, which is who acts
        #[arg(long, value_name = "NAME")]
        on_behalf_of: Option<String>,
    },
    /// Set what an organization has subscribed to
    ///
    /// One more user, key or agent than the plan allows is refused. Events and storage beyond it are
    /// not: people are notified at 80 and at 100 percent, and nothing is refused, dropped or delayed.
    #[command(
        after_help = "Examples:\n  blueteam tenants limits acme --plan small --users 25 --keys 10\n  \
            blueteam tenants limits acme --events 50000000 --storage 200GiB --retention-months 36\n  \
            blueteam tenants limits acme --users none"
    )]
    Limits(LimitArgs),
}

#[derive(Debug, clap::Args)]
struct LimitArgs {
    /// The organization
    name: TenantName,
    /// What the plan is called
    #[arg(long, value_name = "NAME")]
    plan: Option<String>,
    /// People who can sign in
    #[arg(long, value_name = "N|none")]
    users: Option<Limit<u32>>,
    /// API keys in force
    #[arg(long, value_name = "N|none")]
    keys: Option<Limit<u32>>,
    /// Agents
    #[arg(long, value_name = "N|none")]
    agents: Option<Limit<u32>>,
    /// Events a month (UTC)
    #[arg(long, value_name = "N|none")]
    events: Option<Limit<u64>>,
    /// Bytes of events, such as 200GiB
    #[arg(long, value_name = "SIZE|none", value_parser = parse_size)]
    storage: Option<Limit<u64>>,
    /// Months that log events are kept at least: 3 or more
    #[arg(long, value_name = "N|none")]
    retention_months: Option<Limit<u16>>,
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
    /// As a JSON object
    #[arg(long)]
    json: bool,
}

/// A limit, or `none`.
#[derive(Clone, Copy, Debug)]
struct Limit<N>(Option<N>);

impl<N: FromStr> FromStr for Limit<N>
where
    N::Err: std::fmt::Display,
{
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let number = text.parse();
        number
            .map(|number| Self(Some(number)))
            .map_err(|error| format!("{error}; a number, or `none`"))
    }
}

fn parse_size(text: &str) -> Result<Limit<u64>, String> {
    if text == "none" {
        return Ok(Limit(None));
    }
    let bytes = size::parse(text);
    bytes
        .map(|bytes| Limit(Some(bytes)))
        .ok_or_else(|| "a size, such as 200GiB, or `none`".to_owned())
}

fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::List { json } => list(*json, globals)?,
        Action::Show { name, json } => {
            let found = with_organizations(globals, None, async |_, session| {
                Ok(tenants::show(session, name).await?)
            })?;
            show(&found, *json)?;
        }
        Action::Create {
            name,
            title,
            on_behalf_of,
            json,
        } => {
            let made =
                with_organizations(globals, on_behalf_of.as_deref(), async |db, session| {
                    Ok(tenants::create(db, session, name, title.as_deref()).await?)
                })?;
            created(&made, *json, globals)?;
        }
        Action::Rename {
            name,
            title,
            on_behalf_of,
        } => {
            let now = with_organizations(globals, on_behalf_of.as_deref(), async |_, session| {
                Ok(tenants::set_title(session, name, title).await?)
            })?;
            let title = now.title.as_deref().unwrap_or(now.name.as_str());
            out::line(format_args!(
                "`{}` is called {} in documents",
                now.name,
                model::text::sanitize(title)
            ))?;
        }
        Action::Limits(limits) => set_limits(limits, globals)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn set_limits(args: &LimitArgs, globals: Globals<'_>) -> anyhow::Result<()> {
    let changes = LimitChanges {
        plan: args.plan.clone(),
        max_users: args.users.map(|limit| limit.0),
        max_keys: args.keys.map(|limit| limit.0),
        max_agents: args.agents.map(|limit| limit.0),
        max_events: args.events.map(|limit| limit.0),
        max_bytes: args.storage.map(|limit| limit.0),
        retention_months: args.retention_months.map(|limit| limit.0),
    };
    if changes.is_empty() {
        usage!(
            "name a limit: --plan, --users, --keys, --agents, --events, --storage or --retention-months"
        );
    }
    let on_behalf_of = args.on_behalf_of.as_deref();
    let now = with_organizations(globals, on_behalf_of, async |_, session| {
        Ok(tenants::set_limits(session, &args.name, &changes).await?)
    })?;
    show(&now, args.json)
}

fn list(json: bool, globals: Globals<'_>) -> anyhow::Result<()> {
    let all = list_anywhere(globals, "/api/v1/tenants", &[], u32::MAX, || {
        with_organizations(globals, None, async |_, session| {
            Ok(tenants::list(session).await?)
        })
    })?;
    if json {
        return out::json(&all);
    }

    let header = [
        "name",
        "title",
        "plan",
        "users",
        "keys",
        "events this month",
        "storage",
    ];
    let mut table = out::table(Look::stdout(), &header);
    for one in &all {
        let limits = one.subscription.clone().unwrap_or_default();
        let plan = if one.subscription.is_some() {
            limits.plan.as_str()
        } else {
            "-"
        };
        table.add_row([
            out::text(one.name.as_str()),
            out::text(one.title.as_deref().unwrap_or("-")),
            out::text(plan),
            Cell::new(of_limit(one.usage.users, limits.max_users.map(u64::from))),
            Cell::new(of_limit(one.usage.keys, limits.max_keys.map(u64::from))),
            Cell::new(of_limit(one.usage.events, limits.max_events)),
            Cell::new(storage(one)),
        ]);
    }
    out::print(table)
}

/// `3 of 10`, or `3`.
fn of_limit(used: u64, limit: Option<u64>) -> String {
    match limit {
        Some(limit) => format!("{used} of {limit}"),
        None => used.to_string(),
    }
}

fn storage(one: &Organization) -> String {
    let limit = one
        .subscription
        .as_ref()
        .and_then(|limits| limits.max_bytes);
    let used = one
        .usage
        .bytes
        .map_or_else(|| "not counted yet".to_owned(), size::approximate);
    match limit {
        Some(limit) => format!("{used} of {}", size::approximate(limit)),
        None => used,
    }
}

fn show(one: &Organization, json: bool) -> anyhow::Result<()> {
    if json {
        return out::json(one);
    }

    let none = Limits::default();
    let limits = one.subscription.as_ref().unwrap_or(&none);
    let title = one.title.as_deref().unwrap_or("(no title)");
    out::line(format_args!(
        "{}: {}, since {}",
        one.name,
        model::text::sanitize(title),
        out::time(one.created_at)
    ))?;
    match one.subscription.as_ref() {
        Some(limits) => out::line(format_args!("plan: {}", limits.plan))?,
        None => out::line("plan: none, without limits")?,
    }
    let agents = limits
        .max_agents
        .map_or_else(|| "no limit".to_owned(), |most| format!("{most} at most"));
    let retention = limits.retention_months.map_or_else(
        || "as the configuration says".to_owned(),
        |months| format!("{months} months at least"),
    );
    for (what, value) in [
        (
            "users",
            of_limit(one.usage.users, limits.max_users.map(u64::from)),
        ),
        (
            "keys",
            of_limit(one.usage.keys, limits.max_keys.map(u64::from)),
        ),
        ("agents", agents),
        (
            "events this month",
            of_limit(one.usage.events, limits.max_events),
        ),
        ("storage", storage(one)),
        ("log events are kept", retention),
    ] {
        out::line(format_args!("  {what}: {value}"))?;
    }
    for pressure in tenants::pressures(limits, &one.usage) {
        out::line(format_args!(
            "  warning: {}: {}",
            pressure.amount(),
            pressure.meaning()
        ))?;
    }
    Ok(())
}

fn created(made: &Organization, json: bool, globals: Globals<'_>) -> anyhow::Result<()> {
    if json {
        out::json(made)?;
    } else {
        out::line(format_args!("made the tenant `{}`", made.name))?;
    }

    let name = &made.name;
    out::note(format_args!(
        "its first administrator: `blueteam --tenant {name} users create NAME --email ADDRESS --role \
            system_admin`"
    ));
    out::note(format_args!(
        "its first key: `blueteam --tenant {name} keys create NAME --scope events:write --service NAME`"
    ));
    let config = globals.load()?.config;
    if !config.alerts.organizations.contains_key(name) {
        out::note(format_args!(
            "warning: nobody is notified of its alerts until the configuration has \
                [alerts.organizations.{name}] with `channels`"
        ));
    }
    Ok(())
}
