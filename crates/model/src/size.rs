//! Sizes in bytes, as people write them: `16MiB`, `512KiB`, `1GiB`, or a plain number.

use serde::de::{self, Deserializer, Visitor};
use serde::ser::Serializer;

/// The units of IEC 80000-13, the largest first.
const UNITS: [(&str, u64); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];

/// The size as text, in the largest unit that leaves nothing over.
pub fn show(bytes: u64) -> String {
    let unit = UNITS
        .iter()
        .find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size));
    match unit {
        Some((name, size)) => format!("{}{name}", bytes / size),
        None => format!("{bytes}B"),
    }
}

/// The size as people say it: at most one digit after the point, in the largest unit.
pub fn approximate(bytes: u64) -> String {
    let unit = UNITS.iter().find(|(_, size)| bytes >= *size);
    let Some((name, size)) = unit else {
        return format!("{bytes} B");
    };
    let number = bytes as f64 / *size as f64;
    if number < 10.0 {
        format!("{number:.1} {name}")
    } else {
        format!("{number:.0} {name}")
    }
}

/// Reads a size: digits and a unit, with or without a space between.
pub fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..end].parse().ok()?;
    let unit = text[end..].trim();
    let size = match unit {
        "" | "B" => 1,
        _ => UNITS.iter().find(|(name, _)| *name == unit)?.1,
    };

    number.checked_mul(size)
}

/// Writes a size for serde's `with`.
pub fn serialize<S: Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&show(*bytes))
}

/// Reads a size for serde's `with`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    struct Size;

    impl Visitor<'_> for Size {
        type Value = u64;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a size, such as \"16MiB\", \"512KiB\" or \"1GiB\"")
        }

        fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<u64, E> {
            Ok(bytes)
        }

        fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<u64, E> {
            u64::try_from(bytes).map_err(|_| E::invalid_value(de::Unexpected::Signed(bytes), &self))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
            parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
        }
    }

    deserializer.deserialize_any(Size)
}

/// The same for what counts bytes in memory.
pub mod of_usize {
    use serde::de::{Deserializer, Error as _};
    use serde::ser::Serializer;

    /// Writes a size for serde's `with`.
    pub fn serialize<S: Serializer>(bytes: &usize, serializer: S) -> Result<S::Ok, S::Error> {
        super::serialize(&(*bytes as u64), serializer)
    }

    /// Reads a size for serde's `with`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
        usize::try_from(super::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(parse("16MiB"), Some(16 << 20));
        assert_eq!(parse(" 1 GiB "), Some(1 << 30));
        assert_eq!(parse("2048"), Some(2048));
        assert_eq!(parse("7B"), Some(7));
        for wrong in [
            "",
            "MiB",
            "1MB",
            "1mib",
            "-1KiB",
            "1.5GiB",
            "99999999999TiB",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(bytes: u64) {
            prop_assert_eq!(parse(&show(bytes)), Some(bytes));
        }
    }
}
