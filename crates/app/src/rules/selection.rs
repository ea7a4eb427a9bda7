//! Which rules run over a past: in a replay or a backtest.

use std::path::Path;

use anyhow::Context as _;
use config::Config;
use detect::sigma::Sigma;
use detect::{Engine, Settings};
use model::Span;
use store::rules::RuleSetting;

use super::{engine_with_table, sigma_with_table};
use crate::AppError;

/// Which rules run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selection<'a> {
    /// Only these, built-in or custom, even where they are switched off; empty for all.
    pub rules: &'a [String],
    /// A folder of Sigma rules instead of the configured one.
    pub rules_dir: Option<&'a Path>,
}

impl Selection<'_> {
    /// Returns an engine of these rules with the parameters of the configuration file.
    pub fn engine(&self, config: &Config) -> Result<Engine, AppError> {
        self.engine_with_table(config, &[])
    }

    /// The same with what operators set in the rules table.
    pub(crate) fn engine_with_table(
        &self,
        config: &Config,
        table: &[RuleSetting],
    ) -> Result<Engine, AppError> {
        let mut sigma = self.sigma(config)?;
        let (builtin, custom) = self.split(&sigma)?;

        let only_custom = builtin.is_empty() && !custom.is_empty();
        let mut settings = engine_with_table(config, builtin, Span::ZERO, table);
        if only_custom {
            // An empty list would mean all of them.
            disable_builtin(&mut settings);
        }

        if self.rules.is_empty() {
            sigma = sigma_with_table(sigma, table);
        } else {
            sigma.retain(|id| custom.iter().any(|c| c == id.as_str()));
        }

        let mut engine = Engine::new(settings).map_err(anyhow::Error::from)?;
        if self.rules.is_empty() || !custom.is_empty() {
            engine.set_sigma(sigma);
        }
        Ok(engine)
    }

    /// The built-in rules that are named, and the others.
    fn split(&self, sigma: &Sigma) -> Result<(Vec<String>, Vec<String>), AppError> {
        let builtin = |id: &String| detect::rules::ALL.iter().any(|d| d.info.id.as_str() == *id);
        let mut ids = Vec::with_capacity(self.rules.len());
        for name in self.rules {
            let id = crate::names::rule_of(sigma, name)?.to_string();
            if !builtin(&id) && sigma.named(&id).is_empty() {
                return Err(AppError::invalid(format!("`{id}` does not look at events")));
            }
            ids.push(id);
        }
        Ok(ids.into_iter().partition(builtin))
    }

    fn sigma(&self, config: &Config) -> anyhow::Result<Sigma> {
        let Some(dir) = self.rules_dir else {
            return config::rules::sigma(config);
        };

        let text = dir
            .to_str()
            .with_context(|| format!("{} is not UTF-8", dir.display()))?;
        let mut config = config.clone();
        text.clone_into(&mut config.detection.rules_dir);
        config::rules::sigma(&config)
    }
}

fn disable_builtin(settings: &mut Settings) {
    for params in settings.rules.values_mut() {
        if let Some(params) = params.as_object_mut() {
            params.insert("enabled".to_owned(), serde_json::json!(false));
        }
    }
}
