use std::fs::{self, OpenOptions};
use std::io::Write;

use proptest::prelude::*;

use super::*;

struct Log {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Log {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            path: folder.path().join("auth.log"),
            _folder: folder,
        }
    }

    fn write(&self, text: &str) {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }

    /// The n-th piece, 1 the newest.
    fn piece(&self, n: u32) -> PathBuf {
        self.path.with_extension(format!("log.{n}"))
    }

    fn rename(&self) {
        self.shift();
        fs::rename(&self.path, self.piece(1)).unwrap();
    }

    /// As logrotate does: each piece becomes one older.
    fn shift(&self) {
        for n in (1..100).rev().filter(|n| self.piece(*n).exists()) {
            fs::rename(self.piece(n), self.piece(n + 1)).unwrap();
        }
        let gzip = |n: u32| PathBuf::from(format!("{}.gz", self.piece(n).display()));
        for n in (1..100).rev().filter(|n| gzip(*n).exists()) {
            fs::rename(gzip(n), gzip(n + 1)).unwrap();
        }
    }

    /// As logrotate's copytruncate.
    fn copy_and_truncate(&self) {
        self.shift();
        fs::copy(&self.path, self.piece(1)).unwrap();
        OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(&self.path)
            .unwrap();
    }

    fn gzip(&self, n: u32) {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder
            .write_all(&fs::read(self.piece(n)).unwrap())
            .unwrap();
        self.replace(n, "gz", &encoder.finish().unwrap());
    }

    fn zstd(&self, n: u32) {
        let bytes = zstd::encode_all(&*fs::read(self.piece(n)).unwrap(), 0).unwrap();
        self.replace(n, "zst", &bytes);
    }

    /// As compressors do: the new file has the old one's time.
    fn replace(&self, n: u32, extension: &str, bytes: &[u8]) {
        let path = PathBuf::from(format!("{}.{extension}", self.piece(n).display()));
        fs::write(&path, bytes).unwrap();
        let written = fs::metadata(self.piece(n)).unwrap().modified().unwrap();
        OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(written)
            .unwrap();

        fs::remove_file(self.piece(n)).unwrap();
    }

    fn follow(&self, saved: Option<Position>) -> Follower {
        Follower::new(&self.path, saved)
    }
}

/// Everything there is to read now.
fn drain(follower: &mut Follower) -> Vec<String> {
    let mut lines = Vec::new();
    for _ in 0..20 {
        let batch = follower.read(1 << 16).unwrap();
        lines.extend(
            batch
                .lines()
                .map(|(_, line)| String::from_utf8_lossy(line).into_owned()),
        );
    }

    lines
}

#[test]
fn half_lines_wait_for_their_end() {
    let log = Log::new();
    let mut follower = log.follow(None);
    assert!(
        drain(&mut follower).is_empty(),
        "a file that is not there yet has no lines"
    );
    log.write("one\ntw");
    assert_eq!(drain(&mut follower), ["one"]);

    log.write("o\n");
    assert_eq!(drain(&mut follower), ["two"]);
}

#[test]
fn a_renamed_file_is_read_to_its_end_first() {
    let log = Log::new();
    let mut follower = log.follow(None);
    log.write("one\n");
    assert_eq!(drain(&mut follower), ["one"]);
    log.write("two\nthree without end");
    log.rename();
    log.write("four\n");
    assert_eq!(drain(&mut follower), ["two", "three without end", "four"]);
}

#[test]
fn a_truncated_file_is_read_from_its_start() {
    let log = Log::new();
    let mut follower = log.follow(None);
    log.write("one\ntwo\n");
    assert_eq!(drain(&mut follower), ["one", "two"]);
    fs::write(&log.path, "three\n").unwrap();
    assert_eq!(drain(&mut follower), ["three"]);
}

#[test]
fn a_restart_goes_on_where_it_stopped_also_after_a_rotation() {
    let log = Log::new();
    log.write("one\ntwo\n");
    let mut follower = log.follow(None);
    let position = follower.read(1 << 16).unwrap().position;
    log.write("three\n");
    log.rename();
    log.write("four\n");
    assert_eq!(drain(&mut log.follow(position)), ["three", "four"]);
}

#[test]
fn a_file_that_is_gone_is_said_to_be() {
    let log = Log::new();
    log.write("one\n");
    let position = log.follow(None).read(1 << 16).unwrap().position;
    log.rename();
    log.write("two\n");
    fs::remove_file(log.path.with_extension("log.1")).unwrap();

    let batch = log.follow(position).read(1 << 16).unwrap();
    assert_eq!(
        batch.turns,
        [Turn::Lost {
            at: position.unwrap()
        }]
    );
    assert_eq!(batch.lines().count(), 1);
}

/// What a follower that stopped after `one` reads, and what it has to say.
fn after_down(log: &Log, meanwhile: impl FnOnce(&Log)) -> (Vec<String>, Vec<Turn>) {
    log.write("zero\none\n");
    let mut follower = log.follow(None);
    let position = follower.read(1 << 16).unwrap().position;

    // A file system's clock has a grain.
    std::thread::sleep(std::time::Duration::from_millis(10));
    meanwhile(log);
    let mut follower = log.follow(position);
    let (mut lines, mut turns) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        // As the daemon is killed after each batch.
        let batch = follower.read(4).unwrap();
        lines.extend(
            batch
                .lines()
                .map(|(_, line)| String::from_utf8_lossy(line).into_owned()),
        );
        turns.extend(batch.turns.iter().copied());

        if let (Some(position), false) = (batch.position, batch.is_empty()) {
            follower = log.follow(Some(position));
        }
    }

    (lines, turns)
}

fn check_down(expected: &[&str], meanwhile: impl FnOnce(&Log)) {
    let (lines, turns) = after_down(&Log::new(), meanwhile);
    assert_eq!(lines, expected);
    assert!(
        !turns
            .iter()
            .any(|t| matches!(t, Turn::Lost { .. } | Turn::Damaged { .. })),
        "{turns:?}"
    );
}

#[test]
fn rotations_while_nobody_looked_are_read_in_their_order() {
    check_down(&["two", "three", "four", "five"], |log| {
        log.write("two\n");
        log.rename();
        log.write("three\n");
        log.rename();
        log.write("four\nfive\n");
    });
}

#[test]
fn compressed_pieces_are_read_like_plain_ones() {
    for pieces in [&[2][..], &[3], &[2, 3], &[1, 2, 3]] {
        check_down(&["two", "three", "four", "five"], |log| {
            for text in ["two\n", "three\n", "four\n"] {
                log.write(text);
                log.rename();
            }

            log.write("five\n");
            for n in pieces {
                if n % 2 == 0 {
                    log.gzip(*n);
                } else {
                    log.zstd(*n);
                }
            }
        });
    }
}

#[test]
fn a_copied_and_truncated_file_loses_nothing() {
    check_down(&["two", "three"], |log| {
        log.write("two\n");
        log.copy_and_truncate();
        log.write("three\n");
    });

    // The new text is longer than the old: its length alone says nothing.
    check_down(
        &[
            "two",
            "three",
            "a new text that is longer than the old one was",
            "five",
        ],
        |log| {
            log.write("two\n");
            log.copy_and_truncate();
            log.write("three\n");
            log.copy_and_truncate();
            log.write("a new text that is longer than the old one was\nfive\n");
        },
    );
}

#[test]
fn what_was_written_just_before_a_truncation_is_in_the_copy() {
    let log = Log::new();
    let mut follower = log.follow(None);
    log.write("one\n");
    assert_eq!(drain(&mut follower), ["one"]);
    log.write("two\n");
    log.copy_and_truncate();
    assert_eq!(drain(&mut follower), ["two"]);
    log.write("three\n");

    assert_eq!(drain(&mut follower), ["three"]);
}

#[test]
fn two_rotations_between_two_looks_are_seen() {
    let log = Log::new();
    let mut follower = log.follow(None);
    log.write("one\n");
    assert_eq!(drain(&mut follower), ["one"]);

    for text in ["two\n", "three\n"] {
        log.rename();
        log.write(text);
    }

    assert_eq!(drain(&mut follower), ["two", "three"]);
}

#[test]
fn an_old_file_that_is_still_written_to_is_read_until_the_new_one_is_used() {
    let log = Log::new();
    let mut follower = log.follow(None);
    log.write("one\n");
    assert_eq!(drain(&mut follower), ["one"]);
    log.rename();
    log.write("");
    assert!(drain(&mut follower).is_empty());

    OpenOptions::new()
        .append(true)
        .open(log.piece(1))
        .unwrap()
        .write_all(b"two\n")
        .unwrap();
    log.write("three\n");
    assert_eq!(drain(&mut follower), ["two", "three"]);
}

#[test]
fn when_the_file_is_gone_all_that_came_after_it_is_read() {
    let (lines, turns) = after_down(&Log::new(), |log| {
        log.write("two\n");
        log.rename();
        log.write("three\n");
        log.rename();
        log.write("four\n");
        fs::remove_file(log.piece(2)).unwrap();
    });

    assert_eq!(lines, ["three", "four"]);
    assert!(
        matches!(turns.first(), Some(Turn::Lost { at }) if at.offset == 9),
        "{turns:?}"
    );
}

#[test]
fn a_broken_piece_is_said_to_be_and_holds_nothing_up() {
    let (lines, turns) = after_down(&Log::new(), |log| {
        log.rename();
        log.write("two\n");
        log.rename();
        log.write("three\n");
        log.gzip(1);
        let path = log.path.with_extension("log.1.gz");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 6]).unwrap();
    });

    assert_eq!(lines.last().map(String::as_str), Some("three"));
    assert!(
        turns.iter().any(|t| matches!(t, Turn::Damaged { .. })),
        "{turns:?}"
    );
}

#[test]
fn a_line_is_the_same_event_wherever_its_file_went() {
    let log = Log::new();
    log.write("one\ntwo\n");
    let number = |log: &Log| {
        log.follow(None)
            .read(1 << 16)
            .unwrap()
            .position
            .unwrap()
            .file_number()
    };

    let plain = number(&log);
    log.rename();
    log.gzip(1);
    fs::rename(log.path.with_extension("log.1.gz"), &log.path).unwrap();
    assert_eq!(number(&log), plain);
}

#[test]
fn two_logs_that_begin_alike_are_two() {
    let number = |log: &Log| {
        log.follow(None)
            .read(1 << 16)
            .unwrap()
            .position
            .unwrap()
            .file_number()
    };

    let (a, b) = (Log::new(), Log::new());
    for log in [&a, &b] {
        log.write("one\ntwo\n");
    }

    assert_ne!(number(&a), number(&b));

    // And the same log stays one while it is rotated away and compressed: what is read of it goes
    // on with its number.
    let read = a.follow(None).read(4).unwrap().position.unwrap();
    a.rename();
    a.write("three\n");
    a.gzip(1);
    let rest = a.follow(Some(read)).read(1 << 16).unwrap();
    assert_eq!(
        rest.lines()
            .map(|(at, line)| (at, line.to_vec()))
            .collect::<Vec<_>>(),
        [(4, b"two".to_vec())]
    );

    assert_eq!(rest.position.unwrap().file_number(), read.file_number());
}

/// An upgrade in the middle of a file must not make other events of lines that are read again.
#[test]
fn a_file_that_an_older_version_began_keeps_its_number() {
    let log = Log::new();
    log.write("one\ntwo\n");
    let Position {
        device,
        inode,
        head,
        ..
    } = log.follow(None).read(1 << 16).unwrap().position.unwrap();

    let old = format!(
        r#"{{"device":{device},"inode":{inode},"offset":4,"head":{},"written":0}}"#,
        head.unwrap()
    );
    let old: Position = sonic_rs::from_str(&old).unwrap();

    // As the older version numbered it: by its first line alone.
    let as_before = (head.unwrap().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32;
    let mut follower = log.follow(Some(old));
    assert_eq!(
        follower
            .read(1 << 16)
            .unwrap()
            .position
            .unwrap()
            .file_number(),
        as_before
    );

    log.rename();
    log.write("three\n");
    let next = follower.read(1 << 16).unwrap();
    assert_eq!(next.turns, [Turn::Rotated]);

    assert_eq!(
        next.position.unwrap().file_number(),
        log.follow(None)
            .read(1 << 16)
            .unwrap()
            .position
            .unwrap()
            .file_number()
    );
}

/// A client that sends a long text chooses where it is cut; what follows the cut is no line, also
/// after a restart within it.
#[test]
fn the_rest_of_a_line_that_is_too_long_is_no_line() {
    let log = Log::new();
    let forged = "forged ".repeat(300_000);
    log.write(&format!("{}{forged}\nnext\n", "x".repeat(LINE_MAX)));

    for restarts in [false, true] {
        let (mut follower, mut lines, mut saved) = (log.follow(None), Vec::new(), None);
        for _ in 0..20 {
            let before = saved.map_or(0, |saved: Position| saved.offset);
            let batch = follower.read(LINE_MAX / 2).unwrap();
            lines.extend(batch.lines().map(|(_, line)| line.to_vec()));
            saved = batch.position.or(saved);
            // What was read and is not yet a line is read again after a restart.
            if restarts && saved.is_some_and(|saved| saved.offset > before) {
                follower = log.follow(saved);
            }
        }

        assert_eq!(lines.len(), 2, "restarts: {restarts}");
        assert!(lines[0].iter().all(|c| *c == b'x'));
        assert_eq!(lines[1], b"next");
    }
}

#[test]
fn a_position_saved_by_an_older_version_is_understood() {
    let log = Log::new();
    log.write("one\ntwo\n");
    let now = log.follow(None).read(1 << 16).unwrap().position.unwrap();
    let old = format!(
        r#"{{"device":{},"inode":{},"offset":4}}"#,
        now.device, now.inode
    );
    assert_eq!(
        drain(&mut log.follow(Some(sonic_rs::from_str(&old).unwrap()))),
        ["two"]
    );
}

#[derive(Clone, Debug)]
enum Step {
    Write(u8, bool),
    Rename,
    CopyAndTruncate,
    Compress,
    Read,
    Restart,
}

proptest! {
    /// Whatever the order of writing, rotating, reading and restarting from the saved position:
    /// every line once, in order.
    #[test]
    fn no_line_is_lost_or_read_twice(steps in proptest::collection::vec(prop_oneof![
        4 => (1_u8..5, any::<bool>()).prop_map(|(n, whole)| Step::Write(n, whole)),
        1 => Just(Step::Rename),
        1 => Just(Step::CopyAndTruncate),
        1 => Just(Step::Compress),
        3 => Just(Step::Read),
        1 => Just(Step::Restart),
    ], 0..40)) {
        let log = Log::new();
        let mut follower = log.follow(None);
        let (mut saved, mut written, mut read, mut half, mut n) = (None, Vec::new(), Vec::new(), false, 0_u32);
        let mut take = |follower: &mut Follower, saved: &mut Option<Position>| {
            let batch = follower.read(64).unwrap();
            read.extend(batch.lines().map(|(_, line)| String::from_utf8_lossy(line).into_owned()));
            if !batch.is_empty() {
                *saved = batch.position.or(*saved);
            }
        };

        // What was rotated away before anybody looked is nobody's.
        log.write("first\n");
        written.push("first".to_owned());
        take(&mut follower, &mut saved);

        for step in steps {
            match step {
                Step::Write(count, whole) => for _ in 0..count {
                    if half { log.write("end\n"); half = false; }
                    n += 1;
                    written.push(format!("line {n} end"));
                    if whole { log.write(&format!("line {n} end\n")); } else { log.write(&format!("line {n} ")); half = true; }
                },
                Step::Rename | Step::CopyAndTruncate if half => {}
                Step::Rename => { log.rename(); log.write(""); }
                Step::CopyAndTruncate => {
                    // A file of which not one whole line was read cannot be told from its copy.
                    for _ in 0..200 { take(&mut follower, &mut saved); }
                    log.copy_and_truncate();
                }
                Step::Compress => for n in (2..100).filter(|n| log.piece(*n).exists()) { log.gzip(n); },
                Step::Read => take(&mut follower, &mut saved),
                Step::Restart => follower = log.follow(saved),
            }
        }

        if half { log.write("end\n"); }
        for _ in 0..400 { take(&mut follower, &mut saved); }
        prop_assert_eq!(read, written);
    }
}

#[test]
fn what_is_rotated_before_the_first_look_is_read() {
    let read = |log: &Log, first: Option<Position>| {
        let mut follower = log.follow(first);
        let mut lines = Vec::new();
        loop {
            let batch = follower.read(1 << 20).unwrap();
            if batch.is_empty() {
                return lines;
            }

            lines.extend(
                batch
                    .lines()
                    .map(|(_, line)| String::from_utf8(line.to_vec()).unwrap()),
            );
        }
    };

    let rotations: [fn(&Log); 3] = [Log::rename, Log::copy_and_truncate, |log| {
        log.rename();
        log.gzip(1);
    }];
    for rotate in rotations {
        let log = Log::new();
        assert_eq!(Position::before(&log.path), None);

        // What was rotated away before anybody followed it is nobody's.
        log.write("long ago\n");
        log.rename();
        log.write("one\ntwo\n");
        let first = Position::before(&log.path);
        log.write("three\n");
        rotate(&log);
        log.write("four\n");
        assert_eq!(read(&log, first), ["one", "two", "three", "four"]);
    }

    let log = Log::new();
    log.write("");
    let first = Position::before(&log.path);
    log.write("one\n");
    log.rename();
    log.write("two\n");
    assert_eq!(read(&log, first), ["one", "two"], "it was empty then");
}
