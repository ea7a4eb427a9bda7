-- Whose an event is: the tenant of the key or source by which it came (decision 0049). The ledger of sources is each tenant's own, so
-- that two of them may have a source of one name. Unique keys begin with the tenant: a name that is taken elsewhere is not.

-- Ingest says whose an audit event is, by its key; nobody else who writes may. It sees which ids are taken, because another
-- tenant's event with the same id keeps none out.
GRANT INSERT (tenant_id), SELECT (event_id, timestamp, tenant_id) ON public.audit_events TO blueteam_ingest;
GRANT SELECT (tenant_id) ON users.api_keys TO blueteam_ingest;

ALTER TABLE blueteam.source_gaps DROP CONSTRAINT source_gaps_source_id_fkey;
ALTER TABLE blueteam.sources DROP CONSTRAINT sources_pkey, ADD PRIMARY KEY (tenant_id, source_id);
ALTER TABLE blueteam.source_gaps
    ADD FOREIGN KEY (tenant_id, source_id) REFERENCES blueteam.sources (tenant_id, source_id);
ALTER TABLE blueteam.source_senders DROP CONSTRAINT source_senders_pkey, ADD PRIMARY KEY (tenant_id, source_id, peer, host);

DROP INDEX blueteam.source_gaps_by_source;
CREATE INDEX source_gaps_by_source ON blueteam.source_gaps (tenant_id, source_id, started_at);
DROP INDEX blueteam.source_gaps_one_silence;
CREATE UNIQUE INDEX source_gaps_one_silence ON blueteam.source_gaps (tenant_id, source_id)
    WHERE cause = 'silence' AND ended_at IS NULL;
DROP INDEX blueteam.source_gaps_one_outage;
CREATE UNIQUE INDEX source_gaps_one_outage ON blueteam.source_gaps (tenant_id, source_id)
    WHERE cause = 'outage' AND ended_at IS NULL;
DROP INDEX blueteam.dead_letters_by_source;
CREATE INDEX dead_letters_by_source ON blueteam.dead_letters (tenant_id, source_id, letter_id);

-- A table of audit events that an application made is one tenant's: whoever owns it writes what it likes into it.
CREATE FUNCTION users.refuse_second_tenant() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = 'public.audit_events'::regclass) <> 'p' THEN
        RAISE EXCEPTION 'audit_events is a table of an application, which writes for one tenant: there can be no second one'
            USING ERRCODE = 'feature_not_supported';
    END IF;
    RETURN NEW;
END $$;
REVOKE ALL ON FUNCTION users.refuse_second_tenant() FROM PUBLIC;
CREATE TRIGGER a_one_writer BEFORE INSERT ON users.tenants FOR EACH ROW EXECUTE FUNCTION users.refuse_second_tenant();
ALTER TABLE users.tenants ENABLE ALWAYS TRIGGER a_one_writer;

-- How far the audit tables of applications elsewhere were read: two tenants may have an application of one name.
SELECT blueteam.separate_tenants('blueteam.remote_audit_positions');
ALTER TABLE blueteam.remote_audit_positions DROP CONSTRAINT remote_audit_positions_pkey, ADD PRIMARY KEY (tenant_id, source_id);
