-- Lists evidence by the time it was collected, or pages of it by ID.
--
-- $1 control, $2 evidence, $3 whether only the latest result of each check counts, $4 whether
-- content and facts are left out, $5 the last ID of the page before, $6 pieces a page

SELECT
    e.evidence_id,
    control_id,
    evidence_type,
    description,
    CASE WHEN NOT $4 THEN content END AS content,
    file_path,
    file_name,
    size_bytes,
    sha256,
    collected_at AS "collected_at: Ts",
    collected_by,
    effective_at AS "effective_at: Ts",
    valid_until AS "valid_until: Ts",
    owner,
    approved_by,
    approved_at AS "approved_at: Ts",
    refused_by,
    refused_at AS "refused_at: Ts",
    refused_reason,
    retain_until AS "retain_until: Ts",
    CASE WHEN NOT $4 THEN facts END AS facts,
    check_id,
    facts_sha256,
    form IS NOT NULL AS "review!",
    form,
    (
        SELECT max(confirmed_at)
        FROM blueteam.evidence_confirmations c
        WHERE c.evidence_id = e.evidence_id
    ) AS "confirmed: Ts",
    ARRAY(
        SELECT objective_id
        FROM blueteam.evidence_objectives o
        WHERE o.evidence_id = e.evidence_id
        ORDER BY 1
    ) AS "objectives!"
FROM (
    SELECT evidence_id
    FROM blueteam.compliance_evidence
    WHERE NOT $3 OR check_id IS NULL
    UNION ALL
    SELECT evidence_id
    FROM blueteam.latest_results
    WHERE $3
) chosen
JOIN blueteam.compliance_evidence e USING (evidence_id)
WHERE (
    $1::text IS NULL
    OR control_id = $1
    OR EXISTS (
        SELECT
        FROM blueteam.evidence_objectives o
        WHERE o.evidence_id = e.evidence_id AND split_part(objective_id, '[', 1) = $1
    )
)
  AND ($2::uuid IS NULL OR e.evidence_id = $2)
  AND ($5::uuid IS NULL OR e.evidence_id > $5)
ORDER BY CASE WHEN $5::uuid IS NULL THEN collected_at END, e.evidence_id
LIMIT CASE WHEN $5::uuid IS NOT NULL THEN $6::bigint END
