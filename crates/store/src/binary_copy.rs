//! PostgreSQL's binary COPY format, written and read by hand: one buffer out, borrowed rows in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::event::{Details, Provenance, UserId};
use model::{Category, EventId, Outcome, SecurityEvent, Source, TenantId, Text, Timestamp};
use uuid::Uuid;

use crate::StoreError;
use crate::db::PG_EPOCH_MICROS;

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags, length of an extension area.
const HEADER: usize = 19;
/// PGSQL_AF_INET and PGSQL_AF_INET6 of the `inet` type.
const AF_INET: u8 = 2;
const AF_INET6: u8 = 3;

/// A COPY stream under construction.
pub(crate) struct Encoder(Vec<u8>);

impl Encoder {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        let mut buffer = Vec::with_capacity(bytes + HEADER + 2);
        buffer.extend_from_slice(SIGNATURE);
        buffer.extend_from_slice(&[0; 8]);
        Self(buffer)
    }

    /// Starts a row.
    pub(crate) fn row(&mut self, columns: i16) {
        self.0.extend_from_slice(&columns.to_be_bytes());
    }

    fn field(&mut self, bytes: &[u8]) {
        self.0
            .extend_from_slice(&(bytes.len() as i32).to_be_bytes());
        self.0.extend_from_slice(bytes);
    }

    fn null(&mut self) {
        self.0.extend_from_slice(&(-1_i32).to_be_bytes());
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.field(text.as_bytes());
    }

    pub(crate) fn opt_text(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.field(text.as_bytes()),
            None => self.null(),
        }
    }

    pub(crate) fn uuid(&mut self, id: Option<Uuid>) {
        match id {
            Some(id) => self.field(id.as_bytes()),
            None => self.null(),
        }
    }

    pub(crate) fn timestamp(&mut self, at: Timestamp) {
        self.field(&at.as_micros().saturating_sub(PG_EPOCH_MICROS).to_be_bytes());
    }

    pub(crate) fn int4(&mut self, value: i32) {
        self.field(&value.to_be_bytes());
    }

    pub(crate) fn opt_int8(&mut self, value: Option<i64>) {
        match value {
            Some(value) => self.field(&value.to_be_bytes()),
            None => self.null(),
        }
    }

    pub(crate) fn boolean(&mut self, value: bool) {
        self.field(&[u8::from(value)]);
    }

    pub(crate) fn inet(&mut self, ip: Option<IpAddr>) {
        match ip {
            None => self.null(),
            Some(IpAddr::V4(ip)) => {
                self.0.extend_from_slice(&[0, 0, 0, 8, AF_INET, 32, 0, 4]);
                self.0.extend_from_slice(&ip.octets());
            }
            Some(IpAddr::V6(ip)) => {
                self.0
                    .extend_from_slice(&[0, 0, 0, 20, AF_INET6, 128, 0, 16]);
                self.0.extend_from_slice(&ip.octets());
            }
        }
    }

    /// A `jsonb`: version 1, then the text. An empty text is the empty object.
    pub(crate) fn jsonb(&mut self, json: &str) {
        let json = if json.is_empty() { "{}" } else { json };
        self.0
            .extend_from_slice(&(json.len() as i32 + 1).to_be_bytes());
        self.0.push(1);
        self.0.extend_from_slice(json.as_bytes());
    }

    /// Ends the stream.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&(-1_i16).to_be_bytes());
        self.0
    }
}

/// The two tables of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EventTable {
    /// What applications report.
    Audit,
    /// What collectors read from logs.
    Collected,
}

impl EventTable {
    /// Its name in a query.
    pub(crate) const fn qualified(self) -> &'static str {
        match self {
            Self::Audit => "public.audit_events",
            Self::Collected => "blueteam.log_events",
        }
    }

    /// What shows the rows of the tenant that a transaction is for, and no others, to a role that
    /// works for people.
    pub(crate) const fn of_tenant(self) -> &'static str {
        match self {
            Self::Audit => "blueteam.audit_events",
            Self::Collected => "blueteam.log_events",
        }
    }

    /// Its name as the tables of what could not be read have it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Audit => "audit_events",
            Self::Collected => "log_events",
        }
    }

    /// The columns that [`event`] reads.
    pub(crate) const fn columns(self) -> &'static str {
        match self {
            Self::Audit => AUDIT_COLUMNS,
            Self::Collected => COLLECTED_COLUMNS,
        }
    }
}

/// The columns that both tables of events have, in the order in which rows are written, and read by
/// [`decode_fields`].
macro_rules! event_columns {
    () => {
        "event_id, timestamp, category, action, result, user_id, session_id, ip_address, \
         user_agent, resource_type, resource_id, instance_id"
    };
}
pub(crate) use event_columns;

/// The columns that a writer of audit events fills.
macro_rules! audit_columns {
    () => {
        concat!(
            $crate::binary_copy::event_columns!(),
            ", cui_accessed, metadata"
        )
    };
}
pub(crate) use audit_columns;

/// The columns that [`event`] reads, from `audit_events`. `seq` comes first: the reader notes it.
///
/// Metadata is empty when it holds a number like `1e130000`: a few kilobytes of those, which any
/// writer of events may store, become a gigabyte of text when they are read, more than a row may
/// have, and reading would stand still there for ever. Small rows, nearly all there are, are not
/// looked at: they cannot hold enough of them.
const AUDIT_COLUMNS: &str = concat!(
    "seq, tenant_id, ",
    event_columns!(),
    r#", cui_accessed,
    CASE
        WHEN (pg_column_size(metadata) > 1500 OR pg_column_compression(metadata) IS NOT NULL)
            AND jsonb_path_exists(
                metadata,
                '$.** ? (@.type() == "number" && (@.abs() > 1e308 || (@ != 0 && @.abs() < 1e-308)))'
            )
            THEN '{}'::jsonb
        ELSE metadata
    END AS metadata"#
);

/// The same from `log_events`, and what only those have.
const COLLECTED_COLUMNS: &str = concat!(
    "seq, tenant_id, ",
    event_columns!(),
    ", cui_involved, metadata, source, user_name, account, occurrences, source_id, host, program, \
     pid, facility, peer"
);

/// One row of a COPY stream.
struct Row<'a>(&'a [u8]);

impl<'a> Row<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or_else(short_error)?;
        self.0 = rest;
        Ok(*head)
    }

    fn field(&mut self) -> Result<Option<&'a [u8]>, StoreError> {
        let len = i32::from_be_bytes(self.take()?);
        let Ok(len) = usize::try_from(len) else {
            return Ok(None);
        };
        let (field, rest) = self.0.split_at_checked(len).ok_or_else(short_error)?;
        self.0 = rest;
        Ok(Some(field))
    }

    fn need(&mut self) -> Result<&'a [u8], StoreError> {
        self.field()?
            .ok_or_else(|| bad_value("a column is null that never is"))
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        self.need()?
            .try_into()
            .map_err(|_| bad_value("a column has another width than its type"))
    }

    fn str(&mut self) -> Result<&'a str, StoreError> {
        to_utf8(self.need()?)
    }

    fn opt_text(&mut self) -> Result<Option<Text<'a>>, StoreError> {
        self.field()?
            .map(|f| to_utf8(f).map(Text::from))
            .transpose()
    }

    fn opt_int8(&mut self) -> Result<Option<i64>, StoreError> {
        let Some(field) = self.field()? else {
            return Ok(None);
        };
        let bytes = field
            .try_into()
            .map_err(|_| bad_value("a bigint has another width than 8"))?;
        Ok(Some(i64::from_be_bytes(bytes)))
    }

    fn uuid(&mut self) -> Result<Option<Uuid>, StoreError> {
        let Some(field) = self.field()? else {
            return Ok(None);
        };
        Uuid::from_slice(field)
            .map(Some)
            .map_err(|_| bad_value("a uuid has another width than 16"))
    }

    /// A host address; a network, which only a writer past our checks can have put there, is its
    /// first address.
    fn inet(&mut self) -> Result<Option<IpAddr>, StoreError> {
        let Some(field) = self.field()? else {
            return Ok(None);
        };
        let ip = match field {
            [AF_INET, _, _, 4, octets @ ..] => {
                <[u8; 4]>::try_from(octets).map(|o| IpAddr::V4(Ipv4Addr::from(o)))
            }
            [AF_INET6, _, _, 16, octets @ ..] => {
                <[u8; 16]>::try_from(octets).map(|o| IpAddr::V6(Ipv6Addr::from(o)))
            }
            _ => return Err(bad_value("an inet of an unknown family")),
        };

        ip.map(|ip| Some(ip.to_canonical()))
            .map_err(|_| bad_value("an inet has another width than its family"))
    }
}

fn short_error() -> StoreError {
    bad_value("a row ends early")
}

fn bad_value(why: &str) -> StoreError {
    StoreError::corrupt("an event", why)
}

fn to_utf8(bytes: &[u8]) -> Result<&str, StoreError> {
    std::str::from_utf8(bytes).map_err(|_| bad_value("a text is not UTF-8"))
}

/// A row that arrived whole and is no event for the engine.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// Its place in the order of insertion.
    pub(crate) seq: i64,
    /// When it happened, as it says.
    pub(crate) timestamp: Timestamp,
    /// Its id.
    pub(crate) event_id: EventId,
    /// What is wrong with it.
    pub(crate) reason: String,
}

/// One message of a COPY stream.
#[expect(
    clippy::large_enum_variant,
    reason = "one is made at a time and read where it stands; a box would be one per event"
)]
pub(crate) enum Message<'a> {
    /// The header or the end.
    Nothing,
    /// An event, and its `seq`.
    Event(i64, SecurityEvent<'a>),
    /// A row that holds what no event may hold.
    Unreadable(Unreadable),
}

/// What one message of a COPY stream is. PostgreSQL sends one row a message, the header with the
/// first. An error means that the stream itself is damaged.
pub(crate) fn event(message: &[u8]) -> Result<Message<'_>, StoreError> {
    let message = match message.strip_prefix(SIGNATURE) {
        Some(_) => message.get(HEADER..).ok_or_else(short_error)?,
        None => message,
    };

    if message.is_empty() {
        return Ok(Message::Nothing);
    }

    let mut row = Row(message);
    let columns = i16::from_be_bytes(row.take()?);
    if columns < 0 {
        return Ok(Message::Nothing);
    }

    let seq = i64::from_be_bytes(row.fixed()?);
    let tenant = TenantId(Uuid::from_bytes(row.fixed()?));
    let event_id = EventId(Uuid::from_bytes(row.fixed()?));
    let timestamp =
        Timestamp::from_micros(i64::from_be_bytes(row.fixed()?).saturating_add(PG_EPOCH_MICROS));
    match decode_fields(row, columns, event_id, timestamp) {
        Ok(event) => Ok(Message::Event(seq, SecurityEvent { tenant, ..event })),
        Err(StoreError::Corrupt { why, .. }) => Ok(Message::Unreadable(Unreadable {
            seq,
            timestamp,
            event_id,
            reason: why,
        })),
        Err(error) => Err(error),
    }
}

/// Where an event was, without its raw line: rules do not look at it. `None` of an event from
/// before it was kept.
fn decode_provenance<'a>(row: &mut Row<'a>) -> Result<Option<Provenance<'a>>, StoreError> {
    let place = Provenance {
        source_id: row.opt_text()?,
        host: row.opt_text()?,
        program: row.opt_text()?,
        pid: row.opt_int8()?.and_then(|pid| u32::try_from(pid).ok()),
        facility: row.opt_text()?,
        peer: row.inet()?,
        raw: None,
    };
    Ok((place != Provenance::default()).then_some(place))
}

/// The columns after `seq`, `tenant_id`, `event_id` and `timestamp`.
fn decode_fields(
    mut row: Row<'_>,
    columns: i16,
    event_id: EventId,
    timestamp: Timestamp,
) -> Result<SecurityEvent<'_>, StoreError> {
    let category = Category::parse(row.str()?).ok_or_else(|| bad_value("an unknown category"))?;
    let action = Text::from(row.str()?);
    let result = Outcome::parse(row.str()?).ok_or_else(|| bad_value("an unknown result"))?;
    let mut event = SecurityEvent::new(
        event_id,
        timestamp,
        Source::AuditDb,
        category,
        action,
        result,
    );

    event.user_id = row.uuid()?.map(UserId::Uuid);
    event.session_id = row.opt_text()?;
    event.ip_address = row.inet()?;
    event.user_agent = row.opt_text()?;
    event.resource_type = row.opt_text()?;
    event.resource_id = row.opt_text()?;
    event.instance_id = row.uuid()?;

    // Nullable in the document's table, where NULL is what its default says.
    event.cui_involved = row.field()?.is_some_and(|f| f == [1]);
    if let Some(json) = row.field()? {
        let json = to_utf8(json.get(1..).ok_or_else(short_error)?)?;
        if json != "{}" {
            event.details = Details::read(json);
        }
    }

    if columns > 16 {
        event.source = row
            .str()?
            .parse()
            .map_err(|_| bad_value("an unknown source"))?;
        if let Some(name) = row.opt_text()? {
            event.user_id = Some(UserId::Name(name));
        }
        event.account_name = row.opt_text()?;
        event.occurrences = u32::from_be_bytes(row.fixed()?).max(1);
        event.provenance = decode_provenance(&mut row)?.map(Box::new);
    }

    Ok(event.classify())
}
