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
}

impl Done {
    /// The place with what was done.
    pub(crate) fn at(self, place: &str) -> String {
        let word = match self {
            Self::Acknowledged(number) => format!("acknowledged-{number}"),
            Self::NothingPicked => "nothing-picked".to_owned(),
            Self::MovedOn => "moved-on".to_owned(),
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
