-- Lists the machines that log events name, each with the number of days of the period on which
-- any arrived. A day is that of the arrival: a sender that chooses the times of its events makes no
-- days.
--
-- $1 now, $2 beginning of the period

SELECT
    lower(host) AS "host!",
    count(DISTINCT (created_at AT TIME ZONE 'UTC')::date) AS "days!"
FROM blueteam.log_events
WHERE timestamp >= $2
  AND timestamp <= $1
  AND created_at >= $2
  AND host <> ''
GROUP BY lower(host)
ORDER BY 1
