//! `[channels.*]`: the channels. A channel is configured when its section says where to send.

use std::fmt;
use std::io::Write;

use model::{Channel, Span};
use notify::channels::{cef, console, email, ocsf, syslog, webhook};
use notify::http_post::Target;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::chat::{Hook, Pagerduty};
use crate::check_lasting;
use crate::error::Problem;
use crate::secrets::Secrets;
use crate::siem::Siem;

/// Every channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Channels {
    /// The daemon's standard output.
    pub console: Console,
    /// Signed JSON over HTTP.
    pub webhook: Webhook,
    /// RFC 5424.
    pub syslog: Syslog,
    /// SMTP.
    pub email: Email,
    /// Slack.
    pub slack: Hook,
    /// Microsoft Teams.
    pub teams: Hook,
    /// PagerDuty.
    pub pagerduty: Pagerduty,
    /// OCSF over syslog.
    pub ocsf: Siem,
    /// CEF over syslog.
    pub cef: Siem,
}

/// `[channels.console]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Console {
    /// Whether alerts are written there.
    pub enabled: bool,
    /// Whether they are in color.
    pub color: Switch,
}

/// Yes, no, or as the surroundings ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Yes.
    Always,
    /// No.
    Never,
}

/// `[channels.webhook]`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webhook {
    /// Where to post; empty and no `url_file`: no webhook.
    pub url: String,
    /// A file that holds the URL, when it carries a token.
    pub url_file: String,
    /// A file that holds the secret of the signature.
    pub secret_file: String,
    /// Certificates (PEM) that are trusted besides the machine's.
    pub ca_file: String,
    /// The limit of one attempt.
    pub timeout: Span,
}

/// `[channels.syslog]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Syslog {
    /// `unix:/dev/log`, `udp:host:514`, `tcp:host:601` or `tls:host:6514`; empty: no syslog.
    pub target: String,
    /// Certificates (PEM) that are trusted besides the machine's, for TLS.
    pub ca_file: String,
    /// The facility.
    pub facility: String,
    /// This machine's name in the messages; empty: its host name.
    pub hostname: String,
    /// This program's name in the messages.
    pub app_name: String,
    /// The private enterprise number of the structured data.
    pub enterprise_id: u32,
    /// The longest message in bytes.
    #[serde(rename = "max_message_size", with = "crate::size::of_usize")]
    pub max_message_bytes: usize,
    /// The limit of one attempt.
    pub timeout: Span,
}

/// `[channels.email]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Email {
    /// The mail server; empty: no mail.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub security: EmailSecurity,
    /// The user name; empty: no login.
    pub username: String,
    /// A file that holds the password.
    pub password_file: String,
    /// The sender.
    pub from: String,
    /// Who gets every alert that goes by mail.
    pub to: Vec<String>,
    /// Certificates (PEM) that are trusted besides the machine's.
    pub ca_file: String,
    /// The limit of one attempt.
    pub timeout: Span,
}

/// How the connection to the mail server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmailSecurity {
    /// Upgraded on the submission port.
    Starttls,
    /// From the first byte.
    Tls,
    /// Not at all; only to this machine.
    Plain,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may hold a token.
        f.debug_struct("Webhook")
            .field("url_is_set", &!self.url.is_empty())
            .field("url_file", &self.url_file)
            .field("secret_file", &self.secret_file)
            .field("ca_file", &self.ca_file)
            .field("timeout", &self.timeout)
            .finish()
    }
}

impl Default for Console {
    fn default() -> Self {
        Self {
            enabled: true,
            color: Switch::Auto,
        }
    }
}

impl Default for Webhook {
    fn default() -> Self {
        let none = String::new;
        Self {
            url: none(),
            url_file: none(),
            secret_file: none(),
            ca_file: none(),
            timeout: Span::secs(10),
        }
    }
}

impl Default for Syslog {
    fn default() -> Self {
        Self {
            target: String::new(),
            ca_file: String::new(),
            facility: "authpriv".to_owned(),
            hostname: String::new(),
            app_name: "blueteam".to_owned(),
            enterprise_id: 32473,
            max_message_bytes: 2048,
            timeout: Span::secs(5),
        }
    }
}

impl Default for Email {
    fn default() -> Self {
        Self {
            host: String::new(),
            port: 587,
            security: EmailSecurity::Starttls,
            username: String::new(),
            password_file: String::new(),
            from: String::new(),
            to: Vec::new(),
            ca_file: String::new(),
            timeout: Span::secs(30),
        }
    }
}

impl Channels {
    /// Returns the channels whose section says where to send.
    pub fn configured(&self) -> Vec<Channel> {
        let webhook = !self.webhook.url.is_empty() || !self.webhook.url_file.is_empty();
        [
            (Channel::Console, self.console.enabled),
            (Channel::Syslog, !self.syslog.target.is_empty()),
            (Channel::Email, !self.email.host.is_empty()),
            (Channel::Webhook, webhook),
            (Channel::Slack, !self.slack.url_file.is_empty()),
            (Channel::Teams, !self.teams.url_file.is_empty()),
            (
                Channel::Pagerduty,
                !self.pagerduty.routing_key_file.is_empty(),
            ),
            (Channel::Ocsf, !self.ocsf.target.is_empty()),
            (Channel::Cef, !self.cef.target.is_empty()),
        ]
        .into_iter()
        .filter_map(|(channel, on)| on.then_some(channel))
        .collect()
    }

    pub(super) fn settings(
        &self,
        secrets: &Secrets,
        stdout: Box<dyn Write + Send>,
        color: bool,
        hostname: &str,
    ) -> anyhow::Result<notify::Settings> {
        let configured = self.configured();
        let on = |channel| configured.contains(&channel);
        let color = match self.console.color {
            Switch::Auto => color,
            Switch::Always => true,
            Switch::Never => false,
        };

        Ok(notify::Settings {
            console: on(Channel::Console).then_some(console::Settings {
                writer: stdout,
                color,
            }),
            syslog: if on(Channel::Syslog) {
                Some(self.syslog.settings(hostname)?)
            } else {
                None
            },
            email: if on(Channel::Email) {
                Some(self.email.settings(secrets)?)
            } else {
                None
            },
            webhook: if on(Channel::Webhook) {
                Some(self.webhook.settings(secrets)?)
            } else {
                None
            },
            slack: self.slack.target(secrets.slack_url.as_ref())?,
            teams: self.teams.target(secrets.teams_url.as_ref())?,
            pagerduty: self.pagerduty.settings(secrets.pagerduty_key.as_ref())?,
            ocsf: self.ocsf.receiver(hostname)?,
            cef: self.cef.receiver(hostname)?,
        })
    }

    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        let (syslog, email, webhook) = (&self.syslog, &self.email, &self.webhook);
        let mut bad = |key: &str, message: String| {
            problems.push(Problem::new(format!("channels.{key}"), message));
        };
        if !syslog.target.is_empty()
            && let Err(error) = syslog.target.parse::<syslog::Target>()
        {
            bad("syslog.target", error.to_string());
        }
        if let Err(error) = syslog.facility.parse::<syslog::Facility>() {
            bad("syslog.facility", error.to_string());
        }
        if !(syslog::MESSAGE_MIN..=syslog::MESSAGE_MAX).contains(&syslog.max_message_bytes) {
            bad(
                "syslog.max_message_size",
                format!(
                    "must be from {} to {}",
                    syslog::MESSAGE_MIN,
                    syslog::MESSAGE_MAX
                ),
            );
        }
        if !email.host.is_empty() && email.from.is_empty() {
            bad(
                "email.from",
                "must be set, because a mail server is".to_owned(),
            );
        }
        if !email.host.is_empty() && email.to.is_empty() {
            bad(
                "email.to",
                "must name an address, because a mail server is set".to_owned(),
            );
        }
        let mut addresses = vec![("email.from".to_owned(), &email.from)];
        addresses.extend((0..).map(|i| format!("email.to[{i}]")).zip(&email.to));
        for (key, address) in addresses {
            if !address.is_empty() && !email::is_mailbox(address) {
                let example = "`ann@example.com` or `Ann Lee <ann@example.com>`";
                bad(
                    &key,
                    format!("`{address}` is not a mail address such as {example}"),
                );
            }
        }
        if !webhook.url.is_empty() && !webhook.url_file.is_empty() {
            bad("webhook.url", "and url_file exclude each other".to_owned());
        }
        self.ocsf
            .check("channels.ocsf", ocsf::MESSAGE_MIN, problems);
        self.cef.check("channels.cef", cef::MESSAGE_MIN, problems);
        check_lasting(problems, "channels.webhook.timeout", webhook.timeout);
        check_lasting(problems, "channels.syslog.timeout", syslog.timeout);
        check_lasting(problems, "channels.email.timeout", email.timeout);
        check_lasting(problems, "channels.slack.timeout", self.slack.timeout);
        check_lasting(problems, "channels.teams.timeout", self.teams.timeout);
        check_lasting(
            problems,
            "channels.pagerduty.timeout",
            self.pagerduty.timeout,
        );
    }
}

impl Syslog {
    fn settings(&self, hostname: &str) -> anyhow::Result<syslog::Settings> {
        let receiver = syslog::Receiver {
            target: self.target.parse()?,
            ca_pem: pem(&self.ca_file)?,
            facility: self.facility.parse()?,
            hostname: if self.hostname.is_empty() {
                hostname.to_owned()
            } else {
                self.hostname.clone()
            },
            app_name: self.app_name.clone(),
            max_message_bytes: self.max_message_bytes,
            timeout: self.timeout.to_std(),
        };

        Ok(syslog::Settings {
            receiver,
            enterprise_id: self.enterprise_id,
        })
    }
}

impl Email {
    fn settings(&self, secrets: &Secrets) -> anyhow::Result<email::Settings> {
        let login = match (&secrets.email_password, self.username.is_empty()) {
            (_, true) => None,
            (Some(password), false) => Some((self.username.clone(), copy(password))),
            (None, false) => {
                anyhow::bail!(
                    "channels.email.username is set, but neither password_file nor the variable"
                )
            }
        };

        Ok(email::Settings {
            host: self.host.clone(),
            port: self.port,
            security: match self.security {
                EmailSecurity::Starttls => email::Security::StartTls,
                EmailSecurity::Tls => email::Security::Tls,
                EmailSecurity::Plain => email::Security::Plain,
            },
            login,
            from: self.from.clone(),
            to: self.to.clone(),
            audit_failures: Vec::new(),
            ca_pem: pem(&self.ca_file)?,
            timeout: self.timeout.to_std(),
        })
    }
}

impl Webhook {
    fn settings(&self, secrets: &Secrets) -> anyhow::Result<webhook::Settings> {
        let url = secrets
            .webhook_url
            .as_ref()
            .ok_or_else(|| anyhow::anyhow!("channels.webhook: no URL"))?;
        let secret = secrets.webhook_secret.as_ref().ok_or_else(|| {
            anyhow::anyhow!(
                "channels.webhook: set secret_file, so that the receiver can tell who sends"
            )
        })?;

        Ok(webhook::Settings {
            target: Target {
                url: copy(url),
                ca_pem: pem(&self.ca_file)?,
                timeout: self.timeout.to_std(),
            },
            secret: copy(secret),
        })
    }
}

pub(super) fn copy(secret: &SecretString) -> SecretString {
    SecretString::from(secret.expose_secret())
}

pub(super) fn pem(file: &str) -> anyhow::Result<Option<String>> {
    use anyhow::Context as _;
    if file.is_empty() {
        return Ok(None);
    }
    std::fs::read_to_string(file)
        .map(Some)
        .with_context(|| format!("cannot read the certificates in {file}"))
}
