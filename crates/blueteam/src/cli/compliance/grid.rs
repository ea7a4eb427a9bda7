//! Tables that keep their words whole on a narrow terminal: first they give up the columns that
//! mean least, then they become one block a row.

use comfy_table::{Cell, Color, ColumnConstraint, Width};

use crate::cli::out::{self, Look};

/// A longer word may be broken: it is none that people read.
const WORD_MAX: usize = 28;
/// The last column is text, and wants some room.
const LAST_MIN: usize = 20;

/// A cell.
pub(super) struct Bit {
    text: String,
    color: Option<Color>,
}

impl Bit {
    /// In a color, where colors are wanted.
    pub(super) fn colored(text: impl Into<String>, color: Option<Color>) -> Self {
        Self {
            text: text.into(),
            color,
        }
    }
}

impl<T: ToString> From<T> for Bit {
    fn from(text: T) -> Self {
        Self {
            text: text.to_string(),
            color: None,
        }
    }
}

/// A table in the making.
pub(super) struct Grid {
    look: Look,
    header: Vec<&'static str>,
    spare: &'static [usize],
    rows: Vec<Vec<Bit>>,
}

impl Grid {
    /// With a header, and the columns that may be left out on a narrow terminal, the least
    /// important first.
    pub(super) fn new(header: &[&'static str], spare: &'static [usize]) -> Self {
        Self {
            look: Look::stdout(),
            header: header.to_vec(),
            spare,
            rows: Vec::new(),
        }
    }

    /// How standard output is.
    pub(super) const fn look(&self) -> Look {
        self.look
    }

    /// Adds a row. Its texts may come from outside.
    pub(super) fn row<const N: usize>(&mut self, cells: [Bit; N]) {
        let sanitize = |bit: Bit| Bit {
            text: model::text::sanitize(&bit.text).into_owned(),
            color: bit.color,
        };
        self.rows.push(cells.into_iter().map(sanitize).collect());
    }

    /// Writes it.
    pub(super) fn print(self) -> anyhow::Result<()> {
        let mut table = out::table(self.look, &self.header);
        let width = if self.look.terminal {
            table.width()
        } else {
            None
        };

        let Some(width) = width.map(usize::from) else {
            for row in self.rows {
                table.add_row(row.into_iter().map(|bit| Cell::new(bit.text)));
            }
            return out::print(table);
        };

        let Some(fit) = self.fit(width) else {
            return self.blocks(width);
        };
        for row in &self.rows {
            table.add_row(row.iter().zip(&fit).map(|(bit, width)| {
                let cell = Cell::new(wrapped(&bit.text, width.unwrap_or(WORD_MAX)).join("\n"));
                match bit.color {
                    Some(color) if self.look.color => cell.fg(color),
                    _ => cell,
                }
            }));
        }

        for (n, width) in fit.into_iter().enumerate() {
            let constraint = match width {
                None => ColumnConstraint::Hidden,
                // A space on each side belongs to the column.
                Some(width) => ColumnConstraint::Absolute(Width::Fixed(
                    u16::try_from(width + 2).unwrap_or(u16::MAX),
                )),
            };

            if let Some(column) = table.column_mut(n) {
                column.set_constraint(constraint);
            }
        }

        out::print_as_is(&table)
    }

    /// How wide each column is; none for one that is left out. None when the words do not fit,
    /// whatever is left out.
    fn fit(&self, width: usize) -> Option<Vec<Option<usize>>> {
        let last = self.header.len().saturating_sub(1);
        let mut shown: Vec<bool> = vec![true; self.header.len()];
        let least = |n: usize| {
            if n == last {
                self.longest(n).max(LAST_MIN)
            } else {
                self.longest(n)
            }
        };

        let whole = |n: usize| if n == last { least(n) } else { self.widest(n) };
        let sum = |shown: &[bool], of: &dyn Fn(usize) -> usize| {
            (0..shown.len())
                .filter(|n| shown[*n])
                .map(|n| of(n) + 2)
                .sum::<usize>()
        };

        // What wraps into many lines tells less than what is left out: numbers, names and days stay
        // whole.
        for column in self.spare {
            if sum(&shown, &whole) <= width {
                break;
            }
            shown[*column] = false;
        }

        let mut left = width.checked_sub(sum(&shown, &least))?;
        let mut widths: Vec<Option<usize>> = (0..shown.len())
            .map(|n| shown[n].then(|| least(n)))
            .collect();
        for (n, column) in widths.iter_mut().enumerate() {
            let Some(column) = column else { continue };
            let more = if n == last {
                left
            } else {
                left.min(self.widest(n).saturating_sub(*column))
            };
            *column += more;
            left -= more;
        }

        Some(widths)
    }

    fn texts(&self, column: usize) -> impl Iterator<Item = &str> {
        let cells = self
            .rows
            .iter()
            .filter_map(move |row| row.get(column))
            .map(|bit| bit.text.as_str());
        cells.chain(self.header.get(column).copied())
    }

    fn longest(&self, column: usize) -> usize {
        self.texts(column)
            .flat_map(str::split_whitespace)
            .map(|word| word.chars().count().min(WORD_MAX))
            .max()
            .unwrap_or(0)
    }

    fn widest(&self, column: usize) -> usize {
        self.texts(column)
            .map(|text| text.chars().count())
            .max()
            .unwrap_or(0)
            .min(WORD_MAX)
    }

    /// Each row as lines of `header: text`.
    fn blocks(&self, width: usize) -> anyhow::Result<()> {
        let margin = self
            .header
            .iter()
            .map(|h| h.chars().count())
            .max()
            .unwrap_or(0)
            + 2;

        for row in &self.rows {
            for (header, bit) in self
                .header
                .iter()
                .zip(row)
                .filter(|(_, bit)| !bit.text.is_empty())
            {
                let lines = wrapped(&bit.text, width.saturating_sub(margin).max(10));
                for (n, line) in lines.iter().enumerate() {
                    let before = if n == 0 { *header } else { "" };
                    out::line(format_args!("{before:<margin$}{line}"))?;
                }
            }
            out::line("")?;
        }

        Ok(())
    }
}

/// Writes a text behind a margin that begins with `label`; on a terminal in lines of whole words,
/// in a pipe on one.
pub(super) fn paragraph(label: &str, margin: usize, text: &str) -> anyhow::Result<()> {
    let width = if Look::stdout().terminal {
        comfy_table::Table::new().width()
    } else {
        None
    };
    let Some(width) = width.map(usize::from) else {
        return out::line(format_args!("{label:<margin$}{text}"));
    };
    for (n, line) in wrapped(text, width.saturating_sub(margin).max(20))
        .iter()
        .enumerate()
    {
        let before = if n == 0 { label } else { "" };
        out::line(format_args!("{before:<margin$}{line}"))?;
    }
    Ok(())
}

/// A word, or what stands between its dashes when it is longer than that.
fn word_parts(word: &str, longest: usize) -> impl Iterator<Item = &str> {
    let long = word.chars().count() > longest;
    word.split_inclusive(move |c: char| long && c == '-')
}

/// Lines of whole words. A word that is longer than a line is broken, after a dash if it has one.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = vec![String::new()];
    let mut add = |piece: &str, gap: &str| {
        let long = piece.chars().count();
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(piece),
            Some(line) if line.chars().count() + gap.len() + long <= width => {
                line.push_str(gap);
                line.push_str(piece);
            }
            _ => lines.push(piece.to_owned()),
        }
    };

    for word in text.split_whitespace() {
        let mut gap = " ";
        for part in word_parts(word, width) {
            let letters: Vec<char> = part.chars().collect();
            for piece in letters.chunks(width) {
                add(&piece.iter().collect::<String>(), gap);
                gap = "";
            }
        }
    }

    lines
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn lines_hold_whole_words() {
        assert_eq!(
            wrapped("nobody keeps the list", 10),
            ["nobody", "keeps the", "list"]
        );
        assert_eq!(
            wrapped("store Cryptographically-Protected ones", 18),
            ["store", "Cryptographically-", "Protected ones"]
        );

        assert_eq!(wrapped("aaaaaaaaaaaa", 5), ["aaaaa", "aaaaa", "aa"]);
        assert_eq!(wrapped("", 5), [""]);
    }
}
