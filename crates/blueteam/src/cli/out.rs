//! How commands show things: tables that fit, color where it is wanted, and nothing in them that
//! acts on the terminal.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use anstyle::{AnsiColor, Style};
use anyhow::{Context as _, bail};
use app::doctor::Verdict;
use comfy_table::{
    Attribute, Cell, Color, Column, ColumnConstraint, ContentArrangement, Table, presets,
};
pub(super) use compliance::sheets::no_formula;
use model::text::sanitize;
use model::{Severity, Timestamp};
use serde::Serialize;

/// Arguments that say nothing that can be done: as wrong as ones that clap refuses, and with its
/// exit code.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(pub(super) String);

/// Ends a command with a [`Usage`] error.
macro_rules! usage {
    ($($text:tt)*) => { return Err(anyhow::Error::new($crate::cli::out::Usage(format!($($text)*)))) };
}
pub(super) use usage;

/// What standard output is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// People read it as it comes.
    pub terminal: bool,
    /// It may be colored.
    pub color: bool,
}

impl Look {
    pub(super) fn stdout() -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self {
            terminal,
            color: terminal && wants_color(),
        }
    }

    /// The beginning of an id on a terminal; the whole of it where a program may want to use it.
    pub(super) fn id(self, id: &impl ToString, shown: usize) -> String {
        let mut id = id.to_string();
        if self.terminal {
            id.truncate(shown);
        }
        id
    }

    /// A severity in its color.
    pub(super) fn severity(self, severity: Severity) -> Cell {
        let cell = Cell::new(severity);
        match severity {
            _ if !self.color => cell,
            Severity::Critical => cell.fg(Color::Red).add_attribute(Attribute::Bold),
            Severity::High => cell.fg(Color::Red),
            Severity::Medium => cell.fg(Color::Yellow),
            Severity::Low | Severity::Info => cell,
        }
    }

    /// A severity in its color, in a line of text, padded.
    pub(super) fn severity_word(self, severity: Severity) -> String {
        let word = format!("{:<8}", severity.as_str().to_ascii_uppercase());
        match color_of(severity) {
            Some(color) if self.color => {
                let mut style = Style::new().fg_color(Some(color.into()));
                if severity == Severity::Critical {
                    style = style.bold();
                }
                format!("{style}{word}{style:#}")
            }
            _ => word,
        }
    }
}

impl Look {
    /// A verdict in its color.
    pub(super) fn verdict(self, verdict: Verdict) -> Cell {
        let cell = Cell::new(verdict.as_str());
        match verdict {
            _ if !self.color => cell,
            Verdict::Wrong => cell.fg(Color::Red).add_attribute(Attribute::Bold),
            Verdict::Warning => cell.fg(Color::Yellow),
            Verdict::Ok => cell.fg(Color::Green),
            Verdict::Unknown => cell,
        }
    }
}

const fn color_of(severity: Severity) -> Option<AnsiColor> {
    match severity {
        Severity::Critical | Severity::High => Some(AnsiColor::Red),
        Severity::Medium => Some(AnsiColor::Yellow),
        Severity::Low | Severity::Info => None,
    }
}

fn wants_color() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
        && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

/// A table without lines: fits a terminal by wrapping, and is as wide as it needs to be in a pipe.
pub(super) fn table(look: Look, header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(header.iter().map(|h| h.to_ascii_uppercase()));
    table.set_content_arrangement(if look.terminal {
        ContentArrangement::Dynamic
    } else {
        ContentArrangement::Disabled
    });

    table
}

/// Text that may come from outside, as a cell.
pub(super) fn text(text: impl AsRef<str>) -> Cell {
    Cell::new(sanitize(text.as_ref()))
}

/// Below this width a table that has columns to spare is not cut down: its rows are written in
/// lines, with everything.
const NARROW: u16 = 100;

/// Leaves columns out, the first of these first, as long as the terminal is too narrow for what is
/// in the table.
pub(super) fn spare(look: Look, table: &mut Table, columns: &[usize]) {
    for column in columns {
        if !look.terminal || fixed_columns(table).1 {
            return;
        }
        constrain_column(table, *column, ColumnConstraint::Hidden);
    }
}

/// All shown columns but the last, and whether they fit into the terminal in full and leave room
/// for it.
fn fixed_columns(table: &Table) -> (Vec<usize>, bool) {
    const LAST_MIN: u16 = 20;
    let widths = table.column_max_content_widths();
    let shown = |i: &usize| table.column(*i).is_some_and(|c| !c.is_hidden());
    let fixed: Vec<usize> = (0..widths.len().saturating_sub(1)).filter(shown).collect();
    let taken: u16 = fixed.iter().map(|i| widths[*i].saturating_add(2)).sum();

    let last = widths
        .last()
        .copied()
        .unwrap_or(0)
        .saturating_add(1)
        .min(LAST_MIN);
    let fits = table
        .width()
        .is_none_or(|width| taken.saturating_add(last) <= width);
    (fixed, fits)
}

fn constrain_column(table: &mut Table, column: usize, constraint: ColumnConstraint) {
    if let Some(column) = table.column_mut(column) {
        column.set_constraint(constraint);
    }
}

/// Lets only the last column wrap, when that leaves it room: half a time or half an id is of no
/// use. False when there is none.
fn wrap_last(table: &mut Table) -> bool {
    let (columns, fits) = fixed_columns(table);
    if fits && table.width().is_some() {
        for column in columns {
            constrain_column(table, column, ColumnConstraint::ContentWidth);
        }
    }
    fits
}

/// The rows in lines: what names one, and below it the rest with its labels. Words are kept whole,
/// and no column is left out.
fn stack_rows(table: &Table, width: usize) -> Vec<String> {
    let header: Vec<String> = table
        .header()
        .into_iter()
        .flat_map(|row| row.cell_iter().map(|cell| cell.content().to_lowercase()))
        .collect();
    let mut lines = Vec::new();

    for row in table.row_iter() {
        let cells: Vec<String> = row
            .cell_iter()
            .map(|cell| cell.content().replace('\n', " "))
            .collect();
        let (mut head, mut used) = (0, 0);
        while head < cells.len()
            && head < 3
            && (head == 0 || used + cells[head].chars().count() <= width)
        {
            used += cells[head].chars().count() + 2;
            head += 1;
        }
        lines.extend(wrap_words(cells[..head].join("  ").split(' '), width, ""));
        let (title, rest): (Vec<usize>, Vec<usize>) = (head..cells.len())
            .filter(|i| !matches!(cells[*i].as_str(), "" | "-"))
            .partition(|i| header[*i] == "title");
        let pairs: Vec<String> = rest
            .iter()
            .map(|i| format!("{} {}", header[*i], cells[*i]))
            .collect();
        lines.extend(
            title
                .iter()
                .flat_map(|i| wrap_words(cells[*i].split(' '), width, "  ")),
        );
        lines.extend(wrap_words(pairs.join(", ").split(' '), width, "  "));
    }

    lines
}

/// Words in lines of at most `width` characters; one that is longer stands alone.
fn wrap_words<'a>(words: impl Iterator<Item = &'a str>, width: usize, indent: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            // A break takes the place of the space.
            _ if word.is_empty() => {}
            _ => lines.push(format!("{indent}{word}")),
        }
    }

    lines
}

/// The table as lines.
fn table_lines(mut table: Table) -> Vec<String> {
    let spared = table.column_iter().any(Column::is_hidden);
    if let Some(width) = table.width()
        && (spared && width < NARROW || !wrap_last(&mut table))
    {
        return stack_rows(&table, usize::from(width));
    }
    let _ = wrap_last(&mut table);
    trim_lines(&table)
}

/// The lines as they are shown: without the margin on their left and the space that pads the last
/// column.
fn trim_lines(table: &Table) -> Vec<String> {
    let trim = |line: String| without_margin(&line).trim_end().to_owned();
    table.lines().map(trim).collect()
}

/// The line without its first space, which the color of the first cell may precede.
fn without_margin(line: &str) -> String {
    let mut text = line;
    while let Some((_, after)) = text
        .strip_prefix("\u{1b}[")
        .and_then(|escape| escape.split_once('m'))
    {
        text = after;
    }
    let color = &line[..line.len() - text.len()];
    format!("{color}{}", text.strip_prefix(' ').unwrap_or(text))
}

/// Writes a table.
pub(super) fn print(table: Table) -> anyhow::Result<()> {
    print_lines(&table_lines(table))
}

/// Writes a table whose columns have their widths.
pub(super) fn print_as_is(table: &Table) -> anyhow::Result<()> {
    print_lines(&trim_lines(table))
}

fn print_lines(lines: &[String]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
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
    at.map_or_else(
        || "-".to_owned(),
        |at| at.to_jiff().strftime("%Y-%m-%d").to_string(),
    )
}

/// A time as an argument; what has no zone could mean two times.
pub(super) fn zoned(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text)
        .map_err(|_| format!("`{text}` is not a time with its zone (2027-01-31T00:00:00Z)"))
}

/// Writes a file that must not be there yet, for its owner alone: what is exported tells who did
/// what, and where the system is weak.
pub(super) fn new_file(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = std::fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    if file
        .as_ref()
        .is_err_and(|error| error.kind() == std::io::ErrorKind::AlreadyExists)
    {
        bail!("{} exists; it is not overwritten", path.display());
    }
    let written = file.and_then(|mut f| {
        f.write_all(content).inspect_err(|_| {
            // Half a file would be taken for a whole one, and stand in the way of the next try.
            let _ = std::fs::remove_file(path);
        })
    });
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Writes to a file that must not be there yet, or to standard output.
pub(super) fn deliver(path: Option<&Path>, content: &[u8]) -> anyhow::Result<()> {
    match path {
        Some(path) => new_file(path, content),
        None => Ok(std::io::stdout().lock().write_all(content)?),
    }
}

/// Returns whether the error is that the reader of the output is gone.
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

    // A day alone is one by UTC, as all times here are shown.
    let day = text.len() == "2026-03-05".len() && !text.contains([':', 'T']);
    let whole = if day {
        format!("{text}T00:00:00Z")
    } else {
        text.to_owned()
    };

    Timestamp::parse(&whole).map_err(|_| {
        format!(
            "`{text}` is neither a length of time (24h, 30d), nor a day (2026-03-05), nor a time \
                with its zone (2026-03-05T14:00:00Z)"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMINAL: Look = Look {
        terminal: true,
        color: false,
    };

    #[test]
    fn a_colored_cell_stands_where_a_plain_one_does() {
        assert_eq!(without_margin(" low  x"), "low  x");
        let colored = without_margin("\u{1b}[38;5;9m\u{1b}[1m high\u{1b}[0m  x");
        assert_eq!(colored, "\u{1b}[38;5;9m\u{1b}[1mhigh\u{1b}[0m  x");
        assert_eq!(without_margin("\u{1b}[1"), "\u{1b}[1");
    }

    fn alerts(width: u16) -> Table {
        let mut table = table(
            TERMINAL,
            &[
                "alert",
                "last seen",
                "severity",
                "rule",
                "state",
                "events",
                "seen by",
                "title",
            ],
        );

        table.set_width(width);
        let row = [
            "3f2a81c0",
            "2026-03-05T14:07:31Z",
            "critical",
            "credential_stuffing",
            "silenced",
            "112",
            "-",
        ];

        let title = "Credential stuffing from 2001:db8:85a3:8d3:1319:8a2e:370:7348: 112 failed \
            logins on 40 accounts";
        table.add_row(row.into_iter().chain([title]));
        table.add_row([
            "9b110c2e",
            "2026-03-05T14:07:31Z",
            "low",
            "after_hours",
            "open",
            "1",
            "alice",
            "Off-hours",
        ]);

        spare(TERMINAL, &mut table, &[3, 4, 6]);
        table
    }

    /// Every word of a row, whole, whatever the width.
    #[test]
    fn a_narrow_terminal_breaks_no_word_and_drops_no_meaning() {
        for width in [40_u16, 60, 80, 99] {
            let lines = table_lines(alerts(width));
            let shown = lines.join("\n");
            for word in [
                "3f2a81c0",
                "2026-03-05T14:07:31Z",
                "critical",
                "credential_stuffing",
                "silenced",
                "112",
                "2001:db8:85a3:8d3:1319:8a2e:370:7348:",
                "alice",
                "Off-hours",
            ] {
                assert!(
                    shown.split([' ', '\n', ',']).any(|w| w == word),
                    "{width}: {word}\n{shown}"
                );
            }

            assert!(
                lines
                    .iter()
                    .all(|line| line.chars().count() <= usize::from(width)),
                "{shown}"
            );
        }

        insta::assert_snapshot!(table_lines(alerts(60)).join("\n"));
    }

    #[test]
    fn a_wide_one_has_a_table() {
        assert!(table_lines(alerts(140))[0].starts_with("ALERT"));
        assert!(table_lines(alerts(110))[0].starts_with("ALERT"));
    }

    #[test]
    fn a_table_that_fits_stays_one() {
        let mut small = table(TERMINAL, &["alerts", "open"]);
        small.set_width(40);
        small.add_row(["critical", "1"]);
        assert!(table_lines(small)[0].starts_with("ALERTS"));
    }
}
