//! Identity as pure decisions: password policy and hashing, lockout, second factors, random
//! secrets, sessions, roles and permissions.
//!
//! Invariant: nothing here does I/O of its own, is asynchronous, reads a clock or knows SQL or
//! HTTP. Time is an argument, and the only thing taken from the operating system is randomness.
//! Secrets never show in `Debug`, are compared in constant time, and are overwritten when dropped.
//!
//! Every input may be an attacker's: lengths are bounded before work is done, and a planted
//! value in the database (a hash that asks for 4 GiB, a lock that ends in a hundred years) is
//! refused or cut, never obeyed.

pub mod blocklist;
pub mod directory;
pub mod external;
pub mod lockout;
pub mod oidc;
pub mod passkey;
pub mod password;
pub mod policy;
mod random;
pub mod recovery;
pub mod role;
pub mod scopes;
pub mod session;
pub mod token;
pub mod totp;
pub mod username;

pub use blocklist::Blocklist;
pub use external::{GroupRole, RoleMap};
pub use passkey::{Passkey, PasskeyHandle, RelyingParty};
pub use password::{Cost, PasswordHash, PasswordHasher};
pub use policy::{PasswordPolicy, Profile};
pub use random::RandomError;
pub use recovery::{RecoveryCode, RecoveryHash};
pub use role::{Action, Permissions, Resource, Role};
pub use scopes::KeyScopes;
pub use session::{SessionSettings, SessionState, SessionTimes};
pub use token::{Token, TokenHash, TokenKind};
pub use totp::{TotpSecret, TotpStep};
pub use username::{Email, Username};
