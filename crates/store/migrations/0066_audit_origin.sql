-- The audit log also says where somebody acted from: ip_address and user_agent, and in metadata the way, the tenant, the
-- session, and for a command its host, terminal and account of the operating system (3.3.2). The program sets them for each
-- transaction that it begins for somebody; what another client changes has only the database login, as before.
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
