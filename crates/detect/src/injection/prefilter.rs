//! The pre-filter: one pass without allocation over what nearly every request consists of. It
//! passes every text in which the detectors find code; a property test compares them.

use std::sync::LazyLock;

use super::ordinary::{ORDINARY, ORDINARY_AGENT};
use super::{path, shell};

/// The first letters of the words that make a text suspicious without any special character.
const FIRST_LETTERS: [bool; 256] = {
    let mut table = [false; 256];
    let lists: [&[&str]; 4] = [
        &path::WORDS,
        &shell::EXPLOITS,
        &shell::CODE_WORDS,
        &shell::COMMAND_PARAMETERS,
    ];
    let mut list = 0;
    while list < lists.len() {
        let mut word = 0;
        while word < lists[list].len() {
            let first = lists[list][word].as_bytes()[0];
            table[first as usize] = true;
            table[first.to_ascii_uppercase() as usize] = true;
            word += 1;
        }
        list += 1;
    }
    table
};

/// The words by their first letter, in lower case. `//` and `/./` may stand for a slash, so only
/// what comes before one is compared.
static HEADS: LazyLock<Vec<Vec<&'static [u8]>>> = LazyLock::new(|| {
    let mut heads = vec![Vec::new(); 256];
    let words = path::WORDS
        .iter()
        .chain(&shell::EXPLOITS)
        .chain(&shell::CODE_WORDS);
    for word in words {
        let head = word.split('/').next().unwrap_or_default().as_bytes();
        match head.first() {
            Some(first) => heads[usize::from(first.to_ascii_lowercase())].push(head),
            // A word that begins with a slash begins every text.
            None => heads.iter_mut().for_each(|all| all.push(head)),
        }
    }
    heads
});

/// Returns whether one of the words begins `text`.
fn begins_with_word(text: &[u8]) -> bool {
    let first = text.first().map_or(0, u8::to_ascii_lowercase);
    HEADS[usize::from(first)].iter().any(|head| {
        text.get(..head.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(head))
    }) || shell::COMMAND_PARAMETERS.iter().any(|name| {
        text.get(..name.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
            && text.get(name.len()) == Some(&b'=')
    })
}

/// Returns whether a request target may hold code.
pub(super) fn is_suspicious_target(target: &[u8]) -> bool {
    let (mut before, mut in_query) = (b'/', false);
    for (at, &byte) in target.iter().enumerate() {
        // In a path `&` separates commands, not parameters.
        // A second question mark may be a dot, or any letter of a path.
        if byte == b'?' && in_query {
            return true;
        }
        in_query |= byte == b'?';
        let separates = byte == b'&' && !in_query;
        if !ORDINARY[byte as usize] || separates || byte == b'.' && before == b'.' {
            return true;
        }
        if FIRST_LETTERS[byte as usize]
            && !before.is_ascii_alphanumeric()
            && begins_with_word(&target[at..])
        {
            return true;
        }
        before = byte;
    }

    false
}

/// Returns whether a user agent may hold code.
pub(super) fn is_suspicious_agent(agent: &[u8]) -> bool {
    agent.iter().any(|byte| !ORDINARY_AGENT[*byte as usize])
        || agent.windows(2).any(|pair| pair == b"((")
}
