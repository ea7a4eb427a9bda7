//! Custom rules (Sigma).

use super::*;
use crate::sigma::{Limits, Sigma, advice};

const SHELL: &str = "title: Shell
id: 0b6f0ea4-3f6c-4b0a-9d8e-1d2c3b4a5f60
name: shell
tags: [attack.t1059, nist.800-171.3.14.7]
logsource: {product: blueteam}
detection:
    selection:
        action: open_shell
        metadata.host|startswith: prod-
    condition: selection
level: critical
";

const MANY: &str = "title: Many shells
id: 0b6f0ea4-3f6c-4b0a-9d8e-1d2c3b4a5f61
correlation:
    type: event_count
    rules: [shell]
    group-by: [ip_address]
    timespan: 5m
    condition: {gte: 3}
level: high
";

fn shell_event(secs: i64, ip: &'static str) -> Draft {
    draft_event(secs, Category::Admin, "open_shell")
        .ip(ip)
        .with_metadata(json!({"host": "prod-1", "role": "admin"}))
}

fn load_rules(files: &[(&str, &str)]) -> (Sigma, Vec<String>) {
    let files: Vec<(String, String)> = files
        .iter()
        .map(|(f, t)| ((*f).to_owned(), (*t).to_owned()))
        .collect();
    let (sigma, errors) = Sigma::load(&files, Limits::default());
    (
        sigma,
        errors
            .into_iter()
            .map(|e| format!("{}: {}", e.file, e.message))
            .collect(),
    )
}

fn matches_of(sigma: Sigma, events: &[Draft]) -> Vec<(String, String)> {
    let mut engine = new_engine(only_rule("ai_abuse"));
    engine.set_sigma(sigma);
    let found = run_in(&mut engine, events);
    found
        .into_iter()
        .map(|d| (d.rule_id.as_str()[35..].to_owned(), d.entity.value))
        .collect()
}

#[test]
fn detection_rules_fire() {
    let (sigma, errors) = load_rules(&[("shell.yml", SHELL)]);
    assert_eq!(errors, [] as [&str; 0]);
    let info = sigma.infos().next().unwrap();
    assert_eq!(
        (info.attack, info.controls[0].0.as_ref()),
        (&["T1059"][..], "3.14.7")
    );

    let elsewhere = shell_event(1, "192.0.2.2").with_metadata(json!({"host": "test-1"}));
    assert_eq!(
        matches_of(sigma, &[shell_event(0, "192.0.2.1"), elsewhere]),
        [("0".to_owned(), "192.0.2.1".to_owned())]
    );
}

#[test]
fn reloading_the_same_rules_leaks_no_memory() {
    let info = |text: &str| {
        let (sigma, _) = load_rules(&[("shell.yml", text)]);
        std::ptr::from_ref(sigma.infos().next().unwrap()).addr()
    };
    assert_eq!(info(SHELL), info(SHELL));
    assert_ne!(info(SHELL), info(&SHELL.replace("critical", "high")));
}

#[test]
fn correlation_rules_fire_within_their_timespan() {
    let both = [("many.yml", [SHELL, MANY].join("---\n"))];
    let load_both = || load_rules(&both.each_ref().map(|(f, t)| (*f, t.as_str())));
    let of_many = |events: &[Draft]| {
        let (sigma, errors) = load_both();
        assert_eq!(errors, [] as [&str; 0]);
        matches_of(sigma, events)
            .into_iter()
            .filter(|(id, _)| id == "1")
            .map(|(_, ip)| ip)
            .collect::<Vec<_>>()
    };

    assert_eq!(
        of_many(&[0, 1, 2].map(|n| shell_event(n, "192.0.2.1"))),
        ["192.0.2.1"]
    );
    assert_eq!(
        of_many(&[0, 1].map(|n| shell_event(n, "192.0.2.1"))),
        [] as [&str; 0]
    );

    assert_eq!(
        of_many(&[0, 1, 400].map(|n| shell_event(n, "192.0.2.1"))),
        [] as [&str; 0],
        "too far apart"
    );

    assert_eq!(
        of_many(&[
            shell_event(0, "192.0.2.1"),
            shell_event(1, "192.0.2.1"),
            shell_event(2, "192.0.2.2")
        ]),
        [] as [&str; 0]
    );
}

#[test]
fn silenced_rule_still_feeds_a_correlation() {
    let (mut sigma, _) = load_rules(&[("many.yml", &[SHELL, MANY].join("---\n"))]);
    sigma.retain(|id| id.as_str().ends_with('1'));
    let events = [0, 1, 2].map(|n| shell_event(n, "192.0.2.1"));
    assert_eq!(
        matches_of(sigma, &events),
        [("1".to_owned(), "192.0.2.1".to_owned())]
    );
}

#[test]
fn invalid_rule_is_reported_and_others_still_run() {
    let no_condition =
        "title: Half\nlogsource: {product: x}\ndetection:\n    selection: {action: x}\n";
    let (sigma, errors) = load_rules(&[
        ("a.yml", "title: ["),
        ("b.yml", no_condition),
        ("shell.yml", SHELL),
        ("many.yml", &MANY.replace("[shell]", "[nobody]")),
    ]);

    for file in ["a.yml: ", "b.yml: ", "many.yml: "] {
        assert!(
            errors.iter().any(|e| e.starts_with(file)),
            "{file} {errors:?}"
        );
    }

    assert!(
        errors
            .iter()
            .any(|e| e.contains("rules that do not exist here: nobody")),
        "{errors:?}"
    );
    assert_eq!(matches_of(sigma, &[shell_event(0, "192.0.2.1")]).len(), 1);
}

#[test]
fn duplicate_ids_are_refused() {
    let rule = |title: &str| {
        format!(
            "title: {title}\nid: 6b1c0000-0000-4000-8000-000000000001\nlogsource: \
                {{product: audit}}\ndetection:\n  s: {{action: view}}\n  condition: s\n"
        )
    };

    let (_, errors) = load_rules(&[("a.yml", &rule("one")), ("b.yml", &rule("two"))]);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0].contains("b.yml") && errors[0].contains("a.yml"),
        "{errors:?}"
    );
}

#[test]
fn linter_advice_names_line_and_value() {
    let said = advice(
        "shell.yml",
        &SHELL.replace("level: critical", "level: terrible"),
        Limits::default(),
    );
    assert!(
        said.iter()
            .any(|a| a.line.is_some() && a.message.contains("terrible")),
        "{said:?}"
    );
}

/// A rule for one action, and a correlation of the actions `a` and `b` by address.
fn pair_rules(kind: &str) -> String {
    let rule = |n: u8, action: &str| {
        format!(
            "title: {action}\nid: 0b6f0ea4-3f6c-4b0a-9d8e-1d2c3b4a5f{n:02}\nname: {action}\n\
             logsource: {{product: blueteam}}\nlevel: low\n\
             detection:\n    selection: {{action: {action}}}\n    condition: selection\n---\n"
        )
    };
    format!(
        "{}{}title: Chain\nid: 0b6f0ea4-3f6c-4b0a-9d8e-1d2c3b4a5f77\nlevel: high\ncorrelation:\n    \
         type: {kind}\n    rules: [a, b]\n    group-by: [ip_address]\n    timespan: 10m\n",
        rule(1, "a"),
        rule(2, "b")
    )
}

/// Returns the addresses for which the chain is told.
fn chains(kind: &str, events: &[(i64, &'static str, &'static str)]) -> Vec<String> {
    let (sigma, errors) = load_rules(&[("chain.yml", &pair_rules(kind))]);
    assert_eq!(errors, [] as [&str; 0]);
    let events: Vec<Draft> = events
        .iter()
        .enumerate()
        .map(|(n, (millis, action, ip))| {
            let mut event = draft_event(0, Category::Admin, action).ip(ip);
            event.n = n as u128 + 1;
            event.at = at(0).plus(Span::millis(*millis));
            event
        })
        .collect();
    matches_of(sigma, &events)
        .into_iter()
        .filter(|(id, _)| id == "7")
        .map(|(_, ip)| ip)
        .collect()
}

#[test]
fn a_temporal_correlation_needs_all_its_rules_in_one_group() {
    let none = [] as [&str; 0];
    let (one, other) = ("192.0.2.1", "192.0.2.2");
    assert_eq!(
        chains("temporal", &[(0, "a", one), (1000, "b", other)]),
        none
    );
    assert_eq!(chains("temporal", &[(0, "a", one), (1000, "a", one)]), none);
    assert_eq!(
        chains("temporal", &[(0, "b", one), (1000, "a", one)]),
        [one]
    );
    assert_eq!(
        chains("temporal", &[(0, "b", one), (601_000, "a", one)]),
        none
    );
}

#[test]
fn an_ordered_correlation_knows_the_order_within_a_second() {
    let ip = "192.0.2.1";
    let ordered = |events: &[(i64, &'static str, &'static str)]| chains("temporal_ordered", events);
    assert_eq!(ordered(&[(100, "a", ip), (900, "b", ip)]), [ip]);
    assert_eq!(ordered(&[(900, "a", ip), (100, "b", ip)]), [] as [&str; 0]);
    assert_eq!(
        ordered(&[(900, "b", ip), (100, "a", ip)]),
        [ip],
        "late, but before"
    );
}

fn selection(log_source: &str, selection: &str) -> String {
    format!(
        "title: One\nid: 0b6f0ea4-3f6c-4b0a-9d8e-1d2c3b4a5f60\nlogsource: {log_source}\n\
         detection:\n    selection:\n        {selection}\n    condition: selection\n"
    )
}

#[test]
fn rules_find_fields_by_the_names_of_ecs_and_of_web_servers() {
    let request = || {
        let mut event = draft_event(0, Category::Access, "http_request")
            .ip("192.0.2.1")
            .with_metadata(
                json!({"status": 404, "order.total": "large", "host": "client.example"}),
            );
        event.source = Source::Nginx;
        event.host = Some("web1");
        event.resource = Some("/admin/x?q=1".to_owned());
        event.agent = Some("sqlmap/1.8");
        event
    };

    for (found, line) in [
        (true, "source.ip: 192.0.2.1"),
        (true, "c-ip|cidr: 192.0.2.0/24"),
        (true, "cs-uri-stem: /admin/x"),
        (true, "cs-uri-query|contains: q="),
        (true, "c-uri: /admin/x?q=1"),
        (true, "url.path|startswith: /admin"),
        (true, "c-useragent|startswith: sqlmap"),
        (true, "user_agent.original|re: ^sqlmap"),
        (true, "sc-status: 404"),
        (true, "http.response.status_code|gte: 400"),
        (true, "host.name: web1"),
        (true, "process.pid: 7"),
        (true, "host: client.example"),
        (false, "host.name: client.example"),
        (true, "metadata.order.total: large"),
        (true, "order.total: large"),
        (false, "metadata.order.total: small"),
        (false, "cs-uri-query|contains: admin"),
    ] {
        let (sigma, errors) = load_rules(&[("one.yml", &selection("{category: webserver}", line))]);
        assert_eq!(errors, [] as [&str; 0], "{line}");
        assert_eq!(
            matches_of(sigma, &[request()]).len(),
            usize::from(found),
            "{line}"
        );
    }
}

#[test]
fn a_rule_sees_the_events_of_its_log_source_alone() {
    let event = |service: &str| {
        draft_event(0, Category::Admin, "open_shell").with_metadata(json!({"service": service}))
    };
    for (log_source, found) in [
        ("{product: blueteam}", 1),
        ("{category: application}", 1),
        ("{product: EQMON}", 1),
        ("{product: other}", 0),
        ("{category: webserver}", 0),
        ("{product: windows, service: security}", 0),
        ("{product: linux, service: auditd}", 0),
    ] {
        let rule = selection(log_source, "action: open_shell");
        let (sigma, _) = load_rules(&[("one.yml", &rule)]);
        assert_eq!(
            matches_of(sigma, &[event("eqmon")]).len(),
            found,
            "{log_source}"
        );
    }
}

#[test]
fn rules_that_can_never_fire_are_named() {
    let unable = |log_source: &str, line: &str| {
        let (sigma, _) = load_rules(&[("one.yml", &selection(log_source, line))]);
        sigma.unable().values().next().cloned().unwrap_or_default()
    };
    assert!(unable("{product: windows}", "action: x").contains("(product windows)"));
    assert!(unable("{category: webserver}", "EventID: 4625").ends_with("looks at: EventID"));
    assert!(unable("{product: linux}", "process.args: x").ends_with("looks at: process.args"));
    assert_eq!(unable("{product: linux}", "process.pid: 7"), "");
    assert_eq!(unable("{category: webserver}", "c-uri: /x"), "");
    assert_eq!(unable("{category: webserver}", "sc-status: 404"), "");
    assert_eq!(unable("{product: blueteam}", "EventID: 4625"), "");

    let blind = pair_rules("temporal").replacen("product: blueteam", "product: windows", 1);
    let (sigma, _) = load_rules(&[("chain.yml", &blind)]);
    let why: Vec<&String> = sigma.unable().values().collect();
    assert_eq!(why.len(), 2);
    assert!(why[1].ends_with("can never fire: a"), "{why:?}");
}

/// `before` and `after` surround the value, so that neither end is a boundary of the encoding.
#[test]
fn a_value_within_base64_is_found_at_every_offset() {
    use base64::Engine as _;
    for before in ["", "x", "xy"] {
        for after in ["", "z", "zz"] {
            let text = base64::engine::general_purpose::STANDARD
                .encode(format!("{before}IEX (New-Object{after}"));
            let event = draft_event(0, Category::Admin, "run").with_metadata(json!({"line": text}));
            let rule = selection("{}", "metadata.line|base64offset|contains: IEX (New-Object");
            let (sigma, errors) = load_rules(&[("one.yml", &rule)]);
            assert_eq!(errors, [] as [&str; 0]);
            assert_eq!(matches_of(sigma, &[event]).len(), 1, "{before:?} {after:?}");
        }
    }
}
