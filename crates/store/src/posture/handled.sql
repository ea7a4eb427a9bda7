-- Selects how many alerts and incidents were due, and how many of them were handled in time.
--
-- $1 since, $2 now, $3 severities, $4 seconds until an alert of each is acknowledged,
-- $5 seconds until an incident of each is contained

WITH patience AS (
    SELECT severity, make_interval(secs => alert_seconds) AS seen, make_interval(secs => incident_seconds) AS contained
    FROM unnest($3::text[], $4::float8[], $5::float8[]) AS p (severity, alert_seconds, incident_seconds)
),
work AS (
    -- What was silenced waits for nobody.
    SELECT a.created_at + p.seen AS due, CASE WHEN a.acknowledged THEN a.acknowledged_at END AS done
    FROM blueteam.alert_history AS a
    JOIN patience AS p USING (severity)
    WHERE a.created_at >= $1 AND a.muted_by_mute IS NULL AND a.muted_by_alert IS NULL
      AND a.tenant_id = (SELECT blueteam.tenant_of_new())
    UNION ALL
    SELECT i.detected_at + p.contained,
           least(i.contained_at, i.eradicated_at, i.recovered_at, i.closed_at)
    FROM blueteam.security_incidents AS i
    JOIN patience AS p USING (severity)
    WHERE i.detected_at >= $1 AND i.merged_into IS NULL
      AND i.tenant_id = (SELECT blueteam.tenant_of_new())
)
SELECT count(*) FILTER (WHERE due <= $2 OR done IS NOT NULL) AS "due!",
       count(*) FILTER (WHERE done <= due) AS "in_time!"
FROM work
