//! Everything that reports tell of, read at one moment; and the package of it for an assessor.

use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::Path;

use anyhow::{Context as _, bail};
use compliance::Catalog;
use compliance::evidence::{Artifact, CONFIRMATIONS, artifacts, confirmations, csv, sums};
use compliance::reports::{self, ReportContext};
use compliance::system::{Asset, System};
use model::evidence::Confirmation;
use model::facts::Facts;
use model::{Control, Evidence, Plan, Scored, Timestamp};
use store::PgConnection;
use store::evidence::EvidenceFilter;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::evidence_store::{self, EvidenceStore, Hashing};
use crate::temp_files;
use config::StateDir;

/// The name of the system's description in the state directory.
pub const SYSTEM: &str = "system.toml";

/// All that is known.
#[derive(Debug)]
pub struct Dossier {
    /// The system.
    pub system: System,
    /// Findings.
    pub controls: Vec<Control>,
    /// Evidence.
    pub evidence: Vec<Evidence>,
    /// Plans of action.
    pub plans: Vec<Plan>,
    /// When checks saw the same again.
    pub confirmations: Vec<Confirmation>,
    assets: Vec<Asset>,
    scores: Vec<Scored>,
    facts: Option<Facts>,
    /// When it was read.
    pub now: Timestamp,
}

/// Reads the description of the system: of the file that is named, else that of the state
/// directory, else an empty one.
pub fn system(given: Option<&Path>, state: &StateDir) -> anyhow::Result<System> {
    let path = given.map_or_else(|| state.join(SYSTEM), Path::to_owned);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && given.is_none() => {
            return Ok(System::default());
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };

    toml::from_str(&text)
        .with_context(|| format!("{} is not a description of a system", path.display()))
}

impl Dossier {
    /// Reads everything in one snapshot.
    pub async fn read(
        conn: &mut PgConnection,
        system: System,
        now: Timestamp,
    ) -> anyhow::Result<Self> {
        let mut tx = store::snapshot(conn).await?;
        let controls = store::compliance::all(&mut tx, now).await?;
        if controls.is_empty() {
            bail!("the requirements are not in the database yet; run `blueteam migrate`");
        }

        let filter = EvidenceFilter {
            latest: true,
            ..EvidenceFilter::default()
        };

        let evidence = store::evidence::list(&mut tx, &filter).await?;
        let ids: Vec<_> = evidence.iter().map(|e| e.evidence_id).collect();
        let confirmations = store::evidence::confirmations(&mut tx, Some(&ids)).await?;
        let plans = store::plans::list(&mut tx).await?;
        let scores = store::scores::all(&mut tx).await?;

        let mut assets: Vec<Asset> = store::assets::list(&mut tx)
            .await?
            .into_iter()
            .map(|a| Asset {
                name: a.name,
                category: a.category,
                owner: a.owner.unwrap_or_default(),
                description: a.description.unwrap_or_default(),
                treatment: a.treatment.unwrap_or_default(),
            })
            .collect();

        tx.commit().await?;
        let more = system
            .assets
            .iter()
            .filter(|a| !assets.iter().any(|b| b.name == a.name))
            .cloned();
        assets.extend(more.collect::<Vec<_>>());

        let facts = facts(&evidence, now);
        Ok(Self {
            system,
            controls,
            evidence,
            plans,
            confirmations,
            assets,
            scores,
            facts,
            now,
        })
    }

    /// As reports want it.
    pub fn known(&self) -> ReportContext<'_> {
        ReportContext {
            catalog: Catalog::r2(),
            system: &self.system,
            controls: &self.controls,
            evidence: &self.evidence,
            plans: &self.plans,
            assets: &self.assets,
            scores: &self.scores,
            facts: self.facts.as_ref(),
            now: self.now,
        }
    }

    /// The OSCAL documents. A reference in them that points nowhere is an error of ours, and is not
    /// handed out.
    pub fn oscal(&self) -> anyhow::Result<Vec<compliance::oscal::File>> {
        let known = self.known();
        let files = compliance::oscal::all_documents(&known);
        for file in &files {
            if let [first, ..] = &compliance::oscal::dangling_references(&known, file)[..] {
                bail!("{} would point nowhere: {first}", file.path);
            }
        }
        Ok(files)
    }

    /// Writes the package: reports, sheets, evidence, hashes. Returns the hash of its list of
    /// hashes. A piece of evidence that is not what was taken in is an error that names it: no
    /// package is better than one with a forged piece. Only its owner may read it, because what it
    /// holds is about the protection of CUI. `step` is told how many octets of evidence have been
    /// packed since it was last told.
    pub fn package(
        &self,
        vault: &EvidenceStore,
        to: &Path,
        sheets: Vec<(&str, Vec<u8>)>,
        step: &dyn Fn(u64),
    ) -> anyhow::Result<String> {
        let folder = to
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        if to.exists() {
            bail!("{} exists; it is not overwritten", to.display());
        }

        let file = tempfile::NamedTempFile::new_in(folder)
            .with_context(|| format!("cannot write to {}", folder.display()))?;
        let _held = temp_files::hold(file.path());
        let mut package =
            Package::new(BufWriter::with_capacity(1 << 20, file.as_file()), self.now)?;

        // First of all, because it may be the end.
        let mut list = Vec::new();
        for (artifact, piece) in artifacts(&self.evidence) {
            package.evidence(&artifact, piece, vault, step)?;
            list.push(artifact);
        }

        let confirmed = confirmations(&self.confirmations);
        if !confirmed.is_empty() {
            package.put(&format!("evidence/{CONFIRMATIONS}"), confirmed.as_bytes())?;
            list.push(Artifact {
                name: CONFIRMATIONS.to_owned(),
                sha256: evidence_store::sha256(confirmed.as_bytes()),
            });
        }

        let known = self.known();
        for (name, doc) in [
            ("assessor-report", reports::assessor(&known)),
            ("system-security-plan", reports::ssp(&known)),
            (
                "plan-of-action",
                reports::poam(known.catalog, &self.plans, self.now),
            ),
        ] {
            package.put(&format!("{name}.md"), doc.markdown().as_bytes())?;
            package.put(&format!("{name}.html"), doc.html().as_bytes())?;
            package.put(&format!("{name}.pdf"), &pdf::render(&doc)?)?;
        }

        for document in self.oscal()? {
            package.put(
                &format!("oscal/{}", document.path),
                pretty(&document.json)?.as_bytes(),
            )?;
        }

        for (name, sheet) in sheets {
            package.put(name, &sheet)?;
        }

        package.put("hashes.csv", csv(&list).as_bytes())?;
        package.put("README.txt", README.as_bytes())?;
        let sum = package.end()?;
        file.as_file().sync_all()?;
        file.persist_noclobber(to)
            .with_context(|| format!("cannot write {}", to.display()))?;

        Ok(sum)
    }
}

/// A document as people can read it.
pub fn pretty(json: &serde_json::Value) -> anyhow::Result<String> {
    let mut text = serde_json::to_string_pretty(json)?;
    text.push('\n');
    Ok(text)
}

/// What the checks saw last of events and alerts, put together from what they recorded.
fn facts(evidence: &[Evidence], now: Timestamp) -> Option<Facts> {
    let of = |check: &str| {
        let piece = evidence
            .iter()
            .rev()
            .find(|e| e.recorded.as_ref().is_some_and(|r| r.check_id == check))?;
        serde_json::from_value::<Facts>(piece.recorded.as_ref()?.facts.clone()).ok()
    };

    let (events, alerts) = (of("au_3_3_1"), of("si_3_14_6"));
    let taken_at = events.as_ref().or(alerts.as_ref())?.taken_at;
    let mut facts = Facts::none(taken_at.min(now), 30);
    facts.events = events.and_then(|f| f.events);
    facts.alerts = alerts.and_then(|f| f.alerts);

    Some(facts)
}

const README: &str = "\
CMMC Level 2 assessment package
===============================

assessor-report.*       the report: result, findings by requirement, evidence, plans
system-security-plan.*  the plan (3.12.4)
plan-of-action.*        plans of action (3.12.2); poam.csv and poam.xlsx have the columns of eMASS
findings.csv            the result of each of the 320 objectives
oscal/                  all of it as OSCAL 1.2.1, a trestle workspace
evidence/               the artifacts
hashes.csv              artifact name, hash value, algorithm (32 CFR 170.17(c)(4))
SHA256SUMS              the hashes of all files of this package

To check it without the program that made it:

  1. Compare the hash of SHA256SUMS with the one that you were given by another way:
       sha256sum SHA256SUMS             (Linux, macOS: shasum -a 256 SHA256SUMS)
       certutil -hashfile SHA256SUMS SHA256                              (Windows)
  2. Check all files against it:
       sha256sum -c SHA256SUMS
  3. The values of hashes.csv are those of the files in evidence/.

What a check of the program decided from is at the end of its file in evidence/, under 'Facts:'. \
When the check saw the very same again, that is a line of
evidence/confirmations.csv. Each hash of its last column is the SHA-256 of the hash before it \
(for number 1, of the hash of the piece's file), the id, the
number, the time in microseconds since 1970 and the name, with a line end after each.

Of the results of each check the newest is here. Earlier ones are kept by the program for six \
years: 'blueteam compliance evidence list --all' names
them with their hashes, and 'show' and 'verify' take their ids.
";

/// A ZIP whose octets depend on nothing but its content and its time.
struct Package<W: Write + Seek> {
    zip: ZipWriter<W>,
    options: SimpleFileOptions,
    list: Vec<Artifact>,
}

impl<W: Write + Seek> Package<W> {
    fn new(to: W, now: Timestamp) -> anyhow::Result<Self> {
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

    fn put(&mut self, name: &str, content: &[u8]) -> anyhow::Result<()> {
        self.zip.start_file(name, self.options)?;
        self.zip.write_all(content)?;
        self.list.push(Artifact {
            name: name.to_owned(),
            sha256: evidence_store::sha256(content),
        });
        Ok(())
    }

    fn evidence(
        &mut self,
        artifact: &Artifact,
        piece: &Evidence,
        vault: &EvidenceStore,
        step: &dyn Fn(u64),
    ) -> anyhow::Result<()> {
        let name = format!("evidence/{}", artifact.name);
        let mut source: Box<dyn Read> = match (&piece.file_path, &piece.content) {
            (Some(path), _) => Box::new(vault.open(path).with_context(|| {
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
    fn end(mut self) -> anyhow::Result<String> {
        let list = sums(&self.list);
        self.zip.start_file("SHA256SUMS", self.options)?;
        self.zip.write_all(list.as_bytes())?;
        self.zip.finish()?.flush()?;
        Ok(evidence_store::sha256(list.as_bytes()))
    }
}
