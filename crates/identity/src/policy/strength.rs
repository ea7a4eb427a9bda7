//! What a password is made of: classes, patterns, and how much of it is new.

use std::collections::HashMap;

use super::RequiredClasses;

/// The fewest different characters.
const FEWEST_DISTINCT: usize = 5;
/// The shortest old password whose appearance in a new one says something.
const SHORTEST_CONTAINED: usize = 4;
/// Characters that lie beside each other on keyboards.
const ROWS: [&str; 3] = ["qwertyuiop", "asdfghjkl", "zxcvbnm"];

/// A class of characters, as `users.validate_password_strength` divides them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CharacterClass {
    /// `A` to `Z`.
    Uppercase,
    /// `a` to `z`.
    Lowercase,
    /// `0` to `9`.
    Number,
    /// Anything else: blanks, signs, line ends, letters of other alphabets.
    Special,
}

impl CharacterClass {
    /// Returns whether a password holds a character of the class.
    pub fn is_in(self, password: &str) -> bool {
        password.chars().any(|c| match self {
            Self::Uppercase => c.is_ascii_uppercase(),
            Self::Lowercase => c.is_ascii_lowercase(),
            Self::Number => c.is_ascii_digit(),
            Self::Special => !c.is_ascii_alphanumeric(),
        })
    }
}

/// Returns what the SQL function `users.validate_password_strength` returns, for any text that
/// PostgreSQL can hold: length in characters, not bytes, and classes in ASCII.
pub fn is_strong_enough(password: &str, min_length: i32, required: RequiredClasses) -> bool {
    let length = i64::try_from(password.chars().count()).unwrap_or(i64::MAX);
    length >= i64::from(min_length) && required.iter().all(|class| class.is_in(password))
}

/// Returns how many characters of a new password are not in the old one, in any place and case
/// (3.5.7).
///
/// Each character of the old password covers one of the new. So neither another order nor a digit
/// more makes a password new, and the number is never more than the edit distance. It is 0 if one
/// of the two holds the other: who knows the old password tries what stands before and behind it.
pub fn changed_characters(old: &str, new: &str) -> usize {
    let (old, new) = (old.to_lowercase(), new.to_lowercase());
    let holds = |outer: &str, inner: &str| {
        inner.chars().count() >= SHORTEST_CONTAINED && outer.contains(inner)
    };
    if old == new || holds(&new, &old) || holds(&old, &new) {
        return 0;
    }

    let mut left: HashMap<char, usize> = HashMap::new();
    for c in old.chars() {
        *left.entry(c).or_default() += 1;
    }

    new.chars()
        .filter(|c| match left.get_mut(c) {
            Some(count) if *count > 0 => {
                *count -= 1;
                false
            }
            _ => true,
        })
        .count()
}

/// Returns whether a password in lower case is a pattern that is guessed early: few characters, a
/// part that repeats, or steps along the alphabet, the digits or a keyboard.
pub(super) fn is_pattern(folded: &str) -> bool {
    let chars: Vec<char> = folded.chars().collect();
    let mut distinct = chars.clone();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() < FEWEST_DISTINCT {
        return true;
    }

    let has_period = |period: usize| chars.iter().zip(&chars[period..]).all(|(a, b)| a == b);
    if (1..=chars.len() / 2).any(has_period) {
        return true;
    }

    let pairs = chars.len() - 1;
    let steps = chars.windows(2).filter(|pair| is_step(pair)).count();
    steps * 4 > pairs * 3
}

/// Returns whether two characters are the same or neighbors.
fn is_step(pair: &[char]) -> bool {
    let [a, b] = pair else { return false };
    u32::from(*a).abs_diff(u32::from(*b)) <= 1
        || ROWS.iter().any(|row| match (row.find(*a), row.find(*b)) {
            (Some(a), Some(b)) => a.abs_diff(b) == 1,
            _ => false,
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn strength_is_that_of_the_sql_function() {
        let all = RequiredClasses::ALL;
        for (password, expected) in [
            ("MySecureP@ss123", true),
            ("weakpass", false),
            ("Abcdefgh1234", false),
            ("Abcdefgh123\u{e4}", true),
            ("Abcdefgh123\n", true),
            ("Abcdefgh123 ", true),
            ("\u{c4}bcdefgh123!", false),
            ("ABCDEFGH123!", false),
            ("abcdefgh123!", false),
            ("Abcdefghijk!", false),
            ("Abcdefgh12!", false),
            ("A1!aäöüßéèêë", true),
            ("", false),
        ] {
            assert_eq!(
                is_strong_enough(password, 12, all),
                expected,
                "{password:?}"
            );
        }

        let none = RequiredClasses::NONE;
        assert!(is_strong_enough("", 0, none));
        assert!(is_strong_enough("", -1, none));
        assert!(!is_strong_enough("x", i32::MAX, none));
        // Arabic digits are no digits, and two characters that look like one are two.
        let digits = RequiredClasses {
            numbers: true,
            ..none
        };
        assert!(!is_strong_enough("\u{661}\u{662}", 2, digits));
        assert!(is_strong_enough("a\u{308}", 2, none));
    }

    #[test]
    fn order_case_and_additions_change_nothing() {
        for (old, new, expected) in [
            ("Winter2025!", "Winter2025!", 0),
            ("Winter2025!", "WINTER2025!", 0),
            ("Winter2025!", "!5202retniW", 0),
            ("Winter2025!", "2025!Winter", 0),
            ("Winter2025!", "Winter2026!", 1),
            ("Winter2025!", "Winter2025!!", 0),
            ("Winter2025!", "Winter2025!abcdef", 0),
            ("Winter2025!", "1Winter2025", 1),
            ("Winter2025!abc", "Winter2025!", 0),
            ("Winter2025!", "Sommer2025!", 4),
            ("abc", "abcdefgh", 5),
            ("", "abcd", 4),
            ("correct horse", "battery staple", 8),
        ] {
            assert_eq!(changed_characters(old, new), expected, "{old} {new}");
        }
    }

    #[test]
    fn patterns_are_recognized() {
        for password in [
            "aaaaaaaaaaaaaaa",
            "ababababababab",
            "123456789012345",
            "987654321098765",
            "abcdefghijklmnop",
            "qwertyuiopasdfgh",
            "poiuytrewqlkjhgf",
            "112233445566778899",
            "horse7!horse7!horse7!",
            "secretwordsecretword",
            "",
        ] {
            assert!(is_pattern(password), "{password}");
        }
        for password in [
            "correct horse battery staple",
            "x8#kpq2!vlmz9",
            "the hedgehog sings at noon",
            "käse mit trauben und nuss",
            "4711 0815 1234 2468",
        ] {
            assert!(!is_pattern(password), "{password}");
        }
    }

    proptest! {
        #[test]
        fn the_change_is_at_most_the_edit_distance(old in ".{0,20}", new in ".{0,20}") {
            let (folded_old, folded_new) = (old.to_lowercase(), new.to_lowercase());
            let distance = strsim::levenshtein(&folded_old, &folded_new);
            prop_assert!(changed_characters(&old, &new) <= distance);
        }

        #[test]
        fn another_order_changes_nothing(
            (old, new) in "[a-zA-Z0-9!?]{1,20}".prop_flat_map(|old| {
                let shuffled = Just(old.chars().collect::<Vec<char>>()).prop_shuffle();
                (Just(old), shuffled)
            })
        ) {
            let new: String = new.into_iter().collect();
            prop_assert_eq!(changed_characters(&old, &new), 0);
        }

        #[test]
        fn one_character_more_changes_nothing(old in "[ -~]{4,20}", more in "[ -~]") {
            prop_assert_eq!(changed_characters(&old, &format!("{old}{more}")), 0);
            prop_assert_eq!(changed_characters(&old, &format!("{more}{old}")), 0);
        }

        #[test]
        fn random_passwords_are_no_patterns(password in "[a-z0-9]{20}") {
            prop_assert!(!is_pattern(&password));
        }

        #[test]
        fn strength_is_monotone(
            password in any::<String>(), length in 0_i32..30, classes in any::<[bool; 4]>()
        ) {
            let [uppercase, lowercase, numbers, special_chars] = classes;
            let required = RequiredClasses { uppercase, lowercase, numbers, special_chars };
            if is_strong_enough(&password, length, required) {
                prop_assert!(is_strong_enough(&password, length - 1, RequiredClasses::NONE));
            }
        }
    }
}
