-- What the console lets people change: an acknowledgment is taken back within a short time, a draft of evidence is refused with a
-- reason, an assessor's account has an end, and what an assessor has looked at is on record.

-- What an alert is about stays, and so does who saw it first, unless they take it back shortly after.
CREATE OR REPLACE FUNCTION blueteam.keep_alert() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    grades text[] := '{info,low,medium,high,critical}';
BEGIN
    IF (NEW.rule_id, NEW.fingerprint) IS DISTINCT FROM (OLD.rule_id, OLD.fingerprint)
       OR array_position(grades, NEW.severity) < array_position(grades, OLD.severity) THEN
        RAISE EXCEPTION 'alert % stays as it was recorded', OLD.alert_id USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF OLD.acknowledged AND (NEW.acknowledged, NEW.acknowledged_by, NEW.acknowledged_at)
           IS DISTINCT FROM (OLD.acknowledged, OLD.acknowledged_by, OLD.acknowledged_at) THEN
        -- A statement of its own: not every role that writes alerts may ask who acts.
        IF NEW.acknowledged OR NEW.acknowledged_by IS NOT NULL OR NEW.acknowledged_at IS NOT NULL
           OR OLD.acknowledged_at < now() - interval '10 minutes'
           OR OLD.acknowledged_by IS DISTINCT FROM blueteam.recorded_actor() THEN
            RAISE EXCEPTION 'alert % stays as it was recorded', OLD.alert_id USING ERRCODE = 'insufficient_privilege';
        END IF;
    END IF;
    RETURN NEW;
END $$;

-- Takes an acknowledgment back: by who gave it, within ten minutes. The audit log keeps both. Returns what came of it.
CREATE FUNCTION blueteam.take_back_acknowledgment(alert uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    seen record;
BEGIN
    SELECT acknowledged, acknowledged_by, acknowledged_at INTO seen
      FROM blueteam.alert_history WHERE alert_id = alert AND tenant_id = blueteam.tenant_of_new() FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 'absent';
    ELSIF seen.acknowledged IS NOT TRUE THEN
        RETURN 'open';
    ELSIF seen.acknowledged_by IS DISTINCT FROM blueteam.recorded_actor() THEN
        RETURN 'other';
    ELSIF coalesce(seen.acknowledged_at, '-infinity') < now() - interval '10 minutes' THEN
        RETURN 'late';
    END IF;
    UPDATE blueteam.alert_history SET acknowledged = false, acknowledged_by = NULL, acknowledged_at = NULL
     WHERE alert_id = alert;
    RETURN 'done';
END $$;
COMMENT ON FUNCTION blueteam.take_back_acknowledgment(uuid) IS
    'takes an acknowledgment back, by who gave it and within ten minutes';
REVOKE ALL ON FUNCTION blueteam.take_back_acknowledgment(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION blueteam.take_back_acknowledgment(uuid) TO blueteam_admin;

-- A draft that is refused stays as what it is, and is never approved.
ALTER TABLE blueteam.compliance_evidence
    ADD COLUMN refused_by     text,
    ADD COLUMN refused_at     timestamptz,
    ADD COLUMN refused_reason text CHECK (length(trim(refused_reason)) BETWEEN 3 AND 4000),
    ADD CONSTRAINT evidence_refused CHECK (
        num_nonnulls(refused_by, refused_at, refused_reason) IN (0, 3) AND (refused_at IS NULL OR state = 'draft'));
COMMENT ON COLUMN blueteam.compliance_evidence.refused_by IS 'who refused the draft';
COMMENT ON COLUMN blueteam.compliance_evidence.refused_at IS 'when it was refused; it is never approved then';
COMMENT ON COLUMN blueteam.compliance_evidence.refused_reason IS 'why it was refused';

CREATE OR REPLACE FUNCTION blueteam.keep_evidence() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    may_change text[] := '{state,approved_by,approved_at,valid_until,owner,retain_until,refused_by,refused_at,refused_reason}';
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.retain_until > now() THEN
            RAISE EXCEPTION 'evidence % is kept until %', OLD.evidence_id, OLD.retain_until USING ERRCODE = 'insufficient_privilege';
        END IF;
        RETURN OLD;
    END IF;
    IF OLD.state = 'final' THEN
        may_change := CASE WHEN OLD.check_id IS NULL THEN '{retain_until}'::text[] ELSE '{valid_until,owner,retain_until}'::text[] END;
    ELSIF OLD.refused_at IS NOT NULL THEN
        may_change := '{retain_until}';
    END IF;
    IF to_jsonb(NEW) - may_change IS DISTINCT FROM to_jsonb(OLD) - may_change THEN
        RAISE EXCEPTION 'evidence % stays as it was %', OLD.evidence_id,
              CASE WHEN OLD.state = 'final' THEN 'approved' WHEN OLD.refused_at IS NOT NULL THEN 'refused' ELSE 'taken in' END
              USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF NEW.retain_until < OLD.retain_until THEN
        RAISE EXCEPTION 'evidence % is kept until %', OLD.evidence_id, OLD.retain_until USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION blueteam.approve_evidence(piece uuid, at timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE blueteam.compliance_evidence
       SET state = 'final', approved_by = blueteam.recorded_actor(), approved_at = blueteam.act_time(at)
     WHERE evidence_id = piece AND state = 'draft' AND refused_at IS NULL;
    RETURN FOUND;
END $$;

-- Refuses a draft, with the reason. False when there is no such draft, or it was refused before.
CREATE FUNCTION blueteam.refuse_evidence(piece uuid, why text, at timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE blueteam.compliance_evidence
       SET refused_by = blueteam.recorded_actor(), refused_at = blueteam.act_time(at), refused_reason = why
     WHERE evidence_id = piece AND state = 'draft' AND refused_at IS NULL;
    RETURN FOUND;
END $$;
COMMENT ON FUNCTION blueteam.refuse_evidence(uuid, text, timestamptz) IS 'refuses a draft of evidence, with the reason';
REVOKE ALL ON FUNCTION blueteam.refuse_evidence(uuid, text, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION blueteam.refuse_evidence(uuid, text, timestamptz) TO blueteam_admin;

-- An assessor comes for an assessment: the account ends, in 90 days where nothing else was said.
CREATE FUNCTION users.end_assessor() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.role = 'assessor' AND NEW.expires_at IS NULL THEN
        NEW.expires_at := now() + interval '90 days';
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION users.end_assessor() IS 'gives an assessor''s account an end';
REVOKE ALL ON FUNCTION users.end_assessor() FROM PUBLIC;
CREATE TRIGGER end_assessor BEFORE INSERT OR UPDATE OF role, expires_at ON users.users
    FOR EACH ROW EXECUTE FUNCTION users.end_assessor();
ALTER TABLE users.users ENABLE ALWAYS TRIGGER end_assessor;
UPDATE users.users SET expires_at = now() + interval '90 days' WHERE role = 'assessor' AND expires_at IS NULL;

-- What an assessor has looked at.
ALTER TYPE audit.audit_action ADD VALUE IF NOT EXISTS 'READ';
CREATE FUNCTION audit.record_reading(place text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    acting record := audit.acting('users.users', 'SELECT');
BEGIN
    INSERT INTO audit.audit_log (user_id, user_email, actor, action, resource_type, resource_id, metadata, ip_address, user_agent)
    VALUES (acting.user_id, acting.user_email, acting.actor, 'READ', 'SYSTEM', left(place, 255),
            acting.metadata - '{table,operation}'::text[], acting.ip_address, acting.user_agent);
END $$;
COMMENT ON FUNCTION audit.record_reading(text) IS 'records that a page was looked at';
REVOKE ALL ON FUNCTION audit.record_reading(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.record_reading(text) TO blueteam_admin;
