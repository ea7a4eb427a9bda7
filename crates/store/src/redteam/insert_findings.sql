INSERT INTO blueteam.redteam_findings (
    finding_id, fingerprint, tool, target, rule, title, severity, location, area, check_group,
    is_of_module, cwes, cves, controls, detail, instances, state, first_run, last_run, gone_run
)
SELECT
    finding_id, fingerprint, tool, target, rule, title, severity, location, area, check_group,
    is_of_module, cwes, cves, controls, detail, instances, state, first_run, last_run, gone_run
FROM jsonb_to_recordset($1) AS new (
    finding_id uuid, fingerprint text, tool text, target text, rule text, title text,
    severity text, location text, area text, check_group text, is_of_module boolean,
    cwes integer[], cves text[], controls text[], detail text, instances integer, state text,
    first_run uuid, last_run uuid, gone_run uuid
)
