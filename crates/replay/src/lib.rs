//! Runs the engine over files or standard input, without a database.
//!
//! Lines are read in parallel and shown to the engine in their order, by one thread: what the
//! engine remembers stays in that core's cache. When nothing is ready for it, that thread reads
//! too, so that cores are busy whichever of the two takes longer.

mod chunks;

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::Context as _;
use collect::parsers::Lines;
use collect::{LineId, LineParser, Parsed};
use detect::{Engine, EventHeader, Prefilter};
use model::{Change, SecurityEvent, Span, Timestamp};

use chunks::{Chunk, Chunks, entry_end};

/// Input is handed out in pieces of about this size: small enough that what is read stays in the
/// cache.
const CHUNK: usize = 128 * 1024;
/// Chunks that are read before all workers meet: their buffers live until then.
const ROUND: usize = 64;
/// Chunks that are ready and wait for the engine, for each worker.
const READY: usize = 2;
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
            Self::Stdin => Ok(Box::new(Counted {
                inner: io::stdin(),
                counter,
            })),
            Self::File(path) => {
                open_file(path, counter).with_context(|| format!("cannot read {}", path.display()))
            }
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
    let mut file = Counted {
        inner: std::fs::File::open(path)?,
        counter,
    };

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

/// How to replay.
pub struct Options<'a> {
    /// Reads the lines.
    pub parser: &'a dyn LineParser,
    /// How lines make entries; see [`collect::Format::lines`].
    pub lines: Option<Lines>,
    /// Workers, at least one.
    pub threads: usize,
    /// The wall clock, for events from the future.
    pub now: Timestamp,
    /// How far ahead of the clock a time may be.
    pub max_clock_ahead: Span,
}

/// What was read of a chunk.
struct Seen<'a> {
    ticket: u64,
    file: u32,
    lines: u64,
    events: Vec<SecurityEvent<'a>>,
    /// One of each event.
    headers: Vec<EventHeader>,
    /// The place of each line that was not understood, and why.
    rejects: Vec<(u64, String)>,
}

/// What is used again and again: new memory must be cleared by the system first, which costs as
/// much as reading what goes into it.
#[derive(Default)]
struct Used {
    events: Vec<SecurityEvent<'static>>,
    headers: Vec<EventHeader>,
}

/// An empty list for events that borrow from elsewhere, in the memory of a used one.
fn emptied<'b>(mut used: Vec<SecurityEvent<'_>>) -> Vec<SecurityEvent<'b>> {
    used.clear();
    // Collected in place; there is nothing to go through.
    used.into_iter().map_while(|_| None).collect()
}

impl<'a> Seen<'a> {
    /// Reads a chunk, and computes the header of each event.
    fn read(
        buffer: &'a [u8],
        chunk: &Chunk,
        options: &Options<'_>,
        used: Used,
        prefilter: &mut Prefilter,
    ) -> Self {
        let mut rejects = Vec::new();
        let mut lines = 0;
        let (mut events, mut headers) = (emptied(used.events), used.headers);
        events.reserve(buffer.len() / 256);
        headers.clear();

        let mut start = 0;
        while start < buffer.len() {
            // Byte by byte, finding the ends of lines would cost as much as reading what is in
            // them.
            let first_end =
                memchr::memchr(b'\n', &buffer[start..]).map_or(buffer.len(), |i| start + i);
            let end = options.lines.map_or(first_end, |lines| {
                entry_end(buffer, (start, first_end), &lines)
            });
            let (text, id) = (
                &buffer[start..end],
                LineId {
                    file: chunk.file,
                    offset: chunk.offset + start as u64,
                },
            );

            if !text.trim_ascii().is_empty() {
                match options.parser.parse(text, id) {
                    Parsed::Event(mut event) => {
                        event.fit();
                        headers.push(prefilter.header_of(&event));
                        events.push(event);
                    }
                    Parsed::Nothing => {}
                    Parsed::Rejected(why) => rejects.push((lines, why)),
                }
            }

            lines += 1 + memchr::memchr_iter(b'\n', text).count() as u64;
            start = end + 1;
        }

        Self {
            ticket: chunk.ticket,
            file: chunk.file,
            lines,
            events,
            headers,
            rejects,
        }
    }
}

/// The engine and what belongs to the order of the input.
struct Show<'a, F> {
    inputs: &'a [Input],
    options: &'a Options<'a>,
    engine: &'a mut Engine,
    tell: F,
    report: Report,
    newest: Timestamp,
    /// Line number at the start of the chunk, per file.
    line: (u32, u64),
    /// The ticket of the chunk that comes next.
    next: u64,
}

impl<F: FnMut(Change)> Show<'_, F> {
    fn bring_back(&mut self, event: &mut SecurityEvent<'_>, header: &mut EventHeader) {
        // A file has no arrival times: a time from the future that also leaps ahead of everything
        // before it is replaced by the newest time so far, so that one poisoned event cannot end
        // every window.
        if event.timestamp > self.options.now.plus(self.options.max_clock_ahead)
            && self.newest > Timestamp::MIN
            && event.timestamp > self.newest.plus(Span::days(1))
        {
            event.timestamp = self.newest;
            header.set_time(self.newest);
            self.report.clock_skew += 1;
        }
        self.newest = self.newest.max(event.timestamp);
    }

    /// Shows the engine what was read of the next chunk. Gives back the lists.
    fn show(&mut self, mut read: Seen<'_>) -> Used {
        for (event, header) in read.events.iter_mut().zip(&mut read.headers) {
            self.bring_back(event, header);
        }

        self.report.events += read.events.len() as u64;
        self.engine.push_all(&read.events, &read.headers);
        if self.line.0 != read.file {
            self.line = (read.file, 0);
        }

        self.report.rejected += read.rejects.len() as u64;
        for (index, reason) in read.rejects {
            if self.report.rejects.len() < REPORTED_MAX {
                let input = self
                    .inputs
                    .get(read.file as usize)
                    .map(Input::name)
                    .unwrap_or_default();
                self.report.rejects.push(RejectedLine {
                    input,
                    line: self.line.1 + index + 1,
                    reason,
                });
            }
        }

        self.line.1 += read.lines;
        self.report.lines += read.lines;
        let tell = &mut self.tell;
        self.engine.drain(true, |change| {
            if change.phase == model::Phase::Closed {
                tell(change);
            }
        });

        self.next += 1;
        Used {
            events: emptied(read.events),
            headers: read.headers,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A poisoned lock means that another worker panicked; the scope will say so.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The buffers of a round, filled one after the other. What is read of them is lent to the engine's
/// thread until all is shown.
struct Round<'a> {
    source: &'a Mutex<Chunks<'a>>,
    buffers: Vec<OnceLock<Vec<u8>>>,
    /// Buffers of the round before.
    spare: Mutex<Vec<Vec<u8>>>,
    /// Lists that were shown.
    shown: &'a Mutex<Vec<Used>>,
    /// The prefilters, one for each worker.
    prefilters: &'a Mutex<Vec<Prefilter>>,
    /// A worker gave up; the others need not go on.
    broken: AtomicBool,
}

impl<'a> Round<'a> {
    fn new(
        source: &'a Mutex<Chunks<'a>>,
        spare: Vec<Vec<u8>>,
        (shown, prefilters): (&'a Mutex<Vec<Used>>, &'a Mutex<Vec<Prefilter>>),
    ) -> Self {
        let buffers = (0..ROUND).map(|_| OnceLock::new()).collect();
        Self {
            source,
            buffers,
            spare: Mutex::new(spare),
            shown,
            prefilters,
            broken: AtomicBool::new(false),
        }
    }

    /// Reads the next chunk; none at the end of the round or of the input.
    fn next(
        &self,
        options: &Options<'_>,
        prefilter: &mut Prefilter,
    ) -> anyhow::Result<Option<Seen<'_>>> {
        if self.broken.load(Ordering::Relaxed) {
            return Ok(None);
        }

        let mut buffer = lock(&self.spare)
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(2 * CHUNK));
        let mut source = lock(self.source);
        let Some(place) = self
            .buffers
            .get((source.tickets() % ROUND as u64) as usize)
            .filter(|b| b.get().is_none())
        else {
            return Ok(None);
        };

        let chunk = source
            .next(&mut buffer)
            .inspect_err(|_| self.broken.store(true, Ordering::Relaxed))?;
        let Some(chunk) = chunk else { return Ok(None) };
        let buffer = place.get_or_init(|| buffer);

        drop(source);
        let used = lock(self.shown).pop().unwrap_or_default();
        Ok(Some(Seen::read(
            &buffer[..chunk.len],
            &chunk,
            options,
            used,
            prefilters,
        )))
    }

    /// Reads chunks for the engine's thread until there are no more.
    fn work<'b>(&'b self, options: &Options<'_>, ready: &SyncSender<anyhow::Result<Seen<'b>>>) {
        let Some(mut prefilter) = lock(self.prefilters).pop() else {
            return;
        };
        while let Some(read) = self.next(options, &mut prefilter).transpose() {
            let failed = read.is_err();
            // Nobody listens any more: the engine's thread has failed itself.
            if ready.send(read).is_err() || failed {
                return;
            }
        }

        lock(self.prefilters).push(prefilter);
    }
}

/// Shows what comes in the order of the input until all workers are through; reads, too, when
/// nothing has come.
fn show_all<'b, F: FnMut(Change)>(
    round: &'b Round<'_>,
    show: &mut Show<'_, F>,
    ready: &Receiver<anyhow::Result<Seen<'b>>>,
    prefilter: &mut Prefilter,
) -> anyhow::Result<()> {
    let mut early: BTreeMap<u64, Seen<'b>> = BTreeMap::new();
    let mut more = true;
    loop {
        while let Some(read) = early.remove(&show.next) {
            let used = show.show(read);
            lock(round.shown).push(used);
        }

        let read = match ready.try_recv() {
            Ok(read) => Some(read?),
            Err(TryRecvError::Empty) if more => {
                let read = round.next(show.options, prefilter)?;
                more = read.is_some();
                read
            }
            Err(TryRecvError::Empty) => match ready.recv() {
                Ok(read) => Some(read?),
                Err(_) => return Ok(()),
            },
            // The last of the round may be our own.
            Err(TryRecvError::Disconnected) if more => {
                let read = round.next(show.options, prefilter)?;
                more = read.is_some();
                read
            }
            Err(TryRecvError::Disconnected) => return Ok(()),
        };

        if let Some(read) = read {
            early.insert(read.ticket, read);
        }
    }
}

/// Runs the engine over the inputs and tells each detection when it closes, all of them by the end.
pub fn run<F: FnMut(Change)>(
    inputs: &[Input],
    options: &Options<'_>,
    engine: &mut Engine,
    tell: F,
) -> anyhow::Result<Report> {
    run_counting(inputs, options, engine, tell, &Arc::default())
}

/// The same, counting the bytes that were read, before they are decompressed.
pub fn run_counting<F: FnMut(Change)>(
    inputs: &[Input],
    options: &Options<'_>,
    engine: &mut Engine,
    tell: F,
    counter: &Arc<AtomicU64>,
) -> anyhow::Result<Report> {
    let source = Mutex::new(Chunks::new(inputs, options.lines, counter));
    let report = Report::default();
    let mut prefilter = engine.prefilter();
    let prefilters = Mutex::new(vec![prefilter.clone(); options.threads.saturating_sub(1)]);
    let mut show = Show {
        inputs,
        options,
        engine,
        tell,
        report,
        newest: Timestamp::MIN,
        line: (0, 0),
        next: 0,
    };
    let (mut buffer, mut buffers, mut used) = (Vec::new(), Vec::new(), Used::default());
    // Alone, one buffer is filled again and again, and stays in the cache.
    while options.threads <= 1
        && let Some(chunk) = lock(&source).next(&mut buffer)?
    {
        used = show.show(Seen::read(
            &buffer[..chunk.len],
            &chunk,
            options,
            used,
            &mut prefilter,
        ));
    }
    let shown = Mutex::default();
    while !lock(&source).ended() {
        let round = Round::new(&source, std::mem::take(&mut buffers), (&shown, &prefilters));
        std::thread::scope(|scope| {
            let (sender, ready) = sync_channel(READY * options.threads);
            for _ in 1..options.threads {
                let (sender, round) = (sender.clone(), &round);
                scope.spawn(move || round.work(options, &sender));
            }

            drop(sender);
            let shown = show_all(&round, &mut show, &ready, &mut prefilter);
            round.broken.store(true, Ordering::Relaxed);

            shown
        })?;

        buffers = round
            .buffers
            .into_iter()
            .filter_map(OnceLock::into_inner)
            .collect();
    }
    show.engine.finish();
    let tell = &mut show.tell;
    show.engine.drain(false, tell);
    Ok(show.report)
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

        let first = head.split(|b| *b == b'\n').find_map(|line| {
            match parser.parse(line, LineId { file: 0, offset: 0 }) {
                Parsed::Event(event) => Some(event.timestamp),
                _ => None,
            }
        });

        keyed.push((first.unwrap_or(Timestamp::MIN), input));
    }

    keyed.sort_by_key(|(first, _)| *first);
    Ok(keyed.into_iter().map(|(_, input)| input).collect())
}
