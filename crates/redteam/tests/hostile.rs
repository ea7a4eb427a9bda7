//! Files by an attacker who knows how they are read: made to take time or memory, to hide a finding, to
//! make a foreign one look gone, or to act where a text is shown.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use redteam::importers::{self, Hints};
use redteam::{ReadError, Report};
use serde_json::{Value, json};

fn read(text: &str) -> Result<Report, ReadError> {
    importers::read(text.as_bytes(), Hints::default())
}

fn of_target(text: &str, target: &str) -> Report {
    let hints = Hints {
        target: Some(target),
        ..Hints::default()
    };
    importers::read(text.as_bytes(), hints).unwrap()
}

/// A test is built without optimization and runs beside others; what is not linear takes hours.
fn in_time(text: &str) -> Result<Report, ReadError> {
    let began = Instant::now();
    let report = read(text);
    let took = began.elapsed();
    assert!(
        took < Duration::from_secs(90),
        "{took:?}: {}",
        &text[..text.floor_char_boundary(60)]
    );
    report
}

fn sarif(results: &[Value], rules: &Value) -> String {
    json!({ "version": "2.1.0", "runs": [{
        "tool": { "driver": { "name": "t", "rules": rules } }, "results": results }] })
    .to_string()
}

fn result(rule: &str, path: &str) -> Value {
    json!({ "ruleId": rule, "message": { "text": "m" },
            "locations": [{ "physicalLocation": { "artifactLocation": { "uri": path } } }] })
}

#[test]
fn rules_are_not_looked_for_one_by_one() {
    let rules: Vec<Value> = (0..100_000)
        .map(|n| json!({ "id": format!("r{n}") }))
        .collect();
    let results: Vec<Value> = (0..50_000)
        .map(|n| result(&format!("x/{n}"), "a"))
        .collect();

    let report = in_time(&sarif(&results, &json!(rules))).unwrap();

    assert_eq!(report.findings.len(), 50_000);
}

#[test]
fn what_all_results_share_is_cut_before_it_is_copied() {
    let long = "A long text with CVE-2026-1234. ".repeat(100_000);
    let tags: Vec<String> = (0..100_000)
        .map(|n| format!("external/cwe/cwe-{n}"))
        .collect();
    let rules = json!([{ "id": "r", "shortDescription": { "text": long },
        "messageStrings": { "m": { "text": "{0}{0}{0}{0}".repeat(10_000) } }, "properties": { "tags": tags } }]);
    let results: Vec<Value> = (0..5_000)
        .map(|n| {
            let mut result = result("r", &format!("src/{n}.py"));
            result["message"] = json!({ "id": "m", "arguments": [long.get(..1_000)] });
            result
        })
        .collect();

    let report = in_time(&sarif(&results, &rules)).unwrap();

    assert_eq!(report.findings.len(), 5_000);
    assert!(report.findings[0].title.len() <= 300 && report.findings[0].cwes.len() <= 20);
}

#[test]
fn a_name_of_megabytes_is_cut_before_it_is_copied() {
    let host = "h".repeat(4 << 20);
    let mut nikto = format!("<niktoscan><scandetails targethostname='{host}' targetport='1'>");
    let mut zap = format!("<OWASPZAPReport version='1'><site name='{host}'><alerts>");
    for n in 0..4_000 {
        let _ = write!(nikto, "<item id='{n}'><uri>/</uri></item>");
        let _ = write!(zap, "<alertitem><pluginid>{n}</pluginid></alertitem>");
    }
    nikto += "<statistics/></scandetails></niktoscan>";
    zap += "</alerts></site></OWASPZAPReport>";

    for text in [nikto, zap] {
        assert_eq!(in_time(&text).unwrap().findings.len(), 4_000);
    }
}

#[test]
fn more_than_anybody_reads_is_refused() {
    let items = "<item/>".repeat(100_001);
    let many =
        format!("<niktoscan><scandetails targethostname='h'>{items}</scandetails></niktoscan>");
    assert!(matches!(in_time(&many), Err(ReadError::TooMany(..))));

    let text = "x ".repeat(4_000);
    let rules = json!([{ "id": "r", "shortDescription": { "text": text }, "messageStrings": { "m": { "text": text } } }]);
    let results: Vec<Value> = (0..16_000)
        .map(|n| {
            let mut result = result("r", &format!("{n}"));
            result["message"] = json!({ "id": "m" });
            result
        })
        .collect();
    let large = in_time(&sarif(&results, &rules));
    assert!(matches!(large, Err(ReadError::TooMuchText(_))), "{large:?}");

    let artifacts: Vec<Value> = (0..200_001)
        .map(|n| json!({ "location": { "uri": format!("{n}") } }))
        .collect();
    let run =
        json!({ "tool": { "driver": { "name": "t" } }, "artifacts": artifacts, "results": [] });
    let areas = json!({ "version": "2.1.0", "runs": [run] }).to_string();
    assert!(matches!(in_time(&areas), Err(ReadError::TooMany(..))));
}

#[test]
fn markup_without_an_end_is_read_once() {
    let mut text = "<issues>".to_owned();
    for n in 0..300 {
        let _ = write!(
            text,
            "<issue><type>{n}</type><issueDetail><![CDATA[{}]]></issueDetail></issue>",
            ["<a", "< ", "<<"][n % 3].repeat(20_000)
        );
    }
    text += "</issues>";

    assert_eq!(in_time(&text).unwrap().findings.len(), 300);
}

#[test]
fn brackets_take_no_gigabytes() {
    for text in [
        "[".repeat(1 << 20),
        format!("[{}{{}}]", "{},".repeat(1_000_000)),
        format!("[{}{{}}]", "{\"\":0},".repeat(1_000_000)),
        "{\"template-id\":{}}\n".repeat(500_000),
        format!("<nmaprun>{}", "<a>".repeat(1 << 20)),
        format!("<nmaprun {}/>", "a=''".repeat(1 << 20)),
    ] {
        assert!(in_time(&text).is_err(), "{}", &text[..40]);
    }
}

#[test]
fn no_key_counts_twice_however_it_is_written() {
    for text in [
        r#"{"version":"2.1.0","runs":[],"\u0072uns":[{}]}"#,
        r#"{"run_id":"a","modules":[{"name":"a","verdict":"not_vulnerable","verdict":"vulnerable"}]}"#,
        "{\"template-id\":\"a\",\"host\":\"h\"}\n{\"template-id\":\"a\",\"host\":\"h\",\"host\":\"i\"}",
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains("is there twice"), "{error}");
        assert!(error.contains("line"), "says where: {error}");
    }
}

#[test]
fn entities_are_refused_in_every_dress() {
    for text in [
        "<!DOCTYPE nmaprun [<!ENTITY a 'b'>]><nmaprun>&a;</nmaprun>",
        "<!DOCTYPE nmaprun [<!ENTITY % a SYSTEM 'http://192.0.2.1/'> %a;]><nmaprun/>",
        "<!-- c --><?p?><!DOCTYPE nmaprun [\n<!ENTITY a SYSTEM 'file:///etc/passwd'>]><nmaprun/>",
        "\u{feff}<?xml version='1.0'?><!DOCTYPE nmaprun [<!ENTITY a 'b'>]><nmaprun/>",
        "<!DOCTYPE nmaprun [<!ELEMENT a ']>'><!ENTITY a 'b'>]><nmaprun>&a;</nmaprun>",
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(
            error.contains("entit") || error.contains("not valid XML"),
            "{error}"
        );
    }
    // What is outside is never opened: such a DOCTYPE declares nothing.
    let outside = "<!DOCTYPE nmaprun SYSTEM 'file:///etc/passwd'><nmaprun/>";
    assert!(read(outside).unwrap().findings.is_empty());
}

#[test]
fn texts_act_nowhere() {
    let bad = "\u{1b}]0;owned\u{7}\u{202e}gnp.exe\r\n\u{200b}\u{9b}2J\u{2028}\u{0}end";
    let report = json!({ "run_id": bad, "tool": bad, "version": bad, "target": bad, "modules": [
        { "name": bad, "variant": bad, "title": bad, "verdict": "vulnerable", "evidence": bad,
          "control_ids": [bad, "3.5.3"] }] });
    let report = read(&report.to_string()).unwrap();

    let finding = &report.findings[0];
    let module = &report.modules[0];
    let texts = [
        &report.tool,
        &report.target,
        &finding.rule,
        &finding.title,
        &finding.location,
        &finding.area,
        &finding.group,
        &finding.detail,
        &module.name,
        &module.variant,
        &module.evidence,
    ];
    for text in texts
        .into_iter()
        .chain(&report.version)
        .chain(&report.run_id)
    {
        assert!(text.ends_with("end"), "{text}");
        assert_eq!(
            model::text::sanitize(text),
            text.as_str(),
            "nothing is left to be spelled"
        );
        assert!(
            !text.contains(['\u{202e}', '\u{200b}', '\u{2028}']),
            "{text:?}"
        );
    }
    assert_eq!(finding.controls, ["3.5.3"]);

    // A name of nothing but white space is none.
    let blank =
        r#"{"run_id":"r","tool":" ","target":" ","modules":[{"name":"a","verdict":"error"}]}"#;
    assert_eq!(read(blank).unwrap().tool, "redteam");
    assert!(read(r#"{"run_id":"r","modules":[{"name":"\n "}]}"#).is_err());
}

#[test]
fn errors_are_short_lines_that_act_nowhere() {
    let name = format!("\u{1b}[2J{}", "n".repeat(100_000));
    for text in [
        format!("<{}/>", "n".repeat(100_000)),
        format!("{{\"{name}\":1,\"{name}\":2}}").replace('\u{1b}', "\\u001b"),
        format!("{{\"version\":\"{}\",\"runs\":[]}}", "9".repeat(100_000)),
        "<a><\u{1b}[2J></a>".to_owned(),
    ] {
        let error = read(&text).unwrap_err().to_string();
        assert!(error.len() < 500, "{}", error.len());
        assert!(!error.chars().any(char::is_control), "{error:?}");
    }
}

#[test]
fn what_is_set_aside_in_the_tool_is_not_gone() {
    let known = |text: &str| of_target(text, "app").findings[0].fingerprint.clone();
    let sarif_with = |key: &str, value: Value| {
        let mut result = result("r", "a.py");
        result[key] = value;
        sarif(&[result], &json!([]))
    };
    let zap = |confidence: u8| {
        format!(
            "<OWASPZAPReport version='1'><site name='http://a'><alerts><alertitem><pluginid>1</pluginid>\
             <confidence>{confidence}</confidence></alertitem></alerts></site></OWASPZAPReport>"
        )
    };
    let burp = |severity: &str| {
        format!(
            "<issues><issue><type>1</type><host>h</host><severity>{severity}</severity></issue></issues>"
        )
    };
    let semgrep = |is_ignored: bool| {
        json!({ "errors": [], "results": [{ "check_id": "r", "path": "a.py", "start": { "line": 1 },
                "extra": { "is_ignored": is_ignored } }] })
        .to_string()
    };
    let trivy = |status: &str| {
        json!({ "SchemaVersion": 2, "ArtifactName": "i", "Results": [{ "Target": "t", "Class": "config",
                "Misconfigurations": [{ "ID": "DS1", "Status": status }] }] })
        .to_string()
    };

    for (listed, set_aside) in [
        (
            sarif_with("x", json!(1)),
            sarif_with("suppressions", json!([{ "kind": "inSource" }])),
        ),
        (
            sarif_with("x", json!(1)),
            sarif_with("kind", json!("review")),
        ),
        (zap(2), zap(0)),
        (burp("High"), burp("False positive")),
        (semgrep(false), semgrep(true)),
        (trivy("FAIL"), trivy("EXCEPTION")),
    ] {
        let report = of_target(&set_aside, "app");
        assert!(report.findings.is_empty(), "{set_aside}");
        assert!(report.set_aside.contains(&known(&listed)), "{set_aside}");
    }
    // What was refused as a suppression is a finding.
    let refused = sarif_with(
        "suppressions",
        json!([{ "kind": "external", "status": "rejected" }]),
    );
    assert_eq!(read(&refused).unwrap().findings.len(), 1);
}

#[test]
fn a_report_says_nothing_of_what_it_did_not_look_at() {
    let covers =
        |text: &str, area: &str, group: &str| read(text).unwrap().scope.covers(area, group);

    // Without a name it is not known whose it is.
    let unnamed = r#"{"SchemaVersion":2,"Results":[{"Target":"t","Class":"lang-pkgs"}]}"#;
    assert!(!covers(unnamed, "", "vulnerability"));
    let nobody = r#"{"template-id":"a"}"#;
    assert!(!covers(nobody, "", ""));
    let nowhere = r#"{"results":[{"check_id":"r"}],"errors":[]}"#;
    assert!(!covers(nowhere, "", ""));

    // A host that did not answer in time, or was down, or a scan that did not end.
    let nmap = |host: &str, end: &str| {
        format!(
            "<nmaprun><scaninfo protocol='tcp' services='1-100'/><host {host}><status state='up'/>\
             <address addr='10.0.0.1' addrtype='ipv4'/></host>{end}</nmaprun>"
        )
    };
    let end = "<runstats><finished time='1767607200' exit='success'/></runstats>";
    assert!(covers(&nmap("", end), "10.0.0.1", "tcp/80"));
    assert!(!covers(&nmap("", end), "10.0.0.1", "tcp/101"));
    assert!(!covers(&nmap("", end), "10.0.0.1", "udp/80"));
    assert!(!covers(&nmap("timedout='true'", end), "10.0.0.1", "tcp/80"));
    assert!(!covers(&nmap("", ""), "10.0.0.1", "tcp/80"));
    let failed = end.replace("success", "error");
    assert!(!covers(&nmap("", &failed), "10.0.0.1", "tcp/80"));

    // Long names stay different.
    let long = "d/".repeat(4_000);
    let artifact = |end: &str| {
        json!({ "version": "2.1.0", "runs": [{ "tool": { "driver": { "name": "t" } }, "results": [],
                "artifacts": [{ "location": { "uri": format!("{long}{end}") } }] }] })
        .to_string()
    };
    let listed = sarif(&[result("r", &format!("{long}b.py"))], &json!([]));
    let area = read(&listed).unwrap().findings[0].area.clone();
    assert!(covers(&artifact("b.py"), &area, ""));
    assert!(!covers(&artifact("c.py"), &area, ""));
}

#[test]
fn what_differs_in_one_part_alone_is_another_finding() {
    let two = |first: Value, second: Value| {
        let report =
            json!({ "run_id": "r", "tool": "t", "target": "x", "modules": [first, second] });
        read(&report.to_string()).unwrap().findings.len()
    };
    let module = |name: &str, variant: &str| json!({ "name": name, "variant": variant, "verdict": "vulnerable" });

    assert_eq!(two(module("a", "b"), module("a", "c")), 2);
    assert_eq!(two(module("ab", "c"), module("a", "bc")), 2);
    assert_eq!(two(module("a", "b"), module("a", "b")), 1);

    let prints = json!({ "fingerprints": { "v1": "same" } });
    let mut results = [
        result("r", "a.py"),
        result("r", "b.py"),
        result("s", "a.py"),
    ];
    for result in &mut results {
        result["fingerprints"] = prints["fingerprints"].clone();
    }
    let report = read(&sarif(&results, &json!([]))).unwrap();
    assert_eq!(
        report.findings.len(),
        3,
        "the tool's fingerprint is not believed alone"
    );
}
