-- Lists recent events as a sample: among the last thousand, first one of each kind, so that a sample is
-- not the same health check five times.
--
-- $1 only those since then
-- $2 only those of this user, if not null
-- $3 at most so many

WITH recent AS (
    SELECT
        event_id,
        timestamp,
        category,
        action,
        result,
        user_id,
        metadata ->> 'username' AS own_name,
        host(ip_address) AS ip,
        concat_ws(' ', resource_type, resource_id) AS resource
    FROM blueteam.audit_events
    WHERE timestamp >= $1 AND ($2::uuid IS NULL OR user_id = $2)
    ORDER BY timestamp DESC
    LIMIT 1000
),

ranked AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY category, action, resource
            ORDER BY timestamp DESC, event_id
        ) AS nth
    FROM recent
)

SELECT
    r.event_id AS "event_id!",
    r.timestamp AS "timestamp!: Ts",
    r.category AS "category!",
    r.action AS "action!",
    r.result AS "result!",
    r.user_id,
    coalesce(u.username, left(r.own_name, 200)) AS user_name,
    r.ip,
    r.resource
FROM ranked AS r
LEFT JOIN users.users AS u ON u.user_id = r.user_id
ORDER BY r.nth, r.timestamp DESC, r.event_id
LIMIT $3
