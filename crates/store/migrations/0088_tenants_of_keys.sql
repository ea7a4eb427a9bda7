-- What signing in elsewhere and the API have added is tenants' data, too (decision 0049).
DO $$
DECLARE
    name regclass;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'users.external_identities', 'users.idempotency_keys', 'users.person_keys', 'users.person_key_secrets'
    ]::regclass[] LOOP
        EXECUTE format('ALTER TABLE %s ADD COLUMN tenant_id uuid NOT NULL DEFAULT blueteam.tenant_of_new()', name);
        EXECUTE format('COMMENT ON COLUMN %s.tenant_id IS ''Whose it is (users.tenants)''', name);
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY all_tenants ON %s TO blueteam_engine, blueteam_ingest, blueteam_accounts, audit_retention,
                            CURRENT_USER USING (true) WITH CHECK (true)', name);
        EXECUTE format('CREATE POLICY own_tenant ON %s TO blueteam_admin, blueteam_reader
                            USING (tenant_id = (SELECT blueteam.tenant())) WITH CHECK (tenant_id = (SELECT blueteam.tenant()))', name);
        EXECUTE format('CREATE TRIGGER a_keep_tenant BEFORE INSERT OR UPDATE OR DELETE ON %s
                            FOR EACH ROW EXECUTE FUNCTION blueteam.keep_tenant()', name);
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER a_keep_tenant', name);
    END LOOP;
END $$;
