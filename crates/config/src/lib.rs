//! `blueteam.toml`, one file per section.
//!
//! Every key has a default, is known (a misspelled one is an error that names its line and the key
//! that was probably meant), and can be overridden by `BLUETEAM_<SECTION>__<KEY>`. Secrets never
//! stand in the file: they come from files that it names, or from the environment.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use model::time::BusinessHours;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub mod advisories;
mod alerts;
mod channels;
mod collect;
mod compliance;
mod console;
mod contacts;
mod database;
mod detection;
mod document;
mod doubts;
mod error;
mod escalation;
mod incidents;
mod ingest;
mod logging;
mod monitors;
mod notices;
mod on_call;

mod redteam;
mod reference;
mod renamed;
pub mod rules;
mod secrets;
mod state_dir;
mod watchdog;
mod wording;

pub use crate::advisories::Advisories;
pub use crate::monitors::Monitors;
pub use alerts::{Alerts, Override, RateLimit};
pub use collect::{Address, Collect, File, Listener, TlsPair};
pub use compliance::Compliance;
pub use console::{Console, Ldap, Oidc, RoleOfGroup, Sessions};
pub use contacts::{Contacts, Person};
pub use database::Database;
pub use detection::Detection;
pub use error::{ConfigError, ConfigErrors, Place};
pub use escalation::{Escalation, Tier};
pub use incidents::Incidents;
pub use ingest::Ingest;
pub use logging::{LogFormat, Logging};
pub use notices::{Digest, Heartbeat};
pub use notify::Sections as Channels;
pub use on_call::{Absence, OnCall};
pub use redteam::RedTeam;
pub use reference::reference;
pub use secrets::{NOT_SHOWN, Secrets, names_file, typed as typed_secrets};
pub use state_dir::{StateDir, service_config};
pub use watchdog::Watchdog;
pub use wording::nearest;

use document::Document;
use error::Problem;

/// The sample at the root of the repository: every key with its default.
pub const SAMPLE: &str = include_str!("../../../blueteam.sample.toml");

/// Everything that an operator may set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// PostgreSQL.
    pub database: Database,
    /// The HTTP server for events.
    pub ingest: Ingest,
    /// When people are expected to be at work.
    pub business_hours: BusinessHours,
    /// The engine as a whole.
    pub detection: Detection,
    /// Parameters of single rules; each rule checks its own.
    pub rules: BTreeMap<String, Value>,
    /// Which alert takes which channel.
    pub alerts: Alerts,
    /// The people, by name.
    pub contacts: Contacts,
    /// Whom to notify when an alert is not acknowledged.
    pub escalation: Escalation,
    /// Whose turn it is.
    pub on_call: OnCall,
    /// What happened, once a day.
    pub digest: Digest,
    /// That messages arrive, on schedule.
    pub heartbeat: Heartbeat,
    /// Who lets people in besides blueteam itself.
    pub console: Console,
    /// The checks on schedule, and who is reminded.
    pub compliance: Compliance,
    /// Playbooks, clocks, and who is warned of them; how evidence is kept and signed.
    pub incidents: Incidents,
    /// The ways out.
    pub channels: Channels,
    /// The service that notices when blueteam is gone.
    pub watchdog: Watchdog,
    /// What is measured, and when that is an alert.
    pub monitors: Monitors,
    /// Log files and sockets.
    pub collect: Collect,
    /// Feeds of advisories, and inventories.
    pub advisories: Advisories,
    /// Where reports of the red team come from.
    pub redteam: RedTeam,
    /// The program's own log.
    pub logging: Logging,
}

/// A configuration that is right, with its secrets read.
#[derive(Debug)]
pub struct Loaded {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// What the file and the environment say.
    pub config: Config,
    /// What must not be shown.
    pub secrets: Secrets,
    /// Old names of keys that are used, each with its place and its new name.
    pub renamed: Vec<String>,
    /// What is probably not meant: files that do not exist, variables that set nothing.
    pub doubts: Vec<String>,
}

/// Reads the file (none: defaults), lets the environment override it, checks all of it, each rule
/// its own parameters, and reads the secrets. `env` is [`environment`], but for tests.
pub fn load(
    file: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, ConfigErrors> {
    let env: BTreeMap<_, _> = env.into_iter().collect();
    let (name, text) = match file {
        Some(path) => {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path).map_err(|error| {
                ConfigErrors::one(
                    Place::Whole(name.clone()),
                    "",
                    format!("cannot be read: {error}"),
                )
            })?;
            (name, text)
        }
        None => ("defaults".to_owned(), String::new()),
    };

    let (read, mut errors) = read_document(&name, &text, &env)?;
    let Some((config, document)) = read else {
        return Err(errors);
    };
    let secrets = Secrets::read(&config, &env).unwrap_or_else(|found| {
        errors.0.extend(found.0);
        Secrets::default()
    });
    if !errors.0.is_empty() {
        return Err(errors);
    }

    let doubts = document.locate(doubts::of_files(&config)).0;
    let doubts = doubts.iter().map(ToString::to_string);
    Ok(Loaded {
        file: file.map(Path::to_owned),
        doubts: doubts
            .chain(doubts::of_variables(&env, &default_tree()?))
            .collect(),
        config,
        secrets,
        renamed: document.warnings().to_vec(),
    })
}

/// The process's environment. A text that is no UTF-8 keeps its readable part: `std::env::vars`
/// would panic on it.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().map(|(name, value)| {
        (
            name.to_string_lossy().into_owned(),
            value.to_string_lossy().into_owned(),
        )
    })
}

/// The part of [`load`] that touches no file: `name` is what errors call the text.
pub fn parse(
    name: &str,
    text: &str,
    env: &BTreeMap<String, String>,
) -> Result<Config, ConfigErrors> {
    match read_document(name, text, env)? {
        (Some((config, _)), errors) if errors.0.is_empty() => Ok(config),
        (_, errors) => Err(errors),
    }
}

/// The configuration with the document that it was read from, and everything that is wrong with it.
type Read = (Option<(Config, Document)>, ConfigErrors);

fn default_tree() -> Result<Value, ConfigErrors> {
    serde_json::to_value(Config::default()).map_err(|error| {
        ConfigErrors::one(Place::Whole("defaults".to_owned()), "", error.to_string())
    })
}

fn read_document(
    name: &str,
    text: &str,
    env: &BTreeMap<String, String>,
) -> Result<Read, ConfigErrors> {
    let defaults = default_tree()?;
    let mut document = Document::parse(name, text)?;
    let mut errors = document.override_by(env, &defaults);
    let reading = document.read::<Config>(&defaults);
    errors.extend(reading.errors);

    let Some(config) = reading.value else {
        return Ok((None, ConfigErrors(errors)));
    };

    // What could not be read has its default by now, of which nothing needs to be said.
    let found = document.locate(config.problems()).0;
    let is_new = |found: &ConfigError| !errors.iter().any(|error| error.key == found.key);
    let found: Vec<ConfigError> = found.into_iter().filter(is_new).collect();
    errors.extend(found);
    errors.sort_by_key(|error| error.place.line());

    Ok((Some((config, document)), ConfigErrors(errors)))
}

/// Old names of keys with the present ones; `[]` stands for each element of a list.
pub fn renamed_keys() -> impl Iterator<Item = (String, String)> {
    renamed::all().map(|renaming| (renaming.old, renaming.new))
}

impl Loaded {
    /// Opens the configured channels. `color` is what `auto` means here; `hostname` is this
    /// machine's name; reads the `ca_file`s.
    pub fn open_channels(
        &self,
        stdout: Box<dyn Write + Send>,
        color: bool,
        hostname: &str,
    ) -> anyhow::Result<notify::Channels> {
        let surroundings = notify::channels::Surroundings {
            secrets: &self.secrets.channels,
            hostname,
            stdout,
            color,
            audit_failures: self.config.contacts.for_audit_failures(),
        };
        Ok(notify::Channels::open(&self.config.channels, surroundings)?)
    }
}

impl Config {
    /// Returns what serde cannot find: values that are valid by themselves but cannot be used.
    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        self.database.check(&mut problems);
        self.ingest.check(&mut problems);
        self.watchdog.check(&mut problems);
        self.monitors.check(&mut problems);
        self.detection.check(&mut problems);
        channels::check(&self.channels, &mut problems);

        self.alerts
            .check(&self.channels, || rules::rule_ids(self), &mut problems);
        self.digest.check(&self.channels, &mut problems);
        self.heartbeat.check(&self.channels, &mut problems);
        self.compliance.check(&self.channels, &mut problems);
        self.incidents.check(&self.channels, &mut problems);
        self.console.check(&mut problems);
        if self.console.address() == Some(self.ingest.listen) {
            problems.push(Problem::new(
                "console.listen",
                "is the same as ingest.listen: leave it out, or take another",
            ));
        }

        self.contacts.check(&mut problems);
        self.escalation
            .check(&self.channels, &self.contacts, &self.on_call, &mut problems);
        self.on_call.check(&self.contacts, &mut problems);
        self.collect.check(&mut problems);
        self.advisories.check(&mut problems);
        self.redteam.check(&mut problems);

        if let Err(error) = model::time::Calendar::new(self.business_hours.clone()) {
            let key = match error {
                model::time::BusinessHoursError::Zone(_) => "business_hours.time_zone",
                model::time::BusinessHoursError::Order => "business_hours.end",
            };
            problems.push(Problem::new(key, error.to_string()));
        }

        for (rule, params) in &self.rules {
            rules::check(rule, params, &mut problems);
        }
        self.logging.check(&mut problems);

        problems
    }
}

impl Config {
    /// The severities of which nobody is told at once because no channel of theirs is configured,
    /// the worst first.
    pub fn untold(&self) -> Vec<model::Severity> {
        self.alerts.untold(&self.channels)
    }

    /// Returns settings that are valid and probably not meant: severities and digests that notify
    /// no one.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let untold: Vec<&str> = self
            .untold()
            .iter()
            .map(|severity| severity.as_str())
            .collect();

        if !untold.is_empty() {
            let which = untold.join(" and ");
            warnings.push(format!(
                "nobody is notified of {which} alerts: no channel that they take is configured \
                    ([channels], [alerts])"
            ));
        }

        if self.digest.channels(&self.channels).is_empty() && !self.digest.channels.is_empty() {
            let wanted: Vec<&str> = self
                .digest
                .channels
                .iter()
                .map(model::Channel::as_str)
                .collect();
            let wanted = wanted.join(", ");
            warnings.push(format!(
                "nobody gets the daily digest: digest.channels is {wanted}, which is not configured"
            ));
        }

        warnings
    }
}

/// A problem unless the number is at least 1.
fn check_positive(problems: &mut Vec<Problem>, key: &str, value: u64) {
    if value == 0 {
        problems.push(Problem::new(key, "must be at least 1"));
    }
}

/// A problem unless the length of time is longer than none.
fn check_lasting(problems: &mut Vec<Problem>, key: &str, value: model::Span) {
    if value <= model::Span::ZERO {
        problems.push(Problem::new(key, "must be longer than 0s"));
    }
}
