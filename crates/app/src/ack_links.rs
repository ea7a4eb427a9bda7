//! The links in mails by which their readers acknowledge alerts.

use model::{AlertId, Span, Timestamp};
use notify::Kind;

use config::Escalation;

mod key;

use config::StateDir;
pub use key::{Link, LinkKey};

/// The file of the key, readable by its owner alone.
const KEY: &str = "acknowledge.key";

/// Makes links.
#[derive(Clone, Debug)]
pub struct Links {
    base: String,
    key: LinkKey,
    valid: Span,
}

impl Links {
    /// Opens the links that the configuration asks for; `None` without a public URL.
    pub fn open(config: &Escalation, state: &StateDir) -> anyhow::Result<Option<Self>> {
        if config.public_url.is_empty() {
            return Ok(None);
        }

        let base = config.public_url.trim_end_matches('/').to_owned();
        Ok(Some(Self {
            base,
            key: load_key(state)?,
            valid: config.ack_link_ttl,
        }))
    }

    /// Returns the key that links are signed with.
    pub const fn key(&self) -> &LinkKey {
        &self.key
    }

    /// Returns the link for a message; `None` for a message that acknowledges nothing.
    pub fn to(
        &self,
        alert_id: AlertId,
        kind: Kind,
        people: &[String],
        now: Timestamp,
    ) -> Option<String> {
        if !matches!(kind, Kind::Opened | Kind::Escalated) {
            return None;
        }

        let who = match people {
            [] => "a reader".to_owned(),
            people => people.join(" or "),
        };

        let link = Link {
            alert_id,
            expires: now.plus(self.valid),
            who,
        };

        Some(format!("{}{}", self.base, self.key.path(&link)))
    }
}

/// Loads the key; creates it if there is none yet.
fn load_key(state: &StateDir) -> anyhow::Result<LinkKey> {
    if let Some(secret) = std::fs::read(state.join(KEY))
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
    {
        return Ok(LinkKey::new(secret));
    }

    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    // The temporary file is readable by its owner alone, and keeps that mode when it is renamed.
    state.replace(KEY, &secret)?;
    Ok(LinkKey::new(secret))
}
