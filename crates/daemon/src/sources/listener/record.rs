//! What a listener's spool holds: messages with the time and the number that make them the same
//! events each time they are read, and what was lost between them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::Timestamp;
use serde::{Deserialize, Serialize};
use store::sources::{Cause, Gap};

const MESSAGE: u8 = 0;
const LOST: u8 = 1;
/// A message behind the address of its sender: four bytes, or sixteen.
const MESSAGE_OF_V4: u8 = 2;
const MESSAGE_OF_V6: u8 = 3;
/// Kind, time, run and number.
const HEAD: usize = 1 + 8 + 4 + 8;

/// Where a record stands: the run of the program that took it, and its number in that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub run: u32,
    pub number: u64,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub place: Place,
    pub received: Timestamp,
    pub content: Content<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    /// A message, and the address that sent it; none of a local socket.
    Message(&'a [u8], Option<IpAddr>),
    Lost(Loss),
}

/// Messages that are or may be missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Loss {
    pub from: Timestamp,
    pub to: Timestamp,
    /// How many, when they could be counted: they were dropped. Else nobody listened.
    pub messages: Option<u64>,
    pub why: String,
}

impl Loss {
    /// It as a row of the ledger.
    pub(super) fn gap(self) -> Gap {
        Gap {
            cause: if self.messages.is_some() {
                Cause::Dropped
            } else {
                Cause::Outage
            },
            started_at: self.from.min(self.to),
            ended_at: Some(self.to),
            lost: self.messages,
            detail: self.why,
        }
    }
}

impl Record<'_> {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let (kind, content) = match &self.content {
            Content::Message(message, None) => (MESSAGE, message.to_vec()),
            Content::Message(message, Some(IpAddr::V4(peer))) => {
                (MESSAGE_OF_V4, [&peer.octets()[..], message].concat())
            }
            Content::Message(message, Some(IpAddr::V6(peer))) => {
                (MESSAGE_OF_V6, [&peer.octets()[..], message].concat())
            }
            // A struct of numbers and text always becomes JSON.
            Content::Lost(loss) => (LOST, serde_json::to_vec(loss).unwrap_or_default()),
        };

        out.push(kind);
        out.extend_from_slice(&self.received.as_micros().to_le_bytes());
        out.extend_from_slice(&self.place.run.to_le_bytes());
        out.extend_from_slice(&self.place.number.to_le_bytes());
        out.extend_from_slice(&content);
    }
}

/// A record as [`Record::encode`] wrote it; none when it is something else.
pub(super) fn decode(payload: &[u8]) -> Option<Record<'_>> {
    let (head, content) = payload.split_first_chunk::<HEAD>()?;
    let (kind, rest) = head.split_first()?;
    let (received, rest) = rest.split_first_chunk::<8>()?;
    let (run, number) = rest.split_first_chunk::<4>()?;
    let content = match *kind {
        MESSAGE => Content::Message(content, None),
        MESSAGE_OF_V4 => {
            let (peer, message) = content.split_first_chunk::<4>()?;
            Content::Message(message, Some(Ipv4Addr::from(*peer).into()))
        }
        MESSAGE_OF_V6 => {
            let (peer, message) = content.split_first_chunk::<16>()?;
            Content::Message(message, Some(Ipv6Addr::from(*peer).into()))
        }
        LOST => Content::Lost(serde_json::from_slice(content).ok()?),
        _ => return None,
    };

    let number = u64::from_le_bytes(number.try_into().ok()?);
    Some(Record {
        place: Place {
            run: u32::from_le_bytes(*run),
            number,
        },
        received: Timestamp::from_micros(i64::from_le_bytes(*received)),
        content,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(run: u32, number: u64, at in 0..i64::MAX, message: Vec<u8>, lost: Option<u64>, peer: Option<IpAddr>) {
            let received = Timestamp::from_micros(at / 1000);
            let loss = Loss { from: received, to: received, messages: lost, why: "why".to_owned() };
            for content in [Content::Message(&message, peer), Content::Lost(loss)] {
                let record = Record { place: Place { run, number }, received, content };
                let mut bytes = Vec::new();
                record.encode(&mut bytes);
                prop_assert_eq!(decode(&bytes), Some(record));
            }
        }

        #[test]
        fn anything_else_is_refused_without_a_panic(bytes: Vec<u8>) {
            decode(&bytes);
        }
    }
}
