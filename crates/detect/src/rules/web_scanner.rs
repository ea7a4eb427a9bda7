//! Somebody looks for what is not there: bursts of errors, probes for secrets, tools that say what
//! they are.

use std::sync::Arc;

use model::event::Marks;
use model::{ControlId, EntityKind, RuleId, SecurityEvent, Severity, Source, Span};
use serde::{Deserialize, Serialize};

use super::Counting;
use crate::glance::Screen;
use crate::glob::plain_path;
use crate::keyed::Key;
use crate::open::Opening;
use crate::rule::{Built, Context, Definition, Info, Rule, Usage, defaults, params};

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("web_scanner"),
        name: "Web scanner",
        description: "One address gets more than `errors` refusals or errors within \
            `errors_window`, probes for more than `probes` secrets \
                      or foreign hosts within `probes_window`, or names itself a scanner.",
        severity: Severity::Medium,
        controls: &[ControlId::known("3.14.6"), ControlId::known("3.13.1")],
        attack: &["T1595.002", "T1595.003"],
        interest: Marks::WEB,
        feeds: &[Source::Nginx],
    },
    defaults: defaults::<Params>,
    fixtures: include_str!("fixtures/web_scanner.ndjson"),
    build: |value, max_keys| {
        let p: Params = params(value)?;
        let (cooldown, memory) = (Span::hours(1), p.errors_window.max(p.probes_window));
        let errors = Counting::new(p.errors, p.errors_window, max_keys);
        let probes = Counting::new(p.probes, p.probes_window, max_keys);

        Ok(Built {
            rule: Box::new(WebScanner {
                errors,
                probes,
                params: p,
            }),
            cooldown,
            memory,
        })
    },
};

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// More than this many 4xx answers.
    errors: u32,
    errors_window: Span,
    /// More than this many probes.
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

/// What only a tool for finding holes calls itself.
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

/// What nobody has business to ask a web server for.
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

/// Whether a request is for a secret, or for somebody else's server.
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

/// What a scanner is that says itself which one.
fn tool(event: &SecurityEvent<'_>) -> Option<&'static str> {
    let agent = event
        .user_agent
        .as_deref()
        .unwrap_or_default()
        .to_ascii_lowercase();
    TOOLS.iter().find(|tool| agent.contains(**tool)).copied()
}

fn is_refused(event: &SecurityEvent<'_>) -> bool {
    event
        .details
        .number("status")
        .is_some_and(|status| (400..500).contains(&status))
}

impl WebScanner {
    /// What this request adds up to, in words; none when it is nothing yet.
    fn verdict(
        &mut self,
        key: Key,
        event: &SecurityEvent<'_>,
        cx: &mut Context<'_>,
    ) -> Option<String> {
        let mut verdict =
            tool(event).map(|tool| format!("which calls itself {}", tool.trim_end_matches('/')));
        if is_probe(event) && self.probes.holds(key, event, cx).is_some() {
            verdict = Some(format!(
                "more than {} probes within {}",
                self.params.probes, self.params.probes_window
            ));
        }

        if is_refused(event) && self.errors.holds(key, event, cx).is_some() {
            verdict = Some(format!(
                "more than {} errors within {}",
                self.params.errors, self.params.errors_window
            ));
        }

        verdict
    }
}

impl Rule for WebScanner {
    fn screen(&self) -> Option<Screen> {
        Some(Arc::new(|event| {
            is_refused(event) || is_probe(event) || tool(event).is_some()
        }))
    }

    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let Some(ip) = event.ip_address else { return };
        let key = Key::ip(event.source, ip);
        let Some(verdict) = self.verdict(key, event, cx) else {
            return;
        };
        cx.fire(key, event, || {
            let title = format!("Web scanner: {ip}, {verdict}");
            let description = format!(
                "Someone at {ip} looks for holes in the web server: {verdict}. Block the address \
                    if it is not one of yours, and look \
                 at what it was answered with 200."
            );
            Opening::new(EntityKind::Ip, ip, title, description)
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
