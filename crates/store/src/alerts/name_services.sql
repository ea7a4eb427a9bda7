-- Adds the services of their alerts to incidents that are not closed.
--
-- $1 incidents with their services, each incident once, as an array of objects; $2 most services

UPDATE blueteam.security_incidents AS incident
SET services = ARRAY(
    SELECT DISTINCT s
    FROM unnest(incident.services || named.services) AS s
    ORDER BY s
    LIMIT $2
)
FROM jsonb_to_recordset($1) AS named (incident_id uuid, services text[])
WHERE incident.incident_id = named.incident_id
  AND incident.status <> 'closed'
  AND NOT incident.services @> named.services
  AND cardinality(incident.services)::bigint < $2
