-- Opens an incident, or extends the one that is open for the same entity and source.
--
-- $1 title, $2 description, $3 severity, $4 rule, $5 controls, $6 CUI involved and so reportable,
-- $7 entity type, $8 entity, $9 source

INSERT INTO blueteam.security_incidents AS stored (
    title,
    description,
    severity,
    detected_by,
    correlation_rule,
    nist_controls,
    cui_involved,
    dfars_reportable,
    entity_type,
    entity_value,
    source
)
VALUES ($1, $2, $3, 'correlation_rule', $4, $5, $6, $6, $7, $8, $9)
ON CONFLICT (source, entity_type, entity_value) WHERE status <> 'closed' DO UPDATE
SET
    -- The title is that of the worst alert; of two equally bad ones the first.
    title = CASE
        WHEN excluded.severity = 'critical' AND stored.severity <> 'critical' THEN excluded.title
        ELSE stored.title
    END,
    description = CASE
        WHEN excluded.severity = 'critical' AND stored.severity <> 'critical'
            THEN excluded.description
        ELSE stored.description
    END,
    correlation_rule = CASE
        WHEN excluded.severity = 'critical' AND stored.severity <> 'critical'
            THEN excluded.correlation_rule
        ELSE stored.correlation_rule
    END,
    severity = CASE
        WHEN stored.severity = 'critical' OR excluded.severity = 'critical' THEN 'critical'
        WHEN stored.severity = 'high' OR excluded.severity = 'high' THEN 'high'
        ELSE stored.severity
    END,
    nist_controls = ARRAY(
        SELECT DISTINCT c
        FROM unnest(stored.nist_controls || excluded.nist_controls) AS c
        ORDER BY c
    ),
    cui_involved = stored.cui_involved IS TRUE OR excluded.cui_involved,
    dfars_reportable = stored.dfars_reportable IS TRUE OR excluded.dfars_reportable,
    updated_at = now()
RETURNING incident_id, (xmax = 0) AS "new!"
