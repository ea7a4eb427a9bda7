//! Forms with a file (RFC 7578): read whole, within limits. Names of files are text of whoever sends
//! them, and nothing is done with them here.

use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use tokio::time::timeout;

use super::NoPage;
use super::form::Fields;

/// How long a form may take to arrive: it holds a connection of the database meanwhile.
const PATIENCE: Duration = Duration::from_mins(2);
/// The most parts of a form.
const PARTS_MAX: usize = 50;
/// The most bytes of a part's head: a file's name is refused by its length later, with a reason.
const HEAD_MAX: usize = 64 * 1024;
/// What the fields beside the file may take.
const FIELDS_MAX: usize = 2 * 1024 * 1024;

/// A form with a file.
#[derive(Debug, Default)]
pub(super) struct Upload {
    /// The other fields.
    pub(super) fields: Fields,
    /// The file, by the name that its sender gives it.
    pub(super) file: Option<File>,
}

/// A file that was sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) bytes: Bytes,
}

impl<S: Send + Sync> FromRequest<S> for Upload {
    type Rejection = NoPage;

    async fn from_request(request: Request, _: &S) -> Result<Self, NoPage> {
        let limit = app::compliance::evidence::UPLOAD_MAX + FIELDS_MAX;
        let unreadable =
            |status, why: &str| NoPage::message(status, "This form cannot be read", why);
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).map(str::to_owned);
        let Some(boundary) = kind.as_deref().and_then(boundary_of) else {
            return Err(unreadable(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "It is not a form with a file.",
            ));
        };
        let body = timeout(PATIENCE, to_bytes(request.into_body(), limit)).await;
        let Ok(Ok(body)) = body else {
            return Err(unreadable(
                StatusCode::PAYLOAD_TOO_LARGE,
                "The file is too large, or it did not arrive within two minutes. Up to 25 MiB can be uploaded; on the \
                 machine, `blueteam compliance evidence add` takes larger ones.",
            ));
        };
        read(boundary, &body).ok_or_else(|| {
            unreadable(
                StatusCode::UNPROCESSABLE_ENTITY,
                "It is broken, or text in it is not UTF-8.",
            )
        })
    }
}

/// The boundary that a media type names: 1 to 70 characters (RFC 2046, 5.1.1).
fn boundary_of(kind: &str) -> Option<&str> {
    let (kind, parameters) = kind.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let named = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.trim().split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then_some(value)
    })?;
    let boundary = named.trim_matches('"');
    let is_right = (1..=70).contains(&boundary.len()) && boundary.bytes().all(|b| b > b' ');
    is_right.then_some(boundary)
}

/// The first place of `needle` in `hay`.
fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(at) = hay.get(from..)?.iter().position(|byte| *byte == first) {
        let at = from + at;
        if hay[at..].starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

fn read(boundary: &str, body: &Bytes) -> Option<Upload> {
    let opening = format!("--{boundary}");
    let delimiter = format!("\r\n{opening}");
    let mut at = body
        .starts_with(opening.as_bytes())
        .then_some(opening.len())?;
    let (mut fields, mut file) = (Vec::new(), None);
    for _ in 0..PARTS_MAX {
        let rest = &body[at..];
        if rest.starts_with(b"--") {
            let fields = Fields::from(fields);
            return Some(Upload { fields, file });
        }
        let rest = rest.strip_prefix(b"\r\n")?;
        let head_end = find(&rest[..rest.len().min(HEAD_MAX)], b"\r\n\r\n")?;
        let head = std::str::from_utf8(&rest[..head_end]).ok()?;
        let content = &rest[head_end + 4..];
        let length = find(content, delimiter.as_bytes())?;
        let start = at + 2 + head_end + 4;
        at = start + length + delimiter.len();

        let part = part_of(head)?;
        let bytes = body.slice(start..start + length);
        match part.file_name {
            // A field for a file that stayed empty.
            Some("") if bytes.is_empty() => {}
            Some(name) => {
                let name = name.to_owned();
                file = Some(File { name, bytes });
            }
            None => {
                let text = std::str::from_utf8(&bytes).ok()?;
                fields.push((part.name.to_owned(), text.to_owned()));
            }
        }
    }
    None
}

/// What the head of a part says.
#[derive(Debug, PartialEq, Eq)]
struct Part<'a> {
    name: &'a str,
    file_name: Option<&'a str>,
}

fn part_of(head: &str) -> Option<Part<'_>> {
    let disposition = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim()
            .eq_ignore_ascii_case("content-disposition")
            .then_some(value.trim())
    })?;
    disposition.strip_prefix("form-data")?;
    // Browsers write quotes within a value as %22.
    let value = |name: &str| {
        let at = disposition.find(&format!("; {name}=\""))?;
        let rest = &disposition[at + name.len() + 4..];
        rest.split('"').next()
    };
    Some(Part {
        name: value("name")?,
        file_name: value("filename"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(parts: &[(&str, &str)]) -> Bytes {
        let part = |(head, content): &(&str, &str)| {
            format!("--xyz\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
        };
        let body: String = parts.iter().map(part).collect();
        Bytes::from(body + "--xyz--\r\n")
    }

    #[test]
    fn fields_and_the_file_are_told_apart() {
        let body = form(&[
            ("name=\"shows\"", "line one\r\nline two"),
            (
                "name=\"file\"; filename=\"=cmd|'/c calc'!A1 \u{202e}gnp.pdf\"\r\nContent-Type: text/html",
                "\r\n--xy <script>\r\n--x",
            ),
            ("name=\"name\"", "a"),
        ]);
        let upload = read("xyz", &body).unwrap();
        assert_eq!(upload.fields.get("shows"), "line one\nline two");
        assert_eq!(upload.fields.get("name"), "a");
        let file = upload.file.unwrap();
        assert_eq!(file.name, "=cmd|'/c calc'!A1 \u{202e}gnp.pdf");
        assert_eq!(&file.bytes[..], b"\r\n--xy <script>\r\n--x");

        let none = form(&[("name=\"file\"; filename=\"\"", "")]);
        assert_eq!(read("xyz", &none).unwrap().file, None);
    }

    #[test]
    fn what_is_broken_is_no_form() {
        let whole = form(&[("name=\"a\"", "b"), ("name=\"file\"; filename=\"c\"", "d")]);
        for end in 0..whole.len() - 4 {
            assert!(read("xyz", &whole.slice(..end)).is_none(), "{end}");
        }
        assert!(read("other", &whole).is_none());
        assert!(read("xyz", &form(&[("name=a", "b")])).is_none());
        let many = [("name=\"a\"", "b"); PARTS_MAX + 1];
        assert!(read("xyz", &form(&many)).is_none());
        for kind in [
            "text/plain; boundary=x",
            "multipart/form-data",
            "multipart/form-data; boundary=",
        ] {
            assert_eq!(boundary_of(kind), None, "{kind}");
        }
        assert_eq!(
            boundary_of("multipart/form-data; boundary=\"--x\""),
            Some("--x")
        );
    }
}
