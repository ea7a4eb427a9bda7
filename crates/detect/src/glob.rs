//! Patterns for endpoints: `*` matches any run of characters.

use wide::u8x32;

/// A pattern with `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob {
    parts: Vec<String>,
    /// First bytes of its first part and last bytes of its last.
    ends: Ends,
    /// The bits of `ends` that the pattern determines.
    mask: Ends,
}

/// The first and the last sixteen bytes of a text, which rule out a match for nearly every text
/// without looking at the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    first: u128,
    last: u128,
}

impl Ends {
    pub(crate) fn of(text: &str) -> Self {
        Self::of_both(text.as_bytes(), text.as_bytes())
    }

    fn of_both(first: &[u8], last: &[u8]) -> Self {
        let padded = |bytes: &[u8], from: usize| {
            let mut word = [0; 16];
            word[from..from + bytes.len()].copy_from_slice(bytes);
            word
        };

        Self {
            first: u128::from_le_bytes(
                first
                    .first_chunk()
                    .copied()
                    .unwrap_or_else(|| padded(first, 0)),
            ),
            last: u128::from_le_bytes(
                last.last_chunk()
                    .copied()
                    .unwrap_or_else(|| padded(last, 16 - last.len())),
            ),
        }
    }
}

impl Glob {
    pub(crate) fn new(pattern: &str) -> Self {
        let parts: Vec<String> = pattern.split('*').map(str::to_owned).collect();
        let (first, last) = (
            parts.first().map_or(&[][..], |p| p.as_bytes()),
            parts.last().map_or(&[][..], |p| p.as_bytes()),
        );
        let all = |bytes: &[u8]| vec![0xff; bytes.len()];

        Self {
            ends: Ends::of_both(first, last),
            mask: Ends::of_both(&all(first), &all(last)),
            parts,
        }
    }

    /// Returns whether a text with these ends may match.
    pub(crate) fn may_match(&self, text: Ends) -> bool {
        (self.ends.first ^ text.first) & self.mask.first == 0
            && (self.ends.last ^ text.last) & self.mask.last == 0
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        let [first, middle @ .., last] = self.parts.as_slice() else {
            return self.parts.first().is_some_and(|only| only == text);
        };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else {
            return false;
        };

        for part in middle {
            match rest.find(part.as_str()) {
                Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
                None => return false,
            }
        }

        rest.ends_with(last.as_str())
    }
}

/// Returns whether a path needs no normalization: no `%`, `?`, `#` or `;` in it, and no slash
/// before a slash or dot. Called for nearly every event, so it compares 32 bytes at a time.
fn is_plain(path: &[u8]) -> bool {
    let (mut found, mut slash_before) = (0, 0);
    let mut look = |block: [u8; 32]| {
        let bytes = u8x32::from(block);
        let at = |byte: u8| bytes.simd_eq(u8x32::splat(byte)).to_bitmask();
        let slashes = at(b'/');
        found |= at(b'%')
            | at(b'?')
            | at(b'#')
            | at(b';')
            | ((slashes << 1 | slash_before) & (slashes | at(b'.')));
        slash_before = slashes >> 31;
    };

    let (blocks, rest) = path.as_chunks::<32>();
    for block in blocks {
        look(*block);
    }

    let mut last = [0; 32];
    last[..rest.len()].copy_from_slice(rest);
    look(last);

    found == 0
}

/// Returns a request path without query and fragment, normalized as a server does: `%2e`, `//`,
/// `/./` and `/../` are resolved, and parameters of segments (`;x=1`) left out. What is encoded
/// twice is decoded twice: a proxy in front may have decoded it once.
pub(crate) fn plain_path(raw: &str) -> std::borrow::Cow<'_, str> {
    if is_plain(raw.as_bytes()) {
        return raw.into();
    }

    let path = raw.split(['?', '#']).next().unwrap_or_default();
    let mut decoded = model::text::percent_decode(path);
    if decoded.contains('%') {
        decoded = model::text::percent_decode(&decoded);
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in decoded.split('/') {
        match part.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }

    let slash = if decoded.ends_with('/') && !parts.is_empty() {
        "/"
    } else {
        ""
    };

    format!(
        "{}{}{slash}",
        if decoded.starts_with('/') { "/" } else { "" },
        parts.join("/")
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_match_runs() {
        for (pattern, text, expected) in [
            ("/admin/*", "/admin/users", true),
            ("/admin/*", "/api/admin/users", false),
            ("*/settings.php", "/eqmon/api/admin/settings.php", true),
            ("*/settings.php", "/settings.php.bak", false),
            ("/a*b*c", "/axbxc", true),
            ("/a*b*c", "/acb", false),
            ("/exact", "/exact", true),
            ("/exact", "/exactly", false),
            ("*", "", true),
            ("/ab*b", "/ab", false),
        ] {
            assert_eq!(
                Glob::new(pattern).matches(text),
                expected,
                "{pattern} {text}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn ends_never_rule_out_a_match(pattern in "[ab/*]{0,40}", text in "[ab/]{0,40}") {
            let glob = Glob::new(&pattern);
            proptest::prop_assert!(!glob.matches(&text) || glob.may_match(Ends::of(&text)), "{} {}", pattern, text);
        }
    }

    #[test]
    fn disguised_paths_are_normalized() {
        for (raw, plain) in [
            ("/admin/users?x=1", "/admin/users"),
            ("/x/../admin/users", "/admin/users"),
            ("//admin//users", "/admin/users"),
            ("/%61dmin/./users", "/admin/users"),
            ("/../../admin/", "/admin/"),
            ("report-7", "report-7"),
            ("/100%", "/100%"),
            ("/admin;x=1/users;y", "/admin/users"),
            ("/%2561dmin/users", "/admin/users"),
        ] {
            assert_eq!(plain_path(raw), plain, "{raw}");
        }
    }

    proptest::proptest! {
        #[test]
        fn plain_paths_are_recognized(path in "[a/.%?#;]{0,8}|a{28,33}[a/.%?#;]{0,6}|[a/]{30,70}") {
            let special = |pair: &[u8]| matches!(pair, [b'/', b'/' | b'.']);
            let plain = !path.contains(['%', '?', '#', ';']) && !path.as_bytes().windows(2).any(special);
            proptest::prop_assert_eq!(is_plain(path.as_bytes()), plain);
        }
    }
}
