//! On whose behalf something is done: the person or part of blueteam, and where they act from.

use std::fmt;

use uuid::Uuid;

/// The way by which an actor acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Via {
    /// The command line, on the machine that runs blueteam.
    CommandLine,
    /// The signed link in a notification.
    AckLink,
    /// The web, after signing in.
    Web,
    /// A person's API key: [`Origin::session`] is its id.
    ApiKey,
    /// A task of the daemon: no person.
    Daemon,
}

impl Via {
    /// Its name in the audit log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CommandLine => "command line",
            Self::AckLink => "acknowledge link",
            Self::Web => "web",
            Self::ApiKey => "api key",
            Self::Daemon => "daemon",
        }
    }
}

/// Where an actor acts from, as far as it is known. Nothing here proves anything: it is what the
/// environment or the client says, kept beside the database login, which does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The address that they came from; `local` for this machine.
    pub address: Option<String>,
    /// The program that they used.
    pub user_agent: Option<String>,
    /// Their session: of the operating system, or of the web server; or the id of their API key.
    pub session: Option<String>,
    /// The machine that the command ran on.
    pub host: Option<String>,
    /// Its terminal.
    pub terminal: Option<String>,
    /// The account of the operating system.
    pub account: Option<String>,
}

/// On whose behalf something is done. Each change of the database is made for one, who is named in
/// `audit.audit_log` (3.3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Who acts: an account of the operating system, the reader of a link, a task.
    pub name: String,
    /// For whom, if they say that it is for another person. Recorded beside the name, and never
    /// instead of it.
    pub on_behalf_of: Option<String>,
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
            on_behalf_of: None,
            via: Via::Daemon,
            tenant: None,
            origin,
        }
    }
}

/// The words between the actor and the person on whose behalf it acts, in the text of an [`Actor`].
const ON_BEHALF_OF: &str = ", on behalf of ";

/// As records name them: `dana`, or `dana, on behalf of alice`.
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.on_behalf_of {
            Some(person) => write!(f, "{ON_BEHALF_OF}{person}"),
            None => Ok(()),
        }
    }
}

/// Returns who acted, from the text that a record has of an [`Actor`].
pub fn acting(recorded: &str) -> &str {
    recorded
        .split_once(ON_BEHALF_OF)
        .map_or(recorded, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_name_who_acts_and_for_whom() {
        let mut actor = Actor::task("dana");
        assert_eq!(
            (actor.to_string().as_str(), acting("dana")),
            ("dana", "dana")
        );

        actor.on_behalf_of = Some("alice, on behalf of bob".to_owned());
        let recorded = actor.to_string();
        assert_eq!(recorded, "dana, on behalf of alice, on behalf of bob");
        assert_eq!(acting(&recorded), "dana");
    }
}
