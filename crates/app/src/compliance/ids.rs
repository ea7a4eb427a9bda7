//! IDs as people type them: as much of the beginning or the end as names one.

use model::text::sanitize;
use uuid::Uuid;

use crate::AppError;

/// The least of an id that names something: less fits by accident.
const LEAST: usize = 4;
/// As many candidates are named.
const NAMED: usize = 5;

/// What somebody typed of an id, without dashes and in lower case.
pub(super) fn typed(text: &str) -> Result<String, AppError> {
    let hex: String = text
        .chars()
        .filter(|c| *c != '-')
        .map(|c| c.to_ascii_lowercase())
        .collect();
    if !(LEAST..=32).contains(&hex.len()) || !hex.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(AppError::invalid(format!(
            "invalid ID `{}`: give the full ID, or at least {LEAST} characters of its beginning or \
                its end",
            sanitize(text)
        )));
    }

    Ok(hex)
}

/// That a part of an id fits several.
pub(super) fn several(text: &str, ids: &[Uuid]) -> AppError {
    let mut named: Vec<String> = ids.iter().take(NAMED).map(Uuid::to_string).collect();
    if ids.len() > NAMED {
        named.push("and more".to_owned());
    }

    AppError::invalid(format!(
        "`{}` fits several: {}; say more of it",
        sanitize(text),
        named.join(", ")
    ))
}

/// The one of them whose id begins or ends like this, with or without dashes; `Ok(None)` when none
/// does.
pub(super) fn pick<T>(
    mut all: Vec<T>,
    text: &str,
    id: impl Fn(&T) -> Uuid,
) -> Result<Option<T>, AppError> {
    let wanted = typed(text)?;
    all.retain(|one| {
        let hex = id(one).simple().to_string();
        hex.starts_with(&wanted) || hex.ends_with(&wanted)
    });

    if all.len() > 1 {
        return Err(several(text, &all.iter().map(id).collect::<Vec<_>>()));
    }

    Ok(all.pop())
}

/// That no id begins or ends like this. `what` they are the ids of, and `see`: the command that
/// lists them.
pub(super) fn nothing(what: &str, text: &str, see: &str) -> AppError {
    AppError::not_found(format!(
        "no {what} has an id that begins or ends with `{}`; see `{see}`",
        sanitize(text)
    ))
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

        let by = |text: &str| pick(all(), text, |id| *id).map_err(|e| e.to_string());
        assert_eq!(by("ABCD").unwrap(), Some(all()[0]));
        assert_eq!(by("8000-0000000012cd").unwrap(), Some(all()[1]));
        assert_eq!(by(&all()[1].to_string()).unwrap(), Some(all()[1]));
        assert_eq!(by("ffff").unwrap(), None);

        let said = by("0199f3a2-1c44").unwrap_err();
        assert!(
            said.contains("fits several") && said.contains("abcd,") && said.contains("12cd"),
            "{said}"
        );
        assert!(by("cd").unwrap_err().contains("invalid ID"));
        assert!(by("xyzzy\u{1b}").unwrap_err().contains("invalid ID"));
    }
}
