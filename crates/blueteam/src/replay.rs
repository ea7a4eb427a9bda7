//! Runs the engine over files or standard input, without a database.
//!
//! Lines are read in parallel and shown to the engine in their order: each worker takes the next chunk of input, reads its
//! lines, waits for its turn, and pushes its events. Reading is most of the work, so that two cores are nearly twice one.

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, bail};
use collect::{LineId, LineParser, Parsed};
use detect::Engine;
use model::{Change, SecurityEvent, Span, Timestamp};

/// Input is handed out in pieces of about this size: small enough that what is read stays in the cache.
const CHUNK: usize = 256 * 1024;
/// A line longer than this is rejected.
const LINE_MAX: usize = 16 * 1024 * 1024;
/// Rejected lines that are reported in full.
const REPORTED_MAX: usize = 10;

/// Where lines come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A file, plain or compressed with gzip or zstd.
    File(PathBuf),
    /// Standard input.
    Stdin,
}

impl Input {
    fn open(&self, counter: &Arc<AtomicU64>) -> anyhow::Result<Box<dyn Read + Send>> {
        let counter = Arc::clone(counter);
        match self {
            Self::Stdin => Ok(Box::new(Counted { inner: io::stdin(), counter })),
            Self::File(path) => open_file(path, counter).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Stdin => "standard input".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

/// Counts the bytes that were read, before they are decompressed.
struct Counted<R> {
    inner: R,
    counter: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.counter.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

fn open_file(path: &Path, counter: Arc<AtomicU64>) -> io::Result<Box<dyn Read + Send>> {
    let mut file = Counted { inner: std::fs::File::open(path)?, counter };
    let mut magic = [0; 4];
    let mut got = 0;
    // A pipe given as a file may hand out less than asked for.
    while got < magic.len() {
        match file.read(&mut magic[got..])? {
            0 => break,
            n => got += n,
        }
    }
    let head = io::Cursor::new(magic[..got].to_vec());
    let whole = head.chain(file);
    Ok(match magic {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(whole))),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::new(whole)?),
        _ => Box::new(whole),
    })
}

/// A line that was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedLine {
    /// The file.
    pub input: String,
    /// Its number, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// What a replay saw.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Lines read.
    pub lines: u64,
    /// Events they held.
    pub events: u64,
    /// Lines that were not understood.
    pub rejected: u64,
    /// The first of them.
    pub rejects: Vec<RejectedLine>,
    /// Events whose time lay in the future and was replaced.
    pub clock_skew: u64,
}

/// Whether a line begins an entry.
pub type Begins = fn(&[u8]) -> bool;

/// How to replay.
pub struct Options<'a> {
    /// Reads the lines.
    pub parser: &'a dyn LineParser,
    /// Whether a line begins an entry; see [`collect::Format::begins`].
    pub begins: Option<Begins>,
    /// Workers, at least one.
    pub threads: usize,
    /// The wall clock, for events from the future.
    pub now: Timestamp,
    /// How far ahead of the clock a time may be.
    pub max_clock_ahead: Span,
}

/// The inputs in order, handed out in chunks.
struct Chunks<'a> {
    inputs: &'a [Input],
    begins: Option<Begins>,
    counter: &'a Arc<AtomicU64>,
    file: u32,
    current: Option<Box<dyn Read + Send>>,
    offset: u64,
    /// The beginning of a line whose end is yet to come.
    rest: Vec<u8>,
    ticket: u64,
}

/// Whole lines of one file.
struct Chunk {
    ticket: u64,
    file: u32,
    offset: u64,
    /// How much of the buffer they take.
    len: usize,
}

/// The end of an entry whose first line ends at `end`.
fn entry_end(text: &[u8], mut end: usize, begins: Begins) -> usize {
    while end < text.len() {
        let next = memchr::memchr(b'\n', &text[end + 1..]).map_or(text.len(), |i| end + 1 + i);
        if begins(&text[end + 1..next]) {
            break;
        }
        end = next;
    }
    // A newline at the very end is no empty line.
    if end == text.len() && text.ends_with(b"\n") { end - 1 } else { end }
}

/// Where the last entry begins that may not be complete; none when it is the first.
fn last_beginning(text: &[u8], begins: Option<Begins>) -> Option<usize> {
    let newlines = memchr::memrchr_iter(b'\n', text);
    let Some(begins) = begins else { return newlines.map(|at| at + 1).next() };
    newlines
        .map(|at| at + 1)
        .find(|at| *at < text.len() && begins(text[*at..].split(|b| *b == b'\n').next().unwrap_or_default()))
}

/// Reads until the buffer is full or the input ends.
fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

impl Chunks<'_> {
    /// Fills `buffer` with the next whole lines. None at the end of the last input.
    fn next(&mut self, buffer: &mut Vec<u8>) -> anyhow::Result<Option<Chunk>> {
        loop {
            let Some(input) = self.inputs.get(self.file as usize) else { return Ok(None) };
            let reader = match &mut self.current {
                Some(reader) => reader,
                None => self.current.insert(input.open(self.counter)?),
            };
            buffer.clear();
            let mut filled = self.rest.len();
            // Longer than what is in it, so that it is cleared once and not before each read.
            buffer.resize(buffer.len().max(filled + CHUNK), 0);
            buffer[..filled].copy_from_slice(&self.rest);
            let mut ended = false;
            let end = loop {
                buffer.resize(buffer.len().max(filled + CHUNK), 0);
                let read = fill(reader, &mut buffer[filled..][..CHUNK])
                    .with_context(|| format!("cannot read {}", input.name()))?;
                if read == 0 {
                    ended = true;
                    break filled;
                }
                let start = filled;
                filled += read;
                // Where entries have many lines, they are only told apart with all before them at hand.
                let from = if self.begins.is_some() { 0 } else { start };
                if let Some(end) = last_beginning(&buffer[from..filled], self.begins) {
                    break from + end;
                }
                if filled > LINE_MAX {
                    bail!("{}: a line of more than {LINE_MAX} bytes at byte {}", input.name(), self.offset);
                }
            };
            self.rest.clear();
            self.rest.extend_from_slice(&buffer[end..filled]);
            let chunk = Chunk { ticket: self.ticket, file: self.file, offset: self.offset, len: end };
            self.offset += end as u64;
            if ended {
                self.current = None;
                self.file += 1;
                self.offset = 0;
            }
            if chunk.len > 0 {
                self.ticket += 1;
                return Ok(Some(chunk));
            }
        }
    }
}

/// The engine and what belongs to the order of the input.
struct Turn<'a, F> {
    next: u64,
    engine: &'a mut Engine,
    tell: F,
    report: Report,
    newest: Timestamp,
    /// Line number at the start of the chunk, per file.
    line: (u32, u64),
    /// A worker gave up; the others need not wait for it.
    broken: bool,
}

impl<F: FnMut(Change)> Turn<'_, F> {
    fn bring_back(&mut self, event: &mut SecurityEvent<'_>, options: &Options<'_>) {
        // A file has no arrival times: a time from the future that also leaps ahead of everything before it is replaced by the
        // newest time so far, so that one poisoned event cannot end every window.
        if event.timestamp > options.now.plus(options.max_clock_ahead)
            && self.newest > Timestamp::MIN
            && event.timestamp > self.newest.plus(Span::days(1))
        {
            event.timestamp = self.newest;
            self.report.clock_skew += 1;
        }
        self.newest = self.newest.max(event.timestamp);
    }

    /// Shows the engine the events of a chunk.
    fn push(&mut self, events: &mut [SecurityEvent<'_>], options: &Options<'_>) {
        for event in events.iter_mut() {
            self.bring_back(event, options);
        }
        self.report.events += events.len() as u64;
        self.engine.push_all(events);
    }

    fn end_chunk(&mut self, file: u32, lines: u64, rejects: Vec<(u64, String)>, inputs: &[Input]) {
        if self.line.0 != file {
            self.line = (file, 0);
        }
        self.report.rejected += rejects.len() as u64;
        for (index, reason) in rejects {
            if self.report.rejects.len() < REPORTED_MAX {
                let input = inputs.get(file as usize).map(Input::name).unwrap_or_default();
                self.report.rejects.push(RejectedLine { input, line: self.line.1 + index + 1, reason });
            }
        }
        self.line.1 += lines;
        self.report.lines += lines;
        let tell = &mut self.tell;
        self.engine.drain(true, |change| {
            if change.phase == model::Phase::Closed {
                tell(change);
            }
        });
        self.next += 1;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A poisoned lock means that another worker panicked; the scope will say so.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the engine over the inputs and tells each detection when it closes, all of them by the end.
pub fn run<F: FnMut(Change) + Send>(
    inputs: &[Input],
    options: &Options<'_>,
    engine: &mut Engine,
    tell: F,
) -> anyhow::Result<Report> {
    run_counting(inputs, options, engine, tell, &Arc::default())
}

/// The same; counts the bytes that it has read, for a progress bar.
pub fn run_counting<F: FnMut(Change) + Send>(
    inputs: &[Input],
    options: &Options<'_>,
    engine: &mut Engine,
    tell: F,
    counter: &Arc<AtomicU64>,
) -> anyhow::Result<Report> {
    let chunks = Mutex::new(Chunks {
        inputs,
        begins: options.begins,
        counter,
        file: 0,
        current: None,
        offset: 0,
        rest: Vec::new(),
        ticket: 0,
    });
    let turn = Mutex::new(Turn {
        next: 0,
        engine,
        tell,
        report: Report::default(),
        newest: Timestamp::MIN,
        line: (0, 0),
        broken: false,
    });
    let moved_on = Condvar::new();
    let work = || {
        let result = worker(inputs, options, &chunks, &turn, &moved_on);
        if result.is_err() {
            lock(&turn).broken = true;
            moved_on.notify_all();
        }
        result
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..options.threads).map(|_| scope.spawn(work)).collect();
        let mut result = work();
        for other in others {
            match other.join() {
                Ok(theirs) => result = result.and(theirs),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        result
    })?;
    let mut turn = turn.into_inner().unwrap_or_else(PoisonError::into_inner);
    turn.engine.finish();
    let tell = &mut turn.tell;
    turn.engine.drain(false, tell);
    Ok(turn.report)
}

fn worker<F: FnMut(Change) + Send>(
    inputs: &[Input],
    options: &Options<'_>,
    chunks: &Mutex<Chunks<'_>>,
    turn: &Mutex<Turn<'_, F>>,
    moved_on: &Condvar,
) -> anyhow::Result<()> {
    let mut whole = Vec::with_capacity(CHUNK * 2);
    loop {
        let Some(chunk) = lock(chunks).next(&mut whole)? else { return Ok(()) };
        let buffer = &whole[..chunk.len];
        let mut rejects = Vec::new();
        let begins = options.begins;
        let mut lines = 0;
        let mut events = Vec::with_capacity(buffer.len() / 256);
        let mut start = 0;
        while start < buffer.len() {
            // Byte by byte, finding the ends of lines would cost as much as reading what is in them.
            let first_end = memchr::memchr(b'\n', &buffer[start..]).map_or(buffer.len(), |i| start + i);
            let end = begins.map_or(first_end, |begins| entry_end(buffer, first_end, begins));
            let (text, id) = (&buffer[start..end], LineId { file: chunk.file, offset: chunk.offset + start as u64 });
            if !text.trim_ascii().is_empty() {
                match options.parser.parse(text, id) {
                    Parsed::Event(event) => events.push(event),
                    Parsed::Nothing => {}
                    Parsed::Rejected(why) => rejects.push((lines, why)),
                }
            }
            lines += 1 + memchr::memchr_iter(b'\n', text).count() as u64;
            start = end + 1;
        }
        let mut turn = lock(turn);
        while turn.next != chunk.ticket && !turn.broken {
            turn = moved_on.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
        turn.push(&mut events, options);
        turn.end_chunk(chunk.file, lines, rejects, inputs);
        drop(turn);
        moved_on.notify_all();
    }
}

/// Puts several files into the order of their first events: rotated logs are named newest first.
pub fn in_order_of_time(inputs: Vec<Input>, parser: &dyn LineParser) -> anyhow::Result<Vec<Input>> {
    if inputs.len() < 2 || inputs.contains(&Input::Stdin) {
        return Ok(inputs);
    }
    let mut keyed = Vec::new();
    for input in inputs {
        let mut head = Vec::new();
        input
            .open(&Arc::default())?
            .take(CHUNK as u64)
            .read_to_end(&mut head)
            .with_context(|| format!("cannot read {}", input.name()))?;
        let first =
            head.split(|b| *b == b'\n').find_map(|line| match parser.parse(line, LineId { file: 0, offset: 0 }) {
                Parsed::Event(event) => Some(event.timestamp),
                _ => None,
            });
        keyed.push((first.unwrap_or(Timestamp::MIN), input));
    }
    keyed.sort_by_key(|(first, _)| *first);
    Ok(keyed.into_iter().map(|(_, input)| input).collect())
}
