-- audit.audit_log: who changed what, with the old and the new values (GDPR Art. 5(2), Art. 30; 3.3.2).
--
-- Two departures from the document. `user_id` has no foreign key: ON DELETE SET NULL would have to rewrite audit rows. The
-- table is guarded by triggers that raise (0007), not by rules that swallow the attempt.
CREATE TYPE audit.audit_action AS ENUM ('CREATE', 'UPDATE', 'DELETE', 'LOGIN', 'LOGOUT', 'EXPORT', 'PERMISSION_DENIED',
    'PASSWORD_CHANGE', 'ROLE_CHANGE');
CREATE TYPE audit.audit_resource_type AS ENUM ('MEMBER', 'INCIDENT', 'VEHICLE', 'EQUIPMENT', 'QUALIFICATION', 'USER', 'SYSTEM',
    -- ours
    'ALERT', 'ALERT_RULE', 'EVIDENCE', 'CONTROL', 'POAM', 'SSP', 'POSTURE_SCORE', 'API_KEY');

CREATE TABLE audit.audit_log (
    id            uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    user_id       uuid,                      -- the actor, where the actor is a user of ours
    user_email    varchar(255),              -- snapshot: users can be deleted
    actor         text NOT NULL,             -- who acted: blueteam.actor of the transaction, else the database login
    action        audit.audit_action NOT NULL,
    resource_type audit.audit_resource_type NOT NULL,
    resource_id   varchar(255),              -- key of the row; several columns are joined with a comma
    old_value     jsonb,
    new_value     jsonb,
    ip_address    text,                      -- '[anonymized]' once past its age
    user_agent    text,
    metadata      jsonb NOT NULL DEFAULT '{}',
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idx_audit_log_user_id ON audit.audit_log (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX idx_audit_log_resource ON audit.audit_log (resource_type, resource_id);
CREATE INDEX idx_audit_log_created_at ON audit.audit_log (created_at);
CREATE INDEX idx_audit_log_action ON audit.audit_log (action);
CREATE INDEX idx_audit_log_ip_retention ON audit.audit_log (created_at)
    WHERE ip_address IS NOT NULL AND ip_address <> '[anonymized]';

-- A row without its secrets. That a secret changed is worth knowing; what it was is not.
CREATE FUNCTION audit.redact(value jsonb, other jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog AS $$
    SELECT CASE WHEN value IS NULL THEN NULL ELSE value || coalesce(
        (SELECT jsonb_object_agg(key, CASE WHEN other IS NOT NULL AND other -> key IS DISTINCT FROM value -> key
                                           THEN '[redacted, changed]' ELSE '[redacted]' END)
           FROM unnest(ARRAY['password_hash', 'password_history', 'key_hash', 'token_hash', 'totp_secret', 'mfa_secret',
                             'secret', 'recovery_codes']) AS key
          WHERE value ? key), '{}') END
$$;

-- The trigger behind audit.track(). Arguments: resource type, key columns, columns whose change alone is not worth a row.
-- SECURITY DEFINER: those who change the tables must not be able to write the log themselves.
CREATE FUNCTION audit.record_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    who      text  := coalesce(nullif(current_setting('blueteam.actor', true), ''), session_user);
    who_id   uuid  := CASE WHEN who ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' THEN who::uuid END;
    mail     text  := (SELECT u.email FROM users.users u WHERE u.user_id = who_id OR u.username = who OR u.email = who LIMIT 1);
    keys     text[] := string_to_array(TG_ARGV[1], ',');
    quiet    text[] := string_to_array(TG_ARGV[2], ',');
    before   jsonb;
    after    jsonb;
    context  jsonb := jsonb_build_object('table', TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, 'operation', TG_OP,
                                         'login', session_user, 'transaction', pg_current_xact_id()::text);
BEGIN
    who_id := coalesce((SELECT u.user_id FROM users.users u WHERE u.username = who OR u.email = who LIMIT 1), who_id);
    IF TG_OP = 'TRUNCATE' THEN
        EXECUTE format(
            'INSERT INTO audit.audit_log (user_id, user_email, actor, action, resource_type, resource_id, old_value, metadata)
             SELECT $1, $2, $3, ''DELETE'', $4::audit.audit_resource_type,
                    left((SELECT string_agg(r.j ->> k, '','' ORDER BY n) FROM unnest($5) WITH ORDINALITY AS u(k, n)), 255),
                    audit.redact(r.j, NULL), $6
               FROM (SELECT to_jsonb(t) AS j FROM %I.%I t) r', TG_TABLE_SCHEMA, TG_TABLE_NAME)
            USING who_id, mail, who, TG_ARGV[0], keys, context;
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN before := to_jsonb(OLD); END IF;
    IF TG_OP <> 'DELETE' THEN after := to_jsonb(NEW); END IF;
    IF TG_OP = 'UPDATE' AND before - quiet = after - quiet THEN
        RETURN NULL;
    END IF;
    INSERT INTO audit.audit_log (user_id, user_email, actor, action, resource_type, resource_id, old_value, new_value, metadata)
    SELECT who_id, mail, who,
           (CASE TG_OP WHEN 'INSERT' THEN 'CREATE' ELSE TG_OP END)::audit.audit_action,
           TG_ARGV[0]::audit.audit_resource_type,
           left((SELECT string_agg(coalesce(after, before) ->> k, ',' ORDER BY n) FROM unnest(keys) WITH ORDINALITY AS u (k, n)), 255),
           audit.redact(before, after), audit.redact(after, before), context;
    RETURN NULL;
END $$;

-- Attaches the log to a table: SELECT audit.track('schema.table'). A second call replaces the first. Rows whose only change is
-- in a quiet column (a counter, a time of last use) are not recorded.
CREATE FUNCTION audit.track(target regclass, resource audit.audit_resource_type DEFAULT 'SYSTEM', quiet text[] DEFAULT '{}')
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    keys text := (SELECT string_agg(a.attname, ',' ORDER BY array_position(i.indkey::int2[], a.attnum))
                    FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
                   WHERE i.indrelid = target AND i.indisprimary);
    args text := format('%L, %L, %L', resource, coalesce(keys, ''), array_to_string(quiet, ','));
BEGIN
    EXECUTE format('DROP TRIGGER IF EXISTS audit_rows ON %s', target);
    EXECUTE format('DROP TRIGGER IF EXISTS audit_truncate ON %s', target);
    EXECUTE format('CREATE TRIGGER audit_rows AFTER INSERT OR UPDATE OR DELETE ON %s
                    FOR EACH ROW EXECUTE FUNCTION audit.record_change(%s)', target, args);
    EXECUTE format('CREATE TRIGGER audit_truncate BEFORE TRUNCATE ON %s
                    FOR EACH STATEMENT EXECUTE FUNCTION audit.record_change(%s)', target, args);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER audit_rows, ENABLE ALWAYS TRIGGER audit_truncate', target);
END $$;

-- Every table of ours that a person can change. Machines write the cursor, deliveries, baselines, positions and events.
SELECT audit.track('blueteam.security_incidents', 'INCIDENT', '{updated_at}');
SELECT audit.track('blueteam.incident_evidence', 'EVIDENCE');
SELECT audit.track('blueteam.compliance_controls', 'CONTROL', '{updated_at}');
SELECT audit.track('blueteam.compliance_evidence', 'EVIDENCE');
SELECT audit.track('blueteam.poam_items', 'POAM', '{updated_at}');
SELECT audit.track('blueteam.alert_rules', 'ALERT_RULE');
SELECT audit.track('blueteam.alert_history', 'ALERT', '{last_seen,event_count,event_ids,state,title,description,updated_at}');
SELECT audit.track('blueteam.posture_scores', 'POSTURE_SCORE');
SELECT audit.track('blueteam.ssp_sections', 'SSP', '{updated_at}');
SELECT audit.track('users.users', 'USER', '{updated_at}');
SELECT audit.track('users.api_keys', 'API_KEY', '{last_used,usage_count}');
