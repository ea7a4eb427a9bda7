//! Wrong and doubtful values: all at once, with their lines, in words that the file's writer knows.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use config::{load, parse};

fn error(text: &str) -> String {
    parse("blueteam.toml", text, &BTreeMap::new())
        .unwrap_err()
        .to_string()
}

fn is_right(text: &str) -> bool {
    parse("blueteam.toml", text, &BTreeMap::new()).is_ok()
}

#[test]
fn every_error_is_reported_at_once_with_its_line() {
    let text = r#"
[ingest]
listen = 8514
max_batch_events = -1
[business_hours]
days = ["mon", "monday"]
time_zone = "EST5"
holidays = ["12/25/2026", "2026-12-25"]
[[collect.files]]
path = 5
format = "syslog"
[[collect.files]]
path = "/var/log/auth.log"
format = "sylog"
[rules.bruteforce]
threshold = 1
[rules.brute_force]
treshold = 1
windw = "5m"
[[contacts.people]]
name = "Ann"
email = "ann"
"#;

    assert_eq!(
        error(text).lines().collect::<Vec<_>>(),
        [
            "blueteam.toml:3:1: ingest.listen: `8514` is not an address with its port, such as \
                \"127.0.0.1:8514\" or \"[::1]:8514\"",
            "blueteam.toml:4:1: ingest.max_batch_events: `-1` is not a whole number that is not \
                negative",
            "blueteam.toml:6:16: business_hours.days[1]: `monday` is not one of mon, tue, wed, \
                thu, fri, sat, sun; did you mean `mon`?",
            "blueteam.toml:7:1: business_hours.time_zone: `EST5` is not a known IANA time zone, \
                such as America/New_York",
            "blueteam.toml:8:13: business_hours.holidays[0]: `12/25/2026` is not a day such as \
                2026-12-25",
            "blueteam.toml:10:1: collect.files[0].path: `5` is not a text in quotation marks",
            "blueteam.toml:14:1: collect.files[1].format: there is no format `sylog`; there are \
                audit, syslog, journald, nginx, nginx_error, php, postgres",
            "blueteam.toml:15:8: rules.bruteforce: there is no such rule; did you mean \
                `brute_force`? `blueteam rules list` lists them",
            "blueteam.toml:18:1: rules.brute_force.treshold: this rule has no such parameter; \
                did you mean `threshold`? It has cooldown, enabled, max_keys, threshold, window",
            "blueteam.toml:19:1: rules.brute_force.windw: this rule has no such parameter; did \
                you mean `window`? It has cooldown, enabled, max_keys, threshold, window",
            "blueteam.toml:22:1: contacts.people[0].email: `ann` is not a mail address such as \
                ann@example.com",
        ]
    );
}

#[test]
fn values_that_cannot_be_meant_are_refused() {
    for (text, expected) in [
        (
            "[rules.brute_force]\nthreshold = 0",
            "threshold: must be at least 1",
        ),
        (
            "[rules.brute_force]\nwindow = \"0s\"",
            "window: must be longer than 0s",
        ),
        (
            "[monitors.thresholds]\nstorage = 850",
            "storage: is a percentage",
        ),
        (
            "[database]\nurl = \"mysql://c/d\"",
            "database.url: must begin with postgres://",
        ),
        (
            "[logging]\nfilter = \"verbos\"",
            "logging.filter: `verbos` is not one of off, error",
        ),
        (
            "[logging]\nfilter = \"info,store=debg\"",
            "did you mean `debug`?",
        ),
        (
            "[[advisories.feeds]]\nname = \"x\"\nfrom = \"http://example.com/feed\"",
            "feeds[0].from: must be a file or begin with https://",
        ),
        (
            "[channels.email]\nhost = \"m\"\nfrom = \"soc\"\nto = [\"a@b.example\"]",
            "3:1: channels.email.from: `soc` is not a mail address",
        ),
    ] {
        let found = error(text);
        assert!(found.contains(expected), "{text:?}\n  gave {found}");
    }

    assert!(is_right("[logging]\nfilter = \"info,store=debug\""));
    assert!(is_right(
        "[[advisories.feeds]]\nname = \"x\"\nfrom = \"http://[::1]:80/feed\""
    ));
}

#[test]
fn what_is_probably_not_meant_is_a_doubt() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("blueteam.toml");
    let folder = dir.path().display();
    let of = |path: &str| format!("[[collect.files]]\npath = \"{path}\"\nformat = \"syslog\"\n");
    let text = [
        of(&format!("{folder}/empty/")),
        of(&format!("{folder}/*.log")),
        of(&format!("{folder}/none.log")),
        of(&file.display().to_string()),
        of(&format!("{folder}/*.toml")),
    ];
    std::fs::write(&file, text.concat()).unwrap();

    let env = [
        ("BLUETEAM_INGEST_LISTEN", "x"),
        ("BLUETEAM_STATE_DIR", "/tmp"),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let doubts = load(Some(&file), env).unwrap().doubts;

    assert_eq!(doubts.len(), 4, "{doubts:?}");
    assert!(
        doubts[0].contains("toml:2:1: collect.files[0].path: ")
            && doubts[0].contains("no file matches")
    );
    assert!(doubts[1].contains("no file matches"), "{doubts:?}");
    assert!(
        doubts[2].contains("toml:8:1: ") && doubts[2].contains("does not exist"),
        "{doubts:?}"
    );
    assert!(
        doubts[3].contains("did you mean BLUETEAM_INGEST__LISTEN?"),
        "{doubts:?}"
    );
}
