//! What programs other than sshd say in syslog: sudo, su, PAM, the account tools, systemd-logind.

use memchr::memmem;
use model::event::{Details, UserId};
use model::{Category, Outcome, SecurityEvent, Source, Timestamp};

use super::super::LineId;
use super::Said;
use super::pam::pam;
use crate::text::{Object, address, named_origin, origin, text};

/// What is kept of a command.
const COMMAND_MAX: usize = 1024;

/// Who did what, as a message has it.
pub(super) struct Deed<'a> {
    category: Category,
    action: &'static str,
    result: Outcome,
    /// Who did it; nobody for a login that failed.
    actor: Option<&'a [u8]>,
    /// Whom it was done to, or who was tried.
    account: Option<&'a [u8]>,
    /// What was done it with: a command, a terminal.
    what: &'a [u8],
    from: Remote<'a>,
}

/// Whence it was done.
pub(super) enum Remote<'a> {
    /// Nothing is said of it.
    Unknown,
    /// An address or a host name.
    Host(&'a [u8]),
    /// What is said could be the client's own words.
    Unclear,
}

impl<'a> Deed<'a> {
    pub(super) const fn new(category: Category, action: &'static str, result: Outcome) -> Self {
        Self {
            category,
            action,
            result,
            actor: None,
            account: None,
            what: b"",
            from: Remote::Unknown,
        }
    }

    pub(super) const fn by(mut self, actor: &'a [u8]) -> Self {
        self.actor = Some(actor);
        self
    }

    pub(super) const fn to(mut self, account: &'a [u8]) -> Self {
        self.account = Some(account);
        self
    }

    pub(super) const fn with(mut self, what: &'a [u8]) -> Self {
        self.what = what;
        self
    }

    pub(super) const fn from(mut self, from: Remote<'a>) -> Self {
        self.from = from;
        self
    }
}

/// The event of a message; none when it is nothing to security.
pub(super) fn event(said: Said<'_>, at: Timestamp, id: LineId) -> Option<SecurityEvent<'_>> {
    let Said {
        program, message, ..
    } = said;
    let deed = match program {
        // As Linux wrote it long ago, and as appliances still do.
        [
            service @ ..,
            b'(',
            b'p',
            b'a',
            b'm',
            b'_',
            b'u',
            b'n',
            b'i',
            b'x',
            b')',
        ] => super::pam::said(b"unix", service, message),
        b"sudo" => sudo(message).or_else(|| pam(message)),
        b"su" => su(message).or_else(|| pam(message)),
        b"useradd" | b"userdel" | b"usermod" | b"groupadd" | b"gpasswd" | b"chpasswd"
        | b"passwd" | b"chage" => account_tool(message).or_else(|| pam(message)),
        b"systemd-logind" => logind(message),
        _ => pam(message),
    }?;

    let mut event = SecurityEvent::new(
        id.event_id(at),
        at,
        Source::Syslog,
        deed.category,
        deed.action.into(),
        deed.result,
    );
    event.user_id = deed
        .actor
        .filter(|a| !a.is_empty())
        .map(|a| UserId::Name(text(a)));

    event.account_name = deed.account.filter(|a| !a.is_empty()).map(text);
    event.resource_type = Some(text(program));
    if !deed.what.is_empty() {
        event.resource_id = Some(text(&deed.what[..deed.what.len().min(COMMAND_MAX)]));
    }

    match deed.from {
        Remote::Unknown => {}
        Remote::Unclear => event.details = Details::from_json(origin(said.host)),
        Remote::Host(host) => {
            event.ip_address = address(host);
            if event.ip_address.is_none() && !host.is_empty() {
                let mut details = Object::with_capacity(64);
                named_origin(&mut details, host);
                event.details = Details::from_json(details.finish());
            }
        }
    }

    Some(event.classify())
}

/// What stands between two marks.
fn between<'a>(text: &'a [u8], from: &[u8], to: &[u8]) -> Option<&'a [u8]> {
    let rest = &text[memmem::find(text, from)? + from.len()..];
    Some(&rest[..memmem::find(rest, to).unwrap_or(rest.len())])
}

/// `ann : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/ls`, or why it was refused before `TTY`.
fn sudo(message: &[u8]) -> Option<Deed<'_>> {
    let message = message.trim_ascii();
    let colon = memmem::find(message, b" : ")?;
    let (actor, rest) = (&message[..colon], &message[colon + 3..]);

    // The command is the actor's, and the last field: nothing is looked for in it.
    let (head, command) = match memmem::find(rest, b"COMMAND=") {
        Some(at) => (&rest[..at], &rest[at + 8..]),
        None => (rest, &rest[..0]),
    };

    let target = between(head, b"USER=", b" ;").map_or(&head[..0], <[u8]>::trim_ascii);
    let result =
        if head.starts_with(b"TTY=") || head.starts_with(b"HOST=") || head.starts_with(b"PWD=") {
            Outcome::Success
        } else if memmem::find(head, b"NOT in sudoers").is_some()
            || memmem::find(head, b"not allowed").is_some()
        {
            Outcome::Denied
        } else if memmem::find(head, b"incorrect password attempt").is_some()
            || memmem::find(head, b"a password is required").is_some()
        {
            Outcome::Failure
        } else {
            return None;
        };

    Some(
        Deed::new(Category::Admin, "sudo", result)
            .by(actor)
            .to(target)
            .with(command),
    )
}

/// The forms of shadow's and coreutils' `su`.
fn su(message: &[u8]) -> Option<Deed<'_>> {
    let message = message.trim_ascii();
    for (mark, result) in [
        (&b"Successful su for "[..], Outcome::Success),
        (b"FAILED su for ", Outcome::Failure),
        (b"FAILED SU (to ", Outcome::Failure),
    ] {
        let Some(rest) = message.strip_prefix(mark) else {
            continue;
        };
        if mark.ends_with(b"(to ") {
            let close = memmem::find(rest, b") ")?;
            let actor = rest[close + 2..].split(|c| *c == b' ').next()?;
            return Some(
                Deed::new(Category::Admin, "su", result)
                    .by(actor)
                    .to(&rest[..close]),
            );
        }

        let by = memmem::find(rest, b" by ")?;
        return Some(
            Deed::new(Category::Admin, "su", result)
                .by(&rest[by + 4..])
                .to(&rest[..by]),
        );
    }

    let rest = message.strip_prefix(b"(to ")?;
    let close = memmem::find(rest, b") ")?;
    let actor = rest[close + 2..].split(|c| *c == b' ').next()?;

    Some(
        Deed::new(Category::Admin, "su", Outcome::Success)
            .by(actor)
            .to(&rest[..close]),
    )
}

/// `new user: name=x, UID=…`, `delete user 'x'`, `add 'x' to group 'sudo'`, `password for 'x'
/// changed by 'root'`.
fn account_tool(message: &[u8]) -> Option<Deed<'_>> {
    let done = |action| Deed::new(Category::Admin, action, Outcome::Success);
    if let Some(rest) = message.strip_prefix(b"new user: name=") {
        let name = &rest[..memchr::memchr(b',', rest).unwrap_or(rest.len())];
        return Some(done("user_create").to(name).with(message));
    }
    if let Some(name) = message
        .strip_prefix(b"delete user '")
        .and_then(|r| r.split(|c| *c == b'\'').next())
    {
        return Some(done("user_delete").to(name).with(message));
    }
    if let Some(rest) = message.strip_prefix(b"add '") {
        let name = rest.split(|c| *c == b'\'').next()?;
        let group = between(rest, b"group '", b"'").unwrap_or_default();
        return Some(done("group_add").to(name).with(group));
    }
    let name = between(message, b"password for '", b"' changed")?;
    Some(done("password_set").to(name).with(message))
}

fn logind(message: &[u8]) -> Option<Deed<'_>> {
    let rest = message.strip_prefix(b"New session ")?;
    let at = memmem::find(rest, b" of user ")?;
    let user = rest[at + 9..].trim_ascii();
    let user = user.strip_suffix(b".").unwrap_or(user);

    Some(
        Deed::new(Category::Access, "session_opened", Outcome::Success)
            .by(user)
            .with(&rest[..at]),
    )
}
