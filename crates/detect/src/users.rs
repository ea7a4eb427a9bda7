//! Roles and tenants of users from `users.users`.

use foldhash::quality::RandomState;
use hashbrown::HashMap;
use uuid::Uuid;

/// Role and tenant of a user in `users.users`.
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
    /// Creates the map from rows.
    pub fn new(users: impl IntoIterator<Item = (Uuid, User)>) -> Self {
        Self(users.into_iter().collect())
    }

    /// Returns role and tenant of a user.
    pub fn get(&self, id: Uuid) -> Option<&User> {
        self.0.get(&id)
    }
}
