//! `blueteam completions`: what a shell needs to complete commands and options.

use std::process::ExitCode;

use clap::Args as _;
use clap_complete::Shell;

use super::session::Globals;
use super::{Command, out, parsed};

pub(super) const COMMAND: Command = Command {
    name: "completions",
    arguments: Args::augment_args,
    run: |matches, globals| run(&parsed(matches), globals),
};

/// Print the script with which a shell completes commands and options.
///
/// The Debian package installs those of bash, zsh and fish.
///
/// Exit code: 0 done, 2 wrong arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  blueteam completions bash > \
        ~/.local/share/bash-completion/completions/blueteam\n  blueteam completions fish > \
        ~/.config/fish/completions/blueteam.fish\n  blueteam completions zsh > \
        ~/.zfunc/_blueteam     (with ~/.zfunc in $fpath)")]
struct Args {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

fn run(args: &Args, _: Globals<'_>) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::program(), "blueteam", &mut script);
    out::deliver(None, &script)?;
    Ok(ExitCode::SUCCESS)
}
