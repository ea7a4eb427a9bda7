//! What red teams and scanners report (3.11.2, 3.12.1): `importers` reads their reports,
//! `controls` says which requirements a finding is about, `state` what becomes of a finding from
//! one run to the next. Nothing here does I/O or reads a clock.

pub mod controls;
mod drafts;
mod error;
pub mod importers;
mod json;
mod report;
pub mod state;
mod text;
mod times;
mod xml;

pub use error::ReadError;
pub use report::{Checks, Counts, Finding, Module, PortRange, Report, Scope, Verdict};
pub use text::SIZE_MAX;
