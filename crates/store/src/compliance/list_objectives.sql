-- Lists the objectives with the number of pieces of evidence that support them: valid, lapsed and
-- drafts.
--
-- $1 now

WITH newest_result AS MATERIALIZED (
    SELECT evidence_id, control_id, valid_until
    FROM blueteam.latest_results
    JOIN blueteam.compliance_evidence USING (evidence_id)
    WHERE state = 'final'
),
result_support AS MATERIALIZED (
    SELECT
        x.objective_id,
        count(*) FILTER (WHERE valid_until <= $1) AS lapsed,
        count(*) FILTER (WHERE valid_until IS NULL OR valid_until > $1) AS valid
    FROM newest_result
    JOIN blueteam.evidence_objectives x USING (evidence_id)
    GROUP BY x.objective_id
)
SELECT
    o.objective_id,
    control_id,
    finding,
    reason,
    methods,
    decided_by,
    decided_at AS "decided_at: Ts",
    proposed,
    proposed_reason,
    proposed_by,
    proposed_at AS "proposed_at: Ts",
    coalesce(document.valid, 0) + coalesce(result.valid, 0) AS "valid!",
    coalesce(document.drafts, 0) AS "drafts!",
    coalesce(document.lapsed, 0) + CASE
        WHEN result.objective_id IS NOT NULL THEN result.lapsed
        -- A check supported it once and no longer does: that support has lapsed.
        WHEN control_id IN (SELECT control_id FROM newest_result)
        AND (
            SELECT true
            FROM blueteam.evidence_objectives x
            JOIN blueteam.compliance_evidence e USING (evidence_id)
            WHERE x.objective_id = o.objective_id AND check_id IS NOT NULL
            LIMIT 1
        )
            THEN 1
        ELSE 0
    END AS "lapsed!"
FROM blueteam.compliance_objectives o
LEFT JOIN (
    SELECT
        x.objective_id,
        count(*) FILTER (WHERE state = 'draft') AS drafts,
        count(*) FILTER (WHERE state = 'final' AND valid_until <= $1) AS lapsed,
        count(*) FILTER (
            WHERE state = 'final' AND (valid_until IS NULL OR valid_until > $1)
        ) AS valid
    FROM blueteam.compliance_evidence e
    -- Row by row: documents are few beside what checks support. OFFSET 0 keeps the planner from
    -- joining all rows.
    CROSS JOIN LATERAL (
        SELECT objective_id
        FROM blueteam.evidence_objectives o
        WHERE o.evidence_id = e.evidence_id
        OFFSET 0
    ) x
    WHERE check_id IS NULL
    GROUP BY x.objective_id
) document USING (objective_id)
LEFT JOIN result_support result USING (objective_id)
ORDER BY o.objective_id
