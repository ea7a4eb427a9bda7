//! Which events: the options that every command here has.

use app::events::{Filter, Range};
use model::{Category, Outcome, Timestamp};
use uuid::Uuid;

use crate::cli::out;

/// Everything that is given must agree.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct FilterArgs {
    /// At or after: a length of time ago (24h, 30d) or a time (2026-03-05T14:00:00Z)
    #[arg(long, value_parser = out::moment, value_name = "WHEN")]
    since: Option<Timestamp>,
    /// Before
    #[arg(long, value_parser = out::moment, value_name = "WHEN")]
    until: Option<Timestamp>,
    /// By or about this user: an id, or the name that the application or log gave
    #[arg(long, value_name = "ID|NAME")]
    user: Option<String>,
    /// From this address or network (203.0.113.0/24)
    #[arg(long)]
    ip: Option<Range>,
    /// auth, access, admin, data, ai, system, network
    #[arg(long, value_parser = parse_category)]
    category: Option<Category>,
    /// Of this action, such as login or export_data
    #[arg(long)]
    action: Option<String>,
    /// success, failure, denied
    #[arg(long, value_parser = parse_result)]
    result: Option<Outcome>,
    /// audit_db, or the kind of log: syslog, nginx, php_error, postgres, agent
    #[arg(long)]
    source: Option<String>,
    /// Of this application (`metadata.service`)
    #[arg(long)]
    service: Option<String>,
    /// Of this session
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Logged on this machine
    #[arg(long)]
    host: Option<String>,
    /// Read from this file, journal or listener, as `blueteam sources list` names it
    #[arg(long, value_name = "SOURCE")]
    source_id: Option<String>,
    /// Sent to a listener by this address or network
    #[arg(long, value_name = "IP")]
    peer: Option<Range>,
    /// Only those that touched CUI
    #[arg(long)]
    cui: bool,
    /// With this text in metadata, resource, user agent, machine, program or raw line; case does
    /// not count
    #[arg(long)]
    text: Option<String>,
    /// These events, as an alert names them (`blueteam alerts show`)
    #[arg(long, value_name = "EVENT", value_delimiter = ',')]
    id: Vec<Uuid>,
    /// The person you act for; recorded beside your own account, which is who acts
    #[arg(long, value_name = "NAME")]
    on_behalf_of: Option<String>,
}

fn parse_category(text: &str) -> Result<Category, String> {
    Category::parse(text)
        .ok_or_else(|| "say auth, access, admin, data, ai, system or network".to_owned())
}

fn parse_result(text: &str) -> Result<Outcome, String> {
    Outcome::parse(text).ok_or_else(|| "say success, failure or denied".to_owned())
}

impl FilterArgs {
    /// What is asked for.
    pub(in crate::cli) fn filter(&self) -> Filter {
        Filter {
            since: self.since,
            until: self.until,
            user: self.user.clone(),
            ip: self.ip,
            category: self.category,
            action: self.action.clone(),
            result: self.result,
            source: self.source.clone(),
            service: self.service.clone(),
            session: self.session.clone(),
            host: self.host.clone(),
            source_id: self.source_id.clone(),
            peer: self.peer,
            cui: self.cui,
            text: self.text.clone(),
            ids: self.id.clone(),
            before: None,
        }
    }

    /// As the API is asked.
    pub(super) fn query(&self) -> anyhow::Result<Vec<(&'static str, String)>> {
        if !self.id.is_empty() || self.on_behalf_of.is_some() {
            crate::cli::out::usage!("--id and --on-behalf-of: not with --server");
        }
        let mut query = Vec::new();
        let mut add = |name, value: Option<String>| query.extend(value.map(|value| (name, value)));
        add("since", self.since.map(|since| since.to_string()));
        add("until", self.until.map(|until| until.to_string()));
        add("user", self.user.clone());
        add("ip", self.ip.map(|range| range.to_string()));
        add(
            "category",
            self.category.map(|category| category.as_str().to_owned()),
        );
        add("action", self.action.clone());
        add(
            "result",
            self.result.map(|result| result.as_str().to_owned()),
        );
        add("source", self.source.clone());
        add("service", self.service.clone());
        add("session", self.session.clone());
        add("host", self.host.clone());
        add("source_id", self.source_id.clone());
        add("peer", self.peer.map(|range| range.to_string()));
        add("cui", self.cui.then(|| "true".to_owned()));
        add("text", self.text.clone());
        Ok(query)
    }

    /// Who asks, if a name was given.
    pub(in crate::cli) fn asker(&self) -> Option<&str> {
        self.on_behalf_of.as_deref()
    }

    /// Whether one user or one session is asked for.
    pub(super) const fn is_about_somebody(&self) -> bool {
        self.user.is_some() || self.session.is_some()
    }

    /// Whether single events are asked for, which are found wherever they lie.
    pub(super) const fn names_events(&self) -> bool {
        !self.id.is_empty()
    }

    /// Whether a beginning was named.
    pub(super) const fn has_beginning(&self) -> bool {
        self.since.is_some()
    }

    /// Whether what was asked for goes back a day and no further.
    pub(in crate::cli) const fn is_of_the_last_day(&self) -> bool {
        self.since.is_none() && self.id.is_empty()
    }
}
