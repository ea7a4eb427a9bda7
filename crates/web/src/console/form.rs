//! Forms and addresses: fields that may come several times, places to go back to, and what became of
//! what was done.

use app::AppError;
use app::listing::digest;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, FromRequest, Request};
use axum::http::StatusCode;
use pages::{Notice, Undo};

use super::NoPage;
use crate::percent::percent;

/// The fields of a form, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = NoPage;

    async fn from_request(request: Request, state: &S) -> Result<Self, NoPage> {
        let form: Result<Form<Vec<(String, String)>>, FormRejection> =
            Form::from_request(request, state).await;
        match form {
            Ok(Form(fields)) => Ok(fields.into()),
            Err(_) => Err(NoPage::message(
                StatusCode::UNPROCESSABLE_ENTITY,
                "This form cannot be read",
                "It is too large, or no form.",
            )),
        }
    }
}

impl From<Vec<(String, String)>> for Fields {
    /// Browsers end lines as in mails.
    fn from(mut fields: Vec<(String, String)>) -> Self {
        for (_, value) in fields.iter_mut().filter(|(_, value)| value.contains('\r')) {
            *value = value.replace("\r\n", "\n");
        }
        Self(fields)
    }
}

impl Fields {
    /// The value of a field; empty where there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        let mut named = self.0.iter().filter(|(field, _)| field == name);
        named.next().map_or("", |(_, value)| value)
    }

    /// The values of a field that may come several times.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |(field, _)| field == name);
        named.map(|(_, value)| value.as_str())
    }

    /// What was typed, without the token of its session.
    pub(crate) fn typed(&self) -> Vec<(String, String)> {
        let typed = self.0.iter().filter(|(name, _)| name != "form_token");
        typed.cloned().collect()
    }

    /// The fields whose names begin so, without that beginning.
    pub(crate) fn below(&self, beginning: &str) -> Vec<(String, String)> {
        let below = self.0.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix(beginning)?;
            Some((name.to_owned(), value.clone()))
        });
        below.collect()
    }

    /// The value of a field without what is around it; none where nothing is written.
    pub(crate) fn written(&self, name: &str) -> Option<String> {
        let value = self.get(name).trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// The fields of a query. What cannot be read is as if it were not there.
    pub(crate) fn of_query(query: Option<&str>) -> Self {
        let uri: axum::http::Uri = format!("/?{}", query.unwrap_or_default())
            .parse()
            .unwrap_or_default();
        let fields = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri);
        fields.map_or_else(|_| Self::default(), |fields| Self(fields.0))
    }

    /// The value of a field that is a place of this console.
    pub(crate) fn place(&self, name: &str) -> String {
        local_place(self.get(name))
    }
}

/// A place to go to that a request names: a path of this console, or the first page. Another origin
/// is none (CWE-601).
pub(crate) fn local_place(place: &str) -> String {
    let is_local = place.starts_with('/')
        && !place.starts_with("//")
        && place.len() <= 1024
        && place
            .bytes()
            .all(|byte| byte > b' ' && byte < 0x7f && byte != b'\\');
    let leads_to_a_door = ["/sign-in", "/locked", "/unlock", "/sign-out"]
        .iter()
        .any(|door| place.starts_with(door));
    if is_local && !leads_to_a_door {
        place.to_owned()
    } else {
        "/".to_owned()
    }
}

/// What was refused for what was typed, apart from what went wrong: the page says it, and keeps what
/// was typed.
pub(crate) fn kept<T>(result: Result<T, AppError>) -> Result<Result<T, String>, AppError> {
    use AppError::{Conflict, Invalid};
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Invalid(why) | Conflict(why)) => Ok(Err(why)),
        Err(error) => Err(error),
    }
}

/// What went wrong, as a notice.
pub(crate) fn wrong(why: impl Into<String>) -> Notice {
    Notice::bad(why)
}

/// An address with another query: the fields that have a value.
pub(crate) fn address(path: &str, fields: &[(&str, &str)]) -> String {
    let mut address = path.to_owned();
    let mut sign = '?';
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
        address.push(sign);
        address.push_str(name);
        address.push('=');
        address.push_str(&percent(value));
        sign = '&';
    }
    address
}

/// What was done, as the address of the next page says it. A word and a number: whoever makes up an
/// address puts no words into our mouth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// So many alerts were acknowledged, and so many others not.
    Acknowledged(usize, usize),
    /// None was picked.
    NothingPicked,
    /// An incident was moved on.
    MovedOn,
    /// An account, key or setting was changed.
    Changed,
    /// An account is no longer locked.
    Unlocked,
    /// A key was revoked.
    Revoked,
    /// So many sessions were ended.
    SignedOut(u64),
    /// So many notifications are tried again.
    Resent(u64),
    /// So many acknowledgments were taken back.
    TookBack(usize),
    /// Nothing was taken back.
    TooLate,
    /// What was typed is kept.
    Saved,
    /// A silence is in force, or will be.
    Silenced,
    /// A silence was ended.
    Ended,
    /// Evidence is in, as a draft.
    TakenIn,
    /// Evidence counts.
    Approved,
    /// Evidence was refused.
    Refused,
    /// A review was signed.
    Signed,
    /// An item was completed.
    Closed,
}

impl Done {
    /// The place with what was done.
    pub(crate) fn at(self, place: &str) -> String {
        let word = self.word();
        let place = without_done(place);
        let sign = if place.contains('?') { '&' } else { '?' };
        format!("{place}{sign}done={word}")
    }

    fn word(self) -> String {
        match self {
            Self::Acknowledged(number, 0) => format!("acknowledged-{number}"),
            Self::Acknowledged(number, others) => format!("acknowledged-{number}-{others}"),
            Self::NothingPicked => "nothing-picked".to_owned(),
            Self::MovedOn => "moved-on".to_owned(),
            Self::TookBack(number) => format!("undone-{number}"),
            Self::TooLate => "too-late".to_owned(),
            Self::Saved => "saved".to_owned(),
            Self::Silenced => "silenced".to_owned(),
            Self::Ended => "ended".to_owned(),
            Self::TakenIn => "taken-in".to_owned(),
            Self::Approved => "approved".to_owned(),
            Self::Refused => "refused".to_owned(),
            Self::Signed => "signed".to_owned(),
            Self::Closed => "closed".to_owned(),
            Self::Changed => "changed".to_owned(),
            Self::Unlocked => "unlocked".to_owned(),
            Self::Revoked => "revoked".to_owned(),
            Self::SignedOut(number) => format!("signed-out-{number}"),
            Self::Resent(number) => format!("resent-{number}"),
        }
    }
}

/// A place without what was done before.
fn without_done(place: &str) -> String {
    let Some((path, query)) = place.split_once('?') else {
        return place.to_owned();
    };
    let rest: Vec<&str> = query
        .split('&')
        .filter(|part| !part.starts_with("done=") && !part.starts_with("undo="))
        .collect();
    if rest.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", rest.join("&"))
    }
}

/// What the address says was done. `path`: of the page, to come back to from what is taken back.
pub(super) fn notice_of(path: &str, query: Option<&str>) -> Option<Notice> {
    let query = query?;
    let value = |name: &str| {
        let parts = query.split('&').filter_map(|part| part.split_once('='));
        let mut named = parts.filter(|(key, _)| *key == name);
        named.next().map(|(_, value)| value)
    };
    let word = value("done")?;
    let counted = |word: &str| {
        let number: u64 = word.parse().ok()?;
        Some(pages::count_of(number, "alert"))
    };
    if let Some(number) = word.strip_prefix("acknowledged-") {
        let (number, others) = number.split_once('-').unwrap_or((number, "0"));
        let others: u64 = others.parse().ok()?;
        let done = format!("You acknowledged {}.", counted(number)?);
        let text = if others > 0 {
            let others = pages::count_of(others, "alert");
            format!(
                "{done} Of the others, {others} had been acknowledged before or no longer exist."
            )
        } else {
            done
        };
        let at = value("undo").filter(|at| at.parse::<i64>().is_ok());
        let undo = at.map(|at| Undo {
            at: at.to_owned(),
            here: local_place(&without_done(&format!("{path}?{query}"))),
        });
        return Some(Notice {
            undo,
            ..Notice::good(text)
        });
    }
    if let Some(number) = word.strip_prefix("undone-") {
        let number = counted(number)?;
        return Some(Notice::good(format!(
            "You took back the acknowledgment of {number}. Both are in the audit log."
        )));
    }

    if let Some(number) = word.strip_prefix("resent-") {
        let number: u64 = number.parse().ok()?;
        let verb = if number == 1 { "is" } else { "are" };
        let what = pages::count_of(number, "notification");
        return Some(Notice::good(format!("{what} {verb} sent again.")));
    }
    if let Some(number) = word.strip_prefix("signed-out-") {
        let number: u64 = number.parse().ok()?;
        let verb = if number == 1 { "was" } else { "were" };
        let what = pages::count_of(number, "session");
        return Some(Notice::good(format!("{what} {verb} ended.")));
    }

    let words = [
        (Done::MovedOn, "The incident was updated."),
        (Done::Saved, "Saved."),
        (
            Done::Silenced,
            "The silence was added. Alerts are still recorded.",
        ),
        (
            Done::Ended,
            "The silence was ended. Its alerts notify again.",
        ),
        (
            Done::TakenIn,
            "The evidence was added as a draft. It counts once it is approved.",
        ),
        (
            Done::Approved,
            "The evidence was approved. It counts from now on.",
        ),
        (Done::Refused, "The evidence was refused, with your reason."),
        (
            Done::Signed,
            "The review was signed and is kept as evidence of 3.3.3.",
        ),
        (Done::Closed, "The item is completed."),
        (Done::Changed, "The change was saved."),
        (Done::Unlocked, "The account is unlocked."),
        (Done::Revoked, "The key was revoked."),
    ];
    let is_it = |(done, _): &&(Done, &str)| done.word() == word;
    if let Some((_, text)) = words.iter().find(is_it) {
        return Some(Notice::good(*text));
    }
    let words = [
        (
            Done::NothingPicked,
            "Nothing was selected: check the alerts first.",
        ),
        (
            Done::TooLate,
            "Nothing was taken back: that works within 10 minutes, for what you have acknowledged \
             yourself. The acknowledgment stays on record.",
        ),
    ];
    words.iter().find(is_it).map(|(_, text)| Notice::bad(*text))
}

/// The version of what a page showed: whoever changes it must have seen it.
pub(crate) fn version_of(seen: &str) -> String {
    let hash = digest(seen.as_bytes());
    let first = hash.iter().take(8);
    format!(
        "{:016x}",
        first.fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    )
}

/// A refusal as a page says it: it speaks of fields and not of options.
pub(crate) fn plain_words(why: &str) -> String {
    let why = why
        .split(" (--allow-unknown")
        .next()
        .unwrap_or(why)
        .replace("; `blueteam rules list` lists them", "");
    let mut words: Vec<String> = Vec::new();
    for word in why.split(' ') {
        match word.strip_prefix("--") {
            Some(option) => words.push(option.replace('-', " ")),
            None => words.push(word.to_owned()),
        }
    }
    let text = words.join(" ");
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_elsewhere() {
        for place in [
            "https://evil.example/",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/a\nb",
            "javascript:alert(1)",
            "",
            "/sign-in?next=/sign-in",
        ] {
            assert_eq!(local_place(place), "/", "{place}");
        }
        assert_eq!(local_place("/alerts?show=all"), "/alerts?show=all");
    }

    #[test]
    fn an_address_puts_no_words_into_our_mouth() {
        let text = |query| notice_of("/alerts", Some(query)).map(|notice| notice.text);
        assert_eq!(
            text("done=acknowledged-3").as_deref(),
            Some("You acknowledged 3 alerts.")
        );
        assert_eq!(text("done=acknowledged-many"), None);
        assert_eq!(text("done=Your+account+is+locked"), None);
    }

    #[test]
    fn what_was_done_can_be_taken_back_from_where_it_was_done() {
        let notice = notice_of("/alerts", Some("show=all&done=acknowledged-3-2&undo=17")).unwrap();
        assert!(notice.text.contains("3 alerts") && notice.text.contains("2 alerts"));
        let undo = notice.undo.unwrap();
        assert_eq!(
            (undo.at.as_str(), undo.here.as_str()),
            ("17", "/alerts?show=all")
        );
        let query = Some("done=acknowledged-3&undo=<b>");
        assert_eq!(notice_of("/alerts", query).unwrap().undo, None);
    }

    #[test]
    fn a_refusal_speaks_of_fields() {
        assert_eq!(
            plain_words("--reason: from 3 to 1000 characters"),
            "Reason: from 3 to 1000 characters"
        );
        assert_eq!(
            plain_words(
                "no user is called `rot`; did you mean `root`? (--allow-unknown silences what does not exist yet)"
            ),
            "No user is called `rot`; did you mean `root`?"
        );
    }

    #[test]
    fn what_was_done_is_said_once() {
        let first = Done::Acknowledged(1, 0).at("/alerts?show=all");
        assert_eq!(first, "/alerts?show=all&done=acknowledged-1");
        let second = Done::Acknowledged(2, 0).at(&first);
        assert_eq!(second, "/alerts?show=all&done=acknowledged-2");
        assert_eq!(
            Done::MovedOn.at("/incidents/x?done=a"),
            "/incidents/x?done=moved-on"
        );
    }

    #[test]
    fn a_value_stays_within_its_field() {
        assert_eq!(
            address("/alerts", &[("rule", "a&b=c d"), ("service", "")]),
            "/alerts?rule=a%26b%3Dc%20d"
        );
    }
}
