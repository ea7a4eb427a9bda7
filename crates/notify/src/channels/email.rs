//! Mail over SMTP: STARTTLS, TLS from the start, or plain text to this machine only.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use lettre::Address;
use lettre::message::Mailbox;
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use model::{Channel, Severity};
use rustls::ClientConfig;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{Audience, Definition, Greeting, Outlet, Scheduled, Sending};
use crate::error::{Receipt, SendError, SetupError, chain, tidy};
use crate::notification::{Notification, Person};
use crate::tls;

mod body;
mod connection;
mod section;

pub use section::Section;

pub(super) const DEFINITION: Definition = Definition {
    channel: Channel::named("email"),
    audience: Audience::People,
    resolves: false,
    names_people: true,
    severities: &[Severity::Critical, Severity::High],
    scheduled: Scheduled::All,
    // Mail servers take few connections from one sender.
    parallel_sends: 4,
};

/// How the connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// Upgrades to TLS on the submission port; fails without it.
    StartTls,
    /// TLS from the first byte (port 465).
    Tls,
    /// None; only to this machine.
    Plain,
}

/// The mail server and who gets the mail.
#[derive(Debug)]
pub struct Settings {
    /// The server's name, which its certificate must carry.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub security: Security,
    /// User name and password, where the server wants them.
    pub login: Option<(String, SecretString)>,
    /// The sender, `Name <a@b>` or `a@b`.
    pub from: String,
    /// Who gets the mail.
    pub to: Vec<String>,
    /// Who is also notified when auditing fails (3.3.4).
    pub audit_failures: Vec<Person>,
    /// Certificates (PEM) that are trusted besides the machine's.
    pub ca_pem: Option<String>,
    /// The limit of one attempt, from name lookup to the server's last word.
    pub timeout: Duration,
}

/// The control that asks for an alert in the event of an audit logging failure.
const AUDIT_FAILURE: &str = "3.3.4";

/// Whether a text is a mail address, with or without a name before it.
fn is_mailbox(text: &str) -> bool {
    text.parse::<Mailbox>().is_ok()
}

struct Email {
    host: String,
    port: u16,
    security: Security,
    /// For TLS from the first byte.
    tls: Option<Arc<ClientConfig>>,
    starttls: Option<TlsParameters>,
    login: Option<Credentials>,
    from: Mailbox,
    to: Vec<Mailbox>,
    personnel: Vec<Mailbox>,
    /// Who is responsible for audit failures, in a line for the reader; empty when nobody is named.
    responsible: String,
    hello: ClientId,
    timeout: Duration,
}

/// Makes the channel ready.
pub fn outlet(settings: Settings) -> Result<Box<dyn Outlet>, SetupError> {
    let bad = |key, message: String| SetupError::new(DEFINITION.channel, key, message);
    if settings.security == Security::Plain && !tls::is_loopback(&settings.host) {
        return Err(bad(
            "security",
            "`plain` is only for a mail server on this machine".to_owned(),
        ));
    }

    let mailbox = |key, text: &str| {
        text.parse::<Mailbox>()
            .map_err(|error| bad(key, format!("`{text}`: {error}")))
    };

    let from = mailbox("from", &settings.from)?;
    let to: Vec<_> = settings
        .to
        .iter()
        .map(|to| mailbox("to", to))
        .collect::<Result<_, _>>()?;
    if to.is_empty() {
        return Err(bad("to", "names nobody".to_owned()));
    }

    let mailbox =
        |person: &Person| to_mailbox(person).map_err(|error| bad("audit_failures", error));
    let personnel = settings
        .audit_failures
        .iter()
        .map(mailbox)
        .collect::<Result<_, _>>()?;
    // Checked by our own reader first, whose messages say more.
    let ca_pem = settings.ca_pem.as_deref();
    let tls = tls::client_config(ca_pem).map_err(|message| bad("ca_file", message))?;
    let starttls = match settings.security {
        Security::StartTls => Some(starttls_parameters(&settings.host, ca_pem)?),
        Security::Tls | Security::Plain => None,
    };

    Ok(Box::new(Email {
        hello: ClientId::default(),
        login: settings
            .login
            .map(|(user, password)| Credentials::new(user, password.expose_secret().to_owned())),
        host: settings.host,
        port: settings.port,
        security: settings.security,
        timeout: settings.timeout,
        tls: (settings.security == Security::Tls).then(|| Arc::new(tls)),
        starttls,
        from,
        to,
        personnel,
        responsible: settings
            .audit_failures
            .iter()
            .map(display_name)
            .collect::<Vec<_>>()
            .join(", "),
    }))
}

fn starttls_parameters(host: &str, ca_pem: Option<&str>) -> Result<TlsParameters, SetupError> {
    let bad = |key, error: &smtp::Error| SetupError::new(DEFINITION.channel, key, chain(error));
    let mut parameters = TlsParameters::builder(host.to_owned());
    if let Some(pem) = ca_pem {
        let certificate =
            Certificate::from_pem(pem.as_bytes()).map_err(|error| bad("ca_file", &error))?;
        parameters = parameters.add_root_certificate(certificate);
    }

    parameters
        .build_rustls()
        .map_err(|error| bad("host", &error))
}

/// The mailbox of a person.
fn to_mailbox(person: &Person) -> Result<Mailbox, String> {
    let address = person
        .mail
        .parse::<Address>()
        .map_err(|error| format!("`{}`: {error}", person.mail))?;
    Ok(Mailbox::new(Some(person.name.clone()), address))
}

/// `Ann Lee (+1 555 0100)`.
fn display_name(person: &Person) -> String {
    if person.phone.is_empty() {
        person.name.clone()
    } else {
        format!("{} ({})", person.name, person.phone)
    }
}

/// Whether the alert says that auditing fails.
fn is_audit_failure(message: &Notification) -> bool {
    message
        .content
        .as_alert()
        .nist_controls
        .iter()
        .any(|control| control.0 == AUDIT_FAILURE)
}

impl Outlet for Email {
    fn send<'a>(&'a self, message: &'a Notification) -> Sending<'a> {
        Box::pin(async move {
            let people: Result<Vec<_>, _> = message.people.iter().map(to_mailbox).collect();
            let people = people.map_err(|error| SendError::never(error, "check [contacts]"))?;
            let mut to = if people.is_empty() {
                self.to.clone()
            } else {
                people
            };

            let failure = is_audit_failure(message);
            if failure {
                to.extend(self.personnel.iter().cloned());
            }

            let responsible =
                Some(self.responsible.as_str()).filter(|names| failure && !names.is_empty());
            let mail = body::mail(&self.from, &to, message, responsible)?;
            match timeout(self.timeout, self.submit(&to, &mail)).await {
                Ok(result) => result,
                Err(_) => Err(SendError::later(
                    format!("{} did not take the mail in time", self.host),
                    "check the server",
                )),
            }
        })
    }

    fn greet(&self) -> Option<Greeting<'_>> {
        Some(Box::pin(async move {
            match timeout(self.timeout, self.say_hello()).await {
                Ok(result) => result,
                Err(_) => Err(SendError::later(
                    format!("{} did not answer in time", self.host),
                    "check the server",
                )),
            }
        }))
    }
}

impl Email {
    async fn say_hello(&self) -> Result<(), SendError> {
        let mut connection = self.connect().await?;
        // Whoever let us in is told that this was all; how that ends changes nothing.
        connection.abort().await;
        Ok(())
    }

    async fn submit(&self, to: &[Mailbox], mail: &[u8]) -> Result<Receipt, SendError> {
        let mut connection = self.connect().await?;
        let outcome = self.converse(&mut connection, to, mail).await;
        // The mail is accepted or refused by now; how the conversation ends changes nothing.
        connection.abort().await;
        outcome
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, SendError> {
        let stream = connection::connect(&self.host, self.port, self.tls.as_ref()).await;
        let stream = stream.map_err(|error| {
            let what = format!("{}: connection: {}", self.host, chain(&error));
            connection_error(what, false)
        })?;
        let greeted = AsyncSmtpConnection::connect_with_transport(stream, &self.hello);
        let mut connection = self.step("connection", greeted).await?;
        if self.security == Security::StartTls {
            let parameters = self
                .starttls
                .clone()
                .filter(|_| connection.can_starttls())
                .ok_or_else(|| {
                    SendError::later(
                        format!("{} offers no STARTTLS", self.host),
                        "mail is not sent in plain text; set security to `tls` or mend the server",
                    )
                })?;

            self.step("STARTTLS", connection.starttls(parameters, &self.hello))
                .await?;
        }

        if let Some(login) = &self.login {
            self.step(
                "login",
                connection.auth(&[Mechanism::Plain, Mechanism::Login], login),
            )
            .await?;
        }

        Ok(connection)
    }

    /// The server takes the mail for each recipient or refuses it; one bad address must not silence
    /// the alert for the rest.
    async fn converse(
        &self,
        connection: &mut AsyncSmtpConnection,
        to: &[Mailbox],
        mail: &[u8],
    ) -> Result<Receipt, SendError> {
        let sender = Mail::new(Some(self.from.email.clone()), Vec::new());
        self.step("sender", connection.command(sender)).await?;
        let mut refused = Vec::new();
        let unique: BTreeSet<&Address> = to.iter().map(|to| &to.email).collect();
        for address in &unique {
            let answer = connection.command(Rcpt::new((*address).clone(), Vec::new()));
            match self.step("recipient", answer).await {
                Ok(_) => {}
                Err(error) if connection.has_broken() => return Err(error),
                Err(error) => refused.push((address, error)),
            }
        }

        if refused.len() == unique.len() {
            // If anyone may be accepted later, all of it is worth another attempt.
            let worth = refused
                .iter()
                .position(|(_, error)| error.is_temporary())
                .unwrap_or(0);
            return Err(refused.swap_remove(worth).1);
        }

        self.step("DATA", connection.command(Data)).await?;
        let answer = self.step("message", connection.message(mail)).await?;
        let refuses = |address: &Address| refused.iter().any(|(of, _)| ***of == *address);
        let taken: Vec<String> = unique
            .iter()
            .filter(|a| !refuses(a))
            .map(ToString::to_string)
            .collect();
        let mut detail = format!(
            "to {}: {}",
            taken.join(", "),
            answer.first_line().unwrap_or("accepted")
        );

        for (address, error) in refused {
            detail = format!("NOT to {address} ({}); {detail}", error.what);
        }

        Ok(Receipt {
            detail: tidy(&detail),
        })
    }

    async fn step<T>(
        &self,
        step: &str,
        work: impl Future<Output = Result<T, smtp::Error>>,
    ) -> Result<T, SendError> {
        work.await.map_err(|error| {
            let what = format!("{}: {step}: {}", self.host, chain(&error));
            // A refused login is mended by a person with the same message still waiting; dropping
            // it would lose the alert.
            match (error.is_permanent(), step) {
                (true, "login") => {
                    SendError::later(what, "check username and password of [channels.email]")
                }
                (true, _) => SendError::never(what, "check from and to of [channels.email]"),
                (false, _) => connection_error(what, error.is_tls()),
            }
        })
    }
}

/// Why the server was not reached, or the conversation ended early.
fn connection_error(what: String, is_tls: bool) -> SendError {
    let mend = if is_tls || what.contains("certificate") {
        "check the server's certificate, host and ca_file"
    } else {
        "check that the mail server runs; nothing to do unless it lasts"
    };
    SendError::later(what, mend)
}
