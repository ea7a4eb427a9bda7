//! The words of SQL statements, without what strangers can write into them: comments and strings.

/// Returns the words of each statement in `text`, in lowercase: keywords, and names with the dots
/// that qualify them. Strings, dollar-quoted ones too, and comments are left out.
pub fn statements(text: &str) -> Vec<Vec<String>> {
    let mut found = vec![Vec::new()];
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            '\'' => quoted_length(rest, '\''),
            '$' => dollar_quoted_length(rest).unwrap_or(1),
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

/// Returns the length of `$tag$ … $tag$`; `None` if no such string begins `text`.
fn dollar_quoted_length(text: &str) -> Option<usize> {
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
        let length = if rest.starts_with('"') {
            quoted_length(rest, '"')
        } else {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        };
        name.push_str(&rest[..length].trim_matches('"').to_lowercase());
        at += length;

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
            ("COMMENT ON TABLE t IS 'x'", vec!["comment on table t is"]),
            ("a.'x' $1 é.\"", vec!["a 1 é."]),
            ("", vec![]),
        ] {
            let found: Vec<String> = statements(text).iter().map(|s| s.join(" ")).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    proptest::proptest! {
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
