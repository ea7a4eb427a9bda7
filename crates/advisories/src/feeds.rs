//! The formats of advisory feeds: one file each, and the list.

mod csaf;
mod kev;
mod osv;

use serde_json::Value;

use crate::{Advisory, ReadError};

/// The longest ID in bytes.
const ID_MAX: usize = 300;
/// How many defects are named; all are counted.
const DEFECTS_NAMED: usize = 20;

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
    pub read: fn(&Value) -> Result<Reading, ReadError>,
}

/// All formats.
pub const ALL: &[Format] = &[kev::FORMAT, csaf::FORMAT, osv::FORMAT];

/// What a feed says, as far as it can be read: one odd entry must not keep the others out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The advisories.
    pub advisories: Vec<Advisory>,
    /// How many entries could not be read, or not in full.
    pub defective: usize,
    /// The first of them.
    pub defects: Vec<Defect>,
}

/// An entry that could not be read, or not in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// Its ID or its place.
    pub entry: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Reading {
    /// Records that an entry could not be read, or not in full.
    fn add_defect(&mut self, entry: &str, error: &ReadError) {
        self.defective += 1;
        if self.defects.len() < DEFECTS_NAMED {
            let reason = match error {
                ReadError::Shape { reason, .. } => reason.clone(),
                other => other.to_string(),
            };
            self.defects.push(Defect {
                entry: crate::cut_text(entry, 60),
                reason: crate::cut_text(&reason, 200),
            });
        }
    }

    /// Returns the value that an entry gives; records a defect and returns `None` where it is
    /// wrong. An advisory with a wrong date is still one.
    fn optional(
        &mut self,
        entry: &str,
        value: Result<Option<String>, ReadError>,
    ) -> Option<String> {
        value.unwrap_or_else(|error| {
            self.add_defect(entry, &error);
            None
        })
    }

    /// Adds what another document of the feed says, without the advisories whose IDs are too long.
    fn append(&mut self, format: &'static str, mut other: Self) {
        self.defective += other.defective;
        let room = DEFECTS_NAMED.saturating_sub(self.defects.len());
        self.defects.extend(other.defects.into_iter().take(room));

        other.advisories.retain(|advisory| {
            let fits = advisory.id.len() <= ID_MAX && advisory.vulnerability().len() <= ID_MAX;
            if !fits {
                let reason = format!("its ID is longer than {ID_MAX} bytes");
                self.add_defect(&advisory.id, &ReadError::Shape { format, reason });
            }
            fits
        });
        self.advisories.append(&mut other.advisories);
    }
}

/// Reads one JSON document, or one per line. `format` is a name in [`ALL`]; without one the format
/// is recognized from the document.
///
/// # Errors
///
/// Nothing of the text can be read, or it breaks off.
pub fn read(text: &str, format: Option<&str>) -> Result<Reading, ReadError> {
    let mut reading = Reading::default();
    let documents = split_documents(crate::without_mark(text), &mut reading)?;

    let mut first_error = None;
    for (place, document) in (1..).zip(&documents) {
        let known = match format {
            Some(name) => ALL.iter().find(|f| f.name == name),
            None => ALL.iter().find(|f| (f.recognizes)(document)),
        };
        let unknown =
            || ReadError::Unknown(ALL.iter().map(|f| f.name).collect::<Vec<_>>().join(", "));

        let read = known.ok_or_else(unknown).and_then(|format| {
            let read = (format.read)(document)?;
            Ok((format.name, read))
        });
        match read {
            Ok((format, read)) => reading.append(format, read),
            Err(error) => {
                reading.add_defect(&format!("entry {place}"), &error);
                first_error.get_or_insert(error);
            }
        }
    }

    if !reading.advisories.is_empty() {
        return Ok(reading);
    }
    match (first_error, reading.defects.first()) {
        (Some(error), _) => Err(error),
        (None, Some(defect)) => Err(ReadError::Shape {
            format: "feed",
            reason: format!(
                "none of its entries can be read: {}: {}",
                defect.entry, defect.reason
            ),
        }),
        (None, None) => Ok(reading),
    }
}

/// Splits a text into its documents. Lines that are not JSON become defects.
fn split_documents(text: &str, reading: &mut Reading) -> Result<Vec<Value>, ReadError> {
    let whole = match crate::json::parse_json(text) {
        // OSV's exports are lists too.
        Ok(Value::Array(documents)) => return Ok(documents),
        Ok(document) => return Ok(vec![document]),
        Err(whole) => whole,
    };

    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let mut documents = Vec::new();
    for (place, line) in (1..).zip(&lines) {
        match crate::json::parse_json(line) {
            Ok(document) if document.is_object() => documents.push(document),
            // What a download that broke off would have said is not withdrawn by it.
            Err(_) if place == lines.len() && breaks_off(text, line) => return Err(whole),
            Ok(_) => reading.add_defect(
                &format!("line {place}"),
                &ReadError::Shape {
                    format: "feed",
                    reason: "not a JSON object".to_owned(),
                },
            ),
            Err(error) => reading.add_defect(&format!("line {place}"), &error),
        }
    }

    // One document over many lines: report the error about the whole text, as the ones about its
    // lines mean nothing.
    if documents.len() * 2 <= lines.len() {
        return Err(whole);
    }
    Ok(documents)
}

/// Returns whether a text ends within its last line.
fn breaks_off(text: &str, last: &str) -> bool {
    !text.ends_with('\n')
        && serde_json::from_str::<serde::de::IgnoredAny>(last).is_err_and(|error| error.is_eof())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn osv(id: &str) -> Value {
        serde_json::json!({ "id": id, "modified": "2024-01-01T00:00:00Z" })
    }

    fn ids(reading: &Reading) -> Vec<&str> {
        reading.advisories.iter().map(|a| a.id.as_str()).collect()
    }

    /// Whoever publishes one odd entry would stop all others.
    #[test]
    fn an_odd_entry_does_not_hide_the_others_of_its_feed() {
        let long = "X".repeat(ID_MAX + 1);
        let mut odd_date = osv("C");
        odd_date["published"] = "soon".into();
        let list = serde_json::json!([
            osv("A"),
            { "id": 7, "modified": "2024-01-01T00:00:00Z" },
            { "unknown": true },
            null,
            osv(&long),
            odd_date,
            osv("B")
        ]);

        let reading = read(&list.to_string(), None).unwrap();
        assert_eq!(ids(&reading), ["A", "C", "B"]);
        assert_eq!(reading.defective, 5);
        let named: Vec<&str> = reading.defects.iter().map(|d| d.entry.as_str()).collect();
        assert_eq!(named, ["entry 2", "entry 3", "entry 4", &long[..60], "C"]);
    }

    #[test]
    fn an_odd_line_does_not_hide_the_others_of_its_feed() {
        let lines = format!("{}\n{{\"id\":\n[]\n{}\n{}\n", osv("A"), osv("B"), osv("C"));
        let reading = read(&lines, Some("osv")).unwrap();
        assert_eq!(ids(&reading), ["A", "B", "C"]);
        assert_eq!((reading.defective, reading.defects.len()), (2, 2));
        assert_eq!(reading.defects[0].entry, "line 2");
    }

    #[test]
    fn many_defects_are_counted_and_the_first_are_named() {
        let mut list = vec![Value::Null; 3 * DEFECTS_NAMED];
        list.push(osv("A"));
        let reading = read(&Value::from(list).to_string(), None).unwrap();
        assert_eq!(
            (reading.defective, reading.defects.len()),
            (3 * DEFECTS_NAMED, DEFECTS_NAMED)
        );
    }

    /// A feed that says less than before closes what is open, so a part of it must not be taken for
    /// it.
    #[test]
    fn a_feed_that_breaks_off_or_holds_nothing_readable_is_refused() {
        let two = format!("{}\n{}", osv("A"), osv("B"));
        assert!(read(&two, None).is_ok());
        assert!(read(&two[..two.len() - 5], None).is_err());

        let pretty =
            serde_json::to_string_pretty(&serde_json::json!([osv("A"), osv("B")])).unwrap();
        assert!(read(&pretty[..pretty.len() - 2], None).is_err());
        let by_line = format!("[\n{},\n{},\n{}\n", osv("A"), osv("B"), osv("C"));
        assert!(read(&by_line, None).is_err());

        for nothing in ["[null, 7]", "{\"id\":\"\",\"modified\":1}", "[{}, {}]"] {
            assert!(read(nothing, None).is_err(), "{nothing}");
        }
    }
}
