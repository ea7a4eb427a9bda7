//! The file as a tree in which every key knows where it stands.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};
use toml::de::{DeTable, DeValue};

use crate::error::{ConfigError, ConfigErrors, Place, Problem};
use crate::renamed::{self, Renaming};
use crate::secrets;
use crate::wording::{nearest, plain_words};

/// Variables that override a key look like `BLUETEAM_SECTION__KEY`; others with this prefix are not
/// about the file.
const PREFIX: &str = "BLUETEAM_";

pub(super) struct Document {
    name: String,
    text: String,
    tree: Value,
    /// Where each key (or array element) came from.
    origins: BTreeMap<String, Origin>,
    /// What the reader should know of old names that are used.
    warnings: Vec<String>,
    /// Elements of lists that could not be read, by their places in the file.
    left_out: BTreeMap<String, Vec<usize>>,
}

/// What came of reading the document.
pub(super) struct Reading<T> {
    /// The configuration without what could not be read; none when nothing is left of it.
    pub(super) value: Option<T>,
    /// What could not be read.
    pub(super) errors: Vec<ConfigError>,
}

enum Origin {
    Span(Range<usize>),
    Variable(String),
}

impl Document {
    pub(super) fn parse(name: &str, text: &str) -> Result<Self, ConfigErrors> {
        let mut document = Self {
            name: name.to_owned(),
            text: text.to_owned(),
            tree: Value::Object(Map::new()),
            origins: BTreeMap::new(),
            warnings: Vec::new(),
            left_out: BTreeMap::new(),
        };

        let table = DeTable::parse(text).map_err(|error| {
            let place = error.span().map_or_else(
                || Place::Whole(name.to_owned()),
                |span| document.at(span.start),
            );
            ConfigErrors::one(place, "", error.message())
        })?;

        document.tree = document.table(table.get_ref(), "")?;
        document.rename()?;
        Ok(document)
    }

    /// Old names that the file or the environment uses, each with its new name.
    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Puts the values of old names under the new ones.
    fn rename(&mut self) -> Result<(), ConfigErrors> {
        for Renaming { old, new } in renamed::all() {
            let Some((list, old_key)) = old.split_once("[].") else {
                self.rename_one(&old, &new)?;
                continue;
            };

            let new_key = new.rsplit('.').next().unwrap_or(&new);
            let elements = self.get(list).and_then(Value::as_array).map_or(0, Vec::len);
            for i in 0..elements {
                let element = format!("{list}[{i}]");
                self.rename_one(
                    &format!("{element}.{old_key}"),
                    &format!("{element}.{new_key}"),
                )?;
            }
        }

        Ok(())
    }

    fn rename_one(&mut self, old: &str, new: &str) -> Result<(), ConfigErrors> {
        if self.get(old).is_none() {
            return Ok(());
        }

        let place = self.place_of(old);
        if self.get(new).is_some() {
            let message = format!(
                "is the old name of `{new}`, which {} sets as well; remove one of the two",
                self.place_of(new)
            );
            return Err(ConfigErrors::one(place, old, message));
        }

        let Some(value) = self.take(old) else {
            return Ok(());
        };

        self.insert(new, value);
        self.move_origins(old, new);
        self.warnings.push(format!(
            "{place}: `{old}` is now `{new}`; the old name still works"
        ));

        Ok(())
    }

    /// The value of a key, if it has one.
    fn get(&self, path: &str) -> Option<&Value> {
        path_steps(path).try_fold(&self.tree, |at, step| match step {
            Step::Key(key) => at.get(key),
            Step::Index(i) => at.get(i),
        })
    }

    fn get_mut(&mut self, path: &str) -> Option<&mut Value> {
        path_steps(path).try_fold(&mut self.tree, |at, step| match step {
            Step::Key(key) => at.get_mut(key),
            Step::Index(i) => at.get_mut(i),
        })
    }

    /// Removes a key, and its section if nothing is left in it.
    fn take(&mut self, path: &str) -> Option<Value> {
        let (parent, key) = path.rsplit_once('.').unwrap_or(("", path));
        let section = self.get_mut(parent)?.as_object_mut()?;
        let value = section.remove(key);
        if section.is_empty() && !parent.is_empty() && !parent.ends_with(']') {
            self.take(parent);
        }

        value
    }

    /// Puts a value under a key, whose sections are made.
    fn insert(&mut self, path: &str, value: Value) {
        let mut at = &mut self.tree;
        for step in path_steps(path) {
            let next = match step {
                Step::Key(key) => at.as_object_mut().map(|section| {
                    section
                        .entry(key)
                        .or_insert_with(|| Value::Object(Map::new()))
                }),
                Step::Index(i) => at.get_mut(i),
            };

            let Some(next) = next else { return };
            at = next;
        }

        *at = value;
    }

    /// What is known of the places below an old name holds below the new one.
    fn move_origins(&mut self, old: &str, new: &str) {
        let moved: Vec<(String, String)> = self
            .origins
            .keys()
            .filter_map(|key| {
                let rest = key.strip_prefix(old)?;
                (rest.is_empty() || rest.starts_with(['.', '[']))
                    .then(|| (key.clone(), format!("{new}{rest}")))
            })
            .collect();

        for (from, to) in moved {
            if let Some(origin) = self.origins.remove(&from) {
                self.origins.insert(to, origin);
            }
        }
    }

    fn table(&mut self, table: &DeTable<'_>, path: &str) -> Result<Value, ConfigErrors> {
        let mut map = Map::new();
        for (key, value) in table {
            let name = key.get_ref().to_string();
            let path = join_path(path, &name);
            self.origins.insert(path.clone(), Origin::Span(key.span()));
            let value = self.value(value.get_ref(), &path, value.span())?;
            map.insert(name, value);
        }

        Ok(Value::Object(map))
    }

    fn value(
        &mut self,
        value: &DeValue<'_>,
        path: &str,
        span: Range<usize>,
    ) -> Result<Value, ConfigErrors> {
        let bad = |document: &Self, message: &str| {
            ConfigErrors::one(document.at(span.start), path, message)
        };
        Ok(match value {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Boolean(value) => Value::Bool(*value),
            DeValue::Datetime(value) => Value::String(value.to_string()),
            DeValue::Integer(n) => {
                let n = i64::from_str_radix(n.as_str(), n.radix())
                    .map_err(|_| bad(self, "the number is too large"))?;
                Value::Number(n.into())
            }
            DeValue::Float(n) => {
                let n = n.as_str().parse().ok().and_then(Number::from_f64);
                Value::Number(n.ok_or_else(|| bad(self, "must be a finite number"))?)
            }
            DeValue::Array(items) => {
                let mut values = Vec::new();
                for (i, item) in items.iter().enumerate() {
                    let path = format!("{path}[{i}]");
                    self.origins.insert(path.clone(), Origin::Span(item.span()));
                    values.push(self.value(item.get_ref(), &path, item.span())?);
                }
                Value::Array(values)
            }
            DeValue::Table(table) => self.table(table, path)?,
        })
    }

    /// Puts the values of `BLUETEAM_SECTION__KEY` variables over those of the file. Returns what is
    /// wrong with them.
    pub(super) fn override_by(
        &mut self,
        env: &BTreeMap<String, String>,
        defaults: &Value,
    ) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        for (variable, text) in env {
            let Some(path) = variable
                .strip_prefix(PREFIX)
                .filter(|rest| rest.contains("__"))
            else {
                continue;
            };

            if secrets::is_variable(variable) {
                continue;
            }

            let given = path.to_ascii_lowercase().replace("__", ".");
            let named = renamed::present(&given).unwrap_or_else(|| given.clone());
            if named != given {
                self.warnings.push(format!(
                    "environment variable {variable}: `{given}` is now `{named}`; the old name \
                        still works"
                ));
            }

            if let Err(message) = self.override_one(variable, &named, text, defaults) {
                errors.push(ConfigError {
                    place: Place::Variable(variable.clone()),
                    key: named,
                    message,
                });
            }
        }

        errors
    }

    fn override_one(
        &mut self,
        variable: &str,
        path: &str,
        text: &str,
        defaults: &Value,
    ) -> Result<(), String> {
        let mut keys = path.split('.');
        let default = keys.try_fold(defaults, |at, key| at.get(key));
        if default.is_none() && path.split('.').next() != Some("rules") {
            return Err(unknown_key(path, defaults));
        }

        let value = parse_typed(text, default)?;
        let mut at = &mut self.tree;
        for key in path.split('.') {
            at = at
                .as_object_mut()
                .ok_or("the file has a plain value where this needs a section")?
                .entry(key)
                .or_insert_with(|| Value::Object(Map::new()));
        }
        *at = value;

        // What the file said about the parts of this value says nothing any more.
        self.origins.retain(|key, _| {
            !key.starts_with(path)
                || key
                    .as_bytes()
                    .get(path.len())
                    .is_some_and(|c| *c != b'[' && *c != b'.')
        });
        self.origins
            .insert(path.to_owned(), Origin::Variable(variable.to_owned()));

        Ok(())
    }

    /// Reads the tree. What cannot be read is left out and reported together with whatever else
    /// cannot be read; the rest is checked with defaults in its place.
    pub(super) fn read<T: DeserializeOwned>(&mut self, defaults: &Value) -> Reading<T> {
        /// More than that nobody reads.
        const ERRORS_MAX: usize = 100;

        let mut errors: Vec<ConfigError> = Vec::new();
        loop {
            let error = match serde_path_to_error::deserialize(&self.tree) {
                Ok(value) => {
                    return Reading {
                        value: Some(value),
                        errors,
                    };
                }
                Err(error) => error,
            };
            let path = error.path().to_string();
            let (key, message) = self.explain(&path, &error.inner().to_string(), defaults);

            // A key that was left out because it is wrong is not missing as well.
            let original = self.in_file(&path);
            let is_consequence = message.starts_with("needs the key")
                && errors.iter().any(|e| e.key.starts_with(&original));
            if !is_consequence {
                errors.push(self.error(&key, message));
            }

            if errors.len() >= ERRORS_MAX || !self.leave_out(&key) {
                return Reading {
                    value: None,
                    errors,
                };
            }
        }
    }

    /// Returns the key that an error of serde is about, and what is wrong with it.
    fn explain(&self, path: &str, message: &str, defaults: &Value) -> (String, String) {
        let unknown = message
            .strip_prefix("unknown field `")
            .and_then(|rest| rest.split_once('`'));
        let Some((field, _)) = unknown else {
            return (path.to_owned(), plain_words(message, self.get(path)));
        };

        let path = if path == field || path.ends_with(&format!(".{field}")) {
            path.to_owned()
        } else {
            join_path(path, field)
        };
        let message = unknown_key(&path, defaults);

        (path, message)
    }

    /// Takes a key or an element of a list out of the tree. Returns whether there was one.
    fn leave_out(&mut self, path: &str) -> bool {
        let Some((list, index)) = path
            .strip_suffix(']')
            .and_then(|path| path.rsplit_once('['))
        else {
            return self.take(path).is_some();
        };

        let Some(elements) = self.get_mut(list).and_then(Value::as_array_mut) else {
            return false;
        };
        let Some(index) = index.parse().ok().filter(|i| *i < elements.len()) else {
            return false;
        };
        elements.remove(index);
        let original = original_index(self.left_out.get(list), index);
        let left_out = self.left_out.entry(list.to_owned()).or_default();
        left_out.push(original);
        left_out.sort_unstable();

        true
    }

    /// Returns a path as it is in the file: elements of lists that were left out count.
    fn in_file(&self, path: &str) -> String {
        let mut original = String::new();
        let mut here = String::new();
        for piece in path.split_inclusive(['[', ']']) {
            let index = piece.strip_suffix(']').and_then(|i| i.parse().ok());
            match index {
                Some(index) => {
                    let list = here.strip_suffix('[').unwrap_or(&here);
                    let at = original_index(self.left_out.get(list), index);
                    original.push_str(&at.to_string());
                    original.push(']');
                }
                None => original.push_str(piece),
            }
            here.push_str(piece);
        }

        original
    }

    pub(super) fn locate(&self, problems: Vec<Problem>) -> ConfigErrors {
        ConfigErrors(
            problems
                .into_iter()
                .map(|problem| self.error(&problem.key, problem.message))
                .collect(),
        )
    }

    /// The error at its key, or at the nearest section around it that stands somewhere.
    fn error(&self, key: &str, message: String) -> ConfigError {
        let key = self.in_file(key);
        let place = self.place_of(&key);
        ConfigError {
            place,
            key,
            message,
        }
    }

    /// Where a key stands, or the nearest section around it that stands somewhere.
    fn place_of(&self, key: &str) -> Place {
        let mut path = key;
        loop {
            match self.origins.get(path) {
                Some(Origin::Span(span)) => return self.at(span.start),
                Some(Origin::Variable(name)) => return Place::Variable(name.clone()),
                None => match path.rfind(['.', '[']) {
                    Some(end) => path = &path[..end],
                    None => return Place::Whole(self.name.clone()),
                },
            }
        }
    }

    fn at(&self, offset: usize) -> Place {
        let before = &self.text[..self.text.floor_char_boundary(offset)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Place::File {
            name: self.name.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

/// Returns the place in the file of an element, given those before it that were left out.
fn original_index(left_out: Option<&Vec<usize>>, index: usize) -> usize {
    left_out
        .into_iter()
        .flatten()
        .fold(index, |at, gone| if *gone <= at { at + 1 } else { at })
}

/// One step from a value to a part of it.
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// The steps of a path such as `collect.files[0].path`.
fn path_steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    path.split('.')
        .filter(|part| !part.is_empty())
        .flat_map(|part| {
            let (key, index) = part
                .strip_suffix(']')
                .and_then(|part| part.split_once('['))
                .map_or((part, None), |(key, index)| (key, index.parse().ok()));
            std::iter::once(Step::Key(key)).chain(index.map(Step::Index))
        })
}

fn join_path(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// A variable's text as the kind of value that the key has by default; a list may be written with
/// commas.
fn parse_typed(text: &str, default: Option<&Value>) -> Result<Value, String> {
    let toml = |text: &str| {
        text.parse::<toml::Value>()
            .ok()
            .and_then(|value| serde_json::to_value(value).ok())
    };

    match default {
        Some(Value::String(_)) => Ok(Value::String(text.to_owned())),
        Some(Value::Array(_)) if !text.trim_start().starts_with('[') => {
            let items = text
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty());
            Ok(items.map(|item| Value::String(item.to_owned())).collect())
        }
        Some(Value::Object(_)) => {
            Err("is a section; name one of its keys after two more underscores".to_owned())
        }
        _ => Ok(toml(text).unwrap_or_else(|| Value::String(text.to_owned()))),
    }
}

/// Says that nobody knows this key, and which one was probably meant.
fn unknown_key(path: &str, defaults: &Value) -> String {
    if let Some(hint) = secrets::inline_hint(path) {
        return hint;
    }

    let mut at = defaults;
    let mut keys = path.split('.').peekable();
    while let Some(key) = keys.next() {
        let name = key.split('[').next().unwrap_or(key);
        match at.get(name) {
            Some(next) if keys.peek().is_some() => at = next.get(0).unwrap_or(next),
            _ => {
                let known: Vec<&str> = at
                    .as_object()
                    .into_iter()
                    .flat_map(|map| map.keys().map(String::as_str))
                    .collect();
                if known.is_empty() {
                    return "unknown key".to_owned();
                }

                let meant = nearest(name, known.iter().copied())
                    .map(|near| format!("did you mean `{near}`? "))
                    .unwrap_or_default();
                return format!("unknown key; {meant}Known here: {}", known.join(", "));
            }
        }
    }

    "unknown key".to_owned()
}
