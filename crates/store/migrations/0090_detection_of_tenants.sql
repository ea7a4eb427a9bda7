-- Detection of each tenant by itself (decision 0054): what one of them has open, has learned or waits for is found under its own
-- name, so that the same attack against two of them is two alerts and two incidents.
DROP INDEX blueteam.idx_incidents_open_entity;
CREATE UNIQUE INDEX idx_incidents_open_entity ON blueteam.security_incidents (tenant_id, source, entity_type, entity_value)
    WHERE status <> 'closed';
ALTER TABLE blueteam.user_baselines DROP CONSTRAINT user_baselines_pkey, ADD PRIMARY KEY (tenant_id, source, user_key);

-- The record of a change is the tenant's whose row was changed, and that of a session its person's, also where whoever acts works for
-- no tenant: who signs people in, or a link in a mail.
CREATE FUNCTION audit.choose_tenant() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF coalesce(current_setting('blueteam.tenant', true), '') = '' AND NOT blueteam.has_one_tenant() THEN
        NEW.tenant_id := coalesce(
            (SELECT t.tenant_id FROM users.tenants t
              WHERE t.tenant_id::text = coalesce(NEW.new_value, NEW.old_value) ->> 'tenant_id'),
            (SELECT u.tenant_id FROM users.users u WHERE u.user_id = NEW.user_id),
            NEW.tenant_id);
    END IF;
    RETURN NEW;
END $$;
REVOKE ALL ON FUNCTION audit.choose_tenant() FROM PUBLIC;
CREATE TRIGGER a_choose_tenant BEFORE INSERT ON audit.audit_log FOR EACH ROW EXECUTE FUNCTION audit.choose_tenant();
ALTER TABLE audit.audit_log ENABLE ALWAYS TRIGGER a_choose_tenant;

-- Whose an alert is: for the link in a mail, which is signed and names no tenant.
CREATE FUNCTION blueteam.tenant_of_alert(alert uuid) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT tenant_id FROM blueteam.alert_history WHERE alert_id = alert
$$;
COMMENT ON FUNCTION blueteam.tenant_of_alert(uuid) IS 'Whose an alert is, for who has a signed link to it';
REVOKE ALL ON FUNCTION blueteam.tenant_of_alert(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION blueteam.tenant_of_alert(uuid) TO blueteam_admin;
