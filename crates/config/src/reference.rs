//! The reference of the configuration as Markdown, made from the sample, which a test holds to what
//! the code does.

use std::fmt::Write as _;

use crate::SAMPLE;

/// The text of `docs/configuration.md`.
pub fn reference() -> String {
    let mut out = String::from(
        "# Configuration\n\n\
         Made from `blueteam.sample.toml`, which `blueteam config sample` prints. Each section below\n\
         shows its keys with their defaults. `blueteam config check` says what is wrong in a file,\n\
         with line and column. A key is overridden by the environment variable\n\
         `BLUETEAM_<SECTION>__<KEY>`. Sizes and lengths of time carry their unit.\n\n",
    );

    for block in SAMPLE.split("\n\n").skip(1) {
        let name = block
            .lines()
            .find_map(|line| line.strip_prefix("#[")?.strip_suffix(']'));
        let Some(name) = name else { continue };
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "## `[{name}]`\n\n```toml\n{}\n```\n",
            plain_text(block)
        );
    }

    out.push_str("## Old names\n\nThey still work, with a warning.\n\n| old | new |\n|---|---|\n");
    for (old, new) in crate::renamed_keys() {
        let _ = writeln!(out, "| `{old}` | `{new}` |");
    }

    out
}

/// A block of the sample with its settings switched on.
fn plain_text(block: &str) -> String {
    let lines: Vec<&str> = block
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') => setting,
            _ => line,
        })
        .collect();
    lines.join("\n")
}
