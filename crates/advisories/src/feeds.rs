//! What publishers of advisories write: one file per format, and the list.

mod csaf;
mod kev;
mod osv;

use serde_json::Value;

use crate::{Advisory, ReadError};

/// The longest id, in bytes.
const ID_MAX: usize = 300;

/// A format.
#[derive(Debug)]
pub struct Format {
    /// Its name on the command line and in the configuration.
    pub name: &'static str,
    /// What it is, in a line.
    pub description: &'static str,
    /// Whether a document looks like it.
    pub is: fn(&Value) -> bool,
    /// The advisories of a document.
    pub read: fn(&Value) -> Result<Vec<Advisory>, ReadError>,
}

/// Every format.
pub const ALL: &[Format] = &[kev::FORMAT, csaf::FORMAT, osv::FORMAT];

/// Reads a text: one JSON document, or one a line. `format` is a name of [`ALL`]; without one it is
/// told from the text.
pub fn read(text: &str, format: Option<&str>) -> Result<Vec<Advisory>, ReadError> {
    crate::no_nul(text, "feed")?;
    let documents = match crate::json::parse(text) {
        // OSV's exports are lists too.
        Ok(Value::Array(documents)) => documents,
        Ok(document) => vec![document],
        Err(whole) => {
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            // Of two errors the one about the whole text helps, unless it is lines.
            lines
                .map(|line| crate::json::parse(line).map_err(|_| whole.clone()))
                .collect::<Result<_, _>>()?
        }
    };

    let mut advisories = Vec::new();
    for document in &documents {
        let format = match format {
            Some(name) => ALL.iter().find(|f| f.name == name),
            None => ALL.iter().find(|f| (f.is)(document)),
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
                "the id `{}…` has more than {ID_MAX} bytes",
                crate::cut(&wrong.id, 40)
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
