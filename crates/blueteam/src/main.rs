//! `blueteam`: audit events in, attacks detected, alerts out.

use std::process::ExitCode;

fn main() -> ExitCode {
    blueteam::cli::main()
}
