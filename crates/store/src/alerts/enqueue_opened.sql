-- Enqueues the messages of new alerts for each channel that has not had them, in their order. A
-- channel that people read and that has had its number of messages of a severity gets further alerts
-- of it folded into a summary instead. Messages of other tenants do not count.
--
-- $1 the alerts, as an array of objects: n, their order; alert_id; channels; payload; most, the most
-- messages; per, the time that number is for, in microseconds. $2 channels that people read

WITH wanted AS MATERIALIZED (
    SELECT
        given.n,
        given.alert_id,
        given.payload,
        given.payload ->> 'severity' AS severity,
        given.most,
        given.per,
        wanted.channel
    FROM jsonb_to_recordset($1) AS given (
        n integer,
        alert_id uuid,
        channels text[],
        payload jsonb,
        most bigint,
        per bigint
    )
    CROSS JOIN LATERAL unnest(given.channels) AS wanted (channel)
    WHERE NOT EXISTS (
        SELECT
        FROM blueteam.notifications d
        WHERE d.alert_id = given.alert_id AND d.channel = wanted.channel AND d.kind = 'opened'
    )
),
had AS MATERIALIZED (
    SELECT
        channel,
        severity,
        (
            SELECT count(*)
            FROM (
                SELECT
                FROM blueteam.notifications d
                WHERE d.tenant_id = (SELECT blueteam.tenant_of_new())
                  AND d.channel = limited.channel
                  AND d.kind = 'opened'
                  AND d.payload ->> 'severity' = limited.severity
                  AND d.created_at > now() - limited.per * interval '1 microsecond'
                LIMIT limited.most
            ) AS recent
        ) AS messages
    FROM (
        SELECT DISTINCT ON (channel, severity) channel, severity, most, per
        FROM wanted
        WHERE channel = ANY ($2)
        ORDER BY channel, severity, n
    ) AS limited
),
channels AS MATERIALIZED (
    SELECT
        wanted.*,
        had.messages IS NOT NULL AND wanted.most < had.messages + row_number() OVER (
            PARTITION BY wanted.channel, wanted.severity
            ORDER BY wanted.n
        ) AS is_full
    FROM wanted
    LEFT JOIN had USING (channel, severity)
),
folded AS (
    INSERT INTO blueteam.rate_limited_alerts (alert_id, channel)
    SELECT alert_id, channel
    FROM channels
    WHERE is_full
    ORDER BY n
    ON CONFLICT DO NOTHING
)
INSERT INTO blueteam.notifications (alert_id, channel, kind, payload)
SELECT
    alert_id,
    channel,
    'opened',
    payload
FROM channels
WHERE NOT is_full
ORDER BY n, channel
ON CONFLICT DO NOTHING
