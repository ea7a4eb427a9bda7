-- The audit log of tables that an attack fills by the thousand is written with one statement for each statement that changes
-- them, not with a function call for each row. Its rows are the same as before.

-- Columns whose values are in no record.
CREATE FUNCTION audit.secret_columns() RETURNS text[]
LANGUAGE sql IMMUTABLE AS $$
    SELECT '{password_hash,password_history,key_hash,token_hash,totp_secret,mfa_secret,secret,recovery_codes}'::text[]
$$;

CREATE OR REPLACE FUNCTION audit.redact(value jsonb, other jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog AS $$
    SELECT CASE WHEN value IS NULL THEN NULL ELSE value || coalesce(
        (SELECT jsonb_object_agg(key, CASE WHEN other IS NOT NULL AND other -> key IS DISTINCT FROM value -> key
                                           THEN '[redacted, changed]' ELSE '[redacted]' END)
           FROM unnest(audit.secret_columns()) AS key
          WHERE value ? key), '{}') END
$$;

-- Who acts, and from where, as rows of audit.audit_log have it. The operation stands in the metadata.
CREATE FUNCTION audit.acting(
    table_name text, operation text,
    OUT user_id uuid, OUT user_email text, OUT actor text, OUT ip_address text, OUT user_agent text, OUT metadata jsonb)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    given uuid;
BEGIN
    actor := coalesce(nullif(current_setting('blueteam.actor', true), ''), session_user);
    given := CASE WHEN actor ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$' THEN actor::uuid END;
    user_email := (SELECT u.email FROM users.users u WHERE u.user_id = given OR u.username = actor OR u.email = actor LIMIT 1);
    user_id := coalesce((SELECT u.user_id FROM users.users u WHERE u.username = actor OR u.email = actor LIMIT 1), given);
    ip_address := nullif(current_setting('blueteam.address', true), '');
    user_agent := nullif(current_setting('blueteam.user_agent', true), '');
    metadata := jsonb_build_object('table', table_name, 'operation', operation,
                                   'login', session_user, 'transaction', pg_current_xact_id()::text)
        || jsonb_strip_nulls(jsonb_build_object(
               'via', nullif(current_setting('blueteam.via', true), ''),
               'on_behalf_of', nullif(current_setting('blueteam.on_behalf_of', true), ''),
               'tenant', nullif(current_setting('blueteam.tenant', true), ''),
               'session', nullif(current_setting('blueteam.session', true), ''),
               'host', nullif(current_setting('blueteam.host', true), ''),
               'terminal', nullif(current_setting('blueteam.terminal', true), ''),
               'account', nullif(current_setting('blueteam.account', true), '')));
END $$;

-- The trigger behind audit.track(), for each row or for a TRUNCATE.
CREATE OR REPLACE FUNCTION audit.record_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    acting   record;
    keys     text[] := string_to_array(TG_ARGV[1], ',');
    quiet    text[] := string_to_array(TG_ARGV[2], ',');
    before   jsonb;
    after    jsonb;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        acting := audit.acting(TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, TG_OP);
        EXECUTE format(
            'INSERT INTO audit.audit_log (user_id, user_email, actor, action, resource_type, resource_id, old_value, metadata,
                                          ip_address, user_agent)
             SELECT $1, $2, $3, ''DELETE'', $4::audit.audit_resource_type,
                    left((SELECT string_agg(r.j ->> k, '','' ORDER BY n) FROM unnest($5) WITH ORDINALITY AS u(k, n)), 255),
                    audit.redact(r.j, NULL), $6, $7, $8
               FROM (SELECT to_jsonb(t) AS j FROM %I.%I t) r', TG_TABLE_SCHEMA, TG_TABLE_NAME)
            USING acting.user_id, acting.user_email, acting.actor, TG_ARGV[0], keys, acting.metadata, acting.ip_address,
                  acting.user_agent;
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN before := to_jsonb(OLD); END IF;
    IF TG_OP <> 'DELETE' THEN after := to_jsonb(NEW); END IF;
    IF TG_OP = 'UPDATE' AND before - quiet = after - quiet THEN
        RETURN NULL;
    END IF;
    acting := audit.acting(TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, TG_OP);
    INSERT INTO audit.audit_log (user_id, user_email, actor, action, resource_type, resource_id, old_value, new_value, metadata,
                                 ip_address, user_agent)
    SELECT acting.user_id, acting.user_email, acting.actor,
           (CASE TG_OP WHEN 'INSERT' THEN 'CREATE' ELSE TG_OP END)::audit.audit_action,
           TG_ARGV[0]::audit.audit_resource_type,
           left((SELECT string_agg(coalesce(after, before) ->> k, ',' ORDER BY n) FROM unnest(keys) WITH ORDINALITY AS u (k, n)), 255),
           audit.redact(before, after), audit.redact(after, before), acting.metadata, acting.ip_address, acting.user_agent;
    RETURN NULL;
END $$;

-- The trigger behind audit.track_in_bulk(), for each statement. A row before and after a change are the same by their key; a
-- statement that changes keys leaves a record of each old row and one of each new row.
CREATE FUNCTION audit.record_changes() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_mergejoin = off AS $$
DECLARE
    acting   record;
    key      text := TG_ARGV[1];
    quiet    text[] := string_to_array(TG_ARGV[2], ',');
    -- Most tables have none, and to search each row for them costs more than all the rest.
    secrets  text[] := audit.secret_columns();
BEGIN
    -- Triggers of statements are called also where no row was changed.
    IF TG_OP = 'DELETE' THEN
        IF NOT EXISTS (SELECT FROM old_rows) THEN RETURN NULL; END IF;
    ELSIF NOT EXISTS (SELECT FROM new_rows) THEN
        RETURN NULL;
    END IF;

    acting := audit.acting(TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, TG_OP);

    -- What a transition table is called is fixed where the statement is planned, so there are three.
    IF TG_OP = 'INSERT' THEN
        WITH row_after AS MATERIALIZED (SELECT to_jsonb(n) AS value FROM new_rows n)
        INSERT INTO audit.audit_log (user_id, user_email, actor, action, resource_type, resource_id, old_value, new_value,
                                     metadata, ip_address, user_agent)
        SELECT acting.user_id, acting.user_email, acting.actor, 'CREATE', TG_ARGV[0]::audit.audit_resource_type,
               left(value ->> key, 255), NULL, CASE WHEN value ?| secrets THEN audit.redact(value, NULL) ELSE value END,
               acting.metadata, acting.ip_address, acting.user_agent
          FROM row_after;
    ELSIF TG_OP = 'UPDATE' THEN
        WITH row_before AS MATERIALIZED (SELECT to_jsonb(o) AS value FROM old_rows o),
             row_after AS MATERIALIZED (SELECT to_jsonb(n) AS value FROM new_rows n)
        INSERT INTO audit.audit_log (user_id, user_email, actor, action, resource_type, resource_id, old_value, new_value,
                                     metadata, ip_address, user_agent)
        SELECT acting.user_id, acting.user_email, acting.actor, 'UPDATE', TG_ARGV[0]::audit.audit_resource_type,
               left(coalesce(a.value, b.value) ->> key, 255),
               CASE WHEN b.value ?| secrets THEN audit.redact(b.value, a.value) ELSE b.value END,
               CASE WHEN a.value ?| secrets THEN audit.redact(a.value, b.value) ELSE a.value END,
               acting.metadata, acting.ip_address, acting.user_agent
          FROM row_before b FULL JOIN row_after a ON a.value ->> key = b.value ->> key
         WHERE b.value - quiet IS DISTINCT FROM a.value - quiet;
    ELSE
        WITH row_before AS MATERIALIZED (SELECT to_jsonb(o) AS value FROM old_rows o)
        INSERT INTO audit.audit_log (user_id, user_email, actor, action, resource_type, resource_id, old_value, new_value,
                                     metadata, ip_address, user_agent)
        SELECT acting.user_id, acting.user_email, acting.actor, 'DELETE', TG_ARGV[0]::audit.audit_resource_type,
               left(value ->> key, 255), CASE WHEN value ?| secrets THEN audit.redact(value, NULL) ELSE value END, NULL,
               acting.metadata, acting.ip_address, acting.user_agent
          FROM row_before;
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION audit.acting(text, text), audit.record_changes() FROM PUBLIC;

-- Attaches the log to a table that is changed by many rows at once, instead of audit.track(): its key is one column. A second
-- call replaces the first. Rows whose only change is in a quiet column are not recorded.
CREATE FUNCTION audit.track_in_bulk(target regclass, resource audit.audit_resource_type, quiet text[] DEFAULT '{}')
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    keys text[] := (SELECT array_agg(a.attname)
                      FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
                     WHERE i.indrelid = target AND i.indisprimary);
    args text := format('%L, %L, %L', resource, keys[1], array_to_string(quiet, ','));
BEGIN
    IF cardinality(keys) IS DISTINCT FROM 1 THEN
        RAISE EXCEPTION 'cannot track % in bulk: its primary key is not one column', target;
    END IF;

    -- The record of a TRUNCATE is the same; the triggers of rows make way in the same transaction.
    PERFORM audit.track(target, resource, quiet);
    EXECUTE format('DROP TRIGGER audit_rows ON %s', target);
    EXECUTE format('DROP TRIGGER IF EXISTS audit_inserts ON %s', target);
    EXECUTE format('DROP TRIGGER IF EXISTS audit_updates ON %s', target);
    EXECUTE format('DROP TRIGGER IF EXISTS audit_deletes ON %s', target);

    EXECUTE format('CREATE TRIGGER audit_inserts AFTER INSERT ON %s REFERENCING NEW TABLE AS new_rows
                    FOR EACH STATEMENT EXECUTE FUNCTION audit.record_changes(%s)', target, args);
    EXECUTE format('CREATE TRIGGER audit_updates AFTER UPDATE ON %s REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
                    FOR EACH STATEMENT EXECUTE FUNCTION audit.record_changes(%s)', target, args);
    EXECUTE format('CREATE TRIGGER audit_deletes AFTER DELETE ON %s REFERENCING OLD TABLE AS old_rows
                    FOR EACH STATEMENT EXECUTE FUNCTION audit.record_changes(%s)', target, args);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER audit_inserts, ENABLE ALWAYS TRIGGER audit_updates,
                    ENABLE ALWAYS TRIGGER audit_deletes', target);
END $$;

SELECT audit.track_in_bulk('blueteam.security_incidents', 'INCIDENT', '{updated_at}');
SELECT audit.track_in_bulk('blueteam.alert_history', 'ALERT',
    '{last_seen,event_count,event_ids,state,title,description,updated_at,accounts,hosts}');
