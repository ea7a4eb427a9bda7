//! What a channel is: its definition, its section of the configuration, and its outlet. Each file
//! in `channels/` has one of each; everything else in the program asks these.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io::Write;
use std::pin::Pin;

use model::facts::Way;
use model::{Channel, Severity, Span};
use secrecy::{ExposeSecret as _, SecretString};

use crate::error::{Receipt, SendError, SetupError};
use crate::notification::{Notification, Person};
use crate::tls;

/// What the rest of the program must know of a channel.
#[derive(Debug)]
pub struct Definition {
    /// Its name: the file's, the section's in the configuration, and the word in the database.
    pub channel: Channel,
    /// Who takes its messages.
    pub audience: Audience,
    /// Whether the receiver keeps an alert open until a message says that it is over.
    pub resolves: bool,
    /// Whether a message can go to people by name; an escalation to people needs such a channel.
    pub names_people: bool,
    /// Severities whose alerts take it by default.
    pub severities: &'static [Severity],
    /// Scheduled messages that it carries.
    pub scheduled: Scheduled,
    /// How many sends may be under way at once.
    pub parallel_sends: usize,
}

/// Who takes the messages of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// People read one by one, so that new alerts are limited in number (`alerts.rate_limit`).
    People,
    /// A program of the operator's that reaches people, and takes as many as there are.
    Relay,
    /// A terminal or another system: no one is notified by itself.
    Machine,
}

impl Audience {
    /// Returns whether a message reaches people by itself.
    pub const fn reaches_people(self) -> bool {
        matches!(self, Self::People | Self::Relay)
    }
}

/// Scheduled messages: digests, reminders and heartbeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduled {
    /// All, by default.
    All,
    /// Heartbeats by default, the others where the configuration says so.
    Heartbeats,
    /// Those that the configuration says.
    WhereConfigured,
    /// None: each message pages someone.
    Never,
}

impl Definition {
    /// Sends under way at once, where nothing speaks for fewer. A channel that is slow or hangs
    /// does not delay the messages of others.
    pub const PARALLEL_SENDS: usize = 32;

    /// Returns whether its messages are limited in number, because people read each.
    pub fn is_limited(&self) -> bool {
        self.audience == Audience::People
    }
}

/// A channel's section of the configuration, as read from the file. Values that serde cannot check
/// are checked by [`Section::check`]; [`Section::open`] may rely on that.
pub trait Section: fmt::Debug + Send + Sync {
    /// Returns whether the section says where to send.
    fn is_configured(&self) -> bool;

    /// Reports values that are valid by themselves but cannot be used.
    fn check(&self, problems: &mut Problems);

    /// Returns the files of its secrets.
    fn secrets(&self) -> Vec<SecretFile<'_>> {
        Vec::new()
    }

    /// Returns the ways on which messages leave, and whether they are encrypted: evidence for
    /// 3.13.8. Empty if the channel is not configured.
    fn ways(&self) -> Vec<Way>;

    /// Returns who gets the messages that name no person, as mail addresses.
    fn readers(&self) -> &[String] {
        &[]
    }

    /// Makes the channel ready. Connects to nothing yet; reads the `ca_file`.
    fn open(&self, setup: &mut Setup<'_>) -> Result<Box<dyn Outlet>, SetupError>;
}

/// A send under way.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<Receipt, SendError>> + Send + 'a>>;

/// A greeting under way.
pub type Greeting<'a> = Pin<Box<dyn Future<Output = Result<(), SendError>> + Send + 'a>>;

/// A configured channel. Every send ends within the channel's own time limit.
pub trait Outlet: Send + Sync {
    /// Hands the message over, or says why not.
    fn send<'a>(&'a self, message: &'a Notification) -> Sending<'a>;

    /// Greets the other side and takes leave again, where that shows nobody a message; `None` where
    /// it cannot be done.
    fn greet(&self) -> Option<Greeting<'_>> {
        None
    }
}

/// A secret of a section, which is never in the configuration itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretFile<'a> {
    /// The key that names its file; ends in `_file`.
    pub key: &'static str,
    /// The file; empty: none.
    pub file: &'a str,
    /// Whether the variable `BLUETEAM_CHANNELS__<CHANNEL>__<KEY>`, without `_FILE`, may hold the
    /// secret in place of the file.
    pub by_variable: bool,
}

/// Secrets that were read, by channel and key of the file.
pub type Secrets = BTreeMap<(Channel, &'static str), SecretString>;

/// What channels are opened with besides their sections.
pub struct Surroundings<'a> {
    /// Secrets of all channels.
    pub secrets: &'a Secrets,
    /// This machine's name.
    pub hostname: &'a str,
    /// The program's standard output.
    pub stdout: Box<dyn Write + Send>,
    /// Whether it shows colors, where the configuration leaves that to the surroundings.
    pub color: bool,
    /// Who is notified when auditing fails (3.3.4).
    pub audit_failures: Vec<Person>,
}

/// What one channel is opened with.
pub struct Setup<'a> {
    /// The channel.
    pub channel: Channel,
    /// This machine's name.
    pub hostname: &'a str,
    /// Whether standard output shows colors.
    pub color: bool,
    /// Who is notified when auditing fails (3.3.4).
    pub audit_failures: &'a [Person],
    pub(crate) secrets: &'a Secrets,
    pub(crate) stdout: &'a mut Option<Box<dyn Write + Send>>,
}

impl Setup<'_> {
    /// Returns a secret, if there is one. `key` is that of its file.
    pub fn secret(&self, key: &'static str) -> Option<SecretString> {
        let secret = self.secrets.get(&(self.channel, key))?;
        Some(SecretString::from(secret.expose_secret()))
    }

    /// Returns a secret that the channel cannot do without.
    pub fn required_secret(&self, key: &'static str) -> Result<SecretString, SetupError> {
        self.secret(key)
            .ok_or_else(|| self.error(key, "must be set"))
    }

    /// Reads the certificates of a `ca_file`, if one is named.
    pub fn certificates(&self, file: &str) -> Result<Option<String>, SetupError> {
        tls::read_pem(file).map_err(|message| self.error("ca_file", message))
    }

    /// Takes standard output; only one channel writes there.
    pub fn take_stdout(&mut self) -> Box<dyn Write + Send> {
        self.stdout
            .take()
            .unwrap_or_else(|| Box::new(std::io::sink()))
    }

    /// Returns the error that a setting of this channel causes.
    pub fn error(&self, key: &'static str, message: impl Into<String>) -> SetupError {
        SetupError::new(self.channel, key, message)
    }
}

/// What is wrong with a section: keys below it, and what is wrong with each.
#[derive(Debug, Default)]
pub struct Problems(pub Vec<(String, String)>);

impl Problems {
    /// Adds one.
    pub fn add(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.0.push((key.into(), message.into()));
    }

    /// Adds one unless the limit of an attempt is longer than none.
    pub fn check_timeout(&mut self, timeout: Span) {
        if timeout <= Span::ZERO {
            self.add("timeout", "must be longer than 0s");
        }
    }
}
