//! Facts for every check: of a system that is as the requirement wants it, of one that is not, and
//! of two that look compliant and are not.
//!
//! All of them are the facts of one small office, changed where it matters. The marks say what the
//! check must find for each of its objectives, in order: `+` met, `-` not met, `?` can't tell.

mod access;
mod audit;
mod configuration;
mod identification;
mod integrity;
mod program;

use std::collections::BTreeMap;

use model::facts::{
    AccountFacts, AdvisoryFacts, AlertFacts, DaemonFacts, DatabaseFacts, EventFacts, EventType,
    Facts, FeedFacts, HostFacts, IncidentFacts, InventoryFacts, ProgrammeFacts, RuleFacts,
    SourceFacts, TransportFacts, Way,
};
use model::{Span, Timestamp};

use super::{ALL, find};
use crate::checks::watching::ATTACK_RULES;
use crate::checks::{CheckResult, Verdict};

/// The fixtures of one check.
struct Fixtures {
    check: &'static str,
    /// A system that is as the requirement wants it.
    compliant: Case,
    /// A system with a deficiency.
    deficient: Case,
    /// Systems that look compliant and are not.
    deceits: [Deceit; 2],
}

struct Case {
    expected: &'static str,
    change: fn(&mut Facts),
}

struct Deceit {
    /// How it works.
    how: &'static str,
    expected: &'static str,
    /// Words of the result that ask for what would uncover it.
    uncovered_by: &'static str,
    /// What it changes of what blueteam sees; [`unchanged`] where that is nothing.
    change: fn(&mut Facts),
}

const fn case(expected: &'static str, change: fn(&mut Facts)) -> Case {
    Case { expected, change }
}

const fn deceit(
    how: &'static str,
    expected: &'static str,
    uncovered_by: &'static str,
    change: fn(&mut Facts),
) -> Deceit {
    Deceit {
        how,
        expected,
        uncovered_by,
        change,
    }
}

fn all() -> impl Iterator<Item = &'static Fixtures> {
    [
        access::FIXTURES,
        audit::FIXTURES,
        configuration::FIXTURES,
        identification::FIXTURES,
        integrity::FIXTURES,
        program::FIXTURES,
    ]
    .into_iter()
    .flatten()
}

/// Runs a check on the office's facts after a change, as from recorded evidence.
fn run(check: &str, change: fn(&mut Facts)) -> Vec<CheckResult> {
    let check = find(check).unwrap();
    let mut facts = office();
    change(&mut facts);
    check.run(&check.narrow(&facts))
}

fn marks(results: &[CheckResult]) -> String {
    let mark = |result: &CheckResult| match result.verdict {
        Verdict::Met { .. } => '+',
        Verdict::NotMet { .. } => '-',
        Verdict::CantTell { .. } => '?',
    };
    results.iter().map(mark).collect()
}

#[test]
fn every_check_has_fixtures() {
    for check in ALL {
        let own: Vec<_> = all().filter(|f| f.check == check.id).collect();
        assert_eq!(own.len(), 1, "{} needs fixtures, once", check.id);

        let [first, second] = &own[0].deceits;
        assert_ne!(first.how, second.how, "{}: two deceits", check.id);
        for deceit in [first, second] {
            assert!(
                deceit.how.ends_with('.') && deceit.how.split(' ').count() >= 6,
                "{}: a sentence on how the deceit works: {}",
                check.id,
                deceit.how
            );
        }
    }
    assert_eq!(all().count(), ALL.len(), "fixtures of a check that is gone");
}

#[test]
fn checks_decide_their_fixtures() {
    for fixtures in all() {
        for (what, case) in [
            ("compliant", &fixtures.compliant),
            ("deficient", &fixtures.deficient),
        ] {
            let results = run(fixtures.check, case.change);
            assert_eq!(
                marks(&results),
                case.expected,
                "{}, {what}: {results:#?}",
                fixtures.check
            );
        }
    }
}

#[test]
fn no_deceit_yields_met() {
    for fixtures in all() {
        for deceit in &fixtures.deceits {
            let results = run(fixtures.check, deceit.change);
            let marks = marks(&results);
            let about = format!("{}: {}: {results:#?}", fixtures.check, deceit.how);

            assert!(!marks.contains('+'), "{about}");
            assert_eq!(marks, deceit.expected, "{about}");
            assert!(
                results
                    .iter()
                    .any(|r| r.verdict.text().contains(deceit.uncovered_by)),
                "{about}"
            );
        }
    }
}

#[test]
fn undecided_results_state_their_coverage() {
    let mut facts = office();
    inventory(&mut facts).reporting = Some([("fileserver".to_owned(), 30)].into());
    for check in ALL {
        assert!(!check.scope.population.is_empty() && !check.scope.cannot_see.is_empty());
        for result in check.run(&check.narrow(&facts)) {
            if let Verdict::CantTell { saw, .. } = &result.verdict {
                assert!(saw.starts_with("seen "), "{}: {saw}", check.id);
            }
        }
    }

    let text = |check: &str| {
        let check = find(check).unwrap();
        check.run(&check.narrow(&facts))[0].verdict.text()
    };
    for (check, coverage) in [
        ("au_3_3_1", "seen on 1 of 5 hosts: "),
        ("cm_3_4_1", "seen on 1 of 5 hosts: "),
        ("ac_3_1_1", "seen for 12 of an unknown number of accounts: "),
        ("ca_3_12_1", "seen for 320 of 320 objectives"),
        ("ca_3_12_3", "seen for 47 of 110 requirements: "),
    ] {
        assert!(text(check).starts_with(coverage), "{}", text(check));
    }
}

/// Facts of an office that does what it can, and of which everything is seen that blueteam can see.
pub(super) fn office() -> Facts {
    let mut facts = Facts::none(Timestamp::from_secs(1_800_000_000), 30);
    let now = facts.taken_at;

    facts.events = Some(events());
    facts.sources = Some(vec![
        source("syslog:/var/log/remote.log", "syslog", now),
        source("audit_db", "audit_db", now),
        source("nginx:/var/log/nginx/access.log", "nginx", now),
    ]);
    facts.daemon = Some(DaemonFacts {
        running: true,
        pulse: Some(now),
        unread_since: None,
    });
    facts.database = Some(DatabaseFacts {
        owners: Some(Vec::new()),
        superusers: names(&["postgres"]),
        managers: names(&["carla"]),
        readers: names(&["blueteam_reader"]),
        password_encryption: "scram-sha-256".to_owned(),
        ssl: true,
        checksums: true,
        listen_addresses: "localhost".to_owned(),
        version: "17.2".to_owned(),
        ..DatabaseFacts::default()
    });
    facts.accounts = Some(AccountFacts {
        active: counts(&[("admin", 2), ("user", 10)]),
        schemes: counts(&[("argon2id", 12)]),
        changed: Some(8),
        changed_without_history: Some(0),
        keys: 3,
        ..AccountFacts::default()
    });
    facts.rules = Some(ATTACK_RULES.map(|id| rule(id, now)).to_vec());

    facts.alerts = Some(AlertFacts {
        by_severity: counts(&[("high", 2), ("medium", 5)]),
        acknowledged: 7,
        audit_failures: 1,
        deliveries: counts(&[("email delivered", 9)]),
        to_people: Some(vec!["email".to_owned()]),
        silences: Some(0),
        sample: Vec::new(),
    });
    facts.incidents = Some(IncidentFacts {
        by_status: counts(&[("closed", 2), ("contained", 1)]),
        ..IncidentFacts::default()
    });
    facts.programme = Some(program(now));
    facts.advisories = Some(AdvisoryFacts {
        feeds: vec![FeedFacts {
            name: "kev".to_owned(),
            items: 1300,
            read_at: now.minus(Span::days(1)),
            failed: false,
        }],
        components: 900,
        open: 2,
        overdue: 0,
        answered: 4,
    });

    facts.transport = Some(TransportFacts {
        ways: vec![Way {
            name: "mail to mail.example:465".to_owned(),
            local: false,
            encrypted: true,
        }],
        channels: names(&["email"]),
        audit_failures: Some(names(&["Ann Archer"])),
    });
    facts.host = Some(machine(now));
    facts.inventory = Some(InventoryFacts {
        in_scope: names(&ASSETS),
        confirmed: Some(now.minus(Span::days(60))),
        this_host: Some("monitor".to_owned()),
        reporting: Some(ASSETS.map(|name| (name.to_owned(), 30)).into()),
    });

    facts
}

const ASSETS: [&str; 5] = ["bastion", "buildserver", "cad-1", "fileserver", "monitor"];
fn events() -> EventFacts {
    let types = vec![
        event_type(["syslog", "auth", "login"], 900),
        event_type(["syslog", "auth", "login_failed"], 40),
        event_type(["syslog", "auth", "account_locked"], 2),
        event_type(["audit_db", "auth", "mfa_verified"], 300),
        event_type(["audit_db", "auth", "logout"], 280),
        event_type(["audit_db", "admin", "role_change"], 12),
        event_type(["audit_db", "data", "export"], 500),
    ];
    EventFacts {
        total: types.iter().map(|t| t.events).sum(),
        types,
        oldest: Some(Timestamp::from_secs(1_700_000_000)),
        ..EventFacts::default()
    }
}

fn event_type([source, category, action]: [&str; 3], events: u64) -> EventType {
    EventType {
        source: source.to_owned(),
        category: category.to_owned(),
        action: action.to_owned(),
        events,
        with_user: events,
        with_address: events,
        ..EventType::default()
    }
}

pub(super) fn source(id: &str, kind: &str, now: Timestamp) -> SourceFacts {
    SourceFacts {
        source_id: id.to_owned(),
        last_received: Some(now.minus(Span::mins(5))),
        rejected: 0,
        open_gaps: 0,
        gaps: 0,
        skew_ms: Some(20),
        kind: Some(kind.to_owned()),
        first_seen: Some(now.minus(Span::days(400))),
        understood: Some(100_000),
        unread: Some(0),
    }
}

fn rule(id: &str, now: Timestamp) -> RuleFacts {
    RuleFacts {
        rule_id: id.to_owned(),
        enabled: true,
        controls: Vec::new(),
        last_fired: None,
        last_proven: Some(now.minus(Span::days(20))),
        proof_failed: false,
        blind_to: Some(Vec::new()),
        partly_blind_to: Vec::new(),
        changed_parameters: Vec::new(),
    }
}

fn program(now: Timestamp) -> ProgrammeFacts {
    ProgrammeFacts {
        objectives: 320,
        decided_in_a_year: 320,
        not_met: 3,
        plans_completed: 2,
        checks_run: 1410,
        queries: 40,
        last_review: Some(now.minus(Span::days(20))),
        assets: counts(&[("cui", 3), ("security_protection", 2)]),
        plan_approved: Some(now.minus(Span::days(100))),
        ..ProgrammeFacts::default()
    }
}

fn machine(now: Timestamp) -> HostFacts {
    HostFacts {
        os: Some("Debian GNU/Linux 12".to_owned()),
        fips: Some(true),
        data_encrypted: Some(true),
        clock_synchronised: Some(true),
        time_servers: names(&["time.nist.gov"]),
        open_ports: vec![22, 443],
        packages: Some(412),
        drift: Some(Vec::new()),
        sshd: Some(settings(&[("permitrootlogin", "no")])),
        lock_after: Some(5),
        pwquality: Some(settings(&[("minlen", "14")])),
        remembered: Some(24),
        shell_timeout: Some(900),
        automatic_updates: Some(true),
        updates_checked: Some(now.minus(Span::hours(10))),
        malware_scanner: Some("ClamAV".to_owned()),
        signatures_updated: Some(now.minus(Span::hours(5))),
        kernel: Some(settings(&[("kernel.yama.ptrace_scope", "1")])),
        services: Some(names(&["blueteam.service", "ssh.service"])),
        writable: Some(Vec::new()),
        ..HostFacts::default()
    }
}

fn names(of: &[&str]) -> Vec<String> {
    of.iter().map(ToString::to_string).collect()
}

fn counts(of: &[(&str, u64)]) -> BTreeMap<String, u64> {
    of.iter()
        .map(|(name, n)| ((*name).to_owned(), *n))
        .collect()
}

fn settings(of: &[(&str, &str)]) -> BTreeMap<String, String> {
    of.iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// Nothing is to be changed about the office.
fn unchanged(_: &mut Facts) {}

/// Returns the facts of a rule.
fn rule_named<'f>(facts: &'f mut Facts, id: &str) -> &'f mut RuleFacts {
    let found = rules(facts).iter_mut().find(|rule| rule.rule_id == id);
    found.unwrap()
}

macro_rules! sections {
    ($($name:ident: $field:ident -> $type:ty),+ $(,)?) => {
        $(fn $name(facts: &mut Facts) -> &mut $type {
            facts.$field.as_mut().unwrap()
        })+
    };
}

sections! {
    event_facts: events -> EventFacts,
    sources: sources -> Vec<SourceFacts>,
    daemon: daemon -> DaemonFacts,
    database: database -> DatabaseFacts,
    accounts: accounts -> AccountFacts,
    rules: rules -> Vec<RuleFacts>,
    alerts: alerts -> AlertFacts,
    incidents: incidents -> IncidentFacts,
    programme: programme -> ProgrammeFacts,
    advisories: advisories -> AdvisoryFacts,
    transport: transport -> TransportFacts,
    host: host -> HostFacts,
    inventory: inventory -> InventoryFacts,
}
