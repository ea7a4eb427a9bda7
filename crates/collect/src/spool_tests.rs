use std::process::Command;

use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_772_719_651);

fn frame_all(payloads: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for payload in payloads {
        frame_record(&mut out, |out| out.extend_from_slice(payload));
    }
    out
}

fn open_spool(dir: &Path) -> (Spool, Vec<Cut>) {
    Spool::open(dir, 1 << 30).unwrap()
}

fn drain_spool(spool: &mut Spool) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    while let Some(batch) = spool.peek(1).unwrap() {
        out.extend(batch.payloads().map(<[u8]>::to_vec));
        spool.advance(&batch).unwrap();
    }
    out
}

fn only_segment(dir: &Path) -> PathBuf {
    let mut files = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    files
        .find(|p| p.extension().is_some_and(|e| e == "seg"))
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    /// After a kill at any byte of the last append, acknowledged records are there, and the torn
    /// end is cut and reported.
    #[test]
    fn a_torn_tail_is_cut(
        first in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 1..5),
        last in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 1..3),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (mut spool, _) = open_spool(dir.path());
        spool.append(&frame_all(&first), first.len() as u64, NOW).unwrap();
        let acknowledged = spool.bytes();
        spool.append(&frame_all(&last), last.len() as u64, NOW).unwrap();

        let end = spool.bytes();
        drop(spool);
        let whole = fs::read(only_segment(dir.path())).unwrap();
        for len in acknowledged..end {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("00000000000000000001.seg"), &whole[..len as usize]).unwrap();
            let (mut spool, cuts) = open_spool(dir.path());
            let found = drain_spool(&mut spool);
            prop_assert!(found.len() >= first.len() && found[..first.len()] == first[..]);
            prop_assert!(last.starts_with(&found[first.len()..]));
            prop_assert!(cuts.len() <= 1 && cuts.iter().all(|c| c.kept.is_none()));
            let survived = frame_all(&last[..found.len() - first.len()]);
            prop_assert_eq!(cuts.is_empty(), len == acknowledged + survived.len() as u64);

            prop_assert!(spool.is_empty());
        }
    }

    /// NewDetection and draining a file of any content neither panics nor runs forever.
    #[test]
    fn any_bytes_can_be_opened(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        magic in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut file = if magic { MAGIC.to_vec() } else { Vec::new() };
        file.extend(bytes);
        fs::write(dir.path().join("00000000000000000001.seg"), file).unwrap();
        let (mut spool, _) = open_spool(dir.path());
        drain_spool(&mut spool);
    }
}

#[test]
fn records_keep_their_order_across_segments_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = open_spool(dir.path());
    let payloads: Vec<_> = (0..40_u32).map(|n| vec![n as u8; 900_000]).collect();
    for payload in &payloads {
        spool
            .append(&frame_all(std::slice::from_ref(payload)), 1, NOW)
            .unwrap();
    }

    assert!(spool.segments.len() > 2);
    assert_eq!((spool.records(), spool.since()), (40, Some(NOW)));
    drop(spool);
    let (mut spool, cuts) = open_spool(dir.path());
    assert!(cuts.is_empty());
    assert_eq!(spool.records(), 40);
    assert!(Spool::open(dir.path(), 1).is_err(), "two in one spool");
    assert!(drain_spool(&mut spool) == payloads);

    assert_eq!((spool.bytes(), spool.records()), (0, 0));
}

#[test]
fn a_damaged_segment_is_set_aside_and_its_good_records_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = open_spool(dir.path());
    let payloads: Vec<_> = (0..5_u8).map(|n| vec![n; 10]).collect();
    spool.append(&frame_all(&payloads), 5, NOW).unwrap();
    let path = only_segment(dir.path());
    let flip = |at: usize| {
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
    };

    flip(16 + 18 + 12);
    // While running, the records before the damage are read and the rest is set aside.
    let batch = spool.peek(1 << 20).unwrap().unwrap();
    assert_eq!(batch.payloads().count(), 1);
    drop(spool);

    // At a start, the damaged rest is kept in a file of its own.
    let (mut spool, cuts) = open_spool(dir.path());
    assert!(
        cuts[0]
            .kept
            .as_ref()
            .is_some_and(|p| fs::metadata(p).unwrap().len() == 4 * 18)
    );
    assert_eq!(drain_spool(&mut spool), payloads[..1]);
}

#[test]
fn a_full_spool_refuses_records_instead_of_dropping_any() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(dir.path(), 200).unwrap();
    let one = frame_all(&[vec![1; 60]]);
    assert!(spool.append(&one, 1, NOW).is_ok() && spool.append(&one, 1, NOW).is_ok());
    assert!(matches!(
        spool.append(&one, 1, NOW),
        Err(SpoolError::Full { .. })
    ));

    assert_eq!(drain_spool(&mut spool).len(), 2);
    assert!(spool.append(&one, 1, NOW).is_ok());
}

/// The kernel refuses to let a file grow. Runs in a process of its own, because the limit is one of
/// the process.
#[test]
fn a_full_disk_refuses_records_and_keeps_earlier_ones() {
    if std::env::var_os("SPOOL_LIMITED").is_none() {
        let me = std::env::current_exe().unwrap();
        let script = "trap '' XFSZ; ulimit -f 8; exec \"$0\" --exact \
            spool::tests::a_full_disk_refuses_records_and_keeps_earlier_ones --nocapture";
        let done = Command::new("bash")
            .arg("-c")
            .arg(script)
            .arg(me)
            .env("SPOOL_LIMITED", "1")
            .output()
            .unwrap();

        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        return;
    }

    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = open_spool(dir.path());
    let big = frame_all(&[vec![1; 5000]]);
    spool.append(&big, 1, NOW).unwrap();

    // Half of it fits, none of it stays, and the next record goes to a new segment.
    assert!(matches!(
        spool.append(&big, 1, NOW),
        Err(SpoolError::Io { .. })
    ));
    spool.append(&frame_all(&[vec![2; 10]]), 1, NOW).unwrap();
    assert!(spool.append(&frame_all(&[vec![3; 9000]]), 1, NOW).is_err());
    assert_eq!(spool.records(), 2);
    drop(spool);

    let (mut spool, cuts) = open_spool(dir.path());
    assert!(cuts.is_empty(), "{cuts:?}");
    assert_eq!(drain_spool(&mut spool), [vec![1; 5000], vec![2; 10]]);
}
