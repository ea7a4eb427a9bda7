-- Selects how long it took until alerts were acknowledged, by the day of that.
--
-- $1 since when, $2 the zone of the days

SELECT
    to_char(acknowledged_at AT TIME ZONE $2, 'YYYY-MM-DD') AS "day!",
    count(*) AS "alerts!",
    percentile_cont(0.5) WITHIN GROUP (
        ORDER BY extract(EPOCH FROM acknowledged_at - created_at)::double precision
    ) AS "median_s!",
    percentile_cont(0.9) WITHIN GROUP (
        ORDER BY extract(EPOCH FROM acknowledged_at - created_at)::double precision
    ) AS "most_s!"
FROM blueteam.alert_history
WHERE acknowledged AND acknowledged_at >= $1 AND acknowledged_at >= created_at
GROUP BY 1
ORDER BY 1
