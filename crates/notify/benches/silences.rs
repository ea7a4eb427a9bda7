//! What silences cost an alert: prints nanoseconds a question, with `argv[1]` silences of all kinds
//! (1,000 by default), most of which cover nothing.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark talks, and ends when it cannot run"
)]

use std::hint::black_box;
use std::time::Instant;

use model::{
    Alert, AlertId, AlertState, Entity, EntityKind, Fingerprint, RuleId, Severity, Silence,
    SilenceId, SilenceKind, SilenceScope, Timestamp,
};
use notify::Silences;
use uuid::Uuid;

/// Questions asked.
const ASKED: u32 = 2_000_000;

fn sample_silence(n: u32) -> Silence {
    let entity = match n % 3 {
        0 => format!("ip:198.51.{}.{}", n / 256 % 256, n % 256),
        1 => format!("ip:10.{}.{}.0/24", n / 256 % 256, n % 256),
        _ => format!("user:user{n}"),
    };

    Silence {
        mute_id: SilenceId(Uuid::from_u128(u128::from(n))),
        kind: SilenceKind::Exception,
        scope: SilenceScope {
            rule_id: Some(RuleId::builtin("brute_force")),
            source: None,
            tenant: None,
            entity: Some(entity.parse().expect("an entity")),
        },
        author: "bench".to_owned(),
        reason: "bench".to_owned(),
        ticket: None,
        starts_at: Timestamp::from_secs(0),
        ends_at: Timestamp::from_secs(100),
        ended_by: None,
    }
}

fn sample_alert(n: u32) -> Alert {
    let id = Uuid::from_u128(u128::from(n));
    let now = Timestamp::from_secs(50);
    Alert {
        alert_id: AlertId(id),
        rule_id: RuleId::builtin("brute_force"),
        rule_name: None,
        severity: Severity::High,
        title: String::new(),
        description: String::new(),
        entity: Entity {
            kind: EntityKind::Ip,
            value: format!("198.51.{}.{}", n / 256 % 256, n % 256),
        },
        entity_name: None,
        accounts: Vec::new(),
        hosts: Vec::new(),
        source: "audit_db".to_owned(),
        services: Vec::new(),
        tenant: None,
        first_seen: now,
        last_seen: now,
        event_count: 6,
        event_ids: Vec::new(),
        nist_controls: Vec::new(),
        cui_involved: false,
        incident_id: None,
        state: AlertState::Open,
        fingerprint: Fingerprint(id),
        acknowledged_by: None,
        acknowledged_at: None,
        created_at: now,
        muted_by: None,
    }
}

fn main() {
    let count = std::env::args()
        .skip(1)
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(1_000);
    let silences = Silences::new((0..count).map(sample_silence).collect());
    let alerts: Vec<Alert> = (0..4096).map(sample_alert).collect();
    let now = Timestamp::from_secs(50);
    let began = Instant::now();

    let mut covered = 0_u32;
    for alert in alerts.iter().cycle().take(ASKED as usize) {
        covered += u32::from(black_box(silences.covering(black_box(alert), now)).is_some());
    }

    println!(
        "{:.0} {covered}",
        began.elapsed().as_nanos() as f64 / f64::from(ASKED)
    );
}
