-- Tenants are made by a command, with the limits of what they have subscribed to (SecureGuard, migration 004; decision 0058).

-- What a tenant has subscribed to. Without a row, or where a limit is null, there is no limit.
CREATE TABLE users.subscriptions (
    tenant_id        uuid PRIMARY KEY DEFAULT blueteam.tenant_of_new() REFERENCES users.tenants,
    plan             text NOT NULL CHECK (plan ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    max_users        integer CHECK (max_users >= 1),
    max_keys         integer CHECK (max_keys >= 1),
    max_agents       integer CHECK (max_agents >= 1),
    max_events       bigint CHECK (max_events >= 1),
    max_bytes        bigint CHECK (max_bytes >= 1),
    -- DFARS 252.204-7012 (e) asks for 90 days.
    retention_months smallint CHECK (retention_months BETWEEN 3 AND 1200),
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now()
);
SELECT blueteam.separate_tenants('users.subscriptions');
COMMENT ON TABLE users.subscriptions IS 'What a tenant has subscribed to; without a row it has no limits';
COMMENT ON COLUMN users.subscriptions.plan IS 'What the plan is called';
COMMENT ON COLUMN users.subscriptions.max_users IS 'The most people who can sign in; one more is refused';
COMMENT ON COLUMN users.subscriptions.max_keys IS 'The most API keys in force; one more is refused';
COMMENT ON COLUMN users.subscriptions.max_agents IS 'The most agents; one more is refused';
COMMENT ON COLUMN users.subscriptions.max_events IS 'Events a calendar month (UTC); more are warned about and kept';
COMMENT ON COLUMN users.subscriptions.max_bytes IS 'Bytes of events; more are warned about and kept';
COMMENT ON COLUMN users.subscriptions.retention_months IS 'Months that log events are kept at least';
SELECT audit.track('users.subscriptions', 'SYSTEM', '{updated_at}');

GRANT SELECT ON users.subscriptions TO blueteam_admin, blueteam_reader, blueteam_engine, blueteam_accounts;
-- People's role sees what its tenant has, and changes none of it.
GRANT INSERT (tenant_id, plan, max_users, max_keys, max_agents, max_events, max_bytes, retention_months),
      UPDATE (plan, max_users, max_keys, max_agents, max_events, max_bytes, retention_months, updated_at)
   ON users.subscriptions TO blueteam_accounts;
GRANT INSERT (name, title), UPDATE (title) ON users.tenants TO blueteam_accounts;

-- How many events came in, by the month in which they were stored. Counted by transaction, so that none is counted twice or left out.
CREATE TABLE users.event_counts (
    month  date   NOT NULL CHECK (month = date_trunc('month', month)),
    events bigint NOT NULL CHECK (events >= 0)
);
SELECT blueteam.separate_tenants('users.event_counts');
ALTER TABLE users.event_counts ADD PRIMARY KEY (tenant_id, month);
COMMENT ON TABLE users.event_counts IS 'How many events of a tenant were stored in a month, since this version';
COMMENT ON COLUMN users.event_counts.month IS 'The first day of the month (UTC)';
COMMENT ON COLUMN users.event_counts.events IS 'How many';
GRANT SELECT, INSERT, UPDATE ON users.event_counts TO blueteam_engine;
GRANT SELECT ON users.event_counts TO blueteam_admin, blueteam_reader, blueteam_accounts;

-- A table of all events does not say whose bytes are whose: a tenant's part is that of its events among all that were counted. A
-- definer's, because people's role sees no other tenant's numbers.
CREATE FUNCTION users.event_bytes(tenant_param uuid) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT (s.bytes * coalesce(c.own, 0) / nullif(c.everything, 0))::bigint
      FROM (SELECT sum(pg_total_relation_size(t.relid)) AS bytes
              FROM unnest(ARRAY['public.audit_events'::regclass, 'blueteam.log_events'::regclass]) AS root,
                   LATERAL pg_partition_tree(root) AS t) AS s,
           (SELECT sum(e.events) FILTER (WHERE e.tenant_id = tenant_param) AS own, sum(e.events) AS everything
              FROM users.event_counts e) AS c
$$;
COMMENT ON FUNCTION users.event_bytes(uuid) IS 'The part of the bytes of all events that is a tenant''s; null before any was counted';
REVOKE ALL ON FUNCTION users.event_bytes(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION users.event_bytes(uuid) TO blueteam_admin, blueteam_accounts;
GRANT SELECT (tenant_id, is_active, expires_at) ON users.api_keys TO blueteam_accounts;
GRANT SELECT (tenant_id, revoked_at, expires_at) ON users.person_keys TO blueteam_accounts;

CREATE TABLE users.event_count_position (
    only_row       boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    counted_before xid8 NOT NULL
);
COMMENT ON TABLE users.event_count_position IS 'How far events were counted';
COMMENT ON COLUMN users.event_count_position.only_row IS 'There is one row';
COMMENT ON COLUMN users.event_count_position.counted_before IS 'Events of transactions before this one are counted';
INSERT INTO users.event_count_position (counted_before) VALUES (pg_snapshot_xmin(pg_current_snapshot()));
GRANT SELECT, UPDATE ON users.event_count_position TO blueteam_engine;
GRANT USAGE ON SCHEMA users TO blueteam_engine;
INSERT INTO blueteam.exclusive_rights (name) VALUES ('event_counts');

-- What a person at the machine calls a tenant; people's role sees no other tenant's row.
CREATE FUNCTION blueteam.tenant_named(name_param text) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.tenant_id FROM users.tenants t WHERE t.name = name_param
$$;
COMMENT ON FUNCTION blueteam.tenant_named(text) IS 'The id of the tenant of that name; null for none';
REVOKE ALL ON FUNCTION blueteam.tenant_named(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION blueteam.tenant_named(text) TO blueteam_admin, blueteam_engine, blueteam_ingest, blueteam_accounts;

-- The next one is refused where the plan allows no more. What another program writes into an adopted table is not: it does not act
-- through this one. Whoever adds one waits for the other that does, so that two at once are not one too many.
CREATE FUNCTION users.keep_within_plan() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    most  integer;
    there bigint;
    what  text := CASE TG_TABLE_NAME WHEN 'users' THEN 'users' ELSE 'API keys' END;
BEGIN
    IF coalesce(current_setting('blueteam.via', true), '') = '' THEN
        RETURN NEW;
    END IF;
    IF TG_TABLE_NAME = 'users' THEN
        IF NEW.is_service OR NOT NEW.is_active OR (TG_OP = 'UPDATE' AND OLD.is_active) THEN
            RETURN NEW;
        END IF;
        SELECT s.max_users INTO most FROM users.subscriptions s WHERE s.tenant_id = NEW.tenant_id FOR UPDATE;
        IF most IS NULL THEN RETURN NEW; END IF;
        SELECT count(*) INTO there FROM users.users u
         WHERE u.tenant_id = NEW.tenant_id AND u.is_active AND NOT u.is_service AND u.user_id <> NEW.user_id;
    ELSE
        -- Whoever revokes a key, or replaces its secret, adds none.
        IF TG_TABLE_NAME = 'api_keys' THEN
            IF NOT NEW.is_active OR (TG_OP = 'UPDATE' AND OLD.is_active) THEN RETURN NEW; END IF;
        END IF;
        SELECT s.max_keys INTO most FROM users.subscriptions s WHERE s.tenant_id = NEW.tenant_id FOR UPDATE;
        IF most IS NULL THEN RETURN NEW; END IF;
        SELECT count(*) INTO there FROM (
            SELECT k.key_id FROM users.api_keys k
             WHERE k.tenant_id = NEW.tenant_id AND k.is_active AND coalesce(k.expires_at, 'infinity') > now()
            UNION ALL
            SELECT k.key_id FROM users.person_keys k
             WHERE k.tenant_id = NEW.tenant_id AND k.revoked_at IS NULL AND k.expires_at > now()) AS keys
         WHERE keys.key_id <> NEW.key_id;
    END IF;
    IF there >= most THEN
        RAISE EXCEPTION 'the plan allows % %, and there are %', most, what, there
            USING ERRCODE = 'check_violation', CONSTRAINT = 'within_plan';
    END IF;
    RETURN NEW;
END $$;
REVOKE ALL ON FUNCTION users.keep_within_plan() FROM PUBLIC;
CREATE TRIGGER keep_within_plan BEFORE INSERT OR UPDATE OF is_active ON users.users
    FOR EACH ROW EXECUTE FUNCTION users.keep_within_plan();
CREATE TRIGGER keep_within_plan BEFORE INSERT OR UPDATE OF is_active ON users.api_keys
    FOR EACH ROW EXECUTE FUNCTION users.keep_within_plan();
CREATE TRIGGER keep_within_plan BEFORE INSERT ON users.person_keys
    FOR EACH ROW EXECUTE FUNCTION users.keep_within_plan();
ALTER TABLE users.person_keys ENABLE ALWAYS TRIGGER keep_within_plan;
ALTER TABLE users.users ENABLE ALWAYS TRIGGER keep_within_plan;
ALTER TABLE users.api_keys ENABLE ALWAYS TRIGGER keep_within_plan;

-- Each tenant keeps a system administrator of its own: another tenant's can let nobody in here.
CREATE OR REPLACE FUNCTION users.keep_account() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'the account % stays in the record: disable it', OLD.username USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF TG_OP = 'INSERT' OR NEW.role IS DISTINCT FROM OLD.role THEN
        IF NEW.role NOT IN ('user', 'manager', 'admin', 'system_admin', 'assessor') THEN
            RAISE EXCEPTION '% is no role', NEW.role USING ERRCODE = 'check_violation', CONSTRAINT = 'users_role';
        END IF;
    END IF;
    IF TG_OP = 'INSERT' THEN
        IF NEW.username !~ '^[A-Za-z0-9][A-Za-z0-9._@+-]*$' THEN
            RAISE EXCEPTION '% is no user name', NEW.username USING ERRCODE = 'check_violation', CONSTRAINT = 'users_username';
        END IF;
        -- The very same name is for the constraint, which `ON CONFLICT` knows.
        IF EXISTS (SELECT FROM users.users u
                    WHERE lower(u.username) = lower(NEW.username) AND u.username <> NEW.username) THEN
            RAISE EXCEPTION 'the name % was given before', NEW.username
                USING ERRCODE = 'unique_violation', CONSTRAINT = 'users_username_key';
        END IF;
        RETURN NEW;
    END IF;

    -- A name that could be taken over would make one person answer for what another one did (3.5.5).
    IF NEW.username IS DISTINCT FROM OLD.username OR NEW.user_id IS DISTINCT FROM OLD.user_id
       OR NEW.is_service IS DISTINCT FROM OLD.is_service THEN
        RAISE EXCEPTION 'the account % keeps its name', OLD.username USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF NEW.is_active THEN
        NEW.disabled_reason := NULL;
        NEW.enabled_at := CASE WHEN OLD.is_active THEN OLD.enabled_at ELSE now() END;
    END IF;

    -- Someone must remain who can let the others in. The rows are locked, so that no two of them remove each other.
    IF OLD.role = 'system_admin' AND OLD.is_active AND NOT OLD.is_service
       AND (NEW.role <> 'system_admin' OR NOT NEW.is_active OR NEW.expires_at IS NOT NULL) THEN
        PERFORM FROM users.users u
          WHERE u.role = 'system_admin' AND u.is_active AND u.tenant_id = OLD.tenant_id ORDER BY u.user_id FOR UPDATE;
        IF NOT EXISTS (SELECT FROM users.users u
                        WHERE u.role = 'system_admin' AND u.is_active AND NOT u.is_service AND u.expires_at IS NULL
                          AND u.tenant_id = OLD.tenant_id AND u.user_id <> OLD.user_id) THEN
            RAISE EXCEPTION '% is the last system administrator', OLD.username
                USING ERRCODE = 'check_violation', CONSTRAINT = 'users_last_system_admin';
        END IF;
    END IF;
    NEW.updated_at := now();
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION users.lock_after(account users.users, attempts integer) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN attempts >= p.max_failed_attempts THEN
        now() + make_interval(mins => CASE
            WHEN account.role = 'system_admin' AND NOT EXISTS (
                SELECT FROM users.users o
                 WHERE o.role = 'system_admin' AND o.is_active AND NOT o.is_service AND o.user_id <> account.user_id
                   AND o.tenant_id = account.tenant_id
                   AND coalesce(o.account_locked_until, '-infinity') <= now())
            THEN least(p.lockout_duration_minutes, 15) ELSE p.lockout_duration_minutes END) END
      FROM users.policy_of(account.tenant_id) p
$$;

CREATE OR REPLACE FUNCTION users.disable_idle_accounts() RETURNS SETOF text
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE users.users u
       SET is_active = false,
           disabled_reason = format('nobody signed in for %s days', (users.policy_of(u.tenant_id)).idle_disable_days)
     WHERE u.is_active AND NOT u.is_service
       AND greatest(u.last_login, u.enabled_at) < now() - make_interval(days => (users.policy_of(u.tenant_id)).idle_disable_days)
       AND u.user_id IS DISTINCT FROM (
            SELECT s.user_id FROM users.users s
             WHERE s.role = 'system_admin' AND s.is_active AND NOT s.is_service AND s.expires_at IS NULL
               AND s.tenant_id = u.tenant_id
             ORDER BY greatest(s.last_login, s.enabled_at) DESC, s.user_id
             LIMIT 1)
    RETURNING u.username::text
$$;

-- Inventories, and what was found in them, are a tenant's; what publishers say is everybody's, and is kept for `default`.
SELECT blueteam.separate_tenants('blueteam.advisory_sources');
DROP POLICY own_tenant ON blueteam.advisory_sources;
CREATE POLICY own_tenant ON blueteam.advisory_sources TO blueteam_admin, blueteam_reader
    USING (tenant_id = (SELECT blueteam.tenant()) OR kind = 'feed') WITH CHECK (tenant_id = (SELECT blueteam.tenant()));
ALTER TABLE blueteam.advisory_sources
    DROP CONSTRAINT advisory_sources_pkey,
    ADD PRIMARY KEY (tenant_id, kind, name),
    ADD CONSTRAINT advisory_sources_feeds CHECK (kind <> 'feed' OR tenant_id = '00000000-0000-7000-8000-000000000001');
ALTER TABLE blueteam.components
    DROP CONSTRAINT components_pkey,
    ADD PRIMARY KEY (tenant_id, inventory, ecosystem, distribution, name, version);
DO $$
DECLARE
    former name := (SELECT conname FROM pg_constraint
                     WHERE conrelid = 'blueteam.advisory_matches'::regclass AND contype = 'u');
BEGIN
    EXECUTE format('ALTER TABLE blueteam.advisory_matches DROP CONSTRAINT %I', former);
END $$;
ALTER TABLE blueteam.advisory_matches
    ADD CONSTRAINT advisory_matches_key UNIQUE (tenant_id, vulnerability, inventory, ecosystem, name, version);
