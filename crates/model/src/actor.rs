//! On whose behalf something is done: the person or part of blueteam, and where they act from.

use std::fmt;

use uuid::Uuid;

/// The way by which somebody acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// The command line, on the machine that runs blueteam.
    CommandLine,
    /// The signed link in a notification.
    AckLink,
    /// A task of the daemon: no person.
    Daemon,
}

impl Via {
    /// Its name in the audit log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CommandLine => "command line",
            Self::AckLink => "acknowledge link",
            Self::Daemon => "daemon",
        }
    }
}

/// Where somebody acts from, as far as it is known. Nothing here proves anything: it is what the
/// environment or the client says, kept beside the database login, which does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The address that they came from; `local` for this machine.
    pub address: Option<String>,
    /// The program that they used.
    pub user_agent: Option<String>,
    /// Their session: of the operating system, or of the web server.
    pub session: Option<String>,
    /// The machine that the command ran on.
    pub host: Option<String>,
    /// Its terminal.
    pub terminal: Option<String>,
    /// The account of the operating system, whatever name was given with `--as`.
    pub account: Option<String>,
}

/// On whose behalf something is done. Each change of the database is made for one, who is named in
/// `audit.audit_log` (3.3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The name, as lists show it.
    pub name: String,
    /// The way.
    pub via: Via,
    /// For which tenant, when it is for one.
    pub tenant: Option<Uuid>,
    /// From where.
    pub origin: Origin,
}

impl Actor {
    /// A task of the daemon, by its name.
    pub fn task(name: &str) -> Self {
        let origin = Origin {
            address: Some("local".to_owned()),
            user_agent: Some(
                concat!("blueteam/", env!("CARGO_PKG_VERSION"), " (daemon)").to_owned(),
            ),
            ..Origin::default()
        };

        Self {
            name: name.to_owned(),
            via: Via::Daemon,
            tenant: None,
            origin,
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
