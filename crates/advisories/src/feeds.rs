//! The formats of advisory feeds: one file each, and the list.

mod csaf;
mod kev;
mod osv;

use serde_json::Value;

use crate::{Advisory, ReadError};

/// The longest ID in bytes.
const ID_MAX: usize = 300;

/// A feed format.
#[derive(Debug)]
pub struct Format {
    /// Its name on the command line and in the configuration.
    pub name: &'static str,
    /// One phrase that says what it is.
    pub description: &'static str,
    /// Returns whether a document looks like this format.
    pub recognizes: fn(&Value) -> bool,
    /// Reads the advisories of a document.
    pub read: fn(&Value) -> Result<Vec<Advisory>, ReadError>,
}

/// All formats.
pub const ALL: &[Format] = &[kev::FORMAT, csaf::FORMAT, osv::FORMAT];

/// Reads one JSON document, or one per line. `format` is a name in [`ALL`]; without one the format
/// is recognized from the document.
pub fn read(text: &str, format: Option<&str>) -> Result<Vec<Advisory>, ReadError> {
    let text = crate::without_mark(text);
    let documents = match crate::json::parse_json(text) {
        // OSV's exports are lists too.
        Ok(Value::Array(documents)) => documents,
        Ok(document) => vec![document],
        Err(whole) => {
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            // Report the error about the whole text; the one about a line is less helpful.
            lines
                .map(|line| crate::json::parse_json(line).map_err(|_| whole.clone()))
                .collect::<Result<_, _>>()?
        }
    };

    let mut advisories = Vec::new();
    for document in &documents {
        let format = match format {
            Some(name) => ALL.iter().find(|f| f.name == name),
            None => ALL.iter().find(|f| (f.recognizes)(document)),
        };

        let format = format.ok_or_else(|| {
            ReadError::Unknown(ALL.iter().map(|f| f.name).collect::<Vec<_>>().join(", "))
        })?;
        let read = (format.read)(document)?;
        if let Some(wrong) = read
            .iter()
            .find(|a| a.id.len() > ID_MAX || a.vulnerability().len() > ID_MAX)
        {
            let reason = format!(
                "the ID `{}…` is longer than {ID_MAX} bytes",
                crate::cut_text(&wrong.id, 40)
            );
            return Err(ReadError::Shape {
                format: format.name,
                reason,
            });
        }

        advisories.extend(read);
    }

    Ok(advisories)
}
