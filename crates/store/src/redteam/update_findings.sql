UPDATE blueteam.redteam_findings AS f
SET
    title = new.title, severity = new.severity, location = new.location, area = new.area,
    check_group = new.check_group, cwes = new.cwes, cves = new.cves, controls = new.controls,
    detail = new.detail, instances = new.instances, state = new.state, last_run = new.last_run,
    gone_run = new.gone_run, came_back = new.came_back
FROM jsonb_to_recordset($1) AS new (
    finding_id uuid, title text, severity text, location text, area text, check_group text,
    cwes integer[], cves text[], controls text[], detail text, instances integer, state text,
    last_run uuid, gone_run uuid, came_back integer
)
WHERE f.finding_id = new.finding_id AND f.tenant_id = (SELECT blueteam.tenant_of_new())
