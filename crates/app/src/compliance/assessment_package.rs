//! What reports are written from, read at one moment; and the package of it for an assessor.

mod package;

use std::io::{self, BufWriter};
use std::path::Path;

use anyhow::{Context as _, bail};
use compliance::Catalog;
use compliance::diagram::Picture;
use compliance::evidence::{Artifact, CONFIRMATIONS, artifacts, confirmations, csv, names};
use compliance::reports::{self, ReportContext};
use compliance::sheets::{findings, plans};
use compliance::system::{Asset, System};
use config::StateDir;
use model::evidence::Confirmation;
use model::facts::Facts;
use model::{Control, Evidence, Plan, Scored, Timestamp};
use store::StoreError;
use store::evidence::EvidenceFilter;

use self::package::Package;
use super::claims::discount_tampered;
use super::evidence_store::{self, EvidenceStore};
use super::integrity::mark_tampered;
use super::{current_controls, description, diagrams};
use crate::actor::Resource;
use crate::{AppError, Session, temp_files};

const README: &str = include_str!("assessment_package/README.txt");

/// What reports are written from.
#[derive(Debug)]
pub struct AssessmentData {
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
    pictures: Vec<Picture>,
    scores: Vec<Scored>,
    facts: Option<Facts>,
    /// When it was read.
    pub now: Timestamp,
    /// The state directory has a description that says something else than the imported one.
    pub ignored_file: bool,
}

/// An OSCAL document.
#[derive(Debug)]
pub struct OscalFile {
    /// Its path in a trestle workspace.
    pub path: String,
    /// JSON, indented.
    pub text: String,
}

impl AssessmentData {
    /// Reads everything in one snapshot. The system is described by the file that is given, else by
    /// that in the state directory.
    pub async fn read(
        session: &mut Session,
        state: &StateDir,
        given: Option<&Path>,
        now: Timestamp,
    ) -> Result<Self, AppError> {
        let conn = session.read(Resource::Reports)?;
        let ignored_file = given.is_none() && description::is_file_ignored(conn, state).await?;
        let mut tx = store::snapshot(conn).await?;
        let system = description::read(&mut tx, given, state).await?;
        let assets = description::inventory(&mut tx, &system).await?;
        let mut controls = current_controls(&mut tx, now).await?;
        let filter = EvidenceFilter {
            latest: true,
            ..EvidenceFilter::default()
        };

        let mut evidence = store::evidence::list(&mut tx, &filter).await?;
        let ids: Vec<_> = evidence.iter().map(|e| e.evidence_id).collect();
        let confirmations = store::evidence::confirmations(&mut tx, Some(&ids)).await?;
        let plans = store::plans::list(&mut tx).await?;
        let scores = store::scores::all(&mut tx).await?;

        mark_tampered(&mut tx, state, &mut evidence).await?;
        tx.commit().await.map_err(StoreError::from)?;
        discount_tampered(&mut controls, &evidence, now);

        let folder = given.map_or_else(|| state.path(), description::folder_of);
        let files = EvidenceStore::new(state.path());
        let pictures = diagrams::read_pictures(&system, folder, &files)?;
        let facts = latest_facts(&evidence, now);
        Ok(Self {
            system,
            controls,
            evidence,
            plans,
            confirmations,
            assets,
            pictures,
            scores,
            facts,
            now,
            ignored_file,
        })
    }

    /// The pieces that are not what was taken in.
    pub fn tampered(&self) -> impl Iterator<Item = &Evidence> {
        self.evidence.iter().filter(|e| e.tampered)
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
            pictures: &self.pictures,
            scores: &self.scores,
            facts: self.facts.as_ref(),
            now: self.now,
        }
    }

    /// The OSCAL documents. A reference in them that points nowhere is an error of the program, and
    /// is not handed out.
    pub fn oscal(&self) -> anyhow::Result<Vec<OscalFile>> {
        let known = self.known();
        let mut files = Vec::new();
        for file in compliance::oscal::all_documents(&known) {
            if let [first, ..] = &compliance::oscal::dangling_references(&known, &file)[..] {
                bail!("{} would point nowhere: {first}", file.path);
            }

            let mut text = serde_json::to_string_pretty(&file.json)?;
            text.push('\n');
            files.push(OscalFile {
                path: file.path,
                text,
            });
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
        files: &EvidenceStore,
        to: &Path,
        step: &dyn Fn(u64),
    ) -> Result<String, AppError> {
        let folder = to
            .parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        if to.exists() {
            return Err(AppError::conflict(format!(
                "{} exists; it is not overwritten",
                to.display()
            )));
        }

        let file = tempfile::NamedTempFile::new_in(folder)
            .with_context(|| format!("cannot write to {}", folder.display()))?;
        let _held = temp_files::hold(file.path());
        let mut package =
            Package::new(BufWriter::with_capacity(1 << 20, file.as_file()), self.now)?;

        // First of all, because it may be the end.
        let list = self.put_evidence(&mut package, files, step)?;
        self.put_pictures(&mut package)?;
        self.put_reports(&mut package)?;
        self.put_sheets(&mut package)?;
        package.put("hashes.csv", csv(&list).as_bytes())?;
        package.put("README.txt", README.as_bytes())?;

        let sum = package.end()?;
        file.as_file()
            .sync_all()
            .with_context(|| format!("cannot write {}", to.display()))?;
        file.persist_noclobber(to)
            .with_context(|| format!("cannot write {}", to.display()))?;

        Ok(sum)
    }

    /// Puts the evidence into the package. Returns its list of hashes.
    fn put_evidence(
        &self,
        package: &mut Package<impl io::Write + io::Seek>,
        files: &EvidenceStore,
        step: &dyn Fn(u64),
    ) -> anyhow::Result<Vec<Artifact>> {
        let mut list = Vec::new();
        for (artifact, piece) in artifacts(&self.evidence) {
            package.evidence(&artifact, piece, files, step)?;
            list.push(artifact);
        }

        let confirmed = confirmations(&self.confirmations, &names(&self.evidence));
        if !confirmed.is_empty() {
            package.put(&format!("evidence/{CONFIRMATIONS}"), confirmed.as_bytes())?;
            list.push(Artifact {
                name: CONFIRMATIONS.to_owned(),
                sha256: evidence_store::sha256(confirmed.as_bytes()),
            });
        }

        Ok(list)
    }

    /// Puts the diagrams into the package as they were taken in.
    fn put_pictures(&self, package: &mut Package<impl io::Write + io::Seek>) -> anyhow::Result<()> {
        for (name, picture) in diagrams::package_names(&self.pictures)
            .iter()
            .zip(&self.pictures)
        {
            package.put(&format!("diagrams/{name}"), &picture.original)?;
        }

        Ok(())
    }

    /// Puts the reports into the package, in every form, and the OSCAL documents.
    fn put_reports(&self, package: &mut Package<impl io::Write + io::Seek>) -> anyhow::Result<()> {
        let known = self.known();
        for (name, doc) in [
            ("assessor-report", reports::assessor(&known)),
            ("system-security-plan", reports::ssp(&known)),
            ("plan-of-action", reports::poam(&known.plans_of_action())),
        ] {
            package.put(&format!("{name}.md"), doc.markdown().as_bytes())?;
            package.put(&format!("{name}.html"), doc.html().as_bytes())?;
            package.put(&format!("{name}.pdf"), &pdf::render(&doc)?)?;
        }

        for file in self.oscal()? {
            package.put(&format!("oscal/{}", file.path), file.text.as_bytes())?;
        }

        Ok(())
    }

    fn put_sheets(&self, package: &mut Package<impl io::Write + io::Seek>) -> anyhow::Result<()> {
        let known = self.known();
        let known = known.plans_of_action();
        package.put("findings.csv", &findings::csv(&self.controls)?)?;
        package.put("poam.csv", &plans::csv(&known)?)?;
        package.put("poam.xlsx", &plans::xlsx(&known)?)
    }
}

/// What the checks saw last of events and alerts, put together from what they recorded.
fn latest_facts(evidence: &[Evidence], now: Timestamp) -> Option<Facts> {
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
