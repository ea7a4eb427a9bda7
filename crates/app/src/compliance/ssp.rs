//! The sections of the system security plan (3.12.4), to be read and written one by one.

use std::collections::BTreeMap;

use anyhow::Context as _;
use compliance::diagram::Diagram;
use compliance::sections::{self, Section as Part};
use compliance::system::System;
use config::StateDir;
use toml::{Table, Value};

use super::description;
use crate::actor::{Action, Resource};
use crate::{AppError, Session};

/// Pictures are imported with their files, and never typed.
const PICTURES: &str = "diagrams";
/// The most that a section may hold, in bytes.
const SECTION_MAX: usize = 200_000;

/// The plan's sections, as far as they are written.
#[derive(Debug)]
pub struct Plan {
    /// The sections, in order.
    pub sections: Vec<Section>,
    /// What an assessor will ask for and the plan lacks, by key.
    pub missing: Vec<String>,
    /// Its pictures: kind, file, caption, and the hash of the copy that is kept.
    pub diagrams: Vec<Diagram>,
    /// Whether it is in the database; otherwise it is read from a file, which the first change
    /// takes over.
    pub is_imported: bool,
}

/// A section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// Number of its chapter.
    pub number: String,
    /// Title of its chapter.
    pub title: String,
    /// Its texts, by key.
    pub texts: BTreeMap<String, String>,
    /// What is more than a text, as TOML.
    pub lists: String,
}

impl Section {
    fn of(part: &Part) -> Result<Self, AppError> {
        let mut table: Table = toml::from_str(&part.content).map_err(anyhow::Error::new)?;
        table.remove(PICTURES);
        let (mut texts, mut lists) = (BTreeMap::new(), Table::new());
        for (key, value) in table {
            match value {
                Value::String(text) => {
                    texts.insert(key, text);
                }
                other => {
                    lists.insert(key, other);
                }
            }
        }

        Ok(Self {
            number: part.section.clone(),
            title: part.title.clone(),
            texts,
            lists: toml::to_string_pretty(&lists).map_err(anyhow::Error::new)?,
        })
    }

    /// Whether nothing is written in it.
    pub fn is_empty(&self) -> bool {
        let says = |value: &Value| match value {
            Value::String(text) => !text.trim().is_empty(),
            Value::Array(all) => !all.is_empty(),
            Value::Table(table) => table
                .values()
                .any(|value| !matches!(value, Value::String(text) if text.is_empty())),
            _ => true,
        };
        let lists = toml::from_str::<Table>(&self.lists).unwrap_or_default();
        self.texts.values().all(|text| text.trim().is_empty()) && !lists.values().any(says)
    }
}

/// Reads the plan's sections.
pub async fn show(session: &mut Session, state: &StateDir) -> Result<Plan, AppError> {
    let conn = session.read(Resource::Compliance)?;
    let (system, is_imported) = description::as_written(conn, state).await?;
    let parts = sections::divide(&system).map_err(anyhow::Error::from)?;
    let complete = description::read(conn, None, state).await?;
    Ok(Plan {
        sections: parts.iter().map(Section::of).collect::<Result<_, _>>()?,
        missing: complete.missing(),
        diagrams: system.diagrams,
        is_imported,
    })
}

/// Writes a section: its texts and lists take the place of what is there. The whole must remain a
/// description. What was in a file alone is in the database from then on.
pub async fn write(
    session: &mut Session,
    state: &StateDir,
    section: &Section,
) -> Result<(), AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Compliance)?;
    let (system, _) = description::as_written(conn, state).await?;
    let assets = system.assets.clone();
    let mut parts = sections::divide(&system).map_err(anyhow::Error::from)?;
    let part = parts
        .iter_mut()
        .find(|part| part.section == section.number)
        .ok_or_else(|| AppError::not_found("the plan has no such section"))?;
    part.content = content(section, &system)?;

    let joined = sections::join(&parts).map_err(|error| AppError::invalid(error.to_string()))?;
    let whole = System { assets, ..joined };
    description::take_over(conn, actor, state, whole, state.path()).await?;
    Ok(())
}

/// What a section holds then, as TOML.
fn content(section: &Section, before: &System) -> Result<String, AppError> {
    let keys = sections::keys(&section.number).unwrap_or_default();
    let known = |key: &str| keys.contains(&key) && key != PICTURES;
    let mut table: Table = toml::from_str(&section.lists)
        .map_err(|error| AppError::invalid(format!("the lists are not TOML: {error}")))?;
    if let Some(key) = table.keys().find(|key| !known(key)) {
        return Err(AppError::invalid(format!(
            "section {} has no `{}` that can be typed; it has {}",
            section.number,
            model::text::sanitize(key),
            keys.join(", ")
        )));
    }

    for (key, text) in section.texts.iter().filter(|(key, _)| known(key)) {
        table.insert(key.clone(), Value::String(text.trim().to_owned()));
    }
    if keys.contains(&PICTURES) {
        let pictures = Value::try_from(&before.diagrams).context("the diagrams cannot be kept")?;
        table.insert(PICTURES.to_owned(), pictures);
    }

    let text = toml::to_string_pretty(&table).map_err(anyhow::Error::new)?;
    if text.len() > SECTION_MAX {
        return Err(AppError::invalid(format!(
            "a section has at most {SECTION_MAX} bytes"
        )));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(number: &str, lists: &str) -> Section {
        Section {
            number: number.to_owned(),
            lists: lists.to_owned(),
            ..Section::default()
        }
    }

    #[test]
    fn a_section_keeps_its_pictures_and_takes_no_other_keys() {
        let before = System {
            diagrams: vec![Diagram {
                kind: "data flow".to_owned(),
                file: "flow.svg".to_owned(),
                ..Diagram::default()
            }],
            ..System::default()
        };
        let mut typed = section("2.1", "");
        typed
            .texts
            .insert("boundary".to_owned(), " all of it ".to_owned());
        typed.texts.insert("marking".to_owned(), "CUI".to_owned());
        let text = content(&typed, &before).unwrap();
        assert!(text.contains("boundary = \"all of it\""), "{text}");
        assert!(
            text.contains("flow.svg") && !text.contains("marking"),
            "{text}"
        );

        for lists in [
            "[[diagrams]]\nfile = 'accounts.key'",
            "marking = 'CUI'",
            "not toml",
        ] {
            let error = content(&section("2.1", lists), &before).unwrap_err();
            assert!(matches!(error, AppError::Invalid(_)), "{lists}: {error}");
        }
    }
}
