//! The queue between callers and the logger's thread.
//!
//! A caller writes the line of its event itself, to one of several buffers: passing the event to
//! the thread would make one thread allocate and another free its parts, which costs both more than
//! the writing. Callers never wait: they skip a locked buffer, and if all are locked, they send the
//! line through a channel.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use crate::line::{Queued, Writer};

/// The thread is woken when a buffer holds this many bytes, so that it need not grow and its
/// content is still in the processor's cache.
const NEARLY_FULL: usize = 256 * 1024;
/// A buffer that has grown larger is not reused.
const SPARE_MAX: usize = 1024 * 1024;

/// The callers' side of the queue.
#[derive(Debug)]
pub(crate) struct Queue {
    buffers: Box<[Buffer]>,
    writer: Writer,
    aside: Sender<Line>,
}

/// A buffer on cache lines of its own, so that callers at neighboring buffers do not share them.
#[derive(Debug)]
#[repr(align(128))]
struct Buffer(Mutex<(Writer, Lines)>);

#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    /// The sequence number and the end of each line.
    ends: Vec<(u64, usize)>,
    /// Whether the reader has closed the queue.
    closed: bool,
}

/// The result of pushing a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    There,
    /// As `There`, and the buffer has just reached [`NEARLY_FULL`], so the thread must be woken.
    NearlyFull,
    /// The queue is closed.
    Closed,
}

#[derive(Debug)]
struct Line {
    seq: u64,
    bytes: Vec<u8>,
}

/// The thread's side of the queue.
#[derive(Debug)]
pub(crate) struct QueueReader {
    queue: Arc<Queue>,
    aside: Receiver<Line>,
    taken: Vec<Lines>,
    /// The lines that were taken: number, index in `taken`, start and end.
    order: Vec<(u64, usize, usize, usize)>,
}

/// Creates both sides of a queue. The producer's name is part of each line.
pub(crate) fn new_queue(producer: &str) -> (Arc<Queue>, QueueReader) {
    let (aside, from_aside) = channel();
    let writer = Writer::new(producer);

    // More than threads run at once, so a thread that is stopped while writing blocks no other.
    let buffers =
        std::thread::available_parallelism().map_or(8, |cores| (cores.get() * 4).clamp(8, 64));
    let buffers = (0..buffers)
        .map(|_| Buffer(Mutex::new((writer.clone(), Lines::default()))))
        .collect();
    let queue = Arc::new(Queue {
        buffers,
        writer,
        aside,
    });

    let reader = QueueReader {
        queue: Arc::clone(&queue),
        aside: from_aside,
        taken: Vec::new(),
        order: Vec::new(),
    };

    (queue, reader)
}

impl Queue {
    /// Writes the line of an event to the queue.
    pub(crate) fn push_event(&self, queued: &mut Queued<'_>) -> Pushed {
        let (before, after) = self
            .buffers
            .split_at(preferred_buffer() % self.buffers.len());
        let free = after.iter().chain(before).find_map(Buffer::try_lock);
        if let Some(mut buffer) = free {
            let (writer, lines) = &mut *buffer;
            if lines.closed {
                return Pushed::Closed;
            }

            lines
                .bytes
                .truncate(lines.ends.last().map_or(0, |(_, end)| *end));
            let before = lines.bytes.len();
            writer.write_line(&mut lines.bytes, queued);
            lines.ends.push((queued.seq, lines.bytes.len()));
            return if before < NEARLY_FULL && lines.bytes.len() >= NEARLY_FULL {
                Pushed::NearlyFull
            } else {
                Pushed::There
            };
        }

        let mut bytes = Vec::new();
        self.writer.clone().write_line(&mut bytes, queued);

        // Fails when the thread has ended.
        self.aside
            .send(Line {
                seq: queued.seq,
                bytes,
            })
            .map_or(Pushed::Closed, |()| Pushed::There)
    }
}

impl Buffer {
    /// Locks the buffer unless another thread holds it. After a panic in the middle of a line, the
    /// lines before it are intact.
    fn try_lock(&self) -> Option<MutexGuard<'_, (Writer, Lines)>> {
        match self.0.try_lock() {
            Ok(buffer) => Some(buffer),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// Returns the index of the buffer that this thread tries first.
fn preferred_buffer() -> usize {
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

impl QueueReader {
    /// Returns a writer for the thread's own lines.
    pub(crate) fn writer(&self) -> Writer {
        self.queue.writer.clone()
    }

    /// Rejects further lines. Lines in the buffers can still be taken.
    pub(crate) fn close_buffers(&self) {
        for buffer in &self.queue.buffers {
            buffer
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .1
                .closed = true;
        }
    }

    /// Takes all lines in the order of their numbers, in pieces of about `bytes` bytes.
    pub(crate) fn take_pieces(&mut self, bytes: usize) -> Vec<Piece> {
        self.empty_buffers();
        let mut left: usize = self.taken.iter().map(|lines| lines.bytes.len()).sum();
        let mut pieces: Vec<Piece> = Vec::new();
        for (_, at, start, end) in self.order.drain(..) {
            let line = self
                .taken
                .get(at)
                .and_then(|lines| lines.bytes.get(start..end))
                .unwrap_or_default();
            match pieces.last_mut() {
                Some(piece) if piece.bytes.len() + line.len() <= bytes => piece.push_line(line),
                _ => {
                    let mut piece = Piece {
                        bytes: Vec::with_capacity(left.min(bytes).max(line.len())),
                        lines: 0,
                    };
                    piece.push_line(line);
                    pieces.push(piece);
                }
            }

            left = left.saturating_sub(line.len());
        }

        self.taken.truncate(self.queue.buffers.len());
        for lines in &mut self.taken {
            lines.ends.clear();
            lines.bytes.clear();
            if lines.bytes.capacity() > SPARE_MAX {
                *lines = Lines::default();
            }
        }

        pieces
    }

    fn empty_buffers(&mut self) {
        let Self {
            queue,
            aside,
            taken,
            order,
        } = self;

        taken.resize_with(queue.buffers.len(), Lines::default);
        for (buffer, lines) in queue.buffers.iter().zip(&mut *taken) {
            let mut buffer = buffer.0.lock().unwrap_or_else(PoisonError::into_inner);
            if !buffer.1.ends.is_empty() {
                lines.closed = buffer.1.closed;
                std::mem::swap(&mut buffer.1, lines);
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

        // A stable sort is fast here, because the lines of each buffer are nearly in order.
        order.sort_by_key(|(seq, ..)| *seq);
    }
}

/// Consecutive lines.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) bytes: Vec<u8>,
    pub(crate) lines: u64,
}

impl Piece {
    fn push_line(&mut self, line: &[u8]) {
        self.bytes.extend_from_slice(line);
        self.lines += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::event::{Category, Event, Outcome};

    fn push_numbered(queue: &Queue, seq: u64) {
        let event = &mut Event::new(Category::Access, "read", Outcome::Success);
        queue.push_event(&mut Queued {
            event,
            time: SystemTime::now(),
            seq,
        });
    }

    fn sequence_numbers(pieces: &[Piece]) -> Vec<u64> {
        let lines = pieces
            .iter()
            .flat_map(|piece| piece.bytes.split_inclusive(|byte| *byte == b'\n'));
        lines
            .map(|line| {
                let line: serde_json::Value = serde_json::from_slice(line).unwrap();
                line["metadata"]["producer_seq"].as_u64().unwrap()
            })
            .collect()
    }

    #[test]
    fn lines_of_many_threads_stay_whole_and_in_order() {
        const THREADS: u64 = 40;
        let (queue, mut reader) = new_queue("app/1");
        let seq = std::sync::atomic::AtomicU64::new(0);
        let mut got = std::thread::scope(|scope| {
            let putting: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        (0..500).for_each(|_| push_numbered(&queue, seq.fetch_add(1, Relaxed)));
                    })
                })
                .collect();

            let mut got = Vec::new();
            while putting.iter().any(|thread| !thread.is_finished()) {
                let part = sequence_numbers(&reader.take_pieces(4096));
                assert!(part.is_sorted());
                got.extend(part);
            }

            got
        });

        got.extend(sequence_numbers(&reader.take_pieces(4096)));
        got.sort_unstable();
        assert_eq!(got, (0..THREADS * 500).collect::<Vec<_>>());
        assert!(reader.take_pieces(4096).is_empty());
    }

    #[test]
    fn a_caller_does_not_wait_when_all_buffers_are_locked() {
        let (queue, mut reader) = new_queue("app/1");
        push_numbered(&queue, 1);
        let held: Vec<_> = queue
            .buffers
            .iter()
            .map(|buffer| buffer.try_lock().unwrap())
            .collect();

        push_numbered(&queue, 2);
        drop(held);
        push_numbered(&queue, 3);
        assert_eq!(sequence_numbers(&reader.take_pieces(usize::MAX)), [1, 2, 3]);
    }

    #[test]
    fn a_panicking_caller_does_not_damage_other_lines() {
        let (queue, mut reader) = new_queue("app/1");
        push_numbered(&queue, 1);
        let panicked = std::thread::scope(|scope| {
            let panic_while_writing = || -> () {
                let mut held: Vec<_> = queue
                    .buffers
                    .iter()
                    .map(|buffer| buffer.try_lock().unwrap())
                    .collect();
                for buffer in &mut held {
                    buffer.1.bytes.extend_from_slice(b"{\"half");
                }

                panic!("in the middle of a line");
            };

            scope.spawn(panic_while_writing).join()
        });

        assert!(panicked.is_err());
        push_numbered(&queue, 2);
        assert_eq!(sequence_numbers(&reader.take_pieces(usize::MAX)), [1, 2]);
    }

    #[test]
    fn pushing_to_a_closed_queue_is_reported() {
        let (queue, mut reader) = new_queue("app/1");
        push_numbered(&queue, 1);
        reader.close_buffers();
        let event = &mut Event::new(Category::Access, "read", Outcome::Success);
        assert_eq!(
            queue.push_event(&mut Queued {
                event,
                time: SystemTime::now(),
                seq: 2
            }),
            Pushed::Closed
        );

        assert_eq!(sequence_numbers(&reader.take_pieces(usize::MAX)), [1]);
        assert!(reader.take_pieces(usize::MAX).is_empty());
        let event = &mut Event::new(Category::Access, "read", Outcome::Success);
        assert_eq!(
            queue.push_event(&mut Queued {
                event,
                time: SystemTime::now(),
                seq: 3
            }),
            Pushed::Closed
        );
    }

    #[test]
    fn pieces_are_no_larger_than_asked() {
        let (queue, mut reader) = new_queue("app/1");
        (1..=50).for_each(|seq| push_numbered(&queue, seq));
        let pieces = reader.take_pieces(1000);
        assert!(
            pieces
                .iter()
                .all(|piece| piece.bytes.len() <= 1000 && piece.lines > 1),
            "{pieces:?}"
        );

        assert_eq!(pieces.iter().map(|piece| piece.lines).sum::<u64>(), 50);
        (51..=52).for_each(|seq| push_numbered(&queue, seq));
        assert_eq!(reader.take_pieces(1).len(), 2, "a line is never cut");
    }
}
