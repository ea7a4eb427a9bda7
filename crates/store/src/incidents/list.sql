-- Lists incidents, the newest first.
--
-- $1 whether closed ones are listed too, $2 most incidents, $3 and $4 time and id of the incident
-- after which the list goes on, $5 and $6 the first and the last id

SELECT
    incident_id,
    title,
    severity,
    status,
    detected_at AS "detected_at: Ts",
    detected_by,
    correlation_rule,
    entity_type,
    entity_value,
    source,
    services,
    coalesce(cui_involved, false) AS "cui!",
    coalesce(dfars_reportable, false) AS "dfars!",
    (
        SELECT count(*) FROM blueteam.alert_history a WHERE a.incident_id = i.incident_id
    ) AS "alerts!"
FROM blueteam.security_incidents i
WHERE ($1 OR status <> 'closed')
  AND ($3::timestamptz IS NULL OR (detected_at, incident_id) < ($3, $4::uuid))
  AND ($5::uuid IS NULL OR incident_id BETWEEN $5 AND $6::uuid)
ORDER BY detected_at DESC, incident_id DESC
LIMIT $2
