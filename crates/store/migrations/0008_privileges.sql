-- Who may do what. Nothing here lets any role update, delete or truncate an event or an audit row, and nobody but the server
-- sets created_at, seq and xact_id: writers hold INSERT on the other columns only.

-- Functions are PUBLIC's by default. Ids are for everybody; the rest is not.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA blueteam, audit FROM PUBLIC;
GRANT EXECUTE ON FUNCTION blueteam.uuid_v7() TO PUBLIC;
GRANT EXECUTE ON FUNCTION audit.drop_month(regclass) TO audit_retention;
REVOKE CREATE ON SCHEMA audit FROM audit_retention;
REVOKE ALL ON ALL TABLES IN SCHEMA blueteam, users, audit FROM PUBLIC;

-- The cluster's identity: a database restored elsewhere starts its transaction ids over, and the reader must notice.
CREATE FUNCTION blueteam.system_identifier() RETURNS text
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'SELECT system_identifier::text FROM pg_control_system()';
REVOKE ALL ON FUNCTION blueteam.system_identifier() FROM PUBLIC;

-- Rebasing the reader needs a moment without writers, and LOCK TABLE would take a right to change rows; this takes only the lock.
CREATE FUNCTION blueteam.hold_writers() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '30s' AS $$
BEGIN
    LOCK TABLE public.audit_events, blueteam.collected_events IN SHARE MODE;
END $$;
REVOKE ALL ON FUNCTION blueteam.hold_writers() FROM PUBLIC;

GRANT USAGE ON SCHEMA public TO eqmon_audit_writer, blueteam_ingest, blueteam_engine, blueteam_reader, blueteam_admin;
GRANT USAGE ON SCHEMA blueteam TO blueteam_ingest, blueteam_engine, blueteam_reader, blueteam_admin;
GRANT USAGE ON SCHEMA users TO blueteam_ingest, blueteam_engine, blueteam_admin;
GRANT USAGE ON SCHEMA audit TO blueteam_engine, blueteam_reader, blueteam_admin;

-- Writers of audit events.
GRANT INSERT (event_id, timestamp, category, action, result, user_id, session_id, ip_address, user_agent, resource_type,
              resource_id, instance_id, cui_accessed, metadata)
    ON public.audit_events TO eqmon_audit_writer, blueteam_ingest;

-- Ingest knows a key by its hash and notes that it was used.
GRANT SELECT (key_id, user_id, key_hash, is_active, expires_at, last_used, usage_count, scopes), UPDATE (last_used, usage_count)
    ON users.api_keys TO blueteam_ingest;
GRANT SELECT (user_id, is_active) ON users.users TO blueteam_ingest;

-- The engine.
GRANT SELECT ON public.audit_events, blueteam.collected_events TO blueteam_engine;
GRANT INSERT (event_id, timestamp, source, category, action, result, user_id, user_name, account, session_id, ip_address,
              user_agent, resource_type, resource_id, instance_id, cui_involved, occurrences, metadata)
    ON blueteam.collected_events TO blueteam_engine;
GRANT SELECT, INSERT, UPDATE ON blueteam.collector_positions, blueteam.reader_cursor, blueteam.user_baselines,
    blueteam.deliveries, blueteam.alert_history, blueteam.security_incidents, blueteam.alert_rules TO blueteam_engine;
GRANT DELETE ON blueteam.user_baselines, blueteam.collector_positions TO blueteam_engine;
GRANT SELECT (user_id, username, role, tenant_id, is_active) ON users.users TO blueteam_engine;
GRANT EXECUTE ON FUNCTION blueteam.ensure_partitions(integer), blueteam.system_identifier(), blueteam.hold_writers(),
    audit.anonymize(interval), audit.drop_old_events(integer) TO blueteam_engine;

-- Readers see everything of the blueteam schema and the log, no accounts.
GRANT SELECT ON ALL TABLES IN SCHEMA blueteam TO blueteam_reader, blueteam_admin;
GRANT SELECT ON public.audit_events, audit.audit_log TO blueteam_reader, blueteam_admin;

-- People at work. The document granted ALL on what it knew; TRUNCATE and TRIGGER would get around the log.
REVOKE ALL ON ALL TABLES IN SCHEMA blueteam FROM blueteam_admin;
GRANT SELECT ON ALL TABLES IN SCHEMA blueteam TO blueteam_admin;
GRANT INSERT, UPDATE, DELETE ON blueteam.security_incidents, blueteam.incident_evidence, blueteam.compliance_controls,
    blueteam.compliance_evidence, blueteam.poam_items, blueteam.alert_rules, blueteam.alert_history, blueteam.posture_scores,
    blueteam.ssp_sections TO blueteam_admin;
GRANT INSERT, UPDATE ON blueteam.deliveries TO blueteam_admin;
GRANT SELECT, INSERT, UPDATE, DELETE ON users.users, users.api_keys TO blueteam_admin;
