//! The delivered systemd unit, as far as it can be checked without systemd.

/// The values of a key in a section, in their order.
fn values<'a>(unit: &'a str, section: &str, key: &str) -> Vec<&'a str> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in unit
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
    {
        if line.starts_with('[') {
            inside = line == format!("[{section}]");
        } else if inside && let Some((name, value)) = line.split_once('=') {
            found.extend((name == key).then_some(value));
        }
    }
    found
}

#[test]
fn the_unit_is_never_given_up_and_can_be_reloaded() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/blueteam.service");
    let unit = std::fs::read_to_string(path).unwrap();
    let service = |key| values(&unit, "Service", key);
    assert_eq!(
        values(&unit, "Unit", "StartLimitIntervalSec"),
        ["0"],
        "a limit keeps an audit daemon down"
    );

    assert!(values(&unit, "Unit", "StartLimitBurst").is_empty());
    assert_eq!(
        service("Restart"),
        ["always"],
        "also after a signal that counts as a clean end"
    );
    assert_eq!(
        service("OOMPolicy"),
        ["continue"],
        "PostgreSQL is started again by the daemon"
    );

    assert!(
        service("ExecReload")
            .last()
            .is_some_and(|command| command.ends_with("kill -HUP $MAINPID"))
    );

    // What the private PostgreSQL and the listeners are tested with.
    assert_eq!(
        (service("ProcSubset"), service("ProtectProc")),
        (vec!["pid"], vec!["invisible"])
    );
}

/// `A or B` of series with equal labels shows A alone.
#[test]
fn every_series_of_the_dashboard_has_a_target_of_its_own() {
    let text = include_str!("../../../../deploy/grafana-dashboard.json");
    let dashboard: serde_json::Value = serde_json::from_str(text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets: Vec<&str> = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten()
        .filter_map(|target| target["expr"].as_str())
        .collect();

    assert!(targets.len() > 10, "{targets:?}");
    for expr in targets {
        assert!(!expr.contains(" or "), "{expr}");
    }
}
