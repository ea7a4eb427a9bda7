-- Writes what was found in the inventory and returns the number of matches that need an alert:
-- new ones, those that are open again, those whose severity rose, and those that attackers have
-- begun to use.
--
-- $1 the findings, as a JSON array

WITH best AS (
    SELECT DISTINCT ON (vulnerability, inventory, ecosystem, name, version) *
    FROM jsonb_to_recordset($1) AS f (
        vulnerability text,
        feed text,
        advisory_id text,
        inventory text,
        ecosystem text,
        name text,
        version text,
        confidence text,
        severity text,
        exploited boolean,
        fixed_in text
    )
    ORDER BY
        vulnerability,
        inventory,
        ecosystem,
        name,
        version,
        confidence,
        exploited DESC,
        array_position(ARRAY['critical', 'high', 'unknown', 'medium', 'low', 'info'], severity),
        fixed_in NULLS LAST
),
written AS (
    INSERT INTO blueteam.advisory_matches AS m (
        vulnerability,
        feed,
        advisory_id,
        inventory,
        ecosystem,
        name,
        version,
        confidence,
        severity,
        exploited,
        fixed_in
    )
    SELECT *
    FROM best
    ON CONFLICT (tenant_id, vulnerability, inventory, ecosystem, name, version) DO UPDATE
    SET
        feed = excluded.feed,
        advisory_id = excluded.advisory_id,
        confidence = excluded.confidence,
        severity = excluded.severity,
        exploited = excluded.exploited,
        fixed_in = excluded.fixed_in,
        updated_at = now(),
        state = CASE WHEN m.state = 'closed' THEN 'open' ELSE m.state END,
        alert_id = CASE
            WHEN m.state = 'closed'
            OR excluded.exploited AND NOT m.exploited
            OR array_position(
                ARRAY['critical', 'high', 'unknown', 'medium', 'low', 'info'],
                excluded.severity
            ) < array_position(
                ARRAY['critical', 'high', 'unknown', 'medium', 'low', 'info'],
                m.severity
            )
                THEN NULL
            ELSE m.alert_id
        END,
        resolution = NULL
    WHERE (
        m.state <> 'closed'
        AND (
            m.feed,
            m.advisory_id,
            m.confidence,
            m.severity,
            m.exploited,
            m.fixed_in
        ) IS DISTINCT FROM (
            excluded.feed,
            excluded.advisory_id,
            excluded.confidence,
            excluded.severity,
            excluded.exploited,
            excluded.fixed_in
        )
    )
       OR m.resolution = 'gone'
       OR (
           m.resolution = 'fixed'
           AND m.decided_at < (
               SELECT s.imported_at
               FROM blueteam.advisory_sources s
               WHERE s.tenant_id = m.tenant_id AND s.kind = 'inventory' AND s.name = m.inventory
           )
       )
    RETURNING alert_id
)
SELECT count(*) FILTER (WHERE alert_id IS NULL) AS "new!"
FROM written
