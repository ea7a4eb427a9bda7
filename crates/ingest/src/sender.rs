//! For whom a key sends: the key decides whose its events are, and their `metadata.service`, not the
//! events.

use std::collections::HashMap;
use std::fmt;

use model::{AuditRecord, FieldError, ServiceName, TenantId};
use serde_json::value::RawValue;
use store::keys::KeyInfo;

use crate::skeleton::skeleton;

const FIELD: &str = "metadata.service";

/// Who sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Whose events they are.
    pub tenant: TenantId,
    /// For whom it speaks.
    pub voice: Voice,
}

/// For whom a key speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Voice {
    /// One service: all that it sends is its own.
    Service(ServiceName),
    /// It passes on events of others, and is trusted to name their service; but not a service that
    /// has a key of its own.
    Relay {
        /// The services of its tenant that have their own keys.
        reserved: Vec<String>,
    },
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.voice {
            Voice::Service(name) => write!(f, "the service {name}"),
            Voice::Relay { .. } => f.write_str("a relay"),
        }
    }
}

impl Sender {
    /// Returns the sender that this key identifies.
    pub fn of(key: &KeyInfo) -> Self {
        let voice = match &key.service {
            Some(name) => Voice::Service(name.clone()),
            None => Voice::Relay {
                reserved: key.reserved.clone(),
            },
        };
        Self {
            tenant: key.tenant,
            voice,
        }
    }

    /// Sets the service that the OpenTelemetry resource of the record names, if the sender is a
    /// relay. A service with a key of its own may call its parts what it likes: what it calls them
    /// stays in `service.name`.
    pub(super) fn claim<'a>(&self, mut record: AuditRecord<'a>, claimed: &str) -> AuditRecord<'a> {
        if let Voice::Relay { .. } = self.voice
            && let Ok(name) = claimed.parse()
        {
            record.metadata = record.metadata.with_service(&name);
        }
        record
    }

    /// Sets the record's service. Fails if the record claims another sender's.
    pub fn stamp<'a>(&self, mut record: AuditRecord<'a>) -> Result<AuditRecord<'a>, FieldError> {
        let claimed = claimed_service(record.metadata.as_json());
        match (&self.voice, claimed) {
            (Voice::Service(own), Some(other)) if other != own.as_str() => Err(FieldError::new(
                FIELD,
                format_args!("this API key is of the service `{own}`, and of no other"),
            )),
            (Voice::Service(own), _) => {
                record.metadata = record.metadata.with_service(own);
                Ok(record)
            }
            (Voice::Relay { reserved }, Some(other)) if looks_like_any(&other, reserved) => {
                Err(FieldError::new(
                    FIELD,
                    "that service, or one whose name looks the same, has an API key of its own: \
                        only with it are events the service's",
                ))
            }
            (Voice::Relay { .. }, Some(_) | None) => Ok(record),
        }
    }
}

/// Whether people would take a name for one of these.
fn looks_like_any(name: &str, reserved: &[String]) -> bool {
    let looks = skeleton(name);
    reserved.iter().any(|other| skeleton(other) == looks)
}

/// The service that the database will read in this metadata: of two equal keys, `jsonb` keeps the
/// last. None where there is none, or no text, or no JSON that this program reads (the database
/// then refuses it too, or knows better; it is no name of a service either way).
fn claimed_service(metadata: &str) -> Option<String> {
    // Hardly any event names a service, and a search for the bytes is much cheaper than parsing.
    if !metadata.contains("service") && !metadata.contains('\\') {
        return None;
    }
    let fields: HashMap<String, &RawValue> = serde_json::from_str(metadata).ok()?;
    serde_json::from_str(fields.get("service")?.get()).ok()
}

#[cfg(test)]
mod tests {
    use model::audit::Strangers;

    use super::*;

    fn sender(voice: Voice) -> Sender {
        Sender {
            tenant: TenantId::DEFAULT,
            voice,
        }
    }

    fn stamped(sender: &Sender, metadata: &str) -> Result<String, String> {
        let json = format!(
            r#"{{"category":"auth","action":"login","result":"success","metadata":{metadata}}}"#
        );
        let record = AuditRecord::from_json(json.as_bytes(), Strangers::Refuse).unwrap();
        sender
            .stamp(record)
            .map(|r| r.metadata.as_json().to_owned())
            .map_err(|e| e.field.into_owned())
    }

    #[test]
    fn a_service_speaks_for_itself_alone() {
        let eqmon = sender(Voice::Service("eqmon".parse().unwrap()));
        for (metadata, expected) in [
            ("{}", Some(r#"{"service":"eqmon"}"#)),
            (r#"{"a":1}"#, Some(r#"{"a":1,"service":"eqmon"}"#)),
            (
                r#"{"service":"eqmon"}"#,
                Some(r#"{"service":"eqmon","service":"eqmon"}"#),
            ),
            // Not a text: it is told nothing, and overwritten.
            (
                r#"{"service":7}"#,
                Some(r#"{"service":7,"service":"eqmon"}"#),
            ),
            (r#"{"service":"artemis"}"#, None),
            (r#"{"s\u0065rvice":"artemis"}"#, None),
            (r#"{"service":"eqmon","service":"artemis"}"#, None),
        ] {
            let expected = expected.map(str::to_owned).ok_or_else(|| FIELD.to_owned());
            assert_eq!(stamped(&eqmon, metadata), expected, "{metadata}");
        }
    }

    #[test]
    fn a_relay_speaks_for_those_without_a_key() {
        let relay = sender(Voice::Relay {
            reserved: vec!["eqmon".to_owned()],
        });
        for (metadata, good) in [
            (r#"{"service":"artemis"}"#, true),
            (r#"{"a":{"service":"eqmon"}}"#, true),
            (r#"{"service":"eqmon"}"#, false),
            (r#"{"service":"artemis","service":"eqmon"}"#, false),
            (r#"{"service":1,"servic\u0065":"e\u0071mon"}"#, false),
            // Names that look the same.
            (r#"{"service":"EQMON"}"#, false),
            (r#"{"service":"eqmon "}"#, false),
            (r#"{"service":"eqmon\u200b"}"#, false),
            (r#"{"service":"\u0435qmon"}"#, false),
            (r#"{"service":"eqmon2"}"#, true),
        ] {
            assert_eq!(stamped(&relay, metadata).is_ok(), good, "{metadata}");
        }
    }
}
