-- Tenants: the organizations that use this installation (SecureGuard, row-level security; decision 0049). There is one, `default`,
-- until a second is made. Row-level security is forced on every table with tenant data: people's roles see and write the rows of
-- the tenant that their transaction is for, and nothing else.
--
-- What an application says about itself (`instance_id`) is a value of its events and grants nothing.
CREATE TABLE users.tenants (
    tenant_id  uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    name       text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    title      text CHECK (length(title) BETWEEN 1 AND 200),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE users.tenants IS 'The organizations that use this installation';
COMMENT ON COLUMN users.tenants.name IS 'What commands and the configuration call it';
COMMENT ON COLUMN users.tenants.title IS 'What documents call it';

-- The same in every installation, so that a column can have it as a constant.
INSERT INTO users.tenants (tenant_id, name) VALUES ('00000000-0000-7000-8000-000000000001', 'default');
SELECT audit.track('users.tenants', 'SYSTEM', '{}');

-- The only tenant there is; where there are several, none. Reads the table for people's roles, which need not see it.
CREATE FUNCTION blueteam.only_tenant() RETURNS uuid
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT min(t.tenant_id::text)::uuid FROM users.tenants t HAVING count(*) = 1);
END $$;
COMMENT ON FUNCTION blueteam.only_tenant() IS 'The only tenant there is; null where there are several';

-- The tenant that the transaction is for: the one that it names, else the only one. Inlined where it is used, so that a policy costs
-- the look at a setting.
CREATE FUNCTION blueteam.tenant() RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(nullif(pg_catalog.current_setting('blueteam.tenant', true), '')::pg_catalog.uuid, blueteam.only_tenant())
$$;
COMMENT ON FUNCTION blueteam.tenant() IS 'The tenant that the transaction is for; null for none';

-- Whose a new row is.
CREATE FUNCTION blueteam.tenant_of_new() RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(
        nullif(current_setting('blueteam.tenant', true), '')::uuid,
        '00000000-0000-7000-8000-000000000001'::uuid)
$$;
COMMENT ON FUNCTION blueteam.tenant_of_new() IS 'The tenant of a row that does not name one';

-- Whether there is but one tenant, so that what is meant for all is that one's to decide.
CREATE FUNCTION blueteam.has_one_tenant() RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT count(*) = 1 FROM users.tenants
$$;
COMMENT ON FUNCTION blueteam.has_one_tenant() IS 'Whether there is only one tenant';

-- A row stays its tenant's, and a transaction for a tenant changes no other one's: also not through a function that runs as the
-- owner, whom no policy holds.
CREATE FUNCTION blueteam.keep_tenant() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    acting uuid := nullif(current_setting('blueteam.tenant', true), '')::uuid;
    owner  uuid := CASE TG_OP WHEN 'INSERT' THEN NEW.tenant_id ELSE OLD.tenant_id END;
BEGIN
    IF acting IS NOT NULL AND owner IS DISTINCT FROM acting THEN
        RAISE EXCEPTION 'the row is another tenant''s' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF TG_OP = 'UPDATE' AND NEW.tenant_id IS DISTINCT FROM OLD.tenant_id THEN
        RAISE EXCEPTION 'a row stays its tenant''s' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;

-- An application's own table of users may hold values of its own in `tenant_id`: they are its instances.
ALTER TABLE users.users ADD COLUMN home_instance_id uuid;
COMMENT ON COLUMN users.users.home_instance_id IS 'The instance of an application that the person belongs to';
UPDATE users.users SET home_instance_id = tenant_id WHERE tenant_id IS NOT NULL;
UPDATE users.users SET tenant_id = '00000000-0000-7000-8000-000000000001';
ALTER TABLE users.users ALTER COLUMN tenant_id SET DEFAULT '00000000-0000-7000-8000-000000000001';

CREATE FUNCTION users.settle_tenant() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM users.tenants t WHERE t.tenant_id = NEW.tenant_id) THEN
        NEW.home_instance_id := coalesce(NEW.home_instance_id, NEW.tenant_id);
        NEW.tenant_id := CASE TG_OP WHEN 'UPDATE' THEN OLD.tenant_id ELSE blueteam.tenant_of_new() END;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER a_choose_tenant BEFORE INSERT OR UPDATE OF tenant_id ON users.users
    FOR EACH ROW EXECUTE FUNCTION users.settle_tenant();
ALTER TABLE users.users ENABLE ALWAYS TRIGGER a_choose_tenant;

-- Makes a table one of tenant data: each row is a tenant's, and stays so. For whoever makes a table later, too.
CREATE FUNCTION blueteam.separate_tenants(target regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- The default is evaluated once for the rows that are there, so that none is rewritten.
    EXECUTE format('ALTER TABLE %s ADD COLUMN IF NOT EXISTS tenant_id uuid NOT NULL DEFAULT blueteam.tenant_of_new()', target);
    EXECUTE format('COMMENT ON COLUMN %s.tenant_id IS ''Whose it is (users.tenants)''', target);
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', target);
    -- What writes and what signs people in works for every tenant, as does whoever migrates.
    EXECUTE format('CREATE POLICY all_tenants ON %s TO blueteam_engine, blueteam_ingest, blueteam_accounts, audit_retention,
                        CURRENT_USER USING (true) WITH CHECK (true)', target);
    EXECUTE format('CREATE POLICY own_tenant ON %s TO blueteam_admin, blueteam_reader
                        USING (tenant_id = (SELECT blueteam.tenant())) WITH CHECK (tenant_id = (SELECT blueteam.tenant()))', target);
    EXECUTE format('CREATE TRIGGER a_keep_tenant BEFORE INSERT OR UPDATE OR DELETE ON %s
                        FOR EACH ROW EXECUTE FUNCTION blueteam.keep_tenant()', target);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER a_keep_tenant', target);
END $$;
COMMENT ON FUNCTION blueteam.separate_tenants(regclass) IS 'Makes a table one of tenant data';
REVOKE ALL ON FUNCTION blueteam.separate_tenants(regclass) FROM PUBLIC;

SELECT blueteam.separate_tenants(place::regclass)
  FROM unnest(ARRAY[
        'audit.audit_log',
        'blueteam.advisory_matches', 'blueteam.alert_history', 'blueteam.assets', 'blueteam.compliance_controls',
        'blueteam.compliance_evidence', 'blueteam.compliance_objectives', 'blueteam.components', 'blueteam.dead_letters',
        'blueteam.escalations', 'blueteam.event_search_results', 'blueteam.event_searches', 'blueteam.evidence_confirmations',
        'blueteam.evidence_objectives', 'blueteam.incident_evidence', 'blueteam.incident_history', 'blueteam.log_events',
        'blueteam.notification_attempts', 'blueteam.notifications', 'blueteam.objective_history', 'blueteam.pending_alerts',
        'blueteam.poam_items', 'blueteam.posture_scores', 'blueteam.rate_limited_alerts', 'blueteam.scheduled_notifications',
        'blueteam.security_incidents', 'blueteam.silences', 'blueteam.source_gaps', 'blueteam.source_senders', 'blueteam.sources',
        'blueteam.ssp_sections', 'blueteam.user_baselines',
        'users.api_keys', 'users.enrollment_links', 'users.mfa_factors', 'users.password_policies', 'users.recovery_codes',
        'users.sessions', 'users.users'
  ]) AS place;

-- Events are written by the thousand, and by nobody who acts for a tenant.
DROP TRIGGER a_keep_tenant ON blueteam.log_events;

-- The policy without a tenant counts for all that have none of their own. As long as there is one tenant, it is that one's to set.
DROP POLICY own_tenant ON users.password_policies;
DROP TRIGGER a_keep_tenant ON users.password_policies;
CREATE POLICY own_tenant ON users.password_policies TO blueteam_admin, blueteam_reader
    USING (tenant_id = (SELECT blueteam.tenant()) OR tenant_id IS NULL)
    WITH CHECK (tenant_id = (SELECT blueteam.tenant())
                OR (tenant_id IS NULL AND (SELECT blueteam.has_one_tenant())));

-- Lists of a tenant, in the order in which they are shown.
CREATE INDEX alert_history_of_tenant ON blueteam.alert_history (tenant_id, created_at);
CREATE INDEX security_incidents_of_tenant ON blueteam.security_incidents (tenant_id, detected_at);

-- Applications write audit events as they always did: whoever has the right to insert may, whatever the tenant that a connection
-- claims. Whose an event is, is the database's to say: no login that writes may. People read them through blueteam.audit_events.
ALTER TABLE public.audit_events ADD COLUMN tenant_id uuid NOT NULL DEFAULT '00000000-0000-7000-8000-000000000001';
COMMENT ON COLUMN public.audit_events.tenant_id IS 'Whose it is (users.tenants)';
DO $$
BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = 'public.audit_events'::regclass) = 'p' THEN
        ALTER TABLE public.audit_events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
        CREATE POLICY all_tenants ON public.audit_events TO blueteam_engine, blueteam_ingest, blueteam_accounts, audit_retention,
            CURRENT_USER USING (true) WITH CHECK (true);
        CREATE POLICY own_tenant ON public.audit_events TO blueteam_admin, blueteam_reader
            USING (tenant_id = (SELECT blueteam.tenant())) WITH CHECK (false);
        CREATE POLICY applications ON public.audit_events FOR INSERT TO PUBLIC WITH CHECK (true);
        CREATE VIEW blueteam.audit_events WITH (security_invoker = true) AS SELECT * FROM public.audit_events;
    ELSE
        -- A table that an application made and may COPY into: policies would refuse that. The view guards it instead.
        CREATE VIEW blueteam.audit_events WITH (security_barrier = true) AS
            SELECT * FROM public.audit_events
             WHERE tenant_id = (SELECT blueteam.tenant()) OR CURRENT_USER IN ('blueteam_engine', 'blueteam_ingest');
        REVOKE ALL ON public.audit_events FROM blueteam_admin, blueteam_reader;
    END IF;
END $$;
COMMENT ON VIEW blueteam.audit_events IS 'The audit events of the tenant that the transaction is for';
GRANT SELECT ON blueteam.audit_events TO blueteam_admin, blueteam_reader, blueteam_engine;
GRANT SELECT (home_instance_id) ON users.users TO blueteam_engine, blueteam_admin;
GRANT SELECT (tenant_id) ON users.users TO blueteam_ingest;

DROP VIEW blueteam.all_events;
CREATE VIEW blueteam.all_events WITH (security_invoker = true) AS
SELECT event_id, timestamp, 'audit_db'::text AS source, category, action, result, user_id,
       coalesce(metadata ->> 'username', metadata ->> 'email') AS user_name,
       session_id, ip_address, user_agent::text AS user_agent, resource_type, resource_id, instance_id,
       cui_accessed, metadata, created_at, xact_id,
       NULL::text AS target, NULL::text AS source_id, NULL::text AS host, NULL::text AS program, NULL::bigint AS pid,
       NULL::text AS facility, NULL::inet AS peer, NULL::text AS raw, tenant_id
  FROM blueteam.audit_events
UNION ALL
SELECT event_id, timestamp, source, category, action, result, user_id,
       CASE WHEN category = 'auth' THEN coalesce(user_name, account) ELSE user_name END,
       session_id, ip_address, user_agent, resource_type, resource_id, instance_id,
       cui_involved, metadata, created_at, xact_id,
       CASE WHEN category <> 'auth' OR account IS DISTINCT FROM coalesce(user_name, account) THEN account END,
       source_id, host, program, pid, facility, peer, raw, tenant_id
  FROM blueteam.log_events;
COMMENT ON VIEW blueteam.all_events IS 'Events of every source, in one shape';
GRANT SELECT ON blueteam.all_events TO blueteam_admin, blueteam_reader;

REVOKE ALL ON FUNCTION blueteam.keep_tenant(), users.settle_tenant() FROM PUBLIC;
GRANT SELECT ON users.tenants TO blueteam_engine, blueteam_ingest, blueteam_accounts;
-- People see that there is their own.
ALTER TABLE users.tenants ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_tenants ON users.tenants TO blueteam_engine, blueteam_ingest, blueteam_accounts, audit_retention, CURRENT_USER
    USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON users.tenants TO blueteam_admin, blueteam_reader USING (tenant_id = (SELECT blueteam.tenant()));
GRANT SELECT ON users.tenants TO blueteam_admin, blueteam_reader;

-- The policies of a table do not hold whoever reads one of its partitions.
DO $$
DECLARE
    part regclass;
BEGIN
    FOR part IN
        SELECT i.inhrelid FROM pg_inherits i
         WHERE i.inhparent IN ('public.audit_events'::regclass, 'blueteam.log_events'::regclass)
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM blueteam_admin, blueteam_reader, blueteam_engine, blueteam_ingest, audit_retention',
                       part);
    END LOOP;
END $$;

-- COPY into a table with policies is for logins that they do not hold. Where nobody may say so, rows go in by INSERT, which is
-- slower; `status` tells.
DO $$
DECLARE
    writer name;
BEGIN
    FOR writer IN SELECT rolname FROM pg_roles WHERE rolname IN ('blueteam_engine', 'blueteam_ingest') AND NOT rolbypassrls LOOP
        BEGIN
            EXECUTE format('ALTER ROLE %I BYPASSRLS', writer);
        -- Another database of this cluster does the same right now, or this login may not.
        EXCEPTION WHEN insufficient_privilege OR internal_error THEN NULL;
        END;
    END LOOP;
END $$;
