//! The product as a whole.

#![expect(
    clippy::unwrap_used,
    reason = "a failed step of a test is a failed test, helpers included"
)]

mod at_the_desk;
mod attested;
mod claims;
mod cli;
mod cli_analysis;
mod compliance;
mod deploy;
mod dossier;
mod lab;
mod life;
mod operations_audit;
mod scenarios;
mod tidy;
