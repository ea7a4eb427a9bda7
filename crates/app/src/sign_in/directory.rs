//! Signing in by a directory (LDAP), and following it: who has left it, or the groups that have a
//! role, is disabled. `identity::directory` decides what of its answers is believed (decision 0050).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use identity::directory::{
    self, Attributes, Change, Doubt, Entry, Linked, Person, escape_filter, everybody_filter,
    fold_dn, person_filter,
};
use identity::{Email, Role, RoleMap, Username};
use ldap3::adapters::PagedResults;
use ldap3::{
    Ldap, LdapConnAsync, LdapConnSettings, Scope, SearchEntry, SearchOptions, SearchResult,
};
use model::Actor;
use rustls::ClientConfig;
use secrecy::{ExposeSecret as _, SecretString};
use store::external::{ExternalId, Followed, LinkedRow, Method, Vouched};
use store::sign_in::Credentials;
use store::{PgConnection, StoreError};

use super::oidc::is_full_name;
use super::{Client, SignIn, SignInError};

/// Entries of one answer; Active Directory gives 1,000 at most.
const PAGE: i32 = 500;
/// The most people that are listed.
const PEOPLE_MAX: usize = 200_000;
/// Result codes (RFC 4511, appendix A).
const SUCCESS: u32 = 0;
const SIZE_LIMIT_EXCEEDED: u32 = 4;
const NO_SUCH_OBJECT: u32 = 32;
const INVALID_CREDENTIALS: u32 = 49;
const BUSY: u32 = 51;
const UNAVAILABLE: u32 = 52;

/// Why a directory did not identify a person.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// There is no such person, or another password.
    #[error("the name or the password is wrong")]
    Wrong,
    /// It does not answer, or what it answers is of no use.
    #[error("{0:#}")]
    Away(anyhow::Error),
}

impl From<anyhow::Error> for DirectoryError {
    fn from(error: anyhow::Error) -> Self {
        Self::Away(error)
    }
}

/// The directory, as it is configured.
pub struct Directory {
    settings: config::Ldap,
    password: SecretString,
    tls: Arc<ClientConfig>,
    roles: RoleMap,
    issuer: String,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory")
            .field("url", &self.settings.url)
            .finish_non_exhaustive()
    }
}

impl Directory {
    /// Returns the directory that is configured, if there is one.
    pub fn from_config(loaded: &config::Loaded) -> anyhow::Result<Option<Self>> {
        let settings = loaded.config.console.ldap.clone();
        if !settings.is_configured() {
            return Ok(None);
        }
        let ca_pem = notify::tls::read_pem(&settings.ca_file).map_err(anyhow::Error::msg)?;
        let tls = notify::tls::client_config(ca_pem.as_deref())
            .map_err(|why| anyhow!("console.ldap.ca_file {why}"))?;
        let password = loaded.secrets.ldap_bind_password.clone();
        Ok(Some(Self {
            password: password.context("console.ldap.bind_password_file is missing")?,
            tls: Arc::new(tls),
            roles: settings.role_map(),
            issuer: issuer(&settings),
            settings,
        }))
    }

    /// How often the directory is followed.
    pub const fn sync_interval(&self) -> Duration {
        self.settings.sync_interval.to_std()
    }

    fn attributes(&self) -> Attributes {
        Attributes {
            id: self.settings.id_attribute.clone(),
            name: self.settings.name_attribute.clone(),
            groups: self.settings.group_attribute.clone(),
        }
    }

    /// What is asked of an entry: no more than is used.
    fn wanted(&self) -> Vec<String> {
        let settings = &self.settings;
        let mut wanted: Vec<String> = ["displayName", "cn", "mail", "userAccountControl"]
            .map(str::to_owned)
            .to_vec();
        wanted.extend([
            settings.id_attribute.clone(),
            settings.name_attribute.clone(),
        ]);
        if !settings.group_attribute.is_empty() {
            wanted.push(settings.group_attribute.clone());
        }
        wanted
    }

    /// A connection, over TLS unless the directory is on this machine.
    async fn connect(&self) -> anyhow::Result<Ldap> {
        let timeout = self.settings.timeout.to_std();
        let settings = LdapConnSettings::new()
            .set_conn_timeout(timeout)
            .set_config(Arc::clone(&self.tls))
            .set_starttls(self.settings.start_tls);
        let url = &self.settings.url;
        let (connection, ldap) = LdapConnAsync::with_settings(settings, url)
            .await
            .with_context(|| format!("cannot reach {url}"))?;
        tokio::spawn(async move {
            // What ends it ends the operations on it, which say so.
            let _ = connection.drive().await;
        });
        Ok(ldap)
    }

    /// A connection as the account that searches.
    async fn connect_to_search(&self) -> anyhow::Result<Ldap> {
        let mut ldap = self.connect().await?;
        let settings = &self.settings;
        let timeout = settings.timeout.to_std();
        let bound = ldap
            .with_timeout(timeout)
            .simple_bind(&settings.bind_dn, self.password.expose_secret())
            .await?;
        if bound.rc != SUCCESS {
            let name = &settings.bind_dn;
            return Err(anyhow!(
                "the directory does not let {name} search (result {})",
                bound.rc
            ));
        }
        Ok(ldap)
    }

    /// The person of this name, if that is their password. Whoever asks has looked at the limits of
    /// attempts.
    pub async fn check(
        &self,
        name: &str,
        password: &SecretString,
    ) -> Result<Person, DirectoryError> {
        // A bind without a password is anonymous, and succeeds (RFC 4513, 5.1.2).
        if name.is_empty() || password.expose_secret().is_empty() {
            return Err(DirectoryError::Wrong);
        }
        let mut ldap = self.connect_to_search().await?;
        let person = self.find(&mut ldap, name).await;
        let person = match person {
            Ok(Some(person)) => self.prove(person, password).await,
            Ok(None) => Err(DirectoryError::Wrong),
            Err(error) => Err(DirectoryError::Away(error)),
        };
        let result = match person {
            Ok(person) => self
                .with_groups(&mut ldap, person)
                .await
                .map_err(Into::into),
            Err(error) => Err(error),
        };
        let _ = ldap.unbind().await;
        result
    }

    /// The one entry that a name finds. Of several, none is the person.
    async fn find(&self, ldap: &mut Ldap, name: &str) -> anyhow::Result<Option<Person>> {
        let settings = &self.settings;
        let filter = person_filter(&settings.user_filter, name);
        let SearchResult(entries, result) = ldap
            .with_timeout(settings.timeout.to_std())
            .with_search_options(SearchOptions::new().sizelimit(2))
            .search(&settings.base, Scope::Subtree, &filter, self.wanted())
            .await?;
        match result.rc {
            SUCCESS => {}
            SIZE_LIMIT_EXCEEDED => return Ok(None),
            code => return Err(anyhow!("the directory cannot search (result {code})")),
        }
        if entries.len() > 1 {
            tracing::warn!("console.ldap.user_filter finds several people by one name");
        }
        let attributes = self.attributes();
        let people = read_entries(entries, attributes).await?;
        let [person] = people.as_slice() else {
            return Ok(None);
        };
        Ok(Some(person.clone()))
    }

    /// The person, if the password is theirs: on a connection of its own, whose rights are theirs.
    async fn prove(
        &self,
        person: Person,
        password: &SecretString,
    ) -> Result<Person, DirectoryError> {
        // The same as without a password, if an entry had no name.
        if person.dn.is_empty() || person.is_disabled {
            return Err(DirectoryError::Wrong);
        }
        let mut ldap = self.connect().await?;
        let bound = ldap
            .with_timeout(self.settings.timeout.to_std())
            .simple_bind(&person.dn, password.expose_secret())
            .await
            .map_err(anyhow::Error::from)?;
        let _ = ldap.unbind().await;
        match bound.rc {
            SUCCESS => Ok(person),
            BUSY | UNAVAILABLE => {
                Err(anyhow!("the directory is busy (result {})", bound.rc).into())
            }
            INVALID_CREDENTIALS => Err(DirectoryError::Wrong),
            code => {
                tracing::info!("the directory refuses a sign-in (result {code})");
                Err(DirectoryError::Wrong)
            }
        }
    }

    /// The person with the groups that list them, where groups list their members.
    async fn with_groups(&self, ldap: &mut Ldap, mut person: Person) -> anyhow::Result<Person> {
        if !self.settings.group_attribute.is_empty() {
            return Ok(person);
        }
        let attribute = &self.settings.member_attribute;
        let filter = format!("({attribute}={})", escape_filter(&person.dn));
        for entry in &self.roles.groups {
            let SearchResult(entries, result) = ldap
                .with_timeout(self.settings.timeout.to_std())
                .search(&entry.group, Scope::Base, &filter, vec!["1.1"])
                .await?;
            match result.rc {
                SUCCESS if !entries.is_empty() => person.groups.push(fold_dn(&entry.group)),
                SUCCESS | NO_SUCH_OBJECT => {}
                code => return Err(anyhow!("cannot ask for {} (result {code})", entry.group)),
            }
        }
        Ok(person)
    }

    /// Everybody, with their groups. An answer that is cut off, or points elsewhere, is none.
    async fn list(&self) -> anyhow::Result<Vec<Person>> {
        let mut ldap = self.connect_to_search().await?;
        let settings = &self.settings;
        let filter = everybody_filter(&settings.user_filter);
        let mut stream = ldap
            .with_timeout(settings.timeout.to_std())
            .streaming_search_with(
                PagedResults::new(PAGE),
                &settings.base,
                Scope::Subtree,
                &filter,
                self.wanted(),
            )
            .await?;
        let mut entries = Vec::new();
        while let Some(entry) = stream.next().await? {
            if entry.is_intermediate() {
                continue;
            }
            if entry.is_ref() {
                return Err(anyhow!(
                    "the directory points to another one: set console.ldap.base to the part that \
                     holds the people"
                ));
            }
            entries.push(entry);
            if entries.len() > PEOPLE_MAX {
                return Err(anyhow!("the directory lists more than {PEOPLE_MAX} people"));
            }
        }
        let result = stream.finish().await;
        if result.rc != SUCCESS {
            return Err(anyhow!(
                "the directory does not list everybody (result {})",
                result.rc
            ));
        }
        let count = entries.len();
        let mut people = read_entries(entries, self.attributes()).await?;
        if people.len() < count {
            let id = &settings.id_attribute;
            return Err(anyhow!("{} people have no {id}", count - people.len()));
        }
        if settings.group_attribute.is_empty() {
            self.add_members(&mut ldap, &mut people).await?;
        }
        let _ = ldap.unbind().await;
        Ok(people)
    }

    /// Adds the groups that have a role to those whom they list.
    async fn add_members(&self, ldap: &mut Ldap, people: &mut [Person]) -> anyhow::Result<()> {
        let attribute = &self.settings.member_attribute;
        for entry in &self.roles.groups {
            let group = &entry.group;
            let SearchResult(entries, result) = ldap
                .with_timeout(self.settings.timeout.to_std())
                .search(group, Scope::Base, "(objectClass=*)", vec![attribute])
                .await?;
            if result.rc != SUCCESS || entries.len() != 1 {
                return Err(anyhow!(
                    "cannot read the group {group} (result {})",
                    result.rc
                ));
            }
            let lowered = attribute.to_lowercase();
            let members = in_a_task(move || {
                let mut members = BTreeSet::new();
                for entry in entries {
                    let (_, attributes) = raw(SearchEntry::construct(entry));
                    let values = attributes.get(&lowered).into_iter().flatten();
                    members.extend(
                        values
                            .filter_map(|v| std::str::from_utf8(v).ok())
                            .map(fold_dn),
                    );
                }
                members
            })
            .await?;
            for person in people
                .iter_mut()
                .filter(|p| members.contains(&fold_dn(&p.dn)))
            {
                person.groups.push(fold_dn(group));
            }
        }
        Ok(())
    }
}

/// What identities of a directory belong to: its base, whichever of its servers answers.
pub(crate) fn issuer(settings: &config::Ldap) -> String {
    if settings.base.is_empty() {
        return String::new();
    }
    fold_dn(&settings.base)
}

/// Runs what the library panics in if an answer is malformed: a directory must not end the program.
async fn in_a_task<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<T> {
    tokio::spawn(async move { work() })
        .await
        .map_err(|_| anyhow!("the directory's answer cannot be read"))
}

async fn read_entries(
    entries: Vec<ldap3::ResultEntry>,
    attributes: Attributes,
) -> anyhow::Result<Vec<Person>> {
    in_a_task(move || {
        let read = |entry| {
            let (dn, entry) = raw(SearchEntry::construct(entry));
            Person::read(&dn, &entry, &attributes)
        };
        entries.into_iter().filter_map(read).collect()
    })
    .await
}

/// Both kinds of values, by names in lower case.
fn raw(entry: SearchEntry) -> (String, Entry) {
    let mut all: Entry = HashMap::new();
    for (name, values) in entry.attrs {
        let values = values.into_iter().map(String::into_bytes);
        all.entry(name.to_lowercase()).or_default().extend(values);
    }
    for (name, values) in entry.bin_attrs {
        all.entry(name.to_lowercase()).or_default().extend(values);
    }
    (entry.dn, all)
}

impl SignIn {
    /// The account of a person whom the directory knows by this name and password.
    pub(super) async fn prove_by_directory(
        &self,
        directory: &Directory,
        name: &str,
        password: &SecretString,
        client: &Client,
    ) -> Result<Credentials, SignInError> {
        let person = match directory.check(name, password).await {
            Ok(person) => person,
            Err(DirectoryError::Wrong) => return Err(SignInError::Wrong),
            Err(DirectoryError::Away(error)) => {
                tracing::warn!("the directory cannot be asked: {error:#}");
                return Err(SignInError::DirectoryAway);
            }
        };
        let Some(role) = directory.roles.role_of(&person.groups) else {
            return Err(SignInError::NotMapped);
        };
        let username = person.username.as_deref();
        let username = username.and_then(|name| Username::parse_external(name).ok());
        let email = person.email.as_deref().and_then(|e| Email::parse(e).ok());
        let vouched = Vouched {
            id: ExternalId {
                method: Method::Ldap,
                issuer: &directory.issuer,
                subject: &person.subject,
            },
            username: username.as_ref().map(Username::as_str),
            email: email.as_ref().map(Email::as_str),
            full_name: person.full_name.as_deref().filter(|n| is_full_name(n)),
            role: role.as_str(),
        };
        self.enter(&vouched, "directory", client).await
    }
}

/// What came of following the directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FollowedDirectory {
    /// Names of those who were disabled, each with the reason.
    pub disabled: Vec<(String, &'static str)>,
    /// Names of those who have another role, with it.
    pub roles: Vec<(String, Role)>,
    /// Names of those who stay as they are, because they are the last system administrator.
    pub kept: Vec<String>,
}

/// Why the directory was not followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// What it says is not believed.
    #[error("{0}; nobody is disabled")]
    Doubt(#[from] Doubt),
    /// It does not answer.
    #[error("the directory cannot be asked: {0:#}; nobody is disabled")]
    Away(anyhow::Error),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Follows the directory: disables who has left, and gives roles by groups.
pub async fn follow_directory(
    conn: &mut PgConnection,
    directory: &Directory,
) -> Result<FollowedDirectory, FollowError> {
    let rows = store::external::linked(conn, Method::Ldap, &directory.issuer).await?;
    if rows.is_empty() {
        return Ok(FollowedDirectory::default());
    }
    let people = directory.list().await.map_err(FollowError::Away)?;

    let (rows, accounts): (Vec<&LinkedRow>, Vec<Linked<'_>>) = rows
        .iter()
        .filter_map(|row| {
            let linked = Linked {
                subject: &row.subject,
                role: row.role.parse().ok()?,
                is_active: row.is_active,
            };
            Some((row, linked))
        })
        .unzip();
    let changes = directory::plan(&accounts, &people, &directory.roles)?;

    let actor = Actor::task("directory");
    let mut followed = FollowedDirectory::default();
    for (place, change) in changes {
        let Some(row) = rows.get(place) else { continue };
        let name = row.username.clone();
        let done = match change {
            Change::Disable(left) => {
                let done = store::external::leave(conn, &actor, row.user_id, left.as_str()).await?;
                followed
                    .disabled
                    .extend((done == Followed::Done).then(|| (name.clone(), left.as_str())));
                done
            }
            Change::Role(role) => {
                let done =
                    store::external::follow_role(conn, &actor, row.user_id, role.as_str()).await?;
                followed
                    .roles
                    .extend((done == Followed::Done).then(|| (name.clone(), role)));
                done
            }
        };
        if done == Followed::Kept {
            followed.kept.push(name);
        }
    }
    Ok(followed)
}
