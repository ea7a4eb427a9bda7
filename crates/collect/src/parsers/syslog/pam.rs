//! Messages of PAM modules: failed logins and changed passwords.

use memchr::memmem;
use model::{Category, Outcome};

use super::LogMessage;
use super::programs::{Activity, Remote};

/// Programs that ask PAM, and log no text of strangers at the beginning of a message.
const PROGRAMS: [&[u8]; 61] = [
    b"apache2",
    b"atd",
    b"auth",
    b"chage",
    b"chfn",
    b"chpasswd",
    b"chsh",
    b"cockpit-session",
    b"cockpit-tls",
    b"cron",
    b"crond",
    b"cupsd",
    b"cyrus",
    b"daemon",
    b"doas",
    b"dovecot",
    b"dovecot-auth",
    b"exim",
    b"exim4",
    b"freeradius",
    b"gpasswd",
    b"httpd",
    b"imap",
    b"imapd",
    b"imaps",
    b"kcheckpass",
    b"kdm",
    b"lightdm",
    b"login",
    b"mysqld",
    b"nginx",
    b"ocserv",
    b"openvpn",
    b"passwd",
    b"pkexec",
    b"polkitd",
    b"pop3",
    b"postgres",
    b"postmaster",
    b"pppd",
    b"radiusd",
    b"remote",
    b"runuser",
    b"saslauthd",
    b"slapd",
    b"smbd",
    b"squid",
    b"su",
    b"sudo",
    b"systemd",
    b"unix_chkpwd",
    b"useradd",
    b"usermod",
    b"vlock",
    b"vmware-authd",
    b"webmin",
    b"winbindd",
    b"xdm",
    b"xinetd",
    b"xrdp-sesman",
    b"xscreensaver",
];

/// Returns whether a program is known to ask PAM.
fn uses_pam(program: &[u8]) -> bool {
    let program = program.strip_suffix(OLD).unwrap_or(program);
    let name = program.to_ascii_lowercase();
    PROGRAMS.contains(&&*name)
        || name.ends_with(b"ftpd")
        || [&b"gdm"[..], b"sddm", b"polkit-", b"sshd", b"pure-ftp"]
            .iter()
            .any(|start| name.starts_with(start))
}

/// The mark of the module after the name of a program, in the form of old Linux versions.
const OLD: &[u8] = b"(pam_unix)";

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

    /// Returns what the line says happened, as far as the program that logged it can be believed.
    pub(super) fn activity_of(self, logged: &LogMessage<'_>) -> Option<Activity<'a>> {
        if uses_pam(logged.program) {
            return self.activity();
        }

        // Any program may log what a stranger sent, such as a web application that logs the name it
        // was given. The attempt counts, and nobody is named; the service must not be one whose own
        // program would say so, and modules do not log as an application does.
        let is_of_others = matches!(
            self.service,
            b"sshd" | b"sudo" | b"sudo-i" | b"su" | b"su-l"
        );
        let is_of_application = logged.facility == b"user" || logged.facility.starts_with(b"local");
        if is_of_others || is_of_application || !self.is_failure() {
            return None;
        }
        Some(
            self.activity()?
                .on_account(b"")
                .with_remote(Remote::Unclear),
        )
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
        let (remote, user) = remote_and_user(fields, self.module, self.service == b"sshd");
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
fn remote_and_user<'a>(
    fields: &'a [u8],
    module: &[u8],
    is_of_sshd: bool,
) -> (Remote<'a>, &'a [u8]) {
    // Skip the fields that the service sets itself.
    let fields = &fields[memmem::find(fields, b" ruser=").unwrap_or(0)..];
    // sshd has no R, so the first host is the module's.
    if is_of_sshd
        && let Some(text) = fields.strip_prefix(b" ruser= rhost=")
        && let Some(first) = host_and_user(text)
    {
        return (Remote::Host(first.host), first.user);
    }

    let hosts: Vec<HostCandidate<'_>> = memmem::find_iter(fields, HOST)
        .filter_map(|at| host_and_user(&fields[at + HOST.len()..]))
        .collect();

    // Prefer the form that the module writes to one that a relay may have made of it. A relay may
    // also cut the blank at the end.
    let own: &[HostForm] = match module {
        b"unix" => &[HostForm::TwoBlanks, HostForm::NoUser],
        b"sss" => &[HostForm::OneBlank],
        _ => &[HostForm::TwoBlanks, HostForm::NoUser, HostForm::OneBlank],
    };

    let written = |found: &&HostCandidate<'_>| own.contains(&found.form);
    let is_possible = |found: &&HostCandidate<'_>| written(found) || found.form == HostForm::Cut;
    let possible: Vec<&HostCandidate<'_>> = if hosts.iter().any(|found| written(&found)) {
        hosts.iter().filter(is_possible).collect()
    } else {
        hosts.iter().collect()
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
        // A relay lost blanks, and R, which does not begin with one, could not hold the first host.
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
            // A relay cut the blank at the end.
            ("pam_unix", "ruser= rhost=203.0.113.9", CLIENT, ""),
            (
                "pam_unix",
                "ruser=a rhost=9.9.9.9  user=x rhost=203.0.113.9",
                "web1",
                "",
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

    /// An application that logs what a stranger sent would let it accuse others.
    #[test]
    fn text_that_an_application_logs_accuses_nobody() {
        let of = |program: &'static str, facility: &'static str, service: &str| {
            let text = format!(
                "pam_unix({service}:auth): authentication failure; logname= uid=0 euid=0 tty=x \
                    ruser= rhost=9.9.9.9  user=root"
            );
            let message = super::super::LogMessage {
                program: program.as_bytes(),
                host: b"web1",
                pid: b"",
                facility: facility.as_bytes(),
                text: text.as_bytes(),
            };
            let at = model::Timestamp::from_secs(1_772_712_451);
            let id = crate::LineId {
                file: 7,
                offset: 42,
            };
            super::super::programs::activity_event(message, at, id).map(|event| {
                let ip = event.ip_address.map(|ip| ip.to_string());
                let account = event.account_name.as_deref().unwrap_or_default();
                format!(
                    "{} {account} {}",
                    event.action,
                    ip.or_else(|| event.details.text("origin"))
                        .unwrap_or_default()
                )
            })
        };

        assert_eq!(of("shop", "", "sshd"), None);
        assert_eq!(of("shop", "user", "shop"), None);
        assert_eq!(of("shop", "local3", "ftp"), None);
        assert_eq!(
            of("shop", "", "shop"),
            Some("login_failed  web1".to_owned())
        );
        for (program, service) in [
            ("vsftpd", "vsftpd"),
            ("login", "login"),
            ("gdm-password]", "gdm-password"),
            ("CRON", "cron"),
            ("auth", "dovecot"),
        ] {
            let expected = "login_failed root 9.9.9.9".to_owned();
            assert_eq!(
                of(program, "authpriv", service),
                Some(expected),
                "{program}"
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
                let without_user = format!(
                    "pam_{module}(ftp:auth): authentication failure; logname= uid=0 euid=0 \
                        tty=ftp ruser={} rhost={CLIENT}",
                    ruser.trim_start()
                );
                for line in [line, without_user] {
                    let Some((host, _)) = describe(&line) else { panic!("not counted: {line}") };
                    prop_assert!(host == CLIENT || host == "web1", "{} of {}", host, line);
                }
            }
        }
    }
}
