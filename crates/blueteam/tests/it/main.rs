//! The product as a whole.

#![expect(
    clippy::unwrap_used,
    reason = "a failed step of a test is a failed test, helpers included"
)]

mod at_the_desk;
mod attested;
mod circles;
mod claims;
mod cli;
mod cli_analysis;
mod compliance;
mod deploy;
mod documented_commands;
mod dossier;
mod incident_evidence;
mod incident_phases;
mod lab;
mod life;
mod operations_audit;
mod origin;
mod reference;
mod scenarios;
mod statements;
mod tidy;
mod upkeep;
