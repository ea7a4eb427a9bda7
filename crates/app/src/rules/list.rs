//! The rules as they run: what each serves and needs, whether it sees anything, when it last fired
//! and was last proven.

use config::Config;
use detect::Info;
use detect::sigma::Sigma;
use model::{Clock as _, ControlId, RuleId, Severity, Source, Span, SystemClock, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};
use store::PgConnection;
use store::overview::Fired;
use store::rules::RuleSetting;
use store::senders::Sender;
use store::sources::SourceRow;

use super::{blind_to, engine_with_table, partly_blind_to};
use crate::actor::Resource;
use crate::{AppError, Session};

pub use store::rule_proofs::Proof;

/// A rule as it runs.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Its ID.
    pub rule_id: RuleId,
    /// Its title.
    pub name: String,
    /// `built-in` or `sigma`.
    pub kind: &'static str,
    /// How bad it is what it finds.
    pub severity: Severity,
    /// Whether it may fire.
    pub enabled: bool,
    /// Controls that it gives evidence for.
    pub nist_controls: Vec<ControlId>,
    /// Techniques of MITRE ATT&CK and ATLAS that it looks for.
    pub attack: Vec<String>,
    /// What it finds.
    pub description: String,
    /// Its parameters.
    pub parameters: Value,
    /// How many alerts it has raised.
    pub alerts: u64,
    /// When it last fired.
    pub last_fired: Option<Timestamp>,
    /// Kinds of source whose events it looks at; empty for any.
    pub needs: Vec<Source>,
    /// What came of its fixtures when they were last run.
    pub last_proven: Option<Proof>,
    /// Silent sources that it needs; where none of what it needs has ever sent anything, the kinds
    /// of source.
    pub blind_to: Vec<String>,
    /// Sources, or peers of listeners, of which too many lines are not understood, with how many.
    pub partly_blind_to: Vec<String>,
    /// Why it can never fire here, whatever happens: no source of events reads what it looks at.
    pub cannot_fire: Option<String>,
}

/// What the database knows of the rules.
struct Known {
    table: Vec<RuleSetting>,
    fired: Vec<Fired>,
    proofs: Vec<Proof>,
    sources: Vec<SourceRow>,
    senders: Vec<Sender>,
}

impl Known {
    async fn read(conn: &mut PgConnection) -> Result<Self, AppError> {
        Ok(Self {
            table: store::rules::settings(conn).await?,
            fired: store::overview::fired(conn).await?,
            proofs: store::rule_proofs::latest(conn).await?,
            sources: store::sources::list(conn).await?,
            senders: store::senders::list(conn, None).await?,
        })
    }

    fn allows(&self, id: &RuleId) -> bool {
        self.table
            .iter()
            .all(|row| row.rule_id != *id || row.enabled)
    }

    fn row(&self, info: &Info, kind: &'static str, enabled: bool, parameters: Value) -> Row {
        let fired = self.fired.iter().find(|f| f.rule_id == info.id);
        Row {
            rule_id: info.id.clone(),
            name: info.name.to_owned(),
            kind,
            severity: info.severity,
            enabled,
            nist_controls: info.controls.to_vec(),
            attack: info.attack.iter().map(|a| (*a).to_owned()).collect(),
            description: info.description.to_owned(),
            parameters,
            alerts: fired.map_or(0, |f| f.alerts),
            last_fired: fired.and_then(|f| f.last),
            needs: info.feeds.to_vec(),
            last_proven: self.proofs.iter().find(|p| p.rule_id == info.id).cloned(),
            blind_to: blind_to(info.feeds, &self.sources),
            partly_blind_to: partly_blind_to(
                info.feeds,
                &self.sources,
                &self.senders,
                SystemClock.now(),
            ),
            cannot_fire: None,
        }
    }
}

/// Returns every rule, the built-in ones first.
pub async fn list(session: &mut Session, config: &Config) -> Result<Vec<Row>, AppError> {
    let known = Known::read(session.read(Resource::Rules)?).await?;
    let sigma = config::rules::sigma(config)?;
    Ok(rule_rows(config, &sigma, &known))
}

fn rule_rows(config: &Config, sigma: &Sigma, known: &Known) -> Vec<Row> {
    let settings = engine_with_table(config, Vec::new(), Span::ZERO, &known.table);
    let builtin = detect::rules::ALL.iter().map(|definition| {
        let mut parameters = match (definition.defaults)() {
            Value::Object(defaults) => defaults,
            _ => Map::new(),
        };

        if let Some(Value::Object(own)) = settings.rules.get(definition.info.id.as_str()) {
            parameters.extend(own.clone());
        }

        let enabled = parameters
            .remove("enabled")
            .and_then(|e| e.as_bool())
            .unwrap_or(true);
        known.row(
            definition.info,
            "built-in",
            enabled,
            Value::Object(parameters),
        )
    });

    let custom = sigma.infos().map(|info| {
        let parameters = Value::Object(Map::new());
        Row {
            cannot_fire: sigma.unable().get(&info.id).cloned(),
            ..known.row(info, "sigma", known.allows(&info.id), parameters)
        }
    });
    builtin.chain(custom).collect()
}
