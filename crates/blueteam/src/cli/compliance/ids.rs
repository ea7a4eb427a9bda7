//! Ids as people read and type them, and small words.

use anyhow::bail;
use model::text::sanitize;
use uuid::Uuid;

use crate::cli::out::{self, Look};

/// The least of an id that names something: less fits by accident.
const LEAST: usize = 4;
/// As many candidates are named.
const NAMED: usize = 5;

/// The last group of an id on a terminal, because ids of one hour begin alike; the whole of it
/// where a program may want to use it.
pub(super) fn shown(look: Look, id: &impl ToString) -> String {
    let id = id.to_string();
    match id.rsplit_once('-') {
        Some((_, last)) if look.terminal => last.to_owned(),
        _ => id,
    }
}

/// What somebody typed of an id, without dashes and in lower case.
pub(super) fn typed(text: &str) -> anyhow::Result<String> {
    let hex: String = text
        .chars()
        .filter(|c| *c != '-')
        .map(|c| c.to_ascii_lowercase())
        .collect();
    if !(LEAST..=32).contains(&hex.len()) || !hex.chars().all(|c| c.is_ascii_hexdigit()) {
        out::usage!(
            "`{}` is no id and no part of one: write it whole, or {LEAST} or more of its first or \
                last letters",
            sanitize(text)
        );
    }

    Ok(hex)
}

/// What to say when a part of an id fits several.
pub(super) fn several(text: &str, ids: &[Uuid]) -> anyhow::Error {
    let mut named: Vec<String> = ids.iter().take(NAMED).map(Uuid::to_string).collect();
    if ids.len() > NAMED {
        named.push("and more".to_owned());
    }

    anyhow::Error::new(out::Usage(format!(
        "`{}` fits several: {}; say more of it",
        sanitize(text),
        named.join(", ")
    )))
}

/// The one of them whose id begins or ends like this, with or without dashes. `what` they are, and
/// `see`: the command that lists them.
pub(super) fn pick<T>(
    mut all: Vec<T>,
    text: &str,
    id: impl Fn(&T) -> Uuid,
    (what, see): (&str, &str),
) -> anyhow::Result<T> {
    let wanted = typed(text)?;
    all.retain(|one| {
        let hex = id(one).simple().to_string();
        hex.starts_with(&wanted) || hex.ends_with(&wanted)
    });

    match all.len() {
        1 => Ok(all.remove(0)),
        0 => bail!(
            "no {what} has an id that begins or ends with `{}`; see `{see}`",
            sanitize(text)
        ),
        _ => Err(several(text, &all.iter().map(id).collect::<Vec<_>>())),
    }
}

/// A number with its word.
pub(super) fn many(n: usize, one: &str, more: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { more })
}

/// Objectives of one requirement as people write them: `3.1.1[a-c,f]`.
pub(super) fn objectives(ids: &[model::ObjectiveId]) -> String {
    let mut groups: Vec<(&str, Vec<char>)> = Vec::new();
    for id in ids {
        let Some((control, letter)) = id.0.split_once('[') else {
            continue;
        };
        let letter = letter.chars().next().unwrap_or('?');
        match groups.last_mut() {
            Some((last, letters)) if *last == control => letters.push(letter),
            _ => groups.push((control, vec![letter])),
        }
    }

    let shown = groups.iter().map(|(control, letters)| {
        let mut spans: Vec<(char, char)> = Vec::new();
        for letter in letters {
            match spans.last_mut() {
                Some((_, end)) if u32::from(*end) + 1 == u32::from(*letter) => *end = *letter,
                _ => spans.push((*letter, *letter)),
            }
        }

        let spans = spans.iter().map(|(a, b)| {
            if a == b {
                a.to_string()
            } else {
                format!("{a}-{b}")
            }
        });

        format!("{control}[{}]", spans.collect::<Vec<_>>().join(","))
    });

    shown.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_by_either_end_and_never_by_accident() {
        let all = || {
            [
                "0199f3a2-1c44-7000-8000-00000000abcd",
                "0199f3a2-1c44-7000-8000-0000000012cd",
            ]
            .map(|t| Uuid::parse_str(t).unwrap())
            .to_vec()
        };

        let by = |text: &str| {
            pick(all(), text, |id| *id, ("evidence", "list")).map_err(|e| e.to_string())
        };
        assert_eq!(by("ABCD").unwrap(), all()[0]);
        assert_eq!(by("8000-0000000012cd").unwrap(), all()[1]);
        assert_eq!(by(&all()[1].to_string()).unwrap(), all()[1]);

        let said = by("0199f3a2-1c44").unwrap_err();
        assert!(
            said.contains("fits several") && said.contains("abcd,") && said.contains("12cd"),
            "{said}"
        );
        assert!(by("cd").unwrap_err().contains("no id"));
        assert!(by("xyzzy\u{1b}").unwrap_err().contains("no id"));
        assert!(by("ffff").unwrap_err().contains("see `list`"));
    }

    #[test]
    fn objectives_are_written_short() {
        let ids = |list: &[&str]| {
            list.iter()
                .map(|id| model::ObjectiveId((*id).to_owned()))
                .collect::<Vec<_>>()
        };

        assert_eq!(
            objectives(&ids(&[
                "3.1.1[a]", "3.1.1[b]", "3.1.1[c]", "3.1.1[f]", "3.1.2[a]"
            ])),
            "3.1.1[a-c,f] 3.1.2[a]"
        );
        assert_eq!(objectives(&[]), "");
    }
}
