//! Tables that keep their words whole on a narrow terminal: first they give up the columns that mean least, then they become one block a row.

use comfy_table::{Cell, Color, ColumnConstraint, Width};

use crate::cli::out::{self, Look};

/// A longer word may be broken: it is none that people read.
const WORD_MAX: usize = 28;
/// The last column is text, and wants some room.
const LAST_MIN: usize = 20;

/// A cell.
pub(super) struct Bit {
    text: String,
    colour: Option<Color>,
}

impl Bit {
    /// In a colour, where colours are wanted.
    pub(super) fn coloured(text: impl Into<String>, colour: Option<Color>) -> Self {
        Self { text: text.into(), colour }
    }
}

impl<T: ToString> From<T> for Bit {
    fn from(text: T) -> Self {
        Self { text: text.to_string(), colour: None }
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
    /// With a header, and the columns that may be left out on a narrow terminal, the least important first.
    pub(super) fn new(header: &[&'static str], spare: &'static [usize]) -> Self {
        Self { look: Look::stdout(), header: header.to_vec(), spare, rows: Vec::new() }
    }

    /// How standard output is.
    pub(super) const fn look(&self) -> Look {
        self.look
    }

    /// Adds a row. Its texts may come from outside.
    pub(super) fn row<const N: usize>(&mut self, cells: [Bit; N]) {
        let neutral = |bit: Bit| Bit { text: notify::plain::neutral(&bit.text).into_owned(), colour: bit.colour };
        self.rows.push(cells.into_iter().map(neutral).collect());
    }

    /// Writes it.
    pub(super) fn print(self) -> anyhow::Result<()> {
        let mut table = out::table(self.look, &self.header);
        let width = if self.look.terminal { table.width() } else { None };
        let Some(width) = width.map(usize::from) else {
            for row in self.rows {
                table.add_row(row.into_iter().map(|bit| Cell::new(bit.text)));
            }
            return out::print(table);
        };
        let Some(fit) = self.fit(width) else { return self.blocks(width) };
        for row in &self.rows {
            table.add_row(row.iter().map(|bit| match bit.colour {
                Some(colour) if self.look.colour => Cell::new(&bit.text).fg(colour),
                _ => Cell::new(&bit.text),
            }));
        }
        for (n, words) in fit.into_iter().enumerate() {
            let constraint = match words {
                None => ColumnConstraint::Hidden,
                // A space on each side belongs to the column.
                Some(words) => {
                    ColumnConstraint::LowerBoundary(Width::Fixed(u16::try_from(words + 2).unwrap_or(u16::MAX)))
                }
            };
            if let Some(column) = table.column_mut(n) {
                column.set_constraint(constraint);
            }
        }
        out::print_as_is(table)
    }

    /// The least that each column needs to keep its words whole; none for a column that is left out. None when they do not fit.
    fn fit(&self, width: usize) -> Option<Vec<Option<usize>>> {
        let last = self.header.len().saturating_sub(1);
        let mut needs: Vec<Option<usize>> = (0..self.header.len()).map(|n| Some(self.longest(n))).collect();
        if let Some(Some(need)) = needs.get_mut(last) {
            *need = (*need).max(LAST_MIN);
        }
        let taken = |needs: &[Option<usize>]| needs.iter().flatten().map(|n| n + 2).sum::<usize>();
        // What wraps into many lines tells less than what is left out: numbers, names and days stay whole.
        let whole = |needs: &[Option<usize>]| {
            let of = |n: usize| if n == last { LAST_MIN } else { self.widest(n) };
            needs.iter().enumerate().filter(|(_, need)| need.is_some()).map(|(n, _)| of(n) + 2).sum::<usize>()
        };
        for column in self.spare {
            if whole(&needs) <= width {
                break;
            }
            if let Some(need) = needs.get_mut(*column) {
                *need = None;
            }
        }
        if whole(&needs) <= width {
            for (n, need) in needs.iter_mut().enumerate().filter(|(n, _)| *n != last) {
                *need = need.map(|_| self.widest(n));
            }
        }
        (taken(&needs) <= width).then_some(needs)
    }

    fn texts(&self, column: usize) -> impl Iterator<Item = &str> {
        let cells = self.rows.iter().filter_map(move |row| row.get(column)).map(|bit| bit.text.as_str());
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
        self.texts(column).map(|text| text.chars().count()).max().unwrap_or(0).min(WORD_MAX)
    }

    /// Each row as lines of `header: text`.
    fn blocks(&self, width: usize) -> anyhow::Result<()> {
        let margin = self.header.iter().map(|h| h.chars().count()).max().unwrap_or(0) + 2;
        for row in &self.rows {
            for (header, bit) in self.header.iter().zip(row).filter(|(_, bit)| !bit.text.is_empty()) {
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

/// Lines of whole words; a word that is longer than a line is broken.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let letters: Vec<char> = word.chars().collect();
        for piece in letters.chunks(width.max(1)) {
            let piece: String = piece.iter().collect();
            let room = lines.last().map_or(0, |line| width.saturating_sub(line.chars().count() + 1));
            match lines.last_mut() {
                Some(line) if line.is_empty() => *line = piece,
                Some(line) if piece.chars().count() <= room => {
                    line.push(' ');
                    line.push_str(&piece);
                }
                _ => lines.push(piece),
            }
        }
    }
    lines
}
