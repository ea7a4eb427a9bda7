//! The ZIP of an assessment package.

use std::io::{Read, Seek, Write};

use anyhow::{Context as _, bail};
use compliance::evidence::{Artifact, sums};
use model::{Evidence, Timestamp};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::compliance::evidence_store::{self, EvidenceStore, Hashing};

/// A ZIP whose octets depend on nothing but its content and its time.
pub(super) struct Package<W: Write + Seek> {
    zip: ZipWriter<W>,
    options: SimpleFileOptions,
    list: Vec<Artifact>,
}

impl<W: Write + Seek> Package<W> {
    pub(super) fn new(to: W, now: Timestamp) -> anyhow::Result<Self> {
        let at = now.to_jiff().to_zoned(jiff::tz::TimeZone::UTC);
        let time = zip::DateTime::from_date_and_time(
            at.year() as u16,
            at.month() as u8,
            at.day() as u8,
            at.hour() as u8,
            at.minute() as u8,
            at.second() as u8,
        )
        .context("the clock shows a year that a ZIP cannot hold")?;

        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(1))
            .unix_permissions(0o444)
            .last_modified_time(time);
        Ok(Self {
            zip: ZipWriter::new(to),
            options,
            list: Vec::new(),
        })
    }

    pub(super) fn put(&mut self, name: &str, content: &[u8]) -> anyhow::Result<()> {
        self.zip.start_file(name, self.options)?;
        self.zip.write_all(content)?;
        self.list.push(Artifact {
            name: name.to_owned(),
            sha256: evidence_store::sha256(content),
        });
        Ok(())
    }

    pub(super) fn evidence(
        &mut self,
        artifact: &Artifact,
        piece: &Evidence,
        files: &EvidenceStore,
        step: &dyn Fn(u64),
    ) -> anyhow::Result<()> {
        let name = format!("evidence/{}", artifact.name);
        let mut source: Box<dyn Read> = match (&piece.file_path, &piece.content) {
            (Some(path), _) => Box::new(files.open(path).with_context(|| {
                format!(
                    "evidence {} ({}) cannot be read",
                    piece.evidence_id, artifact.name
                )
            })?),
            (None, Some(text)) => Box::new(text.as_bytes()),
            (None, None) => bail!(
                "evidence {} has neither a file nor a text",
                piece.evidence_id
            ),
        };

        // More than 4 GiB needs another header, and that is decided before it is written.
        self.zip.start_file(
            &name,
            self.options.large_file(
                piece
                    .size_bytes
                    .is_none_or(|size| size >= u64::from(u32::MAX)),
            ),
        )?;

        let mut hashing = Hashing::new(&mut source);
        let mut buffer = vec![0; 1 << 18];
        loop {
            let n = hashing
                .read(&mut buffer)
                .with_context(|| format!("cannot read evidence {}", piece.evidence_id))?;
            if n == 0 {
                break;
            }

            self.zip
                .write_all(&buffer[..n])
                .context("cannot write the package")?;
            step(n as u64);
        }

        let (sha256, _) = hashing.end();
        if sha256 != artifact.sha256 {
            bail!(
                "evidence {} ({}) was changed: its hash is {sha256}, and was {} when it was \
                    taken in",
                piece.evidence_id,
                artifact.name,
                artifact.sha256
            );
        }

        self.list.push(Artifact { name, sha256 });
        Ok(())
    }

    /// Adds the list of hashes and ends the ZIP. Returns the list's own hash.
    pub(super) fn end(mut self) -> anyhow::Result<String> {
        let list = sums(&self.list);
        self.zip.start_file("SHA256SUMS", self.options)?;
        self.zip.write_all(list.as_bytes())?;
        self.zip.finish()?.flush()?;
        Ok(evidence_store::sha256(list.as_bytes()))
    }
}
