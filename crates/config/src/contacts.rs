//! `[contacts]`: people by name, and who of them is notified when auditing fails (3.3.4).

use notify::Person as Told;
use serde::{Deserialize, Serialize};

use crate::error::Problem;

/// The people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Contacts {
    /// Everyone who may be notified by name.
    pub people: Vec<Person>,
    /// The names of those who are notified when auditing fails; empty: all of them.
    pub audit_failures: Vec<String>,
}

/// One of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// As others call them.
    pub name: String,
    /// Their mail address, without the name.
    pub email: String,
    /// Where they are reached when mail is not; shown to whoever has to call them.
    #[serde(default)]
    pub phone: String,
}

impl Contacts {
    /// The person of this name.
    pub fn named(&self, name: &str) -> Option<&Person> {
        self.people.iter().find(|person| person.name == name)
    }

    /// Returns who is notified when auditing fails.
    pub fn for_audit_failures(&self) -> Vec<Told> {
        let chosen = |person: &&Person| {
            self.audit_failures.is_empty() || self.audit_failures.contains(&person.name)
        };
        self.people
            .iter()
            .filter(chosen)
            .map(Person::told)
            .collect()
    }

    pub(super) fn check(&self, problems: &mut Vec<Problem>) {
        for (i, person) in self.people.iter().enumerate() {
            let key = |part: &str| format!("contacts.people[{i}].{part}");
            if person.name.trim().is_empty() {
                problems.push(Problem::new(key("name"), "must not be empty"));
            }
            if self
                .people
                .iter()
                .take(i)
                .any(|other| other.name == person.name)
            {
                problems.push(Problem::new(
                    key("name"),
                    format!("`{}` is there twice", person.name),
                ));
            }
            if !person.told().has_mail_address() {
                problems.push(Problem::new(
                    key("email"),
                    format!(
                        "`{}` is not a mail address such as ann@example.com",
                        person.email
                    ),
                ));
            }
        }

        for (i, name) in self.audit_failures.iter().enumerate() {
            if self.named(name).is_none() {
                let message = format!("nobody in contacts.people is called `{name}`");
                problems.push(Problem::new(
                    format!("contacts.audit_failures[{i}]"),
                    message,
                ));
            }
        }
    }
}

impl Person {
    /// As a message names them.
    pub fn told(&self) -> Told {
        Told {
            name: self.name.clone(),
            mail: self.email.clone(),
            phone: self.phone.clone(),
        }
    }
}
