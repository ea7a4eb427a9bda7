//! The reference of the command line as Markdown, made from the commands themselves.

use std::fmt::Write as _;

use clap::{Arg, Command};

/// The text of `docs/cli.md`.
pub fn reference() -> String {
    let mut root = super::program();
    root.build();

    let mut out = String::from(
        "# The command line\n\n\
         Made from the commands themselves; `--help` says the same. What lists something has\n\
         `--json`. Commands whose name has changed still work under the old one, with a warning.\n\n",
    );

    write_options(&mut out, &root);
    for command in visible_commands(&root) {
        write_section(&mut out, command, "blueteam", 2);
    }

    write_renamed(&mut out);
    out
}

fn visible_commands(command: &Command) -> impl Iterator<Item = &Command> {
    command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
}

fn write_section(out: &mut String, command: &Command, parent: &str, depth: usize) {
    let name = format!("{parent} {}", command.get_name());
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{} `{name}`\n", "#".repeat(depth.min(4)));
    let about = command.get_long_about().or_else(|| command.get_about());
    if let Some(about) = about {
        let _ = writeln!(out, "{}\n", about.to_string().trim());
    }

    let usage = command.clone().render_usage().to_string();
    let _ = writeln!(
        out,
        "```\n{}\n```\n",
        usage.trim().trim_start_matches("Usage: ")
    );
    write_options(out, command);

    if let Some(after) = command.get_after_help() {
        let after = after.to_string();
        let _ = writeln!(out, "```text\n{}\n```\n", after.trim());
    }

    for sub in visible_commands(command) {
        write_section(out, sub, &name, depth + 1);
    }
}

fn write_options(out: &mut String, command: &Command) {
    let is_root = command.get_name() == "blueteam";
    let args: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && (is_root || !arg.is_global_set()))
        .filter(|arg| !["help", "version"].contains(&arg.get_id().as_str()))
        .collect();
    if args.is_empty() {
        return;
    }

    out.push_str("| argument | meaning |\n|---|---|\n");
    for arg in args {
        let _ = writeln!(out, "| {} | {} |", arg_spelling(arg), arg_help(arg));
    }
    out.push('\n');
}

/// The argument as it is typed.
fn arg_spelling(arg: &Arg) -> String {
    let values: Vec<String> = arg
        .get_value_names()
        .unwrap_or_default()
        .iter()
        .map(ToString::to_string)
        .collect();
    let values = values.join(" ");

    match (arg.get_long(), arg.get_action().takes_values()) {
        (Some(long), true) => format!("`--{long} {values}`"),
        (Some(long), false) => format!("`--{long}`"),
        (None, _) => format!("`{values}`"),
    }
}

fn arg_help(arg: &Arg) -> String {
    let help = arg.get_long_help().or_else(|| arg.get_help());
    let mut text = help.map(ToString::to_string).unwrap_or_default();
    let defaults: Vec<_> = arg
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy().into_owned())
        .collect();
    if !defaults.is_empty() && arg.get_action().takes_values() {
        let _ = write!(text, " (default: {})", defaults.join(", "));
    }

    text.replace('\n', " ").replace('|', "\\|")
}

fn write_renamed(out: &mut String) {
    out.push_str("## Old names\n\n| old | new |\n|---|---|\n");
    for (old, new) in super::renamed::all() {
        let _ = writeln!(out, "| `{old}` | `{new}` |");
    }
}
