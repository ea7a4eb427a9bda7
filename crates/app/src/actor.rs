//! Who acts at the command line, and what an actor may do.

use model::{Actor, Origin, Via};

/// What an actor may be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Look at what blueteam knows.
    Read,
    /// Acknowledge alerts.
    Acknowledge,
    /// Change anything else.
    Operate,
}

/// An actor who may not do something.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{actor} may not do this by {via}")]
pub struct Denied {
    actor: String,
    via: &'static str,
}

/// Checks that somebody may do something. The operator of the machine and the daemon may do
/// everything; whoever holds a signed link may acknowledge the alert that it names.
pub fn require(actor: &Actor, permission: Permission) -> Result<(), Denied> {
    let allowed = match actor.via {
        Via::CommandLine | Via::Daemon => true,
        Via::AckLink => permission == Permission::Acknowledge,
    };

    if allowed {
        return Ok(());
    }

    Err(Denied {
        actor: actor.name.clone(),
        via: actor.via.as_str(),
    })
}

/// The operator at the command line: the name that was given, else the system's user name, as
/// `sudo` and the shell know it. Whatever name is given, the account, machine and terminal are
/// recorded with it.
pub fn operator(given: Option<&str>) -> Actor {
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
        name: given.map_or(account, str::to_owned),
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

/// The person behind the process: who called `sudo`, else whose shell it is.
fn account_name() -> String {
    let uid = rustix::process::getuid().as_raw();

    nonempty_variable("SUDO_USER")
        .or_else(|| nonempty_variable("USER"))
        .or_else(|| nonempty_variable("LOGNAME"))
        .or_else(|| account_of(uid))
        .unwrap_or_else(|| format!("uid {uid}"))
}

/// The name of a local account: services and `sudo -i` in containers set no variables.
fn account_of(uid: u32) -> Option<String> {
    let accounts = std::fs::read_to_string("/etc/passwd").ok()?;
    accounts
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2).and_then(|id| id.parse().ok()) == Some(uid))
        .and_then(|fields| fields.first().map(|name| (*name).to_owned()))
        .filter(|name| !name.is_empty())
}

/// Where somebody logged in from, by SSH.
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

        assert!(require(&reader, Permission::Acknowledge).is_ok());
        assert!(require(&reader, Permission::Read).is_err());
        assert!(require(&reader, Permission::Operate).is_err());
    }

    #[test]
    fn a_name_that_is_given_does_not_hide_the_account() {
        let actor = operator(Some("somebody else"));
        assert_eq!(actor.name, "somebody else");
        assert_eq!(actor.origin.account, Some(account_name()));
        assert!(actor.origin.host.is_some_and(|host| !host.is_empty()));
    }
}
