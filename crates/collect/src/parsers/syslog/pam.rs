//! What PAM modules say: failures to log in, and passwords that were changed.

use memchr::memmem;
use model::{Category, Outcome};

use super::programs::{Deed, Remote};

/// `pam_unix(cron:auth): authentication failure; …` and `… password changed for U`.
pub(super) fn pam(message: &[u8]) -> Option<Deed<'_>> {
    if let Some(message) = message.strip_prefix(b"(pam_unix) ") {
        return said(b"unix", b"", message);
    }

    let rest = message.strip_prefix(b"pam_")?;
    let open = memchr::memchr(b'(', rest)?;
    let close = memmem::find(rest, b"): ")?;
    let service = rest.get(open + 1..close)?;
    let service = &service[..memchr::memchr(b':', service).unwrap_or(service.len())];

    said(&rest[..open], service, &rest[close + 3..])
}

/// What a module said for a service. sshd's own lines say the same of the same attempt, and are
/// counted there.
pub(super) fn said<'a>(module: &[u8], service: &'a [u8], said: &'a [u8]) -> Option<Deed<'a>> {
    if let Some(user) = said.strip_prefix(b"password changed for ") {
        return Some(
            Deed::new(Category::Auth, "password_change", Outcome::Success)
                .by(user.trim_ascii())
                .with(service),
        );
    }

    let fields = said.strip_prefix(b"authentication failure;")?;
    if service == b"sshd" {
        return None;
    }

    let (from, user) = client(fields, module);
    Some(
        Deed::new(Category::Auth, "login_failed", Outcome::Failure)
            .to(user)
            .with(service)
            .from(from),
    )
}

/// Whence, and who was tried, of ` logname=L uid=0 euid=0 tty=T ruser=R rhost=H  user=U`.
///
/// R and U are the client's words and may hold anything, even the names of fields: where they leave
/// more than one way to read the line, nobody is named.
fn client<'a>(fields: &'a [u8], module: &[u8]) -> (Remote<'a>, &'a [u8]) {
    // Past what the service says of itself.
    let fields = &fields[memmem::find(fields, b" ruser=").unwrap_or(0)..];
    let hosts: Vec<Found<'_>> = memmem::find_iter(fields, HOST)
        .filter_map(|at| host_and_user(&fields[at + HOST.len()..]))
        .collect();

    // What the module writes itself, before what a relay may have made of it.
    let own: &[Form] = match module {
        b"unix" => &[Form::TwoBlanks, Form::Nobody],
        b"sss" => &[Form::OneBlank],
        _ => &[Form::TwoBlanks, Form::Nobody, Form::OneBlank, Form::Cut],
    };

    let written = |found: &&Found<'_>| own.contains(&found.form);
    let own: Vec<&Found<'_>> = hosts.iter().filter(written).collect();
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
        // Blanks were lost on the way, and no name was sent that could hold the first host.
        [first, ..]
            if module == b"unix" && !written(&first) && fields.starts_with(b" ruser= rhost=") =>
        {
            (Remote::Host(first.host), first.user)
        }
        [..] => (Remote::Unclear, b""),
    }
}

const HOST: &[u8] = b" rhost=";

struct Found<'a> {
    host: &'a [u8],
    user: &'a [u8],
    form: Form,
}

/// What follows a host.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `H  user=U`
    TwoBlanks,
    /// `H user=U`
    OneBlank,
    /// `H `: nobody is named.
    Nobody,
    /// Nothing.
    Cut,
}

fn host_and_user(text: &[u8]) -> Option<Found<'_>> {
    let (host, rest) = text.split_at(memchr::memchr(b' ', text).unwrap_or(text.len()));
    let (user, form): (&[u8], Form) = if rest.is_empty() {
        (b"", Form::Cut)
    } else if rest.trim_ascii().is_empty() {
        (b"", Form::Nobody)
    } else if let Some(user) = rest.strip_prefix(b"  user=") {
        (user, Form::TwoBlanks)
    } else {
        (rest.strip_prefix(b" user=")?, Form::OneBlank)
    };

    Some(Found {
        host,
        user: user.trim_ascii(),
        form,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    const CLIENT: &str = "203.0.113.9";

    fn read(message: &str) -> Option<(String, String)> {
        let id = crate::LineId {
            file: 7,
            offset: 42,
        };

        let said = super::super::Said {
            program: b"vsftpd",
            host: b"web1",
            message: message.as_bytes(),
        };

        let at = model::Timestamp::from_secs(1_772_712_451);
        super::super::programs::event(said, at, id).map(|event| {
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
    fn the_host_is_the_modules_word() {
        const HEAD: &str = "authentication failure; logname= uid=0 euid=0 tty=ftp";
        for (module, fields, host, user) in [
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
            // Either may be the client's: it counts, and nobody is named.
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
        ] {
            let line = format!("{module}(vsftpd:auth): {HEAD} {fields}");
            assert_eq!(
                read(&line),
                Some((host.to_owned(), user.to_owned())),
                "{line}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_name_hides_or_frames_anybody(
            ruser in "( rhost=9.9.9.9|  user=|ruser=|\\PC{0,6}|logname=| user=z){0,5}",
            user in "( rhost=9.9.9.9|  user=|ruser=|\\PC{0,6}|\\): | user=z){0,5}",
        ) {
            for module in ["unix", "sss"] {
                let blanks = if module == "unix" { "  " } else { " " };
                let line = format!(
                    "pam_{module}(ftp:auth): authentication failure; logname= uid=0 euid=0 \
                        tty=ftp ruser={ruser} \
                     rhost={CLIENT}{blanks}user={user}"
                );
                let Some((host, _)) = read(&line) else { panic!("not counted: {line}") };
                prop_assert!(host == CLIENT || host == "web1", "{} of {}", host, line);
            }
        }
    }
}
