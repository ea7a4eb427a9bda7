//! `[channels.email]`.

use model::Span;
use model::facts::Way;
use serde::{Deserialize, Serialize};

use super::{Security, Settings, is_mailbox, outlet};
use crate::channel::{Outlet, Problems, SecretFile, Setup};
use crate::error::SetupError;
use crate::ways;

/// `[channels.email]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Section {
    /// The mail server; empty: no mail.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub security: Security,
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

impl Default for Section {
    fn default() -> Self {
        Self {
            host: String::new(),
            port: 587,
            security: Security::StartTls,
            username: String::new(),
            password_file: String::new(),
            from: String::new(),
            to: Vec::new(),
            ca_file: String::new(),
            timeout: Span::secs(30),
        }
    }
}

impl crate::channel::Section for Section {
    fn is_configured(&self) -> bool {
        !self.host.is_empty()
    }

    fn check(&self, problems: &mut Problems) {
        if !self.host.is_empty() && self.from.is_empty() {
            problems.add("from", "must be set, because a mail server is");
        }
        if !self.host.is_empty() && self.to.is_empty() {
            problems.add("to", "must name an address, because a mail server is set");
        }

        let mut addresses = vec![("from".to_owned(), &self.from)];
        addresses.extend((0..).map(|i| format!("to[{i}]")).zip(&self.to));
        for (key, address) in addresses {
            if !address.is_empty() && !is_mailbox(address) {
                let example = "`ann@example.com` or `Ann Lee <ann@example.com>`";
                problems.add(
                    key,
                    format!("`{address}` is not a mail address such as {example}"),
                );
            }
        }
        problems.check_timeout(self.timeout);
    }

    fn secrets(&self) -> Vec<SecretFile<'_>> {
        vec![SecretFile {
            key: "password_file",
            file: &self.password_file,
            by_variable: true,
        }]
    }

    fn ways(&self) -> Vec<Way> {
        if self.host.is_empty() {
            return Vec::new();
        }

        vec![Way {
            name: format!("mail to {}:{}", self.host, self.port),
            local: ways::is_here(&self.host),
            encrypted: self.security != Security::Plain,
        }]
    }

    fn readers(&self) -> &[String] {
        &self.to
    }

    fn open(&self, setup: &mut Setup<'_>) -> Result<Box<dyn Outlet>, SetupError> {
        let login = match (setup.secret("password_file"), self.username.is_empty()) {
            (_, true) => None,
            (Some(password), false) => Some((self.username.clone(), password)),
            (None, false) => {
                let message = "is set, but neither password_file nor the variable";
                return Err(setup.error("username", message));
            }
        };

        outlet(Settings {
            host: self.host.clone(),
            port: self.port,
            security: self.security,
            login,
            from: self.from.clone(),
            to: self.to.clone(),
            audit_failures: setup.audit_failures.to_vec(),
            ca_pem: setup.certificates(&self.ca_file)?,
            timeout: self.timeout.to_std(),
        })
    }
}
