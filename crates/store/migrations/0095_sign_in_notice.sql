-- The notice that a person has accepted when they signed in (3.1.9): with the sign-in, and in its row of the audit log.
ALTER TABLE users.sessions ADD COLUMN notice_version text CHECK (length(notice_version) BETWEEN 1 AND 64);
COMMENT ON COLUMN users.sessions.notice_version IS 'which notice its person accepted as it began; none if there was none';
GRANT SELECT (notice_version) ON users.sessions TO blueteam_admin;

CREATE OR REPLACE FUNCTION users.record_session() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    acting  record := audit.acting(TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, TG_OP);
    account record;
BEGIN
    SELECT u.username, u.email INTO account FROM users.users u WHERE u.user_id = NEW.user_id;
    INSERT INTO audit.audit_log (user_id, user_email, actor, action, resource_type, resource_id, new_value, metadata, ip_address,
                                 user_agent)
    VALUES (NEW.user_id, account.email, CASE TG_OP WHEN 'INSERT' THEN account.username ELSE acting.actor END,
            CASE TG_OP WHEN 'INSERT' THEN 'LOGIN' ELSE 'LOGOUT' END::audit.audit_action, 'USER', NEW.user_id::text,
            jsonb_strip_nulls(jsonb_build_object('username', account.username, 'factors', to_jsonb(NEW.factors),
                                                 'method', NEW.factors[1], 'notice_version', NEW.notice_version,
                                                 'end_reason', NEW.end_reason)),
            acting.metadata || jsonb_build_object('session', NEW.session_id::text),
            coalesce(NEW.ip_address, acting.ip_address), coalesce(NEW.user_agent, acting.user_agent));
    RETURN NULL;
END $$;
