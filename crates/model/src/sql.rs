//! The words of SQL statements, without what strangers can write into them: comments and strings.

/// Returns the statement in a message of PostgreSQL that logs one: `statement: …`, or `execute
/// NAME: …` of a prepared one, also behind the time it took, `duration: 0.1 ms  statement: …`. The
/// client chooses the name; one that holds `: ` reads as a part of the statement.
pub fn logged(message: &str) -> Option<&str> {
    let timed = message.strip_prefix("duration: ");
    let message = timed
        .and_then(|rest| Some(rest.split_once(" ms  ")?.1))
        .unwrap_or(message);
    let (kind, statement) = message.split_once(": ")?;
    (kind == "statement" || kind.starts_with("execute ")).then_some(statement)
}

/// Returns the words of each statement in `text`, in lowercase: keywords, and names with the dots
/// that qualify them. Strings, dollar-quoted ones too, and comments are left out, but for those of
/// `SET` and of `set_config`, which name settings and their values.
pub fn statements(text: &str) -> Vec<Vec<String>> {
    let mut found = vec![Vec::new()];
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let string = match c {
            '\'' => Some(quoted_length(rest, '\'')),
            'e' | 'E' if rest[1..].starts_with('\'') => Some(1 + escape_string_length(&rest[1..])),
            '$' => dollar_quoted_length(rest),
            _ => None,
        };
        if let (Some(length), Some(statement)) = (string, found.last_mut())
            && sets(statement)
        {
            statement.push(setting_in_string(&rest[..length]));
        }

        let length = match c {
            _ if string.is_some() => string.unwrap_or(1),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => comment_length(rest),
            ';' => {
                found.push(Vec::new());
                1
            }
            c if is_word(c) || c == '"' => {
                let (name, length) = name(rest);
                if let Some(statement) = found.last_mut() {
                    statement.push(name);
                }
                length
            }
            c => c.len_utf8(),
        };
        rest = rest.get(length..).unwrap_or_default();
    }

    found.retain(|statement| !statement.is_empty());
    found
}

/// Returns the words of `text`, as [`statements`] reads them, in as few bytes: what a long
/// statement does stands in its words, however many comments and values are between them. Only
/// statements that `keep` wants are kept. What is beyond `most` bytes is cut; then the second value
/// is true.
pub fn condensed(text: &str, most: usize, keep: fn(&[String]) -> bool) -> (String, bool) {
    let mut out = String::new();
    for words in statements(text) {
        if !keep(&words) {
            continue;
        }
        for word in &words {
            let plain = word.split('.').all(|part| {
                part.starts_with(is_word) && part.chars().all(|c| is_word(c) || c == '$')
            });
            if plain {
                out.push_str(word);
            } else if !word.is_empty() {
                out.push('"');
                out.push_str(&word.replace('"', "_"));
                out.push('"');
            }
            out.push(' ');
        }
        out.pop();
        out.push_str("; ");
    }

    out.truncate(out.trim_end_matches("; ").len());
    let is_cut = out.len() > most;
    out.truncate(out.floor_char_boundary(most));
    (out, is_cut)
}

/// Settings of PostgreSQL that decide whether triggers run and what is logged.
const WATCHED_SETTINGS: [&str; 6] = [
    "session_replication_role",
    "log_statement",
    "log_min_messages",
    "log_min_error_statement",
    "log_min_duration_statement",
    "pgaudit.log",
];

/// Returns whether a statement is `SET`, or calls the function that does the same.
pub fn sets(words: &[String]) -> bool {
    let is_call = |word: &String| word == "set_config" || word == "pg_catalog.set_config";
    words.first().is_some_and(|word| word == "set") || words.iter().any(is_call)
}

/// Returns what a string says that names a setting or a value of one, without the marks around it.
fn setting_in_string(string: &str) -> String {
    let dollar = string
        .strip_prefix('$')
        .and_then(|rest| rest.split_once('$'));
    let inner = match dollar {
        Some((tag, body)) => {
            let end = body.len().saturating_sub(tag.len() + 2);
            body.get(..end).unwrap_or_default()
        }
        None => string.trim_start_matches(['e', 'E']).trim_matches('\''),
    };
    inner.to_lowercase()
}

/// Returns whether the words of a statement change the schema, privileges, or whether triggers run.
pub fn is_schema_change(words: &[String]) -> bool {
    match words.first().map_or("", String::as_str) {
        "create" | "alter" | "drop" | "truncate" | "grant" | "revoke" | "reassign" | "security"
        | "comment" => true,
        "import" => words.get(1).is_some_and(|w| w == "foreign"),
        // As `replica`, no trigger runs; others end the log of the session.
        _ => sets(words) && words.iter().any(|w| WATCHED_SETTINGS.contains(&w.as_str())),
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns the length of the quoted text at the beginning of `text`; a doubled mark belongs to it.
fn quoted_length(text: &str, mark: char) -> usize {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == mark && chars.next_if(|(_, next)| *next == mark).is_none() {
            return at + 1;
        }
    }

    text.len()
}

/// Returns the length of the string of `E'…'` at the beginning of `text`, in which a backslash
/// escapes. Strings on lines after it continue it.
fn escape_string_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find(['\'', '\\'])) {
        at += found + 1;
        if bytes[at - 1] == b'\\' {
            // What is escaped may be longer than a byte; only marks matter.
            at += usize::from(matches!(bytes.get(at), Some(b'\'' | b'\\')));
        } else if bytes.get(at) == Some(&b'\'') {
            at += 1;
        } else if let Some(next) = continuation(&text[at..]) {
            at += next + 1;
        } else {
            return at;
        }
    }

    text.len()
}

/// Returns where the next part of a string begins: white space with a newline, and comments to the
/// end of a line, may stand before it.
fn continuation(text: &str) -> Option<usize> {
    let mut rest = text.trim_start();
    while rest.starts_with("--") {
        rest = rest[rest.find('\n')?..].trim_start();
    }

    let between = text.len() - rest.len();
    (rest.starts_with('\'') && text[..between].contains('\n')).then_some(between)
}

/// Returns a name of `U&"…"` with its escapes decoded, which `escape` begins.
fn decode_name(name: &str, escape: char) -> String {
    let (mut decoded, mut rest) = (String::new(), name);
    while let Some((before, after)) = rest.split_once(escape) {
        decoded.push_str(before);
        let digits = if after.starts_with('+') { 1..7 } else { 0..4 };
        let end = digits.end;
        let c = after
            .get(digits)
            .and_then(|hex| u32::from_str_radix(hex, 16).ok());
        if let Some(c) = c.and_then(char::from_u32) {
            decoded.push(c);
            rest = &after[end..];
        } else {
            decoded.push(escape);
            rest = after.strip_prefix(escape).unwrap_or(after);
        }
    }

    decoded + rest
}

/// Returns the character that `UESCAPE 'c'` at the beginning of `text` names; else a backslash.
fn escape_character(text: &str) -> char {
    let text = text.trim_start();
    text.get(..7)
        .filter(|word| word.eq_ignore_ascii_case("uescape"))
        .and_then(|_| text[7..].trim_start().strip_prefix('\'')?.chars().next())
        .unwrap_or('\\')
}

/// Returns the length of `$tag$ … $tag$`; `None` if no such string begins `text`.
fn dollar_quoted_length(text: &str) -> Option<usize> {
    // `$1` is a parameter.
    if text[1..].starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let tag_end = text[1..].find(|c| !is_word(c))? + 1;
    let tag = text.get(..=tag_end).filter(|tag| tag.ends_with('$'))?;
    let body = &text[tag.len()..];

    Some(body.find(tag).map_or(text.len(), |at| at + 2 * tag.len()))
}

/// Returns the length of a comment, in which others may be nested.
fn comment_length(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(pair) = text.as_bytes().get(at..at + 2) {
        match pair {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }

    text.len()
}

/// Returns the name at the beginning of `text` with its qualifiers, without quotation marks, and
/// its length.
fn name(text: &str) -> (String, usize) {
    let (mut name, mut at) = (String::new(), 0);
    loop {
        let rest = &text[at..];
        let is_escaped = rest
            .get(..3)
            .is_some_and(|start| start.eq_ignore_ascii_case("u&\""));
        if is_escaped {
            let length = 2 + quoted_length(&rest[2..], '"');
            let escape = escape_character(&rest[length..]);
            let quoted = rest[2..length].trim_matches('"');
            name.push_str(&decode_name(quoted, escape).to_lowercase());
            at += length;
        } else {
            let length = if rest.starts_with('"') {
                quoted_length(rest, '"')
            } else {
                // A dollar sign within a name begins no string.
                rest.find(|c| !is_word(c) && c != '$').unwrap_or(rest.len())
            };
            name.push_str(&rest[..length].trim_matches('"').to_lowercase());
            at += length;
        }

        let is_qualifier = text[at..]
            .strip_prefix('.')
            .is_some_and(|next| next.starts_with(|c| is_word(c) || c == '"'));
        if !is_qualifier {
            return (name, at);
        }
        name.push('.');
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_statements_are_found() {
        for (text, expected) in [
            ("DROP TABLE a.\"B\"", vec!["drop table a.b"]),
            ("/* x /* y */ */ DROP -- z\nTABLE t", vec!["drop table t"]),
            ("BEGIN; ALTER TABLE t;;", vec!["begin", "alter table t"]),
            (
                "INSERT INTO n VALUES ('audit''s; DROP', $$ x; y $$, $a$ $$ $a$)",
                vec!["insert into n values"],
            ),
            ("SELECT 'open", vec!["select"]),
            (r"SELECT E'\''; DROP t", vec!["select", "drop t"]),
            (r"SELECT e'\\'; DROP t", vec!["select", "drop t"]),
            ("SELECT E'a' -- '\n '\\''; DROP t", vec!["select", "drop t"]),
            (r"SELECT '\'; DROP t", vec!["select", "drop t"]),
            ("SELECT a$x$; DROP t", vec!["select a$x$", "drop t"]),
            ("SELECT $1$; DROP t", vec!["select 1$", "drop t"]),
            (r#"DROP s.U&"a\005f\+00005fb""#, vec!["drop s.a__b"]),
            (r#"DROP u&"a!005f!!" UESCAPE '!'"#, vec!["drop a_! uescape"]),
            ("COMMENT ON TABLE t IS 'x'", vec!["comment on table t is"]),
            ("SET log_statement = 'none'", vec!["set log_statement none"]),
            (
                "SELECT pg_catalog.set_config('Session_Replication_Role', $a$replica$a$, false), 'x'",
                vec!["select pg_catalog.set_config session_replication_role replica false x"],
            ),
            ("a.'x' $1 é.\"", vec!["a 1 é."]),
            ("", vec![]),
        ] {
            let found: Vec<String> = statements(text).iter().map(|s| s.join(" ")).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn settings_that_end_triggers_or_the_log_are_changes() {
        let is_change = |text: &str| statements(text).iter().any(|words| is_schema_change(words));
        for text in [
            "SET session_replication_role = replica",
            "SELECT set_config('session_replication_role', 'replica', false)",
            "WITH x AS (SELECT 1) SELECT pg_catalog.set_config(E'session_replication_role', 'replica', true)",
            "SET LOCAL log_statement TO 'none'",
            "SET pgaudit.log = 'none'",
        ] {
            assert!(is_change(text), "{text}");
        }
        for text in [
            "SET search_path = public",
            "SELECT set_config('app.user', 'ann', true)",
            "SELECT 'set_config session_replication_role'",
            "SELECT note FROM t WHERE name = 'session_replication_role'",
        ] {
            assert!(!is_change(text), "{text}");
        }
    }

    #[test]
    fn statements_are_found_behind_their_duration() {
        let message = "duration: 0.312 ms  statement: DROP TABLE t";
        assert_eq!(logged(message), Some("DROP TABLE t"));
        assert_eq!(
            logged("duration: 0.3 ms  execute s: DROP t"),
            Some("DROP t")
        );
        assert_eq!(logged("duration: 0.312 ms"), None);
    }

    #[test]
    fn long_statements_are_condensed_to_their_words() {
        let all = |_: &[String]| true;
        let pad = "x".repeat(5000);
        let text = format!(
            "/*{pad}*/ ALTER ROLE \"It's; \"\"me\"/*{pad}*/ SUPERUSER; INSERT INTO t VALUES ('{pad}')"
        );
        assert_eq!(
            condensed(&text, 100, is_schema_change),
            ("alter role \"it's; __me\" superuser".to_owned(), false)
        );
        assert_eq!(condensed("a b; c", 3, all), ("a b".to_owned(), true));
        assert_eq!(condensed("", 3, all), (String::new(), false));
    }

    proptest::proptest! {
        /// However names are quoted, what is condensed has the same words.
        #[test]
        fn condensing_keeps_the_words(text in "[a-z \"'$;.\\-/*()\n]{0,60}") {
            let words = |text: &str| -> Vec<Vec<String>> {
                let mut found = statements(text);
                for words in &mut found {
                    for word in words.iter_mut() {
                        *word = word.replace('"', "_");
                    }
                    words.retain(|word| !word.is_empty());
                }
                found.retain(|words| !words.is_empty());
                found
            };
            let (condensed, _) = condensed(&text, usize::MAX, |words| !sets(words));
            let mut expected = words(&text);
            expected.retain(|words| !sets(words));
            proptest::prop_assert_eq!(words(&condensed), expected, "{}", condensed);
        }

        #[test]
        fn strings_and_comments_add_no_words(inner in "[^'*/]{0,40}") {
            let text = format!("SELECT '{inner}' FROM t /*{inner}*/");
            let words = statements(&text);
            proptest::prop_assert_eq!(words, vec![vec!["select", "from", "t"]]);
        }

        #[test]
        fn any_text_has_words(text in "\\PC{0,80}") {
            let _ = statements(&text);
        }
    }
}
