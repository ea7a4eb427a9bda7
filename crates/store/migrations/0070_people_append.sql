-- People's role appends decisions and changes states through functions that record who acts, when and why. What it may still
-- change by a plain statement is tracked in audit.audit_log, column by column; nobody but the owner deletes an incident, its
-- evidence, an alert, a score or an account (3.3.8, 3.3.9).

-- For whom somebody acts stands beside who acts.
CREATE OR REPLACE FUNCTION audit.record_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    who      text  := coalesce(nullif(current_setting('blueteam.actor', true), ''), session_user);
    who_id   uuid  := CASE WHEN who ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' THEN who::uuid END;
    mail     text  := (SELECT u.email FROM users.users u WHERE u.user_id = who_id OR u.username = who OR u.email = who LIMIT 1);
    keys     text[] := string_to_array(TG_ARGV[1], ',');
    quiet    text[] := string_to_array(TG_ARGV[2], ',');
    before   jsonb;
    after    jsonb;
    address  text  := nullif(current_setting('blueteam.address', true), '');
    agent    text  := nullif(current_setting('blueteam.user_agent', true), '');
    context  jsonb := jsonb_build_object('table', TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, 'operation', TG_OP,
                                         'login', session_user, 'transaction', pg_current_xact_id()::text)
        || jsonb_strip_nulls(jsonb_build_object(
               'via', nullif(current_setting('blueteam.via', true), ''),
               'on_behalf_of', nullif(current_setting('blueteam.on_behalf_of', true), ''),
               'tenant', nullif(current_setting('blueteam.tenant', true), ''),
               'session', nullif(current_setting('blueteam.session', true), ''),
               'host', nullif(current_setting('blueteam.host', true), ''),
               'terminal', nullif(current_setting('blueteam.terminal', true), ''),
               'account', nullif(current_setting('blueteam.account', true), '')));
BEGIN
    who_id := coalesce((SELECT u.user_id FROM users.users u WHERE u.username = who OR u.email = who LIMIT 1), who_id);
    IF TG_OP = 'TRUNCATE' THEN
        EXECUTE format(
            'INSERT INTO audit.audit_log (user_id, user_email, actor, action, resource_type, resource_id, old_value, metadata,
                                          ip_address, user_agent)
             SELECT $1, $2, $3, ''DELETE'', $4::audit.audit_resource_type,
                    left((SELECT string_agg(r.j ->> k, '','' ORDER BY n) FROM unnest($5) WITH ORDINALITY AS u(k, n)), 255),
                    audit.redact(r.j, NULL), $6, $7, $8
               FROM (SELECT to_jsonb(t) AS j FROM %I.%I t) r', TG_TABLE_SCHEMA, TG_TABLE_NAME)
            USING who_id, mail, who, TG_ARGV[0], keys, context, address, agent;
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN before := to_jsonb(OLD); END IF;
    IF TG_OP <> 'DELETE' THEN after := to_jsonb(NEW); END IF;
    IF TG_OP = 'UPDATE' AND before - quiet = after - quiet THEN
        RETURN NULL;
    END IF;
    INSERT INTO audit.audit_log (user_id, user_email, actor, action, resource_type, resource_id, old_value, new_value, metadata,
                                 ip_address, user_agent)
    SELECT who_id, mail, who,
           (CASE TG_OP WHEN 'INSERT' THEN 'CREATE' ELSE TG_OP END)::audit.audit_action,
           TG_ARGV[0]::audit.audit_resource_type,
           left((SELECT string_agg(coalesce(after, before) ->> k, ',' ORDER BY n) FROM unnest(keys) WITH ORDINALITY AS u (k, n)), 255),
           audit.redact(before, after), audit.redact(after, before), context, address, agent;
    RETURN NULL;
END $$;

-- Who acts, as records name it: the actor of the transaction or the database login, and for whom.
CREATE FUNCTION blueteam.recorded_actor() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(nullif(current_setting('blueteam.actor', true), ''), session_user)
        || coalesce(', on behalf of ' || nullif(current_setting('blueteam.on_behalf_of', true), ''), '')
$$;

-- When somebody acts: as the caller's clock has it, which later reads are compared with, unless that is minutes off the server's.
-- No act is dated back.
CREATE FUNCTION blueteam.act_time(at timestamptz) RETURNS timestamptz
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN at BETWEEN clock_timestamp() - interval '5 minutes' AND clock_timestamp() + interval '5 minutes' THEN at
                ELSE clock_timestamp() END
$$;

-- Somebody has seen an alert; the first to see it stays on record. False when there is no such alert.
CREATE FUNCTION blueteam.acknowledge_alert(alert uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM blueteam.alert_history WHERE alert_id = alert FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE blueteam.alert_history
       SET acknowledged = true, acknowledged_by = blueteam.recorded_actor(), acknowledged_at = now()
     WHERE alert_id = alert AND acknowledged IS NOT TRUE;
    RETURN true;
END $$;

-- Decides findings, each with its reason; returns the objectives that there are. objective_history keeps each decision.
CREATE FUNCTION blueteam.decide_objectives(ids text[], findings text[], reasons text[], ways text[], at timestamptz)
RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- In one order, whoever else decides at the same time: two sheets would wait for each other without end.
    PERFORM FROM blueteam.compliance_controls
      WHERE control_id IN (SELECT split_part(o, '[', 1) FROM unnest(ids) o) ORDER BY control_id FOR UPDATE;
    RETURN QUERY
        UPDATE blueteam.compliance_objectives o
           SET finding = d.finding, reason = d.reason, methods = string_to_array(d.ways, ' '),
               decided_by = blueteam.recorded_actor(), decided_at = blueteam.act_time(at), updated_at = now()
          FROM unnest(ids, findings, reasons, ways) AS d (id, finding, reason, ways)
         WHERE o.objective_id = d.id
        RETURNING o.objective_id;
END $$;

-- Takes a piece of evidence in, with the objectives that it supports: later nobody links it to others. Who collected it and who
-- approved it is who acts; of the result of a check, the check.
CREATE FUNCTION blueteam.add_evidence(piece jsonb, objectives text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    e        blueteam.compliance_evidence := jsonb_populate_record(NULL::blueteam.compliance_evidence, piece);
    is_final boolean := e.state = 'final';
BEGIN
    INSERT INTO blueteam.compliance_evidence (
        evidence_id, control_id, evidence_type, description, content, file_path, collected_at, automated, valid_until, file_name,
        media_type, size_bytes, sha256, effective_at, owner, collected_by, state, approved_by, approved_at, facts, check_id,
        facts_sha256, form)
    VALUES (
        e.evidence_id, e.control_id, e.evidence_type, e.description, e.content, e.file_path, e.collected_at,
        e.check_id IS NOT NULL, e.valid_until, e.file_name, e.media_type, e.size_bytes, e.sha256, e.effective_at,
        -- The owner of a check's result is who approved it as a baseline, later.
        CASE WHEN e.check_id IS NULL THEN e.owner END,
        coalesce(e.check_id, blueteam.recorded_actor()),
        CASE WHEN is_final THEN 'final' ELSE 'draft' END,
        CASE WHEN is_final THEN coalesce('check ' || e.check_id, blueteam.recorded_actor()) END,
        CASE WHEN is_final THEN blueteam.act_time(e.approved_at) END,
        e.facts, e.check_id, e.facts_sha256, e.form);
    INSERT INTO blueteam.evidence_objectives (evidence_id, objective_id) SELECT e.evidence_id, unnest(objectives);
END $$;

-- Makes a draft final. False when there is no such draft.
CREATE FUNCTION blueteam.approve_evidence(piece uuid, at timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE blueteam.compliance_evidence
       SET state = 'final', approved_by = blueteam.recorded_actor(), approved_at = blueteam.act_time(at)
     WHERE evidence_id = piece AND state = 'draft';
    RETURN FOUND;
END $$;

-- A check saw the same again: its result counts until then, and is kept for six years from now on.
CREATE FUNCTION blueteam.confirm_evidence(piece uuid, number integer, at timestamptz, hash text, until timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM blueteam.compliance_evidence WHERE evidence_id = piece AND check_id IS NOT NULL) THEN
        RAISE EXCEPTION 'evidence % is not the result of a check', piece USING ERRCODE = 'insufficient_privilege';
    END IF;
    INSERT INTO blueteam.evidence_confirmations (evidence_id, n, confirmed_at, confirmed_by, sha256)
    VALUES (piece, number, at, blueteam.recorded_actor(), hash);
    UPDATE blueteam.compliance_evidence
       SET valid_until = until, retain_until = greatest(retain_until, at + interval '6 years')
     WHERE evidence_id = piece;
END $$;

-- Makes the result of a check the baseline that later ones are compared with. False when it is no such result.
CREATE FUNCTION blueteam.approve_baseline(piece uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE blueteam.compliance_evidence SET owner = blueteam.recorded_actor()
     WHERE evidence_id = piece AND check_id IS NOT NULL;
    RETURN FOUND;
END $$;

-- Completes an item of a plan of action. False when there is no such item, or it is completed.
CREATE FUNCTION blueteam.close_plan(item uuid, evidence uuid, at timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE blueteam.poam_items
       SET status = 'completed', actual_completion = blueteam.act_time(at), closed_by = blueteam.recorded_actor(),
           closing_evidence = evidence, updated_at = now()
     WHERE poam_id = item AND status <> 'completed';
    RETURN FOUND;
END $$;

-- Has messages that were given up sent again: those, or all. Each gets an attempt that says who wanted it.
CREATE FUNCTION blueteam.resend_notifications(ids uuid[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    resent bigint;
BEGIN
    WITH again AS (
        UPDATE blueteam.notifications SET state = 'pending', attempts = 0, next_attempt_at = now()
         WHERE state = 'dead' AND (ids IS NULL OR delivery_id = ANY (ids))
        RETURNING delivery_id)
    INSERT INTO blueteam.notification_attempts (delivery_id, attempt, outcome, detail)
    SELECT delivery_id, 0, 'resent', left('by ' || blueteam.recorded_actor(), 1000) FROM again;
    GET DIAGNOSTICS resent = ROW_COUNT;
    RETURN resent;
END $$;

-- Every change of an incident's status that a person made.
CREATE TABLE blueteam.incident_history (
    change_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id uuid        NOT NULL REFERENCES blueteam.security_incidents ON DELETE RESTRICT,
    previous    text        NOT NULL,
    status      text        NOT NULL,
    reason      text        NOT NULL CHECK (length(trim(reason)) BETWEEN 3 AND 4000),
    changed_by  text        NOT NULL,
    login       text        NOT NULL DEFAULT session_user,
    changed_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX incident_history_by_incident ON blueteam.incident_history (incident_id, change_id);
SELECT audit.guard('blueteam.incident_history');
GRANT SELECT ON blueteam.incident_history TO blueteam_engine, blueteam_reader, blueteam_admin;

-- Moves an incident on to its next phases, or closes it: never back. False when it is not that far behind, or there is none.
CREATE FUNCTION blueteam.advance_incident(incident uuid, phase text, why text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    phases text[] := '{detected,analyzing,contained,eradicated,recovered,closed}';
    before text;
BEGIN
    SELECT status INTO before FROM blueteam.security_incidents WHERE incident_id = incident FOR UPDATE;
    IF before IS NULL OR array_position(phases, phase) <= array_position(phases, before) THEN
        RETURN false;
    END IF;
    INSERT INTO blueteam.incident_history (incident_id, previous, status, reason, changed_by)
    VALUES (incident, before, phase, why, blueteam.recorded_actor());
    UPDATE blueteam.security_incidents
       SET status = phase, updated_at = now(),
           contained_at = CASE phase WHEN 'contained' THEN now() ELSE contained_at END,
           eradicated_at = CASE phase WHEN 'eradicated' THEN now() ELSE eradicated_at END,
           recovered_at = CASE phase WHEN 'recovered' THEN now() ELSE recovered_at END,
           closed_at = CASE phase WHEN 'closed' THEN now() ELSE closed_at END
     WHERE incident_id = incident;
    RETURN true;
END $$;

REVOKE ALL ON FUNCTION blueteam.recorded_actor(), blueteam.act_time(timestamptz), blueteam.acknowledge_alert(uuid),
    blueteam.decide_objectives(text[], text[], text[], text[], timestamptz), blueteam.add_evidence(jsonb, text[]),
    blueteam.approve_evidence(uuid, timestamptz), blueteam.confirm_evidence(uuid, integer, timestamptz, text, timestamptz),
    blueteam.approve_baseline(uuid), blueteam.close_plan(uuid, uuid, timestamptz), blueteam.resend_notifications(uuid[]),
    blueteam.advance_incident(uuid, text, text)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION blueteam.acknowledge_alert(uuid),
    blueteam.decide_objectives(text[], text[], text[], text[], timestamptz), blueteam.add_evidence(jsonb, text[]),
    blueteam.approve_evidence(uuid, timestamptz), blueteam.confirm_evidence(uuid, integer, timestamptz, text, timestamptz),
    blueteam.approve_baseline(uuid), blueteam.close_plan(uuid, uuid, timestamptz), blueteam.resend_notifications(uuid[]),
    blueteam.advance_incident(uuid, text, text)
    TO blueteam_admin;

-- What the functions do is no plain statement any more, and machines' tables are machines'.
REVOKE INSERT, UPDATE, DELETE ON blueteam.alert_history, blueteam.notifications, blueteam.notification_attempts,
    blueteam.rate_limited_alerts, blueteam.evidence_objectives, blueteam.evidence_confirmations FROM blueteam_admin;
REVOKE INSERT, DELETE ON blueteam.compliance_evidence FROM blueteam_admin;
REVOKE INSERT (evidence_id, control_id, evidence_type, description, content, file_path, collected_at, automated, valid_until,
               file_name, media_type, size_bytes, sha256, effective_at, owner, collected_by, state, approved_by, approved_at, facts,
               check_id, facts_sha256, form),
       UPDATE (state, approved_by, approved_at, valid_until, owner, retain_until)
    ON blueteam.compliance_evidence FROM blueteam_admin;
-- The daemon runs the checks as people's role.
REVOKE INSERT (evidence_id, control_id, evidence_type, description, content, collected_at, automated, valid_until, media_type,
               size_bytes, sha256, effective_at, collected_by, state, approved_by, approved_at, facts, check_id, facts_sha256)
    ON blueteam.compliance_evidence FROM blueteam_engine;
REVOKE INSERT ON blueteam.evidence_objectives FROM blueteam_engine;
REVOKE UPDATE (finding, reason, methods, decided_by, decided_at, updated_at) ON blueteam.compliance_objectives FROM blueteam_admin;
-- An incident, its evidence and a score are added, which the audit log records.
REVOKE UPDATE, DELETE ON blueteam.security_incidents, blueteam.incident_evidence, blueteam.posture_scores FROM blueteam_admin;
REVOKE DELETE ON users.users, users.api_keys FROM blueteam_admin;
-- Who uses a key is counted by machines; people put keys out of force.
REVOKE UPDATE ON users.api_keys FROM blueteam_admin;
GRANT UPDATE (is_active) ON users.api_keys TO blueteam_admin;
REVOKE UPDATE ON blueteam.poam_items FROM blueteam_admin;
GRANT UPDATE (kind, weakness_description, risk_level, remediation_plan, milestone, milestone_changes, scheduled_completion, status,
              resources_required, owner, identified_by, mitigation, tasks, conditional_since, updated_at)
    ON blueteam.poam_items TO blueteam_admin;
-- What a check proposes is proposed by machines and people's role alike, so it is tracked too; the time of a repetition is not
-- worth a row.
SELECT audit.track('blueteam.compliance_objectives', 'CONTROL', '{updated_at,proposed_at}');
-- So is which alert tells of a match: an import by hand takes it back when there is more to tell.
SELECT audit.track('blueteam.advisory_matches', 'ALERT', '{updated_at}');
-- An attempt to reach people is written once.
SELECT audit.guard('blueteam.notification_attempts');

-- Nothing goes along with what it belongs to.
ALTER TABLE blueteam.incident_evidence
    DROP CONSTRAINT incident_evidence_incident_id_fkey,
    ADD CONSTRAINT incident_evidence_incident_id_fkey
        FOREIGN KEY (incident_id) REFERENCES blueteam.security_incidents ON DELETE RESTRICT;
ALTER TABLE blueteam.evidence_objectives
    DROP CONSTRAINT evidence_objectives_evidence_id_fkey,
    ADD CONSTRAINT evidence_objectives_evidence_id_fkey
        FOREIGN KEY (evidence_id) REFERENCES blueteam.compliance_evidence ON DELETE RESTRICT;
ALTER TABLE blueteam.evidence_confirmations
    DROP CONSTRAINT evidence_confirmations_evidence_id_fkey,
    ADD CONSTRAINT evidence_confirmations_evidence_id_fkey
        FOREIGN KEY (evidence_id) REFERENCES blueteam.compliance_evidence ON DELETE RESTRICT;

-- The owner deletes a confirmation with its piece, when that may go, and not before.
CREATE OR REPLACE FUNCTION blueteam.keep_confirmation() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' AND NOT EXISTS (SELECT FROM blueteam.compliance_evidence e
                                         WHERE e.evidence_id = OLD.evidence_id AND e.retain_until > now()) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'a confirmation of evidence % stays as it is', OLD.evidence_id USING ERRCODE = 'insufficient_privilege';
END $$;

-- Final evidence keeps its approval, and what people took in its dates. Against every role, the owner too.
CREATE OR REPLACE FUNCTION blueteam.keep_evidence() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    may_change text[] := '{state,approved_by,approved_at,valid_until,owner,retain_until}';
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.retain_until > now() THEN
            RAISE EXCEPTION 'evidence % is kept until %', OLD.evidence_id, OLD.retain_until USING ERRCODE = 'insufficient_privilege';
        END IF;
        RETURN OLD;
    END IF;
    IF OLD.state = 'final' THEN
        may_change := CASE WHEN OLD.check_id IS NULL THEN '{retain_until}'::text[] ELSE '{valid_until,owner,retain_until}'::text[] END;
    END IF;
    IF to_jsonb(NEW) - may_change IS DISTINCT FROM to_jsonb(OLD) - may_change THEN
        RAISE EXCEPTION 'evidence % stays as it was %', OLD.evidence_id,
              CASE OLD.state WHEN 'final' THEN 'approved' ELSE 'taken in' END USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF NEW.retain_until < OLD.retain_until THEN
        RAISE EXCEPTION 'evidence % is kept until %', OLD.evidence_id, OLD.retain_until USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;

-- A piece is linked to objectives when it is taken in. Against every role: a link that is gone, or new, changes what it proves.
CREATE FUNCTION blueteam.keep_evidence_link() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    piece uuid := coalesce(NEW.evidence_id, OLD.evidence_id);
BEGIN
    IF TG_OP = 'DELETE' AND EXISTS (SELECT FROM blueteam.compliance_evidence e
                                     WHERE e.evidence_id = piece AND e.retain_until <= now()) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'evidence % supports what it was taken in for', piece USING ERRCODE = 'insufficient_privilege';
END $$;
REVOKE ALL ON FUNCTION blueteam.keep_evidence_link() FROM PUBLIC;
CREATE TRIGGER keep_evidence_link BEFORE UPDATE OR DELETE ON blueteam.evidence_objectives
    FOR EACH ROW EXECUTE FUNCTION blueteam.keep_evidence_link();
ALTER TABLE blueteam.evidence_objectives ENABLE ALWAYS TRIGGER keep_evidence_link;

-- What an alert is about, and who saw it first, stays, and none becomes less severe. The engine lets alerts grow, and sets none
-- of these columns.
CREATE FUNCTION blueteam.keep_alert() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    grades text[] := '{info,low,medium,high,critical}';
BEGIN
    IF (NEW.rule_id, NEW.fingerprint) IS DISTINCT FROM (OLD.rule_id, OLD.fingerprint)
       OR array_position(grades, NEW.severity) < array_position(grades, OLD.severity)
       OR OLD.acknowledged AND (NEW.acknowledged, NEW.acknowledged_by, NEW.acknowledged_at)
           IS DISTINCT FROM (OLD.acknowledged, OLD.acknowledged_by, OLD.acknowledged_at) THEN
        RAISE EXCEPTION 'alert % stays as it was recorded', OLD.alert_id USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
REVOKE ALL ON FUNCTION blueteam.keep_alert() FROM PUBLIC;
CREATE TRIGGER keep_alert
    BEFORE UPDATE OF severity, rule_id, fingerprint, acknowledged, acknowledged_by, acknowledged_at
    ON blueteam.alert_history FOR EACH ROW EXECUTE FUNCTION blueteam.keep_alert();
ALTER TABLE blueteam.alert_history ENABLE ALWAYS TRIGGER keep_alert;

-- A closed incident stays closed and as it is, and none becomes less severe.
CREATE FUNCTION blueteam.keep_incident() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    grades text[] := '{low,medium,high,critical}';
BEGIN
    IF OLD.status = 'closed' THEN
        RAISE EXCEPTION 'incident % is closed', OLD.incident_id USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF array_position(grades, NEW.severity) < array_position(grades, OLD.severity) THEN
        RAISE EXCEPTION 'incident % stays %', OLD.incident_id, OLD.severity USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
REVOKE ALL ON FUNCTION blueteam.keep_incident() FROM PUBLIC;
CREATE TRIGGER keep_incident BEFORE UPDATE ON blueteam.security_incidents
    FOR EACH ROW EXECUTE FUNCTION blueteam.keep_incident();
ALTER TABLE blueteam.security_incidents ENABLE ALWAYS TRIGGER keep_incident;

-- A completed item stays: what is wrong later is another one.
CREATE FUNCTION blueteam.keep_plan() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF OLD.status = 'completed' THEN
        RAISE EXCEPTION 'item % of the plan of action is completed', OLD.poam_id USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
REVOKE ALL ON FUNCTION blueteam.keep_plan() FROM PUBLIC;
CREATE TRIGGER keep_plan BEFORE UPDATE ON blueteam.poam_items FOR EACH ROW EXECUTE FUNCTION blueteam.keep_plan();
ALTER TABLE blueteam.poam_items ENABLE ALWAYS TRIGGER keep_plan;
