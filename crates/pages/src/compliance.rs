//! How the requirements stand.

use askama::Template;

use crate::alerts::Fact;
use crate::edit::{Control, EditForm};
use crate::frame::Frame;
use crate::plain::Cell;
use crate::words::When;

/// The score.
#[derive(Clone, Debug)]
pub struct ScoreCard {
    /// What may be said of the score, in a sentence.
    pub says: String,
    /// The scores as they were counted: when, and what.
    pub history: Vec<(When, i32)>,
    /// The same as a line: points of an SVG of 600 by 120.
    pub line: String,
}

/// A family of requirements.
#[derive(Clone, Debug)]
pub struct FamilyRow {
    /// Its number and name.
    pub name: String,
    /// How many are met, partly met, not met, not assessed.
    pub counts: [u32; 4],
}

impl FamilyRow {
    /// How many there are.
    pub(crate) fn total(&self) -> u32 {
        self.counts.iter().sum()
    }

    /// Where each part of a bar of 200 begins and how wide it is.
    pub(crate) fn bar(&self) -> Vec<(&'static str, u32, u32)> {
        let total = self.total().max(1);
        let (mut start, mut parts) = (0, Vec::new());
        for (count, class) in self.counts.iter().zip(["met", "partly", "unmet", "open"]) {
            let width = 200 * count / total;
            if width > 0 {
                parts.push((class, start, width));
            }
            start += width;
        }
        parts
    }
}

/// A requirement in the list.
#[derive(Clone, Debug)]
pub struct Requirement {
    /// Its number.
    pub id: String,
    /// What it asks for.
    pub title: String,
    /// Its family.
    pub family: String,
    /// How it stands, in words.
    pub status: String,
    /// What it weighs.
    pub weight: String,
    /// Who is responsible.
    pub owner: String,
    /// How many of its objectives are met, of how many.
    pub objectives: String,
    /// Whether it is planned for (POA&M), lacks evidence or a statement, in words.
    pub remarks: String,
}

/// How all requirements stand.
#[derive(Debug, Template)]
#[template(path = "compliance.html")]
pub struct CompliancePage {
    /// What is around it.
    pub frame: Frame,
    /// The pages beside: path and words.
    pub beside: Vec<(&'static str, &'static str)>,
    /// The score.
    pub score: ScoreCard,
    /// The families.
    pub families: Vec<FamilyRow>,
    /// The requirements.
    pub rows: Vec<Requirement>,
    /// Only those that are not met.
    pub gaps: bool,
    /// Whether the reader may write reports.
    pub may_export: bool,
}

/// How one requirement stands.
#[derive(Debug, Template)]
#[template(path = "requirement.html")]
pub struct RequirementPage {
    /// What is around it.
    pub frame: Frame,
    /// The requirement.
    pub row: Requirement,
    /// What there is to know.
    pub facts: Vec<Fact>,
    /// Its objectives: letter, text, finding, who found it, what a check proposes.
    pub objectives: Vec<[String; 5]>,
    /// To decide, if the reader may.
    pub decide: Option<EditForm>,
    /// To say how it is implemented, if the reader may.
    pub statement: Option<EditForm>,
    /// What the assessor notes; none for who may not see it.
    pub notes: Option<String>,
    /// To write that, if the reader may.
    pub note: Option<EditForm>,
    /// Its evidence: a link, its name, kind, state, until when.
    pub evidence: Vec<Vec<Cell>>,
    /// Where a piece is added, if the reader may.
    pub add_evidence: Option<String>,
    /// Its decisions: when, who, what, why.
    pub history: Vec<(When, String, String, String)>,
}
