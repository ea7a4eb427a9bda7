//! The compliance model: the requirements of NIST SP 800-171, the findings, and what follows from
//! them for a CMMC Level 2 assessment.
//!
//! Invariant: no I/O and no clock. Texts, weights and rules of a framework are data with a version
//! and the date when they were last verified (`data/`); another revision is another file.

pub mod catalog;
pub mod checks;
pub mod claim;
pub mod cmmc;
mod dates;
pub mod diagram;
pub mod document;
pub mod evidence;
pub mod evidence_types;
pub mod oscal;
pub mod poam;
pub mod posture;
pub mod reminders;
pub mod reports;
pub mod review;
pub mod score;
pub mod sections;
pub mod sheets;
pub mod sprs;
pub mod system;
pub mod upkeep;

pub use catalog::{Catalog, Eligibility, Requirement};
