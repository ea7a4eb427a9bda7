//! The raw line of an event as it is kept: cut, and with the secrets in it masked.
//!
//! Masking is for people who read logs and have no business with a password in them. It never
//! changes what the parsers and the rules see, so that `password=' OR 1=1` hides nothing. A mask
//! covers one value, never the text after it.

use std::borrow::Cow;
use std::sync::LazyLock;

use model::Text;
use model::event::RAW_MAX;
use regex::bytes::{Captures, Regex};

use crate::text::lossy_text;

/// The text that replaces a secret.
const MASK: &[u8] = b"***";
/// Bytes of a line that are searched: a secret that the cut would divide is masked first.
const SEARCHED_MAX: usize = 2 * RAW_MAX;

/// What no secret is without. Most lines have none of it.
static MAY_HOLD: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?i-u)pass|pwd|secret|token|key|authorization|sess|sid=|bearer|basic |digest |credential",
        r"|otp|pin=|eyj|://|identified|akia|ghp_|gho_|glpat-|xox|bt_|cookie|sig(nature)?=",
    ))
    .ok()
});

/// Values with quotation marks, which may themselves be within a quoted text, and without.
const QUOTED: &str = r#"\\?"(?:[^"\\]|\\[^"])*\\?"?|'[^']*'?"#;
const BARE: &str = r#"[^\s"'&;,)}\]<>\\]+"#;

/// Returns the pattern of a name that is followed by such a sign and one of these values. A colon
/// without a blank after it separates other things, too: `pam_unix(passwd:chauthtok)`.
fn assigned(sign: &str, values: &[&str]) -> String {
    let values = values.join("|");
    format!(
        concat!(
            r#"(?i-u)(?P<before>(?:pass(?:word|wd|phrase|code)?|pwd|secret|token|api[_-]?key"#,
            r#"|(?:access|private|secret|auth|session)[_-]?(?:key|id)|phpsessid|jsessionid|sid"#,
            r#"|credentials?|otp|pin|sig|signature)\d{{0,2}}(?:\\?["'])?{sign})(?:{values})"#,
        ),
        sign = sign,
        values = values,
    )
}

/// The forms of secrets. Each has a group `before` that stays.
static SECRETS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        // `Authorization: Bearer x`, also as a field of JSON, and the schemes by themselves.
        concat!(
            r#"(?i-u)(?P<before>authorization\\?["']?\s*[:=]\s*\\?["']?"#,
            r#"(?:(?:basic|bearer|digest|negotiate|ntlm|token|apikey)\s+)?)[^\s"'\\,;]+"#,
        ),
        r"(?i-u)(?P<before>\b(?:basic|bearer|negotiate)\s+)[a-z0-9+/_.~=-]{8,}",
        // Cookies are pairs: what follows them, or another word in their place, stays.
        concat!(
            r#"(?i-u)(?P<before>\b(?:set-)?cookie\\?["']?\s*[:=]\s*\\?["']?)"#,
            r#"[^\s"'=;,\\]+=[^\s"';\\]*(?:;[ ]?[^\s"'=;\\]+(?:=[^\s"';\\]*)?)*"#,
        ),
        // SQL.
        r"(?i-u)(?P<before>\b(?:password|identified\s+(?:with\s+\w+\s+)?by)\s+e?)'(?:[^']|'')*'?",
        // `password=x`, `"client_secret": "x"`, `token: x`, `api-key%3dx`.
        &assigned(r"\s*(?:=>|=|%3d)\s*", &[QUOTED, BARE]),
        &assigned(r"\s*:\s*", &[QUOTED]),
        &assigned(r"\s*:\s+", &[BARE]),
        // `scheme://user:password@host`.
        r#"(?i-u)(?P<before>://[^\s/:@"']{1,256}:)[^\s/@"']+@"#,
        // Tokens that are known by their form: JWT, AWS, GitHub, GitLab, Slack, our own keys.
        concat!(
            r"(?-u)(?P<before>\b)(?:eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}",
            r"(?:\.[A-Za-z0-9_-]*)?|AKIA[A-Z0-9]{12,}|gh[po]_[A-Za-z0-9]{20,}",
            r"|glpat-[A-Za-z0-9_-]{16,}|xox[abprs]-[A-Za-z0-9-]{10,}|bt_[A-Za-z0-9_-]{20,})",
        ),
    ]
    .into_iter()
    .filter_map(|form| Regex::new(form).ok())
    .collect()
});

/// Returns a line as it is kept: at most [`RAW_MAX`] bytes, secrets masked, NUL and invalid UTF-8
/// replaced.
pub fn raw_line(line: &[u8]) -> Text<'_> {
    let searched = &line[..line.len().min(SEARCHED_MAX)];
    let mut masked = Cow::Borrowed(searched);
    if MAY_HOLD
        .as_ref()
        .is_some_and(|sign| sign.is_match(searched))
    {
        for secret in SECRETS.iter() {
            if let Cow::Owned(text) =
                secret.replace_all(&masked, |found: &Captures<'_>| mask_value(&masked, found))
            {
                masked = Cow::Owned(text);
            }
        }
    }

    match masked {
        Cow::Borrowed(bytes) => cut(lossy_text(bytes)),
        Cow::Owned(bytes) => cut(lossy_text(&bytes).into_owned()),
    }
}

/// Returns what replaces a secret: the text before it and a mask. `PWD=/home/ann` is the working
/// directory that sudo and shells name, and stays.
fn mask_value(text: &[u8], found: &Captures<'_>) -> Vec<u8> {
    let whole = found.get(0).map_or(&b""[..], |all| all.as_bytes());
    let before = found
        .name("before")
        .map_or(&b""[..], |text| text.as_bytes());
    let start = found.get(0).map_or(0, |all| all.start());
    let name_before = text.get(..start).unwrap_or_default();
    let is_whole_name = name_before.ends_with(b"OLD")
        || !name_before.ends_with(b"_")
            && !name_before.last().is_some_and(u8::is_ascii_alphanumeric);
    let is_directory = is_whole_name && before == b"PWD=" && whole.get(4) == Some(&b'/');
    if is_directory {
        whole.to_vec()
    } else {
        [before, MASK].concat()
    }
}

/// Parameters of a URL whose values are secrets. A value is masked only where it is all letters,
/// digits and `-._~`: anything else may be an attack, which rules must see.
static PARAMETERS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?i-u)(?P<before>[?&;](?:[a-z]+[_-])?(?:pass(?:word|wd|phrase)?|pwd|secret|token|api_?key",
        r"|(?:access|private|session)_?(?:key|id|token)|phpsessid|jsessionid|sid|otp|pin|sig)=)",
        r"[a-z0-9._~-]+(?P<after>[&;#]|$)",
    ))
    .ok()
});

/// Masks the secrets among the parameters of a request's target. Returns `None` where there are
/// none.
pub fn masked_target(target: &str) -> Option<String> {
    memchr::memchr2(b'?', b';', target.as_bytes())?;
    match PARAMETERS
        .as_ref()?
        .replace_all(target.as_bytes(), &b"${before}***${after}"[..])
    {
        Cow::Owned(masked) => String::from_utf8(masked).ok(),
        Cow::Borrowed(_) => None,
    }
}

/// Secrets in a body: fields of a form, and of JSON. A value that holds what code cannot do without
/// is not matched: it may be an attack, which rules must see.
static BODY_FIELDS: LazyLock<Option<[Regex; 2]>> = LazyLock::new(|| {
    let name = concat!(
        r"(?:[a-z]+[_-])?(?:pass(?:word|wd|phrase|code)?|pwd|secret|token|api_?key|otp|pin|code",
        r"|(?:access|private|session|auth|client)_?(?:key|id|token|secret)|credentials?)",
    );
    let form = Regex::new(&format!(
        r"(?i-u)(?P<before>(?:^|[&;])(?:[a-z_]+\[)?{name}\]?=)(?P<value>[^&;]*)(?P<after>)"
    ));
    let json = Regex::new(&format!(
        r#"(?i-u)(?P<before>"{name}"\s*:\s*")(?P<value>[^"\\]*)(?P<after>")"#
    ));
    Some([form.ok()?, json.ok()?])
});

/// What code in a value is not without, plain or encoded.
static CODE_MARKS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?i-u)['"`<>(){}|]|%2[2789]|%3[ce]|%60|%7[bcd]|\.\.|%2e%2e|\$ne|\\u00"#).ok()
});

/// Masks the secrets in the body of a request. Without its patterns nothing of a body is kept.
pub fn masked_body(body: &str) -> String {
    let (Some(fields), Some(marks)) = (BODY_FIELDS.as_ref(), CODE_MARKS.as_ref()) else {
        return String::new();
    };

    let mut body = body.as_bytes().to_vec();
    for form in fields {
        let masked = form.replace_all(&body, |found: &Captures<'_>| {
            let part = |name| found.name(name).map_or(&b""[..], |text| text.as_bytes());
            let value = part("value");
            let value = if marks.is_match(value) { value } else { MASK };
            [part("before"), value, part("after")].concat()
        });
        body = masked.into_owned();
    }
    String::from_utf8_lossy(&body).into_owned()
}

fn cut(mut text: Text<'_>) -> Text<'_> {
    text.shorten(RAW_MAX);
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form_is_valid() {
        assert!(MAY_HOLD.is_some() && PARAMETERS.is_some());
        assert!(BODY_FIELDS.is_some() && CODE_MARKS.is_some());
        assert_eq!(SECRETS.len(), 9);
    }

    #[test]
    fn a_body_keeps_no_secret_and_hides_no_code() {
        for (body, kept) in [
            (
                "user=ann&password=hunter%212&next=%2F",
                "user=ann&password=***&next=%2F",
            ),
            ("user[password]=hunter2", "user[password]=***"),
            ("new_password=a&otp=123456", "new_password=***&otp=***"),
            (
                r#"{"user":"ann","password": "hunter 2!","x":1}"#,
                r#"{"user":"ann","password": "***","x":1}"#,
            ),
            (
                "user=ann'+or+'1'='1&password=x",
                "user=ann'+or+'1'='1&password=***",
            ),
            ("password='+or+'1'='1", "password='+or+'1'='1"),
            ("password=%27%20or%201=1", "password=%27%20or%201=1"),
            ("bypass=1&compass=north", "bypass=1&compass=north"),
            ("q=what+is+a+password", "q=what+is+a+password"),
        ] {
            assert_eq!(masked_body(body), kept);
        }
    }

    #[test]
    fn secrets_are_masked() {
        for (line, kept) in [
            (
                "GET /login?user=ann&password=hunter2&next=/ HTTP/1.1",
                "GET /login?user=ann&password=***&next=/ HTTP/1.1",
            ),
            (
                r#"{"user":"ann","password":"hunter 2","x":1}"#,
                r#"{"user":"ann","password":***,"x":1}"#,
            ),
            (
                r#"msg="{\"new_password\":\"hunter2\"}" end"#,
                r#"msg="{\"new_password\":***}" end"#,
            ),
            (
                "Authorization: Bearer abc.def-ghi end",
                "Authorization: Bearer *** end",
            ),
            (
                "authorization=Basic dXNlcjpwYXNz",
                "authorization=Basic ***",
            ),
            (
                "proxy sent Basic dXNlcjpwYXNzd29yZA== to us",
                "proxy sent Basic *** to us",
            ),
            (
                "curl https://ann:hunter2@git.example/repo.git",
                "curl https://ann:***git.example/repo.git",
            ),
            (
                "statement: CREATE ROLE x LOGIN PASSWORD 'it''s 1' VALID UNTIL 'infinity'",
                "statement: CREATE ROLE x LOGIN PASSWORD *** VALID UNTIL 'infinity'",
            ),
            (
                "mysql: IDENTIFIED BY 'hunter2';",
                "mysql: IDENTIFIED BY ***;",
            ),
            ("Cookie: PHPSESSID=abc; theme=dark", "Cookie: ***"),
            (
                r#"{"cookie":"sid=abc; b","ip":"203.0.113.9"}"#,
                r#"{"cookie":"***","ip":"203.0.113.9"}"#,
            ),
            (
                "cookie=a=b from 203.0.113.9 port 22",
                "cookie=*** from 203.0.113.9 port 22",
            ),
            ("MYSQL_PWD=hunter2 mysql", "MYSQL_PWD=*** mysql"),
            ("pwd=/hunter2 x", "pwd=*** x"),
            ("DB_PWD=/hunter2 x", "DB_PWD=*** x"),
            (
                "access_token=abc&api-key%3Dxyz&x=1",
                "access_token=***&api-key%3D***&x=1",
            ),
            (
                "jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln end",
                "jwt *** end",
            ),
            ("key AKIAIOSFODNN7EXAMPLE end", "key *** end"),
        ] {
            assert_eq!(&*raw_line(line.as_bytes()), kept, "{line}");
        }
    }

    #[test]
    fn parameters_are_masked_unless_they_may_be_an_attack() {
        for (target, masked) in [
            ("/login?password=hunter2", Some("/login?password=***")),
            (
                "/x?a=b&access_token=abc.def-1&c=d",
                Some("/x?a=b&access_token=***&c=d"),
            ),
            ("/login?password=%27%20OR%201=1", None),
            ("/login?password=a'+OR+1=1", None),
            ("/login?password=<script>", None),
            ("/passwords?page=2", None),
            ("/plain", None),
        ] {
            assert_eq!(masked_target(target).as_deref(), masked, "{target}");
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for line in [
            "Mar  5 11:00:01 h sshd[1]: Failed password for root from 203.0.113.9 port 22 ssh2",
            "Mar  5 11:00:01 h sshd[1]: Accepted publickey for ann from ::1 port 5 ssh2: RSA SHA256:x",
            "Mar  5 11:00:01 h passwd[7]: pam_unix(passwd:chauthtok): password changed for eve",
            "GET /keys/ HTTP/1.1 https://example.com/a:b basic usage",
            "Mar  5 11:00:01 h sshd[1]: Invalid user cookie:x from 203.0.113.9 port 22",
            "Mar  5 11:00:01 h sshd[1]: Invalid user cookie: x from 203.0.113.9 port 22",
            "Mar  5 11:00:01 h sudo: ann : TTY=pts/0 ; PWD=/home/ann ; USER=root ; COMMAND=/bin/ls",
        ] {
            assert_eq!(&*raw_line(line.as_bytes()), line);
        }
    }

    proptest! {
        /// However a secret and its neighbors look, it is not kept, and what follows its value is.
        #[test]
        fn no_secret_is_kept(
            before in "[ -~]{0,40}",
            name in "(new_|client-|X-)?(password|Passwd|SECRET|token|api_key|session_id)",
            sign in "(=|: |=>|%3D)",
            secret in "[A-Za-z0-9+/_.-]{12,40}",
        ) {
            let line = format!("{before} {name}{sign}{secret} and what follows");
            let kept = raw_line(line.as_bytes());
            prop_assert!(!kept.contains(&secret), "{kept}");
            prop_assert!(kept.ends_with(" and what follows"), "{kept}");
        }

        /// A line of any bytes is text that fits, whatever the cut divides.
        #[test]
        fn any_line_is_kept(line in proptest::collection::vec(any::<u8>(), 0..300), times in 1..40_usize) {
            let line = line.repeat(times);
            let kept = raw_line(&line);
            prop_assert!(kept.len() <= RAW_MAX && !kept.contains('\0'));
        }

        /// A secret that lies across the cut is masked like any other.
        #[test]
        fn the_cut_divides_no_secret(padding in 1900..2060_usize) {
            let line = format!("{} password=SECRETSECRETSECRETSECRETSECRET", "x".repeat(padding));
            prop_assert!(!raw_line(line.as_bytes()).contains("SECRET"));
        }
    }
}
