-- Counts what the compliance program did and left undone.
--
-- $1 now, $2 the start of the period

WITH failed AS (
    SELECT
        control_id,
        coalesce(bool_or(p.status IN ('open', 'in_progress')), false) AS planned
    FROM (
        SELECT DISTINCT control_id
        FROM blueteam.compliance_objectives
        WHERE finding = 'not_met'
    ) o
    LEFT JOIN blueteam.poam_items p USING (control_id)
    GROUP BY control_id
)
SELECT
    (SELECT count(*) FROM blueteam.compliance_objectives) AS "objectives!",
    (
        SELECT count(*)
        FROM blueteam.compliance_objectives
        WHERE finding <> 'not_assessed'
          AND decided_at > $1::timestamptz - interval '366 days'
    ) AS "decided!",
    (SELECT count(*) FROM failed) AS "not_met!",
    (SELECT count(*) FROM failed WHERE NOT planned) AS "unplanned!",
    (
        SELECT count(*)
        FROM blueteam.poam_items
        WHERE status IN ('open', 'in_progress') AND scheduled_completion < $1
    ) AS "overdue!",
    (
        SELECT count(*) FROM blueteam.poam_items WHERE actual_completion >= $2
    ) AS "completed!",
    (
        SELECT count(*)
        FROM blueteam.compliance_evidence
        WHERE check_id IS NOT NULL AND collected_at >= $2
    ) + (
        SELECT count(*) FROM blueteam.evidence_confirmations WHERE confirmed_at >= $2
    ) AS "checks!",
    (
        SELECT count(*)
        FROM blueteam.compliance_evidence
        WHERE state = 'final' AND valid_until <= $1 AND check_id IS NULL
    ) AS "lapsed!",
    (SELECT count(*) FROM blueteam.event_searches WHERE asked_at >= $2) AS "queries!",
    (
        SELECT max(approved_at)
        FROM blueteam.compliance_evidence
        WHERE form = 'review' AND state = 'final' AND approved_at <= $1
    ) AS "review: Ts",
    (
        SELECT max(approved_at)
        FROM blueteam.compliance_evidence e
        WHERE state = 'final'
          AND evidence_type = 'policy_doc'
          AND check_id IS NULL
          AND form IS NULL
          AND coalesce(trim(approved_by), '') <> ''
          AND approved_at <= $1
          AND (valid_until IS NULL OR valid_until > $1)
          AND CASE
              WHEN EXISTS (
                  SELECT
                  FROM blueteam.evidence_objectives o
                  WHERE o.evidence_id = e.evidence_id
              )
                  THEN EXISTS (
                      SELECT
                      FROM blueteam.evidence_objectives o
                      WHERE o.evidence_id = e.evidence_id AND objective_id LIKE '3.12.4[%'
                  )
              ELSE control_id = '3.12.4'
          END
    ) AS "plan: Ts"
