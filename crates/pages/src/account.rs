//! One's own account.

use askama::Template;

use crate::form::Form;
use crate::frame::Frame;
use crate::words::When;

/// A second factor.
#[derive(Clone, Debug)]
pub struct FactorRow {
    /// What its person calls it.
    pub name: String,
    /// `authenticator app` or `passkey`.
    pub kind: &'static str,
    /// When it was added.
    pub added: When,
    /// When it was last used.
    pub last_used: Option<When>,
}

/// A session.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// From where.
    pub from: String,
    /// With what.
    pub with: String,
    /// How its person signed in.
    pub by: String,
    /// Since when.
    pub since: When,
    /// When it was last used.
    pub last_used: When,
}

/// One's own account.
#[derive(Debug, Template)]
#[template(path = "account.html")]
pub struct AccountPage {
    /// What is around it.
    pub frame: Frame,
    /// The second factors.
    pub factors: Vec<FactorRow>,
    /// The sessions.
    pub sessions: Vec<SessionRow>,
    /// Whether browsers allow passkeys at this address.
    pub may_add_passkey: bool,
    /// What its person may choose.
    pub preferences: Form,
}
