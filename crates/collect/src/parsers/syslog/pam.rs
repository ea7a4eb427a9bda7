//! Messages of PAM modules: failed logins and changed passwords.

use memchr::memmem;
use model::{Category, Outcome};

use super::programs::{Activity, Remote};

/// A line of a PAM module.
#[derive(Clone, Copy)]
pub(super) struct PamLine<'a> {
    /// Its name without `pam_`.
    pub(super) module: &'a [u8],
    /// The service that asks, where the line says it.
    service: &'a [u8],
    text: &'a [u8],
}

impl<'a> PamLine<'a> {
    /// Splits `pam_unix(cron:auth): TEXT`, `pam_unix: TEXT`, the old forms `(pam_unix) TEXT` and
    /// `program(pam_unix)`, and `PAM TEXT` of programs that link the module.
    pub(super) fn split(program: &'a [u8], message: &'a [u8]) -> Option<Self> {
        const OLD: &[u8] = b"(pam_unix)";
        let of_unix = |service, text| Self {
            module: b"unix",
            service,
            text,
        };
        // The form of old Linux versions, which appliances still write.
        if let Some(service) = program.strip_suffix(OLD) {
            return Some(of_unix(service, message));
        }
        if let Some(text) = message
            .strip_prefix(b"(pam_unix) ")
            .or_else(|| message.strip_prefix(b"PAM "))
        {
            return Some(of_unix(b"", text));
        }

        let rest = message.strip_prefix(b"pam_")?;
        let end = rest.iter().position(|c| matches!(c, b'(' | b':' | b' '))?;
        let (module, rest) = rest.split_at(end);
        if let Some(text) = rest.strip_prefix(b": ") {
            return Some(Self {
                module,
                service: b"",
                text,
            });
        }

        let rest = rest.strip_prefix(b"(")?;
        let close = memmem::find(rest, b"): ")?;
        let service = &rest[..close];
        Some(Self {
            module,
            // Without a colon it is the type.
            service: memchr::memchr(b':', service).map_or(b"", |colon| &service[..colon]),
            text: &rest[close + 3..],
        })
    }

    /// Returns what the line says happened.
    pub(super) fn activity(self) -> Option<Activity<'a>> {
        if let Some(user) = self.text.strip_prefix(b"password changed for ") {
            return Some(
                Activity::new(Category::Auth, "password_change", Outcome::Success)
                    .by_actor(user.trim_ascii())
                    .with_detail(self.service),
            );
        }

        let (times, fields) = self.failures()?;
        let (remote, user) = remote_and_user(fields, self.module);
        Some(
            Activity::new(Category::Auth, "login_failed", Outcome::Failure)
                .on_account(user)
                .with_detail(self.service)
                .with_remote(remote)
                .repeated(times),
        )
    }

    /// Splits `authentication failure;` and `2 more authentication failures;`, with which a module
    /// reports all but the first failure of a connection, into their number and the fields.
    fn failures(self) -> Option<(u32, &'a [u8])> {
        // What sshd's unprivileged child logs.
        let text = self.text.strip_suffix(b" [preauth]").unwrap_or(self.text);
        if let Some(fields) = text.strip_prefix(b"authentication failure;") {
            return Some((1, fields));
        }

        let (times, rest) = super::split_word(text)?;
        let times: u32 = std::str::from_utf8(times).ok()?.parse().ok()?;
        let rest = rest.strip_prefix(b"more authentication failure")?;
        let fields = rest.strip_prefix(b"s").unwrap_or(rest).strip_prefix(b";")?;
        (times > 0).then_some((times.min(1000), fields))
    }

    /// Returns whether it reports failed logins.
    pub(super) fn is_failure(self) -> bool {
        self.failures().is_some()
    }
}

/// Returns remote host and attempted user of ` logname=L uid=0 euid=0 tty=T ruser=R rhost=H
/// user=U`.
///
/// The client chooses R and U, which may hold anything, even names of fields. A line that can be
/// read in more than one way names neither.
fn remote_and_user<'a>(fields: &'a [u8], module: &[u8]) -> (Remote<'a>, &'a [u8]) {
    // Skip the fields that the service sets itself.
    let fields = &fields[memmem::find(fields, b" ruser=").unwrap_or(0)..];
    let hosts: Vec<HostCandidate<'_>> = memmem::find_iter(fields, HOST)
        .filter_map(|at| host_and_user(&fields[at + HOST.len()..]))
        .collect();

    // Prefer the form that the module writes to one that a relay may have made of it.
    let own: &[HostForm] = match module {
        b"unix" => &[HostForm::TwoBlanks, HostForm::NoUser],
        b"sss" => &[HostForm::OneBlank],
        _ => &[
            HostForm::TwoBlanks,
            HostForm::NoUser,
            HostForm::OneBlank,
            HostForm::Cut,
        ],
    };

    let written = |found: &&HostCandidate<'_>| own.contains(&found.form);
    let own: Vec<&HostCandidate<'_>> = hosts.iter().filter(written).collect();
    let possible = if own.is_empty() {
        hosts.iter().collect()
    } else {
        own
    };

    match *possible {
        [] if memmem::find(fields, HOST).is_some() => (Remote::Unclear, b""),
        [] => (
            Remote::Unknown,
            memmem::find(fields, b" user=").map_or(&[], |at| fields[at + 6..].trim_ascii()),
        ),
        [first, ref others @ ..] if others.iter().all(|other| other.host == first.host) => (
            Remote::Host(first.host),
            others.last().map_or(first.user, |last| last.user),
        ),
        // A relay lost blanks, and no name was sent that could hold the first host.
        [first, ..]
            if module == b"unix" && !written(&first) && fields.starts_with(b" ruser= rhost=") =>
        {
            (Remote::Host(first.host), first.user)
        }
        [..] => (Remote::Unclear, b""),
    }
}

const HOST: &[u8] = b" rhost=";

struct HostCandidate<'a> {
    host: &'a [u8],
    user: &'a [u8],
    form: HostForm,
}

/// The text after a host.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HostForm {
    /// `H  user=U`
    TwoBlanks,
    /// `H user=U`
    OneBlank,
    /// `H ` without a user.
    NoUser,
    /// Nothing.
    Cut,
}

fn host_and_user(text: &[u8]) -> Option<HostCandidate<'_>> {
    let (host, rest) = text.split_at(memchr::memchr(b' ', text).unwrap_or(text.len()));
    let (user, form) = if rest.is_empty() {
        (&b""[..], HostForm::Cut)
    } else if rest.trim_ascii().is_empty() {
        (&b""[..], HostForm::NoUser)
    } else if let Some(user) = rest.strip_prefix(b"  user=") {
        (user, HostForm::TwoBlanks)
    } else {
        (rest.strip_prefix(b" user=")?, HostForm::OneBlank)
    };

    Some(HostCandidate {
        host,
        user: user.trim_ascii(),
        form,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    const CLIENT: &str = "203.0.113.9";

    fn describe(message: &str) -> Option<(String, String)> {
        let id = crate::LineId {
            file: 7,
            offset: 42,
        };

        let message = super::super::LogMessage {
            program: b"vsftpd",
            host: b"web1",
            pid: b"",
            facility: b"",
            text: message.as_bytes(),
        };

        let at = model::Timestamp::from_secs(1_772_712_451);
        super::super::programs::activity_event(message, at, id).map(|event| {
            let host = event
                .ip_address
                .map(|ip| ip.to_string())
                .or_else(|| event.details.text("origin"));
            (
                host.unwrap_or_default(),
                event.account_name.as_deref().unwrap_or_default().to_owned(),
            )
        })
    }

    #[test]
    fn only_the_module_names_the_host() {
        const HEAD: &str = "authentication failure; logname= uid=0 euid=0 tty=ftp";
        let cases = [
            (
                "pam_unix",
                "ruser=a rhost=9.9.9.9 user=x rhost=203.0.113.9  user=eve",
                CLIENT,
                "eve",
            ),
            (
                "pam_unix",
                "ruser= rhost=203.0.113.9  user=u rhost=9.9.9.9 user=z",
                CLIENT,
                "u rhost=9.9.9.9 user=z",
            ),
            (
                "pam_unix",
                "ruser=a rhost=203.0.113.9  user=x rhost=203.0.113.9  user=eve",
                CLIENT,
                "eve",
            ),
            (
                "pam_unix",
                "ruser= rhost=203.0.113.9 user=eve",
                CLIENT,
                "eve",
            ),
            ("pam_unix", "ruser=x rhost=203.0.113.9 ", CLIENT, ""),
            (
                "pam_sss",
                "ruser= rhost=203.0.113.9 user=eve",
                CLIENT,
                "eve",
            ),
            (
                "pam_unix",
                "ruser= rhost=203.0.113.9 user=eve rhost=9.9.9.9",
                CLIENT,
                "eve rhost=9.9.9.9",
            ),
            (
                "pam_unix",
                "ruser= rhost=evil.example  user=x",
                "evil.example",
                "x",
            ),
            (
                "pam_unix",
                "ruser= rhost=Evil.Example. ",
                "evil.example",
                "",
            ),
            (
                "pam_sss",
                "ruser= rhost=evil.example user=x",
                "evil.example",
                "x",
            ),
            // Either may be the client's: the attempt counts without a client.
            (
                "pam_unix",
                "ruser=a rhost=9.9.9.9  user=x rhost=203.0.113.9  user=eve",
                "web1",
                "",
            ),
            (
                "pam_unix",
                "ruser= rhost=203.0.113.9  user=u rhost=9.9.9.9  user=z",
                "web1",
                "",
            ),
            (
                "pam_sss",
                "ruser=a rhost=9.9.9.9 user=x rhost=203.0.113.9 user=eve",
                "web1",
                "",
            ),
            ("pam_unix", "ruser= rhost=203.0.113.9 eve", "web1", ""),
        ];

        for (module, fields, host, user) in cases {
            let line = format!("{module}(vsftpd:auth): {HEAD} {fields}");
            assert_eq!(
                describe(&line),
                Some((host.to_owned(), user.to_owned())),
                "{line}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_user_name_hides_its_client_or_names_another(
            ruser in "( rhost=9.9.9.9|  user=|ruser=|\\PC{0,6}|logname=| user=z){0,5}",
            user in "( rhost=9.9.9.9|  user=|ruser=|\\PC{0,6}|\\): | user=z){0,5}",
        ) {
            for module in ["unix", "sss"] {
                let blanks = if module == "unix" { "  " } else { " " };
                let line = format!(
                    "pam_{module}(ftp:auth): authentication failure; logname= uid=0 euid=0 \
                        tty=ftp ruser={ruser} rhost={CLIENT}{blanks}user={user}"
                );
                let Some((host, _)) = describe(&line) else { panic!("not counted: {line}") };
                prop_assert!(host == CLIENT || host == "web1", "{} of {}", host, line);
            }
        }
    }
}
