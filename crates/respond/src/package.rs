//! The evidence of an incident as a ZIP that proves itself without blueteam: every record, every
//! file, a manifest signed in minisign's format, and how to check all of it.

use std::fmt::Write as _;
use std::io::{self, Read, Seek, Write};

use jiff::tz::TimeZone;
use model::{EvidenceRecord, Timestamp};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::chain::{self, Fault, Verdict, hex};
use crate::signing::{PublicAbout, SigningError, SigningKey};

/// The form of the manifest.
const FORM: &str = "blueteam-evidence-package-1";
/// How the records are checked without blueteam.
const CHAIN: &str = include_str!("package/check_chain.py");
/// How everything is checked.
const VERIFY: &str = include_str!("package/VERIFY.txt");

/// Why there is no package.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The place that it is written to.
    #[error("cannot write the package: {0}")]
    Write(#[from] zip::result::ZipError),
    /// The same.
    #[error("cannot write the package: {0}")]
    WritePlain(io::Error),
    /// A file of evidence.
    #[error("cannot read {name}: {error}")]
    Read {
        /// Its name in the package.
        name: String,
        /// Why.
        error: io::Error,
    },
    /// The key.
    #[error("cannot sign the package: {0}")]
    Sign(#[from] SigningError),
    /// The manifest.
    #[error("cannot write the manifest: {0}")]
    Manifest(#[from] serde_json::Error),
    /// The time.
    #[error("the clock shows a year that a ZIP cannot hold")]
    Clock,
}

/// A file of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PackedFile {
    /// Its name in the package.
    pub name: String,
    /// SHA-256 as it is in the package; none where it is not there.
    pub sha256: Option<String>,
    /// Its size, in bytes.
    pub size: u64,
    /// The item that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence_id: Option<Uuid>,
    /// The item's place in the chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<i64>,
    /// SHA-256 as it was when it was taken in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recorded_sha256: Option<String>,
    /// To whom it is encrypted, of malware.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sealed_to: Option<String>,
}

impl PackedFile {
    /// Whether it is what was taken in.
    pub fn is_whole(&self) -> bool {
        self.recorded_sha256.is_none() || self.sha256 == self.recorded_sha256
    }
}

/// What a package is about.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    /// The incident, as far as whoever checks the package must know it.
    pub incident: Value,
    /// Its chain.
    pub records: &'a [EvidenceRecord],
    /// What came of checking the chain.
    pub verdict: &'a Verdict,
    /// When it is exported.
    pub at: Timestamp,
    /// By whom.
    pub by: &'a str,
    /// By which program.
    pub program: &'a str,
}

/// A package that was written.
#[derive(Clone, Debug, Serialize)]
pub struct Packed {
    /// The key that signed it.
    pub key: PublicAbout,
    /// SHA-256 of the manifest.
    pub manifest_sha256: String,
    /// The hash of the last record.
    pub head: String,
    /// The files of evidence.
    pub files: Vec<PackedFile>,
}

#[derive(Serialize)]
struct Manifest<'a> {
    form: &'static str,
    about: &'static str,
    incident: &'a Value,
    exported_at: Timestamp,
    exported_by: &'a str,
    program: &'a str,
    signed_by: &'a PublicAbout,
    chain: Chain<'a>,
    faults: &'a [Fault],
    files: &'a [PackedFile],
}

#[derive(Serialize)]
struct Chain<'a> {
    form: &'static str,
    records: usize,
    items: usize,
    head: &'a str,
}

/// A package that is being written.
pub struct Package<W: Write + Seek> {
    zip: ZipWriter<W>,
    options: SimpleFileOptions,
    files: Vec<PackedFile>,
}

impl<W: Write + Seek> Package<W> {
    /// Begins a package. Its octets depend on nothing but what is in it and the time.
    pub fn begin(to: W, at: Timestamp) -> Result<Self, PackageError> {
        let at = at.to_jiff().to_zoned(TimeZone::UTC);
        let time = zip::DateTime::from_date_and_time(
            u16::try_from(at.year()).map_err(|_| PackageError::Clock)?,
            at.month() as u8,
            at.day() as u8,
            at.hour() as u8,
            at.minute() as u8,
            at.second() as u8,
        )
        .map_err(|_| PackageError::Clock)?;
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(1))
            .unix_permissions(0o444)
            .last_modified_time(time);
        Ok(Self {
            zip: ZipWriter::new(to),
            options,
            files: Vec::new(),
        })
    }

    /// Adds the content of an item. `recorded` is what is known of it; its hash and size are
    /// replaced by what is read.
    pub fn add(&mut self, recorded: PackedFile, content: impl Read) -> Result<(), PackageError> {
        let name = &recorded.name;
        let options = self
            .options
            .large_file(recorded.size >= u64::from(u32::MAX) - 1);
        self.zip.start_file(name, options)?;
        let (sha256, size) = copy(content, &mut self.zip, name)?;
        self.files.push(PackedFile {
            sha256: Some(sha256),
            size,
            ..recorded
        });
        Ok(())
    }

    /// Says that the file of an item is not there.
    pub fn add_missing(&mut self, recorded: PackedFile) {
        self.files.push(PackedFile {
            sha256: None,
            ..recorded
        });
    }

    fn put(&mut self, name: &str, content: &[u8]) -> Result<PackedFile, PackageError> {
        self.zip.start_file(name, self.options)?;
        self.zip
            .write_all(content)
            .map_err(PackageError::WritePlain)?;
        Ok(PackedFile {
            name: name.to_owned(),
            sha256: Some(sha256(content)),
            size: content.len() as u64,
            evidence_id: None,
            sequence: None,
            recorded_sha256: None,
            sealed_to: None,
        })
    }

    /// Adds the records, the manifest, what signs it and how to check it, and ends the package.
    /// Returns what it was written to as well.
    pub fn end(mut self, case: &Case<'_>, key: &SigningKey) -> Result<(Packed, W), PackageError> {
        let about = key.about();
        let evidence = self.files.clone();

        let mut lines = String::new();
        for record in case.records {
            lines.push_str(&chain::line(record));
            lines.push('\n');
        }
        let mut rest = vec![
            self.put("records.ndjson", lines.as_bytes())?,
            self.put("check_chain.py", CHAIN.as_bytes())?,
            self.put("VERIFY.txt", verify_text(case, &about).as_bytes())?,
            self.put("minisign.pub", key.public_file().as_bytes())?,
        ];

        rest.splice(0..0, evidence.iter().cloned());
        let manifest = Manifest {
            form: FORM,
            about: "The evidence of an incident; VERIFY.txt says how to check it",
            incident: &case.incident,
            exported_at: case.at,
            exported_by: case.by,
            program: case.program,
            signed_by: &about,
            chain: Chain {
                form: chain::FORM,
                records: case.verdict.records,
                items: case.verdict.items,
                head: &case.verdict.head,
            },
            faults: &case.verdict.faults,
            files: &rest,
        };
        let manifest = serde_json::to_string_pretty(&manifest)? + "\n";
        let comment = format!(
            "timestamp:{} records:{} head:{}",
            case.at.as_secs(),
            case.verdict.records,
            case.verdict.head
        );
        let signed = self.put("manifest.json", manifest.as_bytes())?;
        let signature = key.sign(
            manifest.as_bytes(),
            &format!("{comment} file:manifest.json"),
        )?;
        self.put("manifest.json.minisig", signature.as_bytes())?;

        rest.push(signed);
        let sums = sums(&rest);
        self.put("SHA256SUMS", sums.as_bytes())?;
        let signature = key.sign(sums.as_bytes(), &format!("{comment} file:SHA256SUMS"))?;
        self.put("SHA256SUMS.minisig", signature.as_bytes())?;

        let mut to = self.zip.finish()?;
        to.flush().map_err(PackageError::WritePlain)?;
        let packed = Packed {
            key: about,
            manifest_sha256: sha256(manifest.as_bytes()),
            head: case.verdict.head.clone(),
            files: evidence,
        };
        Ok((packed, to))
    }
}

/// Returns the name of an item's file in a package: its place in the chain, and its own name.
pub fn file_name(sequence: i64, record: &EvidenceRecord) -> String {
    let item = record.item();
    let name = item.and_then(|item| item.file_name.as_deref());
    let name = crate::names::sanitize(name.unwrap_or("text.txt"));
    let end = if item.is_some_and(model::EvidenceItem::is_malware) {
        ".age"
    } else {
        ""
    };
    format!("evidence/{sequence:04}-{name}{end}")
}

/// Copies, and returns hash and size of what was copied.
fn copy(
    mut from: impl Read,
    to: &mut impl Write,
    name: &str,
) -> Result<(String, u64), PackageError> {
    let mut hash = Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok((hex(&hash.finalize()), size)),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(PackageError::Read {
                    name: name.to_owned(),
                    error,
                });
            }
        };
        hash.update(&buffer[..read]);
        size += read as u64;
        to.write_all(&buffer[..read])
            .map_err(PackageError::WritePlain)?;
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// As `sha256sum` writes it. Names have no character that it would escape.
fn sums(files: &[PackedFile]) -> String {
    let mut text = String::new();
    for file in files {
        if let Some(sha256) = &file.sha256 {
            let _ = writeln!(text, "{sha256}  {}", file.name);
        }
    }
    text
}

fn verify_text(case: &Case<'_>, key: &PublicAbout) -> String {
    let faults: String = case
        .verdict
        .faults
        .iter()
        .fold(String::new(), |mut text, fault| {
            let _ = writeln!(text, "  {fault}");
            text
        });
    let faults = if faults.is_empty() {
        "When this package was made, every record and the chain held.\n".to_owned()
    } else {
        format!("When this package was made, the chain did not hold:\n{faults}")
    };
    VERIFY
        .replace("{at}", &case.at.to_string())
        .replace("{by}", &model::text::sanitize(case.by))
        .replace("{records}", &case.verdict.records.to_string())
        .replace("{head}", &case.verdict.head)
        .replace("{key}", &key.key)
        .replace("{id}", &key.id)
        .replace("{fingerprint}", &key.fingerprint)
        .replace("{faults}\n", &faults)
}

#[cfg(test)]
mod tests;
