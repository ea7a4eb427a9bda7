//! Roles and tenants of users, as `users.users` has them.

use foldhash::quality::RandomState;
use hashbrown::HashMap;
use uuid::Uuid;

/// What `users.users` says of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// `role`.
    pub role: Option<String>,
    /// `tenant_id`.
    pub tenant: Option<Uuid>,
}

/// Users by id. Empty in a replay without a database.
#[derive(Clone, Debug, Default)]
pub struct Users(HashMap<Uuid, User, RandomState>);

impl Users {
    /// From rows.
    pub fn new(users: impl IntoIterator<Item = (Uuid, User)>) -> Self {
        Self(users.into_iter().collect())
    }

    /// What is known of a user.
    pub fn get(&self, id: Uuid) -> Option<&User> {
        self.0.get(&id)
    }
}
