//! Markdown: CommonMark with tables.

use std::fmt::Write as _;

use super::{Block, Document, Field, NO_GAPS};

pub(super) fn render_document(doc: &Document) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "# {}\n", escape_text(&doc.title));
    if !doc.marking.is_empty() {
        let _ = writeln!(out, "**{}**\n", escape_text(&doc.marking));
    }

    for line in &doc.subtitle {
        let _ = writeln!(out, "{}\n", escape_text(line));
    }

    let _ = writeln!(out, "{}", doc.date);
    for fields in [&doc.cover, &doc.designation] {
        write_fields(&mut out, fields);
    }

    for block in &doc.blocks {
        out.push('\n');
        write_block(&mut out, block);
    }

    out
}

/// Writes fields as a table.
fn write_fields(out: &mut String, fields: &[Field]) {
    if fields.is_empty() {
        return;
    }

    let _ = writeln!(out, "\n| | |\n| --- | --- |");
    for field in fields {
        let (label, value) = (escape_text(&field.label), escape_text(&field.value));
        let _ = writeln!(out, "| {label} | {value} |");
    }
}

fn write_block(out: &mut String, block: &Block) {
    let _ = match block {
        Block::Heading(level, text) => writeln!(
            out,
            "{} {}",
            "#".repeat(usize::from(*level) + 1),
            escape_text(text)
        ),
        Block::Text(text) => writeln!(out, "{}", escape_text(text)),
        Block::Gaps(points) if points.is_empty() => writeln!(out, "{NO_GAPS}"),
        Block::List(points) | Block::Gaps(points) => points
            .iter()
            .try_for_each(|p| writeln!(out, "- {}", escape_text(p))),
        // The picture itself is in the package and in the other formats.
        Block::Figure(figure) => writeln!(
            out,
            "Figure: {} ({})",
            escape_text(&figure.label()),
            figure.image.description()
        ),
        Block::Table(table) => {
            let row = |cells: &[String]| {
                format!(
                    "| {} |",
                    cells
                        .iter()
                        .map(|c| escape_text(c))
                        .collect::<Vec<_>>()
                        .join(" | ")
                )
            };

            let rule = vec!["---"; table.header.len()].join(" | ");
            let _ = writeln!(out, "{}\n| {rule} |", row(&table.header));
            table
                .rows
                .iter()
                .try_for_each(|r| writeln!(out, "{}", row(r)))
        }
        Block::Bars(bars) => {
            let _ = writeln!(out, "| | | |\n| --- | --- | --- |");
            bars.iter().try_for_each(|b| {
                const WIDE: usize = 20;
                let filled = (b.part * WIDE).checked_div(b.whole).unwrap_or(0);
                let bar = format!("{}{}", "█".repeat(filled), "░".repeat(WIDE - filled));

                writeln!(
                    out,
                    "| {} | {bar} | {} of {} |",
                    escape_text(&b.label),
                    b.part,
                    b.whole
                )
            })
        }
        Block::Trend(trend) => {
            let _ = writeln!(
                out,
                "{}\n\n| Date | Value |\n| --- | --- |",
                escape_text(&trend.label)
            );

            trend.changes().into_iter().try_for_each(|p| {
                let value = p.value.map_or_else(|| "none".to_owned(), |v| v.to_string());
                writeln!(out, "| {} | {value} |", escape_text(&p.day))
            })
        }
        Block::Code(text) => {
            let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
            let fence = "`".repeat(longest.max(2) + 1);
            writeln!(out, "{fence}\n{}\n{fence}", text.trim_end())
        }
    };
}

/// Returns the text on one line, with Markdown and HTML markup escaped.
fn escape_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for (n, c) in joined.chars().enumerate() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' => {
                out.push('\\');
                out.push(c);
            }
            // These are markup at the beginning of a line only.
            '#' | '-' | '+' | '=' | '!' if n == 0 => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {}
            c => out.push(c),
        }
    }

    // `1.` would start a list.
    let digits = out.chars().take_while(char::is_ascii_digit).count();
    if digits > 0 && out[digits..].starts_with([')', '.']) && out[digits + 1..].starts_with(' ') {
        out.insert(digits, '\\');
    }

    out
}
