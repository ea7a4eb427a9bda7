//! The ways on which data may move, as the configuration says.

use model::facts::{TransportFacts, Way};

use config::{Address, Config, EmailSecurity};

/// Reads the ways from the configuration.
pub(super) fn read(config: &Config) -> TransportFacts {
    let mut ways = Vec::new();
    let mut way = |name: String, local: bool, encrypted: bool| {
        ways.push(Way {
            name,
            local,
            encrypted,
        });
    };

    let ingest = &config.ingest;
    way(
        format!("event ingest on {}", ingest.listen),
        ingest.listen.ip().is_loopback(),
        !ingest.tls_cert_file.is_empty(),
    );

    for l in &config.collect.listeners {
        let Ok(address) = l.address.parse::<Address>() else {
            continue;
        };
        let encrypted = matches!(address, Address::Tls(_));
        way(
            format!("listener {address}"),
            !encrypted && !address.is_plain_network(),
            encrypted,
        );
    }

    let channels = &config.channels;
    if !channels.email.host.is_empty() {
        let e = &channels.email;
        way(
            format!("mail to {}:{}", e.host, e.port),
            is_here(&e.host),
            e.security != EmailSecurity::Plain,
        );
    }

    let pagerduty = if channels.pagerduty.routing_key_file.is_empty() {
        ""
    } else {
        &channels.pagerduty.url
    };

    let web = [
        ("webhook", channels.webhook.url.as_str()),
        ("PagerDuty", pagerduty),
    ];
    for (name, url) in web.into_iter().filter(|(_, url)| !url.is_empty()) {
        let host = url.split("://").nth(1).unwrap_or_default();
        way(name.to_owned(), is_here(host), url.starts_with("https://"));
    }

    // Their addresses are secrets in files; what is read from there is refused unless it is https,
    // but for this machine.
    for (name, file) in [
        ("webhook", &channels.webhook.url_file),
        ("Slack", &channels.slack.url_file),
        ("Teams", &channels.teams.url_file),
    ] {
        // What cannot be read sends nothing, and says nothing.
        let url = std::fs::read_to_string(file).unwrap_or_default();
        if let Some((scheme, host)) = url.trim().split_once("://") {
            way(name.to_owned(), is_here(host), scheme == "https");
        }
    }

    for (name, target) in [
        ("syslog", &channels.syslog.target),
        ("OCSF", &channels.ocsf.target),
        ("CEF", &channels.cef.target),
    ] {
        if let Some((kind, rest)) = target.split_once(':') {
            way(
                format!("{name} to {target}"),
                kind == "unix" || is_here(rest),
                kind == "tls",
            );
        }
    }

    let channels = config
        .channels
        .configured()
        .iter()
        .map(ToString::to_string)
        .collect();

    // By mail alone: nothing else knows people by name.
    let told = config.contacts.for_audit_failures();
    let reached = |_: &notify::Person| !config.channels.email.host.is_empty();
    let audit_failures = told
        .into_iter()
        .filter(reached)
        .map(|person| person.name)
        .collect();

    TransportFacts {
        ways,
        channels,
        audit_failures: Some(audit_failures),
    }
}

/// Whether a host, with a port or a path behind it, is this machine.
fn is_here(host: &str) -> bool {
    let name = host.split(['/', '?']).next().unwrap_or_default();
    let bare = if let Some(rest) = name.strip_prefix('[') {
        rest.split(']').next().unwrap_or_default()
    } else {
        name.rsplit_once(':').map_or(name, |(host, _)| host)
    };

    bare == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_is_local_or_encrypted_or_named() {
        let mut config = Config::default();
        config.channels.email.host = "mail.example".to_owned();
        config.channels.syslog.target = "udp:10.0.0.5:514".to_owned();
        config.channels.webhook.url = "https://hooks.example/x".to_owned();

        let open = |config: &Config| {
            let ways = read(config)
                .ways
                .into_iter()
                .filter(|w| !w.local && !w.encrypted);
            ways.map(|w| w.name).collect::<Vec<_>>()
        };

        assert_eq!(open(&config), ["syslog to udp:10.0.0.5:514"]);
        config.channels.syslog.target = "udp:127.0.0.1:514".to_owned();
        config.channels.webhook.url = "http://[::1]:80/x".to_owned();
        assert!(open(&config).is_empty());
        config.channels.webhook.url = "http://localhost.evil.example/x".to_owned();
        assert_eq!(open(&config), ["webhook"]);
    }
}
