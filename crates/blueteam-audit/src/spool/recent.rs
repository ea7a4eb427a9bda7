//! Lines that were just written to disk and are sent next, so they need not be read again.

use std::collections::VecDeque;

use bytes::Bytes;

/// The most bytes that are kept in memory.
const RECENT_MAX: u64 = 4 * 1024 * 1024;

/// Lines in the pieces in which they were appended.
#[derive(Debug, Default)]
pub(super) struct RecentLines {
    pieces: VecDeque<Bytes>,
    len: u64,
}

impl RecentLines {
    /// Returns the bytes of all pieces.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Keeps more lines. Drops all when they exceed [`RECENT_MAX`].
    pub(super) fn push(&mut self, lines: Bytes) {
        self.len += lines.len() as u64;
        self.pieces.push_back(lines);
        if self.len > RECENT_MAX {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.len = 0;
    }

    /// Returns the first piece, or several small ones joined up to `most` bytes.
    pub(super) fn front_piece(&self, most: usize) -> Option<Bytes> {
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

    /// Drops bytes from the front.
    pub(super) fn release_front(&mut self, mut bytes: usize) {
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
