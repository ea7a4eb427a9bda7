-- Selects the most events that fell within one window.
--
-- $1 category, $2 actions that count, $3 actions that count when they failed, $4 actions that count
-- of PostgreSQL's log, $5 the earliest end of a window, $6 length of a window

SELECT max(n) AS "n: i64"
FROM (
    SELECT
        e.timestamp,
        sum(e.times) OVER (
            ORDER BY e.timestamp RANGE BETWEEN $6::interval PRECEDING AND CURRENT ROW
        )::bigint AS n
    FROM (
        SELECT timestamp, 1 AS times
        FROM public.audit_events
        WHERE timestamp > $5::timestamptz - $6::interval
          AND ($1::text IS NULL OR category = $1)
          AND (action = ANY ($2) OR (result <> 'success' AND action = ANY ($3)))
        UNION ALL
        SELECT timestamp, occurrences
        FROM blueteam.log_events
        WHERE timestamp > $5::timestamptz - $6::interval
          AND ($1::text IS NULL OR category = $1)
          AND (
              action = ANY ($2)
              OR (result <> 'success' AND action = ANY ($3))
              OR (source = 'postgres' AND action = ANY ($4))
          )
    ) AS e
) AS windows
WHERE timestamp > $5::timestamptz
