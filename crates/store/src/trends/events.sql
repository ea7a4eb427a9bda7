-- Counts events by day: those of applications, and those of logs.
--
-- $1 since when, $2 the zone of the days

WITH counted AS (
    SELECT
        to_char(timestamp AT TIME ZONE $2, 'YYYY-MM-DD') AS day,
        count(*) AS applications,
        0::bigint AS logs
    FROM blueteam.audit_events
    WHERE timestamp >= $1 AND timestamp <= now()
    GROUP BY 1
    UNION ALL
    SELECT
        to_char(timestamp AT TIME ZONE $2, 'YYYY-MM-DD'),
        0,
        count(*)
    FROM blueteam.log_events
    WHERE timestamp >= $1 AND timestamp <= now()
    GROUP BY 1
)
SELECT
    day AS "day!",
    sum(applications)::bigint AS "applications!",
    sum(logs)::bigint AS "logs!"
FROM counted
GROUP BY day
ORDER BY day
