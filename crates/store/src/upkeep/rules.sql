-- Selects how often each rule raised an alert, and what people made of it.
--
-- $1 since when

SELECT
    rule_id AS "rule_id!",
    count(*) AS "alerts!",
    count(*) FILTER (WHERE acknowledged) AS "acknowledged!",
    count(*) FILTER (WHERE muted_by_mute IS NOT NULL) AS "silenced!",
    count(*) FILTER (WHERE incident_id IS NOT NULL) AS "in_incidents!"
FROM blueteam.alert_history
WHERE created_at >= $1 AND rule_id IS NOT NULL
GROUP BY rule_id
ORDER BY 2 DESC, 1
