//! The built-in permissions.

use super::{Action, Resource, Role};

/// A set of actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Actions(u8);

impl Actions {
    pub(super) const NONE: Self = Self(0);

    pub(super) const fn of(action: Action) -> Self {
        Self(1 << action as u8)
    }

    pub(super) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) const fn has(self, action: Action) -> bool {
        self.0 & Self::of(action).0 != 0
    }

    #[cfg(test)]
    pub(super) const fn is_within(self, other: Self) -> bool {
        self.without(other).0 == 0
    }
}

const O: Actions = Actions::NONE;
const R: Actions = Actions::of(Action::Read);
const RA: Actions = R.with(Actions::of(Action::Acknowledge));
const RW: Actions = R.with(Actions::of(Action::Write));
const RX: Actions = R.with(Actions::of(Action::Export));
const RAX: Actions = RA.with(RX);
const RWX: Actions = RW.with(RX);
const RWP: Actions = RW.with(Actions::of(Action::Approve));
const RWPX: Actions = RWP.with(RX);

/// What each role may do to a resource.
pub(super) struct Row {
    pub(super) resource: Resource,
    /// What can be done to it at all.
    pub(super) possible: Actions,
    user: Actions,
    manager: Actions,
    admin: Actions,
    system_admin: Actions,
    assessor: Actions,
}

impl Row {
    pub(super) const fn of(&self, role: Role) -> Actions {
        match role {
            Role::User => self.user,
            Role::Manager => self.manager,
            Role::Admin => self.admin,
            Role::SystemAdmin => self.system_admin,
            Role::Assessor => self.assessor,
        }
    }
}

const fn row(resource: Resource, possible: Actions, roles: [Actions; 5]) -> Row {
    let [user, manager, admin, system_admin, assessor] = roles;
    Row {
        resource,
        possible,
        user,
        manager,
        admin,
        system_admin,
        assessor,
    }
}

/// The built-in rows, in the order of [`Resource::ALL`]. Columns: what is possible at all; then
/// user, manager, admin, system_admin, assessor.
#[rustfmt::skip]
pub(super) const BUILT_IN: [Row; Resource::ALL.len()] = [
    row(Resource::Alerts,         RAX,  [RA,   RAX,  RAX,  RAX,  O]),
    row(Resource::Incidents,      RWX,  [RW,   RWX,  RWX,  RWX,  R]),
    // What has been recorded is read, and nothing else.
    row(Resource::Events,         RX,   [R,    RX,   RX,   RX,   R]),
    row(Resource::AuditLog,       RX,   [O,    R,    RX,   RX,   R]),
    row(Resource::Compliance,     RWX,  [R,    RWX,  RWX,  RWX,  R]),
    row(Resource::Evidence,       RWPX, [RW,   RWPX, RWPX, RWPX, R]),
    row(Resource::Poam,           RWX,  [R,    RWX,  RWX,  RWX,  R]),
    // Who imports a report does not close what it found by that.
    row(Resource::RedTeam,        RWP,  [R,    RWP,  RWP,  RWP,  R]),
    row(Resource::Reports,        RWX,  [R,    RWX,  RWX,  RWX,  RX]),
    row(Resource::AssessorNotes,  RWX,  [O,    R,    R,    RX,   RWX]),
    row(Resource::Silences,       RW,   [R,    RW,   RW,   RW,   O]),
    row(Resource::Rules,          RWX,  [R,    R,    RWX,  RWX,  R]),
    row(Resource::Sources,        RW,   [R,    R,    RW,   RW,   R]),
    row(Resource::Agents,         RWP,  [R,    R,    RWP,  RWP,  R]),
    row(Resource::Commands,       RW,   [O,    R,    RW,   RW,   O]),
    row(Resource::Channels,       RW,   [O,    R,    RW,   RW,   O]),
    row(Resource::Keys,           RW,   [O,    O,    RW,   RW,   O]),
    row(Resource::Users,          RWX,  [O,    R,    RWX,  RWX,  O]),
    row(Resource::Sessions,       RW,   [O,    O,    RW,   RW,   O]),
    row(Resource::Permissions,    RW,   [O,    R,    R,    RW,   R]),
    row(Resource::Policy,         RW,   [R,    R,    R,    RW,   R]),
    row(Resource::Tenants,        RW,   [O,    O,    O,    RW,   O]),
    row(Resource::System,         RWX,  [O,    R,    R,    RWX,  O]),
];

/// Returns what can be done to a resource at all.
pub(super) fn possible(resource: Resource) -> Actions {
    BUILT_IN
        .iter()
        .find(|row| row.resource == resource)
        .map_or(Actions::NONE, |row| row.possible)
}
