//! Where callers leave the lines of their events until the thread takes them.
//!
//! A caller writes its line itself, into one of several buffers: an event that is handed over as it
//! is has parts which one thread allocates and another frees, and that costs both more than the
//! writing. No caller ever waits: a buffer that is taken is left for the next one, and when all
//! are, the line goes another way.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use crate::line::{Queued, Writer};

/// The thread is to come when a buffer holds so much, so that it needn't grow and what it holds is
/// still in the processor's cache.
const PLENTY: usize = 256 * 1024;
/// A buffer that has grown beyond it is not used again.
const SPARE_MAX: usize = 1024 * 1024;

/// The callers' side.
#[derive(Debug)]
pub(crate) struct Queue {
    shelves: Box<[Shelf]>,
    writer: Writer,
    aside: Sender<Line>,
}

/// On cache lines of its own, for the sake of those at the next one.
#[derive(Debug)]
#[repr(align(128))]
struct Shelf(Mutex<(Writer, Lines)>);

#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    /// The number of each line, and where it ends.
    ends: Vec<(u64, usize)>,
    /// Nobody will take what is put there.
    closed: bool,
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    There,
    /// The same, and the buffer has just become so full that the thread should come.
    Plenty,
    /// Nobody will take it any more.
    Closed,
}

#[derive(Debug)]
struct Line {
    seq: u64,
    bytes: Vec<u8>,
}

/// The thread's side.
#[derive(Debug)]
pub(crate) struct Takings {
    queue: Arc<Queue>,
    aside: Receiver<Line>,
    taken: Vec<Lines>,
    /// The lines that were taken: number, which of `taken`, from and to.
    order: Vec<(u64, usize, usize, usize)>,
}

/// Both sides. The producer's name is part of each line.
pub(crate) fn queue(producer: &str) -> (Arc<Queue>, Takings) {
    let (aside, from_aside) = channel();
    let writer = Writer::new(producer);

    // More than threads that run at once, so that one which is stopped in the middle is in nobody's
    // way.
    let shelves =
        std::thread::available_parallelism().map_or(8, |cores| (cores.get() * 4).clamp(8, 64));
    let shelves = (0..shelves)
        .map(|_| Shelf(Mutex::new((writer.clone(), Lines::default()))))
        .collect();
    let queue = Arc::new(Queue {
        shelves,
        writer,
        aside,
    });

    let takings = Takings {
        queue: Arc::clone(&queue),
        aside: from_aside,
        taken: Vec::new(),
        order: Vec::new(),
    };

    (queue, takings)
}

impl Queue {
    /// Writes the event's line.
    pub(crate) fn put(&self, queued: &mut Queued<'_>) -> Put {
        let (before, after) = self.shelves.split_at(place() % self.shelves.len());
        let free = after.iter().chain(before).find_map(Shelf::if_free);
        if let Some(mut shelf) = free {
            let (writer, lines) = &mut *shelf;
            if lines.closed {
                return Put::Closed;
            }

            lines
                .bytes
                .truncate(lines.ends.last().map_or(0, |(_, end)| *end));
            let before = lines.bytes.len();
            writer.write(&mut lines.bytes, queued);
            lines.ends.push((queued.seq, lines.bytes.len()));
            return if before < PLENTY && lines.bytes.len() >= PLENTY {
                Put::Plenty
            } else {
                Put::There
            };
        }

        let mut bytes = Vec::new();
        self.writer.clone().write(&mut bytes, queued);

        // It fails when the thread has ended.
        self.aside
            .send(Line {
                seq: queued.seq,
                bytes,
            })
            .map_or(Put::Closed, |()| Put::There)
    }
}

impl Shelf {
    /// None when somebody else writes there. A panic in the middle of a line leaves the lines
    /// before it whole.
    fn if_free(&self) -> Option<MutexGuard<'_, (Writer, Lines)>> {
        match self.0.try_lock() {
            Ok(shelf) => Some(shelf),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// Which buffer a thread tries first.
fn place() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static PLACE: Cell<Option<usize>> = const { Cell::new(None) });
    PLACE.with(|place| {
        place.get().unwrap_or_else(|| {
            let mine = NEXT.fetch_add(1, Relaxed);
            place.set(Some(mine));
            mine
        })
    })
}

impl Takings {
    /// One for lines of the thread's own.
    pub(crate) fn writer(&self) -> Writer {
        self.queue.writer.clone()
    }

    /// From now on nothing can be put there; what was put is still to be taken.
    pub(crate) fn close(&self) {
        for shelf in &self.queue.shelves {
            shelf
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .1
                .closed = true;
        }
    }

    /// Takes what is there, in the order of the numbers, in pieces of about so many bytes.
    pub(crate) fn take(&mut self, bytes: usize) -> Vec<Piece> {
        self.empty_shelves();
        let mut left: usize = self.taken.iter().map(|lines| lines.bytes.len()).sum();
        let mut pieces: Vec<Piece> = Vec::new();
        for (_, at, start, end) in self.order.drain(..) {
            let line = self
                .taken
                .get(at)
                .and_then(|lines| lines.bytes.get(start..end))
                .unwrap_or_default();
            match pieces.last_mut() {
                Some(piece) if piece.bytes.len() + line.len() <= bytes => piece.push(line),
                _ => {
                    let mut piece = Piece {
                        bytes: Vec::with_capacity(left.min(bytes).max(line.len())),
                        lines: 0,
                    };
                    piece.push(line);
                    pieces.push(piece);
                }
            }

            left = left.saturating_sub(line.len());
        }

        self.taken.truncate(self.queue.shelves.len());
        for lines in &mut self.taken {
            lines.ends.clear();
            lines.bytes.clear();
            if lines.bytes.capacity() > SPARE_MAX {
                *lines = Lines::default();
            }
        }

        pieces
    }

    fn empty_shelves(&mut self) {
        let Self {
            queue,
            aside,
            taken,
            order,
        } = self;

        taken.resize_with(queue.shelves.len(), Lines::default);
        for (shelf, lines) in queue.shelves.iter().zip(&mut *taken) {
            let mut shelf = shelf.0.lock().unwrap_or_else(PoisonError::into_inner);
            if !shelf.1.ends.is_empty() {
                lines.closed = shelf.1.closed;
                std::mem::swap(&mut shelf.1, lines);
            }
        }

        for line in aside.try_iter() {
            taken.push(Lines {
                ends: vec![(line.seq, line.bytes.len())],
                bytes: line.bytes,
                closed: false,
            });
        }

        for (at, lines) in taken.iter().enumerate() {
            let starts = std::iter::once(0).chain(lines.ends.iter().map(|(_, end)| *end));
            order.extend(
                starts
                    .zip(&lines.ends)
                    .map(|(start, (seq, end))| (*seq, at, start, *end)),
            );
        }

        // It finds the runs, each of which is in order or almost so.
        order.sort_by_key(|(seq, ..)| *seq);
    }
}

/// Some lines.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) bytes: Vec<u8>,
    pub(crate) lines: u64,
}

impl Piece {
    fn push(&mut self, line: &[u8]) {
        self.bytes.extend_from_slice(line);
        self.lines += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::event::{Category, Event, Outcome};

    fn put(queue: &Queue, seq: u64) {
        let event = &mut Event::new(Category::Access, "read", Outcome::Success);
        queue.put(&mut Queued {
            event,
            time: SystemTime::now(),
            seq,
        });
    }

    fn numbers(pieces: &[Piece]) -> Vec<u64> {
        let lines = pieces
            .iter()
            .flat_map(|piece| piece.bytes.split_inclusive(|byte| *byte == b'\n'));
        lines
            .map(|line| {
                serde_json::from_slice::<serde_json::Value>(line).unwrap()["metadata"]["producer_seq"].as_u64().unwrap()
            })
            .collect()
    }

    #[test]
    fn what_many_put_comes_out_whole_and_in_order() {
        const THREADS: u64 = 40;
        let (queue, mut takings) = queue("app/1");
        let seq = std::sync::atomic::AtomicU64::new(0);
        let mut got = std::thread::scope(|scope| {
            let putting: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| (0..500).for_each(|_| put(&queue, seq.fetch_add(1, Relaxed))))
                })
                .collect();

            let mut got = Vec::new();
            while putting.iter().any(|thread| !thread.is_finished()) {
                let part = numbers(&takings.take(4096));
                assert!(part.is_sorted());
                got.extend(part);
            }

            got
        });

        got.extend(numbers(&takings.take(4096)));
        got.sort_unstable();
        assert_eq!(got, (0..THREADS * 500).collect::<Vec<_>>());
        assert!(takings.take(4096).is_empty());
    }

    #[test]
    fn who_finds_every_buffer_taken_does_not_wait() {
        let (queue, mut takings) = queue("app/1");
        put(&queue, 1);
        let held: Vec<_> = queue
            .shelves
            .iter()
            .map(|shelf| shelf.if_free().unwrap())
            .collect();

        put(&queue, 2);
        drop(held);
        put(&queue, 3);
        assert_eq!(numbers(&takings.take(usize::MAX)), [1, 2, 3]);
    }

    #[test]
    fn a_caller_that_falls_costs_nobody_elses_line() {
        let (queue, mut takings) = queue("app/1");
        put(&queue, 1);
        let fallen = std::thread::scope(|scope| {
            let falls = || -> () {
                let mut held: Vec<_> = queue
                    .shelves
                    .iter()
                    .map(|shelf| shelf.if_free().unwrap())
                    .collect();
                for shelf in &mut held {
                    shelf.1.bytes.extend_from_slice(b"{\"half");
                }

                panic!("in the middle of a line");
            };

            scope.spawn(falls).join()
        });

        assert!(fallen.is_err());
        put(&queue, 2);
        assert_eq!(numbers(&takings.take(usize::MAX)), [1, 2]);
    }

    #[test]
    fn what_comes_after_the_end_is_said_to() {
        let (queue, mut takings) = queue("app/1");
        put(&queue, 1);
        takings.close();
        let event = &mut Event::new(Category::Access, "read", Outcome::Success);
        assert_eq!(
            queue.put(&mut Queued {
                event,
                time: SystemTime::now(),
                seq: 2
            }),
            Put::Closed
        );

        assert_eq!(numbers(&takings.take(usize::MAX)), [1]);
        assert!(takings.take(usize::MAX).is_empty());
        let event = &mut Event::new(Category::Access, "read", Outcome::Success);
        assert_eq!(
            queue.put(&mut Queued {
                event,
                time: SystemTime::now(),
                seq: 3
            }),
            Put::Closed
        );
    }

    #[test]
    fn pieces_are_no_larger_than_asked() {
        let (queue, mut takings) = queue("app/1");
        (1..=50).for_each(|seq| put(&queue, seq));
        let pieces = takings.take(1000);
        assert!(
            pieces
                .iter()
                .all(|piece| piece.bytes.len() <= 1000 && piece.lines > 1),
            "{pieces:?}"
        );

        assert_eq!(pieces.iter().map(|piece| piece.lines).sum::<u64>(), 50);
        (51..=52).for_each(|seq| put(&queue, seq));
        assert_eq!(takings.take(1).len(), 2, "a line is never cut");
    }
}
