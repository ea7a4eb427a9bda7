//! The description of a system in sections, one for each chapter of the system security plan, as
//! the table `ssp_sections` holds them.

use toml::Table;

use crate::system::System;

/// Chapters of the plan, and the keys of the description that each is made from. Assets are not
/// among them: they have a table of their own.
const SECTIONS: [(&str, &str, &[&str]); 13] = [
    (
        "1.1",
        "Name",
        &[
            "name",
            "identifier",
            "version",
            "state",
            "marking",
            "designation",
            "assessment",
        ],
    ),
    (
        "1.2",
        "Responsible organization",
        &["organization", "people"],
    ),
    ("1.3", "Purpose and users", &["purpose", "users"]),
    ("1.4", "CUI", &["information"]),
    ("1.5", "Updates", &["update_frequency"]),
    ("2.1", "Boundary", &["boundary", "diagrams"]),
    ("2.2", "Environment of operation", &["environment"]),
    ("2.3", "Flow of CUI", &["data_flow"]),
    ("2.4", "Connections", &["connections"]),
    ("2.5", "Hardware and software", &["components"]),
    ("2.6", "Ownership", &["ownership"]),
    ("3.1", "External service providers", &["providers"]),
    ("5", "Record of changes", &["changes"]),
];

/// The keys of the description that a section is made from; none of a section that there is not.
pub fn keys(section: &str) -> Option<&'static [&'static str]> {
    let found = SECTIONS.iter().find(|(number, _, _)| *number == section);
    found.map(|(_, _, keys)| *keys)
}

/// A section: a chapter's part of the description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Number of the chapter.
    pub section: String,
    /// Title of the chapter.
    pub title: String,
    /// TOML.
    pub content: String,
}

/// Why sections do not make a description, or a description no sections.
#[derive(Debug, thiserror::Error)]
pub enum SectionError {
    /// A description that TOML cannot hold.
    #[error("the description of the system cannot be written: {0}")]
    Write(#[from] toml::ser::Error),
    /// A section that is not part of a description.
    #[error("section {section} of the system security plan cannot be read: {error}")]
    Read {
        /// The section.
        section: String,
        /// The error.
        error: Box<toml::de::Error>,
    },
}

/// Divides a description into its sections. Those that say nothing are empty.
pub fn divide(system: &System) -> Result<Vec<Section>, SectionError> {
    let all = Table::try_from(system)?;
    let section = |(section, title, keys): &(&str, &str, &[&str])| {
        let part: Table = keys
            .iter()
            .filter_map(|key| Some(((*key).to_owned(), all.get(*key)?.clone())))
            .collect();

        Ok(Section {
            section: (*section).to_owned(),
            title: (*title).to_owned(),
            content: toml::to_string_pretty(&part)?,
        })
    };

    SECTIONS.iter().map(section).collect()
}

/// Puts a description together from its sections. It has no assets.
pub fn join(sections: &[Section]) -> Result<System, SectionError> {
    let unreadable = |section: &str, error| SectionError::Read {
        section: section.to_owned(),
        error: Box::new(error),
    };

    let mut all = Table::new();
    for s in sections {
        let part: Table = toml::from_str(&s.content).map_err(|e| unreadable(&s.section, e))?;
        // One by one, so that an error names its section.
        part.clone()
            .try_into::<System>()
            .map_err(|e| unreadable(&s.section, e))?;
        all.extend(part);
    }

    all.try_into().map_err(|e| unreadable("of the whole", e))
}

/// Writes a description as `system.toml` has it.
pub fn to_toml(system: &System) -> Result<String, SectionError> {
    Ok(toml::to_string_pretty(system)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::{Asset, Connection, Organization, Person};

    fn described() -> System {
        System {
            name: "Plant \"7\"\nnorth".to_owned(),
            state: "operational".to_owned(),
            organization: Organization {
                name: "Example Ltd".to_owned(),
                ..Organization::default()
            },
            boundary: "everything = inside\n[not a table]".to_owned(),
            people: vec![Person {
                role: "system owner".to_owned(),
                name: "Zoë".to_owned(),
                ..Person::default()
            }],
            connections: vec![Connection::default(), Connection::default()],
            ..System::default()
        }
    }

    #[test]
    fn a_description_survives_its_sections() {
        let system = described();
        assert_eq!(join(&divide(&system).unwrap()).unwrap(), system);
        assert_eq!(
            toml::from_str::<System>(&to_toml(&system).unwrap()).unwrap(),
            system
        );
    }

    #[test]
    fn every_key_but_assets_is_in_one_section() {
        let system = System {
            assets: vec![Asset::default()],
            ..described()
        };
        let all = Table::try_from(&system).unwrap();
        let mut keys: Vec<&str> = SECTIONS
            .iter()
            .flat_map(|(_, _, keys)| *keys)
            .copied()
            .collect();
        keys.push("assets");
        keys.sort_unstable();
        assert_eq!(keys, all.keys().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn a_section_that_is_wrong_is_named() {
        let mut sections = divide(&described()).unwrap();
        sections[5].content = "boundray = 'x'".to_owned();
        let error = join(&sections).unwrap_err().to_string();
        assert!(
            error.contains("section 2.1") && error.contains("boundray"),
            "{error}"
        );
    }
}
