//! Custom rules (Sigma).

use super::*;
use crate::sigma::{Sigma, advice};

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
    let (sigma, errors) = Sigma::load(&files);
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
    );
    assert!(
        said.iter()
            .any(|a| a.line.is_some() && a.message.contains("terrible")),
        "{said:?}"
    );
}
