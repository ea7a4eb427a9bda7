-- Opens incidents, or extends those that are open for the same entities and sources.
--
-- $1 the alerts that they are about, each entity of a source once, as an array of objects;
-- $2 most services

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
    source,
    services
)
SELECT
    title,
    description,
    severity,
    'correlation_rule',
    rule_id,
    nist_controls,
    cui_involved,
    cui_involved,
    entity_type,
    entity_value,
    source,
    services
FROM jsonb_to_recordset($1) AS given (
    title text,
    description text,
    severity text,
    rule_id text,
    nist_controls text[],
    cui_involved boolean,
    entity_type text,
    entity_value text,
    source text,
    services text[]
)
ON CONFLICT (tenant_id, source, entity_type, entity_value) WHERE status <> 'closed' DO UPDATE
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
    services = CASE
        WHEN stored.services @> excluded.services OR cardinality(stored.services)::bigint >= $2
            THEN stored.services
        ELSE ARRAY(
            SELECT DISTINCT s
            FROM unnest(stored.services || excluded.services) AS s
            ORDER BY s
            LIMIT $2
        )
    END,
    updated_at = now()
RETURNING
    incident_id,
    (xmax = 0) AS "new!",
    source AS "source!",
    entity_type AS "entity_type!",
    entity_value AS "entity_value!"
