//! Scopes: what a principal may do, as text such as `app:shop:deploy`.

use std::fmt;

use crate::name::Name;

/// What may be done with one app. Each includes those that [`Permission::includes`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permission {
    /// See everything but the values of secrets, which nobody sees.
    Read,
    /// Call scripts that ask for a token, and send events.
    Invoke,
    /// Change what runs and what it works with: scripts, triggers, keys, events.
    Deploy,
    /// Change what the app may do and who may call it: secrets, configuration, its HTTP policy, routes, access.
    Admin,
}

impl Permission {
    /// Each permission with its word, the least first.
    pub const ALL: [(&'static str, Self); 4] =
        [("read", Self::Read), ("invoke", Self::Invoke), ("deploy", Self::Deploy), ("admin", Self::Admin)];

    /// The word in scopes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Invoke => "invoke",
            Self::Deploy => "deploy",
            Self::Admin => "admin",
        }
    }

    /// The permission of a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == word).map(|(_, permission)| permission)
    }

    /// Whether who has this one has the other. `invoke` and `read` include each other not: who may call need not see the
    /// records of others, and who may look need not be able to call.
    #[must_use]
    pub fn includes(self, other: Self) -> bool {
        self == other || self == Self::Admin || (self == Self::Deploy && other == Self::Read)
    }
}

/// Which apps a scope is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Apps {
    /// All of them, also those that are still to come: `*`.
    All,
    /// One.
    One(Name),
}

/// Something that a principal may do.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Everything: `admin`.
    Server,
    /// Something with apps: `app:NAME:PERMISSION`.
    App(Apps, Permission),
}

/// The text is no scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a scope is admin, or app:NAME:PERMISSION with read, invoke, deploy or admin, and * for the name of every app"
)]
pub struct ScopeError;

impl Scope {
    /// Read a scope.
    ///
    /// # Errors
    ///
    /// The text is none.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        let parts: Vec<&str> = text.split(':').collect();
        match parts[..] {
            ["admin"] => Ok(Self::Server),
            ["app", app, permission] => {
                let permission = Permission::parse(permission).ok_or(ScopeError)?;
                let apps = match app {
                    "*" => Apps::All,
                    name => Apps::One(Name::parse(name).map_err(|_| ScopeError)?),
                };
                Ok(Self::App(apps, permission))
            }
            _ => Err(ScopeError),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => f.write_str("admin"),
            Self::App(Apps::All, permission) => write!(f, "app:*:{}", permission.as_str()),
            Self::App(Apps::One(app), permission) => write!(f, "app:{app}:{}", permission.as_str()),
        }
    }
}

/// All scopes of a principal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scopes(pub Vec<Scope>);

impl Scopes {
    /// Each as text, in their order.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(Scope::to_string).collect()
    }

    /// Whether everything is allowed.
    #[must_use]
    pub fn allow_server(&self) -> bool {
        self.0.contains(&Scope::Server)
    }

    /// Whether this is allowed with an app.
    #[must_use]
    pub fn allow(&self, app: &str, wanted: Permission) -> bool {
        self.0.iter().any(|scope| match scope {
            Scope::Server => true,
            Scope::App(Apps::All, permission) => permission.includes(wanted),
            Scope::App(Apps::One(name), permission) => name.as_str() == app && permission.includes(wanted),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(texts: &[&str]) -> Scopes {
        Scopes(texts.iter().map(|text| Scope::parse(text).unwrap()).collect())
    }

    #[test]
    fn scopes_survive_their_text() {
        for text in ["admin", "app:shop:read", "app:*:invoke", "app:a-1:deploy", "app:b:admin"] {
            assert_eq!(Scope::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_scope_is_refused() {
        for text in [
            "",
            "Admin",
            "app",
            "app:shop",
            "app:shop:",
            "app::read",
            "app:shop:write",
            "app:Shop:read",
            "app:shop:read:",
            "*",
            "app:**:read",
            " admin",
        ] {
            assert_eq!(Scope::parse(text), Err(ScopeError), "{text}");
        }
    }

    #[test]
    fn a_permission_includes_what_it_needs_and_no_more() {
        let allowed = |scope: &str| {
            let scopes = scopes(&[&format!("app:shop:{scope}")]);
            let all = Permission::ALL.into_iter().filter(|(_, wanted)| scopes.allow("shop", *wanted));
            all.map(|(word, _)| word).collect::<Vec<_>>()
        };
        assert_eq!(allowed("read"), ["read"]);
        assert_eq!(allowed("invoke"), ["invoke"]);
        assert_eq!(allowed("deploy"), ["read", "deploy"]);
        assert_eq!(allowed("admin"), ["read", "invoke", "deploy", "admin"]);
    }

    #[test]
    fn a_scope_is_for_its_app() {
        let one = scopes(&["app:shop:admin"]);
        assert!(
            !one.allow("shop2", Permission::Read) && !one.allow("*", Permission::Read) && !one.allow_server()
        );
        assert!(scopes(&["app:*:read"]).allow("any", Permission::Read));
        assert!(!scopes(&["app:*:admin"]).allow_server(), "apps are not the server");
        assert!(scopes(&["admin"]).allow("any", Permission::Admin));
        assert!(!Scopes::default().allow("any", Permission::Read));
    }
}
