//! The rules compared with a second implementation of their definitions, which keeps every event
//! and examines all of them each time: slow, plain, and with nothing in common with the engine. The
//! intervals between events hit the ends of windows exactly.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;

use super::*;

const STEPS: [&[i64]; 3] = [
    &[0, 1, 2, 5, 10, 30, 59, 60, 61],
    &[1, 1, 2, 10, 30, 60, 100, 120, 299, 300, 301, 600],
    &[60, 300, 600, 1799, 1800, 3600, 3601, 7200, 20_000],
];
const IPS: [&str; 8] = [
    "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.8",
];
const AGENTS: [&str; 4] = ["A/1", "B/2", "C/3", "D/4"];
const SESSIONS: [&str; 6] = ["s1", "s2", "s3", "s4", "s5", "s6"];
const ROLES: [Option<&str>; 4] = [None, Some("user"), Some("admin"), Some("analyst")];
const PATHS: [&str; 5] = [
    "/api/x",
    "/admin/x",
    "/api/admin/",
    "/x/settings.php",
    "/settings.phpx",
];
const BYTES: [u64; 4] = [0, 250_000_000, 499_999_999, 500_000_001];
/// Kinds of events, each with the rule that is mainly about it.
const KINDS: [(Category, &str, &str); 13] = [
    (Category::Auth, "login_failed", "brute_force"),
    (Category::Auth, "login", "credential_stuffing"),
    (Category::Auth, "login_failed", "credential_stuffing"),
    (Category::Auth, "password_change", "account_takeover"),
    (Category::Auth, "logout", "session_anomaly"),
    (Category::Data, "export_data", "data_exfiltration"),
    (Category::Data, "file_download", "data_exfiltration"),
    (Category::Ai, "guardrail_triggered", "ai_abuse"),
    (Category::Ai, "chat", ""),
    (Category::Admin, "user_update", "privilege_escalation"),
    (Category::Access, "api_request", "anomalous_access"),
    (Category::Access, "page", "cross_tenant"),
    (Category::Data, "view", "after_hours"),
];

/// Makes events from random bytes; many of them are of the kinds that the rule is about.
fn random_drafts(rule: &str, steps: &[i64], bytes: &[[u8; 12]]) -> Vec<Draft> {
    // One address tries many accounts.
    let ips = if rule == "credential_stuffing" { 1 } else { 3 };
    let about: Vec<_> = KINDS.iter().filter(|(.., of)| *of == rule).collect();
    let mut secs = 0;
    let mut draft = |i: usize, b: &[u8; 12]| {
        let pick = |n: usize, of: usize| usize::from(b[n]) % of;
        secs += steps[pick(0, steps.len())];
        let kind = if b[1] < 85 && !about.is_empty() {
            about[pick(2, about.len())]
        } else {
            &KINDS[pick(2, KINDS.len())]
        };

        let mut metadata = json!({ "bytes": BYTES[pick(3, 4)] });
        if let Some(role) = ROLES[pick(4, 4)] {
            metadata["role"] = role.into();
        }

        match pick(5, 3) {
            0 => metadata["username"] = format!("u{}", b[5] / 12).into(),
            1 => metadata["email"] = format!("u{}@x", b[5] / 12).into(),
            _ => {}
        }

        if b[6] < 60 {
            metadata["home_instance_id"] =
                Uuid::from_u128(1 + pick(6, 3) as u128).to_string().into();
        }

        let result = [
            Outcome::Success,
            Outcome::Success,
            Outcome::Failure,
            Outcome::Denied,
        ][pick(7, 4)];
        Draft {
            n: i as u128,
            result: if matches!(kind.1, "login_failed") {
                Outcome::Failure
            } else {
                result
            },
            user: (b[8] > 10).then(|| 1 + pick(8, 2) as u128),
            // New addresses appear over time.
            ip: (b[9] > 10).then(|| IPS[(pick(9, ips) + i / 60) % IPS.len()]),
            agent: Some(AGENTS[(pick(10, 2) + i / 150) % AGENTS.len()]),
            session: (b[10] > 20).then(|| SESSIONS[pick(10, 6)]),
            resource: Some(PATHS[pick(11, 5)].to_owned()),
            tenant: (b[11] > 128).then(|| 1 + pick(11, 3) as u128),
            cui: pick(7, 7) == 0,
            metadata,
            ..draft_event(secs, kind.0, kind.1)
        }
    };

    let mut drafts: Vec<Draft> = bytes.iter().enumerate().map(|(i, b)| draft(i, b)).collect();
    if rule == "cross_tenant" {
        // A login counts for an access of the same instant, whichever arrives first, but the
        // definition sees what arrived alone: no two events share an instant here.
        for (i, draft) in drafts.iter_mut().enumerate() {
            draft.at = draft.at.plus(Span::micros(i as i64));
        }
    }

    drafts
}

impl Draft {
    fn secs(&self) -> i64 {
        self.at.as_secs()
    }
    fn metadata_text(&self, key: &str) -> Option<String> {
        self.metadata[key].as_str().map(str::to_owned)
    }
    fn user_text(&self) -> Option<String> {
        self.user.map(|user| Uuid::from_u128(user).to_string())
    }
    fn is_success(&self) -> bool {
        self.result == Outcome::Success
    }
    fn fails_to_log_in(&self) -> bool {
        self.category == Category::Auth
            && (self.action == "login_failed" || (self.action == "login" && !self.is_success()))
    }
    fn logs_in(&self) -> bool {
        self.category == Category::Auth
            && self.action == "login"
            && self.is_success()
            && self.user.is_some()
    }
    fn is_export(&self) -> bool {
        self.category == Category::Data && matches!(self.action, "export_data" | "file_download")
    }
}

/// Returns the events within `secs` before the last one, including it.
fn events_within(events: &[Draft], secs: i64) -> impl Iterator<Item = &Draft> {
    let from = events.last().map_or(i64::MIN, |now| now.secs() - secs);
    events.iter().filter(move |event| event.secs() > from)
}

/// Returns key and entity for each entity for which the rule's condition holds at the last event.
/// The key is the entity, or the entity with a period.
type Holds = fn(&[Draft]) -> Vec<(String, String)>;

fn entity_if(entity: &str, holds: bool) -> Vec<(String, String)> {
    holds
        .then(|| (entity.to_owned(), entity.to_owned()))
        .into_iter()
        .collect()
}

fn brute_force(events: &[Draft]) -> Vec<(String, String)> {
    let [.., now] = events else { return Vec::new() };
    let (true, Some(ip)) = (now.fails_to_log_in(), now.ip) else {
        return Vec::new();
    };
    entity_if(
        ip,
        events_within(events, 300)
            .filter(|e| e.fails_to_log_in() && e.ip == Some(ip))
            .count()
            > 5,
    )
}

fn credential_stuffing(events: &[Draft]) -> Vec<(String, String)> {
    let [.., now] = events else { return Vec::new() };
    let account = |e: &Draft| {
        e.metadata_text("username")
            .or_else(|| e.metadata_text("email"))
            .or_else(|| e.user_text())
    };

    let (true, Some(ip), Some(_)) = (now.fails_to_log_in(), now.ip, account(now)) else {
        return Vec::new();
    };
    let accounts = events_within(events, 600)
        .filter(|e| e.fails_to_log_in() && e.ip == Some(ip))
        .filter_map(account);
    entity_if(ip, accounts.collect::<BTreeSet<_>>().len() > 10)
}

fn privilege_escalation(events: &[Draft]) -> Vec<(String, String)> {
    let [.., now] = events else { return Vec::new() };
    let (Some(user), Some(role)) = (now.user_text(), now.metadata_text("role")) else {
        return Vec::new();
    };
    let path = now.resource.as_deref().unwrap_or_default();
    let admin = path.starts_with("/admin/")
        || path.starts_with("/api/admin/")
        || path.ends_with("/settings.php");

    let self_service = now.action == "password_change";
    entity_if(
        &user,
        (admin || now.category == Category::Admin) && !self_service && role != "admin",
    )
}

fn anomalous_access(events: &[Draft]) -> Vec<(String, String)> {
    let [before @ .., now] = events else {
        return Vec::new();
    };
    let (Some(user), true) = (now.user_text(), now.is_success()) else {
        return Vec::new();
    };
    let seen: Vec<_> = before
        .iter()
        .filter(|e| e.user == now.user && e.is_success())
        .collect();

    let known = seen.len() >= 20 && seen[seen.len() - 1].secs() - seen[0].secs() >= 86_400;
    let new_ip = now.ip.is_some() && seen.iter().all(|e| e.ip != now.ip);
    let new_agent = now.agent.is_some() && seen.iter().all(|e| e.agent != now.agent);

    entity_if(&user, known && (new_ip || new_agent))
}

fn data_exfiltration(events: &[Draft]) -> Vec<(String, String)> {
    let [before @ .., now] = events else {
        return Vec::new();
    };
    let (Some(user), true) = (now.user_text(), now.is_export()) else {
        return Vec::new();
    };
    let bytes = |e: &Draft| e.metadata["bytes"].as_f64().unwrap_or_default();
    let mine = |e: &&Draft| e.is_export() && e.user == now.user;

    let mut hours: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
    for e in before.iter().filter(mine) {
        let hour = e.secs().div_euclid(3600);
        // An hour that overlaps the last 60 minutes is not past yet.
        if (hour + 1) * 3600 <= now.secs() - 3600 && hour * 3600 >= now.secs() - 14 * 86_400 {
            let (count, sum) = hours.entry(hour).or_default();
            (*count, *sum) = (*count + 1.0, *sum + bytes(e));
        }
    }

    let mean = |of: fn(&(f64, f64)) -> f64| {
        hours.values().map(of).sum::<f64>() / (hours.len().max(1) as f64)
    };
    let (count, sum) = events_within(events, 3600)
        .filter(mine)
        .fold((0.0, 0.0), |(n, sum), e| (n + 1.0, sum + bytes(e)));
    entity_if(
        &user,
        count > (5.0 * mean(|h| h.0)).clamp(20.0, 1000.0)
            || sum > (5.0 * mean(|h| h.1)).clamp(500e6, 10e9),
    )
}

fn ai_abuse(events: &[Draft]) -> Vec<(String, String)> {
    let [.., now] = events else { return Vec::new() };
    let triggers = |e: &Draft| {
        e.category == Category::Ai && e.action == "guardrail_triggered" && e.user == now.user
    };
    let (Some(user), true) = (now.user_text(), triggers(now)) else {
        return Vec::new();
    };

    entity_if(
        &user,
        events_within(events, 600).filter(|e| triggers(e)).count() >= 3,
    )
}

fn after_hours(events: &[Draft]) -> Vec<(String, String)> {
    let [.., now] = events else { return Vec::new() };
    let (Some(user), true) = (now.user_text(), now.cui) else {
        return Vec::new();
    };
    let (mut evening, hour) = (
        now.secs().div_euclid(86_400),
        now.secs().rem_euclid(86_400) / 3600,
    );

    // January 1, 1970 was a Thursday.
    let off = |day: i64| (day + 3).rem_euclid(7) > 4;
    if !off(evening) && (7..19).contains(&hour) {
        return Vec::new();
    }

    // The period is named after the working day on whose evening it began.
    evening -= i64::from(hour < 7);
    while off(evening) {
        evening -= 1;
    }

    vec![(format!("{user} {evening}"), user)]
}

fn account_takeover(events: &[Draft]) -> Vec<(String, String)> {
    let [before @ .., now] = events else {
        return Vec::new();
    };
    let (Some(user), Some(ip)) = (now.user_text(), now.ip) else {
        return Vec::new();
    };
    let changed_for_another = |change: &Draft| {
        let changed =
            change.user == now.user && change.action == "password_change" && change.is_success();
        let known = |e: &Draft| {
            e.user == now.user && e.is_success() && e.ip == Some(ip) && e.secs() < change.secs()
        };
        changed && (1..1800).contains(&(now.secs() - change.secs())) && !before.iter().any(known)
    };

    let touches = now.category == Category::Data || now.cui;
    entity_if(&user, touches && before.iter().any(changed_for_another))
}

fn session_anomaly(events: &[Draft]) -> Vec<(String, String)> {
    let [.., now] = events else { return Vec::new() };
    let Some(session) = now.session else {
        return Vec::new();
    };
    let is_logout = |e: &Draft| e.action == "logout";
    let mine = |e: &&Draft| e.session == Some(session);
    let elsewhere = events_within(events, 600)
        .filter(mine)
        .any(|e| !is_logout(e) && e.ip.is_some() && e.ip != now.ip);

    // First and last logout since the last login.
    let mut logouts: Option<(i64, i64)> = None;
    for e in events.iter().filter(mine) {
        match e {
            e if is_logout(e) => logouts = Some((logouts.map_or(e.secs(), |l| l.0), e.secs())),
            e if e.logs_in() => logouts = None,
            _ => {}
        }
    }

    let over =
        logouts.is_some_and(|(first, last)| now.secs() > first && now.secs() - last < 86_400);
    let replayed = !is_logout(now) && ((now.ip.is_some() && elsewhere) || over);
    let mut found = entity_if(session, replayed);
    if let (Some(user), Some(_)) = (now.user_text(), now.ip) {
        let uses = || {
            events_within(events, 300)
                .filter(|e| e.user == now.user && e.session.is_some() && e.ip.is_some())
        };
        let sessions: BTreeSet<_> = uses().map(|e| e.session).collect();
        let ips: BTreeSet<_> = uses().map(|e| e.ip).collect();
        found.extend(entity_if(&user, sessions.len() > 3 && ips.len() >= 2));
    }

    found
}

fn cross_tenant(events: &[Draft]) -> Vec<(String, String)> {
    let [before @ .., now] = events else {
        return Vec::new();
    };
    let (Some(user), Some(tenant)) = (now.user_text(), now.tenant) else {
        return Vec::new();
    };
    let login = before
        .iter()
        .rev()
        .find(|e| e.user == now.user && e.logs_in() && e.tenant.is_some());

    let login = login
        .and_then(|e| e.tenant)
        .map(|id| Uuid::from_u128(id).to_string());
    let home = now.metadata_text("home_instance_id").or(login);
    let concerns = matches!(
        now.category,
        Category::Access | Category::Data | Category::Admin
    );

    entity_if(
        &user,
        concerns && home.is_some_and(|home| home != Uuid::from_u128(tenant).to_string()),
    )
}

/// Each rule with its cooldown in seconds and its definition.
const RULES: [(&str, i64, Holds); 10] = [
    ("brute_force", 300, brute_force),
    ("credential_stuffing", 600, credential_stuffing),
    ("privilege_escalation", 3600, privilege_escalation),
    ("anomalous_access", 3600, anomalous_access),
    ("data_exfiltration", 3600, data_exfiltration),
    ("ai_abuse", 600, ai_abuse),
    ("after_hours", i64::MAX, after_hours),
    ("account_takeover", 1800, account_takeover),
    ("session_anomaly", 600, session_anomaly),
    ("cross_tenant", 3600, cross_tenant),
];

/// Returns entity and last extension of each detection by the definition.
fn expected_detections(events: &[Draft], cooldown: i64, holds: Holds) -> Vec<(String, i64)> {
    let (mut open, mut all): (HashMap<String, usize>, Vec<(String, i64)>) =
        (HashMap::new(), Vec::new());
    for (i, now) in events.iter().enumerate() {
        for (key, entity) in holds(&events[..=i]) {
            match open.get(&key).map(|at| &mut all[*at].1) {
                Some(last) if now.secs() - *last < cooldown => *last = now.secs(),
                _ => {
                    open.insert(key, all.len());
                    all.push((entity, now.secs()));
                }
            }
        }
    }

    all.sort();
    all
}

fn engine_detections(rule: &str, events: &[Draft]) -> Vec<(String, i64)> {
    let found = run_events(only_rule(rule), events);
    let fingerprints: BTreeSet<_> = found.iter().map(|d| d.fingerprint.0).collect();
    assert_eq!(
        fingerprints.len(),
        found.len(),
        "{rule}: two detections would be one alert"
    );

    let mut all: Vec<_> = found
        .into_iter()
        .map(|d| (d.entity.value, d.last_seen.as_secs()))
        .collect();
    all.sort();

    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn engine_agrees_with_the_definitions(bytes in prop::collection::vec(any::<[u8; 12]>(), 1..500)) {
        for (rule, cooldown, holds) in RULES {
            for steps in &STEPS {
                let events = random_drafts(rule, steps, &bytes);
                prop_assert_eq!(engine_detections(rule, &events), expected_detections(&events, cooldown, holds), "{} at {:?}", rule, steps);
            }
        }
    }
}

/// Otherwise the comparison above would compare nothing with nothing.
#[test]
fn random_events_fire_every_rule() {
    let mut state = 7_u64;
    let mut byte = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };

    let bytes: Vec<[u8; 12]> = (0..500).map(|_| std::array::from_fn(|_| byte())).collect();
    for (rule, cooldown, holds) in RULES {
        let found = |steps: &&[i64]| {
            expected_detections(&random_drafts(rule, steps, &bytes), cooldown, holds).len()
        };
        let all: Vec<usize> = STEPS.iter().map(found).collect();
        assert!(all.iter().any(|n| *n > 1), "{rule}: {all:?}");
    }
}
