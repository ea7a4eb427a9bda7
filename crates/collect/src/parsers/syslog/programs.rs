//! Syslog messages of programs other than sshd: sudo, su, PAM, the account tools, systemd-logind,
//! and the services that log.

use memchr::memmem;
use model::event::{Details, UserId};
use model::{Category, Outcome, SecurityEvent, Source, Timestamp};

use super::super::LineId;
use super::LogMessage;
use super::pam::PamLine;
use crate::text::{Object, add_named_origin, lossy_text, parse_address, unnamed_origin};

mod services;

/// Bytes of a command that are kept.
const COMMAND_MAX: usize = 1024;

/// An action that a message reports.
pub(super) struct Activity<'a> {
    category: Category,
    action: &'static str,
    result: Outcome,
    /// Who did it; `None` for a failed login.
    actor: Option<&'a [u8]>,
    /// The account that was changed or attempted.
    account: Option<&'a [u8]>,
    /// The command, group, service or session.
    detail: &'a [u8],
    remote: Remote<'a>,
    times: u32,
}

/// Where an activity came from.
pub(super) enum Remote<'a> {
    /// The message does not say.
    Unknown,
    /// An address or a host name.
    Host(&'a [u8]),
    /// The client could have forged it.
    Unclear,
}

impl<'a> Activity<'a> {
    pub(super) const fn new(category: Category, action: &'static str, result: Outcome) -> Self {
        Self {
            category,
            action,
            result,
            actor: None,
            account: None,
            detail: b"",
            remote: Remote::Unknown,
            times: 1,
        }
    }

    pub(super) const fn repeated(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Multiplies the number of times.
    pub(super) const fn repeated_again(mut self, times: u32) -> Self {
        self.times = self.times.saturating_mul(times);
        self
    }

    pub(super) const fn remote(&self) -> &Remote<'a> {
        &self.remote
    }

    pub(super) const fn by_actor(mut self, actor: &'a [u8]) -> Self {
        self.actor = Some(actor);
        self
    }

    pub(super) const fn on_account(mut self, account: &'a [u8]) -> Self {
        self.account = Some(account);
        self
    }

    pub(super) const fn with_detail(mut self, detail: &'a [u8]) -> Self {
        self.detail = detail;
        self
    }

    pub(super) const fn with_remote(mut self, remote: Remote<'a>) -> Self {
        self.remote = remote;
        self
    }
}

/// Returns the event of a message, or `None` if it does not concern security.
pub(super) fn activity_event(
    logged: LogMessage<'_>,
    at: Timestamp,
    id: LineId,
) -> Option<SecurityEvent<'_>> {
    let LogMessage {
        program,
        text: message,
        ..
    } = logged;

    let parse_pam = || PamLine::split(program, message).and_then(PamLine::activity);
    let activity = match program {
        b"sudo" => parse_sudo(message).or_else(parse_pam),
        b"su" => parse_su(message).or_else(parse_pam),
        b"useradd" | b"userdel" | b"usermod" | b"groupadd" | b"gpasswd" | b"chpasswd"
        | b"passwd" | b"chage" => parse_account_tool(message).or_else(parse_pam),
        b"systemd-logind" | b"systemd" | b"shutdown" | b"rsyslogd" | b"syslogd" | b"syslog-ng"
        | b"auditd" | b"systemd-journald" | b"kernel" => {
            parse_logind(message).or_else(|| services::parse(program, message))
        }
        _ => parse_pam(),
    }?;

    Some(build_event(&activity, &logged, at, id))
}

/// Builds the event of an activity.
pub(super) fn build_event<'a>(
    activity: &Activity<'a>,
    logged: &LogMessage<'a>,
    at: Timestamp,
    id: LineId,
) -> SecurityEvent<'a> {
    let mut event = SecurityEvent::new(
        id.event_id(at),
        at,
        Source::Syslog,
        activity.category,
        activity.action.into(),
        activity.result,
    );
    event.user_id = activity
        .actor
        .filter(|a| !a.is_empty())
        .map(|a| UserId::Name(lossy_text(a)));

    event.account_name = activity.account.filter(|a| !a.is_empty()).map(lossy_text);
    event.occurrences = activity.times;
    event.resource_type = Some(lossy_text(logged.program));
    if !activity.detail.is_empty() {
        event.resource_id = Some(lossy_text(
            &activity.detail[..activity.detail.len().min(COMMAND_MAX)],
        ));
    }

    match activity.remote {
        Remote::Unknown => {}
        Remote::Unclear => event.details = Details::from_json(unnamed_origin(logged.host)),
        Remote::Host(host) => {
            event.ip_address = parse_address(host);
            if event.ip_address.is_none() && !host.is_empty() {
                let mut details = Object::with_capacity(64);
                add_named_origin(&mut details, host);
                event.details = Details::from_json(details.finish());
            }
        }
    }

    event.classify()
}

/// Returns the text between two marks, or after the first if the second is missing.
fn text_between<'a>(text: &'a [u8], from: &[u8], to: &[u8]) -> Option<&'a [u8]> {
    let rest = &text[memmem::find(text, from)? + from.len()..];
    Some(&rest[..memmem::find(rest, to).unwrap_or(rest.len())])
}

/// Parses `ann : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/ls`, with the reason before `TTY` if
/// it was refused.
fn parse_sudo(message: &[u8]) -> Option<Activity<'_>> {
    let message = message.trim_ascii();
    let colon = memmem::find(message, b" : ")?;
    let actor = &message[..colon];
    let rest = &message[colon + 3..];

    // The actor chooses the command, which is the last field, so nothing is looked for in it.
    let (head, command) = match memmem::find(rest, b"COMMAND=") {
        Some(at) => (&rest[..at], &rest[at + 8..]),
        None => (rest, &rest[..0]),
    };

    let target = text_between(head, b"USER=", b" ;").map_or(&head[..0], <[u8]>::trim_ascii);
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
        Activity::new(Category::Admin, "sudo", result)
            .by_actor(actor)
            .on_account(target)
            .with_detail(command),
    )
}

/// Parses the messages of shadow's and coreutils' `su`.
fn parse_su(message: &[u8]) -> Option<Activity<'_>> {
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
                Activity::new(Category::Admin, "su", result)
                    .by_actor(actor)
                    .on_account(&rest[..close]),
            );
        }

        let by = memmem::find(rest, b" by ")?;
        return Some(
            Activity::new(Category::Admin, "su", result)
                .by_actor(&rest[by + 4..])
                .on_account(&rest[..by]),
        );
    }

    let rest = message.strip_prefix(b"(to ")?;
    let close = memmem::find(rest, b") ")?;
    let actor = rest[close + 2..].split(|c| *c == b' ').next()?;

    Some(
        Activity::new(Category::Admin, "su", Outcome::Success)
            .by_actor(actor)
            .on_account(&rest[..close]),
    )
}

/// Parses `new user: name=x, UID=…`, `delete user 'x'`, `add 'x' to group 'sudo'` and `password for
/// 'x' changed by 'root'`.
fn parse_account_tool(message: &[u8]) -> Option<Activity<'_>> {
    let done = |action| Activity::new(Category::Admin, action, Outcome::Success);
    if let Some(rest) = message.strip_prefix(b"new user: name=") {
        let name = &rest[..memchr::memchr(b',', rest).unwrap_or(rest.len())];
        return Some(done("user_create").on_account(name).with_detail(message));
    }

    if let Some(name) = message
        .strip_prefix(b"delete user '")
        .and_then(|r| r.split(|c| *c == b'\'').next())
    {
        return Some(done("user_delete").on_account(name).with_detail(message));
    }

    if let Some(rest) = message.strip_prefix(b"add '") {
        let name = rest.split(|c| *c == b'\'').next()?;
        let group = text_between(rest, b"group '", b"'").unwrap_or_default();
        return Some(done("group_add").on_account(name).with_detail(group));
    }

    let name = text_between(message, b"password for '", b"' changed")?;
    Some(done("password_set").on_account(name).with_detail(message))
}

fn parse_logind(message: &[u8]) -> Option<Activity<'_>> {
    let rest = message.strip_prefix(b"New session ")?;
    let at = memmem::find(rest, b" of user ")?;
    let user = rest[at + 9..].trim_ascii();
    let user = user.strip_suffix(b".").unwrap_or(user);

    Some(
        Activity::new(Category::Access, "session_opened", Outcome::Success)
            .by_actor(user)
            .with_detail(&rest[..at]),
    )
}
