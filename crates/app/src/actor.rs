//! Who acts at the command line, and what an actor may do.

use std::sync::Arc;

use identity::KeyScopes;
use identity::role::Permissions;
pub use identity::role::requires_step_up;
pub use identity::{Action, Resource, Role};
use model::{Actor, Origin, Via};

/// Why an actor may not do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Their role, or the way by which they came, has no right to it.
    #[error("{actor} may not {action} {resource}: {because}")]
    NotAllowed {
        /// Who.
        actor: String,
        /// What they wanted to do.
        action: Action,
        /// To what.
        resource: Resource,
        /// What says so.
        because: String,
    },
    /// They may, and must first prove once more who they are (ASVS 7.5.1).
    #[error("to {action} {resource}, enter password and code once more")]
    ProofNeeded {
        /// What they wanted to do.
        action: Action,
        /// To what.
        resource: Resource,
    },
    /// They may, after proving once more who they are, which an API key cannot do.
    #[error("no API key may {action} {resource}: sign in and enter password and code")]
    NotByKey {
        /// What they wanted to do.
        action: Action,
        /// To what.
        resource: Resource,
    },
}

impl Denied {
    /// What was to be done to what.
    pub const fn what(&self) -> (Action, Resource) {
        match self {
            Self::NotAllowed {
                action, resource, ..
            }
            | Self::ProofNeeded { action, resource }
            | Self::NotByKey { action, resource } => (*action, *resource),
        }
    }
}

/// What a signed-in person may do.
#[derive(Clone, Debug)]
pub struct Rights {
    /// Their role.
    pub role: Role,
    /// What each role may do.
    pub permissions: Arc<Permissions>,
    /// Whether they have just proved who they are.
    pub stepped_up: bool,
    /// What their API key may do of it; none for a session.
    pub key: Option<KeyScopes>,
}

/// Checks that an actor may do something. The operator of the machine and the daemon may do
/// everything; the holder of a signed link may acknowledge the alert that it names; a person who
/// has signed in may do what their role may, for which [`Rights::require`] asks.
pub fn require(actor: &Actor, action: Action, resource: Resource) -> Result<(), Denied> {
    let allowed = match actor.via {
        Via::CommandLine | Via::Daemon => true,
        Via::AckLink => action == Action::Acknowledge && resource == Resource::Alerts,
        // Nobody has asked what their role may.
        Via::Web | Via::ApiKey => false,
    };

    if allowed {
        return Ok(());
    }

    Err(Denied::NotAllowed {
        actor: actor.name.clone(),
        action,
        resource,
        because: format!("not by {}", actor.via.as_str()),
    })
}

impl Rights {
    /// Checks that the role may do something, and that its bearer has proved who they are where
    /// that is asked for.
    pub fn require(&self, actor: &Actor, action: Action, resource: Resource) -> Result<(), Denied> {
        if !self.permissions.allows(self.role, action, resource) {
            return Err(Denied::NotAllowed {
                actor: actor.name.clone(),
                action,
                resource,
                because: format!("the role {} has no right to it", self.role),
            });
        }

        if let Some(scopes) = &self.key {
            if requires_step_up(action, resource) {
                return Err(Denied::NotByKey { action, resource });
            }
            if !scopes.allow(action, resource) {
                return Err(Denied::NotAllowed {
                    actor: actor.name.clone(),
                    action,
                    resource,
                    because: format!("the API key lacks the scope {resource}:{action}"),
                });
            }
            return Ok(());
        }

        if requires_step_up(action, resource) && !self.stepped_up {
            return Err(Denied::ProofNeeded { action, resource });
        }

        Ok(())
    }
}

/// Returns the operator at the command line: the account of the operating system, and the person on
/// whose behalf it acts, if one is named. Machine and terminal are recorded with it.
pub fn operator(on_behalf_of: Option<&str>) -> Actor {
    let account = account_name();
    let origin = Origin {
        address: Some(remote_address().unwrap_or_else(|| "local".to_owned())),
        user_agent: Some(
            concat!("blueteam/", env!("CARGO_PKG_VERSION"), " (command line)").to_owned(),
        ),
        session: nonempty_variable("XDG_SESSION_ID"),
        host: Some(hostname()),
        terminal: terminal_name(),
        account: Some(account.clone()),
    };

    Actor {
        name: account,
        on_behalf_of: on_behalf_of.map(str::to_owned),
        via: Via::CommandLine,
        tenant: None,
        origin,
    }
}

/// This machine's name.
pub fn hostname() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// Returns the account behind the process, as the kernel knows it. The environment is used only for
/// root, and only if the kernel does not know who logged in: any other account could set its
/// variables to another person's name.
fn account_name() -> String {
    let uid = rustix::process::getuid().as_raw();
    let behind_root = || {
        login_uid()
            .map(name_of)
            .or_else(|| nonempty_variable("SUDO_USER"))
            .or_else(|| nonempty_variable("USER"))
            .or_else(|| nonempty_variable("LOGNAME"))
    };

    (uid == 0)
        .then(behind_root)
        .flatten()
        .unwrap_or_else(|| name_of(uid))
}

/// Who logged in, which `sudo` and `su` do not change; `None` for a process that no login began.
fn login_uid() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/self/loginuid").ok()?;
    text.trim().parse().ok().filter(|uid| *uid != u32::MAX)
}

/// The name of an account, or its number.
fn name_of(uid: u32) -> String {
    local_name(uid)
        .or_else(|| directory_name(uid))
        .unwrap_or_else(|| format!("uid {uid}"))
}

/// The name of an account that a directory service has.
fn directory_name(uid: u32) -> Option<String> {
    let answer = std::process::Command::new("/usr/bin/getent")
        .args(["passwd", &uid.to_string()])
        .output()
        .ok()?;
    let line = String::from_utf8(answer.stdout).ok()?;
    let name = line.split(':').next()?.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// The name of a local account.
fn local_name(uid: u32) -> Option<String> {
    let accounts = std::fs::read_to_string("/etc/passwd").ok()?;
    accounts
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2).and_then(|id| id.parse().ok()) == Some(uid))
        .and_then(|fields| fields.first().map(|name| (*name).to_owned()))
        .filter(|name| !name.is_empty())
}

/// Returns the address from which the user logged in by SSH.
fn remote_address() -> Option<String> {
    let connection =
        nonempty_variable("SSH_CONNECTION").or_else(|| nonempty_variable("SSH_CLIENT"))?;
    let address = connection.split_whitespace().next()?;
    address
        .parse::<std::net::IpAddr>()
        .ok()
        .map(|ip| ip.to_string())
}

/// The terminal of standard input or standard error, whichever is one.
fn terminal_name() -> Option<String> {
    let name = |fd: std::os::fd::BorrowedFd<'_>| {
        rustix::termios::ttyname(fd, Vec::new())
            .ok()
            .map(|name| name.to_string_lossy().into_owned())
    };

    name(rustix::stdio::stdin()).or_else(|| name(rustix::stdio::stderr()))
}

fn nonempty_variable(name: &str) -> Option<String> {
    std::env::var(name)
        .ok()
        .filter(|value| !value.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_acknowledges_and_does_nothing_else() {
        let reader = Actor {
            via: Via::AckLink,
            ..operator(Some("dana@example.com"))
        };

        assert!(require(&reader, Action::Acknowledge, Resource::Alerts).is_ok());
        assert!(require(&reader, Action::Acknowledge, Resource::Incidents).is_err());
        assert!(require(&reader, Action::Read, Resource::Alerts).is_err());
        assert!(require(&reader, Action::Write, Resource::Silences).is_err());
    }

    #[test]
    fn who_acts_is_the_account_whomever_it_acts_for() {
        let actor = operator(Some("alice"));
        assert_eq!(actor.name, account_name());
        assert_eq!(actor.on_behalf_of.as_deref(), Some("alice"));
        assert_eq!(actor.origin.account, Some(account_name()));
        assert!(actor.origin.host.is_some_and(|host| !host.is_empty()));
    }
}
