-- Selects how often each rule raised an alert, and what people made of it.
--
-- $1 since when

WITH raised AS (
    SELECT alert_id, rule_id, acknowledged, muted_by_mute, incident_id
    FROM blueteam.alert_history
    WHERE created_at >= $1 AND rule_id IS NOT NULL
),
judged AS (
    SELECT DISTINCT ON (given.alert_id) given.alert_id, given.verdict
    FROM blueteam.alert_verdicts AS given
    JOIN raised USING (alert_id)
    ORDER BY given.alert_id, given.verdict_id DESC
)
SELECT
    rule_id AS "rule_id!",
    count(*) AS "alerts!",
    count(*) FILTER (WHERE acknowledged) AS "acknowledged!",
    count(*) FILTER (WHERE muted_by_mute IS NOT NULL) AS "silenced!",
    count(*) FILTER (WHERE incident_id IS NOT NULL) AS "in_incidents!",
    count(*) FILTER (WHERE verdict = 'true_positive') AS "true_positives!",
    count(*) FILTER (WHERE verdict IN ('benign_positive', 'false_positive')) AS "noise!"
FROM raised
LEFT JOIN judged USING (alert_id)
GROUP BY rule_id
ORDER BY 2 DESC, 1
