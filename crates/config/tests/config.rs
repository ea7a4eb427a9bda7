//! The configuration as an operator meets it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;

use config::{Config, SAMPLE, load, parse};
use secrecy::ExposeSecret as _;
use serde_json::Value;

fn with(text: &str, env: &[(&str, &str)]) -> Result<Config, String> {
    let env: BTreeMap<_, _> = env
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    parse("blueteam.toml", text, &env).map_err(|error| error.to_string())
}

fn error(text: &str) -> String {
    with(text, &[]).unwrap_err()
}

/// The sample with every default switched on.
fn switched_on() -> String {
    SAMPLE
        .lines()
        .map(|line| {
            line.strip_prefix('#')
                .filter(|rest| !rest.is_empty() && !rest.starts_with(' '))
                .unwrap_or(line)
        })
        .flat_map(|line| [line, "\n"])
        .collect()
}

fn paths(value: &Value, path: &str, into: &mut Vec<String>) {
    match value {
        Value::Object(map) => map
            .iter()
            .for_each(|(key, value)| paths(value, &format!("{path}.{key}"), into)),
        _ => into.push(path.to_owned()),
    }
}

#[test]
fn the_sample_says_what_the_code_does() {
    assert_eq!(with(SAMPLE, &[]).unwrap(), Config::default());
    assert_eq!(with(&switched_on(), &[]).unwrap(), Config::default());
    let of = |value: &Value| {
        let mut found = Vec::new();
        paths(value, "", &mut found);
        found.sort();
        found
    };

    let sample = serde_json::to_value(switched_on().parse::<toml::Table>().unwrap()).unwrap();
    assert_eq!(
        of(&sample),
        of(&serde_json::to_value(Config::default()).unwrap())
    );
}

#[test]
fn a_wrong_key_names_its_place_and_the_one_that_was_meant() {
    let text = error("[ingest]\nmax_body_bytes = 1\n  liste = \"x\"\n");
    assert!(
        text.starts_with("blueteam.toml:3:3: ingest.liste: unknown key; did you mean `listen`?"),
        "{text}"
    );
    assert!(
        error("[ingst]\n")
            .starts_with("blueteam.toml:1:2: ingst: unknown key; did you mean `ingest`?")
    );

    let text = error("[channels.email]\nhots = \"a\"");
    assert!(
        text.starts_with(
            "blueteam.toml:2:1: channels.email.hots: unknown key; did you mean `host`?"
        ),
        "{text}"
    );

    let text = error("[[collect.files]]\npath = \"/a\"\nformt = \"syslog\"");
    assert!(
        text.starts_with("blueteam.toml:3:1: collect.files[0].formt: unknown key"),
        "{text}"
    );

    let text = error("[business_hours]\nstrat = \"07:00\"");
    assert!(
        text.contains("2:1: business_hours.strat: unknown key; did you mean `start`?"),
        "{text}"
    );
}

fn expect_errors(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let found = error(text);
        assert!(
            found.starts_with(expected),
            "{text:?}\n  gave {found}\n  not  {expected}"
        );
    }
}

#[test]
fn a_wrong_value_names_its_place() {
    let cases = [
        (
            "[monitor]\npoll = \"soon\"",
            "blueteam.toml:2:1: detection.poll_interval: `soon` is not a length of time",
        ),
        (
            "[monitor]\npoll = 5",
            "blueteam.toml:2:1: detection.poll_interval: `5` is not ",
        ),
        (
            "[monitor]\npoll = \"0s\"",
            "blueteam.toml:2:1: detection.poll_interval: must be longer than 0s",
        ),
        (
            "[ingest]\nmax_batch_events = -1",
            "blueteam.toml:2:1: ingest.max_batch_events: `-1` is not a whole number",
        ),
        (
            "[ingest]\n\nlisten = \"0.0.0.0:8514\"",
            "blueteam.toml:3:1: ingest.listen: is open to the network",
        ),
        (
            "[business_hours]\ntime_zone = \"Mars/Base\"",
            "blueteam.toml:2:1: business_hours.time_zone: ",
        ),
        (
            "[detection]\nexpected_sources = [\"nginx\",\n  \"ngix\"]",
            "blueteam.toml:3:3: detection.expected_sources[1]: ",
        ),
        (
            "[channels.syslog]\ntarget = \"/dev/log\"",
            "blueteam.toml:2:1: channels.syslog.target: ",
        ),
        (
            "[[collect.files]]\npath = \"a\"\nformat = \"syslog\"",
            "blueteam.toml:2:1: collect.files[0].path: ",
        ),
        (
            "[rules.brute_force]\nthreshold = \"x\"",
            "blueteam.toml:2:1: rules.brute_force.threshold: `x` is not a whole number from 0 to",
        ),
        (
            "[rules.brute_farce]\nthreshold = 1",
            "blueteam.toml:1:8: rules.brute_farce: there is no such rule; did you mean `brute_force`?",
        ),
        (
            "[database]\nurl = \"postgres://a:b@c/d\"",
            "blueteam.toml:2:1: database.url: holds a password",
        ),
        (
            "[channels.email]\npassword = \"b\"",
            "blueteam.toml:2:1: channels.email.password: secrets do not belong",
        ),
        ("[ingest]\nlisten = \"ż\" x", "blueteam.toml:2:14: "),
        ("[a]\n[a]", "blueteam.toml:2:"),
    ];

    expect_errors(&cases);
}

#[test]
fn a_wrong_channel_and_a_secret_in_the_file_name_their_places() {
    let cases = [
        (
            "[alerts]\nlow = [\"pigeon\"]",
            "blueteam.toml:2:8: alerts.low[0]: `pigeon` is not one of email, syslog",
        ),
        (
            "[alerts.off_hours]\nlow = [\"email\", \"slak\"]",
            "blueteam.toml:2:17: alerts.off_hours.low[1]: `slak` is not one of email, syslog, \
                console, webhook, slack, teams, pagerduty, ocsf, cef; did you mean `slack`?",
        ),
        (
            "[alerts.off_hours]\nhihg = [\"email\"]",
            "blueteam.toml:1:9: alerts.off_hours: `hihg` is not one of ",
        ),
        (
            "[alerts.sources.nginx]\noff_hours = [\"Slack\"]",
            "blueteam.toml:2:14: alerts.sources.nginx.off_hours[0]: `Slack` is not one of",
        ),
        (
            "[digest]\nchannels = [\"pigeon\"]",
            "blueteam.toml:2:13: digest.channels[0]: `pigeon` is not one of",
        ),
        (
            "[escalation]\ntiers = [{ channels = [\"pigeon\"] }]",
            "blueteam.toml:2:24: escalation.tiers[0].channels[0]: `pigeon` is not one of",
        ),
        (
            "[alerts]\nlow = [\"email\"]",
            "blueteam.toml:2:1: alerts.low: email is not configured",
        ),
        (
            "[channels.webhook]\nsecret = \"b\"",
            "blueteam.toml:2:1: channels.webhook.secret: secrets do not belong in this file; use \
                `secret_file` or the environment variable BLUETEAM_CHANNELS__WEBHOOK__SECRET",
        ),
        (
            "[channels.pagerduty]\nrouting_key = \"b\"",
            "blueteam.toml:2:1: channels.pagerduty.routing_key: secrets do not belong in this file; \
                use `routing_key_file`",
        ),
        (
            "[channels.slack]\nurl = \"https://hooks.example/b\"",
            "blueteam.toml:2:1: channels.slack.url: secrets do not belong in this file; use \
                `url_file`",
        ),
        (
            "[channels.cef]\nmax_message_size = \"1KiB\"",
            "blueteam.toml:2:1: channels.cef.max_message_size: must be from 2048 to 64000",
        ),
        (
            "[channels.teams]\ntimeout = \"0s\"",
            "blueteam.toml:2:1: channels.teams.timeout: must be longer than 0s",
        ),
    ];

    expect_errors(&cases);
}

#[test]
fn variables_override_and_are_named_when_wrong() {
    let config = with(
        "[ingest]\nmax_batch_events = 5\n[detection]\nexpected_sources = [\"syslog\"]",
        &[
            ("BLUETEAM_INGEST__MAX_BATCH_EVENTS", "7"),
            (
                "BLUETEAM_BUSINESS_HOURS__HOLIDAYS",
                "2026-12-25, 2027-01-01",
            ),
            ("BLUETEAM_DETECTION__EXPECTED_SOURCES", "[\"nginx\"]"),
            ("BLUETEAM_CHANNELS__CONSOLE__ENABLED", "false"),
            ("BLUETEAM_RULES__BRUTE_FORCE__THRESHOLD", "9"),
            (
                "BLUETEAM_COLLECT__FILES",
                "[{path = \"/a\", format = \"syslog\"}]",
            ),
            ("BLUETEAM_CHANNELS__EMAIL__PASSWORD", "not a key"),
            ("BLUETEAM_STATE_DIR", "/elsewhere"),
        ],
    )
    .unwrap();

    assert_eq!(config.ingest.max_batch_events, 7);
    assert_eq!(config.business_hours.holidays.len(), 2);
    assert_eq!(config.detection.expected_sources, ["nginx"]);
    assert!(!config.channels.console.enabled);
    assert_eq!(config.rules["brute_force"]["threshold"], 9);
    assert_eq!(config.collect.files[0].path, "/a");

    let wrong = |name: &str, value: &str| {
        with("[ingest]\nlisten = \"127.0.0.1:1\"", &[(name, value)]).unwrap_err()
    };
    let text = wrong("BLUETEAM_INGEST__LISTEN", "here");
    assert!(
        text.starts_with("environment variable BLUETEAM_INGEST__LISTEN: ingest.listen: "),
        "{text}"
    );

    let text = wrong("BLUETEAM_INGEST__LISTE", "x");
    assert!(text.starts_with(
        "environment variable BLUETEAM_INGEST__LISTE: ingest.liste: unknown key; did you mean \
                `listen`"
    ));

    let text = wrong("BLUETEAM_DETECTION__EXPECTED_SOURCES", "nginx,ngix");
    assert!(
        text.starts_with("environment variable BLUETEAM_DETECTION__EXPECTED_SOURCES: "),
        "{text}"
    );
}

#[test]
fn secrets_come_from_files_and_variables_and_are_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "hidden-in-a-file\n").unwrap();
    let file = dir.path().join("blueteam.toml");
    let text = format!(
        "[channels.email]\npassword_file = {:?}\n",
        secret.display().to_string()
    );
    std::fs::write(&file, text).unwrap();

    let env = [(
        "DATABASE_URL".to_owned(),
        "postgres://a:hidden@b/c".to_owned(),
    )];
    let loaded = load(Some(&file), env).unwrap();
    assert_eq!(
        loaded.secrets.channels[&(model::Channel::named("email"), "password_file")].expose_secret(),
        "hidden-in-a-file"
    );

    assert_eq!(
        loaded
            .secrets
            .database_url
            .as_ref()
            .unwrap()
            .expose_secret(),
        "postgres://a:hidden@b/c"
    );

    assert!(!format!("{loaded:?}").contains("hidden"));
    let env = [(
        "BLUETEAM_CHANNELS__WEBHOOK__URL".to_owned(),
        "https://a/hidden".to_owned(),
    )];
    let loaded = load(None, env).unwrap();
    assert!(
        loaded
            .config
            .channels
            .configured()
            .contains(&model::Channel::named("webhook"))
    );

    assert_eq!(loaded.config.channels.webhook.url, "https://a/hidden");
    assert!(!format!("{loaded:?}").contains("hidden"));
    std::fs::remove_file(&secret).unwrap();

    let error = load(Some(&file), []).unwrap_err().to_string();
    assert!(
        error.contains("channels.email.password_file: cannot be read"),
        "{error}"
    );
}

#[test]
fn a_secret_of_a_channel_may_come_from_its_variable() {
    let env = [
        ("BLUETEAM_CHANNELS__WEBHOOK__SECRET", "hidden-in-a-variable"),
        ("BLUETEAM_CHANNELS__WEBHOOK__URL", "https://hooks.example"),
    ];
    let loaded = load(None, env.map(|(k, v)| (k.to_owned(), v.to_owned()))).unwrap();
    let key = (model::Channel::named("webhook"), "secret_file");
    assert_eq!(
        loaded.secrets.channels[&key].expose_secret(),
        "hidden-in-a-variable"
    );

    // A service whose secret only a file may hold.
    let env = [("BLUETEAM_CHANNELS__PAGERDUTY__ROUTING_KEY", "hidden")];
    let error = load(None, env.map(|(k, v)| (k.to_owned(), v.to_owned()))).unwrap_err();
    assert!(error.to_string().contains("routing_key"), "{error}");
}

#[test]
fn routes_and_people_are_checked() {
    let text = error("[alerts.off_hours]\nhigh = [\"pagerduty\"]");
    assert!(
        text.starts_with("blueteam.toml:2:1: alerts.off_hours.high: pagerduty is not configured"),
        "{text}"
    );

    let text = error("[alerts.rules.brute_force]\nchannels = []\noff_hours = [\"slack\"]");
    assert!(
        text.starts_with("blueteam.toml:3:1: alerts.rules.brute_force.off_hours: slack is not"),
        "{text}"
    );

    let text = error("[alerts.rules.audit_log_gap]\nchannels = []");
    assert!(
        text.starts_with(
            "blueteam.toml:2:1: alerts.rules.audit_log_gap.channels: at least one channel must"
        ),
        "{text}"
    );

    let text = error("[alerts.sources.nginx]\nchanels = []");
    assert!(
        text.contains("2:1: alerts.sources.nginx.chanels: unknown key"),
        "{text}"
    );

    let people = "[contacts]\naudit_failures = [\"Ann\"]\npeople = \
        [{ name = \"Ann\", email = \"ann@example.com\" }, \
                  { name = \"Bob\", email = \"bob@example.com\", phone = \"1\" }]\n";
    let told = with(people, &[]).unwrap().contacts.for_audit_failures();
    assert_eq!(
        told.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(),
        ["Ann"]
    );

    let all = with(&people.replace("[\"Ann\"]", "[]"), &[])
        .unwrap()
        .contacts
        .for_audit_failures();
    assert_eq!(all.len(), 2);

    let text = error(&people.replace("[\"Ann\"]", "[\"Eve\"]"));
    assert!(
        text.contains("nobody in contacts.people is called `Eve`"),
        "{text}"
    );

    let text = error(&people.replace("bob@example.com", "bob at home"));
    assert!(text.contains("contacts.people[1].email"), "{text}");
}

#[test]
fn an_escalation_must_reach_somebody() {
    let mail = "[channels.email]\nhost = \"localhost\"\nfrom = \"a@example.com\"\nto = \
        [\"b@example.com\"]\n\
                [contacts]\npeople = [{ name = \"Ann\", email = \"ann@example.com\" }]\n";
    let wrong = |text: &str| error(&format!("{mail}[escalation]\n{text}"));
    assert!(wrong("high = \"0s\"").contains("escalation.high: must be longer"));
    assert!(
        wrong("tiers = [{ people = [\"Ann\"] }]")
            .contains("escalation.tiers[0].channels: must name a channel")
    );

    assert!(wrong("tiers = [{ channels = [\"slack\"] }]").contains("slack is not configured"));
    let text = wrong("tiers = [{ channels = [\"console\"], people = [\"Ann\"] }]");
    assert!(text.contains("people are told by mail"), "{text}");
    let text = wrong("tiers = [{ channels = [\"email\"], people = [\"Eve\"] }]");
    assert!(
        text.contains("escalation.tiers[0].people: nobody in contacts.people is called `Eve`"),
        "{text}"
    );

    assert!(
        wrong("tiers = [{ channels = [\"email\"], on_call = true }]")
            .contains("needs people in [on_call]")
    );
    let leave = "[on_call]\npeople = [\"Ann\"]\nleave = \
        [{ name = \"Ann\", from = \"2026-02-02\", to = \"2026-02-01\" }]";
    assert!(wrong(leave).contains("on_call.leave[0].to: is before the first day"));

    let right = "tiers = [{ channels = [\"email\"], on_call = true }]\n[on_call]\npeople \
        = [\"Ann\"]";
    assert!(with(&format!("{mail}[escalation]\n{right}"), &[]).is_ok());
}

/// A reader may paste all that the guide shows into one file.
#[test]
fn what_the_readme_shows_is_right_together() {
    let readme = include_str!("../../../docs/guide.md");
    let blocks = readme
        .split("\n\n")
        .filter(|block| block.lines().all(|line| line.starts_with("    ")));
    let shown: Vec<String> = blocks
        .map(|block| {
            block
                .lines()
                .flat_map(|line| [line.trim_start(), "\n"])
                .collect()
        })
        .filter(|block: &String| block.starts_with('['))
        .collect();

    assert!(shown.len() >= 8, "{shown:?}");
    // With the rules that there are.
    parse("blueteam.toml", &shown.concat(), &BTreeMap::new()).unwrap();
}

#[test]
fn a_rule_or_tenant_that_is_misspelled_is_named() {
    let text = error("[alerts.rules.brute_forec]\nchannels = [\"console\"]");
    assert!(
        text.starts_with(
            "blueteam.toml:1:15: alerts.rules.brute_forec: there is no such rule; did you mean \
                `brute_force`?"
        ),
        "{text}"
    );

    for known in ["brute_force", "advisory", "monitor_storage"] {
        with(
            &format!("[alerts.rules.{known}]\nchannels = [\"console\"]"),
            &[],
        )
        .unwrap();
    }

    let tenant = "7b0c6a52-0d63-4c11-9d0a-2f4f1c1f9a10";
    let config = with(
        &format!("[alerts.tenants.\"{tenant}\"]\nchannels = [\"console\"]"),
        &[],
    )
    .unwrap();
    assert_eq!(config.alerts.tenants.len(), 1);

    let text = error("[alerts.tenants.apollo]\nchannels = [\"console\"]");
    assert!(
        text.starts_with("blueteam.toml:1:") && text.contains("alerts.tenants"),
        "{text}"
    );

    let text = error(&format!(
        "[alerts.tenants.\"{tenant}\"]\nchannels = [\"slack\"]"
    ));
    assert!(
        text.contains("2:1: alerts.tenants.") && text.contains("slack is not configured"),
        "{text}"
    );
}

#[test]
fn that_nobody_is_told_is_said() {
    let warnings = |text: &str| with(text, &[]).unwrap().warnings();
    let of = warnings("");
    assert_eq!(of.len(), 2, "{of:?}");
    assert!(
        of[0].starts_with("nobody is notified of high and medium alerts"),
        "{of:?}"
    );
    assert!(
        of[1].contains("nobody gets the daily digest: digest.channels is email"),
        "{of:?}"
    );

    let syslog = "[channels.syslog]\ntarget = \"udp:127.0.0.1:9\"\n";
    assert_eq!(warnings(syslog).len(), 1);
    assert!(warnings(&format!("{syslog}[digest]\nchannels = [\"syslog\"]\n")).is_empty());

    // Who asks for silence gets it.
    assert!(warnings("[alerts]\nhigh = []\nmedium = []\n[digest]\nchannels = []\n").is_empty());
}

/// A value that a key takes, as TOML, in place of its default.
fn other_value(default: &Value) -> String {
    match default {
        Value::Bool(on) => (!on).to_string(),
        Value::Number(n) => (n.as_u64().unwrap_or(0) + 3).to_string(),
        Value::Array(_) => "[\"storage\"]".to_owned(),
        Value::String(text) if text.ends_with("KiB") => "\"9KiB\"".to_owned(),
        Value::String(text) if text.ends_with("iB") => "\"9MiB\"".to_owned(),
        Value::String(text) if text.starts_with("https:") || text.is_empty() => {
            "\"https://soc.example.com\"".to_owned()
        }
        Value::String(text) if text == "auto" => "\"never\"".to_owned(),
        Value::String(text) if text.starts_with("2026-") => "\"2026-03-02\"".to_owned(),
        _ => "\"5d\"".to_owned(),
    }
}

#[test]
fn old_names_of_keys_mean_the_same_as_the_new_ones() {
    let defaults = serde_json::to_value(Config::default()).unwrap();
    let mut tried = 0;
    for (old, new) in config::renamed_keys().filter(|(old, _)| !old.contains("[]")) {
        let default = new
            .split('.')
            .try_fold(&defaults, |at, key| at.get(key))
            .unwrap_or_else(|| panic!("{new} is not a key"));
        if default.is_object() {
            continue;
        }

        // `on_call.begins` was `escalation.rota.begins` before; both are old.
        let value = other_value(default);
        let line = |path: &str| {
            let (section, key) = path.rsplit_once('.').unwrap();
            format!("[{section}]\n{key} = {value}\n")
        };

        let by_old = with(&line(&old), &[]).unwrap_or_else(|e| panic!("{old}: {e}"));
        let by_new = with(&line(&new), &[]).unwrap_or_else(|e| panic!("{new}: {e}"));
        assert_eq!(by_old, by_new, "{old}");
        assert_ne!(by_new, Config::default(), "{new} = {value} is the default");
        tried += 1;
    }

    assert!(tried >= 20, "{tried}");
}

#[test]
fn an_old_name_is_warned_of_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("blueteam.toml");
    let text = "[personnel]\npeople = [{ name = \"Ann\", mail = \"ann@example.com\" }]\n\
        [escalation.rota]\npeople = [\"Ann\"]\nbegins = \"2026-03-02\"\n\
        [[collect.files]]\npath = \"/a\"\nformat = \"syslog\"\nevery = \"1h\"\n";
    std::fs::write(&file, text).unwrap();
    let env = [("BLUETEAM_MONITOR__POLL".to_owned(), "7s".to_owned())];
    let loaded = load(Some(&file), env).unwrap();

    assert_eq!(loaded.config.contacts.people[0].email, "ann@example.com");
    assert_eq!(loaded.config.on_call.people, ["Ann"]);
    assert_eq!(loaded.config.on_call.start.to_string(), "2026-03-02");
    assert_eq!(loaded.config.detection.poll_interval, model::Span::secs(7));
    assert_eq!(
        loaded.config.collect.files[0].expected_interval,
        Some(model::Span::hours(1))
    );

    let shown = loaded.renamed.join("\n");
    for part in [
        "blueteam.toml:1:2: `personnel` is now `contacts`",
        "blueteam.toml:2:27: `contacts.people[0].mail` is now `contacts.people[0].email`",
        ":9:1: `collect.files[0].every` is now `collect.files[0].expected_interval`",
        "environment variable BLUETEAM_MONITOR__POLL: `monitor.poll` is now \
            `detection.poll_interval`",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
}

#[test]
fn an_old_and_a_new_name_together_are_an_error_that_names_both_lines() {
    let text = error("[detection]\nallowed_lateness = \"1m\"\nsettle = \"2m\"\n");
    assert!(
        text.starts_with("blueteam.toml:3:1: detection.settle: is the old name of"),
        "{text}"
    );
    assert!(text.contains("blueteam.toml:2:1"), "{text}");

    let both = "[monitor]\npoll = \"1s\"\n[detection]\npoll_interval = \"2s\"\n";
    let text = error(both);
    assert!(
        text.contains("blueteam.toml:2:1: monitor.poll") && text.contains("blueteam.toml:4:1"),
        "{text}"
    );

    let files = "[[collect.files]]\npath = \"/a\"\nformat = \"syslog\"\nevery = \"1h\"\n\
        expected_interval = \"2h\"\n";
    assert!(error(files).contains("collect.files[0].every"));
}

#[test]
fn a_misspelled_key_of_an_old_section_is_still_an_error() {
    let text = error("[monitor]\npoll = \"1s\"\nspeed = 3\n");
    assert!(
        text.starts_with("blueteam.toml:1:2: monitor: unknown key"),
        "{text}"
    );
}
