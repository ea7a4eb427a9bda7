//! A Slack channel, by incoming webhook (Block Kit).
//!
//! Text that an attacker may have written can neither link, mention nor format: it goes into
//! `plain_text` objects alone.

use model::facts::Way;
use model::{Channel, Severity};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Audience, Definition, Outlet, Problems, Scheduled, SecretFile, Sending, Setup};
use crate::error::SetupError;
use crate::hook::Hook;
use crate::http_post::{Poster, Target};
use crate::notification::Notification;
use crate::wording;
use model::text::clip;

pub(super) const DEFINITION: Definition = Definition {
    channel: Channel::named("slack"),
    audience: Audience::People,
    resolves: false,
    names_people: false,
    severities: &[Severity::Critical, Severity::High],
    scheduled: Scheduled::WhereConfigured,
    parallel_sends: Definition::PARALLEL_SENDS,
};

/// Slack's limits, in characters; applied to bytes, which are never fewer.
const HEADER_MAX: usize = 150;
const TEXT_MAX: usize = 3000;
const FIELD_MAX: usize = 2000;
/// Fields of one section.
const FIELDS_MAX: usize = 10;

/// `[channels.slack]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Section(pub Hook);

struct Slack(Poster);

impl super::Section for Section {
    fn is_configured(&self) -> bool {
        self.0.is_configured()
    }

    fn check(&self, problems: &mut Problems) {
        self.0.check(problems);
    }

    fn secrets(&self) -> Vec<SecretFile<'_>> {
        self.0.secrets()
    }

    fn ways(&self) -> Vec<Way> {
        self.0.ways("Slack")
    }

    fn open(&self, setup: &mut Setup<'_>) -> Result<Box<dyn Outlet>, SetupError> {
        outlet(&self.0.target(setup)?)
    }
}

/// Makes the channel ready.
pub fn outlet(target: &Target) -> Result<Box<dyn Outlet>, SetupError> {
    let poster = Poster::new(DEFINITION.channel, target)?;
    Ok(Box::new(Slack(poster)))
}

impl Outlet for Slack {
    fn send<'a>(&'a self, message: &'a Notification) -> Sending<'a> {
        let headers =
            HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        Box::pin(self.0.post(
            headers,
            message_body(message).to_string().into_bytes(),
            message.sent_at,
        ))
    }
}

fn plain_text(text: &str, most: usize) -> Value {
    json!({ "type": "plain_text", "text": clip(text, most), "emoji": false })
}

/// What a phone shows before the message is opened; `<`, `>` and `&` mean something to Slack there.
fn fallback_text(text: &str) -> String {
    clip(text, TEXT_MAX)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn message_body(message: &Notification) -> Value {
    let summary = wording::summary(message);
    let title = format!(
        "{}: {}",
        message.content.severity().as_str().to_ascii_uppercase(),
        wording::field(message.content.title())
    );
    let facts = wording::facts(message);
    let field =
        |(label, value): &(&str, String)| plain_text(&format!("{label}\n{value}"), FIELD_MAX);

    let mut blocks = vec![
        json!({ "type": "header", "text": plain_text(&title, HEADER_MAX) }),
        json!({ "type": "section", "text": plain_text(&summary, TEXT_MAX) }),
    ];
    blocks.extend(facts.chunks(FIELDS_MAX).map(
        |some| json!({ "type": "section", "fields": some.iter().map(field).collect::<Vec<_>>() }),
    ));

    json!({ "text": fallback_text(&summary), "blocks": blocks })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::samples;

    #[test]
    fn a_message_has_the_facts_in_blocks() {
        insta::assert_json_snapshot!(message_body(&samples::message()));
    }

    #[test]
    fn hostile_text_neither_mentions_nor_grows() {
        let body = message_body(&samples::hostile(
            &"<!channel> <http://evil|ok> *b* ".repeat(500),
        ));
        assert!(!body["text"].as_str().unwrap().contains('<'));

        for block in body["blocks"].as_array().unwrap() {
            for text in block.get("text").into_iter().chain(
                block
                    .get("fields")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten(),
            ) {
                assert_eq!(text["type"], "plain_text");
                assert!(text["text"].as_str().unwrap().len() <= TEXT_MAX);
            }
        }

        assert!(body["blocks"][0]["text"]["text"].as_str().unwrap().len() <= HEADER_MAX);
    }
}
