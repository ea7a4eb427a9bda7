//! The schema, and the tables that the program fills: rules, monitors and requirements.

use config::{Loaded, StateDir};
use model::Actor;
use store::{Connection as _, PgConnection};

use crate::actor::{Permission, require};
use crate::database::{Database, Role};
use crate::{AppError, rules};

/// What a migration did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The version before; 0 of a new database.
    pub before: i64,
    /// The version now.
    pub after: i64,
    /// Rules and monitors that the program knows.
    pub rules: usize,
    /// Rows of theirs that were written.
    pub rules_written: u64,
    /// Rows of requirements that were written.
    pub requirements_written: u64,
}

/// Brings the schema up to date and writes the rules, monitors and requirements that the program
/// knows. Makes the database where there is none.
pub async fn migrate(
    loaded: &Loaded,
    state: &StateDir,
    actor: &Actor,
) -> Result<Migrated, AppError> {
    require(actor, Permission::Operate)?;
    let sigma = config::rules::sigma(&loaded.config)?;
    let database = Database::open(loaded, state).await?;
    let done = bring_up_to_date(&database, &sigma).await;
    database.leave().await?;
    done
}

async fn bring_up_to_date(
    database: &Database,
    sigma: &detect::sigma::Sigma,
) -> Result<Migrated, AppError> {
    let before = match database.connect(Role::Operator).await {
        Ok(mut conn) => schema_version(&mut conn).await.unwrap_or(0),
        // There is no database or no role yet: a migration makes them.
        Err(_) => 0,
    };

    database.migrate().await?;
    let mut conn = database.connect(Role::Operator).await?;
    let migrated = Migrated {
        before,
        after: schema_version(&mut conn).await?,
        rules: detect::rules::ALL.len() + sigma.infos().count() + monitors::ALL.len(),
        rules_written: rules::sync_rules(&mut conn, sigma).await?,
        requirements_written: rules::sync_catalog(&mut conn).await?,
    };

    // An error is ignored: the server notices the end in any case.
    let _ = conn.close().await;
    Ok(migrated)
}

async fn schema_version(conn: &mut PgConnection) -> Result<i64, AppError> {
    Ok(store::overview::schema(conn).await?.applied)
}
