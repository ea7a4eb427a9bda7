-- Gives incidents the title of the alert that they have it from, as that alert grows.
--
-- $1 incidents, $2 rules of the alerts, $3 titles, $4 descriptions

UPDATE blueteam.security_incidents AS incident
SET title = alert.title, description = alert.description, updated_at = now()
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[])
    AS alert (incident_id, rule_id, title, description)
WHERE incident.incident_id = alert.incident_id
  AND incident.correlation_rule = alert.rule_id
  AND incident.status <> 'closed'
  AND incident.title <> alert.title
