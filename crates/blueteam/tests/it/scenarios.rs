//! Generated activity with known truth: every attack found once, no near miss fired, nothing else.

use std::collections::BTreeMap;
use std::io::Write;

use collect::{Format, LineId, ParseContext, Parsed};
use detect::{Engine, Settings};
use model::{Detection, Span, Timestamp};
use replay::{Input, Options, run};
use scenario::{Activity, Expected, Plan, Random};

fn plan(seed: u64) -> Plan {
    let start = Timestamp::parse("2026-03-02T00:00:00Z").unwrap();
    Plan {
        seed,
        start,
        days: 28,
        people: 150,
        quiet_days: 14,
        repeat: 2,
    }
}

fn replay(lines: &[String], threads: usize) -> Vec<Detection> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for line in lines {
        writeln!(file, "{line}").unwrap();
    }

    let now = Timestamp::parse("2026-06-01T00:00:00Z").unwrap();
    let parser = (Format::named("audit").unwrap().parser)(ParseContext::utc(now));
    let mut engine = Engine::new(Settings::default()).unwrap();
    let options = Options {
        parser: parser.as_ref(),
        entry_rules: None,
        threads,
        now,
        max_clock_ahead: Span::mins(5),
    };

    let mut found = Vec::new();
    let inputs = [Input::File(file.path().to_owned())];
    let report = run(&inputs, &options, &mut engine, |change| {
        found.push(change.detection);
    })
    .unwrap();
    assert_eq!(report.events, lines.len() as u64, "{report:?}");

    found
}

/// What was found more or less often than expected.
fn difference(expected: &[Expected], found: &[Detection]) -> Vec<String> {
    let mut counts: BTreeMap<(String, String), i32> = BTreeMap::new();
    for e in expected {
        *counts
            .entry((e.rule.to_string(), e.entity.clone()))
            .or_default() -= 1;
    }

    for d in found {
        *counts
            .entry((d.rule_id.to_string(), d.entity.value.clone()))
            .or_default() += 1;
    }

    let wrong = counts.into_iter().filter(|(_, n)| *n != 0);
    wrong
        .map(|((rule, entity), n)| {
            format!(
                "{rule} {entity}: {}",
                if n < 0 { "missed" } else { "not expected" }
            )
        })
        .collect()
}

fn check(seed: u64, shuffle: Span) {
    check_plan(&plan(seed), shuffle);
}

fn check_plan(plan: &Plan, shuffle: Span) {
    let seed = plan.seed;
    let activity = Activity::make(plan);
    let expected: Vec<Expected> = activity
        .expected
        .iter()
        .filter(|e| {
            !activity
                .ssh
                .iter()
                .any(|(_, line)| line.contains(&format!(" {} ", e.entity)))
        })
        .cloned()
        .collect();

    assert!(
        expected.len() > 20,
        "the scenario has attacks: {}",
        expected.len()
    );

    let lines = activity.ndjson(shuffle, &mut Random::new(seed + 99));
    let found = replay(&lines, 1 + (seed % 2) as usize);
    let mut difference = difference(&expected, &found);
    difference.truncate(20);
    assert_eq!(difference, [] as [String; 0], "seed {seed}");
}

#[test]
fn every_attack_is_found_once_and_nothing_else() {
    check(1, Span::ZERO);
}

#[test]
fn the_same_when_events_come_up_to_twenty_seconds_out_of_order() {
    for seed in 2..4 {
        check(seed, Span::secs(20));
    }
}

#[test]
fn a_single_day_of_attacks_is_found_on_whatever_day_one_looks() {
    for day in 4..11 {
        let now = Timestamp::parse(&format!("2026-05-{day:02}T05:30:00Z")).unwrap();
        check_plan(&Plan::last_working_day(now, day), Span::ZERO);
    }
}

/// As the monitor does with a backlog: a daemon that has been waiting is given hours of events at
/// once.
#[test]
fn a_backlog_read_in_large_pieces_is_judged_like_its_events_one_by_one() {
    let now = Timestamp::parse("2026-05-06T05:30:00Z").unwrap();
    let activity = Activity::make(&Plan::last_working_day(now, 3));
    let lines = activity.ndjson(Span::ZERO, &mut Random::new(1));
    let parser = (Format::named("audit").unwrap().parser)(ParseContext::utc(now));
    let mut engine = Engine::new(Settings {
        grace: Span::mins(10),
        ..Settings::default()
    })
    .unwrap();

    let (mut clock, mut offset, mut found) = (now, 0_u64, BTreeMap::new());
    engine.advance_clock(clock);
    for piece in lines.chunks(3000) {
        for line in piece {
            offset += 1;
            match parser.parse(line.as_bytes(), LineId { file: 1, offset }) {
                Parsed::Event(event) => engine.push(&event),
                other => panic!("{other:?}"),
            }
        }

        clock = clock.plus(Span::millis(200));
        engine.advance_clock(clock);
        engine.drain(false, |change| {
            drop(found.insert(change.detection.fingerprint, change.detection));
        });
    }

    let ssh = |e: &&Expected| {
        activity
            .ssh
            .iter()
            .any(|(_, line)| line.contains(&format!(" {} ", e.entity)))
    };

    let expected: Vec<Expected> = activity
        .expected
        .iter()
        .filter(|e| !ssh(e))
        .cloned()
        .collect();
    let found: Vec<Detection> = found.into_values().collect();
    assert_eq!(difference(&expected, &found), [] as [String; 0]);
}
