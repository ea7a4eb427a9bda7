//! `/enroll`: the page on which a person sets up an account with the code that an administrator
//! gave them. Plain forms, without a script: it is the first page that anybody sees.

use std::fmt::Write as _;
use std::sync::Arc;

use app::sign_in::{Begun, Chosen, Enrolled, Notice, SignInError};
use axum::extract::{Form, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use qrcodegen::{QrCode, QrCodeEcc};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::State as Shared;
use super::acknowledge::escape_html;
use super::people::{Asking, door, set_cookie};
use crate::error::Problem;

/// The page loads nothing, is not cached or framed, and sends no referrer.
const HEADERS: [(HeaderName, &str); 4] = [
    (header::CACHE_CONTROL, "no-store"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; \
         frame-ancestors 'none'; base-uri 'none'",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

/// The same for the page with the one script that there is: its own file, which asks this origin.
const SCRIPTED: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; \
    connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Where a passkey is added, beside the app: the person has just proven who they are.
const PASSKEY: &str = "<h2>A passkey</h2>\
    <p>With a passkey of this device, or a security key, you sign in without password and code.</p>\
    <label for=\"passkey-name\">What you call it</label>\
    <input id=\"passkey-name\" maxlength=\"100\" value=\"My passkey\">\
    <button id=\"add-passkey\">Add a passkey</button><p id=\"passkey-said\" role=\"status\"></p>\
    <script src=\"/passkey.js\" defer></script>";

const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:3rem auto;\
    padding:0 1rem;color:#16202c}label{display:block;margin:1rem 0 .2rem;font-weight:600}\
    input{font:inherit;width:100%;padding:.4rem;box-sizing:border-box}\
    button{font:inherit;margin-top:1.2rem;padding:.5rem 1.2rem}code{font-size:1.05rem}\
    .error{border-left:4px solid #b3261e;padding:.4rem .8rem;background:#fbeceb}\
    ol.codes{columns:1}svg{width:14rem;height:14rem;display:block;margin:1rem 0}";

/// What the forms send: the first one the code alone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fields {
    enrollment_code: SecretString,
    #[serde(default)]
    password: Option<SecretString>,
    #[serde(default)]
    repeated: Option<SecretString>,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    notice: Option<String>,
}

/// The first form.
pub(super) async fn get(State(state): State<Arc<Shared>>) -> Result<Response, Problem> {
    door(&state)?;
    Ok(page(StatusCode::OK, &first_form(None)))
}

/// What the forms send.
pub(super) async fn post(
    State(state): State<Arc<Shared>>,
    asking: Asking,
    Form(fields): Form<Fields>,
) -> Result<Response, Problem> {
    let door = door(&state)?;
    let enrollment_code = fields.enrollment_code.expose_secret().trim();
    let begun = match door.begin_enrollment(enrollment_code, &asking.client).await {
        Ok(begun) => begun,
        Err(SignInError::LinkGone) => {
            let why = "This code was used before, is too old, or is mistyped. An administrator \
                       makes another one: blueteam users enroll-link";
            return Ok(page(StatusCode::GONE, &first_form(Some(why))));
        }
        Err(error) => return Err(error.into()),
    };

    let nothing = SecretString::default();
    let given = match begun.policy {
        Some(_) => fields.password.as_ref(),
        None => Some(&nothing),
    };
    let second_form = |why: Option<&str>| second_form(&begun, enrollment_code, door.notice(), why);
    let (Some(password), Some(code)) = (given, &fields.code) else {
        let form = second_form(None)?;
        return Ok(page(StatusCode::OK, &form));
    };
    let again = |why: &str| {
        let form = second_form(Some(why))?;
        Ok(page(StatusCode::UNPROCESSABLE_ENTITY, &form))
    };
    let repeated = fields.repeated.as_ref().map(ExposeSecret::expose_secret);
    if begun.policy.is_some() && repeated != Some(password.expose_secret()) {
        return again("The two passwords differ.");
    }

    let chosen = Chosen {
        password: password.clone(),
        code: code.clone(),
        notice: fields.notice.clone(),
    };
    match door
        .complete_enrollment(enrollment_code, &chosen, &asking.client)
        .await
    {
        Ok(enrolled) => {
            let can_add = door.has_passkeys() && begun.policy.is_some();
            Ok(done(&enrolled, can_add))
        }
        Err(SignInError::NoticeNeeded) => again("The notice below is another one now."),
        Err(SignInError::Wrong) => again(
            "The code of the app is wrong or has had its time. Wait for the next one; if none is \
             right, the clock of your phone is.",
        ),
        Err(SignInError::Weak(weaknesses)) => {
            let texts: Vec<String> = weaknesses.iter().map(ToString::to_string).collect();
            again(&format!("The password is not taken: {}.", texts.join("; ")))
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) fn error_paragraph(error: Option<&str>) -> String {
    error.map_or_else(String::new, |why| {
        format!("<p class=\"error\" role=\"alert\">{}</p>", escape_html(why))
    })
}

/// A notice as it was written, line by line.
pub(super) fn notice_paragraph(notice: Option<&Notice>) -> String {
    notice.map_or_else(String::new, |notice| {
        let text = escape_html(notice.text()).replace('\n', "<br>");
        format!("<p class=\"notice\">{text}</p>")
    })
}

fn first_form(error: Option<&str>) -> String {
    format!(
        "<h1>Set up your account</h1>{}<form method=\"post\" action=\"/enroll\">\
         <label for=\"enrollment_code\">Enrollment code</label>\
         <input id=\"enrollment_code\" name=\"enrollment_code\" required autocomplete=\"off\" \
         spellcheck=\"false\" autofocus>\
         <p>Your administrator gave it to you. It begins with <code>bt_</code> and works once.</p>\
         <button>Continue</button></form>",
        error_paragraph(error)
    )
}

fn second_form(
    begun: &Begun,
    enrollment_code: &str,
    notice: Option<&Notice>,
    error: Option<&str>,
) -> Result<String, Problem> {
    let accepted = notice.map_or_else(String::new, |notice| {
        format!(
            "{}<p>By setting up the account you accept this.</p>\
             <input type=\"hidden\" name=\"notice\" value=\"{}\">",
            notice_paragraph(Some(notice)),
            notice.version()
        )
    });
    Ok(format!(
        "<h1>Set up the account {username}</h1>{error}\
         <form method=\"post\" action=\"/enroll\">\
         <input type=\"hidden\" name=\"enrollment_code\" value=\"{enrollment_code}\">{password}\
         <h2>An authenticator app</h2>\
         <p>Scan this with an app such as Aegis or Google Authenticator, or type the key into \
         it:</p>{qr}<p>Key: <code>{secret}</code></p>\
         <label for=\"code\">The six digits that the app shows</label>\
         <input id=\"code\" name=\"code\" inputmode=\"numeric\" required \
         autocomplete=\"one-time-code\">{accepted}\
         <button>Set up</button></form>",
        username = escape_html(&begun.username),
        error = error_paragraph(error),
        enrollment_code = escape_html(enrollment_code),
        password = begun
            .policy
            .as_ref()
            .map_or_else(String::new, |policy| password_fields(
                begun,
                policy.required_length(true)
            )),
        qr = qr_code(begun.uri.expose_secret())?,
        secret = escape_html(begun.secret.expose_secret()),
    ))
}

fn password_fields(begun: &Begun, length: u32) -> String {
    format!(
        "<h2>A password</h2>\
         <p>At least {length} characters. A sentence that nobody else would say is a good one; a \
         password manager makes better ones.</p>\
         <input type=\"hidden\" name=\"username\" value=\"{username}\" autocomplete=\"username\" \
         disabled>\
         <label for=\"password\">Password</label>\
         <input id=\"password\" name=\"password\" type=\"password\" required \
         autocomplete=\"new-password\">\
         <label for=\"repeated\">The same again</label>\
         <input id=\"repeated\" name=\"repeated\" type=\"password\" required \
         autocomplete=\"new-password\">",
        username = escape_html(&begun.username),
    )
}

/// A QR code as SVG: one path of squares.
fn qr_code(text: &str) -> Result<String, Problem> {
    /// Blank squares around it, as readers want them.
    const QUIET: i32 = 4;
    let code = QrCode::encode_text(text, QrCodeEcc::Medium)
        .map_err(|_| Problem::unavailable("the key does not fit into a QR code"))?;
    let size = code.size() + 2 * QUIET;
    let mut squares = String::new();
    for y in 0..code.size() {
        for x in (0..code.size()).filter(|x| code.get_module(*x, y)) {
            // Writing to a string cannot fail.
            let _ = write!(squares, "M{},{}h1v1h-1z", x + QUIET, y + QUIET);
        }
    }

    Ok(format!(
        "<svg viewBox=\"0 0 {size} {size}\" role=\"img\" aria-label=\"QR code of the key below\" \
         shape-rendering=\"crispEdges\"><rect width=\"{size}\" height=\"{size}\" fill=\"#fff\"/>\
         <path d=\"{squares}\" fill=\"#000\"/></svg>"
    ))
}

fn done(enrolled: &Enrolled, can_add_passkey: bool) -> Response {
    let mut codes = String::new();
    for code in &enrolled.recovery_codes {
        // Writing to a string cannot fail.
        let _ = write!(
            codes,
            "<li><code>{}</code></li>",
            escape_html(&code.expose())
        );
    }
    let mut response = page(
        StatusCode::OK,
        &format!(
            "<h1>The account {} is set up</h1><p>You are signed in. Keep these recovery codes \
             where your phone is not: each lets you in once without the app, and they are shown only \
             now.</p><ol class=\"codes\">{codes}</ol>{}",
            escape_html(&enrolled.session.person.username),
            if can_add_passkey { PASSKEY } else { "" }
        ),
    );
    if can_add_passkey {
        let policy = HeaderValue::from_static(SCRIPTED);
        response
            .headers_mut()
            .insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    if let Some(cookie) = set_cookie(enrolled.session.token.expose()) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

fn page(status: StatusCode, body: &str) -> Response {
    titled_page("Set up your account", status, body)
}

/// A page of plain HTML, of which nothing is cached or framed.
pub(super) fn titled_page(title: &str, status: StatusCode, body: &str) -> Response {
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title} - blueteam</title><style>{STYLE}</style></head>\
         <body>{body}</body></html>\n"
    );
    let mut response = (status, HEADERS, Html(html)).into_response();
    response.headers_mut().insert(
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_typed_is_shown_as_text() {
        let form = first_form(Some("<script>alert(1)</script>"));
        assert!(!form.contains("<script>") && form.contains("&lt;script&gt;"));
    }

    #[test]
    fn a_key_of_a_long_name_fits_into_its_code() {
        let uri = format!(
            "otpauth://totp/blueteam:{0}?secret=A&issuer=b",
            "n".repeat(300)
        );
        assert!(qr_code(&uri).expect("it fits").starts_with("<svg"));
    }
}
