-- What people make of alerts after looking into them, so that noise is what they say it is. And what was changed without a trace:
-- preferences, and the list of known passwords, which is a file.

-- One row for each time that someone decides; the newest counts. The alert itself stays as it was recorded.
CREATE TABLE blueteam.alert_verdicts (
    verdict_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id   uuid        NOT NULL REFERENCES blueteam.alert_history (alert_id) ON DELETE RESTRICT,
    verdict    text        NOT NULL CHECK (verdict IN ('true_positive', 'benign_positive', 'false_positive', 'undetermined')),
    note       text        CHECK (length(trim(note)) BETWEEN 3 AND 4000),
    decided_by text        NOT NULL,
    decided_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
SELECT blueteam.separate_tenants('blueteam.alert_verdicts');
CREATE INDEX alert_verdicts_by_alert ON blueteam.alert_verdicts (alert_id, verdict_id);
COMMENT ON TABLE blueteam.alert_verdicts IS 'what people made of an alert; the newest row of an alert counts';
COMMENT ON COLUMN blueteam.alert_verdicts.verdict_id IS 'identity, in the order in which they were given';
COMMENT ON COLUMN blueteam.alert_verdicts.alert_id IS 'the alert';
COMMENT ON COLUMN blueteam.alert_verdicts.verdict IS 'what it turned out to be';
COMMENT ON COLUMN blueteam.alert_verdicts.note IS 'why';
COMMENT ON COLUMN blueteam.alert_verdicts.decided_by IS 'who said so';
COMMENT ON COLUMN blueteam.alert_verdicts.decided_at IS 'when';
SELECT audit.guard('blueteam.alert_verdicts');
SELECT audit.track('blueteam.alert_verdicts', 'ALERT');
GRANT SELECT ON blueteam.alert_verdicts TO blueteam_engine, blueteam_reader, blueteam_admin;

-- Says what an alert turned out to be. False when there is no such alert.
CREATE FUNCTION blueteam.judge_alert(alert uuid, what text, why text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- One after the other, so that the newest row is the last to be given.
    PERFORM FROM blueteam.alert_history WHERE alert_id = alert AND tenant_id = blueteam.tenant_of_new() FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO blueteam.alert_verdicts (tenant_id, alert_id, verdict, note, decided_by)
    VALUES (blueteam.tenant_of_new(), alert, what, why, blueteam.recorded_actor());
    RETURN true;
END $$;
COMMENT ON FUNCTION blueteam.judge_alert(uuid, text, text) IS 'says what an alert turned out to be, and who says so';
REVOKE ALL ON FUNCTION blueteam.judge_alert(uuid, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION blueteam.judge_alert(uuid, text, text) TO blueteam_admin;

SELECT audit.track('users.preferences', 'USER', '{updated_at}');

-- What is changed outside of the database, and by whom.
CREATE FUNCTION audit.record_import(what jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    acting record := audit.acting('users.users', 'UPDATE');
BEGIN
    INSERT INTO audit.audit_log (user_id, user_email, actor, action, resource_type, new_value, metadata, ip_address, user_agent)
    VALUES (acting.user_id, acting.user_email, acting.actor, 'UPDATE', 'SYSTEM',
            CASE WHEN length(what::text) <= 10000 THEN what ELSE jsonb_build_object('what', left(what ->> 'what', 1000)) END,
            acting.metadata - '{table,operation}'::text[], acting.ip_address, acting.user_agent);
END $$;
COMMENT ON FUNCTION audit.record_import(jsonb) IS 'records that a file of blueteam''s own was replaced';
REVOKE ALL ON FUNCTION audit.record_import(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.record_import(jsonb) TO blueteam_admin;
