//! More exports in an hour than is normal for the user.

use std::collections::VecDeque;

use model::event::EventTags;
use model::{ControlId, EntityKind, RuleId, SecurityEvent, Severity, Source, Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::clock_cache::ClockCache;
use crate::open::{NewDetection, Texts};
use crate::rule::{Built, Context, Definition, Info, Rule, Usage, default_params, parse_params};
use crate::window::Hit;

pub(super) const RULE: Definition = Definition {
    info: &Info {
        id: RuleId::builtin("data_exfiltration"),
        name: "Data exfiltration",
        description: "Exports and downloads of one user within `window` exceed the larger of \
            `floor` and `factor` times the user's own hourly mean of the last 14 days, or \
            `ceiling`; the same for bytes with `floor_bytes` and `ceiling_bytes`.",
        severity: Severity::High,
        controls: &[ControlId::known("3.1.3"), ControlId::known("3.14.6")],
        attack: &["T1567", "T1530"],
        interest: EventTags::EXPORT,
        feeds: &[Source::AuditDb],
    },
    defaults: default_params::<Params>,
    fixtures: include_str!("fixtures/data_exfiltration.ndjson"),
    build: |value, max_keys| {
        let params: Params = parse_params(value)?;
        let (cooldown, lookback) = (params.window, params.window);
        Ok(Built {
            rule: Box::new(DataExfiltration {
                users: ClockCache::new(max_keys),
                params,
            }),
            cooldown,
            lookback,
        })
    },
};

/// Maximum number of remembered exports per user and window. A limit above it cannot be exceeded,
/// so it is far above the default floor.
const EXPORTS_MAX: usize = 65_536;

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    window: Span,
    /// Number of exports that is never too many.
    floor: u32,
    /// Number of bytes that is never too many.
    floor_bytes: u64,
    /// Number of exports that is always too many, whatever the user's own mean has become.
    ceiling: u32,
    /// The same of bytes.
    ceiling_bytes: u64,
    /// Multiple of the user's own mean that is still normal.
    factor: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            window: Span::hours(1),
            floor: 20,
            floor_bytes: 500_000_000,
            ceiling: 1000,
            ceiling_bytes: 10_000_000_000,
            factor: 5.0,
        }
    }
}

#[derive(Debug, Default)]
struct Exports {
    /// In time order.
    exports: VecDeque<(Hit, u64)>,
    count: u64,
    bytes: u64,
}

impl Exports {
    /// Records an export; returns false if it is too old or already known.
    fn record_export(&mut self, hit: Hit, bytes: u64, cutoff: Timestamp) -> bool {
        if hit.at <= cutoff {
            return false;
        }

        while self.exports.front().is_some_and(|(h, _)| h.at <= cutoff)
            || self.exports.len() >= EXPORTS_MAX
        {
            if let Some((old, bytes)) = self.exports.pop_front() {
                self.count -= u64::from(old.times);
                self.bytes = self.bytes.saturating_sub(bytes);
            }
        }

        let place = self.exports.partition_point(|(h, _)| *h < hit);
        if self.exports.get(place).is_some_and(|(h, _)| *h == hit) {
            return false;
        }

        self.exports.insert(place, (hit, bytes));
        self.count += u64::from(hit.times);
        self.bytes = self.bytes.saturating_add(bytes);
        true
    }
}

struct DataExfiltration {
    users: ClockCache<Exports>,
    params: Params,
}

impl Rule for DataExfiltration {
    fn observe(&mut self, event: &SecurityEvent<'_>, cx: &mut Context<'_>) {
        let (Some(key), Some(id)) = (cx.user, &event.user_id) else {
            return;
        };
        let Params {
            window,
            floor,
            floor_bytes,
            ceiling,
            ceiling_bytes,
            factor,
        } = self.params;

        let bytes = event.details.number("bytes").unwrap_or(0);
        let (state, newest) = self.users.touch(key, event.timestamp, cx.stale_before);
        let cutoff = newest.minus(window);
        if !state.record_export(Hit::of(event), bytes, cutoff) {
            cx.counters.late += u64::from(event.timestamp <= cutoff);
            return;
        }

        let (mean_count, mean_bytes) = cx.profiles.learn_export(key, event, bytes, cutoff);
        // A mean can be raised patiently; the ceiling cannot.
        let count_limit = f64::from(floor)
            .max(factor * mean_count)
            .min(f64::from(ceiling));
        let bytes_limit = (floor_bytes as f64)
            .max(factor * mean_bytes)
            .min(ceiling_bytes as f64);
        let (count, total) = (state.count, state.bytes);
        if count as f64 <= count_limit && total as f64 <= bytes_limit {
            return;
        }

        let users = cx.users;
        cx.fire(key, event, || {
            let user = users.person(id, event);
            let megabytes = total / 1_000_000;
            let has_size = megabytes > 0;
            let usual = format!(
                "their own mean is {mean_count:.1} times and {:.1} MB an hour, and the limit is \
                    {count_limit:.0} times or {:.0} MB",
                mean_bytes / 1e6,
                bytes_limit / 1e6
            );
            let name = user.to_string();
            let hits: Vec<Hit> = state.exports.iter().map(|(h, _)| *h).collect();

            NewDetection::counting(EntityKind::User, id, &hits, window, move |times, within| {
                // Later exports count toward the number, not toward the bytes.
                let at_least = if times > count { "at least " } else { "" };
                // An application may not say how large an export was.
                let (and_size, in_brackets) = if has_size {
                    (
                        format!(", {at_least}{megabytes} MB,"),
                        format!(" ({at_least}{megabytes} MB)"),
                    )
                } else {
                    (String::new(), String::new())
                };
                Texts {
                    title: format!(
                        "Data exfiltration: user {name} exported {times} times{and_size} within \
                            {within}"
                    ),
                    description: format!(
                        "User {name} exported {times} times{in_brackets} within {within}; {usual}."
                    ),
                }
            })
            .named(&user)
        });
    }

    fn usage(&self) -> Usage {
        Usage {
            keys: self.users.len(),
            evicted: self.users.evicted(),
        }
    }
}
