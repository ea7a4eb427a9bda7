//! The schema, and the tables that the program fills: rules, monitors and requirements.

use config::{Loaded, StateDir};
use model::{Actor, Clock as _, SystemClock};
use store::{Connection as _, PgConnection};

use crate::actor::{Action, Resource, require};
use crate::database::{Database, OnStep, Role};
use crate::{AppError, rules, upgrade};

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

/// Whether a schema may be migrated without a backup of the last day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backup {
    /// As `database.migrate_without_backup` says.
    AsConfigured,
    /// Whoever asks says that none is needed.
    NotNeeded,
}

/// Brings the schema up to date and writes the rules, monitors and requirements that the program
/// knows; calls `on_step` before each migration. Makes the database where there is none.
pub async fn migrate(
    loaded: &Loaded,
    state: &StateDir,
    actor: &Actor,
    backup: Backup,
    on_step: &mut OnStep<'_>,
) -> Result<Migrated, AppError> {
    require(actor, Action::Write, Resource::System)?;
    let sigma = config::rules::sigma(&loaded.config)?;
    let database = Database::open(loaded, state).await?;
    let done = async {
        if backup == Backup::AsConfigured {
            let outlook = database.outlook().await?;
            let postponed = upgrade::postponed(&outlook, &loaded.config, SystemClock.now());
            if let Some(postponed) = postponed {
                return Err(AppError::conflict(postponed.to_string()));
            }
        }
        bring_up_to_date(&database, &sigma, on_step).await
    };

    let done = done.await;
    database.leave().await?;
    done
}

async fn bring_up_to_date(
    database: &Database,
    sigma: &detect::sigma::Sigma,
    on_step: &mut OnStep<'_>,
) -> Result<Migrated, AppError> {
    let before = match database.connect(Role::Operator).await {
        Ok(mut conn) => schema_version(&mut conn).await.unwrap_or(0),
        // There is no database or no role yet: a migration makes them.
        Err(_) => 0,
    };

    database.migrate(on_step).await?;
    let mut conn = database.connect(Role::Operator).await?;
    let mut engine = database.connect(Role::Engine).await?;
    let catalog = rules::sync_catalogs(&mut engine, &mut conn).await?;
    let migrated = Migrated {
        before,
        after: schema_version(&mut conn).await?,
        rules: detect::rules::ALL.len() + sigma.infos().count() + monitors::ALL.len(),
        rules_written: rules::sync_rules(&mut conn, sigma).await?,
        requirements_written: catalog,
    };

    // An error is ignored: the server notices the end in any case.
    let _ = conn.close().await;
    Ok(migrated)
}

async fn schema_version(conn: &mut PgConnection) -> Result<i64, AppError> {
    Ok(store::overview::schema(conn).await?.applied)
}
