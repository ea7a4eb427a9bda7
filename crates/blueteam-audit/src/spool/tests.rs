use proptest::prelude::*;

use super::*;

fn texts(batch: &Batch) -> Vec<String> {
    batch
        .lines()
        .map(|line| String::from_utf8(line.to_vec()).unwrap())
        .collect()
}

fn open(dir: &Path) -> (Spool, Vec<String>) {
    Spool::open(dir, 1000, "app/1").unwrap()
}

#[test]
fn lines_come_out_as_they_went_in_and_stay_until_they_are_sent() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, unclean) = open(dir.path());
    assert!(unclean.is_empty() && spool.peek(9, 99).is_none());
    assert_eq!(spool.append("a\nb\n", 2, false), Kept::OnDisk);
    assert_eq!(spool.append("c\n", 1, false), Kept::OnDisk);

    let batch = spool.peek(2, 99).unwrap();
    assert_eq!(texts(&batch), ["a", "b"]);
    assert_eq!(
        texts(&spool.peek(9, 3).unwrap()),
        ["a"],
        "a line that does not fit is left"
    );
    spool.advance(&batch);

    assert_eq!(
        (spool.lines(), texts(&spool.peek(9, 99).unwrap())),
        (1, vec!["c".to_owned()])
    );
    let batch = spool.peek(9, 99).unwrap();
    spool.advance(&batch);
    assert!(spool.is_empty() && spool.bytes() == 0 && spool.peek(9, 99).is_none());
    spool.append("d\n", 1, false);

    assert_eq!(texts(&spool.peek(9, 99).unwrap()), ["d"]);
}

#[derive(Clone, Debug)]
enum Step {
    /// So many lines of so many bytes.
    Append(usize, usize),
    /// At most so many lines and bytes are sent; meanwhile a line comes in, or none.
    Send(usize, usize, bool),
    Lose,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..40_usize, prop_oneof![10..500_usize, 50_000..65_000_usize]).prop_map(|(lines, len)| Step::Append(lines, len)),
        4 => (1..60_usize, 100_000..2_000_000_usize, any::<bool>()).prop_map(|(lines, bytes, more)| Step::Send(lines, bytes, more)),
        1 => Just(Step::Lose),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Whether a batch comes from memory or from the disk: lines go out once, in order, and are on
    /// disk until they are sent.
    #[test]
    fn what_is_held_is_what_the_disk_has(steps in prop::collection::vec(step(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let (mut spool, _) = Spool::open(dir.path(), u64::MAX, "app/1").unwrap();
        let (mut put, mut sent) = (0_usize, 0_usize);
        let mut append = |spool: &mut Spool, lines: usize, len: usize| {
            let text: Vec<String> = (put..put + lines).map(|n| format!("{n:0>len$}\n")).collect();
            put += lines;
            assert_eq!(spool.append(text.concat(), lines as u64, false), Kept::OnDisk);
        };

        for step in steps {
            match step {
                Step::Append(lines, len) => append(&mut spool, lines, len),
                Step::Send(lines, bytes, more) => {
                    let Some(batch) = spool.peek(lines, bytes) else { continue };
                    if more {
                        append(&mut spool, 1, 20);
                    }

                    prop_assert!(batch.len() <= lines && batch.bytes().len() <= bytes);
                    for line in texts(&batch) {
                        prop_assert_eq!(line.parse(), Ok(sent));
                        sent += 1;
                    }

                    spool.advance(&batch);
                }
                Step::Lose => {
                    drop(spool);
                    // What was sent of a file that is not emptied is sent again.
                    spool = Spool::open(dir.path(), u64::MAX, "app/1").unwrap().0;
                    if let Some(batch) = spool.peek(1, usize::MAX) {
                        sent = texts(&batch)[0].parse().unwrap();
                    }
                }
            }
        }

        while let Some(batch) = spool.peek(1000, 1024 * 1024) {
            sent += batch.len();
            spool.advance(&batch);
        }

        prop_assert_eq!(sent, put);
        prop_assert_eq!((spool.lines(), spool.bytes(), spool.held.len()), (0, 0, 0));
    }
}

#[test]
fn a_killed_run_is_named_and_its_lines_are_first() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(dir.path());
    spool.append("a\n", 1, false);
    spool.append("half", 1, false);
    drop(spool);

    let (mut spool, unclean) = open(dir.path());
    assert_eq!(unclean, ["app/1"]);
    spool.append("b\n", 1, false);
    let batch = spool.peek(9, 99).unwrap();
    assert_eq!(texts(&batch), ["a"]);
    spool.advance(&batch);
    assert_eq!(texts(&spool.peek(9, 99).unwrap()), ["b"]);
    spool.close();

    let (mut spool, unclean) = open(dir.path());
    assert!(unclean.is_empty());
    let batch = spool.peek(9, 99).unwrap();
    assert_eq!(texts(&batch), ["b"]);
    spool.advance(&batch);
    spool.close();
}

#[test]
fn two_programs_share_a_folder_and_the_next_inherits() {
    let dir = tempfile::tempdir().unwrap();
    let (mut one, _) = open(dir.path());
    let (mut two, _) = Spool::open(dir.path(), 1000, "app/2").unwrap();
    one.append("1\n", 1, false);
    two.append("2\n", 1, false);
    assert_eq!(texts(&one.peek(9, 99).unwrap()), ["1"]);
    drop((one, two));

    let (mut next, mut unclean) = open(dir.path());
    unclean.sort();
    assert_eq!(unclean, ["app/1", "app/2"]);
    let mut found = Vec::new();
    while let Some(batch) = next.peek(9, 99) {
        found.extend(texts(&batch));
        next.advance(&batch);
    }

    assert_eq!(found, ["1", "2"]);
}

#[test]
fn it_is_bounded_but_for_the_word_about_it() {
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
    assert_eq!(texts(&memory.peek(9, 1).unwrap()), ["a"]);
}

#[test]
fn a_folder_that_vanishes_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(dir.path());
    fs::remove_dir_all(dir.path()).unwrap();
    assert_eq!(spool.append("a\n", 1, false), Kept::InMemory);
    let batch = spool.peek(9, 99).unwrap();
    assert_eq!(texts(&batch), ["a"]);
    spool.advance(&batch);
    assert!(spool.is_empty());
}

#[test]
fn a_file_that_cannot_be_opened_for_now_is_not_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).0.append("a\n", 1, false);
    let (mut spool, _) = open(dir.path());
    let path = spool.segments[0].path.clone();
    let away = dir.path().join("away");
    fs::rename(&path, &away).unwrap();

    // A link to itself: neither gone nor damaged.
    std::os::unix::fs::symlink(&path, &path).unwrap();
    assert!(spool.peek(9, 99).is_none());
    assert_eq!((spool.lines(), spool.take_lost()), (1, 0));
    fs::rename(&away, &path).unwrap();
    assert_eq!(texts(&spool.peek(9, 99).unwrap()), ["a"]);
}

#[test]
fn a_number_that_was_set_aside_is_not_used_again() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).0.append("a\n", 1, false);
    let (mut spool, _) = open(dir.path());
    let damaged = spool.segments[0].path.with_extension("damaged");
    spool.set_aside();
    assert!(damaged.exists());
    drop(spool);

    let (mut spool, _) = open(dir.path());
    spool.append("b\n", 1, false);
    assert!(!damaged.with_extension(ENDING).exists());
}

#[test]
fn what_memory_holds_goes_to_the_disk_that_takes_something_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(dir.path());
    let path = spool.folder.as_ref().unwrap().path(spool.next);
    fs::create_dir(&path).unwrap();
    assert_eq!(spool.append("a\n", 1, false), Kept::InMemory);
    assert_eq!(spool.append("b\n", 1, false), Kept::InMemory);
    fs::remove_dir(&path).unwrap();
    assert_eq!(spool.close(), 0);

    let (mut spool, unclean) = open(dir.path());
    assert!(unclean.is_empty());
    assert_eq!(texts(&spool.peek(9, 99).unwrap()), ["a", "b"]);
}
