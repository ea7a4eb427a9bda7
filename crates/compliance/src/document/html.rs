//! HTML: one page with an inline style, no script, and a content security policy that allows none.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Block, Document, Field, Figure, NO_GAPS, Table, Trend};

const STYLE: &str = include_str!("style.css");

/// A single word in a cell stays on one line up to this length.
const ONE_LINE_MAX: usize = 16;
/// The longest word in a table that stays whole.
const UNBROKEN_WORD_MAX: usize = 24;

pub(super) fn render_page(doc: &Document) -> String {
    let mut out = String::new();
    let title = escape_text(&doc.title);
    let page = page_style(&doc.marking);

    // Pictures are in the page itself, and nothing else is ever loaded.
    let has_figure = doc.blocks.iter().any(|b| matches!(b, Block::Figure(_)));
    let images = if has_figure { "; img-src data:" } else { "" };
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src \
         'unsafe-inline'{images}\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>{STYLE}{page}</style>\n</head>\n<body>\n"
    );

    let marking = escape_text(&doc.marking);
    let _ = writeln!(out, "<header>");
    write_marking(&mut out, &marking);
    let _ = writeln!(out, "<h1>{title}</h1>");
    for line in &doc.subtitle {
        let _ = writeln!(out, "<p>{}</p>", escape_text(line));
    }

    let _ = writeln!(out, "<p>{}</p>", escape_text(&doc.date));
    write_fields(&mut out, "cover", &doc.cover);
    write_fields(&mut out, "designation", &doc.designation);
    let _ = writeln!(out, "</header>");

    write_contents(&mut out, doc);
    out.push_str("<main>\n");
    let mut n = 0;
    for block in &doc.blocks {
        write_block(&mut out, block, &mut n);
    }

    out.push_str("</main>\n<footer>\n");
    write_marking(&mut out, &marking);
    out.push_str("</footer>\n</body>\n</html>\n");
    out
}

fn write_marking(out: &mut String, marking: &str) {
    if !marking.is_empty() {
        let _ = writeln!(out, "<p class=\"mark\">{marking}</p>");
    }
}

fn write_fields(out: &mut String, class: &str, fields: &[Field]) {
    if fields.is_empty() {
        return;
    }

    let _ = writeln!(out, "<dl class=\"{class}\">");
    for field in fields {
        let (label, value) = (escape_text(&field.label), escape_text(&field.value));
        let _ = writeln!(out, "<dt>{label}</dt><dd>{value}</dd>");
    }

    let _ = writeln!(out, "</dl>");
}

/// The rule that puts the marking on every printed page; empty without one.
fn page_style(marking: &str) -> String {
    if marking.is_empty() {
        return String::new();
    }

    // Hexadecimal escapes end with a space (CSS Syntax, section 4.3.7).
    let mut text = String::new();
    for c in marking.chars() {
        if c.is_alphanumeric() || " /-,().".contains(c) {
            text.push(c);
        } else {
            let _ = write!(text, "\\{:x} ", c as u32);
        }
    }

    format!("@page{{@top-center{{content:\"{text}\"}}@bottom-center{{content:\"{text}\"}}}}")
}

fn write_contents(out: &mut String, doc: &Document) {
    out.push_str("<nav aria-label=\"Contents\"><ol>\n");
    let headings = doc.blocks.iter().filter_map(|b| {
        if let Block::Heading(level, text) = b {
            Some((level, text))
        } else {
            None
        }
    });

    for (n, (level, text)) in headings.enumerate() {
        if *level == 1 {
            let _ = writeln!(out, "<li><a href=\"#h{n}\">{}</a></li>", escape_text(text));
        }
    }

    out.push_str("</ol></nav>\n");
}

fn write_block(out: &mut String, block: &Block, headings: &mut usize) {
    let _ = match block {
        Block::Heading(level, text) => {
            let (n, tag) = (*headings, level + 1);
            *headings += 1;
            writeln!(out, "<h{tag} id=\"h{n}\">{}</h{tag}>", escape_text(text))
        }
        Block::Text(text) => writeln!(out, "<p>{}</p>", escape_text(text)),
        Block::Gaps(points) if points.is_empty() => writeln!(out, "<p>{NO_GAPS}</p>"),
        Block::List(points) | Block::Gaps(points) => {
            out.push_str("<ul>\n");
            let _ = points
                .iter()
                .try_for_each(|p| writeln!(out, "<li>{}</li>", escape_text(p)));
            writeln!(out, "</ul>")
        }
        Block::Table(table) => write_table(out, table),
        Block::Figure(figure) => write_figure(out, figure),
        Block::Bars(bars) => {
            out.push_str("<table class=\"bars\"><tbody>\n");
            for b in bars {
                let percent = (b.part * 100).checked_div(b.whole).unwrap_or(0);
                let _ = writeln!(
                    out,
                    "<tr><th scope=\"row\">{}</th><td><div class=\"bar\"><i \
                        style=\"width:{percent}%\"></i></div></td><td>{} of {}</td></tr>",
                    escape_text(&b.label),
                    b.part,
                    b.whole
                );
            }

            writeln!(out, "</tbody></table>")
        }
        Block::Trend(trend) => write_trend(out, trend),
        Block::Code(text) => writeln!(out, "<pre>{}</pre>", escape_text(text)),
    };
}

/// Writes a table, which scrolls by itself where it is wider than the screen.
fn write_table(out: &mut String, table: &Table) -> std::fmt::Result {
    write!(
        out,
        "<div class=\"table\" tabindex=\"0\"><table><thead><tr>"
    )?;
    for header in &table.header {
        write!(out, "<th scope=\"col\">{}</th>", escape_text(header))?;
    }

    writeln!(out, "</tr></thead><tbody>")?;
    for row in &table.rows {
        out.push_str("<tr>");
        for cell in row {
            // A date or number stays on one line; a hyphen would break it.
            let is_one = cell.len() <= ONE_LINE_MAX && !cell.contains(char::is_whitespace);
            let class = if is_one { " class=\"one\"" } else { "" };
            write!(out, "<td{class}>{}</td>", escape_cell(cell))?;
        }

        out.push_str("</tr>\n");
    }

    writeln!(out, "</tbody></table></div>")
}

fn write_figure(out: &mut String, figure: &Figure) -> std::fmt::Result {
    writeln!(
        out,
        "<figure><img alt=\"{}\" src=\"data:{};base64,{}\"><figcaption>{}</figcaption></figure>",
        escape_text(&figure.title),
        figure.image.form().media_type(),
        STANDARD.encode(figure.image.bytes()),
        escape_text(&figure.label())
    )
}

/// Returns the text with break points in words that no column is wide enough for, such as hashes.
/// Other words stay whole.
fn escape_cell(text: &str) -> String {
    if text
        .split_whitespace()
        .all(|w| w.chars().count() <= UNBROKEN_WORD_MAX)
    {
        return escape_text(text);
    }

    let mut out = String::new();
    for word in text.split_inclusive(char::is_whitespace) {
        if word.chars().count() <= UNBROKEN_WORD_MAX {
            out.push_str(&escape_text(word));
            continue;
        }

        let mut run = 0;
        for c in word.chars() {
            // Never before a mark that belongs to the letter before it.
            if run >= UNBROKEN_WORD_MAX / 2 && c.is_ascii_graphic() {
                out.push_str("<wbr>");
                run = 0;
            }

            out.push_str(&escape_text(c.encode_utf8(&mut [0; 4])));
            // A line may break after a hyphen anyway.
            run = if c == '-' { 0 } else { run + 1 };
        }
    }

    out
}

/// Writes a trend as an SVG line chart of 1100 by 340 units.
fn write_trend(out: &mut String, trend: &Trend) -> std::fmt::Result {
    let height = |y: i64| 300 - y * 280 / 1000;
    writeln!(
        out,
        "<figure><svg viewBox=\"0 0 1100 340\" role=\"img\" aria-label=\"{}\">",
        escape_text(&trend.label)
    )?;
    writeln!(
        out,
        "<path d=\"M90 20V300H1090\" fill=\"none\" stroke=\"#777\"/>"
    )?;

    let mark = height(trend.mark_at);
    writeln!(
        out,
        "<path d=\"M90 {mark}H1090\" fill=\"none\" stroke=\"#b5651d\" stroke-dasharray=\"8 6\"/>"
    )?;

    for corners in &trend.lines {
        let at = |[x, y]: &[i64; 2]| format!("{},{}", 90 + x, height(*y));
        let corners: Vec<String> = corners.iter().map(at).collect();
        let corners = corners.join(" ");
        writeln!(
            out,
            "<polyline points=\"{corners}\" fill=\"none\" stroke=\"#2a6f4d\" stroke-width=\"4\"/>"
        )?;
    }

    let day =
        |point: Option<&super::Point>| point.map_or_else(String::new, |p| escape_text(&p.day));
    for (x, y, side, text) in [
        (80, 306, "end", trend.low.to_string()),
        (80, 28, "end", trend.high.to_string()),
        (80, mark + 6, "end", trend.mark.to_string()),
        (100, mark - 6, "start", escape_text(&trend.mark_label)),
        (90, 330, "start", day(trend.points.first())),
        (1090, 330, "end", day(trend.points.last())),
    ] {
        writeln!(
            out,
            "<text x=\"{x}\" y=\"{y}\" font-size=\"20\" text-anchor=\"{side}\">{text}</text>"
        )?;
    }

    writeln!(out, "</svg></figure>")
}

fn escape_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }

    out
}
