//! Rows of `public.audit_events`, added as a role that may do nothing else.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};
use tokio::time::timeout;

use super::{Sent, chain};
use crate::config::StartError;
use crate::spool::Batch;

/// Without a conflict target, because naming one takes the right to read; so it also holds for
/// every key that the table may have.
const INSERT: &str = "
    INSERT INTO public.audit_events (event_id, timestamp, category, action, result, user_id, \
    session_id, ip_address, user_agent,
        resource_type, resource_id, instance_id, cui_accessed, metadata)
    SELECT event_id, timestamp, category, action, result, user_id, session_id, ip_address, \
    user_agent,
        resource_type, resource_id, instance_id, cui_accessed, metadata
      FROM jsonb_to_recordset($1::text::jsonb)
        AS e (event_id uuid, timestamp timestamptz, category text, action text, result text, \
        user_id uuid, session_id text,
              ip_address inet, user_agent text, resource_type text, resource_id text, instance_id \
              uuid, cui_accessed boolean,
              metadata jsonb)
        ON CONFLICT DO NOTHING";

#[derive(Debug)]
pub(crate) struct Postgres {
    options: PgConnectOptions,
    conn: Option<PgConnection>,
    patience: Duration,
}

impl Postgres {
    pub(super) fn new(url: &str, patience: Duration) -> Result<Self, StartError> {
        let options =
            PgConnectOptions::from_str(url).map_err(|error| StartError::Url(chain(&error)))?;

        // Statements hold events, and a log is not the place for them.
        let options = options
            .application_name("blueteam-audit")
            .disable_statement_logging();
        Ok(Self {
            options,
            conn: None,
            patience,
        })
    }

    pub(super) async fn send(&mut self, batch: &Batch) -> Sent {
        // `insert` takes the connection and gives it back when all is well, so one that hangs is
        // dropped with it.
        let sent = timeout(self.patience, self.insert(batch)).await;
        sent.unwrap_or_else(|_| {
            Sent::Later(None, "the database does not answer in time".to_owned())
        })
    }

    async fn insert(&mut self, batch: &Batch) -> Sent {
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => match self.options.connect().await {
                Ok(conn) => conn,
                Err(error) => return Sent::Later(None, chain(&error)),
            },
        };

        let Some(array) = array(batch) else {
            return Sent::Refused("is not UTF-8".to_owned());
        };
        match sqlx::query(INSERT).bind(array).execute(&mut conn).await {
            Ok(_) => {
                self.conn = Some(conn);
                Sent::Done(Vec::new())
            }
            Err(error) if is_about_the_data(&error) => {
                self.conn = Some(conn);
                Sent::Refused(chain(&error))
            }
            Err(error) => Sent::Later(None, chain(&error)),
        }
    }
}

/// The lines as one JSON array. A line that is no JSON makes the server refuse all of it, and so is
/// found by halving.
fn array(batch: &Batch) -> Option<String> {
    let mut array = String::with_capacity(batch.bytes().len() + 2);
    array.push('[');
    for (at, line) in batch.lines().enumerate() {
        if at > 0 {
            array.push(',');
        }
        array.push_str(std::str::from_utf8(line).ok()?);
    }

    array.push(']');
    Some(array)
}

/// Data exceptions and violated constraints: the next attempt would end the same.
fn is_about_the_data(error: &sqlx::Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
}
