-- Marks the open incident of an entity as one with CUI where an open alert about the entity, of
-- whatever severity, saw CUI being accessed.
--
-- $1 source, $2 entity type, $3 entity

UPDATE blueteam.security_incidents AS incident
SET cui_involved = true, dfars_reportable = true, updated_at = now()
WHERE incident.source = $1
  AND incident.entity_type = $2
  AND incident.entity_value = $3
  AND incident.status <> 'closed'
  AND NOT (incident.cui_involved IS TRUE AND incident.dfars_reportable IS TRUE)
  AND EXISTS (
      SELECT
      FROM blueteam.alert_history alert
      WHERE alert.source = $1
        AND alert.entity_type = $2
        AND alert.entity_value = $3
        AND alert.state = 'open'
        AND alert.cui_involved
  )
