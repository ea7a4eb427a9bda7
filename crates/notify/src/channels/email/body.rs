//! What a mail looks like: a plain sentence first, then the facts, as text and as HTML.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};

use crate::error::{SendError, chain};
use crate::notification::{Kind, Notification};
use crate::wording;
use model::text::clip;

/// The longest subject in bytes.
const SUBJECT_MAX: usize = 180;

/// RFC 3834: tells out-of-office robots not to answer.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// The whole mail, ready to be sent. `responsible` names the people who are responsible for audit
/// failures, if the alert is one.
pub(super) fn mail(
    from: &Mailbox,
    to: &[Mailbox],
    message: &Notification,
    responsible: Option<&str>,
) -> Result<Vec<u8>, SendError> {
    let micros = u64::try_from(message.sent_at.as_micros()).unwrap_or(0);
    let mut builder = lettre::Message::builder()
        .from(from.clone())
        .subject(mail_subject(message))
        // The same at every attempt, so that a mail program shows a repetition once.
        .message_id(Some(format!(
            "<{}@{}>",
            message.delivery_id,
            from.email.domain()
        )))
        .date(SystemTime::UNIX_EPOCH + Duration::from_micros(micros))
        .header(AutoSubmitted);

    let mut seen = BTreeSet::new();
    for mailbox in to.iter().filter(|mailbox| seen.insert(&mailbox.email)) {
        builder = builder.to(mailbox.clone());
    }

    let mail = builder
        .multipart(MultiPart::alternative_plain_html(
            text_body(message, responsible),
            html_body(message, responsible),
        ))
        .map_err(|error| {
            SendError::never(
                format!("no mail can be made: {}", chain(&error)),
                "report this as a bug",
            )
        })?;

    Ok(mail.formatted())
}

fn mail_subject(message: &Notification) -> String {
    let word = match message.kind {
        Kind::Test => "TEST".to_owned(),
        Kind::Digest => "DIGEST".to_owned(),
        Kind::Heartbeat => "ALIVE".to_owned(),
        Kind::Reminder => "REMINDER".to_owned(),
        Kind::Resolved => "OVER".to_owned(),
        Kind::Escalated => format!(
            "ESCALATED {}",
            message.content.severity().as_str().to_ascii_uppercase()
        ),
        Kind::Opened => message.content.severity().as_str().to_ascii_uppercase(),
    };

    clip(
        &format!("[{word}] {}", wording::field(message.content.title())),
        SUBJECT_MAX,
    )
    .into_owned()
}

fn fact_rows(message: &Notification, responsible: Option<&str>) -> Vec<(&'static str, String)> {
    let mut facts = wording::facts(message);
    facts.extend(responsible.map(|names| ("Responsible", wording::field(names))));
    facts
}

fn text_body(message: &Notification, responsible: Option<&str>) -> String {
    let facts = fact_rows(message, responsible);
    let width = facts
        .iter()
        .map(|(label, _)| label.chars().count() + 1)
        .max()
        .unwrap_or(0);
    let mut out = format!(
        "{}\n\n{}\n\n",
        wording::summary(message),
        wording::lines(message).join("\n")
    );

    for (label, value) in facts {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{:<width$} {value}", format!("{label}:"));
    }

    if let Some(url) = &message.ack_url {
        let _ = write!(out, "\nAcknowledge: {url}\n");
    }

    let _ = write!(
        out,
        "\n{}: {}\n",
        more_section(message).0,
        more_section(message).1
    );
    out
}

/// Where to see more, and by which command.
fn more_section(message: &Notification) -> (&'static str, String) {
    if message.kind.is_of_an_alert() {
        let id = message.content.as_alert().alert_id;
        (
            "On the command line",
            format!("blueteam alerts show {id}; blueteam alerts ack {id}"),
        )
    } else {
        ("For the state of everything", "blueteam status".to_owned())
    }
}

fn html_body(message: &Notification, responsible: Option<&str>) -> String {
    let mut rows = String::new();
    for (label, value) in fact_rows(message, responsible) {
        let _ = writeln!(
            rows,
            "<tr><th align=\"left\" style=\"padding-right:1em\">{}</th><td>{}</td></tr>",
            escape_html(label),
            escape_html(&value)
        );
    }

    let ack = message.ack_url.as_ref().map_or_else(String::new, |url| {
        format!(
            "<p><a href=\"{}\">Acknowledge this alert</a></p>\n",
            escape_html(url)
        )
    });

    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta \
            charset=\"utf-8\"><title>{}</title></head>\n<body>\n\
         <p><strong>{}</strong></p>\n<p>{}</p>\n<table>\n{rows}</table>\n{ack}\
         <p>{}: <code>{}</code></p>\n</body></html>\n",
        escape_html(&mail_subject(message)),
        escape_html(&wording::summary(message)),
        wording::lines(message)
            .iter()
            .map(|line| escape_html(line))
            .collect::<Vec<_>>()
            .join("<br>\n"),
        more_section(message).0,
        escape_html(&more_section(message).1),
    )
}

fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }

    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::samples;
    use proptest::prelude::*;

    #[test]
    fn a_manager_can_read_it() {
        insta::assert_snapshot!("text", text_body(&samples::message(), None));
        insta::assert_snapshot!("html", html_body(&samples::message(), None));
    }

    #[test]
    fn a_link_to_acknowledge_stands_in_both_parts() {
        let url = "https://soc.example.com/ack/1/2/3/4?a=1&b=2";
        let message = Notification {
            ack_url: Some(url.to_owned()),
            ..samples::message()
        };

        assert!(text_body(&message, None).contains(&format!("Acknowledge: {url}\n")));
        assert!(
            html_body(&message, None)
                .contains("<a href=\"https://soc.example.com/ack/1/2/3/4?a=1&amp;b=2\">")
        );
    }

    proptest! {
        #[test]
        fn an_attacker_adds_no_header_and_no_markup(text in samples::attacks(), digest: bool) {
            let mut message = samples::hostile(&format!("x{text}"));
            if digest {
                // The line breaks are blueteam's own; the text of each line was sanitized when it
                // was written.
                message.kind = Kind::Digest;
            }

            let (plain, marked) = (text_body(&message, Some(&text)), html_body(&message, Some(&text)));
            prop_assert!(samples::harmless(&plain) && samples::harmless(&marked), "{:?}", plain);
            prop_assert!(plain.len() < 40_000 || digest, "{}", plain.len());
            let from: Mailbox = "Blue Team <soc@example.com>".parse().unwrap();
            let mail = String::from_utf8(mail(&from, &["a@example.com".parse().unwrap()], &message, None).unwrap()).unwrap();
            let head = mail.split("\r\n\r\n").next().unwrap();
            let names: Vec<_> = head
                .split("\r\n")
                .filter(|line| !line.starts_with([' ', '\t']))
                .map(|line| line.split(':').next().unwrap())
                .collect();

            let known = ["From", "Subject", "Message-ID", "Date", "Auto-Submitted", "To", "MIME-Version", "Content-Type"];
            prop_assert!(names.iter().all(|name| known.contains(name)), "{:?}", names);
            prop_assert_eq!(names.len(), known.len());
            prop_assert!(mail.is_ascii());
            let base = Notification { kind: message.kind, ..samples::hostile("x") };
            let breaks = if digest { wording::lines(&message).len().saturating_sub(1) } else { 0 };
            let tags = html_body(&message, None).matches('<').count();
            prop_assert_eq!(tags, html_body(&base, None).matches('<').count() + breaks);
        }
    }
}
