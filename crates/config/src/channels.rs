//! `[channels.*]`, whose sections `notify` defines, and the lists of channels in other sections.

use std::collections::BTreeMap;

use model::{Channel, Severity};
use notify::channels::{Problems, SecretFile, Sections};
use serde::{Deserialize, Deserializer};

use crate::error::Problem;

/// A secret of a channel, with its place in the configuration.
pub(super) struct ChannelSecret<'a> {
    pub(super) channel: Channel,
    /// The file that holds it, and its key in the section.
    pub(super) file: SecretFile<'a>,
}

impl ChannelSecret<'_> {
    /// The key of the file, such as `channels.email.password_file`.
    pub(super) fn key(&self) -> String {
        format!("channels.{}.{}", self.channel, self.file.key)
    }

    /// The key that the secret itself would have, such as `channels.email.password`, where people
    /// look for it first.
    pub(super) fn inline_key(&self) -> String {
        let key = self.key();
        key.strip_suffix("_file").unwrap_or(&key).to_owned()
    }

    /// The variable that may hold it in place of the file, if there is one.
    pub(super) fn variable(&self) -> Option<String> {
        let variable = self.inline_key().replace('.', "__").to_uppercase();
        self.file
            .by_variable
            .then(|| format!("BLUETEAM_{variable}"))
    }
}

/// Returns the secrets of all channels, configured or not.
pub(super) fn secrets(sections: &Sections) -> Vec<ChannelSecret<'_>> {
    let of = |(definition, section): (&notify::channels::Definition, _)| {
        let section: &dyn notify::channels::Section = section;
        let channel = definition.channel;
        section
            .secrets()
            .into_iter()
            .map(move |file| ChannelSecret { channel, file })
    };
    sections.all().into_iter().flat_map(of).collect()
}

/// Checks each section.
pub(super) fn check(sections: &Sections, problems: &mut Vec<Problem>) {
    for (definition, section) in sections.all() {
        let mut found = Problems::default();
        section.check(&mut found);

        let path = |key| format!("channels.{}.{key}", definition.channel);
        problems.extend(
            found
                .0
                .into_iter()
                .map(|(key, message)| Problem::new(path(key), message)),
        );
    }
}

/// A channel that there is: any other name is an error in its place.
#[derive(Debug)]
struct Known(Channel);

impl<'de> Deserialize<'de> for Known {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        notify::channels::parse(&name)
            .map(Self)
            .map_err(|_| unknown_variant(&name, &notify::channels::names()))
    }
}

/// What serde says of an enumeration, which is reworded like all it says.
fn unknown_variant<E: serde::de::Error>(found: &str, known: &[&str]) -> E {
    let known = known.join("`, `");
    E::custom(format!(
        "unknown variant `{found}`, expected one of `{known}`"
    ))
}

fn channels(known: Vec<Known>) -> Vec<Channel> {
    known.into_iter().map(|known| known.0).collect()
}

/// Reads a list of channels, for serde's `deserialize_with`.
pub(super) fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Channel>, D::Error> {
    Vec::deserialize(deserializer).map(channels)
}

/// Reads a list that may be absent.
pub(super) fn optional_list<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<Channel>>, D::Error> {
    let list = Option::<Vec<Known>>::deserialize(deserializer)?;
    Ok(list.map(channels))
}

/// Reads a list for each severity. The keys are read as texts first: serde knows the path to a
/// value below a text, and not below a variant of an enumeration.
pub(super) fn lists_by_severity<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<Severity, Vec<Channel>>, D::Error> {
    let of = |(name, list): (String, Vec<Known>)| {
        let severity = name
            .parse()
            .map_err(|_| unknown_variant(&name, Severity::ALL.map(Severity::as_str).as_slice()))?;
        Ok((severity, channels(list)))
    };
    BTreeMap::deserialize(deserializer)?
        .into_iter()
        .map(of)
        .collect()
}
