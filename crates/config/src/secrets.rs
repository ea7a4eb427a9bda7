//! What must not be shown, and where it comes from.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;

use notify::Sections;
use secrecy::SecretString;

use crate::error::{ConfigErrors, Place};
use crate::{Config, channels};

/// Returns whether a variable carries a secret of a channel; such a variable overrides no key of
/// the file.
pub(super) fn is_variable(variable: &str) -> bool {
    channels::secrets(&Sections::default())
        .iter()
        .any(|secret| secret.variable().as_deref() == Some(variable))
}

/// The largest secret that a file may hold, in bytes.
const MAX: u64 = 16 * 1024;

/// The secrets that the configuration names.
#[derive(Debug, Default)]
pub struct Secrets {
    /// From `DATABASE_URL`, else the file `database.url_file`, else `database.url`.
    pub database_url: Option<SecretString>,
    /// Those of the channels.
    pub channels: notify::channels::Secrets,
    /// The URL of the outside service that is pinged.
    pub watchdog_url: Option<SecretString>,
    /// The URLs of `collect.databases`, in their order.
    pub databases: Vec<SecretString>,
}

impl Secrets {
    pub(super) fn read(
        config: &Config,
        env: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigErrors> {
        let inline = |text: &str| (!text.is_empty()).then(|| SecretString::from(text));

        let mut errors = Vec::new();
        let mut load = |variable: &str, key: &str, file: &str| {
            load_secret(env, variable, key, file).unwrap_or_else(|found| {
                errors.extend(found.0);
                None
            })
        };

        let database_url = load(
            "DATABASE_URL",
            "database.url_file",
            &config.database.url_file,
        );
        let mut of_channels = notify::channels::Secrets::new();
        for secret in channels::secrets(&config.channels) {
            let variable = secret.variable().unwrap_or_default();
            if let Some(value) = load(&variable, &secret.key(), secret.file.file) {
                of_channels.insert((secret.channel, secret.file.key), value);
            }
        }

        let mut databases = Vec::new();
        for (i, database) in config.collect.databases.iter().enumerate() {
            let key = format!("collect.databases[{i}].url_file");
            databases.extend(load("", &key, &database.url_file));
        }

        let secrets = Self {
            databases,
            database_url: database_url.or_else(|| inline(&config.database.url)),
            channels: of_channels,
            watchdog_url: load("", "watchdog.url_file", &config.watchdog.url_file),
        };

        if errors.is_empty() {
            Ok(secrets)
        } else {
            Err(ConfigErrors(errors))
        }
    }
}

/// The variable, else the file without its last line end.
fn load_secret(
    env: &BTreeMap<String, String>,
    variable: &str,
    key: &str,
    file: &str,
) -> Result<Option<SecretString>, ConfigErrors> {
    if let Some(value) = env.get(variable).filter(|value| !value.is_empty()) {
        return Ok(Some(SecretString::from(value.as_str())));
    }

    if file.is_empty() {
        return Ok(None);
    }

    let bad = |message: String| ConfigErrors::one(Place::Whole(file.to_owned()), key, message);
    let meta = std::fs::metadata(file).map_err(|error| bad(format!("cannot be read: {error}")))?;
    if meta.is_file() && meta.mode() & 0o022 != 0 {
        let mode = meta.mode() & 0o7777;
        return Err(bad(format!(
            "holds a secret that others may change (mode {mode:o}): chmod 640 {file}"
        )));
    }

    let own = rustix::process::geteuid().as_raw();
    if meta.is_file() && meta.uid() != own && meta.uid() != 0 {
        let user = meta.uid();
        return Err(bad(format!(
            "belongs to the user {user}, who may change the secret: chown root {file}, or chown \
                {own} {file}"
        )));
    }

    if meta.len() > MAX {
        return Err(bad(format!(
            "is larger than {MAX} bytes; is this the right file?"
        )));
    }

    let text =
        std::fs::read_to_string(file).map_err(|error| bad(format!("cannot be read: {error}")))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        Err(bad("is empty".to_owned()))
    } else {
        Ok(Some(SecretString::from(text)))
    }
}

/// What to do instead of writing a secret into the file.
pub(super) fn inline_hint(path: &str) -> Option<String> {
    let place = match path {
        "watchdog.url" => "`url_file`".to_owned(),
        "database.password" => by_either("url_file", "DATABASE_URL"),
        _ => {
            let sections = Sections::default();
            let secrets = channels::secrets(&sections);
            let secret = secrets.iter().find(|s| s.inline_key() == path)?;
            match secret.variable() {
                Some(variable) => by_either(secret.file.key, &variable),
                None => format!("`{}`", secret.file.key),
            }
        }
    };

    Some(format!("secrets do not belong in this file; use {place}"))
}

fn by_either(key: &str, variable: &str) -> String {
    format!("`{key}` or the environment variable {variable}")
}
