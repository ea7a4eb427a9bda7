//! `blueteam man-pages`: the manual, a page for each command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args as _;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::session::Globals;
use super::{Command, out, parsed};

pub(super) const COMMAND: Command = Command {
    name: "man-pages",
    arguments: Args::augment_args,
    run: |matches, globals| run(&parsed(matches), globals),
};

/// Write the manual pages: one for the program and one for each command below it.
///
/// The Debian package installs them (`man blueteam`, `man blueteam-alerts-list`).
///
/// Exit code: 0 done, 1 the folder cannot be written to, 2 wrong arguments.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  blueteam man-pages ~/.local/share/man/man1\n  \
        blueteam man-pages /tmp/pages && man /tmp/pages/blueteam-serve.1"
)]
struct Args {
    /// The folder, made if it is missing
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Where an installation keeps its files.
const FILES: [(&str, &str); 4] = [
    (
        "/etc/blueteam/blueteam.toml",
        "The configuration. `blueteam config sample` prints every key with its default.",
    ),
    (
        "/etc/blueteam/environment",
        "Variables of the service, for secrets; read by systemd as root.",
    ),
    (
        "/var/lib/blueteam",
        "The state of the service: the private PostgreSQL cluster, spools, keys of its own.",
    ),
    (
        "~/.local/state/blueteam",
        "The state of everyone else who runs the program without --state-dir.",
    ),
];

fn run(args: &Args, _: Globals<'_>) -> anyhow::Result<ExitCode> {
    let dir = &args.dir;
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;

    // Named while they have no parent: `help` has no page of its own.
    let mut root = super::program().disable_help_subcommand(true);
    root.build();
    let written = write_pages(&root, dir)?;

    out::note(format_args!("{written} pages in {}", dir.display()));
    Ok(ExitCode::SUCCESS)
}

/// Writes the page of a command, and of those below it. Returns how many.
fn write_pages(command: &clap::Command, dir: &Path) -> anyhow::Result<usize> {
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name());
    let path = dir.join(format!("{name}.1"));
    fs::write(&path, page(command)?).with_context(|| format!("cannot write {}", path.display()))?;

    let mut written = 1;
    for below in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        written += write_pages(below, dir)?;
    }

    Ok(written)
}

fn page(command: &clap::Command) -> anyhow::Result<Vec<u8>> {
    let is_program = command.get_name() == "blueteam";
    let man = Man::new(command.clone())
        .source(concat!("blueteam ", env!("CARGO_PKG_VERSION")))
        .manual("blueteam");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }

    if let Some(examples) = command.get_after_help() {
        section_of_examples(&examples.to_string()).to_writer(&mut text)?;
    }
    if is_program {
        section_of_files().to_writer(&mut text)?;
    }
    section_of_others(is_program).to_writer(&mut text)?;

    Ok(text)
}

/// The examples of the help, as they are typed.
fn section_of_examples(help: &str) -> Roff {
    let mut roff = Roff::new();
    let lines = help.strip_prefix("Examples:\n").unwrap_or(help);
    roff.control("SH", ["EXAMPLES"]).control("nf", []);
    for line in lines.lines() {
        roff.text([roman(line.trim_start())]);
    }
    roff.control("fi", []);
    roff
}

fn section_of_files() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["FILES"]);
    for (path, what) in FILES {
        roff.control("TP", [])
            .text([bold(path)])
            .text([roman(what)]);
    }
    roff
}

fn section_of_others(is_program: bool) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    if !is_program {
        roff.text([bold("blueteam"), roman("(1).")]);
    }
    roff.text([roman(
        "The package has guide, operations manual and references in /usr/share/doc/blueteam.",
    )]);
    roff
}
