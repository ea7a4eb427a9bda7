-- Selects the newest result of a check with its last confirmation.
--
-- $1 check

SELECT
    e.evidence_id,
    collected_at AS "collected_at: Ts",
    facts_sha256,
    coalesce(confirmed.n, 0) AS "n!",
    coalesce(confirmed.sha256, e.sha256) AS last_sha256
FROM blueteam.compliance_evidence e
LEFT JOIN LATERAL (
    SELECT n, sha256
    FROM blueteam.evidence_confirmations c
    WHERE c.evidence_id = e.evidence_id
    ORDER BY n DESC
    LIMIT 1
) confirmed ON true
WHERE check_id = $1
ORDER BY seq DESC
LIMIT 1
