-- Enqueues the message of a new alert for each channel that has not had it. A channel that people
-- read and that has had its number of messages of this severity gets the alert folded into a
-- summary instead.
--
-- $1 alert, $2 channels, $3 payload, $4 channels that people read, $5 most messages,
-- $6 the time that number is for, in microseconds

WITH channels AS (
    SELECT
        channel,
        channel = ANY ($4) AND $5 <= (
            SELECT count(*)
            FROM (
                SELECT
                FROM blueteam.notifications d
                WHERE d.channel = wanted.channel
                  AND d.kind = 'opened'
                  AND d.payload ->> 'severity' = $3::jsonb ->> 'severity'
                  AND d.created_at > now() - $6::bigint * interval '1 microsecond'
                LIMIT $5
            ) AS recent
        ) AS is_full
    FROM unnest($2::text[]) AS wanted (channel)
    WHERE NOT EXISTS (
        SELECT
        FROM blueteam.notifications d
        WHERE d.alert_id = $1 AND d.channel = wanted.channel AND d.kind = 'opened'
    )
),
folded AS (
    INSERT INTO blueteam.rate_limited_alerts (alert_id, channel)
    SELECT $1, channel
    FROM channels
    WHERE is_full
    ON CONFLICT DO NOTHING
)
INSERT INTO blueteam.notifications (alert_id, channel, kind, payload)
SELECT
    $1,
    channel,
    'opened',
    $3
FROM channels
WHERE NOT is_full
ON CONFLICT DO NOTHING
