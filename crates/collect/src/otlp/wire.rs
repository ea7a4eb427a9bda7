//! The protobuf form, read in place: what is not needed is stepped over, and nothing is copied
//! before it is.

use serde_json::{Map, Value};

use super::{
    ATTRIBUTES_MAX, DEPTH_MAX, Meaning, OtlpError, RECORD_MAX, Record, broken, clip, hex, too_large,
};

/// A field's value.
#[derive(Clone, Copy)]
enum Field<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

/// Goes through the fields of a message; ends at the first that is broken and says so.
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

    fn varint(&mut self) -> Option<u64> {
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

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(taken)
    }

    fn field(&mut self) -> Option<(u64, Field<'a>)> {
        let key = self.varint()?;
        let field = match key & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(u64::from_le_bytes(self.take(8)?.try_into().ok()?)),
            2 => {
                let length = self.varint()?;
                Field::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Field::Fixed32)?,
            // Groups are of the past; OTLP has none.
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
        let field = self.field();
        self.broken = field.is_none();
        field
    }
}

/// The messages in a repeated field, told one by one; false when the message around them is broken.
fn each<'a>(message: &'a [u8], number: u64, mut tell: impl FnMut(&'a [u8]) -> bool) -> bool {
    let mut fields = Fields::of(message);
    for (n, field) in fields.by_ref() {
        if n == number {
            match field {
                Field::Bytes(inner) if tell(inner) => {}
                _ => return false,
            }
        }
    }

    !fields.broken
}

/// Every record, with its resource; false when the request is broken.
fn records<'a>(body: &'a [u8], mut tell: impl FnMut(&'a [u8], &'a [u8]) -> bool) -> bool {
    each(body, 1, |resource_logs| {
        let mut resource: &[u8] = &[];
        each(resource_logs, 1, |found| {
            resource = found;
            true
        }) && each(resource_logs, 2, |scope_logs| {
            each(scope_logs, 2, |record| tell(resource, record))
        })
    })
}

pub(super) fn read(
    body: &[u8],
    most: usize,
    mut tell: impl FnMut(Meaning),
) -> Result<(), OtlpError> {
    let mut count = 0_usize;
    let whole = records(body, |_, _| {
        count += 1;
        count <= most
    });

    if count > most {
        return Err(OtlpError::TooMany);
    }

    if !whole {
        return Err(OtlpError::Malformed);
    }

    let (mut known, mut attributes): (Option<&[u8]>, Map<String, Value>) = (None, Map::new());
    records(body, |resource, bytes| {
        // A resource has as many records as its sender likes: it is read once.
        if known.is_none_or(|known| !std::ptr::eq(known, resource)) {
            attributes = Map::new();
            let read = resource.len() <= RECORD_MAX
                && each(resource, 1, |kv| key_value(kv, &mut attributes, 0));
            // What is broken of it is not there; the record stands for itself.
            if !read {
                attributes.clear();
            }
            known = Some(resource);
        }

        tell(match record(bytes) {
            _ if bytes.len() > RECORD_MAX => too_large(),
            Some(record) => record.meaning(&attributes),
            None => broken(),
        });

        true
    });

    Ok(())
}

fn text(bytes: &[u8]) -> String {
    clip(&String::from_utf8_lossy(bytes), RECORD_MAX)
}

fn record(bytes: &[u8]) -> Option<Record> {
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
            (3, Field::Bytes(bytes)) => record.severity_text = text(bytes),
            (5, Field::Bytes(bytes)) => record.body = any(bytes, 0),
            (6, Field::Bytes(bytes)) if !key_value(bytes, &mut record.attributes, 0) => {
                return None;
            }
            (9, Field::Bytes(bytes)) => record.trace_id = hex(bytes),
            (10, Field::Bytes(bytes)) => record.span_id = hex(bytes),
            (12, Field::Bytes(bytes)) => record.name = text(bytes),
            _ => {}
        }
    }

    (!fields.broken).then_some(record)
}

/// Adds a `KeyValue`; false when it is broken. Those beyond [`ATTRIBUTES_MAX`] are left out.
fn key_value(bytes: &[u8], into: &mut Map<String, Value>, depth: usize) -> bool {
    let (mut key, mut value) = (String::new(), None);
    let mut fields = Fields::of(bytes);
    for field in fields.by_ref() {
        match field {
            (1, Field::Bytes(bytes)) => key = text(bytes),
            (2, Field::Bytes(bytes)) => value = any(bytes, depth),
            _ => {}
        }
    }

    if let Some(value) = value.filter(|_| into.len() < ATTRIBUTES_MAX) {
        into.insert(key, value);
    }

    !fields.broken
}

/// An `AnyValue`; none when it is empty, broken or too deep.
fn any(bytes: &[u8], depth: usize) -> Option<Value> {
    let mut found = None;
    for field in Fields::of(bytes) {
        found = match field {
            (1, Field::Bytes(bytes)) => Some(text(bytes).into()),
            (2, Field::Varint(n)) => Some((n != 0).into()),
            (3, Field::Varint(n)) => Some(n.cast_signed().into()),
            (4, Field::Fixed64(bits)) => Some(f64::from_bits(bits).into()),
            (5, Field::Bytes(list)) if depth < DEPTH_MAX => {
                let mut items = Vec::new();
                each(list, 1, |item| {
                    items.extend(any(item, depth + 1));
                    items.len() < ATTRIBUTES_MAX
                });
                Some(items.into())
            }
            (6, Field::Bytes(list)) if depth < DEPTH_MAX => {
                let mut map = Map::new();
                each(list, 1, |item| key_value(item, &mut map, depth + 1));
                Some(map.into())
            }
            (7, Field::Bytes(bytes)) => Some(hex(bytes).into()),
            _ => found,
        };
    }

    found
}
