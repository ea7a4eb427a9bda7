//! Building rules from their configured parameters.

use model::Span;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::KEYS_MAX;
use crate::rule::{Built, Info, ParamError};
use crate::rules;

/// Parameters that every rule has in addition to its own.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Common {
    pub(crate) enabled: bool,
    pub(crate) cooldown: Option<Span>,
    pub(crate) max_keys: usize,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            enabled: true,
            cooldown: None,
            max_keys: KEYS_MAX,
        }
    }
}

const COMMON: [&str; 3] = ["enabled", "cooldown", "max_keys"];

/// Returns every parameter of a rule with its default; none for a rule that does not exist.
pub fn defaults(rule: &str) -> Option<serde_json::Map<String, Value>> {
    let definition = rules::ALL.iter().find(|d| d.info.id.as_str() == rule)?;
    let common = serde_json::to_value(Common::default()).unwrap_or_default();
    let of = |value: Value| value.as_object().cloned().unwrap_or_default();

    Some(
        of(common)
            .into_iter()
            .chain(of((definition.defaults)()))
            .collect(),
    )
}

/// Checks the configured parameters of a rule.
pub fn check_params(rule: &str, value: &Value) -> Result<(), ParamError> {
    build(rule, Some(value)).map(|_| ())
}

/// Builds a rule from its configured parameters.
pub(crate) fn build(
    id: &str,
    configured: Option<&Value>,
) -> Result<(&'static Info, Common, Built), ParamError> {
    let error = |key: Option<String>, message: String| ParamError {
        rule: id.to_owned(),
        key,
        message,
    };

    let Some(definition) = rules::ALL.iter().find(|d| d.info.id.as_str() == id) else {
        return Err(error(None, "there is no such rule".to_owned()));
    };
    let (mut common, mut own) = (serde_json::Map::new(), serde_json::Map::new());
    let defaults = (definition.defaults)();

    let known = |key: &str| COMMON.contains(&key) || defaults.get(key).is_some();
    match configured {
        None => {}
        Some(Value::Object(map)) => {
            for (key, value) in map {
                if !known(key) {
                    return Err(error(
                        Some(key.clone()),
                        "this rule has no such parameter".to_owned(),
                    ));
                }

                let target = if COMMON.contains(&key.as_str()) {
                    &mut common
                } else {
                    &mut own
                };

                target.insert(key.clone(), value.clone());
            }
        }
        Some(_) => return Err(error(None, "is not a table of parameters".to_owned())),
    }

    // Try each alone, so that the error names its key.
    let culprit = |map: &serde_json::Map<String, Value>, try_one: &dyn Fn(Value) -> bool| {
        map.iter()
            .find(|(k, v)| {
                !try_one(Value::Object(
                    [((*k).clone(), (*v).clone())].into_iter().collect(),
                ))
            })
            .map(|(k, _)| k.clone())
    };

    let parsed: Common = serde_json::from_value(Value::Object(common.clone())).map_err(|e| {
        error(
            culprit(&common, &|v| serde_json::from_value::<Common>(v).is_ok()),
            e.to_string(),
        )
    })?;

    let built = (definition.build)(Value::Object(own.clone()), parsed.max_keys).map_err(|e| {
        error(
            culprit(&own, &|v| (definition.build)(v, 1).is_ok()),
            e.to_string(),
        )
    })?;

    Ok((definition.info, parsed, built))
}
