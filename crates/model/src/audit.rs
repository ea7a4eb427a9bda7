//! An audit event as producers write it: the JSON of `POST /v1/events` and of `replay --format
//! audit`, its fields named as the columns of `audit_events`.

mod clean;
mod depth;
mod diagnose;
pub(crate) mod flat;

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use sonic_rs::{JsonType, JsonValueTrait, LazyValue};
use uuid::Uuid;

use crate::event::{Action, Category, Details, EventTags, Outcome, SecurityEvent, Source, UserId};
use crate::ids::EventId;
use crate::tenant::TenantId;
use crate::text::Text;
use crate::time::Timestamp;

use clean::Cuts;
pub use depth::limit_depth;
use diagnose::diagnose;

/// Columns that the server sets; a producer that sends one is forging it.
pub const SERVER_COLUMNS: [&str; 3] = ["created_at", "seq", "xact_id"];

/// Longest values that are kept, in bytes (`user_agent`: characters, as its column is
/// `varchar(500)`). Longer ones are cut, because a watched person chooses their length, and must
/// not be able to suppress the event.
pub mod limits {
    /// `action`.
    pub const ACTION: usize = 128;
    /// `session_id`.
    pub const SESSION_ID: usize = 1024;
    /// `user_agent`, in characters.
    pub const USER_AGENT: usize = 500;
    /// `resource_type`.
    pub const RESOURCE_TYPE: usize = 2048;
    /// `resource_id`.
    pub const RESOURCE_ID: usize = 8192;
    /// `metadata`, as JSON text.
    pub const METADATA: usize = 64 * 1024;
    /// What the server's own fields in `metadata` may take beyond that.
    pub const MARKS: usize = 4 * 1024;
    /// Nesting of an event, itself included; what is nested deeper is replaced. The JSON parser
    /// recurses, so this also keeps a hostile text from its stack.
    pub const DEPTH: usize = 32;
}

/// What is wrong with one event, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize)]
#[error("{field}: {error}")]
pub struct FieldError {
    /// The field; `event` when it is about the whole.
    pub field: Cow<'static, str>,
    /// What is wrong with it.
    pub error: String,
}

impl FieldError {
    /// An error about a field.
    pub fn new(field: impl Into<Cow<'static, str>>, error: impl fmt::Display) -> Self {
        Self {
            field: field.into(),
            error: error.to_string(),
        }
    }
}

/// An audit event, checked field by field. `None` is SQL's NULL.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditRecord<'a> {
    /// Chosen by the producer; absent ones are made by whoever reads.
    pub event_id: Option<Uuid>,
    /// When it happened; absent means now.
    pub timestamp: Option<Timestamp>,
    /// One of the six categories of the table.
    pub category: Category,
    /// What was done.
    pub action: Text<'a>,
    /// How it ended.
    pub result: Outcome,
    /// Who.
    pub user_id: Option<Uuid>,
    /// Session.
    pub session_id: Option<Text<'a>>,
    /// Address.
    pub ip_address: Option<IpAddr>,
    /// Client, cut to 500 characters.
    pub user_agent: Option<Text<'a>>,
    /// Endpoint, page or file.
    pub resource_type: Option<Text<'a>>,
    /// The thing itself.
    pub resource_id: Option<Text<'a>>,
    /// Tenant.
    pub instance_id: Option<Uuid>,
    /// Whether CUI was touched.
    pub cui_accessed: bool,
    /// JSON object; empty when absent.
    pub metadata: Details<'a>,
}

/// The fields as they are in the JSON, of the right JSON type but unchecked.
#[derive(Default)]
struct Wire<'a> {
    event_id: Option<Text<'a>>,
    timestamp: Option<Text<'a>>,
    category: Option<Text<'a>>,
    action: Option<Text<'a>>,
    result: Option<Text<'a>>,
    user_id: Option<Text<'a>>,
    session_id: Option<Text<'a>>,
    ip_address: Option<Text<'a>>,
    user_agent: Option<Text<'a>>,
    resource_type: Option<Text<'a>>,
    resource_id: Option<Text<'a>>,
    instance_id: Option<Text<'a>>,
    cui_accessed: Option<bool>,
    metadata: Option<LazyValue<'a>>,
    /// First field that is no column a producer may set.
    stranger: Option<Text<'a>>,
}

/// A key of the object: one of the columns a producer may set, or something else.
enum Key<'a> {
    Column(Column),
    Stranger(Text<'a>),
}

/// Makes the columns' enum, its parser, and what reads the value of each into its field of
/// [`Wire`].
macro_rules! columns {
    ($($column:ident)*) => {
        #[derive(Clone, Copy)]
        #[expect(non_camel_case_types, reason = "named as the columns are")]
        enum Column {
            $($column,)*
        }

        impl Column {
            /// Each column, in the order of the table.
            const ALL: &[Self] = &[$(Self::$column),*];

            const fn bit(self) -> u16 {
                1 << self as u16
            }

            /// How long the column's name is as a key of a JSON object, when the text begins with
            /// it. One comparison of a length that is known when this is compiled costs a fraction
            /// of one that is not.
            fn key_begins(self, text: &[u8]) -> Option<usize> {
                match self {
                    $(Self::$column => {
                        const KEY: &[u8] = concat!("\"", stringify!($column), "\":").as_bytes();
                        text.starts_with(KEY).then_some(KEY.len())
                    })*
                }
            }

            fn of(key: &str) -> Option<Self> {
                match key {
                    $(stringify!($column) => Some(Self::$column),)*
                    _ => None,
                }
            }

            fn read<'de, A: MapAccess<'de>>(self, wire: &mut Wire<'de>, map: &mut A) -> Result<(), A::Error> {
                match self {
                    $(Self::$column => wire.$column = map.next_value()?,)*
                }
                Ok(())
            }
        }
    };
}

columns! {
    event_id timestamp category action result user_id session_id ip_address user_agent resource_type resource_id instance_id
    cui_accessed metadata
}

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;

        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a column of audit_events")
            }

            fn visit_borrowed_str<E: Error>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Column::of(key).map_or_else(|| Key::Stranger(key.into()), Key::Column))
            }

            fn visit_str<E: Error>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Column::of(key)
                    .map_or_else(|| Key::Stranger(key.to_owned().into()), Key::Column))
            }
        }

        // Not `deserialize_str`: parsers have a shorter way for keys.
        deserializer.deserialize_identifier(KeyVisitor)
    }
}

struct WireVisitor;

impl<'de> Visitor<'de> for WireVisitor {
    type Value = Wire<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Wire<'de>, A::Error> {
        let mut wire = Wire::default();
        let mut seen = 0_u16;
        while let Some(key) = map.next_key::<Key<'de>>()? {
            match key {
                Key::Column(column) => {
                    // Two values for one field is how a parser and its neighbor come to see
                    // different events.
                    if seen & column.bit() != 0 {
                        return Err(A::Error::custom("duplicate field"));
                    }
                    seen |= column.bit();
                    column.read(&mut wire, &mut map)?;
                }
                Key::Stranger(name) => {
                    map.next_value::<IgnoredAny>()?;
                    wire.stranger.get_or_insert(name);
                }
            }
        }

        Ok(wire)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Wire<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(WireVisitor)
    }
}

/// Whether fields that are no columns are errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strangers {
    /// An error that names the field: what a producer sends must be what is kept.
    Refuse,
    /// Passed over: an export of the table carries the server's columns too.
    Ignore,
}

impl<'a> AuditRecord<'a> {
    /// Reads and checks one JSON object. What its sender's program got wrong is an error; a text
    /// that whoever is watched may have chosen, and that cannot be kept, is cleaned or cut, and the
    /// metadata says so.
    pub fn from_json(json: &'a [u8], strangers: Strangers) -> Result<Self, FieldError> {
        match flat::read(json, strangers) {
            Some(record) => Ok(record),
            None => Self::from_unusual(json, strangers, limits::METADATA),
        }
    }

    /// Reads what was checked before, and has the server's fields in its metadata since.
    pub fn from_checked_json(json: &'a [u8]) -> Result<Self, FieldError> {
        match flat::read(json, Strangers::Refuse) {
            Some(record) => Ok(record),
            None => Self::from_unusual(json, Strangers::Refuse, limits::METADATA + limits::MARKS),
        }
    }

    fn from_unusual(json: &'a [u8], strangers: Strangers, room: usize) -> Result<Self, FieldError> {
        // The library looks whether bytes are UTF-8, and escapes escapes, only after it has handed
        // out texts of them.
        if let Ok(text) = std::str::from_utf8(json)
            && let Cow::Borrowed(text) = clean::json(text)
            && let Cow::Borrowed(text) = limit_depth(text, limits::DEPTH)
        {
            return Self::from_text(text, strangers, room, Cuts::default());
        }

        let lossy = String::from_utf8_lossy(json);
        let clean = clean::json(&lossy);
        let replaced = matches!(lossy, Cow::Owned(_)) || matches!(clean, Cow::Owned(_));
        let mut cuts = Cuts::of(replaced);
        let shallow = limit_depth(&clean, limits::DEPTH);
        // No other column holds anything that nests.
        if matches!(shallow, Cow::Owned(_)) {
            cuts.note("metadata");
        }
        AuditRecord::from_text(&shallow, strangers, room, cuts).map(AuditRecord::into_owned)
    }

    fn from_text(
        text: &'a str,
        strangers: Strangers,
        room: usize,
        cuts: Cuts,
    ) -> Result<Self, FieldError> {
        let wire: Wire<'a> = sonic_rs::from_str(text).map_err(|_| diagnose(text))?;
        if strangers == Strangers::Refuse
            && let Some(name) = &wire.stranger
        {
            let error = if SERVER_COLUMNS.contains(&&**name) {
                "is set by the server"
            } else {
                "is not a column of audit_events"
            };
            return Err(FieldError::new(name.to_string(), error));
        }
        Self::check(wire, room, cuts)
    }

    fn check(wire: Wire<'a>, room: usize, mut cuts: Cuts) -> Result<Self, FieldError> {
        let category = require_text("category", wire.category)?;
        let category = Category::parse(&category)
            .filter(|c| *c != Category::Network)
            .ok_or_else(|| {
                FieldError::new(
                    "category",
                    "is not one of auth, access, admin, data, ai, system",
                )
            })?;

        let result = require_text("result", wire.result)?;
        let result = Outcome::parse(&result)
            .ok_or_else(|| FieldError::new("result", "is not one of success, failure, denied"))?;
        let action = require_text("action", wire.action)?;
        if action.is_empty() {
            return Err(FieldError::new("action", "is empty"));
        }

        let metadata = wire
            .metadata
            .as_ref()
            .map(|value| parse_metadata(value, room, &mut cuts))
            .transpose()?;
        let mut record = Self {
            event_id: parse_uuid("event_id", wire.event_id.as_ref())?,
            timestamp: wire
                .timestamp
                .map(|t| Timestamp::parse(&t).map_err(|e| FieldError::new("timestamp", e)))
                .transpose()?,
            category,
            action: cuts
                .fit("action", Some(action), limits::ACTION)
                .unwrap_or_default(),
            result,
            user_id: parse_uuid("user_id", wire.user_id.as_ref())?,
            session_id: cuts.fit_name("session_id", wire.session_id, limits::SESSION_ID),
            ip_address: wire
                .ip_address
                .and_then(|text| parse_address(&text, &mut cuts)),
            user_agent: wire
                .user_agent
                .map(|agent| cut_user_agent(agent, &mut cuts)),
            resource_type: cuts.fit("resource_type", wire.resource_type, limits::RESOURCE_TYPE),
            resource_id: cuts.fit("resource_id", wire.resource_id, limits::RESOURCE_ID),
            instance_id: parse_uuid("instance_id", wire.instance_id.as_ref())?,
            cui_accessed: wire.cui_accessed.unwrap_or(false),
            metadata: metadata.unwrap_or_default(),
        };

        if let Some(marks) = cuts.marks() {
            record.metadata = record.metadata.with_fields(marks);
        }

        Ok(record)
    }

    /// The same record, owning its bytes.
    pub fn into_owned(self) -> AuditRecord<'static> {
        let own = |text: Option<Text<'a>>| text.map(Text::into_owned);
        AuditRecord {
            action: self.action.into_owned(),
            session_id: own(self.session_id),
            user_agent: own(self.user_agent),
            resource_type: own(self.resource_type),
            resource_id: own(self.resource_id),
            metadata: self.metadata.into_owned(),
            event_id: self.event_id,
            timestamp: self.timestamp,
            category: self.category,
            result: self.result,
            user_id: self.user_id,
            ip_address: self.ip_address,
            instance_id: self.instance_id,
            cui_accessed: self.cui_accessed,
        }
    }

    /// The event that the engine sees. `event_id` and `timestamp` are for records that carry none.
    pub fn into_event(
        self,
        event_id: impl FnOnce() -> EventId,
        timestamp: impl FnOnce() -> Timestamp,
    ) -> SecurityEvent<'a> {
        // As one literal: setting the fields of a bare event one by one is a hundred steps more.
        let mut event = SecurityEvent {
            event_id: self.event_id.map_or_else(event_id, EventId),
            timestamp: self.timestamp.unwrap_or_else(timestamp),
            source: Source::AuditDb,
            category: self.category,
            action_kind: Action::of(&self.action),
            action: self.action,
            result: self.result,
            user_id: self.user_id.map(UserId::Uuid),
            account_name: None,
            session_id: self.session_id,
            ip_address: self.ip_address,
            user_agent: self.user_agent,
            resource_type: self.resource_type,
            resource_id: self.resource_id,
            instance_id: self.instance_id,
            tenant: TenantId::DEFAULT,
            provenance: None,
            details: self.metadata,
            cui_involved: self.cui_accessed,
            occurrences: 1,
            marks: EventTags::default(),
        };

        event.mark();
        event
    }
}

/// A JSON text whose strings PostgreSQL can hold and every reader reads: broken escapes, halves of
/// surrogate pairs, NUL and bytes that are no characters are replaced, because a text that whoever
/// is watched chose must not make what holds it unreadable.
pub fn clean_json(json: &[u8]) -> Cow<'_, str> {
    match String::from_utf8_lossy(json) {
        Cow::Borrowed(text) => clean::json(text),
        Cow::Owned(text) => Cow::Owned(clean::json(&text).into_owned()),
    }
}

/// Parses an address as PostgreSQL's `inet` would for a single host. An IPv4-mapped IPv6 address is
/// its IPv4 address, so that one host cannot be two keys.
pub fn parse_ip(text: &str) -> Result<IpAddr, &'static str> {
    let host = match text.split_once('/') {
        Some((host, "32")) if !host.contains(':') => host,
        Some((host, "128")) => host,
        Some(_) => return Err("is a network, not an address"),
        None => text,
    };

    host.parse::<IpAddr>()
        .map(|ip| ip.to_canonical())
        .map_err(|_| "is not an IP address")
}

fn require_text<'a>(field: &'static str, value: Option<Text<'a>>) -> Result<Text<'a>, FieldError> {
    value.ok_or_else(|| FieldError::new(field, "is missing"))
}

fn parse_uuid(field: &'static str, value: Option<&Text<'_>>) -> Result<Option<Uuid>, FieldError> {
    value
        .map(|t| Uuid::try_parse(t).map_err(|_| FieldError::new(field, "is not a UUID")))
        .transpose()
}

/// An address, perhaps with what applications and proxies leave around it. One that is none is a
/// text that whoever is watched may have chosen (`X-Forwarded-For`), and is kept as that.
fn parse_address(text: &str, cuts: &mut Cuts) -> Option<IpAddr> {
    if let Ok(ip) = parse_ip(text) {
        return Some(ip);
    }
    if !text.is_empty() {
        cuts.note_address(text);
    }
    crate::address::client(text)
}

fn cut_user_agent<'a>(text: Text<'a>, cuts: &mut Cuts) -> Text<'a> {
    if text.len() <= limits::USER_AGENT {
        return text;
    }

    let end = text
        .char_indices()
        .nth(limits::USER_AGENT)
        .map(|(end, _)| end);
    let most = end.unwrap_or(text.len());
    cuts.fit("user_agent", Some(text), most).unwrap_or_default()
}

fn parse_metadata<'a>(
    value: &LazyValue<'a>,
    room: usize,
    cuts: &mut Cuts,
) -> Result<Details<'a>, FieldError> {
    let no_object = || FieldError::new("metadata", "is not a JSON object");
    let raw = match value.get_type() {
        JsonType::Null => return Ok(Details::default()),
        JsonType::Object => value.as_raw_cow(),
        _ => return Err(no_object()),
    };

    if raw.len() <= room {
        return Ok(Details::from_json(raw));
    }

    cuts.note("metadata");
    clean::metadata(&raw)
        .map(Details::from_json)
        .ok_or_else(no_object)
}

#[cfg(test)]
mod tests;
