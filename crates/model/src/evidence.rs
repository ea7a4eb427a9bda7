//! What a finding rests on (3.12.1): documents, samples, results of checks.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::actor::acting;
use crate::ids::{ControlId, EvidenceId, ObjectiveId, UnknownWord};
use crate::time::Timestamp;
use crate::words;

/// `blueteam.compliance_evidence.evidence_type`: the kinds of both documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceKind {
    /// Lines of a log, events.
    LogSample,
    /// A setting as a person saw it.
    ConfigScreenshot,
    /// What came of trying.
    TestResult,
    /// A policy, a procedure, a record.
    PolicyDoc,
    /// What a scanner said.
    ScanResult,
    /// What an automated check saw.
    AutomatedCheck,
}
words!(EvidenceKind,
    "log_sample, config_screenshot, test_result, policy_doc, scan_result, automated_check",
    LogSample => "log_sample", ConfigScreenshot => "config_screenshot", TestResult => "test_result", PolicyDoc => "policy_doc",
    ScanResult => "scan_result", AutomatedCheck => "automated_check");

/// Whether a piece counts in an assessment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Validity {
    /// Approved and within its dates.
    Valid,
    /// Approved, and will lapse within 30 days.
    Lapsing,
    /// Approved, and past its date.
    Lapsed,
    /// Nobody has approved it: drafts and working papers count for nothing.
    Draft,
    /// A draft that someone refused: it is never approved.
    Refused,
    /// It is not what was taken in.
    Tampered,
}
words!(Validity, "valid, lapsing, lapsed, draft, refused, tampered",
    Valid => "valid", Lapsing => "lapsing", Lapsed => "lapsed", Draft => "draft",
    Refused => "refused", Tampered => "tampered");

impl Validity {
    /// Whether it counts.
    pub const fn counts(self) -> bool {
        matches!(self, Self::Valid | Self::Lapsing)
    }
}

/// How long before it lapses a piece is shown as lapsing.
pub const REMIND: crate::Span = crate::Span::days(30);

/// How long a piece is kept at least: six years (32 CFR 170.16(c)(4), 170.17(c)(4)).
const KEPT: crate::Span = crate::Span::days(6 * 365 + 2);

/// What a check decided from, and which check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// The check.
    pub check_id: String,
    /// Its facts: with them the check decides the same again.
    pub facts: Value,
    /// SHA-256 over its facts and what it said, without the time: the same again when both are.
    /// None of what was taken in before it was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facts_sha256: Option<String>,
}

/// That a check saw again what it had seen when a piece was taken in: a row of
/// `blueteam.evidence_confirmations`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Confirmation {
    /// The piece.
    pub evidence_id: EvidenceId,
    /// The how manieth, from 1.
    pub n: u32,
    /// When.
    pub at: Timestamp,
    /// Who had the check run.
    pub by: String,
    /// SHA-256 over [`Confirmation::link`]: chains it to the one before, and the first to the
    /// piece.
    pub sha256: String,
}

impl Confirmation {
    /// What its hash is over. `before` is the hash of the confirmation before it, or of the piece.
    pub fn link(&self, before: &str) -> String {
        format!(
            "{before}\n{}\n{}\n{}\n{}\n",
            self.evidence_id,
            self.n,
            self.at.as_micros(),
            self.by
        )
    }
}

/// A review of upkeep that a person signs (SecureGuard, Maintenance Procedures).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpkeepReview {
    /// Failed sign-ins, lockouts, slow statements, detections, backups.
    Weekly,
    /// Passwords, indexes, the audit log.
    Monthly,
}
words!(UpkeepReview, "weekly, monthly", Weekly => "weekly", Monthly => "monthly");

impl UpkeepReview {
    /// How the table calls it: `blueteam.compliance_evidence.form`.
    pub const fn form(self) -> &'static str {
        match self {
            Self::Weekly => "weekly_review",
            Self::Monthly => "monthly_review",
        }
    }

    /// The review of that form; none for the review of what is logged.
    pub fn of_form(form: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|review| review.form() == form)
    }

    /// The days that it looks back on, and after which the next one is due.
    pub const fn days(self) -> u16 {
        match self {
            Self::Weekly => 7,
            Self::Monthly => 31,
        }
    }
}

/// That a draft was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// By whom.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// A row of `blueteam.compliance_evidence`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// Its id.
    pub evidence_id: EvidenceId,
    /// The requirement that it was taken in for.
    pub control_id: ControlId,
    /// The objectives that it supports.
    pub objectives: Vec<ObjectiveId>,
    /// What it is.
    pub kind: EvidenceKind,
    /// What it shows, in a sentence.
    pub description: String,
    /// Text that is kept in the database.
    pub content: Option<String>,
    /// Where a file is kept, below the state directory.
    pub file_path: Option<String>,
    /// The name that the file had.
    pub file_name: Option<String>,
    /// Octets of the file or text.
    pub size_bytes: Option<u64>,
    /// Of the file or text, in hexadecimal; none for what was taken in before this program.
    pub sha256: Option<String>,
    /// When it was taken in.
    pub collected_at: Timestamp,
    /// By whom.
    pub collected_by: Option<String>,
    /// From when on it says something.
    pub effective_at: Option<Timestamp>,
    /// Until when it counts; `None`: forever.
    pub valid_until: Option<Timestamp>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Who approved it.
    pub approved_by: Option<String>,
    /// When; set for what is final.
    pub approved_at: Option<Timestamp>,
    /// That the draft was refused: it is never approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
    /// Not deleted before.
    pub retain_until: Timestamp,
    /// What a check decided from.
    pub recorded: Option<Recorded>,
    /// When its check last saw the same again.
    pub confirmed_at: Option<Timestamp>,
    /// It is a review that blueteam prepared and a person signed: of what is logged (3.3.3), unless
    /// `upkeep` says otherwise.
    pub review: bool,
    /// Which review of upkeep it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upkeep: Option<UpkeepReview>,
    /// It was hashed again, and is not what was stored.
    pub tampered: bool,
}

impl Evidence {
    /// A draft without content, taken in at `now` by somebody. It is kept for six years, which the
    /// table sees to.
    pub fn draft(
        evidence_id: EvidenceId,
        control_id: ControlId,
        kind: EvidenceKind,
        by: &str,
        now: Timestamp,
    ) -> Self {
        Self {
            evidence_id,
            control_id,
            objectives: Vec::new(),
            kind,
            description: String::new(),
            content: None,
            file_path: None,
            file_name: None,
            size_bytes: None,
            sha256: None,
            collected_at: now,
            collected_by: Some(by.to_owned()),
            effective_at: Some(now),
            valid_until: None,
            owner: None,
            approved_by: None,
            approved_at: None,
            refused: None,
            retain_until: now.plus(KEPT),
            recorded: None,
            confirmed_at: None,
            review: false,
            upkeep: None,
            tampered: false,
        }
    }

    /// Whether it counts at `now`.
    pub fn validity(&self, now: Timestamp) -> Validity {
        match (self.approved_at, self.valid_until) {
            _ if self.tampered => Validity::Tampered,
            (None, _) if self.refused.is_some() => Validity::Refused,
            (None, _) => Validity::Draft,
            (_, Some(until)) if until <= now => Validity::Lapsed,
            (_, Some(until)) if until <= now.plus(REMIND) => Validity::Lapsing,
            _ => Validity::Valid,
        }
    }

    /// Whether who approved it is who collected it: nobody else has looked at it. Of the result of
    /// a check a machine is the collector, and a review is prepared by one.
    pub fn is_self_approved(&self) -> bool {
        let same = |by: &String| {
            self.collected_by
                .as_ref()
                .is_some_and(|collector| acting(collector) == acting(by))
        };
        self.recorded.is_none() && !self.review && self.approved_by.as_ref().is_some_and(same)
    }

    /// How it is cited: its mark where it does not count any more.
    pub fn mark(&self, now: Timestamp) -> &'static str {
        match self.validity(now) {
            Validity::Valid | Validity::Lapsing => "",
            Validity::Lapsed => " (LAPSED)",
            Validity::Draft => " (draft)",
            Validity::Refused => " (refused)",
            Validity::Tampered => " (TAMPERED WITH)",
        }
    }

    /// The name on a list: of the file, else of the piece.
    pub fn artifact(&self) -> String {
        self.file_name
            .clone()
            .unwrap_or_else(|| format!("{}.txt", self.evidence_id))
    }
}
