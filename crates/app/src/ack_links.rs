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
    /// Links as the configuration wants them, if it wants any.
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

    /// What they are signed with.
    pub const fn key(&self) -> &LinkKey {
        &self.key
    }

    /// The link of a message, when there is something to acknowledge.
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

/// The key, made when there is none yet.
fn load_key(state: &StateDir) -> anyhow::Result<LinkKey> {
    if let Some(secret) = std::fs::read(state.join(KEY))
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
    {
        return Ok(LinkKey::new(secret));
    }
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    // A temporary file is its owner's alone, and stays so under its new name.
    state.replace(KEY, &secret)?;
    Ok(LinkKey::new(secret))
}
