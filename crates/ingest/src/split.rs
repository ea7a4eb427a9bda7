//! From the text of a request to its events: one JSON object, an array of them, or one a line.
//!
//! Looks at brackets and quotes only, without recursion, so that a hostile text costs no stack;
//! each event is then read on its own, and one that is broken costs its neighbors nothing, as long
//! as its brackets and quotes are paired.

use super::body::BodyError;

/// The events of a body, unread. At most `most`.
pub(super) fn split(body: &[u8], most: usize) -> Result<Vec<&[u8]>, BodyError> {
    // Some editors begin a file with a byte order mark.
    let body = body
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(body)
        .trim_ascii();
    match body.first() {
        None => Err(BodyError::Unreadable("the body is empty")),
        Some(b'[') => split_array(body, most),
        Some(b'{') => match end_of_value(body, 0) {
            Some(end) if end == body.len() => Ok(vec![body]),
            _ => split_lines(body, most),
        },
        Some(_) => Err(BodyError::Unreadable(
            "the body is not a JSON object, a JSON array, or a JSON object a line",
        )),
    }
}

fn split_lines(body: &[u8], most: usize) -> Result<Vec<&[u8]>, BodyError> {
    let mut events = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = rest[..end].trim_ascii();
        if !line.is_empty() {
            push_bounded(&mut events, line, most)?;
        }
        rest = rest.get(end + 1..).unwrap_or_default();
    }

    Ok(events)
}

fn split_array(body: &[u8], most: usize) -> Result<Vec<&[u8]>, BodyError> {
    const BROKEN: BodyError = BodyError::Unreadable("the JSON array is broken");
    let mut events = Vec::new();
    let mut at = skip_space(body, 1);
    if body.get(at) == Some(&b']') {
        return if at + 1 == body.len() {
            Ok(events)
        } else {
            Err(BROKEN)
        };
    }

    loop {
        let end = end_of_value(body, at).ok_or(BROKEN)?;
        push_bounded(&mut events, body[at..end].trim_ascii_end(), most)?;
        at = skip_space(body, end);
        match body.get(at) {
            Some(b',') => at = skip_space(body, at + 1),
            Some(b']') if at + 1 == body.len() => return Ok(events),
            _ => return Err(BROKEN),
        }
    }
}

fn push_bounded<'a>(
    events: &mut Vec<&'a [u8]>,
    event: &'a [u8],
    most: usize,
) -> Result<(), BodyError> {
    if events.len() >= most {
        return Err(BodyError::TooMany);
    }
    events.push(event);
    Ok(())
}

fn skip_space(body: &[u8], from: usize) -> usize {
    body[from..]
        .iter()
        .position(|b| !b.is_ascii_whitespace())
        .map_or(body.len(), |skip| from + skip)
}

/// Where the value that starts at `start` ends: after its closing bracket or quote, or before the
/// comma or bracket that follows a bare word. None when it does not end, or is nothing.
fn end_of_value(body: &[u8], start: usize) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, start);
    loop {
        match *body.get(at)? {
            b'"' => {
                at = end_of_string(body, at)?;
                if depth == 0 {
                    return Some(at);
                }
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth > 1 => depth -= 1,
            b'}' | b']' if depth == 1 => return Some(at + 1),
            b'}' | b']' | b',' if depth == 0 => return (at > start).then_some(at),
            _ => {}
        }

        at += 1;
    }
}

/// Where the string whose opening quote is at `quote` ends.
fn end_of_string(body: &[u8], quote: usize) -> Option<usize> {
    let mut at = quote + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', body.get(at..)?)?;
        if body[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(body: &str) -> Result<Vec<&str>, BodyError> {
        split(body.as_bytes(), 100).map(|events| {
            events
                .into_iter()
                .map(|e| std::str::from_utf8(e).unwrap())
                .collect()
        })
    }

    #[test]
    fn one_many_and_lines() {
        for (body, events) in [
            ("{}", vec!["{}"]),
            (
                "\u{feff} {\n \"a\": \"}\"\n}\n",
                vec!["{\n \"a\": \"}\"\n}"],
            ),
            ("[]", vec![]),
            (" [ ] ", vec![]),
            (
                r#"[{"a":"\"]},"}, {"b":[1,{}]} ,7, nul ]"#,
                vec![r#"{"a":"\"]},"}"#, r#"{"b":[1,{}]}"#, "7", "nul"],
            ),
            (
                "{\"a\":1}\r\n\n{\"b\"\n{}\n",
                vec!["{\"a\":1}", "{\"b\"", "{}"],
            ),
            ("{\"a\":\"", vec!["{\"a\":\""]),
        ] {
            assert_eq!(texts(body), Ok(events), "{body}");
        }
    }

    #[test]
    fn what_cannot_be_taken_apart_is_refused() {
        for body in [
            "", "  ", "x", "\"a\"", "[", "[{}", "[{},]", "[,{}]", "[{}]]", "[{}]x", "[{\"a]}",
            "[\"\\",
        ] {
            assert!(
                matches!(texts(body), Err(BodyError::Unreadable(_))),
                "{body}"
            );
        }

        assert_eq!(split(b"[1,2,3]", 2), Err(BodyError::TooMany));
        assert_eq!(split(b"{}\n{}\n{}", 2), Err(BodyError::TooMany));

        // A million brackets cost no stack.
        assert!(split("[".repeat(1_000_000).as_bytes(), 2).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = split(&body, 100);
        }

        #[test]
        fn never_panics_on_brackets(body in r#"[\[\]{}",\\ \na1:]{0,60}"#) {
            let _ = split(body.as_bytes(), 100);
        }

        #[test]
        fn an_array_of_values_comes_apart_again(texts in proptest::collection::vec("\\PC{0,10}", 0..20)) {
            let values: Vec<_> = texts.iter().map(|t| serde_json::json!({ "t": t, "a": [t] }).to_string()).collect();
            let expected: Vec<_> = values.iter().map(String::as_bytes).collect();
            let body = format!("[{}]", values.join(","));
            prop_assert_eq!(split(body.as_bytes(), 100), Ok(expected.clone()));
            if !values.is_empty() {
                let lines = values.join("\n");
                prop_assert_eq!(split(lines.as_bytes(), 100), Ok(expected));
            }
        }
    }
}
