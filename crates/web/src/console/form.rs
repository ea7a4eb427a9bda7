//! Forms and addresses: fields that may come several times, places to go back to, and what became of
//! what was done.

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, FromRequest, Request};
use axum::http::StatusCode;
use pages::Notice;

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
            Ok(Form(fields)) => Ok(Self(fields)),
            Err(_) => Err(NoPage::message(
                StatusCode::UNPROCESSABLE_ENTITY,
                "This form cannot be read",
                "It is too large, or no form.",
            )),
        }
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

/// The version of what a page showed: whoever changes it must have seen it.
pub(crate) fn version_of(seen: &str) -> String {
    let hash = app::listing::digest(seen.as_bytes());
    let first = hash.iter().take(8);
    format!(
        "{:016x}",
        first.fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    )
}

/// What was refused for what was typed, apart from what went wrong: the page says it, and keeps what
/// was typed.
pub(crate) fn kept<T>(
    result: Result<T, app::AppError>,
) -> Result<Result<T, String>, app::AppError> {
    use app::AppError::{Conflict, Invalid};
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Invalid(why) | Conflict(why)) => Ok(Err(why)),
        Err(error) => Err(error),
    }
}

/// What went wrong, as a notice.
pub(crate) fn wrong(why: impl Into<String>) -> Notice {
    Notice {
        text: why.into(),
        is_error: true,
    }
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
    /// So many alerts were acknowledged.
    Acknowledged(usize),
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
    Ended(u64),
    /// So many notifications are tried again.
    Resent(u64),
}

impl Done {
    /// The place with what was done.
    pub(crate) fn at(self, place: &str) -> String {
        let word = match self {
            Self::Acknowledged(number) => format!("acknowledged-{number}"),
            Self::NothingPicked => "nothing-picked".to_owned(),
            Self::MovedOn => "moved-on".to_owned(),
            Self::Changed => "changed".to_owned(),
            Self::Unlocked => "unlocked".to_owned(),
            Self::Revoked => "revoked".to_owned(),
            Self::Ended(number) => format!("ended-{number}"),
            Self::Resent(number) => format!("resent-{number}"),
        };
        let place = without_done(place);
        let sign = if place.contains('?') { '&' } else { '?' };
        format!("{place}{sign}done={word}")
    }
}

/// A place without what was done before.
fn without_done(place: &str) -> String {
    let Some((path, query)) = place.split_once('?') else {
        return place.to_owned();
    };
    let rest: Vec<&str> = query
        .split('&')
        .filter(|part| !part.starts_with("done="))
        .collect();
    if rest.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", rest.join("&"))
    }
}

/// What the address says was done.
pub(super) fn notice_of(query: Option<&str>) -> Option<Notice> {
    let word = query?
        .split('&')
        .find_map(|part| part.strip_prefix("done="))?;
    let good = |text: String| {
        Some(Notice {
            text,
            is_error: false,
        })
    };
    match word.split_once('-') {
        Some(("acknowledged", number)) => {
            let number: u64 = number.parse().ok()?;
            good(format!(
                "You acknowledged {}.",
                pages::count_of(number, "alert")
            ))
        }
        Some(("resent", number)) => {
            let number: u64 = number.parse().ok()?;
            let verb = if number == 1 { "is" } else { "are" };
            let what = pages::count_of(number, "notification");
            good(format!("{what} {verb} sent again."))
        }
        Some(("ended", number)) => {
            let number: u64 = number.parse().ok()?;
            let verb = if number == 1 { "was" } else { "were" };
            good(format!(
                "{} {verb} ended.",
                pages::count_of(number, "session")
            ))
        }
        _ if word == "changed" => good("The change was saved.".to_owned()),
        _ if word == "unlocked" => good("The account is unlocked.".to_owned()),
        _ if word == "revoked" => good("The key was revoked.".to_owned()),
        _ if word == "moved-on" => good("The incident was updated.".to_owned()),
        _ if word == "nothing-picked" => Some(Notice {
            text: "Nothing was selected: check the alerts first.".to_owned(),
            is_error: true,
        }),
        _ => None,
    }
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
        let text = |query| notice_of(Some(query)).map(|notice| notice.text);
        assert_eq!(
            text("done=acknowledged-3").as_deref(),
            Some("You acknowledged 3 alerts.")
        );
        assert_eq!(text("done=acknowledged-many"), None);
        assert_eq!(text("done=Your+account+is+locked"), None);
    }

    #[test]
    fn what_was_done_is_said_once() {
        let first = Done::Acknowledged(1).at("/alerts?show=all");
        assert_eq!(first, "/alerts?show=all&done=acknowledged-1");
        let second = Done::Acknowledged(2).at(&first);
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
