//! The protobuf encoding, read in place: unneeded fields are skipped, and bytes are copied only
//! when they are needed.

use serde_json::{Map, Value};

use super::{
    ATTRIBUTES_MAX, DEPTH_MAX, Meaning, OtlpError, RECORD_MAX, Record, clean_text,
    malformed_record, to_hex, too_large_record,
};

/// A field's value.
#[derive(Clone, Copy)]
enum Field<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

/// Iterates over the fields of a message. Ends at the first malformed one and sets `broken`.
struct Fields<'a> {
    rest: &'a [u8],
    broken: bool,
}

impl<'a> Fields<'a> {
    fn of(message: &'a [u8]) -> Self {
        Self {
            rest: message,
            broken: false,
        }
    }

    fn next_varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;

            // The tenth byte has room for one bit.
            if shift == 63 && *byte > 1 {
                return None;
            }

            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }

        None
    }

    fn take_bytes(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(taken)
    }

    fn next_field(&mut self) -> Option<(u64, Field<'a>)> {
        let key = self.next_varint()?;
        let field = match key & 7 {
            0 => Field::Varint(self.next_varint()?),
            1 => Field::Fixed64(u64::from_le_bytes(self.take_bytes(8)?.try_into().ok()?)),
            2 => {
                let length = self.next_varint()?;
                Field::Bytes(self.take_bytes(length)?)
            }
            5 => self.take_bytes(4).map(|_| Field::Fixed32)?,
            // Groups are deprecated, and OTLP has none.
            _ => return None,
        };

        (key >> 3 != 0).then_some((key >> 3, field))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Field<'a>);
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || self.broken {
            return None;
        }
        let field = self.next_field();
        self.broken = field.is_none();
        field
    }
}

/// Calls `on_message` for each message in a repeated field until it returns `false`. Returns
/// `false` then, or if the enclosing message is malformed.
fn for_each_message<'a>(
    message: &'a [u8],
    number: u64,
    mut on_message: impl FnMut(&'a [u8]) -> bool,
) -> bool {
    let mut fields = Fields::of(message);
    for (n, field) in fields.by_ref() {
        if n == number {
            match field {
                Field::Bytes(inner) if on_message(inner) => {}
                _ => return false,
            }
        }
    }

    !fields.broken
}

/// Calls `on_record` for each record with its resource. Returns `false` if the request is
/// malformed.
fn for_each_record<'a>(
    body: &'a [u8],
    mut on_record: impl FnMut(&'a [u8], &'a [u8]) -> bool,
) -> bool {
    for_each_message(body, 1, |resource_logs| {
        let mut resource: &[u8] = &[];
        for_each_message(resource_logs, 1, |found| {
            resource = found;
            true
        }) && for_each_message(resource_logs, 2, |scope_logs| {
            for_each_message(scope_logs, 2, |record| on_record(resource, record))
        })
    })
}

pub(super) fn read_request(
    body: &[u8],
    max_records: usize,
    mut on_record: impl FnMut(&[u8], Meaning),
) -> Result<(), OtlpError> {
    let mut count = 0_usize;
    let whole = for_each_record(body, |_, _| {
        count += 1;
        count <= max_records
    });

    if count > max_records {
        return Err(OtlpError::TooMany);
    }

    if !whole {
        return Err(OtlpError::Malformed);
    }

    let mut known: Option<&[u8]> = None;
    let mut attributes = Map::new();
    for_each_record(body, |resource, bytes| {
        // A resource may have any number of records, so it is decoded once.
        if known.is_none_or(|known| !std::ptr::eq(known, resource)) {
            attributes = Map::new();
            let read = resource.len() <= RECORD_MAX
                && for_each_message(resource, 1, |kv| decode_key_value(kv, &mut attributes, 0));
            // The attributes of a malformed resource are left out; its records are still read.
            if !read {
                attributes.clear();
            }
            known = Some(resource);
        }

        let meaning = match decode_record(bytes) {
            _ if bytes.len() > RECORD_MAX => too_large_record(),
            Some(record) => record.interpret_with(&attributes),
            None => malformed_record(),
        };
        on_record(bytes, meaning);

        true
    });

    Ok(())
}

fn decode_text(bytes: &[u8]) -> String {
    clean_text(&String::from_utf8_lossy(bytes), RECORD_MAX)
}

fn decode_record(bytes: &[u8]) -> Option<Record> {
    if bytes.len() > RECORD_MAX {
        return None;
    }

    let mut record = Record::default();
    let mut fields = Fields::of(bytes);
    for field in fields.by_ref() {
        match field {
            (1, Field::Fixed64(nanos)) => record.time = nanos,
            (11, Field::Fixed64(nanos)) => record.observed = nanos,
            (2, Field::Varint(number)) => record.severity = number.cast_signed(),
            (3, Field::Bytes(bytes)) => record.severity_text = decode_text(bytes),
            (5, Field::Bytes(bytes)) => record.body = decode_any(bytes, 0),
            (6, Field::Bytes(bytes)) if !decode_key_value(bytes, &mut record.attributes, 0) => {
                return None;
            }
            (9, Field::Bytes(bytes)) => record.trace_id = to_hex(bytes),
            (10, Field::Bytes(bytes)) => record.span_id = to_hex(bytes),
            (12, Field::Bytes(bytes)) => record.name = decode_text(bytes),
            _ => {}
        }
    }

    (!fields.broken).then_some(record)
}

/// Adds a `KeyValue` and returns `false` if it is malformed. Those beyond [`ATTRIBUTES_MAX`] are
/// left out.
fn decode_key_value(bytes: &[u8], into: &mut Map<String, Value>, depth: usize) -> bool {
    let mut key = String::new();
    let mut value = None;
    let mut fields = Fields::of(bytes);
    for field in fields.by_ref() {
        match field {
            (1, Field::Bytes(bytes)) => key = decode_text(bytes),
            (2, Field::Bytes(bytes)) => value = decode_any(bytes, depth),
            _ => {}
        }
    }

    if let Some(value) = value.filter(|_| into.len() < ATTRIBUTES_MAX) {
        into.insert(key, value);
    }

    !fields.broken
}

/// Decodes an `AnyValue`. `None` when it is empty, malformed or too deep.
fn decode_any(bytes: &[u8], depth: usize) -> Option<Value> {
    let mut found = None;
    for field in Fields::of(bytes) {
        found = match field {
            (1, Field::Bytes(bytes)) => Some(decode_text(bytes).into()),
            (2, Field::Varint(n)) => Some((n != 0).into()),
            (3, Field::Varint(n)) => Some(n.cast_signed().into()),
            (4, Field::Fixed64(bits)) => Some(f64::from_bits(bits).into()),
            (5, Field::Bytes(list)) if depth < DEPTH_MAX => {
                let mut items = Vec::new();
                for_each_message(list, 1, |item| {
                    items.extend(decode_any(item, depth + 1));
                    items.len() < ATTRIBUTES_MAX
                });
                Some(items.into())
            }
            (6, Field::Bytes(list)) if depth < DEPTH_MAX => {
                let mut map = Map::new();
                for_each_message(list, 1, |item| decode_key_value(item, &mut map, depth + 1));
                Some(map.into())
            }
            (7, Field::Bytes(bytes)) => Some(to_hex(bytes).into()),
            _ => found,
        };
    }

    found
}
