//! What a person's API key may do: at most what its scopes name, and never what asks for both
//! factors again, because a key is one factor and lies in a file.

use std::fmt;
use std::str::FromStr;

use crate::role::{is_possible, requires_step_up};
use crate::{Action, Resource};

/// The scope of a key for which none is named: to read what its owner may read.
pub const READ: &str = "read";
/// The most scopes of a key.
pub const SCOPES_MAX: usize = 50;

/// Why a text is not a scope that a key may have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// It is written wrong, or names what nobody can do.
    #[error(
        "`{0}` is not a scope: write `read`, or a resource and an action: `alerts:acknowledge`"
    )]
    Unknown(String),
    /// It asks for both factors again, which a key cannot give.
    #[error("no key may have the scope `{0}`: it asks for password and code again")]
    StepUp(Scope),
    /// There are none, or too many.
    #[error("a key has from 1 to {SCOPES_MAX} scopes")]
    Count,
}

/// One thing that a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Read whatever its owner may read.
    Read,
    /// One action on one resource.
    One(Resource, Action),
}

impl Scope {
    fn allows(self, action: Action, resource: Resource) -> bool {
        match self {
            Self::Read => action == Action::Read,
            Self::One(on, what) => (on, what) == (resource, action),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read => f.write_str(READ),
            Self::One(resource, action) => write!(f, "{resource}:{action}"),
        }
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        if text == READ {
            return Ok(Self::Read);
        }

        let unknown = || ScopeError::Unknown(text.chars().take(40).collect());
        let (resource, action) = text.split_once(':').ok_or_else(unknown)?;
        let resource = resource.parse().map_err(|_| unknown())?;
        let action = action.parse().map_err(|_| unknown())?;
        if !is_possible(action, resource) {
            return Err(unknown());
        }

        let scope = Self::One(resource, action);
        if requires_step_up(action, resource) {
            return Err(ScopeError::StepUp(scope));
        }
        Ok(scope)
    }
}

/// What a key may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyScopes(Vec<Scope>);

impl KeyScopes {
    /// Reads scopes.
    ///
    /// # Errors
    ///
    /// The first that is none. A stored key with such a scope is refused: someone planted it, or
    /// what it allowed is no longer given to keys.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, ScopeError> {
        let scopes: Vec<Scope> = texts
            .into_iter()
            .take(SCOPES_MAX + 1)
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        if scopes.is_empty() || scopes.len() > SCOPES_MAX {
            return Err(ScopeError::Count);
        }
        Ok(Self(scopes))
    }

    /// Returns whether a key with these scopes may do something, if its owner may.
    pub fn allow(&self, action: Action, resource: Resource) -> bool {
        !requires_step_up(action, resource)
            && self.0.iter().any(|scope| scope.allows(action, resource))
    }

    /// Returns the scopes.
    pub fn iter(&self) -> impl Iterator<Item = Scope> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_of_machines_and_of_what_needs_both_factors_are_not_taken() {
        // Those of the keys of machines: nothing of them is a person's.
        for text in ["events:write", "metrics:read"] {
            let unknown = ScopeError::Unknown(text.to_owned());
            assert_eq!(text.parse::<Scope>(), Err(unknown));
        }
        for text in [
            "", "*", "read ", "Read", "alerts", "alerts:", ":read", "alerts:*",
        ] {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
        for resource in Resource::ALL {
            for action in Action::ALL {
                let parsed = format!("{resource}:{action}").parse::<Scope>();
                let may_have =
                    is_possible(*action, *resource) && !requires_step_up(*action, *resource);
                assert_eq!(parsed.is_ok(), may_have, "{resource}:{action}");
            }
        }
        assert_eq!(KeyScopes::parse([]), Err(ScopeError::Count));
        assert_eq!(KeyScopes::parse([READ; 51]), Err(ScopeError::Count));
    }

    #[test]
    fn a_key_may_what_its_scopes_name_and_nothing_else() {
        let reader = KeyScopes::parse([READ]).unwrap();
        let worker = KeyScopes::parse(["alerts:acknowledge"]).unwrap();
        for resource in Resource::ALL {
            for action in Action::ALL {
                let reads = *action == Action::Read;
                assert_eq!(reader.allow(*action, *resource), reads);
                let works = (*resource, *action) == (Resource::Alerts, Action::Acknowledge);
                assert_eq!(worker.allow(*action, *resource), works);
            }
        }
    }
}
