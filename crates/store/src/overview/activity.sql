-- Counts the events of the last hour and day by source, for sources with events in the last week.
--
-- $1 now

SELECT
    'audit_db' AS "source!",
    count(*) FILTER (WHERE timestamp > $1::timestamptz - interval '1 hour') AS "hour!",
    count(*) FILTER (WHERE timestamp > $1::timestamptz - interval '1 day') AS "day!",
    max(timestamp) AS "newest: Ts"
FROM blueteam.audit_events
WHERE timestamp > $1::timestamptz - interval '7 days'
UNION ALL
SELECT
    source,
    count(*) FILTER (WHERE timestamp > $1::timestamptz - interval '1 hour'),
    count(*) FILTER (WHERE timestamp > $1::timestamptz - interval '1 day'),
    max(timestamp)
FROM blueteam.log_events
WHERE timestamp > $1::timestamptz - interval '7 days'
GROUP BY source
ORDER BY 1
