//! Whatever bytes come, reading them ends without a panic, and within bounds.

use proptest::prelude::*;
use redteam::importers::{self, Hints};

const SEEDS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../fuzz/seeds/redteam_report"
);

fn seeds() -> Vec<Vec<u8>> {
    let folder = std::fs::read_dir(SEEDS).into_iter().flatten();
    folder
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path()).ok())
        .collect()
}

fn check(bytes: &[u8]) {
    if let Ok(report) = importers::read(bytes, Hints::default()) {
        for finding in &report.findings {
            assert_eq!(finding.fingerprint.len(), 64);
            assert!(finding.title.len() <= 300 && !finding.title.contains('\0'));
        }
        let again = importers::read(bytes, Hints::default());
        assert_eq!(again.as_ref(), Ok(&report));
    }
    for format in importers::ALL {
        let hints = Hints {
            format: Some(format),
            target: Some("t"),
        };
        let _ = importers::read(bytes, hints);
    }
}

#[test]
fn each_format_has_a_seed_that_gives_a_finding() {
    let reports: Vec<_> = seeds()
        .iter()
        .filter_map(|seed| importers::read(seed, Hints::default()).ok())
        .collect();

    for format in importers::ALL {
        assert!(
            reports
                .iter()
                .any(|r| r.format == format.name && !r.findings.is_empty()),
            "{} has no seed that gives a finding",
            format.name
        );
    }
}

proptest! {
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&bytes);
    }

    #[test]
    fn any_text_that_looks_like_it(text in r"[\[{<][ -~]{0,200}") {
        check(text.as_bytes());
    }

    #[test]
    fn changed_seeds(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut seed = which.get(&seeds()).clone();
        for (place, byte) in changes {
            let at = place.index(seed.len());
            seed[at] = byte;
        }
        check(&seed);
        seed.truncate(cut.index(seed.len() + 1));
        check(&seed);
    }
}
