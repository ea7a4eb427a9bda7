//! What signing people in needs: hashes, second factors, links and sessions, by the one role that
//! may see them.

use model::{Actor, Timestamp};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::StoreError;
use crate::db::{Ts, begin};

/// What an account is asked for when a person signs in as it.
#[derive(Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are answers of the database about one account"
)]
pub struct Credentials {
    /// The account.
    pub user_id: Uuid,
    /// Its name as it is written.
    pub username: String,
    /// Where mail to its person goes.
    pub email: String,
    /// Its person's name.
    pub full_name: Option<String>,
    /// Its role.
    pub role: String,
    /// Its tenant.
    pub tenant_id: Option<Uuid>,
    /// PHC string of its password; `!` for none.
    pub password_hash: String,
    /// Those of the passwords before, the newest first.
    pub password_history: Vec<String>,
    /// When the password was chosen.
    pub password_last_changed: Option<Timestamp>,
    /// Whether another one must be chosen first.
    pub must_change_password: bool,
    /// Whether it may be used: active, of a person, and not past its end.
    pub is_usable: bool,
    /// Whether wrong attempts have locked it.
    pub is_locked: bool,
    /// Whether its person is known elsewhere, so that it has no password of its own.
    pub is_external: bool,
    /// Whether its person is known to a directory, which may say whether a password is theirs.
    pub is_in_directory: bool,
    /// Its TOTP in force.
    pub totp: Option<TotpFactor>,
}

/// A TOTP that codes are checked against.
#[derive(Clone)]
pub struct TotpFactor {
    /// The factor.
    pub factor_id: Uuid,
    /// Its secret, sealed.
    pub sealed: Vec<u8>,
    /// The newest step whose code was used.
    pub last_step: Option<i64>,
}

/// The account of this name, in any case.
pub async fn credentials(
    conn: &mut PgConnection,
    username: &str,
) -> Result<Option<Credentials>, StoreError> {
    find_credentials(conn, Some(username), None).await
}

/// The account of this id.
pub async fn credentials_of(
    conn: &mut PgConnection,
    user_id: Uuid,
) -> Result<Option<Credentials>, StoreError> {
    find_credentials(conn, None, Some(user_id)).await
}

async fn find_credentials(
    conn: &mut PgConnection,
    username: Option<&str>,
    user_id: Option<Uuid>,
) -> Result<Option<Credentials>, StoreError> {
    let row = sqlx::query_file!("src/sign_in/credentials.sql", username, user_id)
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|r| Credentials {
        user_id: r.user_id,
        username: r.username,
        email: r.email,
        full_name: r.full_name,
        role: r.role,
        tenant_id: r.tenant_id,
        password_hash: r.password_hash,
        password_history: r.password_history,
        password_last_changed: r.password_last_changed.map(|t| t.0),
        must_change_password: r.must_change_password,
        is_usable: r.is_usable,
        is_locked: r.is_locked,
        is_external: r.is_external,
        is_in_directory: r.is_in_directory,
        totp: r
            .factor_id
            .zip(r.sealed)
            .map(|(factor_id, sealed)| TotpFactor {
                factor_id,
                sealed,
                last_step: r.last_step,
            }),
    }))
}

/// Counts a wrong attempt; returns until when the account is locked by it.
pub async fn count_failure(
    conn: &mut PgConnection,
    actor: &Actor,
    username: &str,
) -> Result<Option<Timestamp>, StoreError> {
    let mut tx = begin(conn, actor).await?;
    sqlx::query!("SELECT users.handle_failed_login($1)", username)
        .execute(&mut *tx)
        .await?;
    let until = sqlx::query_scalar!(
        r#"SELECT account_locked_until AS "until: Ts"
           FROM users.users
           WHERE lower(username) = lower($1) AND account_locked_until > now()"#,
        username
    )
    .fetch_optional(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(until.flatten().map(|t| t.0))
}

/// Notes that a code of this step was used; false if it, or a later one, was used before.
pub async fn use_totp_step(
    conn: &mut PgConnection,
    factor_id: Uuid,
    step: i64,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "UPDATE users.mfa_factors
         SET last_step = $2, last_used = now()
         WHERE factor_id = $1 AND removed_at IS NULL AND (last_step IS NULL OR last_step < $2)",
        factor_id,
        step
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Uses up a recovery code; false if the account has none of this hash left.
pub async fn use_recovery_code(
    conn: &mut PgConnection,
    actor: &Actor,
    user_id: Uuid,
    hash: &[u8],
) -> Result<bool, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let done = sqlx::query!(
        "UPDATE users.recovery_codes
         SET used_at = now()
         WHERE user_id = $1 AND token_hash = $2 AND used_at IS NULL AND revoked_at IS NULL",
        user_id,
        hash
    )
    .execute(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(done.rows_affected() == 1)
}

/// The most sessions of an account at once (ASVS 7.1.2).
pub const SESSIONS_MAX: u32 = 10;

/// A session to begin.
#[derive(Clone, Copy, Debug)]
pub struct NewSession<'a> {
    /// Whose.
    pub user_id: Uuid,
    /// SHA-256 of its token.
    pub token_hash: &'a [u8],
    /// How the person signed in.
    pub factors: &'a [String],
    /// The session that it takes the place of.
    pub replaces: Option<Uuid>,
    /// Whether the person has just proven who they are, so that what is dangerous may be done.
    pub is_fresh: bool,
    /// The notice that they have accepted.
    pub notice: Option<&'a str>,
}

/// Begins a session after a sign-in: failures before it are forgotten. Returns its id.
pub async fn begin_session(
    conn: &mut PgConnection,
    actor: &Actor,
    username: &str,
    session: &NewSession<'_>,
) -> Result<Uuid, StoreError> {
    let mut tx = begin(conn, actor).await?;
    sqlx::query!("SELECT users.handle_successful_login($1)", username)
        .execute(&mut *tx)
        .await?;
    let id = insert_session(&mut tx, actor, session).await?;
    tx.commit().await?;
    Ok(id)
}

async fn insert_session(
    conn: &mut PgConnection,
    actor: &Actor,
    session: &NewSession<'_>,
) -> Result<Uuid, StoreError> {
    if let Some(old) = session.replaces {
        sqlx::query!(
            "UPDATE users.sessions
             SET ended_at = now(), end_reason = 'replaced'
             WHERE session_id = $1 AND user_id = $2 AND ended_at IS NULL",
            old,
            session.user_id
        )
        .execute(&mut *conn)
        .await?;
    }

    // Beyond the limit the oldest makes way: whoever forgot to sign out is not locked out.
    sqlx::query!(
        "UPDATE users.sessions
         SET ended_at = now(), end_reason = 'replaced'
         WHERE session_id IN (
             SELECT session_id
             FROM users.sessions
             WHERE user_id = $1 AND ended_at IS NULL
             ORDER BY created_at DESC, session_id DESC
             OFFSET $2
         )",
        session.user_id,
        i64::from(SESSIONS_MAX) - 1
    )
    .execute(&mut *conn)
    .await?;

    let id = sqlx::query_scalar!(
        "INSERT INTO users.sessions (
             user_id, token_hash, factors, ip_address, user_agent, stepped_up_at, notice_version
         )
         VALUES (
             $1, $2, $3, left($4, 100), left($5, 500), CASE WHEN $6::boolean THEN now() END, $7
         )
         RETURNING session_id",
        session.user_id,
        session.token_hash,
        session.factors,
        actor.origin.address,
        actor.origin.user_agent,
        session.is_fresh,
        session.notice
    )
    .fetch_one(conn)
    .await?;
    Ok(id)
}

/// A session that a token belongs to, and its account.
#[derive(Clone, Debug)]
pub struct SessionFacts {
    /// The session.
    pub session_id: Uuid,
    /// The account.
    pub user_id: Uuid,
    /// Its name.
    pub username: String,
    /// Its person's name.
    pub full_name: Option<String>,
    /// Its role.
    pub role: String,
    /// Its tenant.
    pub tenant_id: Option<Uuid>,
    /// Whether the account may still be used.
    pub is_usable: bool,
    /// When the account ends.
    pub expires_at: Option<Timestamp>,
    /// How the person signed in.
    pub factors: Vec<String>,
    /// Since when.
    pub created_at: Timestamp,
    /// When it was last used, to the minute or so.
    pub seen_at: Timestamp,
    /// Since when it is locked.
    pub locked_at: Option<Timestamp>,
    /// When the person last proved who they are.
    pub stepped_up_at: Option<Timestamp>,
}

/// The session with this hash that has not ended.
pub async fn session(
    conn: &mut PgConnection,
    token_hash: &[u8],
) -> Result<Option<SessionFacts>, StoreError> {
    let row = sqlx::query_file!("src/sign_in/session.sql", token_hash)
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|r| SessionFacts {
        session_id: r.session_id,
        user_id: r.user_id,
        username: r.username,
        full_name: r.full_name,
        role: r.role,
        tenant_id: r.tenant_id,
        is_usable: r.is_usable,
        expires_at: r.expires_at.map(|t| t.0),
        factors: r.factors,
        created_at: r.created_at.0,
        seen_at: r.seen_at.0,
        locked_at: r.locked_at.map(|t| t.0),
        stepped_up_at: r.stepped_up_at.map(|t| t.0),
    }))
}

/// Keeps the times of a session that has not ended. A clock that goes back makes none younger.
pub async fn keep_times(
    conn: &mut PgConnection,
    session_id: Uuid,
    seen_at: Timestamp,
    locked_at: Option<Timestamp>,
    stepped_up_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE users.sessions
         SET seen_at = greatest(seen_at, $2), locked_at = $3, stepped_up_at = $4
         WHERE session_id = $1 AND ended_at IS NULL",
        session_id,
        Ts(seen_at) as Ts,
        locked_at.map(Ts) as Option<Ts>,
        stepped_up_at.map(Ts) as Option<Ts>
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends a session; false if it had ended. `reason`: `signed out`, `idle` or `absolute`.
pub async fn end_session(
    conn: &mut PgConnection,
    actor: &Actor,
    session_id: Uuid,
    reason: &str,
) -> Result<bool, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let done = sqlx::query!(
        "UPDATE users.sessions
         SET ended_at = now(), end_reason = $2
         WHERE session_id = $1 AND ended_at IS NULL",
        session_id,
        reason
    )
    .execute(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(done.rows_affected() == 1)
}

/// Ends another session of the same account, as its person asks; false if there is none.
pub async fn end_own_session(
    conn: &mut PgConnection,
    actor: &Actor,
    user_id: Uuid,
    session_id: Uuid,
) -> Result<bool, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let done = sqlx::query!(
        "UPDATE users.sessions
         SET ended_at = now(), end_reason = 'revoked'
         WHERE session_id = $1 AND user_id = $2 AND ended_at IS NULL",
        session_id,
        user_id
    )
    .execute(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(done.rows_affected() == 1)
}

/// Ends the sessions that nobody has used since `idle_since`, or that began before `began_before`;
/// returns how many.
pub async fn end_old_sessions(
    conn: &mut PgConnection,
    actor: &Actor,
    idle_since: Timestamp,
    began_before: Timestamp,
) -> Result<u64, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let done = sqlx::query!(
        "UPDATE users.sessions
         SET
             ended_at = now(),
             end_reason = CASE WHEN created_at < $2 THEN 'absolute' ELSE 'idle' END
         WHERE ended_at IS NULL AND (seen_at < $1 OR created_at < $2)",
        Ts(idle_since) as Ts,
        Ts(began_before) as Ts
    )
    .execute(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(done.rows_affected())
}

/// Disables the accounts that nobody has used for as long as their policy says (3.5.6); returns
/// their names.
pub async fn disable_idle_accounts(
    conn: &mut PgConnection,
    actor: &Actor,
) -> Result<Vec<String>, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let names = sqlx::query_scalar!(r#"SELECT users.disable_idle_accounts() AS "name!""#)
        .fetch_all(&mut *tx)
        .await?;

    tx.commit().await?;
    Ok(names)
}

/// An enrollment link that can be used.
#[derive(Clone)]
pub struct LinkFacts {
    /// The link.
    pub link_id: Uuid,
    /// The account that it is for.
    pub user_id: Uuid,
    /// Until when.
    pub expires_at: Timestamp,
    /// The secret that is being enrolled, sealed.
    pub sealed: Option<Vec<u8>>,
}

/// The link with this hash, if it can be used.
pub async fn link(
    conn: &mut PgConnection,
    token_hash: &[u8],
) -> Result<Option<LinkFacts>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT l.link_id, l.user_id, l.expires_at AS "expires_at: Ts", l.secret
           FROM users.enrollment_links l
           JOIN users.users u USING (user_id)
           WHERE l.token_hash = $1 AND l.used_at IS NULL AND l.revoked_at IS NULL
               AND l.expires_at > now() AND u.is_active AND NOT u.is_service"#,
        token_hash
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|r| LinkFacts {
        link_id: r.link_id,
        user_id: r.user_id,
        expires_at: r.expires_at.0,
        sealed: r.secret,
    }))
}

/// Keeps the secret that is being enrolled with a link. The one that is there already stays:
/// whoever opens the link twice must be shown the same. Returns the one that is kept.
pub async fn keep_link_secret(
    conn: &mut PgConnection,
    actor: &Actor,
    link_id: Uuid,
    sealed: &[u8],
) -> Result<Option<Vec<u8>>, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let kept = sqlx::query_scalar!(
        "UPDATE users.enrollment_links
         SET secret = coalesce(secret, $2)
         WHERE link_id = $1 AND used_at IS NULL AND revoked_at IS NULL
         RETURNING secret",
        link_id,
        sealed
    )
    .fetch_optional(&mut *tx)
    .await?;

    tx.commit().await?;
    Ok(kept.flatten())
}

/// What an enrollment leaves behind.
#[derive(Clone, Copy)]
pub struct Enrollment<'a> {
    /// The link that it used up.
    pub link_id: Uuid,
    /// The account.
    pub user_id: Uuid,
    /// The account's name.
    pub username: &'a str,
    /// The new password; none for an account that is kept elsewhere.
    pub password: Option<NewPassword<'a>>,
    /// The TOTP, sealed, and the step whose code confirmed it.
    pub sealed: &'a [u8],
    /// That step.
    pub step: i64,
    /// SHA-256 of each recovery code.
    pub recovery_hashes: &'a [Vec<u8>],
    /// The session that begins.
    pub session: NewSession<'a>,
}

/// A password as it is kept.
#[derive(Clone, Copy)]
pub struct NewPassword<'a> {
    /// PHC string.
    pub hash: &'a str,
    /// Those of the passwords that may not be taken again, the newest first, this one left out.
    pub history: &'a [String],
}

/// Uses up a link: password, factor and codes take the place of those that were there, and a
/// session begins. None if the link was used meanwhile.
pub async fn enroll(
    conn: &mut PgConnection,
    actor: &Actor,
    enrollment: &Enrollment<'_>,
) -> Result<Option<Uuid>, StoreError> {
    let mut tx = begin(conn, actor).await?;
    let used = sqlx::query!(
        "UPDATE users.enrollment_links
         SET used_at = now(), secret = NULL
         WHERE link_id = $1 AND used_at IS NULL AND revoked_at IS NULL AND expires_at > now()",
        enrollment.link_id
    )
    .execute(&mut *tx)
    .await?;
    if used.rows_affected() == 0 {
        return Ok(None);
    }

    if let Some(password) = &enrollment.password {
        write_password(&mut tx, enrollment.user_id, password).await?;
    }
    sqlx::query!(
        "UPDATE users.mfa_factors
         SET removed_at = now()
         WHERE user_id = $1 AND removed_at IS NULL",
        enrollment.user_id
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "INSERT INTO users.mfa_factors (user_id, kind, name, secret, last_step, last_used)
         VALUES ($1, 'totp', 'Authenticator app', $2, $3, now())",
        enrollment.user_id,
        enrollment.sealed,
        enrollment.step
    )
    .execute(&mut *tx)
    .await?;

    replace_recovery_codes(&mut tx, enrollment.user_id, enrollment.recovery_hashes).await?;
    sqlx::query!(
        "SELECT users.handle_successful_login($1)",
        enrollment.username
    )
    .execute(&mut *tx)
    .await?;
    let id = insert_session(&mut tx, actor, &enrollment.session).await?;
    tx.commit().await?;
    Ok(Some(id))
}

async fn replace_recovery_codes(
    conn: &mut PgConnection,
    user_id: Uuid,
    hashes: &[Vec<u8>],
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE users.recovery_codes
         SET revoked_at = now()
         WHERE user_id = $1 AND used_at IS NULL AND revoked_at IS NULL",
        user_id
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "INSERT INTO users.recovery_codes (user_id, token_hash)
         SELECT $1, hash FROM unnest($2::bytea[]) AS hash",
        user_id,
        hashes
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Changes a password: every session of the account ends.
pub async fn change_password(
    conn: &mut PgConnection,
    actor: &Actor,
    user_id: Uuid,
    password: &NewPassword<'_>,
) -> Result<(), StoreError> {
    let mut tx = begin(conn, actor).await?;
    write_password(&mut tx, user_id, password).await?;
    tx.commit().await?;
    Ok(())
}

async fn write_password(
    conn: &mut PgConnection,
    user_id: Uuid,
    password: &NewPassword<'_>,
) -> Result<(), StoreError> {
    let history = serde_json::to_value(password.history)?;
    sqlx::query!(
        "UPDATE users.users
         SET
             password_hash = $2,
             password_history = $3,
             password_last_changed = now(),
             must_change_password = false
         WHERE user_id = $1",
        user_id,
        password.hash,
        history
    )
    .execute(conn)
    .await?;
    Ok(())
}
