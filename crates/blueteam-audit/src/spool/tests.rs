use proptest::prelude::*;

use super::*;

fn line_texts(batch: &Batch) -> Vec<String> {
    batch
        .lines()
        .map(|line| String::from_utf8(line.to_vec()).unwrap())
        .collect()
}

fn open_spool(dir: &Path) -> (Spool, Vec<String>) {
    Spool::open(dir, 1000, "app/1").unwrap()
}

#[test]
fn lines_keep_their_order_and_stay_until_they_are_sent() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, unclean) = open_spool(dir.path());
    assert!(unclean.is_empty() && spool.peek_batch(9, 99).is_none());
    assert_eq!(spool.append("a\nb\n", 2, false), Kept::OnDisk);
    assert_eq!(spool.append("c\n", 1, false), Kept::OnDisk);

    let batch = spool.peek_batch(2, 99).unwrap();
    assert_eq!(line_texts(&batch), ["a", "b"]);
    assert_eq!(
        line_texts(&spool.peek_batch(9, 3).unwrap()),
        ["a"],
        "a line that does not fit is left"
    );
    spool.remove_batch(&batch);

    assert_eq!(
        (spool.lines(), line_texts(&spool.peek_batch(9, 99).unwrap())),
        (1, vec!["c".to_owned()])
    );
    let batch = spool.peek_batch(9, 99).unwrap();
    spool.remove_batch(&batch);
    assert!(spool.is_empty() && spool.bytes() == 0 && spool.peek_batch(9, 99).is_none());
    spool.append("d\n", 1, false);

    assert_eq!(line_texts(&spool.peek_batch(9, 99).unwrap()), ["d"]);
}

#[derive(Clone, Debug)]
enum Step {
    /// Appends this many lines of this many bytes.
    Append(usize, usize),
    /// Sends at most this many lines and bytes, and appends a line in the meantime or not.
    Send(usize, usize, bool),
    Lose,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..40_usize, prop_oneof![10..500_usize, 50_000..65_000_usize])
            .prop_map(|(lines, len)| Step::Append(lines, len)),
        4 => (1..60_usize, 100_000..2_000_000_usize, any::<bool>())
            .prop_map(|(lines, bytes, more)| Step::Send(lines, bytes, more)),
        1 => Just(Step::Lose),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]

    /// Lines are sent once, in order, and are on disk until then, whether a batch comes from memory
    /// or from disk.
    #[test]
    fn recent_lines_match_the_lines_on_disk(steps in prop::collection::vec(any_step(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let (mut spool, _) = Spool::open(dir.path(), u64::MAX, "app/1").unwrap();
        let mut put = 0_usize;
        let mut sent = 0_usize;
        let mut append = |spool: &mut Spool, lines: usize, len: usize| {
            let text: Vec<String> = (put..put + lines).map(|n| format!("{n:0>len$}\n")).collect();
            put += lines;
            assert_eq!(spool.append(text.concat(), lines as u64, false), Kept::OnDisk);
        };

        for step in steps {
            match step {
                Step::Append(lines, len) => append(&mut spool, lines, len),
                Step::Send(lines, bytes, more) => {
                    let Some(batch) = spool.peek_batch(lines, bytes) else { continue };
                    if more {
                        append(&mut spool, 1, 20);
                    }

                    prop_assert!(batch.len() <= lines && batch.bytes().len() <= bytes);
                    for line in line_texts(&batch) {
                        prop_assert_eq!(line.parse(), Ok(sent));
                        sent += 1;
                    }

                    spool.remove_batch(&batch);
                }
                Step::Lose => {
                    drop(spool);
                    // Sent lines of a file that was not emptied are sent again.
                    spool = Spool::open(dir.path(), u64::MAX, "app/1").unwrap().0;
                    if let Some(batch) = spool.peek_batch(1, usize::MAX) {
                        sent = line_texts(&batch)[0].parse().unwrap();
                    }
                }
            }
        }

        while let Some(batch) = spool.peek_batch(1000, 1024 * 1024) {
            sent += batch.len();
            spool.remove_batch(&batch);
        }

        prop_assert_eq!(sent, put);
        prop_assert_eq!((spool.lines(), spool.bytes(), spool.recent.len()), (0, 0, 0));
    }
}

#[test]
fn a_killed_run_is_reported_and_its_lines_are_sent_first() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = open_spool(dir.path());
    spool.append("a\n", 1, false);
    spool.append("half", 1, false);
    drop(spool);

    let (mut spool, unclean) = open_spool(dir.path());
    assert_eq!(unclean, ["app/1"]);
    spool.append("b\n", 1, false);
    let batch = spool.peek_batch(9, 99).unwrap();
    assert_eq!(line_texts(&batch), ["a"]);
    spool.remove_batch(&batch);
    assert_eq!(line_texts(&spool.peek_batch(9, 99).unwrap()), ["b"]);
    spool.close_run();

    let (mut spool, unclean) = open_spool(dir.path());
    assert!(unclean.is_empty());
    let batch = spool.peek_batch(9, 99).unwrap();
    assert_eq!(line_texts(&batch), ["b"]);
    spool.remove_batch(&batch);
    spool.close_run();
}

#[test]
fn two_programs_share_a_folder_and_the_next_takes_over_their_lines() {
    let dir = tempfile::tempdir().unwrap();
    let (mut one, _) = open_spool(dir.path());
    let (mut two, _) = Spool::open(dir.path(), 1000, "app/2").unwrap();
    one.append("1\n", 1, false);
    two.append("2\n", 1, false);
    assert_eq!(line_texts(&one.peek_batch(9, 99).unwrap()), ["1"]);
    drop((one, two));

    let (mut next, mut unclean) = open_spool(dir.path());
    unclean.sort();
    assert_eq!(unclean, ["app/1", "app/2"]);
    let mut found = Vec::new();
    while let Some(batch) = next.peek_batch(9, 99) {
        found.extend(line_texts(&batch));
        next.remove_batch(&batch);
    }

    assert_eq!(found, ["1", "2"]);
}

#[test]
fn only_reports_of_losses_exceed_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(dir.path(), 10, "app/1").unwrap();
    assert_eq!(spool.append("12345678\n", 1, false), Kept::OnDisk);
    assert_eq!(spool.append("1\n", 1, false), Kept::No);
    assert_eq!(spool.append("lost one\n", 1, true), Kept::OnDisk);
    assert_eq!(spool.lines(), 2);

    let mut memory = Spool::in_memory();
    assert_eq!(
        memory.append(vec![b'\n'; MEMORY_MAX as usize + 1], 1, false),
        Kept::No
    );
    assert_eq!(memory.append("a\n", 1, false), Kept::InMemory);
    assert_eq!(line_texts(&memory.peek_batch(9, 1).unwrap()), ["a"]);
}

#[test]
fn no_line_is_lost_when_the_folder_disappears() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = open_spool(dir.path());
    fs::remove_dir_all(dir.path()).unwrap();
    assert_eq!(spool.append("a\n", 1, false), Kept::InMemory);
    let batch = spool.peek_batch(9, 99).unwrap();
    assert_eq!(line_texts(&batch), ["a"]);
    spool.remove_batch(&batch);
    assert!(spool.is_empty());
}

#[test]
fn a_temporarily_unreadable_file_is_not_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    open_spool(dir.path()).0.append("a\n", 1, false);
    let (mut spool, _) = open_spool(dir.path());
    let path = spool.segments[0].path.clone();
    let away = dir.path().join("away");
    fs::rename(&path, &away).unwrap();

    // A link to itself: neither gone nor damaged.
    std::os::unix::fs::symlink(&path, &path).unwrap();
    assert!(spool.peek_batch(9, 99).is_none());
    assert_eq!((spool.lines(), spool.take_lost()), (1, 0));
    fs::rename(&away, &path).unwrap();
    assert_eq!(line_texts(&spool.peek_batch(9, 99).unwrap()), ["a"]);
}

#[test]
fn the_id_of_a_file_that_was_set_aside_is_not_reused() {
    let dir = tempfile::tempdir().unwrap();
    open_spool(dir.path()).0.append("a\n", 1, false);
    let (mut spool, _) = open_spool(dir.path());
    let damaged = spool.segments[0].path.with_extension("damaged");
    spool.set_aside();
    assert!(damaged.exists());
    drop(spool);

    let (mut spool, _) = open_spool(dir.path());
    spool.append("b\n", 1, false);
    assert!(!damaged.with_extension(ENDING).exists());
}

#[test]
fn lines_in_memory_are_written_once_the_disk_works_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = open_spool(dir.path());
    let path = spool.folder.as_ref().unwrap().segment_path(spool.next);
    fs::create_dir(&path).unwrap();
    assert_eq!(spool.append("a\n", 1, false), Kept::InMemory);
    assert_eq!(spool.append("b\n", 1, false), Kept::InMemory);
    fs::remove_dir(&path).unwrap();
    assert_eq!(spool.close_run(), 0);

    let (mut spool, unclean) = open_spool(dir.path());
    assert!(unclean.is_empty());
    assert_eq!(line_texts(&spool.peek_batch(9, 99).unwrap()), ["a", "b"]);
}
