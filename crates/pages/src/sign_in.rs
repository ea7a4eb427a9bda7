//! The door.

use askama::Template;

/// Where people sign in.
#[derive(Debug, Template)]
#[template(path = "sign_in.html")]
pub struct SignInPage {
    /// What was wrong with the attempt before.
    pub error: Option<String>,
    /// The name that was typed.
    pub username: String,
    /// Where to go afterwards: a path of this console.
    pub next: String,
    /// Whether people may also come by a provider (OpenID Connect).
    pub has_provider: bool,
    /// What must be accepted (3.1.9): its version and its text.
    pub notice: Option<(String, String)>,
    /// The path of the style.
    pub style: &'static str,
}

/// Where a session is proven again. It shows nothing of what was on the screen (3.1.10[c]).
#[derive(Debug, Template)]
#[template(path = "locked.html")]
pub struct LockedPage {
    /// What was wrong with the attempt before.
    pub error: Option<String>,
    /// Where to go afterwards: a path of this console.
    pub next: String,
    /// The path of the style.
    pub style: &'static str,
}
