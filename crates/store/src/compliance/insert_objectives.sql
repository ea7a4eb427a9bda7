-- Inserts the objectives that are not there yet. What the status of a requirement said when the
-- database was adopted becomes a proposal.
--
-- $1 objective IDs

INSERT INTO blueteam.compliance_objectives (
    objective_id,
    control_id,
    proposed,
    proposed_reason,
    proposed_by,
    proposed_at
)
SELECT
    objective,
    c.control_id,
    adopted.finding,
    adopted.reason,
    adopted.by,
    adopted.at
FROM unnest($1::text[]) AS objective
JOIN blueteam.compliance_controls c
    ON c.tenant_id = (SELECT blueteam.tenant_of_new())
   AND c.control_id = split_part(objective, '[', 1)
LEFT JOIN LATERAL (
    SELECT
        CASE c.status
            WHEN 'implemented' THEN 'met'
            WHEN 'not_applicable' THEN 'not_applicable'
            ELSE 'not_met'
        END AS finding,
        'status of the requirement when the database was adopted: ' || c.status AS reason,
        'adoption' AS by,
        now() AS at
    WHERE c.status <> 'not_assessed'
) adopted ON true
ON CONFLICT (tenant_id, objective_id) DO NOTHING
