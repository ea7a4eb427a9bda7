-- Reports of red teams and scanners (3.11.2, 3.12.1; decision 0061): runs, what came of their modules, and what they found. A finding
-- is the same in every run that lists it; a run proposes what is gone, and a person decides.

CREATE TABLE blueteam.redteam_runs (
    run_id       uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    format       text NOT NULL CHECK (length(format) BETWEEN 1 AND 50),
    tool         text NOT NULL CHECK (length(tool) BETWEEN 1 AND 200),
    version      text CHECK (length(version) <= 200),
    tool_run     text CHECK (length(tool_run) <= 200),
    target       text NOT NULL CHECK (length(target) <= 1000),
    subject      text NOT NULL CHECK (length(subject) <= 1000),
    scope        jsonb NOT NULL,
    started_at   timestamptz,
    ended_at     timestamptz,
    ran_at       timestamptz NOT NULL,
    imported_at  timestamptz NOT NULL DEFAULT now(),
    imported_by  text NOT NULL DEFAULT '',
    file_name    text NOT NULL CHECK (length(file_name) BETWEEN 1 AND 300),
    sha256       text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    items        integer NOT NULL CHECK (items >= 0),
    changes      jsonb NOT NULL,
    seen         uuid[] NOT NULL,
    unknown      jsonb NOT NULL DEFAULT 'null',
    CHECK (ran_at <= imported_at)
);
SELECT blueteam.separate_tenants('blueteam.redteam_runs');
ALTER TABLE blueteam.redteam_runs ADD CONSTRAINT redteam_runs_file UNIQUE (tenant_id, sha256);
CREATE INDEX redteam_runs_of_tenant ON blueteam.redteam_runs (tenant_id, ran_at);
COMMENT ON TABLE blueteam.redteam_runs IS 'Runs of red teams and scanners whose reports were imported';
COMMENT ON COLUMN blueteam.redteam_runs.run_id IS 'Identity';
COMMENT ON COLUMN blueteam.redteam_runs.format IS 'The format of the report';
COMMENT ON COLUMN blueteam.redteam_runs.tool IS 'What wrote it';
COMMENT ON COLUMN blueteam.redteam_runs.version IS 'The version of the tool';
COMMENT ON COLUMN blueteam.redteam_runs.tool_run IS 'What the tool calls the run';
COMMENT ON COLUMN blueteam.redteam_runs.target IS 'What was looked at, where it has a name';
COMMENT ON COLUMN blueteam.redteam_runs.subject IS 'What was looked at, in words';
COMMENT ON COLUMN blueteam.redteam_runs.scope IS 'How far it was looked at: whether to the end, which parts, for what';
COMMENT ON COLUMN blueteam.redteam_runs.started_at IS 'When the run began, as the report says';
COMMENT ON COLUMN blueteam.redteam_runs.ended_at IS 'When the run ended, as the report says';
COMMENT ON COLUMN blueteam.redteam_runs.ran_at IS 'When the run was: as the report says, and not after the import';
COMMENT ON COLUMN blueteam.redteam_runs.imported_at IS 'When the report was imported';
COMMENT ON COLUMN blueteam.redteam_runs.imported_by IS 'Who imported it';
COMMENT ON COLUMN blueteam.redteam_runs.file_name IS 'What the file was called';
COMMENT ON COLUMN blueteam.redteam_runs.sha256 IS 'Hash of the file; a file is imported once';
COMMENT ON COLUMN blueteam.redteam_runs.items IS 'How much the report lists, before what is the same is put together';
COMMENT ON COLUMN blueteam.redteam_runs.changes IS 'How many findings were new, gone, back, still there or out of scope';
COMMENT ON COLUMN blueteam.redteam_runs.seen IS 'The findings that it lists (redteam_findings)';
COMMENT ON COLUMN blueteam.redteam_runs.unknown IS 'Fields of the report that this version does not know';

CREATE TABLE blueteam.redteam_verdicts (
    verdict_id   uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    run_id       uuid NOT NULL REFERENCES blueteam.redteam_runs,
    name         text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    variant      text NOT NULL CHECK (length(variant) <= 200),
    controls     text[] NOT NULL,
    severity     text NOT NULL CHECK (severity IN ('info', 'low', 'medium', 'high', 'critical')),
    verdict      text NOT NULL CHECK (verdict IN ('vulnerable', 'not_vulnerable', 'inconclusive', 'error')),
    evidence     text NOT NULL CHECK (length(evidence) <= 2000),
    requests     bigint CHECK (requests >= 0),
    unknown      jsonb NOT NULL DEFAULT 'null'
);
SELECT blueteam.separate_tenants('blueteam.redteam_verdicts');
CREATE INDEX redteam_verdicts_of_run ON blueteam.redteam_verdicts (run_id);
COMMENT ON TABLE blueteam.redteam_verdicts IS 'What came of a module of a run';
COMMENT ON COLUMN blueteam.redteam_verdicts.verdict_id IS 'Identity';
COMMENT ON COLUMN blueteam.redteam_verdicts.run_id IS 'Of which run';
COMMENT ON COLUMN blueteam.redteam_verdicts.name IS 'The module';
COMMENT ON COLUMN blueteam.redteam_verdicts.variant IS 'Its variant; empty without one';
COMMENT ON COLUMN blueteam.redteam_verdicts.controls IS 'Requirements that it tests';
COMMENT ON COLUMN blueteam.redteam_verdicts.severity IS 'How bad it is where it is vulnerable';
COMMENT ON COLUMN blueteam.redteam_verdicts.verdict IS '`vulnerable`, `not_vulnerable`, `inconclusive`, `error`';
COMMENT ON COLUMN blueteam.redteam_verdicts.evidence IS 'What proves it';
COMMENT ON COLUMN blueteam.redteam_verdicts.requests IS 'How many requests it made';
COMMENT ON COLUMN blueteam.redteam_verdicts.unknown IS 'Fields that this version does not know';

CREATE TABLE blueteam.redteam_findings (
    finding_id   uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    fingerprint  text NOT NULL CHECK (fingerprint ~ '^[0-9a-f]{64}$'),
    tool         text NOT NULL CHECK (length(tool) BETWEEN 1 AND 200),
    target       text NOT NULL CHECK (length(target) <= 1000),
    rule         text NOT NULL CHECK (length(rule) <= 200),
    title        text NOT NULL CHECK (length(title) BETWEEN 1 AND 300),
    severity     text NOT NULL CHECK (severity IN ('info', 'low', 'medium', 'high', 'critical')),
    location     text NOT NULL CHECK (length(location) <= 1000),
    area         text NOT NULL CHECK (length(area) <= 1000),
    check_group  text NOT NULL CHECK (length(check_group) <= 200),
    is_of_module boolean NOT NULL,
    cwes         integer[] NOT NULL,
    cves         text[] NOT NULL,
    controls     text[] NOT NULL,
    detail       text NOT NULL CHECK (length(detail) <= 2000),
    instances    integer NOT NULL CHECK (instances > 0),
    state        text NOT NULL CHECK (state IN ('open', 'gone_proposed', 'closed', 'accepted')),
    first_run    uuid NOT NULL REFERENCES blueteam.redteam_runs,
    last_run     uuid NOT NULL REFERENCES blueteam.redteam_runs,
    gone_run     uuid REFERENCES blueteam.redteam_runs,
    came_back    integer NOT NULL DEFAULT 0 CHECK (came_back >= 0),
    decided_by   text,
    decided_at   timestamptz,
    reason       text CHECK (length(trim(reason)) BETWEEN 3 AND 2000),
    plans        uuid[] NOT NULL DEFAULT '{}',
    CHECK (state IN ('open', 'gone_proposed') OR num_nonnulls(decided_by, decided_at, reason) = 3)
);
SELECT blueteam.separate_tenants('blueteam.redteam_findings');
ALTER TABLE blueteam.redteam_findings ADD CONSTRAINT redteam_findings_key UNIQUE (tenant_id, fingerprint);
CREATE INDEX redteam_findings_of_target ON blueteam.redteam_findings (tenant_id, tool, target);
COMMENT ON TABLE blueteam.redteam_findings IS 'What red teams and scanners found, each thing once';
COMMENT ON COLUMN blueteam.redteam_findings.finding_id IS 'Identity';
COMMENT ON COLUMN blueteam.redteam_findings.fingerprint IS 'What makes it the same finding in another run';
COMMENT ON COLUMN blueteam.redteam_findings.tool IS 'What found it';
COMMENT ON COLUMN blueteam.redteam_findings.target IS 'In what, as in redteam_runs';
COMMENT ON COLUMN blueteam.redteam_findings.rule IS 'The rule, template, plugin or module that found it';
COMMENT ON COLUMN blueteam.redteam_findings.title IS 'In one line';
COMMENT ON COLUMN blueteam.redteam_findings.severity IS '`info`, `low`, `medium`, `high`, `critical`';
COMMENT ON COLUMN blueteam.redteam_findings.location IS 'Where it is';
COMMENT ON COLUMN blueteam.redteam_findings.area IS 'The part of the target that it is in';
COMMENT ON COLUMN blueteam.redteam_findings.check_group IS 'The part of the checks that finds it';
COMMENT ON COLUMN blueteam.redteam_findings.is_of_module IS 'Whether a module of a red team found it';
COMMENT ON COLUMN blueteam.redteam_findings.cwes IS 'CWE numbers';
COMMENT ON COLUMN blueteam.redteam_findings.cves IS 'CVE IDs';
COMMENT ON COLUMN blueteam.redteam_findings.controls IS 'Requirements that it concerns';
COMMENT ON COLUMN blueteam.redteam_findings.detail IS 'The explanation of the tool, or what proves it';
COMMENT ON COLUMN blueteam.redteam_findings.instances IS 'How often the last run lists it';
COMMENT ON COLUMN blueteam.redteam_findings.state IS '`open`, `gone_proposed`, `closed`, `accepted`';
COMMENT ON COLUMN blueteam.redteam_findings.first_run IS 'The run that first listed it';
COMMENT ON COLUMN blueteam.redteam_findings.last_run IS 'The run that last listed it';
COMMENT ON COLUMN blueteam.redteam_findings.gone_run IS 'The run that looked for it and did not list it';
COMMENT ON COLUMN blueteam.redteam_findings.came_back IS 'How often it came back after it was gone: a regression';
COMMENT ON COLUMN blueteam.redteam_findings.decided_by IS 'Who closed or accepted it';
COMMENT ON COLUMN blueteam.redteam_findings.decided_at IS 'When that was';
COMMENT ON COLUMN blueteam.redteam_findings.reason IS 'Why';
COMMENT ON COLUMN blueteam.redteam_findings.plans IS 'Plans of action that it opened (poam_items)';

-- Who imports and who decides is whoever acts, whatever the row says; what was found stays what it is.
CREATE FUNCTION blueteam.stamp_redteam() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_TABLE_NAME = 'redteam_runs' THEN
        NEW.imported_by := blueteam.recorded_actor();
        NEW.imported_at := now();
        -- A run of the future would be later than all that come after it.
        NEW.ran_at := least(NEW.ran_at, NEW.imported_at);
        RETURN NEW;
    END IF;
    IF TG_OP = 'INSERT' AND NEW.state IN ('closed', 'accepted') THEN
        RAISE EXCEPTION 'a finding is not decided before it is there' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF (NEW.finding_id, NEW.fingerprint, NEW.tool, NEW.target, NEW.first_run)
           IS DISTINCT FROM (OLD.finding_id, OLD.fingerprint, OLD.tool, OLD.target, OLD.first_run)
           OR NEW.came_back < OLD.came_back THEN
            RAISE EXCEPTION 'finding % stays what it is', OLD.finding_id USING ERRCODE = 'insufficient_privilege';
        END IF;
        IF NEW.state IN ('closed', 'accepted') AND NEW.state IS DISTINCT FROM OLD.state THEN
            NEW.decided_by := blueteam.recorded_actor();
            NEW.decided_at := now();
        ELSE
            NEW.decided_by := OLD.decided_by;
            NEW.decided_at := OLD.decided_at;
        END IF;
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION blueteam.stamp_redteam() IS 'says who imported a report and who decided about a finding';
REVOKE ALL ON FUNCTION blueteam.stamp_redteam() FROM PUBLIC;
CREATE TRIGGER stamp BEFORE INSERT ON blueteam.redteam_runs FOR EACH ROW EXECUTE FUNCTION blueteam.stamp_redteam();
CREATE TRIGGER stamp BEFORE INSERT OR UPDATE ON blueteam.redteam_findings
    FOR EACH ROW EXECUTE FUNCTION blueteam.stamp_redteam();
ALTER TABLE blueteam.redteam_runs ENABLE ALWAYS TRIGGER stamp;
ALTER TABLE blueteam.redteam_findings ENABLE ALWAYS TRIGGER stamp;

-- What a run lists, as events of source `redteam`. A definer's, because who imports a report writes no other event. A second call
-- writes nothing. A run that was long ago counts from its import: the oldest event shows how long events are kept.
CREATE FUNCTION blueteam.write_redteam_events(run_param uuid) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH written AS (
        INSERT INTO blueteam.log_events (event_id, timestamp, source, category, action, result, resource_type, resource_id, metadata,
                                         tenant_id)
        SELECT encode(substr(sha256(convert_to(r.run_id || ' ' || f.finding_id, 'UTF8')), 1, 16), 'hex')::uuid,
               CASE WHEN r.ran_at > r.imported_at - interval '7 days' THEN r.ran_at ELSE r.imported_at END,
               'redteam', 'system', 'weakness_reported', 'failure', 'redteam_finding', f.finding_id::text,
               jsonb_build_object('run_id', r.run_id, 'ran_at', r.ran_at, 'tool', r.tool, 'target', r.target, 'rule', f.rule,
                                  'title', f.title, 'severity', f.severity, 'location', f.location, 'controls', f.controls,
                                  'state', f.state, 'came_back', f.came_back),
               r.tenant_id
          FROM blueteam.redteam_runs AS r
         CROSS JOIN LATERAL unnest(r.seen) AS s (finding_id)
          JOIN blueteam.redteam_findings AS f ON f.finding_id = s.finding_id AND f.tenant_id = r.tenant_id
         WHERE r.run_id = run_param AND r.tenant_id = blueteam.tenant_of_new()
        ON CONFLICT DO NOTHING
        RETURNING 1)
    SELECT count(*) FROM written
$$;
COMMENT ON FUNCTION blueteam.write_redteam_events(uuid) IS 'writes what a run of a red team lists as events, once';
REVOKE ALL ON FUNCTION blueteam.write_redteam_events(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION blueteam.write_redteam_events(uuid) TO blueteam_admin, blueteam_engine;

SELECT audit.track('blueteam.redteam_runs', 'SYSTEM');
SELECT audit.track_in_bulk('blueteam.redteam_verdicts', 'SYSTEM');
SELECT audit.track_in_bulk('blueteam.redteam_findings', 'SYSTEM', '{last_run,instances}');

GRANT SELECT ON blueteam.redteam_runs, blueteam.redteam_verdicts, blueteam.redteam_findings
   TO blueteam_admin, blueteam_engine, blueteam_reader;
GRANT INSERT (run_id, format, tool, version, tool_run, target, subject, scope, started_at, ended_at, ran_at, file_name, sha256, items,
              changes, seen, unknown)
   ON blueteam.redteam_runs TO blueteam_admin, blueteam_engine;
GRANT INSERT (run_id, name, variant, controls, severity, verdict, evidence, requests, unknown)
   ON blueteam.redteam_verdicts TO blueteam_admin, blueteam_engine;
GRANT INSERT (finding_id, fingerprint, tool, target, rule, title, severity, location, area, check_group, is_of_module, cwes, cves,
              controls, detail, instances, state, first_run, last_run, gone_run),
      UPDATE (title, severity, location, area, check_group, cwes, cves, controls, detail, instances, state, last_run, gone_run,
              came_back, reason, plans)
   ON blueteam.redteam_findings TO blueteam_admin, blueteam_engine;
