//! Users as people know them: by name, with the beginning of the ID that applications use.

use std::fmt;

use crate::event::UserId;
use crate::text::{clip, sanitize};

/// Maximum length of a name in a text, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// How much of an ID tells people which of two users with one name is meant.
const ID_CHARS: usize = 8;

/// A user in a text: `jsmith (01a21000…)`, or the whole ID of one whose name is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    id: String,
    name: Option<String>,
}

impl Person {
    /// Creates it from the ID in an event and the name that is known of it. Of one who goes by name
    /// alone that is the ID.
    pub fn new(id: &UserId<'_>, name: Option<String>) -> Self {
        let name = name.filter(|name| matches!(id, UserId::Uuid(_)) && !name.trim().is_empty());
        Self {
            id: id.to_string(),
            name,
        }
    }

    /// Returns the name, if the ID is not one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl fmt::Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(name) = &self.name else {
            return f.write_str(&self.id);
        };
        let start: String = self.id.chars().take(ID_CHARS).collect();
        write!(f, "{} ({start}…)", shown_name(name))
    }
}

/// Returns a name as texts show it. A name that is more than one word is in quotation marks: people
/// choose their names, and one must not read as a part of the sentence.
pub fn shown_name(name: &str) -> String {
    let name = sanitize(&clip(name, NAME_BYTES_MAX)).into_owned();
    let is_word = |c: char| c.is_alphanumeric() || "._-@+$\\".contains(c);
    if name.chars().all(is_word) {
        return name;
    }

    format!("“{}”", name.replace(['“', '”', '"'], "'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn shown(id: &UserId<'_>, name: Option<&str>) -> String {
        Person::new(id, name.map(str::to_owned)).to_string()
    }

    #[test]
    fn a_known_name_stands_before_the_beginning_of_the_id() {
        let id = UserId::Uuid(Uuid::from_u128(0x01a2_1000_8800_7b2e_8244_5e4b_e0f5_bf8c));

        assert_eq!(shown(&id, Some("jsmith")), "jsmith (01a21000…)");
        assert_eq!(shown(&id, None), "01a21000-8800-7b2e-8244-5e4be0f5bf8c");
        assert_eq!(
            shown(&id, Some(" ")),
            "01a21000-8800-7b2e-8244-5e4be0f5bf8c"
        );
        assert_eq!(shown(&UserId::Name("root".into()), Some("else")), "root");
    }

    #[test]
    fn a_name_cannot_read_as_a_part_of_the_sentence() {
        assert_eq!(
            shown_name("CORP\\ann.lee@example.com"),
            "CORP\\ann.lee@example.com"
        );
        assert_eq!(shown_name("ann” did nothing"), "“ann' did nothing”");
        assert!(!shown_name("a\n[CRITICAL]").contains('\n'));
        assert!(shown_name(&"x".repeat(500)).len() < 80);
    }
}
