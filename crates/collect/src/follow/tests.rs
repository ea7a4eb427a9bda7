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

    fn append_text(&self, text: &str) {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }

    /// Returns the path of the n-th rotated file; 1 is the newest.
    fn rotated_path(&self, n: u32) -> PathBuf {
        self.path.with_extension(format!("log.{n}"))
    }

    fn rotate_by_rename(&self) {
        self.shift_numbers();
        fs::rename(&self.path, self.rotated_path(1)).unwrap();
    }

    /// Makes each rotated file one older, as logrotate does.
    fn shift_numbers(&self) {
        for n in (1..100).rev().filter(|n| self.rotated_path(*n).exists()) {
            fs::rename(self.rotated_path(n), self.rotated_path(n + 1)).unwrap();
        }
        let gzip = |n: u32| PathBuf::from(format!("{}.gz", self.rotated_path(n).display()));
        for n in (1..100).rev().filter(|n| gzip(*n).exists()) {
            fs::rename(gzip(n), gzip(n + 1)).unwrap();
        }
    }

    /// Rotates as logrotate's `copytruncate`.
    fn copy_and_truncate(&self) {
        self.shift_numbers();
        fs::copy(&self.path, self.rotated_path(1)).unwrap();
        OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(&self.path)
            .unwrap();
    }

    fn compress_gzip(&self, n: u32) {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder
            .write_all(&fs::read(self.rotated_path(n)).unwrap())
            .unwrap();
        self.replace_file(n, "gz", &encoder.finish().unwrap());
    }

    fn compress_zstd(&self, n: u32) {
        let bytes = zstd::encode_all(&*fs::read(self.rotated_path(n)).unwrap(), 0).unwrap();
        self.replace_file(n, "zst", &bytes);
    }

    /// Replaces a file as compressors do: the new one keeps the old one's time.
    fn replace_file(&self, n: u32, extension: &str, bytes: &[u8]) {
        let path = PathBuf::from(format!("{}.{extension}", self.rotated_path(n).display()));
        fs::write(&path, bytes).unwrap();
        let written = fs::metadata(self.rotated_path(n))
            .unwrap()
            .modified()
            .unwrap();
        OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(written)
            .unwrap();

        fs::remove_file(self.rotated_path(n)).unwrap();
    }

    fn follow_from(&self, saved: Option<Position>) -> Follower {
        Follower::new(&self.path, saved)
    }
}

/// Returns all lines that can be read now.
fn read_all_lines(follower: &mut Follower) -> Vec<String> {
    let mut lines = Vec::new();
    for _ in 0..20 {
        let batch = follower.read_batch(1 << 16).unwrap();
        lines.extend(
            batch
                .lines()
                .map(|(_, line)| String::from_utf8_lossy(line).into_owned()),
        );
    }

    lines
}

#[test]
fn incomplete_lines_wait_for_their_end() {
    let log = Log::new();
    let mut follower = log.follow_from(None);
    assert!(
        read_all_lines(&mut follower).is_empty(),
        "a file that does not exist yet has no lines"
    );
    log.append_text("one\ntw");
    assert_eq!(read_all_lines(&mut follower), ["one"]);

    log.append_text("o\n");
    assert_eq!(read_all_lines(&mut follower), ["two"]);
}

#[test]
fn a_renamed_file_is_read_to_its_end_first() {
    let log = Log::new();
    let mut follower = log.follow_from(None);
    log.append_text("one\n");
    assert_eq!(read_all_lines(&mut follower), ["one"]);
    log.append_text("two\nthree without end");
    log.rotate_by_rename();
    log.append_text("four\n");
    assert_eq!(
        read_all_lines(&mut follower),
        ["two", "three without end", "four"]
    );
}

#[test]
fn a_truncated_file_is_read_from_its_start() {
    let log = Log::new();
    let mut follower = log.follow_from(None);
    log.append_text("one\ntwo\n");
    assert_eq!(read_all_lines(&mut follower), ["one", "two"]);
    fs::write(&log.path, "three\n").unwrap();
    assert_eq!(read_all_lines(&mut follower), ["three"]);
}

#[test]
fn a_restart_resumes_at_the_saved_position_even_after_a_rotation() {
    let log = Log::new();
    log.append_text("one\ntwo\n");
    let mut follower = log.follow_from(None);
    let position = follower.read_batch(1 << 16).unwrap().position;
    log.append_text("three\n");
    log.rotate_by_rename();
    log.append_text("four\n");
    assert_eq!(
        read_all_lines(&mut log.follow_from(position)),
        ["three", "four"]
    );
}

#[test]
fn a_lost_file_is_reported() {
    let log = Log::new();
    log.append_text("one\n");
    let position = log.follow_from(None).read_batch(1 << 16).unwrap().position;
    log.rotate_by_rename();
    log.append_text("two\n");
    fs::remove_file(log.path.with_extension("log.1")).unwrap();

    let batch = log.follow_from(position).read_batch(1 << 16).unwrap();
    assert_eq!(
        batch.file_events,
        [FileEvent::Lost {
            at: position.unwrap()
        }]
    );
    assert_eq!(batch.lines().count(), 1);
}

/// Returns the lines and file events of a follower that stopped after `one`.
fn read_after_downtime(log: &Log, meanwhile: impl FnOnce(&Log)) -> (Vec<String>, Vec<FileEvent>) {
    log.append_text("zero\none\n");
    let mut follower = log.follow_from(None);
    let position = follower.read_batch(1 << 16).unwrap().position;

    // Modification times of a file system are coarse.
    std::thread::sleep(std::time::Duration::from_millis(10));
    meanwhile(log);
    let mut follower = log.follow_from(position);
    let (mut lines, mut file_events) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        // Restart after each batch, as if the daemon was killed.
        let batch = follower.read_batch(4).unwrap();
        lines.extend(
            batch
                .lines()
                .map(|(_, line)| String::from_utf8_lossy(line).into_owned()),
        );
        file_events.extend(batch.file_events.iter().copied());

        if let (Some(position), false) = (batch.position, batch.is_empty()) {
            follower = log.follow_from(Some(position));
        }
    }

    (lines, file_events)
}

fn check_downtime(expected: &[&str], meanwhile: impl FnOnce(&Log)) {
    let (lines, file_events) = read_after_downtime(&Log::new(), meanwhile);
    assert_eq!(lines, expected);
    assert!(
        !file_events
            .iter()
            .any(|t| matches!(t, FileEvent::Lost { .. } | FileEvent::Damaged { .. })),
        "{file_events:?}"
    );
}

#[test]
fn rotations_during_downtime_are_read_in_order() {
    check_downtime(&["two", "three", "four", "five"], |log| {
        log.append_text("two\n");
        log.rotate_by_rename();
        log.append_text("three\n");
        log.rotate_by_rename();
        log.append_text("four\nfive\n");
    });
}

#[test]
fn compressed_files_are_read_like_plain_ones() {
    for pieces in [&[2][..], &[3], &[2, 3], &[1, 2, 3]] {
        check_downtime(&["two", "three", "four", "five"], |log| {
            for text in ["two\n", "three\n", "four\n"] {
                log.append_text(text);
                log.rotate_by_rename();
            }

            log.append_text("five\n");
            for n in pieces {
                if n % 2 == 0 {
                    log.compress_gzip(*n);
                } else {
                    log.compress_zstd(*n);
                }
            }
        });
    }
}

#[test]
fn a_copied_and_truncated_file_loses_nothing() {
    check_downtime(&["two", "three"], |log| {
        log.append_text("two\n");
        log.copy_and_truncate();
        log.append_text("three\n");
    });

    // The new text is longer than the old one, so its length alone does not show the truncation.
    check_downtime(
        &[
            "two",
            "three",
            "a new text that is longer than the old one was",
            "five",
        ],
        |log| {
            log.append_text("two\n");
            log.copy_and_truncate();
            log.append_text("three\n");
            log.copy_and_truncate();
            log.append_text("a new text that is longer than the old one was\nfive\n");
        },
    );
}

#[test]
fn lines_written_just_before_a_truncation_are_read_from_the_copy() {
    let log = Log::new();
    let mut follower = log.follow_from(None);
    log.append_text("one\n");
    assert_eq!(read_all_lines(&mut follower), ["one"]);
    log.append_text("two\n");
    log.copy_and_truncate();
    assert_eq!(read_all_lines(&mut follower), ["two"]);
    log.append_text("three\n");

    assert_eq!(read_all_lines(&mut follower), ["three"]);
}

#[test]
fn two_rotations_between_two_reads_are_followed() {
    let log = Log::new();
    let mut follower = log.follow_from(None);
    log.append_text("one\n");
    assert_eq!(read_all_lines(&mut follower), ["one"]);

    for text in ["two\n", "three\n"] {
        log.rotate_by_rename();
        log.append_text(text);
    }

    assert_eq!(read_all_lines(&mut follower), ["two", "three"]);
}

#[test]
fn a_rotated_file_is_read_until_the_new_one_has_lines() {
    let log = Log::new();
    let mut follower = log.follow_from(None);
    log.append_text("one\n");
    assert_eq!(read_all_lines(&mut follower), ["one"]);
    log.rotate_by_rename();
    log.append_text("");
    assert!(read_all_lines(&mut follower).is_empty());

    OpenOptions::new()
        .append(true)
        .open(log.rotated_path(1))
        .unwrap()
        .write_all(b"two\n")
        .unwrap();
    log.append_text("three\n");
    assert_eq!(read_all_lines(&mut follower), ["two", "three"]);
}

#[test]
fn all_files_after_a_lost_one_are_read() {
    let (lines, file_events) = read_after_downtime(&Log::new(), |log| {
        log.append_text("two\n");
        log.rotate_by_rename();
        log.append_text("three\n");
        log.rotate_by_rename();
        log.append_text("four\n");
        fs::remove_file(log.rotated_path(2)).unwrap();
    });

    assert_eq!(lines, ["three", "four"]);
    assert!(
        matches!(file_events.first(), Some(FileEvent::Lost { at }) if at.offset == 9),
        "{file_events:?}"
    );
}

#[test]
fn a_damaged_file_is_reported_and_does_not_stop_reading() {
    let (lines, file_events) = read_after_downtime(&Log::new(), |log| {
        log.rotate_by_rename();
        log.append_text("two\n");
        log.rotate_by_rename();
        log.append_text("three\n");
        log.compress_gzip(1);
        let path = log.path.with_extension("log.1.gz");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 6]).unwrap();
    });

    assert_eq!(lines.last().map(String::as_str), Some("three"));
    assert!(
        file_events
            .iter()
            .any(|t| matches!(t, FileEvent::Damaged { .. })),
        "{file_events:?}"
    );
}

#[test]
fn the_file_number_survives_rotation_and_compression() {
    let log = Log::new();
    log.append_text("one\ntwo\n");
    let number = |log: &Log| {
        log.follow_from(None)
            .read_batch(1 << 16)
            .unwrap()
            .position
            .unwrap()
            .file_number()
    };

    let plain = number(&log);
    log.rotate_by_rename();
    log.compress_gzip(1);
    fs::rename(log.path.with_extension("log.1.gz"), &log.path).unwrap();
    assert_eq!(number(&log), plain);
}

#[test]
fn logs_with_the_same_first_line_have_different_numbers() {
    let number = |log: &Log| {
        log.follow_from(None)
            .read_batch(1 << 16)
            .unwrap()
            .position
            .unwrap()
            .file_number()
    };

    let a = Log::new();
    let b = Log::new();
    for log in [&a, &b] {
        log.append_text("one\ntwo\n");
    }

    assert_ne!(number(&a), number(&b));

    // The log keeps its number while it is rotated and compressed.
    let read = a.follow_from(None).read_batch(4).unwrap().position.unwrap();
    a.rotate_by_rename();
    a.append_text("three\n");
    a.compress_gzip(1);
    let rest = a.follow_from(Some(read)).read_batch(1 << 16).unwrap();
    assert_eq!(
        rest.lines()
            .map(|(at, line)| (at, line.to_vec()))
            .collect::<Vec<_>>(),
        [(4, b"two".to_vec())]
    );

    assert_eq!(rest.position.unwrap().file_number(), read.file_number());
}

/// After an upgrade in the middle of a file, lines that are read again must give the same events.
#[test]
fn a_file_that_an_older_version_began_keeps_its_number() {
    let log = Log::new();
    log.append_text("one\ntwo\n");
    let Position {
        device,
        inode,
        head,
        ..
    } = log
        .follow_from(None)
        .read_batch(1 << 16)
        .unwrap()
        .position
        .unwrap();

    let old = format!(
        r#"{{"device":{device},"inode":{inode},"offset":4,"head":{},"written":0}}"#,
        head.unwrap()
    );
    let old: Position = sonic_rs::from_str(&old).unwrap();

    // The older version numbered it by its first line alone.
    let as_before = (head.unwrap().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32;
    let mut follower = log.follow_from(Some(old));
    assert_eq!(
        follower
            .read_batch(1 << 16)
            .unwrap()
            .position
            .unwrap()
            .file_number(),
        as_before
    );

    log.rotate_by_rename();
    log.append_text("three\n");
    let next = follower.read_batch(1 << 16).unwrap();
    assert_eq!(next.file_events, [FileEvent::Rotated]);

    assert_eq!(
        next.position.unwrap().file_number(),
        log.follow_from(None)
            .read_batch(1 << 16)
            .unwrap()
            .position
            .unwrap()
            .file_number()
    );
}

/// A client that sends a long text chooses where it is cut. The text after the cut is not a line,
/// even after a restart within it.
#[test]
fn the_rest_of_a_line_that_is_too_long_is_skipped() {
    let log = Log::new();
    let forged = "forged ".repeat(300_000);
    log.append_text(&format!("{}{forged}\nnext\n", "x".repeat(LINE_MAX)));

    for restarts in [false, true] {
        let (mut follower, mut lines, mut saved) = (log.follow_from(None), Vec::new(), None);
        for _ in 0..20 {
            let before = saved.map_or(0, |saved: Position| saved.offset);
            let batch = follower.read_batch(LINE_MAX / 2).unwrap();
            lines.extend(batch.lines().map(|(_, line)| line.to_vec()));
            saved = batch.position.or(saved);
            // An incomplete line is read again after a restart.
            if restarts && saved.is_some_and(|saved| saved.offset > before) {
                follower = log.follow_from(saved);
            }
        }

        assert_eq!(lines.len(), 2, "restarts: {restarts}");
        assert!(lines[0].iter().all(|c| *c == b'x'));
        assert_eq!(lines[1], b"next");
    }
}

#[test]
fn a_position_saved_by_an_older_version_is_read() {
    let log = Log::new();
    log.append_text("one\ntwo\n");
    let now = log
        .follow_from(None)
        .read_batch(1 << 16)
        .unwrap()
        .position
        .unwrap();
    let old = format!(
        r#"{{"device":{},"inode":{},"offset":4}}"#,
        now.device, now.inode
    );
    assert_eq!(
        read_all_lines(&mut log.follow_from(Some(sonic_rs::from_str(&old).unwrap()))),
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
    /// Every line is read once and in order, however writing, rotating, reading and restarting from
    /// the saved position are ordered.
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
        let mut follower = log.follow_from(None);
        let mut saved = None;
        let mut written = Vec::new();
        let mut read = Vec::new();
        let mut half = false;
        let mut n = 0_u32;
        let mut take = |follower: &mut Follower, saved: &mut Option<Position>| {
            let batch = follower.read_batch(64).unwrap();
            read.extend(batch.lines().map(|(_, line)| String::from_utf8_lossy(line).into_owned()));
            if !batch.is_empty() {
                *saved = batch.position.or(*saved);
            }
        };

        // Lines that were rotated before the first read are not expected.
        log.append_text("first\n");
        written.push("first".to_owned());
        take(&mut follower, &mut saved);

        for step in steps {
            match step {
                Step::Write(count, whole) => for _ in 0..count {
                    if half {
                        log.append_text("end\n");
                    }
                    n += 1;
                    written.push(format!("line {n} end"));
                    log.append_text(&if whole { format!("line {n} end\n") } else { format!("line {n} ") });
                    half = !whole;
                },
                Step::Rename | Step::CopyAndTruncate if half => {}
                Step::Rename => { log.rotate_by_rename(); log.append_text(""); }
                Step::CopyAndTruncate => {
                    // A file without a complete read line cannot be told from its copy.
                    for _ in 0..200 { take(&mut follower, &mut saved); }
                    log.copy_and_truncate();
                }
                Step::Compress => {
                    for n in (2..100).filter(|n| log.rotated_path(*n).exists()) {
                        log.compress_gzip(n);
                    }
                }
                Step::Read => take(&mut follower, &mut saved),
                Step::Restart => follower = log.follow_from(saved),
            }
        }

        if half { log.append_text("end\n"); }
        for _ in 0..400 { take(&mut follower, &mut saved); }
        prop_assert_eq!(read, written);
    }
}

#[test]
fn lines_rotated_before_the_first_read_are_read() {
    let read = |log: &Log, first: Option<Position>| {
        let mut follower = log.follow_from(first);
        let mut lines = Vec::new();
        loop {
            let batch = follower.read_batch(1 << 20).unwrap();
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

    let rotations: [fn(&Log); 3] = [Log::rotate_by_rename, Log::copy_and_truncate, |log| {
        log.rotate_by_rename();
        log.compress_gzip(1);
    }];
    for rotate in rotations {
        let log = Log::new();
        assert_eq!(Position::at_start_of(&log.path, None), None);

        // Lines that were rotated before the log was followed are not expected.
        log.append_text("long ago\n");
        log.rotate_by_rename();
        log.append_text("one\ntwo\n");
        let first = Position::at_start_of(&log.path, None);
        log.append_text("three\n");
        rotate(&log);
        log.append_text("four\n");
        assert_eq!(read(&log, first), ["one", "two", "three", "four"]);
    }

    let log = Log::new();
    log.append_text("");
    let first = Position::at_start_of(&log.path, None);
    log.append_text("one\n");
    log.rotate_by_rename();
    log.append_text("two\n");
    assert_eq!(read(&log, first), ["one", "two"], "it was empty then");
}

/// A file that was found and becomes a link before it is opened is not read, and neither is a
/// rotated one.
#[test]
fn links_are_followed_where_an_administrator_named_them_only() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, "root:x:0:0\n").unwrap();
    let folder = dir.path().join("logs");
    fs::create_dir(&folder).unwrap();
    let log = folder.join("access.log");
    std::os::unix::fs::symlink(&secret, &log).unwrap();

    let mut named = Follower::new(&log, None);
    assert_eq!(named.read_batch(1000).unwrap().lines.len(), 1);
    let mut found = Follower::new(&log, None).within(Some(folder.clone()));
    assert!(found.read_batch(1000).is_err());
    assert!(!is_plain_file(&log, &folder));
    assert_eq!(Position::at_start_of(&log, Some(&folder)), None);

    // A pipe would keep the reader waiting.
    let pipe = folder.join("pipe.log");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    assert!(Follower::new(&pipe, None).read_batch(1000).is_err());
}
