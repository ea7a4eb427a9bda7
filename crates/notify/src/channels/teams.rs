//! A Microsoft Teams channel, by a workflow that takes an Adaptive Card ("Post to a channel when a
//! webhook request is received").
//!
//! Cards read Markdown in their text blocks; text that an attacker may have written goes into text
//! runs, which do not.

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
    channel: Channel::named("teams"),
    audience: Audience::People,
    resolves: false,
    names_people: false,
    severities: &[Severity::Critical, Severity::High],
    scheduled: Scheduled::WhereConfigured,
    parallel_sends: Definition::PARALLEL_SENDS,
};

/// The longest text of one run, in bytes: a whole card may have 28 KB.
const RUN_MAX: usize = 1500;

/// `[channels.teams]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Section(pub Hook);

struct Teams(Poster);

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
        self.0.ways("Teams")
    }

    fn open(&self, setup: &mut Setup<'_>) -> Result<Box<dyn Outlet>, SetupError> {
        outlet(&self.0.target(setup)?)
    }
}

/// Makes the channel ready.
pub fn outlet(target: &Target) -> Result<Box<dyn Outlet>, SetupError> {
    let poster = Poster::new(DEFINITION.channel, target)?;
    Ok(Box::new(Teams(poster)))
}

impl Outlet for Teams {
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

const fn severity_color(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "Attention",
        Severity::Medium => "Warning",
        Severity::Low | Severity::Info => "Default",
    }
}

fn text_run(text: &str) -> Value {
    json!({ "type": "TextRun", "text": clip(text, RUN_MAX) })
}

fn message_body(message: &Notification) -> Value {
    let alert = message.content.as_alert();
    let mut title = text_run(&format!(
        "{}: {}",
        alert.severity.as_str().to_ascii_uppercase(),
        wording::field(&alert.title)
    ));
    title["weight"] = json!("Bolder");
    title["size"] = json!("Large");

    title["color"] = json!(severity_color(alert.severity));
    let mut body = vec![
        json!({ "type": "RichTextBlock", "inlines": [title] }),
        json!({ "type": "RichTextBlock", "inlines": [text_run(&wording::summary(message))] }),
    ];
    body.extend(wording::facts(message).iter().map(|(label, value)| {
        let mut label = text_run(&format!("{label}: "));
        label["weight"] = json!("Bolder");
        json!({ "type": "RichTextBlock", "spacing": "None", "inlines": [label, text_run(value)] })
    }));

    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "fallbackText": clip(&wording::field(&alert.title), RUN_MAX),
                "body": body,
            },
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::samples;

    #[test]
    fn a_card_has_the_facts() {
        insta::assert_json_snapshot!(message_body(&samples::message()));
    }

    #[test]
    fn hostile_text_is_in_runs_alone_and_the_card_stays_small() {
        let card = message_body(&samples::hostile(&"[click](http://evil) ".repeat(1000)));
        assert!(
            card.to_string().len() < 28_000,
            "{}",
            card.to_string().len()
        );
        for block in card["attachments"][0]["content"]["body"]
            .as_array()
            .unwrap()
        {
            assert_eq!(block["type"], "RichTextBlock");
        }
    }
}
