//! The formats of inventories (lists of components in use): one file each, and the list.

mod cargo_lock;
mod composer_lock;
mod cyclonedx;
mod dpkg;
mod spdx;

use crate::{Component, ReadError};

/// The longest parts of a component, in bytes.
const NAME_MAX: usize = 500;
const VERSION_MAX: usize = 200;
const ECOSYSTEM_MAX: usize = 50;
const DISTRIBUTION_MAX: usize = 100;

/// An inventory format.
#[derive(Debug)]
pub struct Format {
    /// Its name on the command line and in the configuration.
    pub name: &'static str,
    /// One phrase that says what it is.
    pub description: &'static str,
    /// Returns whether a text looks like this format.
    pub recognizes: fn(&str) -> bool,
    /// Reads the components of a text.
    pub read: fn(&str) -> Result<Vec<Component>, ReadError>,
}

/// All formats.
pub const ALL: &[Format] = &[
    cyclonedx::FORMAT,
    spdx::FORMAT,
    composer_lock::FORMAT,
    cargo_lock::FORMAT,
    dpkg::FORMAT,
];

/// Reads a text and returns its components in order, each once. `format` is a name in [`ALL`];
/// without one the format is recognized from the text.
pub fn read(text: &str, format: Option<&str>) -> Result<Vec<Component>, ReadError> {
    let text = crate::without_mark(text);
    let format = match format {
        Some(name) => ALL.iter().find(|f| f.name == name),
        None => ALL.iter().find(|f| (f.recognizes)(text)),
    };

    let format = format.ok_or_else(|| {
        ReadError::Unknown(ALL.iter().map(|f| f.name).collect::<Vec<_>>().join(", "))
    })?;
    let mut components = (format.read)(text)?;
    let shape = |reason: String| ReadError::Shape {
        format: format.name,
        reason,
    };

    if components.is_empty() {
        // An empty list would replace one with components.
        return Err(shape("it lists no components".to_owned()));
    }

    let fits = |c: &Component| {
        let distribution = c
            .package
            .distribution
            .as_ref()
            .map_or_else(String::new, ToString::to_string);
        let text = [
            &c.package.name,
            &c.version,
            &c.package.ecosystem.0,
            &distribution,
        ];
        !text.iter().any(|t| t.contains('\0'))
            && distribution.len() <= DISTRIBUTION_MAX
            && (1..=NAME_MAX).contains(&c.package.name.len())
            && c.version.len() <= VERSION_MAX
            && c.package.ecosystem.0.len() <= ECOSYSTEM_MAX
    };

    if let Some(wrong) = components.iter().find(|c| !fits(c)) {
        return Err(shape(format!(
            "the component `{}` has a name or version that is too long, empty or not text",
            crate::cut_text(&wrong.package.name, 40)
        )));
    }

    components.sort_unstable();
    components.dedup();
    Ok(components)
}

#[cfg(test)]
mod tests;
