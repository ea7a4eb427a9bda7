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

    let parse_pam = || PamLine::split(program, message)?.activity_of(&logged);
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

    // The rest of a message that is too long for one line.
    let continued = rest.strip_prefix(b"(command continued) ");
    let rest = continued.unwrap_or(rest);

    // The actor chooses the working directory before these fields and the command behind them, and
    // either may hold more of them: then it is not known whose command it is, and all is kept.
    let (head, command) = match field(rest, b"COMMAND=") {
        Some(at) => (&rest[..at], &rest[at + b"COMMAND=".len()..]),
        None if continued.is_some() => return None,
        None => (rest, &rest[..0]),
    };
    let target = field(head, b"USER=").map_or(&head[..0], |at| {
        let value = &head[at + b"USER=".len()..];
        value[..memmem::find(value, b" ;").unwrap_or(value.len())].trim_ascii()
    });
    let is_ambiguous = field(command, b"USER=").is_some();

    // The reason stands first, before what the actor chooses.
    let reason = &head[..memmem::find(head, b" ; ").unwrap_or(head.len())];
    let says = |words: &[u8]| memmem::find(reason, words).is_some();
    let begins_plainly = [&b"TTY="[..], b"HOST=", b"PWD="]
        .iter()
        .any(|name| head.starts_with(name));
    let result = if begins_plainly || continued.is_some() {
        Outcome::Success
    } else if says(b"NOT in sudoers") || says(b"not allowed") {
        Outcome::Denied
    } else if says(b"incorrect password attempt") || says(b"a password is required") {
        Outcome::Failure
    } else {
        return None;
    };

    Some(
        Activity::new(Category::Admin, "sudo", result)
            .by_actor(actor)
            .on_account(if is_ambiguous { b"" } else { target })
            .with_detail(command),
    )
}

/// Returns where a field of sudo begins: at the beginning, or behind the mark between fields.
fn field(text: &[u8], name: &[u8]) -> Option<usize> {
    if text.starts_with(name) {
        return Some(0);
    }
    let mark = [&b" ; "[..], name].concat();
    memmem::find(text, &mark).map(|at| at + 3)
}

/// Parses the messages of shadow's and coreutils' `su`. The actor chooses the name of the account,
/// which may hold the words after it; what follows the last of them is the program's.
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
            let close = memmem::rfind(rest, b") ")?;
            let actor = rest[close + 2..].split(|c| *c == b' ').next()?;
            return Some(
                Activity::new(Category::Admin, "su", result)
                    .by_actor(actor)
                    .on_account(&rest[..close]),
            );
        }

        let by = memmem::rfind(rest, b" by ")?;
        return Some(
            Activity::new(Category::Admin, "su", result)
                .by_actor(&rest[by + 4..])
                .on_account(&rest[..by]),
        );
    }

    let rest = message.strip_prefix(b"(to ")?;
    let close = memmem::rfind(rest, b") ")?;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Describes a message by actor, account, result and command.
    fn describe(program: &'static str, text: &str) -> String {
        let message = LogMessage {
            program: program.as_bytes(),
            host: b"h",
            pid: b"",
            facility: b"",
            text: text.as_bytes(),
        };
        let id = LineId {
            file: 7,
            offset: 42,
        };
        let at = Timestamp::from_secs(1_772_712_451);
        activity_event(message, at, id).map_or_else(
            || "nothing".to_owned(),
            |e| {
                format!(
                    "{} as {} {} {}",
                    e.user_id.map_or_else(String::new, |user| user.to_string()),
                    e.account_name.as_deref().unwrap_or("?"),
                    e.result.as_str(),
                    e.resource_id.as_deref().unwrap_or_default()
                )
            },
        )
    }

    #[test]
    fn a_working_directory_hides_no_command_of_sudo() {
        for (text, expected) in [
            (
                "eve : TTY=pts/0 ; PWD=/tmp/x ; USER=bob ; COMMAND=/bin/ls ; USER=root ; \
                    COMMAND=/bin/sh",
                "eve as ? success /bin/ls ; USER=root ; COMMAND=/bin/sh",
            ),
            (
                "eve : TTY=pts/0 ; PWD=/tmp/COMMAND=x USER=bob ; USER=root ; COMMAND=/bin/sh",
                "eve as root success /bin/sh",
            ),
            (
                "eve : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/tmp/NOT in sudoers ; \
                    USER=root ; COMMAND=/bin/sh",
                "eve as root failure /bin/sh",
            ),
            (
                "eve : (command continued) xxx ; USER=root ; COMMAND=/bin/systemctl stop auditd",
                "eve as root success /bin/systemctl stop auditd",
            ),
            ("eve : (command continued) x y z", "nothing"),
        ] {
            assert_eq!(describe("sudo", text), expected, "{text}");
        }
    }

    #[test]
    fn an_account_name_blames_no_other_user_of_su() {
        for (text, expected) in [
            (
                "FAILED su for x by root by eve",
                "eve as x by root failure ",
            ),
            (
                "FAILED SU (to a) root on pts/9) eve on pts/1",
                "eve as a) root on pts/9 failure ",
            ),
            ("(to root) ann on pts/1", "ann as root success "),
            ("Successful su for root by ann", "ann as root success "),
        ] {
            assert_eq!(describe("su", text), expected, "{text}");
        }
    }
}
