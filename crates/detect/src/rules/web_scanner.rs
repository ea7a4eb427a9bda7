//! One address scans the web server: errors of many paths, probes for secrets and sign-in pages,
//! scanners by their user agent; or it was served a secret.

use std::sync::{Arc, LazyLock};

use aho_corasick::AhoCorasick;
use model::event::EventTags;
use model::{ControlId, RuleId, SecurityEvent, Severity, Source, Span};
use serde::{Deserialize, Serialize};

use super::{Counting, Distinct};
use crate::client::Client;
use crate::clock_cache::ClockCache;
use crate::event_header::RulePredicate;
use crate::glob::{Glob, plain_path};
use crate::keyed::Key;
use crate::open::NewDetection;
use crate::rule::{
    Built, Context, Definition, Info, Rule, Usage, default_params, parse_params, quiet_since,
};

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("web_scanner"),
        name: "Web scanner",
        description: "One address gets more than `errors` refusals for at least `breadth` paths \
            within `errors_window`, probes for more than `probes` secrets within `probes_window` \
            or `slow_probes` within `slow_window`, signs in to WordPress more than `sign_ins` \
            times, has the user agent of a scanner, or was served a secret (high).",
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
        Ok(Built {
            cooldown: Span::hours(1),
            // A restart forgets the slow probes: a day of all requests takes long to read again.
            lookback: p.errors_window.max(p.probes_window),
            rule: Box::new(WebScanner {
                errors: Counting::new(p.errors, p.errors_window, max_keys),
                paths: ClockCache::new(max_keys),
                probes: Counting::new(p.probes, p.probes_window, max_keys),
                slow_probes: Counting::new(p.slow_probes, p.slow_window, max_keys),
                sign_ins: Counting::new(p.sign_ins, p.probes_window, max_keys),
                health_checks: health_checks(&p),
                params: p,
            }),
        })
    },
};

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Maximum number of 4xx answers that is still normal.
    errors: u32,
    errors_window: Span,
    /// Errors of fewer paths than this are a broken page.
    breadth: usize,
    /// Maximum number of probes that is still normal.
    probes: u32,
    probes_window: Span,
    /// The same over a long time.
    slow_probes: u32,
    slow_window: Span,
    /// Maximum number of sign-ins to WordPress within `probes_window` that is still normal.
    sign_ins: u32,
    /// Paths that monitoring asks for, as patterns. They are no probes where they are served.
    health_checks: Vec<String>,
}

impl Default for Params {
    fn default() -> Self {
        let health_checks = [
            "/actuator/health*",
            "/actuator/info",
            "/actuator/prometheus",
            "/server-status",
            "/nginx_status",
            "/metrics",
            "/health*",
            "/livez",
            "/readyz",
        ];
        Self {
            errors: 20,
            errors_window: Span::mins(1),
            breadth: 5,
            probes: 2,
            probes_window: Span::mins(5),
            slow_probes: 5,
            slow_window: Span::hours(24),
            sign_ins: 10,
            health_checks: health_checks.map(str::to_owned).to_vec(),
        }
    }
}

fn health_checks(params: &Params) -> Arc<[Glob]> {
    params
        .health_checks
        .iter()
        .map(|pattern| Glob::new(pattern))
        .collect()
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

/// Files and folders that no client requests unless it looks for secrets. A trailing slash stands
/// for the folder and all in it.
const SECRETS: [&str; 32] = [
    "/.env",
    "/.git/",
    "/.svn/",
    "/.hg/",
    "/.aws/",
    "/.ssh/",
    "/.kube/",
    "/.docker/",
    "/.vscode/",
    "/.idea/",
    "/.htpasswd",
    "/htpasswd",
    "/.ds_store",
    "/.npmrc",
    "/.netrc",
    "/.pgpass",
    "/.bash_history",
    "/.git-credentials",
    "/wp-config.php.",
    "/wp-config.bak",
    "/wp-config.old",
    "/wp-config.txt",
    "/id_rsa",
    "/id_ed25519",
    "/phpinfo.php",
    "/backup.sql",
    "/dump.sql",
    "/database.sql",
    "/db.sql",
    "/credentials.json",
    "/secrets.json",
    "/web.config",
];

/// Pages of administration, which are ordinary where they are served.
const ADMIN_PAGES: [&str; 14] = [
    "/server-status",
    "/actuator/",
    "/phpmyadmin/",
    "/pma/",
    "/wp-login.php",
    "/wp-admin/",
    "/xmlrpc.php",
    "/wp-content/plugins/",
    "/wp-json/wp/v2/users",
    "/administrator/",
    "/manager/html",
    "/solr/",
    "/setup.php",
    "/boaform/",
];

/// Pages by which one signs in to WordPress.
const SIGN_INS: [&str; 2] = ["/wp-login.php", "/xmlrpc.php"];

/// Finds in one pass whether a path holds a name of [`SECRETS`] or [`ADMIN_PAGES`] at all, which
/// nearly none does. Without it, every path is looked at once for each name.
static NAMES: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    let names = SECRETS.iter().chain(&ADMIN_PAGES);
    AhoCorasick::new(names.map(|part| part.trim_end_matches('/'))).ok()
});

/// The same for [`TOOLS`] in a user agent, in upper or lower case.
static TOOL_NAMES: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .build(TOOLS)
        .ok()
});

/// Whether one of the words may stand in the text. Without a finder, each has to be looked for.
fn may_hold(finder: Option<&AhoCorasick>, text: &str) -> bool {
    finder.is_none_or(|finder| finder.is_match(text))
}

/// Returns a path as the servers that are the most forgiving resolve it: a backslash is a slash,
/// blanks and dots at the end of a name are nothing, and so is all behind NUL.
fn resolved(path: &str) -> String {
    // Nearly all paths are plain.
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    if path.bytes().all(is_plain) && !path.contains("./") && !path.ends_with('.') {
        return path.to_ascii_lowercase();
    }

    let path = path.split('\0').next().unwrap_or_default();
    let is_ignored = |c: char| c.is_whitespace() || c.is_control();
    let segments: Vec<&str> = path
        .split(['/', '\\'])
        .map(|name| {
            let trimmed = name.trim_end_matches(|c| is_ignored(c) || c == '.');
            // A name of dots alone is none of a file.
            let name = if trimmed.is_empty() { name } else { trimmed };
            name.trim_start_matches(is_ignored)
        })
        .collect();
    segments.join("/").to_lowercase()
}

/// Returns whether `part` stands in `path` at the beginning of a segment and ends with one, or with
/// an extension or a stream.
fn has_part(path: &str, part: &str) -> bool {
    let (name, is_folder) = match part.strip_suffix('/') {
        Some(folder) => (folder, true),
        None => (part, false),
    };

    path.match_indices(name).any(|(at, _)| {
        let rest = &path[at + name.len()..];
        rest.is_empty()
            || rest.starts_with(['/', ':', '?', '#'])
            || !is_folder && rest.starts_with(|c: char| !c.is_alphanumeric())
            || part.ends_with('.')
    })
}

/// What a request is, as far as a single one shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Traits {
    /// It asks for a secret, for a page that is not there, or for a foreign host.
    is_probe: bool,
    /// A secret was served.
    is_leak: bool,
    /// It may sign in to WordPress.
    is_sign_in: bool,
}

impl Traits {
    fn of(event: &SecurityEvent<'_>, health_checks: &[Glob]) -> Self {
        let target = event.resource_id.as_deref().unwrap_or_default();
        let method = event.resource_type.as_deref().unwrap_or_default();
        let status = event.details.number("status").unwrap_or(0);
        let scheme = target.get(..8).unwrap_or(target).to_ascii_lowercase();
        let is_foreign =
            method == "CONNECT" || scheme.starts_with("http://") || scheme.starts_with("https://");
        let path = resolved(&plain_path(target));
        let is_refused = is_refused(event);
        let is_served = (200..300).contains(&status);

        let is_health_check =
            !is_refused && health_checks.iter().any(|pattern| pattern.matches(&path));
        let is_named = may_hold(NAMES.as_ref(), &path);
        let asks_secret = is_named && SECRETS.iter().any(|secret| has_part(&path, secret));
        let asks_admin =
            is_named && is_refused && ADMIN_PAGES.iter().any(|page| has_part(&path, page));
        // `/?author=1` reveals the names of the users of WordPress.
        let asks_author = target
            .split_once("?author=")
            .is_some_and(|(_, number)| number.starts_with(|c: char| c.is_ascii_digit()));

        Self {
            is_probe: !is_health_check && (is_foreign || asks_secret || asks_admin || asks_author),
            is_leak: asks_secret && is_served && !matches!(method, "HEAD" | "CONNECT"),
            is_sign_in: method == "POST" && SIGN_INS.iter().any(|page| path.ends_with(page)),
        }
    }
}

fn is_refused(event: &SecurityEvent<'_>) -> bool {
    event
        .details
        .number("status")
        .is_some_and(|status| (400..500).contains(&status))
}

/// Returns the name of the scanner in the user agent, if there is one.
fn scanner_tool(event: &SecurityEvent<'_>) -> Option<&'static str> {
    let agent = event.user_agent.as_deref().unwrap_or_default();
    if !may_hold(TOOL_NAMES.as_ref(), agent) {
        return None;
    }

    let agent = agent.to_ascii_lowercase();
    TOOLS
        .iter()
        .find(|scanner_tool| agent.contains(**scanner_tool))
        .copied()
}

struct WebScanner {
    errors: Counting,
    /// The paths of the errors.
    paths: ClockCache<Distinct>,
    probes: Counting,
    slow_probes: Counting,
    sign_ins: Counting,
    health_checks: Arc<[Glob]>,
    params: Params,
}

impl WebScanner {
    /// Returns whether the refusals of a client are many, and of many paths.
    fn counts_as_scan(
        &mut self,
        key: Key,
        event: &SecurityEvent<'_>,
        cx: &mut Context<'_>,
    ) -> bool {
        let target = event.resource_id.as_deref().unwrap_or_default();
        let path = cx.key_hasher.short_hash(&plain_path(target));
        let (paths, newest) = self.paths.touch(key, event.timestamp, cx.stale_before);
        paths.record(path, event.timestamp);
        let breadth = paths.count_after(newest.minus(self.params.errors_window));

        self.errors.count_and_check(key, event, cx).is_some() && breadth >= self.params.breadth
    }

    /// Returns whether a client has probed too often over a long time.
    fn probes_slowly(&mut self, key: Key, event: &SecurityEvent<'_>, cx: &mut Context<'_>) -> bool {
        let stale_before = cx.stale_before;
        cx.stale_before = quiet_since(event.timestamp, self.params.slow_window);
        let is_slow = self.slow_probes.count_and_check(key, event, cx).is_some();
        cx.stale_before = stale_before;
        is_slow
    }

    /// Counts the request; returns why its address is a scanner, or `None` if it is not yet.
    fn assess_request(
        &mut self,
        key: Key,
        event: &SecurityEvent<'_>,
        cx: &mut Context<'_>,
    ) -> Option<String> {
        let traits = Traits::of(event, &self.health_checks);
        let mut verdict = scanner_tool(event)
            .map(|tool| format!("it calls itself {}", tool.trim_end_matches('/')));

        if traits.is_probe {
            let fast = self.probes.count_and_check(key, event, cx).is_some();
            let slow = self.probes_slowly(key, event, cx);
            let (most, window) = if fast {
                (self.params.probes, self.params.probes_window)
            } else {
                (self.params.slow_probes, self.params.slow_window)
            };
            if fast || slow {
                verdict = Some(format!("more than {most} probes within {window}"));
            }
        }

        if traits.is_sign_in && self.sign_ins.count_and_check(key, event, cx).is_some() {
            verdict = Some(format!(
                "more than {} sign-ins to WordPress within {}",
                self.params.sign_ins, self.params.probes_window
            ));
        }

        if is_refused(event) && self.counts_as_scan(key, event, cx) {
            verdict = Some(format!(
                "more than {} errors within {}",
                self.params.errors, self.params.errors_window
            ));
        }

        verdict
    }
}

/// Scans, and secrets that were served, are separate detections.
const SCAN: i64 = 0;
const LEAK: i64 = 1;

impl Rule for WebScanner {
    fn predicate(&self) -> Option<RulePredicate> {
        let health_checks = Arc::clone(&self.health_checks);
        Some(Arc::new(move |event| {
            is_refused(event)
                || Traits::of(event, &health_checks) != Traits::default()
                || scanner_tool(event).is_some()
        }))
    }

    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let Some(client) = Client::of(event) else {
            return;
        };
        let key = client.key(event, cx);
        if Traits::of(event, &self.health_checks).is_leak {
            cx.fire_episode(key, LEAK, event, || {
                let target = event.resource_id.as_deref().unwrap_or_default();
                let title = format!("Web scanner: {client} was served {target}");
                let description = format!(
                    "The web server answered a request from {client} for {target} with success. Find \
                        out what it served, remove the file, and replace the keys and passwords \
                        in it."
                );
                NewDetection::new(client.entity_kind(), &client, title, description)
                    .with_severity(Severity::High)
            });
        }

        let Some(verdict) = self.assess_request(key, event, cx) else {
            return;
        };
        cx.fire_episode(key, SCAN, event, || {
            let title = format!("Web scanner: {client}, {verdict}");
            let description = format!(
                "Someone at {client} is probing the web server for vulnerabilities: {verdict}. Block \
                    the address if it is not one of yours, and look at the requests that were \
                    answered with 200."
            );
            NewDetection::new(client.entity_kind(), &client, title, description)
        });
    }

    fn usage(&self) -> Usage {
        let all = [
            &self.errors,
            &self.probes,
            &self.slow_probes,
            &self.sign_ins,
        ];
        let used = all.map(Counting::usage);
        Usage {
            keys: used.iter().map(|u| u.keys).sum::<usize>() + self.paths.len(),
            evicted: used.iter().map(|u| u.evicted).sum::<u64>() + self.paths.evicted(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traits(method: &str, target: &str, status: u16) -> Traits {
        let mut event = SecurityEvent::new(
            model::EventId::from_u128(1),
            model::Timestamp::from_micros(0),
            Source::Nginx,
            model::Category::Network,
            "http_request".into(),
            model::Outcome::Success,
        );
        event.resource_type = Some(method.to_owned().into());
        event.resource_id = Some(target.to_owned().into());
        let details = serde_json::json!({ "status": status });
        event.details = model::event::Details::from_json(details.to_string());
        Traits::of(&event.classify(), &health_checks(&Params::default()))
    }

    /// A server resolves many spellings to the same file.
    #[test]
    fn no_spelling_of_a_secret_hides_that_it_was_served() {
        for target in [
            "/.env",
            "/.ENV",
            "/.env%20",
            "/.env.",
            "/.env...",
            "/.env%00.html",
            "/.env%0a",
            "/.env%3f",
            "/.env;x",
            "/%2eenv",
            "/%252eenv",
            "/.env::$DATA",
            "/.env%20/",
            "/app\\.env",
            "/app%5c.env",
            "/%20.env",
            "/a/..;/.env",
            "/.env?x=/a",
            "/.env~",
            "/.env%20.bak",
            "/.git/config;x",
            "/.git%20/config",
            "/.git./config",
            "/.git\\config",
            "/.git%2fconfig",
            "http://shop.example/.env",
        ] {
            assert!(traits("GET", target, 200).is_leak, "{target}");
            assert!(traits("GET", target, 404).is_probe, "{target}");
        }

        for target in [
            "/.environment",
            "/.envoy/",
            "/.github/workflows",
            "/.gitignore",
            "/docs/env",
            "/a.env",
            "/?file=.env",
        ] {
            assert!(!traits("GET", target, 200).is_leak, "{target}");
        }
        assert!(!traits("CONNECT", "shop.example:443", 200).is_leak);
        assert!(!traits("HEAD", "/.env", 200).is_leak);
    }
}
