//! Names, roles and tenants of users from `users.users`.

use foldhash::quality::RandomState;
use hashbrown::HashMap;
use model::SecurityEvent;
use model::event::UserId;
use model::person::Person;
use uuid::Uuid;

/// Name, role and tenant of a user in `users.users`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// `username`.
    pub name: Option<String>,
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

    /// Returns what is known of a user.
    pub fn get(&self, id: Uuid) -> Option<&User> {
        self.0.get(&id)
    }

    /// Returns the user of an event as texts name them. The name in the table goes before the one
    /// in the event, which may be that of another account, one that the user changed.
    pub(crate) fn person(&self, id: &UserId<'_>, event: &SecurityEvent<'_>) -> Person {
        let stored = match id {
            UserId::Uuid(id) => self.get(*id).and_then(|user| user.name.clone()),
            UserId::Name(_) => return Person::new(id, None),
        };

        Person::new(id, stored.or_else(|| event.user_name()))
    }
}
