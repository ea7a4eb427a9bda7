//! Keys that have a new name. The old one still works, with a warning; both at once are an error.

/// Old and new names, in the order in which they are applied: sections before their keys. `[]`
/// stands for each element of a list, within which only the last part changes.
const RENAMED: &[(&str, &str)] = &[
    ("personnel", "contacts"),
    ("contacts.people[].mail", "contacts.people[].email"),
    ("escalation.rota", "on_call"),
    ("on_call.begins", "on_call.start"),
    ("escalation.tiers[].on_duty", "escalation.tiers[].on_call"),
    ("escalation.ack_url", "escalation.public_url"),
    ("escalation.ack_valid", "escalation.ack_link_ttl"),
    ("monitor.poll", "detection.poll_interval"),
    ("monitor.batch_max_events", "detection.batch_max_events"),
    ("detection.settle", "detection.allowed_lateness"),
    ("alerts.messages", "alerts.rate_limit.messages"),
    ("alerts.messages_per", "alerts.rate_limit.per"),
    ("heartbeat.every", "heartbeat.interval"),
    ("compliance.every", "compliance.interval"),
    ("watchdog.every", "watchdog.interval"),
    ("watchdog.database_away", "watchdog.database_down_after"),
    ("monitors.every", "monitors.interval"),
    ("monitors.keep", "monitors.retention"),
    ("monitors.off", "monitors.disabled"),
    ("collect.keep_months", "collect.retention_months"),
    (
        "collect.listener_spool_max_bytes",
        "collect.listener_spool_max_size",
    ),
    ("collect.files[].every", "collect.files[].expected_interval"),
    (
        "collect.journals[].every",
        "collect.journals[].expected_interval",
    ),
    (
        "collect.listeners[].every",
        "collect.listeners[].expected_interval",
    ),
    (
        "collect.databases[].every",
        "collect.databases[].expected_interval",
    ),
    (
        "collect.databases[].poll",
        "collect.databases[].poll_interval",
    ),
    (
        "collect.databases[].sweep",
        "collect.databases[].full_scan_interval",
    ),
    ("advisories.feeds[].every", "advisories.feeds[].interval"),
    (
        "advisories.inventories[].every",
        "advisories.inventories[].interval",
    ),
    ("ingest.max_body_bytes", "ingest.max_body_size"),
    ("ingest.queue_max_bytes", "ingest.queue_max_size"),
    ("ingest.spool_max_bytes", "ingest.spool_max_size"),
    ("channels.console.colour", "channels.console.color"),
    (
        "channels.syslog.max_message_bytes",
        "channels.syslog.max_message_size",
    ),
    (
        "channels.ocsf.max_message_bytes",
        "channels.ocsf.max_message_size",
    ),
    (
        "channels.cef.max_message_bytes",
        "channels.cef.max_message_size",
    ),
];

/// One renaming: the old name and the new one, both from the top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Renaming {
    pub(crate) old: String,
    pub(crate) new: String,
}

/// Every renaming, with `[]` in place of an index.
pub(crate) fn all() -> impl Iterator<Item = Renaming> {
    RENAMED.iter().map(|(old, new)| Renaming {
        old: (*old).to_owned(),
        new: (*new).to_owned(),
    })
}

/// The present name of a key, if `path` is an old one or below one.
pub(crate) fn present(path: &str) -> Option<String> {
    let mut now = path.to_owned();
    for (old, new) in RENAMED {
        let below = now
            .strip_prefix(old)
            .filter(|rest| rest.is_empty() || rest.starts_with('.'))
            .map(str::to_owned);
        if let Some(rest) = below {
            now = format!("{new}{rest}");
        }
    }

    (now != path).then_some(now)
}
