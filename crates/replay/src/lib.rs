//! Runs the engine over files or standard input, without a database.
//!
//! Lines are parsed in parallel and shown to the engine in order by one thread, so that the
//! engine's state stays in the cache of one core. When no chunk is ready, that thread parses too,
//! so all cores are busy whichever of the two takes longer.

mod chunks;

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::Context as _;
use collect::parsers::{EntryRules, OpenEntry};
use collect::sequence::{Line, Note, Place, Sequencer};
use collect::{LineId, LineParser, Parsed};
use detect::{Engine, EventHeader, Prefilter};
use model::{DetectionUpdate, SecurityEvent, Span, Timestamp};

use chunks::{Chunk, Chunks, entry_end};

/// The approximate size of a chunk: small enough that its events stay in the cache.
const CHUNK: usize = 128 * 1024;
/// Chunks of a round. Their buffers live until all workers have finished it.
const ROUND: usize = 64;
/// Parsed chunks that wait for the engine, per worker.
const READY: usize = 2;
/// Rejected lines that are reported in full.
const REPORTED_MAX: usize = 10;

/// An input of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A file, plain or compressed with gzip or zstd.
    File(PathBuf),
    /// Standard input.
    Stdin,
}

impl Input {
    fn open_reader(&self, counter: &Arc<AtomicU64>) -> anyhow::Result<Box<dyn Read + Send>> {
        let counter = Arc::clone(counter);
        match self {
            Self::Stdin => Ok(Box::new(CountingReader {
                inner: io::stdin(),
                counter,
            })),
            Self::File(path) => {
                open_file(path, counter).with_context(|| format!("cannot read {}", path.display()))
            }
        }
    }

    fn display_name(&self) -> String {
        match self {
            Self::Stdin => "standard input".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

/// A reader that counts the bytes before they are decompressed.
struct CountingReader<R> {
    inner: R,
    counter: Arc<AtomicU64>,
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.counter.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

fn open_file(path: &Path, counter: Arc<AtomicU64>) -> io::Result<Box<dyn Read + Send>> {
    let mut file = CountingReader {
        inner: std::fs::File::open(path)?,
        counter,
    };

    let mut magic = [0; 4];
    let mut got = 0;

    // A pipe may return less than was asked for.
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

/// A line that the parser rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedLine {
    /// The input's name.
    pub input: String,
    /// The line number, starting at 1.
    pub line: u64,
    /// Why it was rejected.
    pub reason: String,
}

/// The counts of a replay.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Lines that were read.
    pub lines: u64,
    /// Events in them.
    pub events: u64,
    /// Lines that the parser rejected.
    pub rejected: u64,
    /// The first rejected lines.
    pub rejects: Vec<RejectedLine>,
    /// Events whose time was in the future and was replaced.
    pub clock_skew: u64,
}

/// Configuration of a replay.
pub struct Options<'a> {
    /// Parses the lines.
    pub parser: &'a dyn LineParser,
    /// How lines are joined to entries; see [`collect::Format::entry_rules`].
    pub entry_rules: Option<EntryRules>,
    /// The number of threads, at least one.
    pub threads: usize,
    /// The wall clock, for events from the future.
    pub now: Timestamp,
    /// How far ahead of `now` a time may be.
    pub max_clock_ahead: Span,
}

/// A line that other lines may concern.
struct Noted {
    /// Its index among the entries of its chunk.
    entry: u64,
    /// The events of the chunk before it.
    events_before: usize,
    /// Whether the next event is its own.
    is_event: bool,
    id: LineId,
    note: Note,
}

/// The events of a chunk.
struct ParsedChunk<'a> {
    ticket: u64,
    file: u32,
    lines: u64,
    events: Vec<SecurityEvent<'a>>,
    /// One per event.
    headers: Vec<EventHeader>,
    /// The index of each rejected line, and the reason.
    rejects: Vec<(u64, String)>,
    /// Lines that concern others, in order.
    noted: Vec<Noted>,
    /// The number of entries.
    entries: u64,
}

/// Lists that are reused. The system must zero new memory, which costs as much as parsing the
/// events in it.
#[derive(Default)]
struct ReusableMemory {
    events: Vec<SecurityEvent<'static>>,
    headers: Vec<EventHeader>,
}

/// Returns an empty list of events with another lifetime in the memory of a used one.
fn reuse_memory<'b>(mut used: Vec<SecurityEvent<'_>>) -> Vec<SecurityEvent<'b>> {
    used.clear();
    // Collecting works in place, and the list is empty.
    used.into_iter().map_while(|_| None).collect()
}

impl<'a> ParsedChunk<'a> {
    /// Parses a chunk and computes the header of each event.
    fn parse(
        buffer: &'a [u8],
        chunk: &Chunk,
        options: &Options<'_>,
        used: ReusableMemory,
        prefilter: &mut Prefilter,
    ) -> Self {
        let mut rejects = Vec::new();
        let mut noted = Vec::new();
        let (mut lines, mut entries) = (0, 0);
        let mut events = reuse_memory(used.events);
        let mut headers = used.headers;
        events.reserve(buffer.len() / 256);
        headers.clear();

        let mut start = 0;
        let mut open = OpenEntry::default();
        while start < buffer.len() {
            // Searching byte by byte would cost as much as parsing the lines.
            let first_end =
                memchr::memchr(b'\n', &buffer[start..]).map_or(buffer.len(), |i| start + i);
            let end = options.entry_rules.map_or(first_end, |rules| {
                entry_end(buffer, start..first_end, &rules, &mut open)
            });
            let text = &buffer[start..end];
            let id = LineId {
                file: chunk.file,
                offset: chunk.offset + start as u64,
            };

            if !text.trim_ascii().is_empty() {
                let Line { parsed, note } = options.parser.read(text, id);
                noted.extend(note.map(|note| Noted {
                    entry: entries,
                    events_before: events.len(),
                    is_event: matches!(parsed, Parsed::Event(_)),
                    id,
                    note,
                }));
                entries += 1;

                match parsed {
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
            noted,
            entries,
        }
    }
}

/// The engine, and the state that depends on the order of the input.
struct Replay<'a, F> {
    inputs: &'a [Input],
    options: &'a Options<'a>,
    engine: &'a mut Engine,
    on_closed: F,
    report: Report,
    newest: Timestamp,
    /// Line number at the start of the chunk, per file.
    line: (u32, u64),
    /// The ticket of the next chunk.
    next: u64,
    sequence: Sequence,
}

/// The state that spans lines.
struct Sequence {
    sequencer: Sequencer,
    prefilter: Prefilter,
    /// The file that is read, and the entries of it before the chunk.
    entries: (u32, u64),
    /// Lists of the chunk before, for this one's events in their new order.
    spare: ReusableMemory,
}

impl Sequence {
    /// Corrects, drops, adds and holds events of a chunk by the lines around them.
    fn apply(&mut self, chunk: &mut ParsedChunk<'_>) {
        if self.entries.0 != chunk.file {
            self.entries = (chunk.file, 0);
            self.sequencer.begin_file();
        }

        let first = self.entries.1;
        self.entries.1 += chunk.entries;
        if chunk.noted.is_empty() {
            return;
        }

        let mut events = reuse_memory(std::mem::take(&mut self.spare.events));
        let mut headers = std::mem::take(&mut self.spare.headers);
        headers.clear();

        let (mut old_events, mut old_headers) = (
            std::mem::take(&mut chunk.events),
            std::mem::take(&mut chunk.headers),
        );
        let mut old = old_events.drain(..).zip(old_headers.drain(..));
        let mut taken = 0;
        for noted in std::mem::take(&mut chunk.noted) {
            for (event, header) in old.by_ref().take(noted.events_before - taken) {
                events.push(event);
                headers.push(header);
            }

            let own = noted.is_event.then(|| old.next()).flatten();
            taken = noted.events_before + usize::from(noted.is_event);
            let place = Place {
                number: first + noted.entry,
                id: noted.id,
                arrived: None,
            };
            let own_header = own.as_ref().map(|(_, header)| *header);
            let line = Line {
                parsed: own.map_or(Parsed::Nothing, |(event, _)| Parsed::Event(event)),
                note: Some(noted.note),
            };
            self.sequencer.push_in_batch(line, place, &mut events);
            for event in events.iter().skip(headers.len()) {
                // Nearly always it is the line's own event, as it was.
                let known = own_header.filter(|header| header.is_still_of(event));
                headers.push(known.unwrap_or_else(|| self.prefilter.header_of(event)));
            }
        }

        for (event, header) in old {
            events.push(event);
            headers.push(header);
        }
        self.sequencer.end_batch(&events);
        (chunk.events, chunk.headers) = (events, headers);
        self.spare = ReusableMemory {
            events: reuse_memory(old_events),
            headers: old_headers,
        };
    }

    /// Returns the events that waited for other lines.
    fn finish(&mut self) -> (Vec<SecurityEvent<'static>>, Vec<EventHeader>) {
        let mut events = Vec::new();
        self.sequencer.finish(&mut events);
        let headers = events
            .iter()
            .map(|event| self.prefilter.header_of(event))
            .collect();
        (events, headers)
    }
}

impl<F: FnMut(DetectionUpdate)> Replay<'_, F> {
    fn replace_future_time(&mut self, event: &mut SecurityEvent<'_>, header: &mut EventHeader) {
        // A file has no arrival times. A time in the future that is also far ahead of everything
        // before it is replaced by the newest time so far, so that one poisoned event cannot end
        // all windows.
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

    /// Shows the next chunk to the engine and returns the emptied lists.
    fn show_chunk(&mut self, mut read: ParsedChunk<'_>) -> ReusableMemory {
        self.sequence.apply(&mut read);
        for (event, header) in read.events.iter_mut().zip(&mut read.headers) {
            self.replace_future_time(event, header);
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
                    .map(Input::display_name)
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
        let on_closed = &mut self.on_closed;
        self.engine.drain(true, |change| {
            if change.phase == model::Phase::Closed {
                on_closed(change);
            }
        });

        self.next += 1;
        ReusableMemory {
            events: reuse_memory(read.events),
            headers: read.headers,
        }
    }
}

fn lock_ignoring_poison<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A poisoned lock means that another worker panicked; the scope reports that.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The buffers of a round, filled one after the other. Events borrow from them until the engine's
/// thread has shown all chunks of the round.
struct Round<'a> {
    source: &'a Mutex<Chunks<'a>>,
    buffers: Vec<OnceLock<Vec<u8>>>,
    /// Buffers of the previous round.
    spare: Mutex<Vec<Vec<u8>>>,
    /// Lists of chunks that were shown.
    shown: &'a Mutex<Vec<ReusableMemory>>,
    /// The prefilters, one per worker.
    prefilters: &'a Mutex<Vec<Prefilter>>,
    /// Whether a worker failed, so the others can stop.
    broken: AtomicBool,
}

impl<'a> Round<'a> {
    fn new(
        source: &'a Mutex<Chunks<'a>>,
        spare: Vec<Vec<u8>>,
        shown: &'a Mutex<Vec<ReusableMemory>>,
        prefilters: &'a Mutex<Vec<Prefilter>>,
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

    /// Parses the next chunk; `None` at the end of the round or of the input.
    fn read_next(
        &self,
        options: &Options<'_>,
        prefilter: &mut Prefilter,
    ) -> anyhow::Result<Option<ParsedChunk<'_>>> {
        if self.broken.load(Ordering::Relaxed) {
            return Ok(None);
        }

        let mut buffer = lock_ignoring_poison(&self.spare)
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(2 * CHUNK));
        let mut source = lock_ignoring_poison(self.source);
        let Some(place) = self
            .buffers
            .get((source.chunks_issued() % ROUND as u64) as usize)
            .filter(|b| b.get().is_none())
        else {
            return Ok(None);
        };

        let chunk = source
            .next_chunk(&mut buffer)
            .inspect_err(|_| self.broken.store(true, Ordering::Relaxed))?;
        let Some(chunk) = chunk else { return Ok(None) };
        let buffer = place.get_or_init(|| buffer);

        drop(source);
        let used = lock_ignoring_poison(self.shown).pop().unwrap_or_default();
        Ok(Some(ParsedChunk::parse(
            &buffer[..chunk.len],
            &chunk,
            options,
            used,
            prefilter,
        )))
    }

    /// Parses chunks for the engine's thread until there are no more.
    fn parse_chunks<'b>(
        &'b self,
        options: &Options<'_>,
        ready: &SyncSender<anyhow::Result<ParsedChunk<'b>>>,
    ) {
        let Some(mut prefilter) = lock_ignoring_poison(self.prefilters).pop() else {
            return;
        };
        while let Some(read) = self.read_next(options, &mut prefilter).transpose() {
            let failed = read.is_err();
            // A closed channel means that the engine's thread has failed.
            if ready.send(read).is_err() || failed {
                return;
            }
        }

        lock_ignoring_poison(self.prefilters).push(prefilter);
    }
}

/// Shows chunks to the engine in order until all workers have finished. Parses chunks itself when
/// none is ready.
fn show_in_order<'b, F: FnMut(DetectionUpdate)>(
    round: &'b Round<'_>,
    show: &mut Replay<'_, F>,
    ready: &Receiver<anyhow::Result<ParsedChunk<'b>>>,
    prefilter: &mut Prefilter,
) -> anyhow::Result<()> {
    let mut early: BTreeMap<u64, ParsedChunk<'b>> = BTreeMap::new();
    let mut more = true;
    loop {
        while let Some(read) = early.remove(&show.next) {
            let used = show.show_chunk(read);
            lock_ignoring_poison(round.shown).push(used);
        }

        let read = match ready.try_recv() {
            Ok(read) => Some(read?),
            Err(TryRecvError::Empty) if more => {
                let read = round.read_next(show.options, prefilter)?;
                more = read.is_some();
                read
            }
            Err(TryRecvError::Empty) => match ready.recv() {
                Ok(read) => Some(read?),
                Err(_) => return Ok(()),
            },
            // This thread may still have to parse the last chunk of the round.
            Err(TryRecvError::Disconnected) if more => {
                let read = round.read_next(show.options, prefilter)?;
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

/// Runs the engine over the inputs. Calls `on_closed` for each detection when it closes, and for
/// all that are open at the end.
pub fn run<F: FnMut(DetectionUpdate)>(
    inputs: &[Input],
    options: &Options<'_>,
    engine: &mut Engine,
    on_closed: F,
) -> anyhow::Result<Report> {
    run_counting(inputs, options, engine, on_closed, &Arc::default())
}

/// Runs as [`run`], and counts the bytes read before decompression in `counter`.
pub fn run_counting<F: FnMut(DetectionUpdate)>(
    inputs: &[Input],
    options: &Options<'_>,
    engine: &mut Engine,
    on_closed: F,
    counter: &Arc<AtomicU64>,
) -> anyhow::Result<Report> {
    let source = Mutex::new(Chunks::new(inputs, options.entry_rules, counter));
    let report = Report::default();
    let mut prefilter = engine.prefilter();
    let all_prefilters = Mutex::new(vec![prefilter.clone(); options.threads.saturating_sub(1)]);
    let mut show = Replay {
        inputs,
        options,
        engine,
        on_closed,
        report,
        newest: Timestamp::MIN,
        line: (0, 0),
        next: 0,
        sequence: Sequence {
            sequencer: Sequencer::of_file(None),
            prefilter: prefilter.clone(),
            entries: (0, 0),
            spare: ReusableMemory::default(),
        },
    };

    let mut buffer = Vec::new();
    let mut buffers = Vec::new();
    let mut used = ReusableMemory::default();

    // With one thread, one buffer is reused and stays in the cache.
    while options.threads <= 1
        && let Some(chunk) = lock_ignoring_poison(&source).next_chunk(&mut buffer)?
    {
        used = show.show_chunk(ParsedChunk::parse(
            &buffer[..chunk.len],
            &chunk,
            options,
            used,
            &mut prefilter,
        ));
    }

    let shown = Mutex::default();
    while !lock_ignoring_poison(&source).is_at_end() {
        let round = Round::new(
            &source,
            std::mem::take(&mut buffers),
            &shown,
            &all_prefilters,
        );
        std::thread::scope(|scope| {
            let (sender, ready) = sync_channel(READY * options.threads);
            for _ in 1..options.threads {
                let (sender, round) = (sender.clone(), &round);
                scope.spawn(move || round.parse_chunks(options, &sender));
            }

            drop(sender);
            let shown = show_in_order(&round, &mut show, &ready, &mut prefilter);
            round.broken.store(true, Ordering::Relaxed);

            shown
        })?;

        buffers = round
            .buffers
            .into_iter()
            .filter_map(OnceLock::into_inner)
            .collect();
    }

    let (events, headers) = show.sequence.finish();
    show.report.events += events.len() as u64;
    show.engine.push_all(&events, &headers);
    show.engine.finish();
    let on_closed = &mut show.on_closed;
    show.engine.drain(false, on_closed);
    Ok(show.report)
}

/// Sorts several files by their first events, because rotated logs are usually named newest first.
pub fn in_order_of_time(inputs: Vec<Input>, parser: &dyn LineParser) -> anyhow::Result<Vec<Input>> {
    if inputs.len() < 2 || inputs.contains(&Input::Stdin) {
        return Ok(inputs);
    }

    let mut keyed = Vec::new();
    for input in inputs {
        let mut head = Vec::new();
        input
            .open_reader(&Arc::default())?
            .take(CHUNK as u64)
            .read_to_end(&mut head)
            .with_context(|| format!("cannot read {}", input.display_name()))?;

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
