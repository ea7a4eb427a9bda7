//! A machine or a database stopped logging, or was ordered to.

use model::event::EventTags;
use model::sql::{sets, statements};
use model::{ControlId, EntityKind, RuleId, SecurityEvent, Severity, Source, Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::account_changes::logged_statement;
use crate::clock_cache::ClockCache;
use crate::keyed::Key;
use crate::open::NewDetection;
use crate::pending::Pending;
use crate::rule::{Built, Context, Definition, Info, Rule, Usage, default_params, parse_params};

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("logging_stopped"),
        name: "Logging stopped",
        description: "A logging service stopped and did not start again within `patience`, while its \
            machine ran on; or logging was switched off.",
        severity: Severity::Critical,
        controls: &[
            ControlId::known("3.3.1"),
            ControlId::known("3.3.4"),
            ControlId::known("3.3.8"),
        ],
        attack: &["T1562.001", "T1562.008"],
        interest: EventTags::ACCOUNT_CHANGE.union(EventTags::DATABASE),
        feeds: &[Source::Syslog, Source::Postgres],
    },
    defaults: default_params::<Params>,
    fixtures: include_str!("fixtures/logging_stopped.ndjson"),
    build: |value, max_keys| {
        let p: Params = parse_params(value)?;
        Ok(Built {
            rule: Box::new(LoggingStopped {
                patience: p.patience,
                pending: Pending::new(p.patience),
                going_down: ClockCache::new(max_keys),
            }),
            cooldown: Span::hours(1),
            lookback: p.patience,
        })
    },
};

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// How long a restart, as an upgrade makes it, may take.
    patience: Span,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            patience: Span::mins(2),
        }
    }
}

/// Services that log, as systemctl and service name them.
const SERVICES: [&str; 8] = [
    "rsyslog",
    "syslog",
    "syslog-ng",
    "syslogd",
    "auditd",
    "systemd-journald",
    "journald",
    "blueteam",
];

struct LoggingStopped {
    patience: Span,
    /// Services that stopped, and may start again.
    pending: Pending,
    /// When each machine last said that it goes down.
    going_down: ClockCache<Option<Timestamp>>,
}

/// Returns whether a command of sudo ends logging. The working directory and the arguments may hold
/// what looks like the fields around a command, so each possible command counts.
fn ends_logging(command: &str) -> bool {
    command.split("COMMAND=").any(is_end_of_logging)
}

fn is_end_of_logging(command: &str) -> bool {
    let mut words = command.split_whitespace();
    let program = words.next().unwrap_or_default();
    let program = program.rsplit('/').next().unwrap_or_default();
    let words: Vec<&str> = words.collect();
    let is_service = |word: &str| {
        let name = word.strip_suffix(".service").unwrap_or(word);
        SERVICES.contains(&name.strip_suffix(".socket").unwrap_or(name))
    };

    match program {
        "systemctl" => {
            let verbs = ["stop", "disable", "mask", "kill"];
            words.iter().any(|word| verbs.contains(word)) && words.iter().any(|w| is_service(w))
        }
        "service" => words.first().is_some_and(|w| is_service(w)) && words.get(1) == Some(&"stop"),
        "auditctl" => words.windows(2).any(|pair| pair == ["-e", "0"]) || words.contains(&"-D"),
        "killall" | "pkill" => words.iter().any(|word| {
            let name = word.strip_suffix('d').unwrap_or(word);
            is_service(word) || is_service(name)
        }),
        _ => false,
    }
}

/// Returns whether a statement ends PostgreSQL's log: for all sessions, or for some.
fn ends_database_log(statement: &str) -> bool {
    statements(statement).iter().any(|words| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        ends_log_of_all(&words) || ends_log_of_session(&words)
    })
}

/// Returns whether the words of `ALTER SYSTEM` end the log, by settings that decide what it holds.
fn ends_log_of_all(words: &[&str]) -> bool {
    let [
        "alter",
        "system",
        verb @ ("set" | "reset"),
        setting,
        value @ ..,
    ] = words
    else {
        return false;
    };
    let is_off = matches!(value.last(), Some(&"off" | &"false" | &"none" | &"0"));
    match *setting {
        "logging_collector" | "log_connections" | "log_disconnections" => {
            *verb == "reset" || is_off
        }
        // A value in quotation marks is no word, so any change counts.
        "log_statement"
        | "log_destination"
        | "log_min_messages"
        | "log_min_error_statement"
        | "log_directory"
        | "log_filename"
        | "shared_preload_libraries" => true,
        _ => false,
    }
}

/// Returns whether words set what is logged of a session, or of those of a role or database, to
/// nothing.
fn ends_log_of_session(words: &[&str]) -> bool {
    const SETTINGS: [&str; 4] = [
        "log_statement",
        "log_min_messages",
        "log_min_error_statement",
        "pgaudit.log",
    ];
    let owned: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let Some(at) = words.iter().position(|word| SETTINGS.contains(word)) else {
        return false;
    };

    // Of `ALTER ROLE … SET` the value may be in quotation marks, which is no word.
    let value = words.get(at + 1..).unwrap_or_default();
    let value = value.iter().find(|word| **word != "to");
    let is_off = matches!(
        value,
        None | Some(&("none" | "off" | "fatal" | "panic" | "false" | "0"))
    );
    let alters = matches!(words, ["alter", "role" | "user" | "database", ..])
        && words.get(at.wrapping_sub(1)) == Some(&"set");
    (sets(&owned) || alters) && is_off
}

fn machine(event: &SecurityEvent<'_>) -> String {
    event.host().unwrap_or("a machine").to_owned()
}

fn fire(key: Key, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
    let what = event
        .account_name
        .as_deref()
        .unwrap_or("logging")
        .to_owned();
    let told = match &*event.action {
        "log_service_stop" => format!("{what} stopped on {}", machine(event)),
        "sudo" => format!(
            "{} ran `{}` on {}",
            event
                .user_id
                .as_ref()
                .map_or_else(|| "someone".to_owned(), ToString::to_string),
            event.resource_id.as_deref().unwrap_or_default(),
            machine(event)
        ),
        _ => format!(
            "role {} changed what PostgreSQL logs{}",
            event.account_name.as_deref().unwrap_or("unknown"),
            super::place_of(event)
        ),
    };

    cx.fire(key, event, || {
        let title = format!("Logging stopped: {told}");
        let description = format!(
            "{told}. What happens there now leaves no record. Start it again, and treat the time \
                without a log as an intrusion until you know who did this and why."
        );
        NewDetection::new(EntityKind::Source, machine(event), title, description)
    });
}

impl LoggingStopped {
    fn is_going_down(&self, machine: Key, now: Timestamp) -> bool {
        let since = self.going_down.get(machine).copied().flatten();
        since.is_some_and(|at| (Span::ZERO..=self.patience).contains(&now.since(at)))
    }

    fn observe_system(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let host = event.host().unwrap_or_default().to_ascii_lowercase();
        let key = Key::new(event.source, cx.key_hasher.hash_name(&host));
        match &*event.action {
            // A machine that goes down stops everything; that it is gone is seen by its silence.
            "log_service_stop" if self.is_going_down(key, event.timestamp) => {}
            "log_service_stop" => {
                if let Some((key, event)) = self.pending.push(key, event) {
                    fire(key, &event, cx);
                }
            }
            "log_service_start" => self.pending.excuse(|waiting, stopped| {
                waiting == key && stopped.account_name == event.account_name
            }),
            "host_shutdown" => {
                let (last, _) = self.going_down.touch(key, event.timestamp, cx.stale_before);
                *last = Some(event.timestamp);
                self.pending.excuse(|waiting, _| waiting == key);
            }
            "sudo" if ends_logging(event.resource_id.as_deref().unwrap_or_default()) => {
                fire(key, event, cx);
            }
            _ => {}
        }
    }
}

impl Rule for LoggingStopped {
    fn needs_clock(&self) -> bool {
        true
    }

    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        if event.source == Source::Syslog {
            self.observe_system(event, cx);
        } else if &*event.action == "schema_change"
            && logged_statement(event).is_some_and(|statement| ends_database_log(&statement))
        {
            let host = event.host().unwrap_or_default().to_ascii_lowercase();
            fire(
                Key::new(event.source, cx.key_hasher.hash_name(&host)),
                event,
                cx,
            );
        }
    }

    fn advance_watermark(&mut self, source: Source, now: Timestamp, cx: &mut Context<'_>) {
        for (key, event) in self.pending.take_due(source, now, cx) {
            fire(key, &event, cx);
        }
    }

    fn finish(&mut self, cx: &mut Context<'_>) {
        self.advance_watermark(Source::Syslog, Timestamp::MAX, cx);
    }

    fn usage(&self) -> Usage {
        Usage {
            keys: self.pending.len() + self.going_down.len(),
            evicted: self.going_down.evicted(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_end_logging_are_known() {
        for command in [
            "/usr/bin/systemctl stop rsyslog",
            "/bin/systemctl --now disable auditd.service",
            "/usr/sbin/service rsyslog stop",
            "/sbin/auditctl -e 0",
            "/sbin/auditctl -D",
            "/usr/bin/pkill -9 rsyslogd",
            "/bin/ls ; USER=root ; COMMAND=/bin/systemctl stop rsyslog",
        ] {
            assert!(ends_logging(command), "{command}");
        }
        for command in [
            "/usr/bin/systemctl restart rsyslog",
            "/usr/bin/systemctl stop nginx",
            "/usr/sbin/service rsyslog restart",
            "/sbin/auditctl -l",
            "/usr/bin/vi /etc/rsyslog.conf",
            "",
        ] {
            assert!(!ends_logging(command), "{command}");
        }
    }

    #[test]
    fn statements_that_end_logging_are_known() {
        for statement in [
            "ALTER SYSTEM SET logging_collector = off",
            "alter system set log_statement = 'none'",
            "SELECT 1; ALTER SYSTEM RESET log_connections",
            "SET log_statement = 'none'",
            "SET SESSION log_min_messages TO panic",
            "SELECT set_config('log_statement', 'none', false)",
            "ALTER ROLE eve SET log_statement = 'none'",
            "ALTER DATABASE app SET pgaudit.log TO none",
        ] {
            assert!(ends_database_log(statement), "{statement}");
        }
        for statement in [
            "ALTER SYSTEM SET log_connections = on",
            "ALTER SYSTEM SET work_mem = '64MB'",
            "SET log_statement = 'all'",
            "SELECT set_config('log_min_messages', 'warning', false)",
            "ALTER ROLE eve RESET log_statement",
            "SELECT 'none' FROM log_statement",
            "SELECT 'ALTER SYSTEM SET logging_collector = off'",
        ] {
            assert!(!ends_database_log(statement), "{statement}");
        }
    }
}
