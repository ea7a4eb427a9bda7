//! One address scans the web server: bursts of errors, probes for secrets, scanners by their user
//! agent.

use std::sync::Arc;

use model::event::EventTags;
use model::{ControlId, EntityKind, RuleId, SecurityEvent, Severity, Source, Span};
use serde::{Deserialize, Serialize};

use super::Counting;
use crate::event_header::RulePredicate;
use crate::glob::plain_path;
use crate::keyed::Key;
use crate::open::NewDetection;
use crate::rule::{Built, Context, Definition, Info, Rule, Usage, default_params, parse_params};

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("web_scanner"),
        name: "Web scanner",
        description: "One address gets more than `errors` refusals or errors within \
            `errors_window`, probes for more than `probes` secrets or foreign hosts within \
            `probes_window`, or has the user agent of a scanner.",
        severity: Severity::Medium,
        controls: &[ControlId::known("3.14.6"), ControlId::known("3.13.1")],
        attack: &["T1595.002", "T1595.003"],
        interest: EventTags::WEB,
        feeds: &[Source::Nginx],
    },
    defaults: default_params::<Params>,
    fixtures: include_str!("fixtures/web_scanner.ndjson"),
    build: |value, max_keys| {
        let p: Params = parse_params(value)?;
        let (cooldown, lookback) = (Span::hours(1), p.errors_window.max(p.probes_window));
        let errors = Counting::new(p.errors, p.errors_window, max_keys);
        let probes = Counting::new(p.probes, p.probes_window, max_keys);

        Ok(Built {
            rule: Box::new(WebScanner {
                errors,
                probes,
                params: p,
            }),
            cooldown,
            lookback,
        })
    },
};

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Maximum number of 4xx answers that is still normal.
    errors: u32,
    errors_window: Span,
    /// Maximum number of probes that is still normal.
    probes: u32,
    probes_window: Span,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            errors: 20,
            errors_window: Span::mins(1),
            probes: 2,
            probes_window: Span::mins(5),
        }
    }
}

/// Parts of user agents that only vulnerability scanners have.
const TOOLS: [&str; 18] = [
    "acunetix",
    "dirbuster",
    "feroxbuster",
    "ffuf/",
    "gobuster",
    "masscan",
    "nessus",
    "netsparker",
    "nikto",
    "nmap scripting",
    "nuclei",
    "openvas",
    "sqlmap",
    "w3af",
    "wfuzz",
    "whatweb",
    "wpscan",
    "zgrab",
];

/// Parts of paths that no legitimate client requests.
const SECRETS: [&str; 16] = [
    "/.env",
    "/.git/",
    "/.svn/",
    "/.aws/",
    "/.ssh/",
    "/.htpasswd",
    "/.ds_store",
    "/wp-config.php.",
    "/id_rsa",
    "/server-status",
    "/actuator/",
    "/phpinfo.php",
    "/phpmyadmin",
    "/.vscode/",
    "/backup.sql",
    "/dump.sql",
];

struct WebScanner {
    errors: Counting,
    probes: Counting,
    params: Params,
}

/// Returns whether a request is for a secret, or for a foreign host.
fn is_probe(event: &SecurityEvent<'_>) -> bool {
    let Some(target) = event.resource_id.as_deref() else {
        return false;
    };
    if event.resource_type.as_deref() == Some("CONNECT") {
        return true;
    }

    let scheme = target.get(..8).unwrap_or(target).to_ascii_lowercase();
    let path = plain_path(target).to_ascii_lowercase();
    scheme.starts_with("http://")
        || scheme.starts_with("https://")
        || SECRETS.iter().any(|secret| path.contains(secret))
}

/// Returns the name of the scanner in the user agent, if there is one.
fn scanner_tool(event: &SecurityEvent<'_>) -> Option<&'static str> {
    let agent = event
        .user_agent
        .as_deref()
        .unwrap_or_default()
        .to_ascii_lowercase();
    TOOLS
        .iter()
        .find(|scanner_tool| agent.contains(**scanner_tool))
        .copied()
}

fn is_refused(event: &SecurityEvent<'_>) -> bool {
    event
        .details
        .number("status")
        .is_some_and(|status| (400..500).contains(&status))
}

impl WebScanner {
    /// Counts the request; returns why its address is a scanner, or `None` if it is not yet.
    fn assess_request(
        &mut self,
        key: Key,
        event: &SecurityEvent<'_>,
        cx: &mut Context<'_>,
    ) -> Option<String> {
        let mut verdict = scanner_tool(event)
            .map(|tool| format!("which calls itself {}", tool.trim_end_matches('/')));
        if is_probe(event) && self.probes.count_and_check(key, event, cx).is_some() {
            verdict = Some(format!(
                "more than {} probes within {}",
                self.params.probes, self.params.probes_window
            ));
        }

        if is_refused(event) && self.errors.count_and_check(key, event, cx).is_some() {
            verdict = Some(format!(
                "more than {} errors within {}",
                self.params.errors, self.params.errors_window
            ));
        }

        verdict
    }
}

impl Rule for WebScanner {
    fn predicate(&self) -> Option<RulePredicate> {
        Some(Arc::new(|event| {
            is_refused(event) || is_probe(event) || scanner_tool(event).is_some()
        }))
    }

    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let Some(ip) = event.ip_address else { return };
        let key = Key::ip(event.source, ip);
        let Some(verdict) = self.assess_request(key, event, cx) else {
            return;
        };
        cx.fire(key, event, || {
            let title = format!("Web scanner: {ip}, {verdict}");
            let description = format!(
                "Someone at {ip} is probing the web server for vulnerabilities: {verdict}. Block \
                    the address if it is not one of yours, and look at the requests that were \
                    answered with 200."
            );
            NewDetection::new(EntityKind::Ip, ip, title, description)
        });
    }

    fn usage(&self) -> Usage {
        let (errors, probes) = (self.errors.usage(), self.probes.usage());
        Usage {
            keys: errors.keys + probes.keys,
            evicted: errors.evicted + probes.evicted,
        }
    }
}
