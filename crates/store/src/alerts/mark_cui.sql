-- Marks the open incidents of entities as ones with CUI where an open alert about the entity, of
-- whatever severity, saw CUI being accessed.
--
-- $1 sources, $2 entity types, $3 entities

UPDATE blueteam.security_incidents AS incident
SET cui_involved = true, dfars_reportable = true, updated_at = now()
FROM (
    SELECT DISTINCT *
    FROM unnest($1::text[], $2::text[], $3::text[]) AS named (source, entity_type, entity_value)
) AS about
WHERE incident.tenant_id = (SELECT blueteam.tenant_of_new())
  AND incident.source = about.source
  AND incident.entity_type = about.entity_type
  AND incident.entity_value = about.entity_value
  AND incident.status <> 'closed'
  AND NOT (incident.cui_involved IS TRUE AND incident.dfars_reportable IS TRUE)
  AND EXISTS (
      SELECT
      FROM blueteam.alert_history alert
      WHERE alert.tenant_id = incident.tenant_id
        AND alert.source = about.source
        AND alert.entity_type = about.entity_type
        AND alert.entity_value = about.entity_value
        AND alert.state = 'open'
        AND alert.cui_involved
  )
