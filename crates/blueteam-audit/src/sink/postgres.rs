//! Inserts rows into `public.audit_events` as a role that may do nothing else.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};
use tokio::time::timeout;

use super::{Sent, error_chain};
use crate::config::StartError;
use crate::spool::Batch;

/// Without a conflict target, because naming one requires the right to read. So it also covers
/// every other key of the table.
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
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| StartError::Url(error_chain(&error)))?;

        // Statements contain events, which do not belong in a log.
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
        // `insert_batch` takes the connection and returns it on success, so a hanging connection is
        // dropped with the future.
        let sent = timeout(self.patience, self.insert_batch(batch)).await;
        sent.unwrap_or_else(|_| Sent::Later(None, "the database did not answer in time".to_owned()))
    }

    async fn insert_batch(&mut self, batch: &Batch) -> Sent {
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => match self.options.connect().await {
                Ok(conn) => conn,
                Err(error) => return Sent::Later(None, error_chain(&error)),
            },
        };

        let Some(array) = json_array(batch) else {
            return Sent::Refused("not valid UTF-8".to_owned());
        };
        match sqlx::query(INSERT).bind(array).execute(&mut conn).await {
            Ok(_) => {
                self.conn = Some(conn);
                Sent::Done(Vec::new())
            }
            Err(error) if is_about_the_data(&error) => {
                self.conn = Some(conn);
                Sent::Refused(error_chain(&error))
            }
            Err(error) => Sent::Later(None, error_chain(&error)),
        }
    }
}

/// Joins the lines to one JSON array. The server refuses an array with an invalid line as a whole,
/// so that line is found by halving the batch.
fn json_array(batch: &Batch) -> Option<String> {
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

/// Returns whether the error is a data exception or a violated constraint, so retrying is futile.
fn is_about_the_data(error: &sqlx::Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
}
