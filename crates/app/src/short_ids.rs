//! IDs that people shorten to their first characters.

use std::ops::RangeInclusive;

use model::text::sanitize;
use uuid::Uuid;

use crate::AppError;

/// The ids that begin with `prefix`, with or without dashes; none where it begins no id.
pub(crate) fn range(prefix: &str) -> Option<RangeInclusive<Uuid>> {
    let digits: String = prefix.chars().filter(|c| *c != '-').collect();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let filled = |with: char| {
        let rest = 32_usize.checked_sub(digits.len())?;
        let text: String = digits
            .chars()
            .chain(std::iter::repeat_n(with, rest))
            .collect();
        Uuid::try_parse(&text).ok()
    };
    Some(filled('0')?..=filled('f')?)
}

/// Returns the one of `all` whose ID begins with `prefix`, with or without dashes. The errors name
/// the things as `what`, and the command that lists them as `listed_by`.
pub(crate) fn pick<T>(
    mut all: Vec<T>,
    prefix: &str,
    id: impl Fn(&T) -> Uuid,
    what: &str,
    listed_by: &str,
) -> Result<T, AppError> {
    let wanted: String = prefix
        .chars()
        .filter(|c| *c != '-')
        .map(|c| c.to_ascii_lowercase())
        .collect();
    all.retain(|one| !wanted.is_empty() && id(one).simple().to_string().starts_with(&wanted));

    let shown = sanitize(prefix);
    match all.pop() {
        Some(one) if all.is_empty() => Ok(one),
        Some(_) => Err(AppError::invalid(format!(
            "several begin with `{shown}`; give more of the ID"
        ))),
        None => Err(AppError::not_found(format!(
            "no {what} begins with `{shown}`; see `{listed_by}`"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(prefix: &str) -> Result<Uuid, AppError> {
        let all = vec![
            Uuid::from_u128(0x0199_f3a2_u128 << 96),
            Uuid::from_u128(0x0199_f3b0_u128 << 96),
        ];
        pick(all, prefix, |id| *id, "thing", "blueteam things")
    }

    #[test]
    fn a_range_holds_what_begins_so_and_nothing_else() {
        let (one, other) = (0x0199_f3a2_u128 << 96, 0x0199_f3b0_u128 << 96);
        let within = |prefix: &str, id: u128| {
            range(prefix).is_some_and(|ids| ids.contains(&Uuid::from_u128(id)))
        };
        assert!(within("0199F3A", one) && !within("0199F3A", other));
        assert!(within("0199-f3b", other | 0xffff) && within("0", one));
        let whole = Uuid::from_u128(one).to_string();
        assert!(within(&whole, one) && !within(&whole, one + 1));
        for none in [
            "",
            "-",
            "g",
            "0199 ",
            "é",
            &format!("{whole}0"),
            &"0".repeat(99),
        ] {
            assert_eq!(range(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_prefix_names_one_id_whatever_its_case_and_dashes() {
        assert!(picked("0199F3A").is_ok());
        assert!(picked("0199f3b0-0000").is_ok());
        assert!(matches!(picked("0199"), Err(AppError::Invalid(_))));
        assert!(matches!(picked("ff"), Err(AppError::NotFound(_))));
        assert!(matches!(picked("-"), Err(AppError::NotFound(_))));
    }
}
