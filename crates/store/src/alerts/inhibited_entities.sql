-- Selects those of several entities that an open critical alert is about, silenced or not.
--
-- $1 sources, $2 entity types, $3 entities

SELECT DISTINCT
    about.source AS "source!",
    about.entity_type AS "entity_type!",
    about.entity_value AS "entity_value!"
FROM (
    SELECT DISTINCT *
    FROM unnest($1::text[], $2::text[], $3::text[]) AS named (source, entity_type, entity_value)
) AS about
JOIN blueteam.alert_history critical
    ON critical.entity_type = about.entity_type
   AND critical.entity_value = about.entity_value
   AND critical.source = about.source
WHERE critical.tenant_id = (SELECT blueteam.tenant_of_new())
  AND critical.state = 'open'
  AND critical.severity = 'critical'
