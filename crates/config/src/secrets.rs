//! What must not be shown, and where it comes from.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;

use secrecy::SecretString;

use crate::Config;
use crate::error::{ConfigErrors, Place};

const EMAIL_PASSWORD: &str = "BLUETEAM_CHANNELS__EMAIL__PASSWORD";
const WEBHOOK_SECRET: &str = "BLUETEAM_CHANNELS__WEBHOOK__SECRET";

/// Variables that carry a secret; they override no key of the file.
pub(super) const VARIABLES: [&str; 2] = [EMAIL_PASSWORD, WEBHOOK_SECRET];

/// The largest secret that a file may hold, in bytes.
const MAX: u64 = 16 * 1024;

/// The secrets that the configuration names.
#[derive(Debug, Default)]
pub struct Secrets {
    /// From `DATABASE_URL`, else the file `database.url_file`, else `database.url`.
    pub database_url: Option<SecretString>,
    /// The mail server's password.
    pub email_password: Option<SecretString>,
    /// What webhooks are signed with.
    pub webhook_secret: Option<SecretString>,
    /// Where webhooks go; many services put a token into it.
    pub webhook_url: Option<SecretString>,
    /// Slack's incoming webhook.
    pub slack_url: Option<SecretString>,
    /// The Teams workflow.
    pub teams_url: Option<SecretString>,
    /// PagerDuty's integration key.
    pub pagerduty_key: Option<SecretString>,
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
        let email = &config.channels.email;
        let webhook = &config.channels.webhook;
        let pagerduty = &config.channels.pagerduty;
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
        let webhook_url = load("", "channels.webhook.url_file", &webhook.url_file);

        let mut databases = Vec::new();
        for (i, database) in config.collect.databases.iter().enumerate() {
            let key = format!("collect.databases[{i}].url_file");
            databases.extend(load("", &key, &database.url_file));
        }

        let channels = &config.channels;
        let secrets = Self {
            databases,
            database_url: database_url.or_else(|| inline(&config.database.url)),
            email_password: load(
                EMAIL_PASSWORD,
                "channels.email.password_file",
                &email.password_file,
            ),
            webhook_secret: load(
                WEBHOOK_SECRET,
                "channels.webhook.secret_file",
                &webhook.secret_file,
            ),
            webhook_url: webhook_url.or_else(|| inline(&webhook.url)),
            slack_url: load("", "channels.slack.url_file", &channels.slack.url_file),
            teams_url: load("", "channels.teams.url_file", &channels.teams.url_file),
            watchdog_url: load("", "watchdog.url_file", &config.watchdog.url_file),
            pagerduty_key: load(
                "",
                "channels.pagerduty.routing_key_file",
                &pagerduty.routing_key_file,
            ),
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
    let (key, variable) = match path {
        "channels.email.password" => ("password_file", EMAIL_PASSWORD),
        "channels.webhook.secret" => ("secret_file", WEBHOOK_SECRET),
        "channels.slack.url" | "channels.teams.url" | "watchdog.url" => {
            return Some(by_file("url_file"));
        }
        "channels.pagerduty.routing_key" => return Some(by_file("routing_key_file")),
        "database.password" => ("url_file", "DATABASE_URL"),
        _ => return None,
    };

    Some(format!(
        "secrets do not belong in this file; use `{key}` or the environment variable {variable}"
    ))
}

fn by_file(key: &str) -> String {
    format!("secrets do not belong in this file; use `{key}`")
}
