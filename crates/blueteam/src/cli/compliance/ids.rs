//! IDs and numbers as people read them.

use crate::cli::out::Look;

/// The last group of an id on a terminal, because ids of one hour begin alike; the whole of it
/// where a program may want to use it.
pub(super) fn shown(look: Look, id: &impl ToString) -> String {
    let id = id.to_string();
    match id.rsplit_once('-') {
        Some((_, last)) if look.terminal => last.to_owned(),
        _ => id,
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
