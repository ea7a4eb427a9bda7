//! What was just written to the disk and goes to the sink next, so that it needn't be read again.

use std::collections::VecDeque;

use bytes::Bytes;

/// The most that is held; what is more is on disk alone.
const MOST: u64 = 4 * 1024 * 1024;

/// Lines in pieces, as they were appended.
#[derive(Debug, Default)]
pub(super) struct Held {
    pieces: VecDeque<Bytes>,
    len: u64,
}

impl Held {
    /// Bytes of all pieces.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Holds them too. When that is too much, nothing is held any more.
    pub(super) fn push(&mut self, lines: Bytes) {
        self.len += lines.len() as u64;
        self.pieces.push_back(lines);
        if self.len > MOST {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.len = 0;
    }

    /// The first piece; small ones as one of so many bytes at most.
    pub(super) fn first(&self, most: usize) -> Option<Bytes> {
        let first = self.pieces.front()?;
        let mut left = most;
        let fit = self.pieces.iter().take_while(|piece| {
            let fits = piece.len() <= left;
            left = left.saturating_sub(piece.len());
            fits
        });

        let fit = fit.count();
        if fit < 2 {
            return Some(first.clone());
        }

        let mut pieces = Vec::with_capacity(most - left);
        self.pieces
            .iter()
            .take(fit)
            .for_each(|piece| pieces.extend_from_slice(piece));

        Some(pieces.into())
    }

    /// Lets go of so many bytes from the start.
    pub(super) fn release(&mut self, mut bytes: usize) {
        self.len = self.len.saturating_sub(bytes as u64);
        while let Some(piece) = self.pieces.front_mut() {
            if piece.len() > bytes {
                drop(piece.split_to(bytes));
                break;
            }
            bytes -= piece.len();
            self.pieces.pop_front();
        }
    }
}
