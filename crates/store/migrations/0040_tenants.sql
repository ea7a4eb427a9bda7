-- Whose events an alert is made of: the tenants (instance_id) that they name, the first two of them in order, and the nil UUID for an event that
-- names none. One that is not nil: all of its events are that tenant's. Empty: not known, as of alerts from before this column.
ALTER TABLE blueteam.alert_history ADD COLUMN tenants uuid[] NOT NULL DEFAULT '{}';
CREATE INDEX alert_history_by_tenant ON blueteam.alert_history (tenants, created_at) WHERE tenants <> '{}';

-- Silences and maintenance windows of a tenant.
ALTER TABLE blueteam.mutes ADD COLUMN tenant uuid;
DO $$
DECLARE old name;
BEGIN
    SELECT conname INTO STRICT old FROM pg_catalog.pg_constraint
     WHERE conrelid = 'blueteam.mutes'::regclass AND contype = 'c' AND pg_catalog.pg_get_constraintdef(oid) LIKE '%num_nonnulls(rule_id, source, entity)%';
    EXECUTE format('ALTER TABLE blueteam.mutes DROP CONSTRAINT %I', old);
END $$;
ALTER TABLE blueteam.mutes ADD CONSTRAINT mutes_cover_something CHECK (num_nonnulls(rule_id, source, entity, tenant) > 0);
GRANT INSERT (tenant) ON blueteam.mutes TO blueteam_admin;
