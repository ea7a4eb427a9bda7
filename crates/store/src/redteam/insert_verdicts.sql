INSERT INTO blueteam.redteam_verdicts (
    run_id, name, variant, controls, severity, verdict, evidence, requests, unknown
)
SELECT
    run_id, name, variant, controls, severity, verdict, evidence, requests,
    coalesce(unknown, 'null')
FROM jsonb_to_recordset($1) AS new (
    run_id uuid, name text, variant text, controls text[], severity text, verdict text,
    evidence text, requests bigint, unknown jsonb
)
