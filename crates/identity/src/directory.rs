//! People of a directory (LDAP): what is asked for them, and what of the answers is believed.
//!
//! A directory may lie: it may be empty after a failed restore, answer a part of what was asked, or
//! be somebody else's. So no answer disables everybody, and none that would disable more than half
//! of the people is carried out.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use crate::{Role, RoleMap};

/// Where the name stands in a filter.
pub const NAME: &str = "{name}";
/// From how many people on it is doubted that more than half of them leave at once.
const FEW: usize = 3;
/// The longest subject, in characters.
const SUBJECT_MAX: usize = 255;
/// The bit of `userAccountControl` that says that an account is disabled (Active Directory).
const ACCOUNT_DISABLED: i64 = 2;

/// Writes a text as a value of a filter (RFC 4515, 3): whatever could end the value, or be more than
/// itself, is escaped.
pub fn escape_filter(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric()
            || matches!(byte, b'.' | b'-' | b'_' | b'@' | b' ' | b',' | b'=')
        {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\{byte:02x}");
        }
    }
    out
}

/// Returns the filter that finds the person of a name.
pub fn person_filter(template: &str, name: &str) -> String {
    template.replace(NAME, &escape_filter(name))
}

/// Returns the filter that finds everybody.
pub fn everybody_filter(template: &str) -> String {
    template.replace(NAME, "*")
}

/// Writes a distinguished name so that two spellings of it are the same text.
pub fn fold_dn(dn: &str) -> String {
    let parts = dn.split(',').map(|part| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        format!(
            "{}={}",
            key.trim().to_lowercase(),
            value.trim().to_lowercase()
        )
    });
    parts.collect::<Vec<_>>().join(",")
}

/// What entries are read by.
#[derive(Clone, Debug)]
pub struct Attributes {
    /// The attribute that identifies a person permanently, such as `entryUUID` or `objectGUID`.
    pub id: String,
    /// The attribute that names an account.
    pub name: String,
    /// The attribute that lists the groups; empty: groups list their members.
    pub groups: String,
}

/// An entry as it came: attributes by their names in lower case.
pub type Entry = HashMap<String, Vec<Vec<u8>>>;

/// A person of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Where the entry is.
    pub dn: String,
    /// What identifies them permanently.
    pub subject: String,
    /// The name of their account.
    pub username: Option<String>,
    /// Their name.
    pub full_name: Option<String>,
    /// Their mail address.
    pub email: Option<String>,
    /// The groups that they are in.
    pub groups: Vec<String>,
    /// Whether the directory has disabled them.
    pub is_disabled: bool,
}

impl Person {
    /// Reads an entry; none if nothing in it identifies the person.
    pub fn read(dn: &str, entry: &Entry, attributes: &Attributes) -> Option<Self> {
        let values = |name: &str| {
            entry
                .get(&name.to_lowercase())
                .map_or(&[][..], Vec::as_slice)
        };
        let text = |name: &str| {
            let first = values(name).first()?;
            std::str::from_utf8(first).ok().map(str::to_owned)
        };
        let [id] = values(&attributes.id) else {
            return None;
        };
        // Active Directory's ids are 16 bytes, which may happen to be a text.
        let subject = match std::str::from_utf8(id) {
            Ok(text) if !attributes.id.eq_ignore_ascii_case("objectGUID") => text.to_owned(),
            _ => id.iter().fold(String::new(), |mut out, byte| {
                // Writing to a string cannot fail.
                let _ = write!(out, "{byte:02x}");
                out
            }),
        };
        if subject.is_empty() || subject.chars().count() > SUBJECT_MAX {
            return None;
        }

        let control = text("userAccountControl").and_then(|bits| bits.parse::<i64>().ok());
        let groups = values(&attributes.groups)
            .iter()
            .filter_map(|group| std::str::from_utf8(group).ok())
            .map(fold_dn);
        Some(Self {
            dn: dn.to_owned(),
            subject,
            username: text(&attributes.name),
            full_name: text("displayName").or_else(|| text("cn")),
            email: text("mail"),
            groups: groups.collect(),
            is_disabled: control.is_some_and(|bits| bits & ACCOUNT_DISABLED != 0),
        })
    }
}

/// Why what a directory says is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// It has nobody.
    #[error("the directory lists nobody")]
    Nobody,
    /// Two entries have one id.
    #[error("the directory gives one id to two people")]
    Ambiguous,
    /// Too many would go at once.
    #[error("{leaving} of {of} people would be disabled at once, which is more than half")]
    TooMany {
        /// How many would be disabled.
        leaving: usize,
        /// Of how many.
        of: usize,
    },
}

/// An account that is linked to a person of the directory.
#[derive(Clone, Copy, Debug)]
pub struct Linked<'a> {
    /// Who it is there.
    pub subject: &'a str,
    /// The role.
    pub role: Role,
    /// Whether it may be used.
    pub is_active: bool,
}

/// What to do with an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Disable it.
    Disable(Left),
    /// Give it another role.
    Role(Role),
}

/// How a person has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// There is no entry any more.
    Directory,
    /// The directory has disabled the entry.
    Disabled,
    /// None of the groups has a role.
    Groups,
}

impl Left {
    /// Returns the reason, for the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Directory => "no longer in the directory",
            Self::Disabled => "disabled in the directory",
            Self::Groups => "in no group of the directory that has a role",
        }
    }
}

/// Returns what to do with which account, by its place in the list, after all of the directory's
/// people were listed.
pub fn plan(
    linked: &[Linked<'_>],
    people: &[Person],
    roles: &RoleMap,
) -> Result<Vec<(usize, Change)>, Doubt> {
    if people.is_empty() {
        return Err(Doubt::Nobody);
    }
    let mut by_subject = BTreeMap::new();
    for person in people {
        if by_subject.insert(person.subject.as_str(), person).is_some() {
            return Err(Doubt::Ambiguous);
        }
    }

    let active = || {
        linked
            .iter()
            .enumerate()
            .filter(|(_, account)| account.is_active)
    };
    let changes: Vec<(usize, Change)> = active()
        .filter_map(|(place, account)| {
            let change = match by_subject.get(account.subject) {
                None => Change::Disable(Left::Directory),
                Some(person) if person.is_disabled => Change::Disable(Left::Disabled),
                Some(person) => match roles.role_of(&person.groups) {
                    None => Change::Disable(Left::Groups),
                    Some(role) if role == account.role => return None,
                    Some(role) => Change::Role(role),
                },
            };
            Some((place, change))
        })
        .collect();

    let is_leaving = |(_, change): &&(usize, Change)| matches!(change, Change::Disable(_));
    let leaving = changes.iter().filter(is_leaving).count();
    let of = active().count();
    if leaving >= FEW && leaving * 2 > of {
        return Err(Doubt::TooMany { leaving, of });
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GroupRole;

    #[test]
    fn a_name_cannot_be_more_than_a_name() {
        let template = "(&(objectClass=person)(uid={name}))";
        assert_eq!(
            person_filter(template, "dana"),
            "(&(objectClass=person)(uid=dana))"
        );
        assert_eq!(
            person_filter(template, "*)(uid=*"),
            "(&(objectClass=person)(uid=\\2a\\29\\28uid=\\2a))"
        );
        assert_eq!(escape_filter("*"), "\\2a");
        assert_eq!(escape_filter("a\\2a"), "a\\5c2a");
        assert_eq!(escape_filter("\0|&!é"), "\\00\\7c\\26\\21\\c3\\a9");
        assert_eq!(everybody_filter(template), "(&(objectClass=person)(uid=*))");
        // A name that looks like the place of the name.
        assert_eq!(
            person_filter("(uid={name})", "{name}"),
            "(uid=\\7bname\\7d)"
        );
    }

    #[test]
    fn two_spellings_of_a_group_are_one() {
        assert_eq!(
            fold_dn("CN=SOC Leads, OU=Groups,DC=example"),
            fold_dn("cn=soc leads,ou=groups , dc=EXAMPLE")
        );
        assert_ne!(
            fold_dn("cn=soc,dc=example"),
            fold_dn("cn=soc,dc=example,dc=com")
        );
    }

    fn attributes(id: &str) -> Attributes {
        Attributes {
            id: id.to_owned(),
            name: "uid".to_owned(),
            groups: "memberOf".to_owned(),
        }
    }

    fn entry(pairs: &[(&str, &[u8])]) -> Entry {
        let mut entry = Entry::new();
        for (name, value) in pairs {
            entry
                .entry(name.to_lowercase())
                .or_default()
                .push(value.to_vec());
        }
        entry
    }

    #[test]
    fn an_entry_is_read_whatever_it_holds() {
        let read =
            |pairs: &[(&str, &[u8])], id| Person::read("uid=dana", &entry(pairs), &attributes(id));
        let dana = read(
            &[
                ("entryUUID", b"u-1"),
                ("uid", b"dana"),
                ("cn", b"Dana"),
                ("memberOf", b"CN=SOC"),
                ("memberOf", b"\xff"),
            ],
            "entryUUID",
        );
        let dana = dana.expect("a person");
        assert_eq!(
            (dana.subject.as_str(), dana.groups.as_slice()),
            ("u-1", &["cn=soc".to_owned()][..])
        );

        let guid = read(&[("objectGUID", b"sixteen_letters!")], "objectGUID").expect("a person");
        assert_eq!(guid.subject, "7369787465656e5f6c65747465727321");
        for (bits, is_disabled) in [("512", false), ("514", true), ("66050", true), ("x", false)] {
            let pairs: &[(&str, &[u8])] = &[("id", b"1"), ("userAccountControl", bits.as_bytes())];
            assert_eq!(
                read(pairs, "id").expect("a person").is_disabled,
                is_disabled,
                "{bits}"
            );
        }

        // Without an id, with two, or with one that is no id, nobody is identified.
        assert_eq!(read(&[("uid", b"dana")], "entryUUID"), None);
        assert_eq!(read(&[("id", b"1"), ("id", b"2")], "id"), None);
        assert_eq!(read(&[("id", b"")], "id"), None);
    }

    fn person(subject: &str, group: &str) -> Person {
        Person {
            dn: format!("uid={subject}"),
            subject: subject.to_owned(),
            username: None,
            full_name: None,
            email: None,
            groups: vec![group.to_owned()],
            is_disabled: false,
        }
    }

    fn roles() -> RoleMap {
        RoleMap {
            groups: vec![GroupRole {
                group: "cn=soc".to_owned(),
                role: Role::User,
            }],
            default: None,
            is_case_sensitive: false,
        }
    }

    fn linked(subjects: &[&'static str]) -> Vec<Linked<'static>> {
        let account = |subject: &&'static str| Linked {
            subject,
            role: Role::User,
            is_active: true,
        };
        subjects.iter().map(account).collect()
    }

    #[test]
    fn who_has_left_is_disabled_and_who_moved_has_the_new_role() {
        let mut accounts = linked(&["a", "b", "c", "d", "e", "f", "g"]);
        accounts[4].role = Role::Admin;
        accounts[5].is_active = false;
        let mut people = vec![
            person("a", "cn=soc"),
            person("b", "cn=none"),
            person("d", "cn=soc"),
            person("e", "cn=soc"),
            person("g", "cn=soc"),
        ];
        people[2].is_disabled = true;
        assert_eq!(
            plan(&accounts, &people, &roles()),
            Ok(vec![
                (1, Change::Disable(Left::Groups)),
                (2, Change::Disable(Left::Directory)),
                (3, Change::Disable(Left::Disabled)),
                (4, Change::Role(Role::User)),
            ])
        );
    }

    #[test]
    fn a_directory_that_lies_disables_nobody() {
        let accounts = linked(&["a", "b", "c", "d", "e"]);
        let everybody: Vec<Person> = ["a", "b", "c", "d", "e"]
            .map(|s| person(s, "cn=soc"))
            .into();
        assert_eq!(plan(&accounts, &[], &roles()), Err(Doubt::Nobody));
        assert_eq!(plan(&accounts, &everybody, &roles()), Ok(Vec::new()));
        // A part of it, another directory, or groups that are empty.
        let too_many = |leaving| Err(Doubt::TooMany { leaving, of: 5 });
        assert_eq!(plan(&accounts, &everybody[..2], &roles()), too_many(3));
        assert_eq!(
            plan(&accounts, &[person("x", "cn=soc")], &roles()),
            too_many(5)
        );
        let emptied: Vec<Person> = everybody
            .iter()
            .map(|p| person(&p.subject, "cn=x"))
            .collect();
        assert_eq!(plan(&accounts, &emptied, &roles()), too_many(5));
        assert_eq!(
            plan(&accounts, &everybody[..3], &roles()).map(|c| c.len()),
            Ok(2)
        );
        // The id of another one, to take their place or to hide behind it.
        let twice = [everybody.clone(), vec![person("a", "cn=none")]].concat();
        assert_eq!(plan(&accounts, &twice, &roles()), Err(Doubt::Ambiguous));
    }

    #[test]
    fn of_one_or_two_people_all_may_leave() {
        let others = [person("x", "cn=soc")];
        assert_eq!(
            plan(&linked(&["a"]), &others, &roles()).map(|c| c.len()),
            Ok(1)
        );
        assert_eq!(
            plan(&linked(&["a", "b"]), &others, &roles()).map(|c| c.len()),
            Ok(2)
        );
    }
}
