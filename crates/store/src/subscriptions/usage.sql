-- Reports how much a tenant uses of what it has subscribed to.
--
-- $1 tenant, $2 now

SELECT
    (
        SELECT count(*)
        FROM users.users
        WHERE tenant_id = $1 AND is_active AND NOT is_service
    ) AS "users!",
    (
        SELECT count(*)
        FROM users.api_keys
        WHERE tenant_id = $1
          AND is_active
          AND coalesce(expires_at, 'infinity') > $2
    ) + (
        SELECT count(*)
        FROM users.person_keys
        WHERE tenant_id = $1 AND revoked_at IS NULL AND expires_at > $2
    ) AS "keys!",
    coalesce(
        (
            SELECT events
            FROM users.event_counts
            WHERE tenant_id = $1
              AND month = date_trunc('month', $2::timestamptz AT TIME ZONE 'UTC')::date
        ),
        0
    ) AS "events!",
    users.event_bytes($1) AS bytes
