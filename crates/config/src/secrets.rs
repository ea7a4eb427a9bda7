//! What must not be shown, and where it comes from.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path};

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

/// What is wrong with a `*_file` key whose value is not shown.
pub const NOT_SHOWN: &str = "the file that it names does not exist; the value is not shown, because \
    it may be the secret itself: write the secret into a file, and the path of that file here";

/// The secrets that the configuration names.
#[derive(Debug, Default)]
pub struct Secrets {
    /// From `DATABASE_URL`, else the file `database.url_file`, else `database.url`.
    pub database_url: Option<SecretString>,
    /// Those of the channels.
    pub channels: notify::channels::Secrets,
    /// The URL of the outside service that is pinged.
    pub watchdog_url: Option<SecretString>,
    /// The secret of the client that the OpenID Connect provider knows.
    pub oidc_client_secret: Option<SecretString>,
    /// The password of the account that searches the directory.
    pub ldap_bind_password: Option<SecretString>,
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
            oidc_client_secret: load(
                "",
                "console.oidc.client_secret_file",
                &config.console.oidc.client_secret_file,
            ),
            ldap_bind_password: load(
                "",
                "console.ldap.bind_password_file",
                &config.console.ldap.bind_password_file,
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

    if !names_file(file) {
        let place = Place::Whole("the configuration".to_owned());
        return Err(ConfigErrors::one(place, key, NOT_SHOWN));
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

/// Returns whether the value of a `*_file` key may be shown: it names a file, or could at least.
/// People type the secret itself there, and that must not reach an error, a log or an archive.
pub fn names_file(value: &str) -> bool {
    let path = Path::new(value);
    if path.try_exists().unwrap_or(false) {
        return true;
    }

    // Not below a folder that is there, it is taken for a secret: base64 may begin with `/`.
    let mut parts = path.components();
    let (root, first, rest) = (parts.next(), parts.next(), parts.next());
    match (root, first, rest) {
        (Some(Component::RootDir), Some(Component::Normal(top)), Some(_)) => {
            Path::new("/").join(top).is_dir()
        }
        _ => false,
    }
}

/// Returns every key that names a file with a secret, with its value; those of private keys of TLS
/// included.
pub(super) fn files(config: &Config) -> Vec<(String, &str)> {
    let databases = config.collect.databases.iter().enumerate();
    let databases = databases.map(|(i, database)| {
        let key = format!("collect.databases[{i}].url_file");
        (key, database.url_file.as_str())
    });
    let listeners = config.collect.listeners.iter().enumerate();
    let listeners = listeners.map(|(i, listener)| {
        let key = format!("collect.listeners[{i}].tls_key_file");
        (key, listener.tls_key_file.as_str())
    });
    let of_channels = channels::secrets(&config.channels)
        .into_iter()
        .map(|secret| (secret.key(), secret.file.file));
    let single = [
        ("database.url_file", config.database.url_file.as_str()),
        ("watchdog.url_file", &config.watchdog.url_file),
        ("ingest.tls_key_file", &config.ingest.tls_key_file),
        ("console.tls_key_file", &config.console.tls_key_file),
        (
            "console.oidc.client_secret_file",
            &config.console.oidc.client_secret_file,
        ),
        (
            "console.ldap.bind_password_file",
            &config.console.ldap.bind_password_file,
        ),
    ]
    .map(|(key, file)| (key.to_owned(), file));

    let all = single.into_iter().chain(of_channels);
    let all = all.chain(databases).chain(listeners);
    all.filter(|(_, file)| !file.is_empty()).collect()
}

/// Returns the values of `*_file` keys that name no file and so may be secrets.
pub fn typed(config: &Config) -> Vec<&str> {
    let files = files(config).into_iter().map(|(_, file)| file);
    files.filter(|file| !names_file(file)).collect()
}

/// What to do instead of writing a secret into the file.
pub(super) fn inline_hint(path: &str) -> Option<String> {
    let place = match path {
        "watchdog.url" => "`url_file`".to_owned(),
        "console.ldap.bind_password" => "`bind_password_file`".to_owned(),
        "console.oidc.client_secret" => "`client_secret_file`".to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_place_of_its_file_is_not_shown() {
        for path in ["/etc/blueteam/smtp.password", "/etc/passwd", "src/lib.rs"] {
            assert!(names_file(path), "{path}");
        }
        let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQ\n-----END PRIVATE KEY-----\n";
        for secret in [
            "hunter2",
            "https://hooks.example/services/T0/B0/x",
            "/9j/4AAQSkZJRg==",
            "/9j4AAQSkZJRg==",
            "a/b+c==",
            "with\0nul",
            pem,
        ] {
            assert!(!names_file(secret), "{secret}");
        }

        let text = format!(
            "[database]\nurl_file = 'postgres://app:typed-1@db/app'\n\
             [watchdog]\nurl_file = 'https://ping.example/typed-2'\n\
             [ingest]\ntls_cert_file = 'a'\ntls_key_file = \"\"\"{pem}\"\"\"\n\
             [channels.email]\npassword_file = 'typed-3'\n"
        );
        let config: Config = toml::from_str(&text).unwrap();
        assert_eq!(typed(&config).len(), 4);
        let errors = Secrets::read(&config, &BTreeMap::new()).unwrap_err();
        let says = errors.to_string();
        for key in ["database.url_file", "watchdog.url_file", "password_file"] {
            assert!(
                says.contains(&format!("{key}: the file that it names")),
                "{says}"
            );
        }
        assert!(!says.contains("typed"), "{says}");
    }
}
