//! HTML: one page with an inline style, no script, and a content security policy that allows none.

use std::fmt::Write as _;

use super::{Block, Document, Trend};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}\
h1,h2,h3{line-height:1.25}table{border-collapse:collapse;width:100%;font-size:.875rem;margin:1rem 0}\
th,td{border:1px solid #bbb;padding:.25rem .5rem;text-align:left;vertical-align:top}\
th{background:#eef1f5}td{overflow-wrap:anywhere;min-width:6.5em}main{overflow-x:auto}\
nav ol{columns:2}pre{background:#f5f5f5;padding:.75rem;overflow:auto;font-size:.8rem}.mark{text-align:center;font-weight:700}\
.bar{background:#d9dee5;height:.9rem;min-width:8rem}.bar \
i{display:block;height:100%;background:#2a6f4d}\
figure{margin:1rem 0}svg{width:100%;max-width:50rem}@media \
print{.bar,.bar i,th{-webkit-print-color-adjust:exact;print-color-adjust:exact}main{overflow:visible}\
thead{display:table-header-group}tr{break-inside:avoid}h1,h2,h3{break-after:avoid}}";

pub(super) fn render_page(doc: &Document) -> String {
    let mut out = String::new();
    let title = escape_text(&doc.title);
    let page = page_style(&doc.marking);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src \
         'unsafe-inline'\">\n\
         <meta name=\"viewport\" \
         content=\"width=device-width\">\n<title>{title}</title>\n<style>{STYLE}{page}</style>\n</head>\n<body>\n"
    );

    let marking = escape_text(&doc.marking);
    if !marking.is_empty() {
        let _ = writeln!(out, "<p class=\"mark\">{marking}</p>");
    }

    let _ = writeln!(out, "<header><h1>{title}</h1>");
    for line in &doc.subtitle {
        let _ = writeln!(out, "<p>{}</p>", escape_text(line));
    }

    let _ = writeln!(out, "<p>{}</p></header>", escape_text(&doc.date));
    write_contents(&mut out, doc);
    out.push_str("<main>\n");
    let mut n = 0;
    for block in &doc.blocks {
        write_block(&mut out, block, &mut n);
    }

    out.push_str("</main>\n");
    if !marking.is_empty() {
        let _ = writeln!(out, "<p class=\"mark\">{marking}</p>");
    }

    out.push_str("</body>\n</html>\n");
    out
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
        Block::List(points) => {
            out.push_str("<ul>\n");
            let _ = points
                .iter()
                .try_for_each(|p| writeln!(out, "<li>{}</li>", escape_text(p)));
            writeln!(out, "</ul>")
        }
        Block::Table(table) => {
            let cells = |tag: &str, row: &[String]| {
                row.iter().fold(String::new(), |mut line, c| {
                    let _ = write!(
                        line,
                        "<{tag}>{}</{}>",
                        escape_text(c),
                        tag.split(' ').next().unwrap_or(tag)
                    );
                    line
                })
            };

            let _ = writeln!(
                out,
                "<table><thead><tr>{}</tr></thead><tbody>",
                cells("th scope=\"col\"", &table.header)
            );
            let _ = table
                .rows
                .iter()
                .try_for_each(|r| writeln!(out, "<tr>{}</tr>", cells("td", r)));

            writeln!(out, "</tbody></table>")
        }
        Block::Bars(bars) => {
            out.push_str("<table><tbody>\n");
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
