//! A request that contains code: SQL, script, shell, or a path out of the web root.

use std::sync::Arc;

use model::event::EventTags;
use model::{ControlId, EntityKind, RuleId, SecurityEvent, Severity, Source, Span};
use serde::{Deserialize, Serialize};

use crate::event_header::RulePredicate;
use crate::keyed::Key;
use crate::open::NewDetection;
use crate::rule::{Built, Context, Definition, Info, Rule, default_params, parse_params};

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("injection_attempt"),
        name: "Injection attempt",
        description: "A request whose decoded target contains SQL, script, shell commands or a \
            path out of the web root.",
        severity: Severity::High,
        controls: &[ControlId::known("3.14.6"), ControlId::known("3.13.1")],
        attack: &["T1190", "T1059"],
        interest: EventTags::WEB,
        feeds: &[Source::Nginx],
    },
    defaults: default_params::<Params>,
    fixtures: include_str!("fixtures/injection_attempt.ndjson"),
    build: |value, _| {
        let _: Params = parse_params(value)?;
        Ok(Built {
            rule: Box::new(InjectionAttempt),
            cooldown: Span::hours(1),
            lookback: Span::ZERO,
        })
    },
};

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {}

struct InjectionAttempt;

/// Maximum number of examined bytes of a target.
const TARGET_BYTES_MAX: usize = 8192;
/// Maximum number of nested encodings: attackers encode repeatedly.
const ENCODING_LAYERS_MAX: usize = 3;

/// Signatures of each kind, for a target that is decoded and normalized.
const SIGNATURES: [(&str, &[&str]); 4] = [
    (
        "SQL",
        &[
            "union select",
            "union all select",
            "' or '",
            "' or 1=1",
            "\" or 1=1",
            "' and '1'='",
            "or 1=1--",
            "sleep(5",
            "pg_sleep(",
            "benchmark(",
            "waitfor delay",
            "information_schema",
            "xp_cmdshell",
            "extractvalue(",
            "updatexml(",
            "; drop table",
            "';--",
            "' and 1=",
            "load_file(",
            "into outfile",
        ],
    ),
    (
        "script",
        &[
            "<script",
            "javascript:alert",
            "onerror=",
            "onload=alert",
            "<svg/on",
            "<img src=x",
            "document.cookie",
        ],
    ),
    (
        "path out of the web root",
        &[
            "../../",
            "..\\..\\",
            "/..%c0%af",
            "/etc/passwd",
            "/etc/shadow",
            "/proc/self/",
            "win.ini",
            "boot.ini",
            "php://input",
            "php://filter",
            "file:///",
            "expect://",
            "/.%2e/",
            "/%2e%2e/",
        ],
    ),
    (
        "shell command",
        &[
            "${jndi:",
            "() { :",
            ";cat ",
            "|cat ",
            "; cat ",
            "| cat ",
            ";id;",
            "$(cat",
            "$(id)",
            "`id`",
            "; wget ",
            ";wget ",
            "&& wget ",
            ";curl ",
            "| sh",
            "/bin/sh",
            "/bin/bash",
            "cmd.exe",
            "powershell -",
            "<?php",
            "allow_url_include",
            "eval(base64",
        ],
    ),
];

/// Removes one layer of percent-encoding; a plus is a space.
fn percent_decode_layer(text: &[u8]) -> Vec<u8> {
    let hex = |c: Option<&u8>| c.and_then(|c| char::from(*c).to_digit(16)).map(|d| d as u8);
    let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
    while let Some(&c) = text.get(at) {
        let (byte, taken) = match (c, hex(text.get(at + 1)), hex(text.get(at + 2))) {
            (b'%', Some(high), Some(low)) => (high << 4 | low, 3),
            (b'+', ..) => (b' ', 1),
            // Web servers write bytes that would break their log as `\xHH`.
            (b'\\', ..)
                if text
                    .get(at + 1)
                    .is_some_and(|x| x.eq_ignore_ascii_case(&b'x')) =>
            {
                match (hex(text.get(at + 2)), hex(text.get(at + 3))) {
                    (Some(high), Some(low)) => (high << 4 | low, 4),
                    _ => (c, 1),
                }
            }
            _ => (c, 1),
        };

        out.push(byte);
        at += taken;
    }

    out
}

/// Lowercases text and replaces each run of spaces by one; `/**/`, which SQL treats as a space, is
/// one as well.
fn normalize_text(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text)
        .to_ascii_lowercase()
        .replace("/**/", " ");
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let c = if c.is_ascii_whitespace() || c == '\0' {
            ' '
        } else {
            c
        };
        if c != ' ' || !out.ends_with(' ') {
            out.push(c);
        }
    }

    out
}

/// Returns the kind of code that a target contains, if any.
pub(super) fn kind_of(target: &str) -> Option<&'static str> {
    let mut layer = target.as_bytes()[..target.len().min(TARGET_BYTES_MAX)].to_vec();
    for _ in 0..=ENCODING_LAYERS_MAX {
        let text = normalize_text(&layer);
        if let Some((kind, _)) = SIGNATURES
            .iter()
            .find(|(_, marks)| marks.iter().any(|mark| text.contains(mark)))
        {
            return Some(kind);
        }
        let next = percent_decode_layer(&layer);
        if next == layer {
            break;
        }
        layer = next;
    }

    None
}

/// Returns whether a request contains code. Most targets are letters, digits and slashes only and
/// need no decoding.
fn carries_code(event: &SecurityEvent<'_>) -> bool {
    let Some(target) = event.resource_id.as_deref() else {
        return false;
    };
    let ordinary =
        |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'/' | b'-' | b'_' | b'?' | b'=' | b'&');
    let bytes = target.as_bytes();
    let dots = bytes.windows(2).any(|pair| pair == b"..");
    if bytes.iter().all(|c| ordinary(c) || *c == b'.') && !dots && !target.contains("win.ini") {
        return false;
    }

    kind_of(target).is_some()
}

impl Rule for InjectionAttempt {
    fn predicate(&self) -> Option<RulePredicate> {
        Some(Arc::new(carries_code))
    }

    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let (Some(ip), Some(target)) = (event.ip_address, event.resource_id.as_deref()) else {
            return;
        };
        let Some(kind) = kind_of(target) else { return };
        cx.fire(Key::ip(event.source, ip), event, || {
            let answered = event.details.number("status").unwrap_or(0);
            let title = format!(
                "Injection attempt: {kind} in a request from {ip}, answered with {answered}"
            );

            let description = format!(
                "The target of a request from {ip} contains code ({kind}). {} Block the address if \
                    it is not one of yours.",
                if answered < 300 {
                    "The server answered with success: find out what it did."
                } else {
                    "The server did not serve it."
                }
            );
            NewDetection::new(EntityKind::Ip, ip, title, description)
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn encoded_and_disguised_code_is_found() {
        for (target, kind) in [
            ("/a?id=1%20UNION%20SELECT%201", Some("SQL")),
            ("/a?id=1/**/UnIoN/**/SeLeCt+1", Some("SQL")),
            ("/a?id=1%2527%2520or%2520%25271%2527=%25271", Some("SQL")),
            ("/a?q=%3Cscript%3Ealert(1)", Some("script")),
            ("/a/..%2f..%2fetc/hosts", Some("path out of the web root")),
            (
                "/a?f=\\x2e\\x2e/\\x2e\\x2e/x",
                Some("path out of the web root"),
            ),
            ("/?x=${jndi:ldap://e/a}", Some("shell command")),
            ("/cgi?;wget+http://e/x", Some("shell command")),
            ("/select/union?order=by", None),
            ("/search?q=rock+%26+roll+or+jazz", None),
            ("/img/a..b.png", None),
            ("/union-station/select-hotel", None),
        ] {
            assert_eq!(kind_of(target), kind, "{target}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(target in "\\PC{0,200}") {
            let _ = kind_of(&target);
        }
    }
}
