-- Selects the oldest critical alert that is open about an entity and that no silence covers.
--
-- $1 entity type, $2 entity, $3 source, $4 alerts that count as open, $5 alerts that do not count

SELECT critical.alert_id
FROM (
    SELECT alert_id, created_at
    FROM blueteam.alert_history
    WHERE tenant_id = (SELECT blueteam.tenant_of_new())
      AND state = 'open'
      AND severity = 'critical'
      AND entity_type = $1
      AND entity_value = $2
      AND source = $3
      AND muted_by_mute IS NULL
      AND alert_id <> ALL ($4)
      AND alert_id <> ALL ($5)
    UNION ALL
    SELECT alert_id, created_at
    FROM blueteam.alert_history
    WHERE alert_id = ANY ($4) AND severity = 'critical' AND muted_by_mute IS NULL
) AS critical
ORDER BY critical.created_at
LIMIT 1
