//! The ways on which data may move, as the configuration says.

use model::facts::{TransportFacts, Way};

use config::{Address, Config};
use notify::channels::those;

/// Names the channels that reach people by themselves, configured or not: messages of the past may
/// have gone out by one that is no longer.
pub(super) fn to_people() -> Vec<String> {
    those(|definition| definition.audience.reaches_people())
        .iter()
        .map(ToString::to_string)
        .collect()
}

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

    if let Some(listen) = config.console.address() {
        way(
            format!("console on {listen}"),
            listen.ip().is_loopback(),
            !config.console.tls_cert_file.is_empty(),
        );
    }

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

    let sections = config.channels.all();
    ways.extend(sections.iter().flat_map(|(_, section)| section.ways()));

    let channels = config
        .channels
        .configured()
        .iter()
        .map(ToString::to_string)
        .collect();

    let told = config.contacts.for_audit_failures();
    let by_name = sections
        .iter()
        .any(|(definition, section)| definition.names_people && section.is_configured());
    let reached = |_: &notify::Person| by_name;
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
