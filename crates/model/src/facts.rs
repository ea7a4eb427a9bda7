//! What was seen of a system at one time: all that a check may decide from. Recorded with the
//! evidence, so that an assessor can have the check decide again.
//!
//! A section that is none could not be read. Within a section, an `Option` that is none means the
//! same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Everything that was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// When.
    pub taken_at: Timestamp,
    /// Events, alerts and deliveries are counted over so many days before.
    pub days: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// What applications and logs said.
    pub events: Option<EventFacts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// Who said it, and whether all of it came.
    pub sources: Option<Vec<SourceFacts>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// Whether anything reads the events.
    pub daemon: Option<DaemonFacts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// How the record is guarded.
    pub database: Option<DatabaseFacts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// Accounts and keys.
    pub accounts: Option<AccountFacts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// What is looked for.
    pub rules: Option<Vec<RuleFacts>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// What was found, and who was notified.
    pub alerts: Option<AlertFacts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// What became of it.
    pub incidents: Option<IncidentFacts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// The compliance work itself.
    pub programme: Option<ProgrammeFacts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// Security advisories, and what became of them.
    pub advisories: Option<AdvisoryFacts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// How data moves.
    pub transport: Option<TransportFacts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// The machine that this program runs on.
    pub host: Option<HostFacts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// What the assessment is about, and which of it reports. Not in records of older versions.
    pub inventory: Option<InventoryFacts>,
}

impl Facts {
    /// Nothing seen yet.
    pub const fn none(taken_at: Timestamp, days: u16) -> Self {
        Self {
            taken_at,
            days,
            events: None,
            sources: None,
            daemon: None,
            database: None,
            accounts: None,
            rules: None,
            alerts: None,
            incidents: None,
            programme: None,
            advisories: None,
            transport: None,
            host: None,
            inventory: None,
        }
    }
}

/// The population that coverage is measured against: the asset inventory, and who reports of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryFacts {
    /// Assets in scope of the assessment, by name, ascending.
    pub in_scope: Vec<String>,
    /// When a person last found that the inventory is maintained (3.4.1\[f\]), if that still
    /// stands.
    pub confirmed: Option<Timestamp>,
    /// The name of the machine that blueteam runs on.
    pub this_host: Option<String>,
    /// Hosts whose records arrived, each with the number of days of the period on which they did.
    /// `None` if events do not say which host they are from.
    pub reporting: Option<BTreeMap<String, u16>>,
}

/// Events of the window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventFacts {
    /// All of them.
    pub total: u64,
    /// By type, the most frequent first.
    pub types: Vec<EventType>,
    /// The oldest event that is kept, of any age.
    pub oldest: Option<Timestamp>,
    /// Some of the newest, without their metadata.
    pub sample: Vec<SampleEvent>,
    /// What one user did lately, in order.
    pub chain: Vec<SampleEvent>,
}

/// Events of one category and action.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventType {
    /// `audit_db`, or the log.
    pub source: String,
    /// The category.
    pub category: String,
    /// The action.
    pub action: String,
    /// How many.
    pub events: u64,
    /// Of them, those that name a user.
    pub with_user: u64,
    /// Of them, those that name an address.
    pub with_address: u64,
    /// Of them, those that were refused or failed.
    pub refused: u64,
    /// Of them, those that touched CUI.
    #[serde(default)]
    pub cui: u64,
}

/// An event as a sample shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns of audit_events")]
pub struct SampleEvent {
    pub event_id: String,
    pub timestamp: Timestamp,
    pub category: String,
    pub action: String,
    pub result: String,
    pub user_id: Option<String>,
    /// The user's name, where it is known; not in facts that were recorded before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    pub ip_address: Option<String>,
    pub resource: Option<String>,
}

/// A source of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFacts {
    /// Its id.
    pub source_id: String,
    /// When it last spoke.
    pub last_received: Option<Timestamp>,
    /// Entries that could not be read.
    pub rejected: u64,
    /// Gaps that last.
    pub open_gaps: u64,
    /// Gaps of the window.
    pub gaps: u64,
    /// How far its clock is behind blueteam's, in milliseconds; negative when it is ahead.
    pub skew_ms: Option<i64>,
    // What follows came later: what older records do not have is left out, so that they are shown
    // as they were kept.
    /// What its events are: `syslog`, `nginx`, `audit_db`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Since when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<Timestamp>,
    /// Entries that were understood, ever: a source that is configured and has never spoken has
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub understood: Option<u64>,
    /// Entries of the window that could not be read. At least so many: only the newest are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<u64>,
}

/// The daemon, as the database knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonFacts {
    /// Its monitor is connected to the database now.
    pub running: bool,
    /// When its monitor last said that it reads the events; none when no monitor has ever run.
    pub pulse: Option<Timestamp>,
    /// When the earliest event that it has not read was stored; none when it has read all.
    pub unread_since: Option<Timestamp>,
}

/// The guards of the record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseFacts {
    /// Roles that could update, delete from or truncate a table of the record, as `role: right on
    /// table`. Superusers are not among them.
    pub may_change: Vec<String>,
    /// Logins other than superusers that own a table of the record, or may become its owner. An
    /// owner may remove the guards. `None` in records of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owners: Option<Vec<String>>,
    /// Tables and partitions of the record without an append-only trigger that always fires.
    pub unguarded: Vec<String>,
    /// Logins that are superusers.
    pub superusers: Vec<String>,
    /// Logins that may manage the record's configuration.
    pub managers: Vec<String>,
    /// Roles that may read the events.
    pub readers: Vec<String>,
    /// How the server keeps passwords: `scram-sha-256`, `md5`.
    pub password_encryption: String,
    /// Whether it has TLS.
    pub ssl: bool,
    /// Whether it checks its pages.
    pub checksums: bool,
    /// The addresses that it listens on; empty for none.
    pub listen_addresses: String,
    /// Its version.
    pub version: String,
}

/// Accounts of the product.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountFacts {
    /// Active accounts by role.
    pub active: BTreeMap<String, u64>,
    /// Password hashes by scheme; `none` for what is not a hash.
    pub schemes: BTreeMap<String, u64>,
    /// Active accounts that were not used for 90 days.
    pub idle: u64,
    /// Locked now.
    pub locked: u64,
    /// Temporary passwords that have logged in since and were not changed.
    pub temporary_used: u64,
    /// Accounts whose password was changed after they were made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<u64>,
    /// Of them, those of whose former passwords nothing is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_without_history: Option<u64>,
    /// Active keys.
    pub keys: u64,
    /// Of them, those that never expire.
    pub keys_without_end: u64,
    /// Of them, those that were not used for 90 days.
    pub keys_idle: u64,
}

/// A detection rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleFacts {
    /// Its id.
    pub rule_id: String,
    /// Whether it may fire.
    pub enabled: bool,
    /// The requirements that it serves.
    pub controls: Vec<String>,
    /// When it last fired.
    pub last_fired: Option<Timestamp>,
    /// When its fixtures last showed that it fires when it must and is silent when it must not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_proven: Option<Timestamp>,
    /// Whether they showed the opposite when they were last run.
    #[serde(default)]
    pub proof_failed: bool,
    /// Silent sources that it needs, or the kinds of which none has ever spoken. None in records
    /// from before it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blind_to: Option<Vec<String>>,
    /// Sources, or peers of listeners, of which too many lines are not understood.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partly_blind_to: Vec<String>,
    /// Its parameters that are not the defaults, for which its fixtures prove nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed_parameters: Vec<String>,
}

/// Alerts and deliveries of the window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertFacts {
    /// Alerts by severity.
    pub by_severity: BTreeMap<String, u64>,
    /// Of them, acknowledged.
    pub acknowledged: u64,
    /// Alerts about a failure of the record itself (rules `audit_log_gap` and `audit_tampering`).
    pub audit_failures: u64,
    /// Deliveries by channel and state, as `email delivered`.
    pub deliveries: BTreeMap<String, u64>,
    /// The channels that reach people by themselves. `None` in records of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_people: Option<Vec<String>>,
    /// Silences and maintenance windows that hold back messages now. `None` in records of older
    /// versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silences: Option<u64>,
    /// Some of the newest.
    pub sample: Vec<SampleAlert>,
}

/// An alert as a sample shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns of alert_history")]
pub struct SampleAlert {
    pub alert_id: String,
    pub rule_id: String,
    pub severity: String,
    pub title: String,
    pub created_at: Timestamp,
}

/// Incidents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentFacts {
    /// By status.
    pub by_status: BTreeMap<String, u64>,
    /// Closed ones without a root cause or lessons.
    pub closed_undocumented: u64,
    /// To be reported (DFARS 252.204-7012).
    pub reportable: u64,
}

/// The compliance work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgrammeFacts {
    /// Objectives in all.
    pub objectives: u64,
    /// Decided by a person within a year.
    pub decided_in_a_year: u64,
    /// Requirements that are not met.
    pub not_met: u64,
    /// Of them, without an open plan of action.
    pub unplanned: u64,
    /// Open plans past their date.
    pub plans_overdue: u64,
    /// Plans that were completed within the window.
    pub plans_completed: u64,
    /// Checks that ran within the window.
    pub checks_run: u64,
    /// Pieces of approved evidence that lapsed.
    pub lapsed: u64,
    /// Questions that were asked of the record within the window.
    pub queries: u64,
    /// When the types of logged events were last reviewed and signed off.
    pub last_review: Option<Timestamp>,
    /// Assets in scope, by category.
    pub assets: BTreeMap<String, u64>,
    /// When a system security plan was last approved as evidence of 3.12.4.
    pub plan_approved: Option<Timestamp>,
}

/// Security advisories.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdvisoryFacts {
    /// The feeds that are in use.
    pub feeds: Vec<FeedFacts>,
    /// Components that they are matched against.
    pub components: u64,
    /// Advisories about them that are not closed.
    pub open: u64,
    /// Of them, past their date.
    pub overdue: u64,
    /// Closed within the window by a person who gave a reason.
    pub answered: u64,
}

/// A feed of advisories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedFacts {
    /// Its name.
    pub name: String,
    /// Advisories that it listed.
    pub items: u64,
    /// When it was last read.
    pub read_at: Timestamp,
    /// It could not be read since.
    pub failed: bool,
}

/// How data moves, by the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransportFacts {
    /// Ways on which data may leave the machine or reach it, each with whether it is encrypted.
    pub ways: Vec<Way>,
    /// Channels that are switched on.
    pub channels: Vec<String>,
    /// The people, by name, who get mail when auditing fails; none: this was not asked yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_failures: Option<Vec<String>>,
}

/// One way of data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// What it is.
    pub name: String,
    /// It stays on the machine.
    pub local: bool,
    /// It is encrypted.
    pub encrypted: bool,
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Its operating system.
    pub os: Option<String>,
    /// Whether the kernel runs in FIPS mode.
    pub fips: Option<bool>,
    /// Whether the disk under the data is encrypted.
    pub data_encrypted: Option<bool>,
    /// Whether its clock follows an authoritative one.
    pub clock_synchronised: Option<bool>,
    /// The servers that the clock follows.
    pub time_servers: Vec<String>,
    /// TCP ports that are open to others, ascending.
    pub open_ports: Vec<u16>,
    /// Installed packages, how many.
    pub packages: Option<u64>,
    /// SHA-256 over names and versions of the packages, ascending.
    pub packages_sha256: Option<String>,
    /// What differs from the approved baseline, by name; none when there is no approved baseline.
    pub drift: Option<Vec<String>>,
    /// The settings of the SSH server that matter, lower case.
    pub sshd: Option<BTreeMap<String, String>>,
    /// Failed logins after which PAM locks an account (`pam_faillock`).
    pub lock_after: Option<u32>,
    /// Rules for new passwords (`pwquality.conf`).
    pub pwquality: Option<BTreeMap<String, String>>,
    /// Passwords that PAM remembers (`remember=`).
    pub remembered: Option<u32>,
    /// Seconds without input after which a shell ends (`TMOUT`).
    pub shell_timeout: Option<u32>,
    /// Whether security updates are installed without a person.
    pub automatic_updates: Option<bool>,
    /// When the list of packages was last fetched.
    pub updates_checked: Option<Timestamp>,
    /// The scanner for malicious code, when there is one.
    pub malware_scanner: Option<String>,
    /// When its signatures were last updated.
    pub signatures_updated: Option<Timestamp>,
    // What follows came later: what older records do not have is left out, so that they are shown
    // as they were kept.
    /// Settings of the kernel that matter to its security, by the name that `sysctl` has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<BTreeMap<String, String>>,
    /// Services that systemd starts, ascending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<Vec<String>>,
    /// SHA-256 of files that configure security, by path; `unreadable` for those that blueteam may
    /// not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<BTreeMap<String, String>>,
    /// Of the files and folders that decide what runs, those that every account may write to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writable: Option<Vec<String>>,
}
