//! Which events a rule is about: its `logsource`, in terms of the sources that blueteam reads.
//!
//! Names are those of the Sigma taxonomy (specification v2, appendix "Taxonomy"). A product that is
//! neither in the taxonomy nor one of ours is taken for an application's own name: the rule then
//! runs on the audit events of the service that is called so.

use model::{SecurityEvent, Source};
use rsigma_parser::LogSource;

/// The events that a rule looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Feed {
    /// Those of every source.
    Any,
    /// Those of these sources.
    Sources(&'static [Source]),
    /// Audit events of a service, its name in lower case.
    Service(String),
    /// None: no source here reads such a log. With the words of the rule.
    Nothing(String),
}

/// Products of the taxonomy whose logs no source of blueteam reads.
const FOREIGN_PRODUCTS: &[&str] = &[
    "aws",
    "azure",
    "bitbucket",
    "cisco",
    "cloudflare",
    "docker",
    "esxi",
    "fortigate",
    "fortinet",
    "gcp",
    "github",
    "gitlab",
    "google_workspace",
    "huawei",
    "juniper",
    "kubernetes",
    "m365",
    "macos",
    "okta",
    "onelogin",
    "opencanary",
    "paloalto",
    "qualys",
    "rpc_firewall",
    "windows",
    "zeek",
];

/// Categories that an endpoint agent or a network sensor would have to report.
const FOREIGN_CATEGORIES: &[&str] = &[
    "antivirus",
    "clipboard_capture",
    "create_remote_thread",
    "create_stream_hash",
    "dns",
    "dns_query",
    "driver_load",
    "edr",
    "file_access",
    "file_change",
    "file_delete",
    "file_event",
    "file_rename",
    "firewall",
    "image_load",
    "network_connection",
    "pipe_created",
    "process_access",
    "process_creation",
    "process_tampering",
    "process_termination",
    "proxy",
    "ps_classic_start",
    "ps_module",
    "ps_script",
    "raw_access_thread",
    "registry_add",
    "registry_delete",
    "registry_event",
    "registry_rename",
    "registry_set",
    "sysmon_error",
    "sysmon_status",
    "wmi_event",
];

const AUDIT: &[Source] = &[Source::AuditDb];
const SYSLOG: &[Source] = &[Source::Syslog];
const WEB: &[Source] = &[Source::Nginx];
const DATABASE: &[Source] = &[Source::Postgres];
const PHP: &[Source] = &[Source::PhpError];

impl Feed {
    pub(super) fn of(log_source: &LogSource) -> Self {
        let lower = |part: &Option<String>| part.as_deref().unwrap_or_default().to_lowercase();
        let product = lower(&log_source.product);
        let (category, service) = (lower(&log_source.category), lower(&log_source.service));

        let foreign = |what: &str, name: &str| Self::Nothing(format!("{what} {name}"));
        if FOREIGN_CATEGORIES.contains(&category.as_str()) {
            return foreign("category", &category);
        }
        match (product.as_str(), category.as_str(), service.as_str()) {
            ("", "", "") => Self::Any,
            ("blueteam", _, _) => named_source(&service).map_or(Self::Any, Self::Sources),
            ("nginx" | "apache", ..) | ("", "webserver", _) => Self::Sources(WEB),
            ("linux", "" | "authentication", service) => match service {
                "" | "auth" | "sshd" | "sudo" | "su" | "syslog" | "pam" | "secure" | "cron"
                | "systemd" | "usermod" => Self::Sources(SYSLOG),
                _ => foreign("service", service),
            },
            ("linux", category, _) => foreign("category", category),
            ("postgresql" | "postgres", ..) | ("", "database", _) => Self::Sources(DATABASE),
            ("php", ..) => Self::Sources(PHP),
            ("", "application" | "authentication", "") => Self::Sources(AUDIT),
            ("", "" | "application" | "authentication", service) => Self::Service(service.into()),
            ("", category, _) => foreign("category", category),
            (product, ..) if FOREIGN_PRODUCTS.contains(&product) => foreign("product", product),
            (product, _, "") => Self::Service(product.into()),
            (_, _, service) => Self::Service(service.into()),
        }
    }

    /// The kinds of source that can feed the rule; empty for any.
    pub(super) const fn sources(&self) -> &'static [Source] {
        match self {
            Self::Any | Self::Nothing(_) => &[],
            Self::Sources(sources) => sources,
            Self::Service(_) => AUDIT,
        }
    }

    /// Whether an event is one of those.
    pub(super) fn takes(&self, event: &SecurityEvent<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::Sources(sources) => sources.contains(&event.source),
            Self::Service(name) => {
                event.source == Source::AuditDb
                    && event
                        .details
                        .text("service")
                        .is_some_and(|service| service.eq_ignore_ascii_case(name))
            }
            Self::Nothing(_) => false,
        }
    }
}

/// The source of a name as blueteam writes it, for rules with `product: blueteam`.
fn named_source(service: &str) -> Option<&'static [Source]> {
    [AUDIT, SYSLOG, WEB, DATABASE, PHP]
        .into_iter()
        .find(|sources| sources[0].as_str() == service)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(product: &str, category: &str, service: &str) -> Feed {
        let part = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Feed::of(&LogSource {
            product: part(product),
            category: part(category),
            service: part(service),
            ..LogSource::default()
        })
    }

    #[test]
    fn log_sources_name_our_sources() {
        assert_eq!(feed("", "", ""), Feed::Any);
        assert_eq!(feed("blueteam", "", ""), Feed::Any);
        assert_eq!(feed("blueteam", "", "syslog"), Feed::Sources(SYSLOG));
        assert_eq!(feed("Nginx", "", "access"), Feed::Sources(WEB));
        assert_eq!(feed("", "webserver", ""), Feed::Sources(WEB));
        assert_eq!(feed("linux", "", "sshd"), Feed::Sources(SYSLOG));
        assert_eq!(feed("postgresql", "database", ""), Feed::Sources(DATABASE));
        assert_eq!(feed("", "application", ""), Feed::Sources(AUDIT));
        assert_eq!(feed("EQMON", "", ""), Feed::Service("eqmon".to_owned()));
        assert_eq!(
            feed("eqmon", "", "artemis"),
            Feed::Service("artemis".to_owned())
        );
    }

    #[test]
    fn what_no_source_reads_is_named() {
        for (product, category, service, why) in [
            ("windows", "", "security", "product windows"),
            (
                "windows",
                "process_creation",
                "",
                "category process_creation",
            ),
            ("linux", "", "auditd", "service auditd"),
            ("", "proxy", "", "category proxy"),
            ("aws", "", "cloudtrail", "product aws"),
        ] {
            assert_eq!(
                feed(product, category, service),
                Feed::Nothing(why.to_owned())
            );
        }
    }
}
