//! Custom rules: detection and correlation rules of the Sigma specification, evaluated by the
//! `rsigma` libraries over the same events. This module is the bridge: it loads rules, finds the
//! entity of a match, and says which rules can never fire here.

mod fields;
mod limits;
mod log_source;
mod repair;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use model::{ControlId, EntityKind, RuleId, SecurityEvent, Severity, Source, Span};
use rsigma_eval::{CorrelationConfig, CorrelationEngine, EvaluationResult, JsonEvent, ResultBody};
use rsigma_parser::{CorrelationRule, CorrelationType, Level, SigmaCollection, parse_sigma_yaml};

use self::fields::{Fields, Identifies};
pub use self::limits::Limits;
use self::log_source::Feed;
use crate::keyed::{Key, KeyHasher};
use crate::open::NewDetection;
use crate::rule::{Context, Info};

/// Bounds on the state of correlation rules: groups in all, and entries in one group.
const GROUPS_MAX: usize = 200_000;
const GROUP_ENTRIES_MAX: usize = 10_000;

/// An error in a rules file, or in one of its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigmaError {
    /// The file's name.
    pub file: String,
    /// The problem.
    pub message: String,
}

/// Custom rules, ready to run.
#[derive(Default)]
pub struct Sigma {
    engine: Option<CorrelationEngine>,
    rules: Vec<(&'static Info, Span)>,
    by_id: BTreeMap<String, usize>,
    /// Positions of rules whose matches are not reported.
    silenced: BTreeSet<usize>,
    /// What each rule looks at, by the names that a match may have: those of correlations are not
    /// here.
    feeds: BTreeMap<String, Feed>,
    unable: BTreeMap<RuleId, String>,
    /// The file that each rule is in.
    files: BTreeMap<RuleId, String>,
    fields: Fields,
    lookback: Span,
}

/// Linter advice about a valid rule.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Advice {
    /// The file's name.
    pub file: String,
    /// Line number from 1, if known.
    pub line: Option<u32>,
    /// `error` (the specification forbids it), `warning`, `info` or `hint`.
    pub level: String,
    /// The linter's name of the finding.
    pub code: String,
    /// The advice.
    pub message: String,
}

/// Runs the linter of the specification on a rules file, unless it holds too much.
pub fn advice(file: &str, text: &str, limits: Limits) -> Vec<Advice> {
    if limits.excess(text).is_some() {
        return Vec::new();
    }

    rsigma_parser::lint::lint_yaml_str(text)
        .into_iter()
        .map(|w| Advice {
            file: file.to_owned(),
            line: w.span.map(|span| span.start_line + 1),
            // The linter's errors do not keep a rule from running; errors of loading do.
            level: w.severity.to_string().replace("error", "warning"),
            code: w.rule.to_string(),
            message: w.message,
        })
        .collect()
}

impl std::fmt::Debug for Sigma {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sigma")
            .field("rules", &self.rules.len())
            .finish_non_exhaustive()
    }
}

/// The rule ids so far, and the files that define them.
#[derive(Default)]
struct RuleIds(std::collections::HashMap<String, String>);

impl RuleIds {
    /// Reserves an id. It must be unique: rules are switched off, and alerts distinguished, by it.
    fn claim(&mut self, id: String, file: &str) -> Result<(), String> {
        if let Some(other) = self.0.get(&id) {
            return Err(format!(
                "the rule `{id}` is already defined in {other}; give this one another id"
            ));
        }
        self.0.insert(id, file.to_owned());
        Ok(())
    }
}

/// What an identity is made of, the same for detection and correlation rules.
struct RuleText<'a> {
    id: String,
    title: &'a str,
    description: Option<&'a str>,
    level: Option<Level>,
    tags: &'a [String],
    feeds: &'static [Source],
}

/// Returns the id of a rule in the database: its id, otherwise its name, otherwise its title.
fn rule_identity(id: Option<&String>, name: Option<&String>, title: &str) -> String {
    id.or(name).cloned().unwrap_or_else(|| title.to_owned())
}

fn severity_of(level: Option<Level>) -> Severity {
    match level {
        Some(Level::Critical) => Severity::Critical,
        Some(Level::High) => Severity::High,
        Some(Level::Low) => Severity::Low,
        Some(Level::Informational) => Severity::Info,
        Some(Level::Medium) | None => Severity::Medium,
    }
}

/// Returns the controls from tags such as `nist.800-171.3.14.6`; 3.14.6 if there are none.
fn controls_from_tags(tags: &[String]) -> Vec<ControlId> {
    let control = |tag: &String| {
        tag.strip_prefix("nist.800-171.")
            .map(|id| ControlId(id.to_owned().into()))
    };

    let found: Vec<ControlId> = tags.iter().filter_map(control).collect();
    if found.is_empty() {
        vec![ControlId::known("3.14.6")]
    } else {
        found
    }
}

impl Sigma {
    /// Loads rules files, given as name and text. An invalid rule does not affect the others.
    pub fn load(files: &[(String, String)], limits: Limits) -> (Self, Vec<SigmaError>) {
        let (mut all, mut errors, mut from) = (SigmaCollection::new(), Vec::new(), Vec::new());
        let mut ids = RuleIds::default();
        for (file, text) in files {
            let error = |message: String| SigmaError {
                file: file.clone(),
                message,
            };

            if let Some(message) = limits.excess(text) {
                errors.push(error(message));
                continue;
            }

            match parse_sigma_yaml(text) {
                Err(e) => errors.push(error(e.to_string())),
                Ok(collection) => {
                    errors.extend(collection.errors.iter().cloned().map(error));
                    for mut rule in collection.rules {
                        repair::detection(&mut rule);
                        let id = rule_identity(rule.id.as_ref(), rule.name.as_ref(), &rule.title);
                        if let Err(message) = ids.claim(id, file) {
                            errors.push(error(message));
                            continue;
                        }

                        match rsigma_eval::compile_rule(&rule) {
                            Ok(_) => all.rules.push(rule),
                            Err(e) => errors.push(error(format!("{}: {e}", rule.title))),
                        }
                    }

                    all.filters.extend(collection.filters);
                    for mut correlation in collection.correlations {
                        repair::correlation(&mut correlation);
                        let id = rule_identity(
                            correlation.id.as_ref(),
                            correlation.name.as_ref(),
                            &correlation.title,
                        );
                        if let Err(message) = ids.claim(id, file) {
                            errors.push(error(message));
                            continue;
                        }

                        from.push((correlation.title.clone(), file.clone()));
                        all.correlations.push(correlation);
                    }
                }
            }
        }

        // Checked last, because a correlation may refer to a rule of a later file.
        for (title, message) in remove_unresolved(&mut all) {
            let file = from
                .iter()
                .find(|(of, _)| *of == title)
                .map(|(_, file)| file.clone())
                .unwrap_or_default();
            errors.push(SigmaError { file, message });
        }

        let mut sigma = Self::default();
        match sigma.compile(&all) {
            Ok(()) => {}
            Err(message) => {
                errors.push(SigmaError {
                    file: "all files together".to_owned(),
                    message,
                });
                sigma = Self::default();
            }
        }

        sigma.files = ids
            .0
            .into_iter()
            .map(|(id, file)| (RuleId(id.into()), file))
            .collect();
        (sigma, errors)
    }

    /// Returns the rules of a name: an ID or at least the first eight characters of one, a title,
    /// or the name of a file without its ending.
    pub fn named(&self, name: &str) -> Vec<RuleId> {
        /// As much of a UUID as lists show.
        const PREFIX_MIN: usize = 8;

        let ids = || self.infos().map(|info| &info.id);
        if let Some(exact) = ids().find(|id| id.as_str() == name) {
            return vec![exact.clone()];
        }

        let stem = |file: &String| {
            let path = std::path::Path::new(file);
            path.file_stem()
                .is_some_and(|stem| stem.to_string_lossy() == name)
        };
        let is_meant = |info: &&'static Info| {
            let id = info.id.as_str();
            name.len() >= PREFIX_MIN && id.starts_with(name)
                || info.name.eq_ignore_ascii_case(name)
                || self.files.get(&info.id).is_some_and(stem)
        };
        self.infos()
            .filter(is_meant)
            .map(|info| info.id.clone())
            .collect()
    }

    fn compile(&mut self, all: &SigmaCollection) -> Result<(), String> {
        if all.rules.is_empty() && all.correlations.is_empty() {
            return Ok(());
        }

        let config = CorrelationConfig {
            max_state_entries: GROUPS_MAX,
            max_group_entries: Some(GROUP_ENTRIES_MAX),
            emit_detections: false,
            ..CorrelationConfig::default()
        };

        let mut engine = CorrelationEngine::new(config);
        engine.add_collection(all).map_err(|e| e.to_string())?;
        let mut names = BTreeSet::new();
        for rule in &all.rules {
            let id = rule_identity(rule.id.as_ref(), rule.name.as_ref(), &rule.title);
            let feed = Feed::of(&rule.logsource);
            let used = fields::names_of(rule);
            if let Some(why) = why_unable(&feed, &used) {
                self.unable.insert(RuleId(id.clone().into()), why);
            }
            names.extend(used);

            let text = RuleText {
                id: id.clone(),
                title: &rule.title,
                description: rule.description.as_deref(),
                level: rule.level,
                tags: &rule.tags,
                feeds: feed.sources(),
            };
            self.add_rule(text, Span::hours(1));
            self.feeds.entry(rule.title.clone()).or_insert(feed.clone());
            self.feeds.insert(id, feed);
        }

        for rule in &all.correlations {
            let id = rule_identity(rule.id.as_ref(), rule.name.as_ref(), &rule.title);
            let window = Span::micros(i64::try_from(rule.timespan.seconds).unwrap_or(i64::MAX / 2));
            self.lookback = self.lookback.max(window);
            names.extend(fields::correlation_names(rule));
            if let Some(why) = self.why_correlation_unable(rule, all) {
                self.unable.insert(RuleId(id.clone().into()), why);
            }

            let text = RuleText {
                id,
                title: &rule.title,
                description: rule.description.as_deref(),
                level: rule.level,
                tags: &rule.tags,
                feeds: &[],
            };
            self.add_rule(text, window);
        }

        self.fields = Fields::new(names);
        self.engine = Some(engine);
        Ok(())
    }

    /// Why a correlation can never fire: the rules that it needs cannot.
    fn why_correlation_unable(
        &self,
        rule: &CorrelationRule,
        all: &SigmaCollection,
    ) -> Option<String> {
        let unable = |name: &&String| {
            all.rules
                .iter()
                .filter(|r| [&r.id, &r.name].into_iter().flatten().any(|n| n == *name))
                .any(|r| {
                    let id = rule_identity(r.id.as_ref(), r.name.as_ref(), &r.title);
                    self.unable.contains_key(&RuleId(id.into()))
                })
        };

        let needs_all = matches!(
            rule.correlation_type,
            CorrelationType::Temporal | CorrelationType::TemporalOrdered
        );
        let found: Vec<&str> = rule
            .rules
            .iter()
            .filter(unable)
            .map(String::as_str)
            .collect();
        let blocked = !found.is_empty() && (needs_all || found.len() == rule.rules.len());
        blocked.then(|| {
            format!(
                "it builds on rules that can never fire: {}",
                found.join(", ")
            )
        })
    }

    fn add_rule(&mut self, text: RuleText<'_>, cooldown: Span) {
        let info = info_of(&text);
        let position = self.rules.len();
        self.by_id.entry(text.id).or_insert(position);

        // A match names its rule by title if the rule has no id.
        self.by_id.entry(text.title.to_owned()).or_insert(position);
        self.rules.push((info, cooldown));
    }

    /// Returns the identities of the rules.
    pub fn infos(&self) -> impl Iterator<Item = &'static Info> {
        self.rules.iter().map(|(info, _)| *info)
    }

    /// Reports matches only of rules for which `wanted` returns true. The others are still
    /// evaluated, because correlations may build on them.
    pub fn retain(&mut self, wanted: impl Fn(&RuleId) -> bool) {
        let silenced = self
            .rules
            .iter()
            .enumerate()
            .filter(|(_, (info, _))| !wanted(&info.id))
            .map(|(i, _)| i);
        self.silenced = silenced.collect();
    }

    /// Returns the rules that can never fire here, each with the reason: nothing that blueteam
    /// reads is what they look at.
    pub fn unable(&self) -> &BTreeMap<RuleId, String> {
        &self.unable
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.engine.is_none()
    }

    /// Returns how much of the past correlation rules must see again after a restart.
    pub(crate) fn lookback(&self) -> Span {
        self.lookback
    }

    /// Returns position and cooldown of a rule.
    pub(crate) fn find_rule(&self, id: &RuleId) -> Option<(usize, Span)> {
        self.rules
            .iter()
            .position(|(info, _)| info.id == *id)
            .map(|i| (i, self.rules[i].1))
    }

    /// Returns the key of an entity, the same before and after a restart.
    pub(crate) fn entity_key(
        source: Source,
        kind: EntityKind,
        value: &str,
        key_hasher: &KeyHasher,
    ) -> Key {
        Key::new(
            source,
            key_hasher.hash_name(&format!("{} {value}", kind.as_str())),
        )
    }

    pub(crate) fn observe(
        &mut self,
        event: &SecurityEvent<'_>,
        first_slot: u16,
        cx: &mut Context<'_>,
    ) {
        let Some(engine) = &mut self.engine else {
            return;
        };
        let fields = self.fields.of_event(event);
        let fields = JsonEvent::borrow(&fields);

        let mut matches = engine.evaluate(&fields);
        matches.retain(|found| {
            let header = &found.header;
            let id = header.rule_id.as_ref();
            id.and_then(|id| self.feeds.get(id))
                .or_else(|| self.feeds.get(&header.rule_title))
                .is_none_or(|feed| feed.takes(event))
        });

        let now = event.timestamp.as_micros();
        let results = engine.process_with_detections(&fields, matches, now);
        for result in results {
            let named = result
                .header
                .rule_id
                .as_ref()
                .and_then(|id| self.by_id.get(id));
            let Some(&i) = named.or_else(|| self.by_id.get(&result.header.rule_title)) else {
                continue;
            };
            if self.silenced.contains(&i) {
                continue;
            }

            let (info, cooldown) = self.rules[i];
            cx.slot = first_slot + i as u16;
            cx.info = info;
            cx.cooldown = cooldown;
            let (kind, value) = match_entity(&result, event);
            let key = Self::entity_key(event.source, kind, &value, cx.key_hasher);
            let users = cx.users;
            cx.fire(key, event, || {
                let person = (kind == EntityKind::User)
                    .then_some(event.user_id.as_ref())
                    .flatten()
                    .filter(|id| id.to_string() == value)
                    .map(|id| users.person(id, event));
                let who = person
                    .as_ref()
                    .map_or_else(|| value.clone(), ToString::to_string);
                let title = format!("{}: {who}", info.name);
                let description = match &result.body {
                    ResultBody::Detection(_) => info.description.to_owned(),
                    ResultBody::Correlation(c) => {
                        format!(
                            "{} ({} within {} s)",
                            info.description,
                            c.aggregated_value,
                            c.timespan_secs / repair::TICKS
                        )
                    }
                };

                let opening = NewDetection::new(kind, &value, title, description);
                match &person {
                    Some(person) => opening.named(person),
                    None => opening,
                }
            });
        }
    }
}

/// Returns the identity of a rule, valid as long as the process lives. Equal rules share one
/// identity: the engine is built again whenever rules change, and leaked copies would accumulate.
fn info_of(rule: &RuleText<'_>) -> &'static Info {
    static KNOWN: Mutex<BTreeMap<String, &'static Info>> = Mutex::new(BTreeMap::new());

    let (id, title, tags) = (rule.id.as_str(), rule.title, rule.tags);
    let description = rule.description.unwrap_or(title);
    let severity = severity_of(rule.level);
    let feeds: Vec<&str> = rule.feeds.iter().map(|source| source.as_str()).collect();
    let key = [
        id,
        title,
        description,
        severity.as_str(),
        &feeds.join(" "),
        &tags.join("\0"),
    ]
    .join("\0");
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);

    known.entry(key).or_insert_with(|| {
        let keep = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
        let attack: Vec<&'static str> = tags
            .iter()
            .filter_map(|t| t.strip_prefix("attack.t"))
            .map(|t| keep(&format!("T{t}")))
            .collect();
        Box::leak(Box::new(Info {
            id: RuleId(id.to_owned().into()),
            name: keep(title),
            description: keep(description),
            severity,
            controls: Vec::leak(controls_from_tags(tags)),
            attack: Vec::leak(attack),
            interest: model::event::EventTags::ANY,
            feeds: rule.feeds,
        }))
    })
}

/// Why a rule can never fire: no source reads its log, or no event of its sources has any of its
/// fields.
fn why_unable(feed: &Feed, names: &BTreeSet<String>) -> Option<String> {
    match feed {
        Feed::Nothing(what) => Some(format!(
            "no source of events here reads the log that it is about ({what})"
        )),
        Feed::Sources(sources)
            if !sources.contains(&Source::AuditDb)
                && !names.is_empty()
                && !names.iter().any(|name| fields::logs_have(name)) =>
        {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            Some(format!(
                "no event of its log has the fields that it looks at: {}",
                names.join(", ")
            ))
        }
        Feed::Any | Feed::Service(_) | Feed::Sources(_) => None,
    }
}

/// Removes correlations that refer to unknown rules; returns the title of each and an error
/// message.
fn remove_unresolved(all: &mut SigmaCollection) -> Vec<(String, String)> {
    let mut known: BTreeSet<String> = BTreeSet::new();
    let names = all
        .rules
        .iter()
        .map(|r| (&r.id, &r.name))
        .chain(all.correlations.iter().map(|r| (&r.id, &r.name)));
    for (id, name) in names {
        known.extend(id.iter().chain(name.iter()).cloned());
    }

    let (good, bad) = std::mem::take(&mut all.correlations)
        .into_iter()
        .partition::<Vec<_>, _>(|c| c.rules.iter().all(|r| known.contains(r)));
    all.correlations = good;

    let describe = |c: &CorrelationRule| {
        let missing: Vec<&str> = c
            .rules
            .iter()
            .filter(|r| !known.contains(*r))
            .map(String::as_str)
            .collect();
        (
            c.title.clone(),
            format!(
                "{}: refers to rules that do not exist here: {}",
                c.title,
                missing.join(", ")
            ),
        )
    };

    bad.iter().map(describe).collect()
}

/// Returns the entity of a match: the first group-by field, otherwise the user, otherwise the
/// address, otherwise the source.
fn match_entity(result: &EvaluationResult, event: &SecurityEvent<'_>) -> (EntityKind, String) {
    if let ResultBody::Correlation(correlation) = &result.body
        && let Some((field, value)) = correlation.group_key.first()
    {
        let kind = match fields::identifies(field) {
            Identifies::Address => EntityKind::Ip,
            Identifies::User => EntityKind::User,
            Identifies::Session => EntityKind::Session,
            Identifies::Nothing => EntityKind::Source,
        };
        return (kind, value.clone());
    }
    match (&event.user_id, event.ip_address) {
        (Some(user), _) => (EntityKind::User, user.to_string()),
        (None, Some(ip)) => (EntityKind::Ip, ip.to_string()),
        (None, None) => (EntityKind::Source, event.source.to_string()),
    }
}
