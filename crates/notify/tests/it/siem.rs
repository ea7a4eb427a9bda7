//! What a SIEM beside us gets: OCSF and CEF, over a real rsyslog with TLS, and held against OCSF's
//! own definition.

use std::path::Path;
use std::time::Instant;

use model::{AlertState, Content, Entity, EntityKind, IncidentId, Severity};
use notify::channels::{Outlet, cef, ocsf, syslog};
use notify::{Kind, Notification};
use serde_json::Value;
use uuid::Uuid;

use super::syslog::{Rsyslogd, receiver, start};
use super::{IMPATIENCE, PATIENCE, message};

/// Detection Finding of OCSF 1.5.0; where it is from stands in it.
const DEFINITION: &str = include_str!("data/ocsf-1.5.0-detection-finding.json");

fn valid(finding: &Value) {
    let definition: Value = serde_json::from_str(DEFINITION).unwrap();
    let validator = jsonschema::validator_for(&definition).unwrap();
    let errors: Vec<_> = validator
        .iter_errors(finding)
        .map(|e| format!("{}: {e}", e.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}\n{finding:#}");
}

#[test]
fn every_finding_is_as_the_schema_defines_it() {
    assert_eq!(
        (ocsf::VERSION, ocsf::CLASS),
        ("1.5.0", 2004),
        "the definition is that of another version"
    );

    for severity in Severity::ALL {
        for kind in [Kind::Opened, Kind::Escalated, Kind::Resolved, Kind::Test] {
            for (entity, value) in [
                (EntityKind::Ip, "2001:db8::1"),
                (EntityKind::Ip, "no address"),
                (EntityKind::User, "O'Brien \"root\""),
                (EntityKind::Session, "s1"),
                (EntityKind::Source, "nginx"),
            ] {
                let mut alert = message().content.as_alert().into_owned();
                alert.severity = severity;
                alert.entity = Entity {
                    kind: entity,
                    value: value.to_owned(),
                };

                alert.incident_id = (kind == Kind::Opened).then(|| IncidentId(Uuid::from_u128(7)));
                alert.state = if kind == Kind::Resolved {
                    AlertState::Closed
                } else {
                    AlertState::Open
                };

                alert.services = vec!["shop".to_owned()];
                let finding = ocsf::finding(&Notification {
                    content: Content::Alert(Box::new(alert)),
                    kind,
                    ..message()
                });
                valid(&finding);
                let id = |key: &str| finding[key].as_u64().unwrap();
                assert_eq!(id("type_uid"), id("class_uid") * 100 + id("activity_id"));
            }
        }
    }
}

/// One that listens with TLS alone, and writes the text of each message as it came.
fn rsyslogd(dir: &Path, port: u16) -> Option<Rsyslogd> {
    let config = format!(
        r#"global(workDirectory="{0}" maxMessageSize="16k" defaultNetstreamDriver="ossl"
  defaultNetstreamDriverCAFile="{0}/cert" defaultNetstreamDriverCertFile="{0}/cert" defaultNetstreamDriverKeyFile="{0}/key")
module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")
input(type="imtcp" address="127.0.0.1" port="{port}")
template(name="parts" type="string" string="%syslogfacility-text%.%syslogseverity-text%|%hostname%|%app-name%|%msgid%|%structured-data%|%msg%\n")
action(type="omfile" file="{0}/out" template="parts")
"#,
        dir.display()
    );

    start(dir, &config)
}

fn outlets(port: u16, ca: Option<&str>) -> [Box<dyn Outlet>; 3] {
    let to = |host: &str| {
        let target = format!("tls:{host}:{port}");
        syslog::Receiver {
            ca_pem: ca.map(str::to_owned),
            ..receiver(&target, PATIENCE)
        }
    };

    let syslog = syslog::Settings {
        receiver: to("localhost"),
        enterprise_id: 32473,
    };
    [
        syslog::outlet(syslog).unwrap(),
        ocsf::outlet(to("localhost")).unwrap(),
        cef::outlet(to("localhost")).unwrap(),
    ]
}

#[tokio::test]
async fn a_real_rsyslog_gets_all_three_over_tls_and_nobody_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let ca = issued.cert.pem();
    std::fs::write(dir.path().join("cert"), &ca).unwrap();
    std::fs::write(dir.path().join("key"), issued.signing_key.serialize_pem()).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let Some(_daemon) = rsyslogd(dir.path(), port) else {
        eprintln!(
            "SKIPPED: rsyslogd is not installed, so nothing was checked against it (apt-get \
                install rsyslog-openssl)"
        );
        return;
    };
    let since = Instant::now();
    for channel in outlets(port, Some(&ca)) {
        while let Err(error) = channel.send(&message()).await {
            let log = std::fs::read_to_string(dir.path().join("err")).unwrap_or_default();
            assert!(since.elapsed() < PATIENCE, "{error}\n{log}");
            tokio::time::sleep(IMPATIENCE).await;
        }
    }
    // A receiver whose certificate nobody vouches for is told nothing.
    let [_, stranger, _] = outlets(port, None);
    let error = stranger.send(&message()).await.unwrap_err();
    assert!(
        error.is_temporary() && error.what.contains("certificate"),
        "{error}"
    );

    let read = || std::fs::read_to_string(dir.path().join("out")).unwrap_or_default();
    while read()
        .lines()
        .filter(|line| line.contains("|blueteam|"))
        .count()
        < 3
    {
        assert!(since.elapsed() < PATIENCE, "{}", read());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let text = read();
    let lines: Vec<Vec<&str>> = text
        .lines()
        .filter(|l| l.contains("|blueteam|"))
        .map(|l| l.splitn(6, '|').collect())
        .collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(
        lines
            .iter()
            .all(|parts| parts[..4] == ["authpriv.err", "soc1", "blueteam", "opened"]),
        "{text}"
    );
    assert!(
        lines[0][4].starts_with("[alert@32473 ") && lines[0][5].contains("“żółw”"),
        "{text}"
    );
    assert_eq!(lines[1][4], "-");
    let finding: Value = serde_json::from_str(lines[1][5].trim()).unwrap();
    valid(&finding);
    assert_eq!(finding, ocsf::finding(&message()));
    assert!(
        lines[2][5].trim().starts_with("CEF:0|blueteam|blueteam|"),
        "{text}"
    );
    assert!(
        lines[2][5].contains("|brute_force|Brute force from 203.0.113.7 – “żółw”|8|externalId="),
        "{text}"
    );
    assert!(lines[2][5].contains(" src=203.0.113.7 "), "{text}");
}
