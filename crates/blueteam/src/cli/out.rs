//! How commands show things: tables that fit, colour where it is wanted, and nothing in them that acts on the terminal.

use std::borrow::Cow;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use anstyle::{AnsiColor, Style};
use anyhow::{Context as _, bail};
use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Table, presets};
use model::{Severity, Timestamp};
use notify::plain::neutral;
use serde::Serialize;
use uuid::Uuid;

/// What standard output is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// People read it as it comes.
    pub terminal: bool,
    /// It may be coloured.
    pub colour: bool,
}

impl Look {
    pub(super) fn stdout() -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self { terminal, colour: terminal && wants_colour() }
    }

    /// The beginning of an id on a terminal; the whole of it where a program may want to use it.
    pub(super) fn id(self, id: &impl ToString, shown: usize) -> String {
        let mut id = id.to_string();
        if self.terminal {
            id.truncate(shown);
        }
        id
    }

    /// A severity in its colour.
    pub(super) fn severity(self, severity: Severity) -> Cell {
        let cell = Cell::new(severity);
        match colour_of(severity) {
            Some(AnsiColor::Yellow) if self.colour => cell.fg(Color::Yellow),
            Some(_) if self.colour => cell.fg(Color::Red),
            _ => cell,
        }
    }

    /// A severity in its colour, in a line of text, padded.
    pub(super) fn severity_word(self, severity: Severity) -> String {
        let word = format!("{:<8}", severity.as_str().to_ascii_uppercase());
        match colour_of(severity) {
            Some(colour) if self.colour => {
                let mut style = Style::new().fg_color(Some(colour.into()));
                if severity == Severity::Critical {
                    style = style.bold();
                }
                format!("{style}{word}{style:#}")
            }
            _ => word,
        }
    }
}

const fn colour_of(severity: Severity) -> Option<AnsiColor> {
    match severity {
        Severity::Critical | Severity::High => Some(AnsiColor::Red),
        Severity::Medium => Some(AnsiColor::Yellow),
        Severity::Low | Severity::Info => None,
    }
}

fn wants_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()) && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

/// A table without lines: fits a terminal by wrapping, and is as wide as it needs to be in a pipe.
pub(super) fn table(look: Look, header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().map(|h| h.to_ascii_uppercase()));
    table.set_content_arrangement(if look.terminal {
        ContentArrangement::Dynamic
    } else {
        ContentArrangement::Disabled
    });
    table
}

/// Text that may come from outside, as a cell.
pub(super) fn text(text: impl AsRef<str>) -> Cell {
    Cell::new(neutral(text.as_ref()))
}

/// Leaves columns out where the terminal is too narrow for all of them.
pub(super) fn spare(look: Look, table: &mut Table, columns: &[usize]) {
    /// From this width on there is room for everything.
    const WIDE: u16 = 130;
    if look.terminal && table.width().is_some_and(|width| width < WIDE) {
        for column in columns {
            hold(table, *column, ColumnConstraint::Hidden);
        }
    }
}

fn hold(table: &mut Table, column: usize, constraint: ColumnConstraint) {
    if let Some(column) = table.column_mut(column) {
        column.set_constraint(constraint);
    }
}

/// Lets only the last column wrap, when that leaves it room: half a time or half an id is of no use.
fn wrap_last(table: &mut Table) {
    const LAST_MIN: u16 = 20;
    let widths = table.column_max_content_widths();
    let shown = |i: &usize| table.column(*i).is_some_and(|c| !c.is_hidden());
    let fixed: Vec<usize> = (0..widths.len().saturating_sub(1)).filter(shown).collect();
    let taken: u16 = fixed.iter().map(|i| widths[*i].saturating_add(2)).sum();
    if table.width().is_some_and(|width| taken.saturating_add(LAST_MIN) <= width) {
        for column in fixed {
            hold(table, column, ColumnConstraint::ContentWidth);
        }
    }
}

/// Writes a table without the space that pads its last column; each line without the margin on its left.
pub(super) fn print(mut table: Table) -> anyhow::Result<()> {
    wrap_last(&mut table);
    print_as_is(&table)
}

/// Writes a table whose columns have their widths.
pub(super) fn print_as_is(table: &Table) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for line in table.lines() {
        writeln!(out, "{}", line.strip_prefix(' ').unwrap_or(&line).trim_end())?;
    }
    Ok(())
}

/// Writes one JSON text and a newline.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).map_err(std::io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

/// Writes a line.
pub(super) fn line(text: impl std::fmt::Display) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(())
}

/// Says something that is not the result.
pub(super) fn note(text: impl std::fmt::Display) {
    // Nothing can be done about a standard error that is gone.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// A time for people: UTC, whole seconds.
pub(super) fn time(at: Timestamp) -> String {
    at.to_jiff().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A time that may be missing.
pub(super) fn maybe_time(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "-".to_owned(), time)
}

/// A day that may be missing, for people: UTC.
pub(super) fn maybe_day(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "-".to_owned(), |at| at.to_jiff().strftime("%Y-%m-%d").to_string())
}

/// A time as an argument; what has no zone could mean two times.
pub(super) fn zoned(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|_| format!("`{text}` is no time with its zone (2027-01-31T00:00:00Z)"))
}

/// Writes a file that must not be there yet.
pub(super) fn new_file(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let file = std::fs::File::create_new(path);
    file.and_then(|mut f| f.write_all(content)).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes to a file that must not be there yet, or to standard output.
pub(super) fn deliver(path: Option<&Path>, content: &[u8]) -> anyhow::Result<()> {
    match path {
        Some(path) => new_file(path, content),
        None => Ok(std::io::stdout().lock().write_all(content)?),
    }
}

/// A field for a spreadsheet. One that it would take for a formula begins with an apostrophe: whoever wrote the text must not run code on the
/// desk of whoever reads it. So does one that begins with an apostrophe itself, so that it can be told from the others.
pub(super) fn no_formula(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', ' ', '\'']) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// The one of them whose id begins like this; with or without its dashes. `what` they are, and `see`: the command that lists
/// them.
pub(super) fn pick<T>(
    mut all: Vec<T>,
    prefix: &str,
    id: impl Fn(&T) -> Uuid,
    (what, see): (&str, &str),
) -> anyhow::Result<T> {
    let wanted: String = prefix.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
    all.retain(|one| !wanted.is_empty() && id(one).simple().to_string().starts_with(&wanted));
    let shown = neutral(prefix);
    match all.len() {
        1 => Ok(all.remove(0)),
        0 => bail!("no {what} begins with `{shown}`; see `{see}`"),
        _ => bail!("several begin with `{shown}`; say more of the id"),
    }
}

/// Whether the error is that nobody reads our output any more.
pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

/// A point in time: a length of time ago, or a time.
pub(super) fn moment(text: &str) -> Result<Timestamp, String> {
    use model::Clock as _;
    if let Ok(ago) = text.parse::<model::Span>() {
        return Ok(model::SystemClock.now().minus(ago));
    }
    Timestamp::parse(text).map_err(|_| {
        format!("`{text}` is neither a length of time (24h, 30d) nor a time with its zone (2026-03-05T14:00:00Z)")
    })
}
