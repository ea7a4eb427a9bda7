//! Checks a new password against a policy and says all that is wrong with it.

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::strength::is_pattern;
use super::{CharacterClass, PasswordPolicy, changed_characters};
use crate::blocklist::Blocklist;
use crate::password::normalized_password;

/// The shortest word that is looked for in a password: shorter ones are in many by chance.
const SHORTEST_WORD: usize = 4;
/// The most words that are looked for.
const MOST_WORDS: usize = 200;
/// What everybody calls the program that the password is for, besides the words of the account and
/// its organization (ASVS 6.1.2, 6.2.11). `docs/accounts.md` lists them.
const OWN_NAMES: [&str; 1] = ["blueteam"];

/// A new password, and what is known about the account that it is for.
#[derive(Debug)]
pub struct Candidate<'a> {
    /// The new password.
    pub password: &'a SecretString,
    /// The old one, where its owner has just typed it. After a reset nobody knows it.
    pub old_password: Option<&'a SecretString>,
    /// Whether it is used with another factor.
    pub has_mfa: bool,
    /// The account's name.
    pub username: &'a str,
    /// Its email address.
    pub email: &'a str,
    /// The owner's name.
    pub full_name: &'a str,
    /// Names of the organization and of its products (ASVS 6.2.11).
    pub context_words: &'a [&'a str],
    /// Common passwords.
    pub blocklist: &'a Blocklist,
    /// Whether the list that an administrator imported holds it.
    pub is_breached: bool,
}

/// What is wrong with a new password; says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Weakness {
    /// Fewer characters than required.
    #[error("use at least {required} characters; this password has {actual}")]
    TooShort {
        /// Characters that are required.
        required: u32,
        /// Characters that it has.
        actual: usize,
    },
    /// More bytes than are hashed.
    #[error("use at most 1024 bytes")]
    TooLong,
    /// No character of a required class.
    #[error("add {}", described(*.0))]
    MissingClass(CharacterClass),
    /// In the list of common passwords.
    #[error("choose something less common: this password is among the first that attackers try")]
    Common,
    /// In the administrator's list.
    #[error("choose another password: this one is known from a breach")]
    Breached,
    /// A repetition or a sequence.
    #[error("avoid repetitions and sequences such as `abcabc`, `12345` and `qwerty`")]
    Pattern,
    /// It holds a name that attackers know.
    #[error("leave out `{0}`: names of you and your organization are easy to guess")]
    ContextWord(String),
    /// Too much of the old password is in it.
    #[error("change at least {required} characters; {actual} differ from your old password")]
    TooSimilar {
        /// Characters that must be new.
        required: u32,
        /// Characters that are new.
        actual: usize,
    },
    /// A former password. Found out with [`was_used`](crate::PasswordHasher::was_used), which costs
    /// a hash for each, and therefore last.
    #[error("choose a password that is not one of your last {0}")]
    RecentlyUsed(u32),
}

fn described(class: CharacterClass) -> &'static str {
    match class {
        CharacterClass::Uppercase => "an uppercase letter (A-Z)",
        CharacterClass::Lowercase => "a lowercase letter (a-z)",
        CharacterClass::Number => "a digit (0-9)",
        CharacterClass::Special => "a character that is neither a letter (A-Z) nor a digit",
    }
}

impl PasswordPolicy {
    /// Checks a new password; returns all that is wrong with it.
    pub fn check_new_password(&self, candidate: &Candidate<'_>) -> Result<(), Vec<Weakness>> {
        // What is too long is not looked at any further.
        let Ok(password) = normalized_password(candidate.password) else {
            return Err(vec![Weakness::TooLong]);
        };

        let mut weaknesses = Vec::new();
        let required = self.required_length(candidate.has_mfa);
        let actual = password.chars().count();
        if actual < required as usize {
            weaknesses.push(Weakness::TooShort { required, actual });
        }

        let missing = self.classes.iter().filter(|class| !class.is_in(&password));
        weaknesses.extend(missing.map(Weakness::MissingClass));

        if self.use_blocklist {
            weaknesses.extend(find_guessable(&password, candidate));
        }

        weaknesses.extend(self.find_similarity(&password, candidate.old_password));
        if weaknesses.is_empty() {
            Ok(())
        } else {
            Err(weaknesses)
        }
    }

    fn find_similarity(&self, password: &str, old: Option<&SecretString>) -> Option<Weakness> {
        // An old password that is too long cannot be the old one.
        let old = normalized_password(old?).ok()?;
        let (required, actual) = (
            self.min_changed_characters,
            changed_characters(&old, password),
        );
        (actual < required as usize).then_some(Weakness::TooSimilar { required, actual })
    }
}

/// Returns what of a password an attacker would try early.
fn find_guessable(password: &str, candidate: &Candidate<'_>) -> Vec<Weakness> {
    let mut weaknesses = Vec::new();
    let folded = Zeroizing::new(password.to_lowercase());
    if candidate.blocklist.contains(password) {
        weaknesses.push(Weakness::Common);
    }
    if candidate.is_breached {
        weaknesses.push(Weakness::Breached);
    }
    if is_pattern(&folded) {
        weaknesses.push(Weakness::Pattern);
    }

    // Also with other characters between the letters: `b.l.u.e.t.e.a.m`.
    let squeezed = Zeroizing::new(squeezed(&folded));
    let word = words_of(candidate)
        .into_iter()
        .find(|word| folded.contains(word.as_str()) || squeezed.contains(word.as_str()));
    weaknesses.extend(word.map(Weakness::ContextWord));
    weaknesses
}

/// Returns the words that an attacker knows about an account, in lower case, longest first.
fn words_of(candidate: &Candidate<'_>) -> Vec<String> {
    let (local, domain) = candidate
        .email
        .split_once('@')
        .unwrap_or((candidate.email, ""));
    let texts = [candidate.username, local, domain, candidate.full_name]
        .into_iter()
        .chain(candidate.context_words.iter().copied())
        .chain(OWN_NAMES);

    let mut words: Vec<String> = Vec::new();
    for text in texts {
        let folded = text.to_lowercase();
        words.extend(
            folded
                .split(|c: char| !c.is_alphanumeric())
                .map(str::to_owned),
        );
        words.push(squeezed(&folded));
    }

    words.retain(|word| word.chars().count() >= SHORTEST_WORD);
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    words.dedup();
    words.truncate(MOST_WORDS);
    words
}

/// Returns a text without anything but letters and digits.
fn squeezed(folded: &str) -> String {
    folded.chars().filter(|c| c.is_alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Case<'a> {
        password: &'a str,
        old: Option<&'a str>,
        has_mfa: bool,
    }

    fn check(policy: &PasswordPolicy, case: &Case<'_>) -> Vec<String> {
        let old: Option<SecretString> = case.old.map(Into::into);
        let candidate = Candidate {
            password: &case.password.into(),
            old_password: old.as_ref(),
            has_mfa: case.has_mfa,
            username: "jane.smith",
            email: "jsmith@acme.example.com",
            full_name: "Jane Möller-Smith Lee",
            context_words: &["Acme Rockets"],
            blocklist: &Blocklist::common(),
            is_breached: case.password.contains("breached"),
        };
        match policy.check_new_password(&candidate) {
            Ok(()) => Vec::new(),
            Err(weaknesses) => weaknesses.iter().map(Weakness::to_string).collect(),
        }
    }

    fn check_nist(password: &str) -> Vec<String> {
        let case = Case {
            password,
            old: None,
            has_mfa: false,
        };
        check(&PasswordPolicy::nist_63b_4(), &case)
    }

    #[test]
    fn long_passwords_of_any_kind_are_taken() {
        for password in [
            "the hedgehog sings",
            "the hedgehog sings at noon, every day of the week, and never ever stops",
            "käsekuchen im juli 🍰🍰",
            "x8#kPq2!vLmz9Rt",
        ] {
            assert_eq!(check_nist(password), [] as [&str; 0], "{password}");
        }
    }

    #[test]
    fn weaknesses_say_what_to_do() {
        let document = PasswordPolicy::document();
        let case = Case {
            password: "Hedgehog",
            old: Some("Hedgehogs"),
            has_mfa: false,
        };
        assert_eq!(
            check(&document, &case),
            [
                "use at least 12 characters; this password has 8",
                "add a digit (0-9)",
                "add a character that is neither a letter (A-Z) nor a digit",
                "choose something less common: this password is among the first that attackers \
                 try",
                "change at least 4 characters; 0 differ from your old password",
            ]
        );
        assert_eq!(
            check_nist("a breached hedgehog"),
            ["choose another password: this one is known from a breach"]
        );
        assert_eq!(
            check_nist("abcdefghijklmnopqrs"),
            ["avoid repetitions and sequences such as `abcabc`, `12345` and `qwerty`"]
        );
    }

    #[test]
    fn another_factor_allows_shorter_passwords() {
        let policy = PasswordPolicy::nist_63b_4();
        let case = |has_mfa| Case {
            password: "x8#kPq2!vLmz",
            old: None,
            has_mfa,
        };
        assert!(!check(&policy, &case(false)).is_empty());
        assert!(check(&policy, &case(true)).is_empty());
    }

    #[test]
    fn names_are_refused_in_disguise() {
        for (password, word) in [
            ("xx JANE.SMITH zz 77", "janesmith"),
            ("quick-m\u{f6}ller-brown", "m\u{f6}ller"),
            ("quick-mo\u{308}ller-brown", "m\u{f6}ller"),
            ("3 ACME things to do", "acme"),
            ("zz.r.o.c.k.e.t.s.zz", "rockets"),
            ("hunting Blue_Team 7", "blueteam"),
            ("is-jsmith@home-today", "jsmith"),
        ] {
            let expected =
                format!("leave out `{word}`: names of you and your organization are easy to guess");
            assert_eq!(check_nist(password), [expected], "{password}");
        }
        assert!(
            check_nist("sleeping hedgehogs").is_empty(),
            "Lee is too short to count"
        );
    }

    #[test]
    fn common_passwords_are_refused_although_they_are_long() {
        for password in ["Password1234567890", "!!!!iloveyou!!!!"] {
            let found = check_nist(password);
            assert!(
                found.iter().any(|w| w.contains("less common")),
                "{password}: {found:?}"
            );
        }
    }

    #[test]
    fn the_blocklist_can_be_switched_off_alone() {
        let policy = PasswordPolicy {
            use_blocklist: false,
            ..PasswordPolicy::nist_63b_4()
        };
        let case = Case {
            password: "aaaaaaaaaaaaaaaa",
            old: None,
            has_mfa: false,
        };
        assert!(check(&policy, &case).is_empty());
    }

    #[test]
    fn a_password_is_as_long_as_it_is_hashed() {
        // Fourteen characters, of which three came as a letter and a mark.
        let marked = "a\u{308}b o\u{308}k u\u{308}v x!q7z";
        assert_eq!(
            check_nist(marked),
            ["use at least 15 characters; this password has 14"]
        );
        assert_eq!(check_nist(&"x7".repeat(513)), ["use at most 1024 bytes"]);
    }

    #[test]
    fn debug_shows_no_password() {
        let password: SecretString = "the hedgehog sings".into();
        let candidate = Candidate {
            password: &password,
            old_password: Some(&password),
            has_mfa: false,
            username: "jane",
            email: "",
            full_name: "",
            context_words: &[],
            blocklist: &Blocklist::common(),
            is_breached: false,
        };
        assert!(!format!("{candidate:?}").contains("hedgehog"));
    }

    proptest! {
        #[test]
        fn any_password_is_checked_without_panic(
            password in any::<String>(), old in any::<String>()
        ) {
            let case = Case { password: &password, old: Some(&old), has_mfa: true };
            check(&PasswordPolicy::document(), &case);
        }

        #[test]
        fn what_passes_the_document_is_strong_enough_for_sql(password in "[ -~äß]{8,30}") {
            let policy = PasswordPolicy::document();
            let case = Case { password: &password, old: None, has_mfa: false };
            if check(&policy, &case).is_empty() {
                let min_length = policy.min_length as i32;
                prop_assert!(super::super::is_strong_enough(&password, min_length, policy.classes));
            }
        }
    }
}
