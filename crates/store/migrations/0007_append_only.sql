-- Append-only, second of three walls (the first is privileges, the third a seal): triggers that raise, on the tables and on
-- each of their partitions, present and future. ENABLE ALWAYS, so that session_replication_role does not turn them off.

CREATE FUNCTION audit.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- The only change there is: the retention role blanks an address past its age, and nothing else in the row.
    IF TG_OP = 'UPDATE' AND TG_TABLE_SCHEMA = 'audit' AND TG_TABLE_NAME = 'audit_log' AND current_user = 'audit_retention' THEN
        IF NEW.ip_address = '[anonymized]' AND OLD.created_at < now() - interval '90 days'
           AND to_jsonb(NEW) - 'ip_address' = to_jsonb(OLD) - 'ip_address' THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION '%.% is append-only: % refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'insufficient_privilege';
END $$;

-- Puts the guard on one table. Row triggers of a partitioned table reach its partitions by themselves; TRUNCATE triggers do not.
CREATE FUNCTION audit.guard_truncate(target regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON %s
                    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change()', target);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER append_only_truncate', target);
END $$;

CREATE FUNCTION audit.guard(target regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    part regclass;
BEGIN
    EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON %s
                    FOR EACH ROW EXECUTE FUNCTION audit.refuse_change()', target);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER append_only', target);
    PERFORM audit.guard_truncate(target);
    FOR part IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = target LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER append_only', part);
        PERFORM audit.guard_truncate(part);
    END LOOP;
END $$;

-- An adopted table of audit events gets its triggers in 0053: here its writers would wait until the end of this migration.
SELECT audit.guard(oid) FROM pg_class WHERE oid = 'public.audit_events'::regclass AND relkind = 'p';
SELECT audit.guard('blueteam.collected_events');
SELECT audit.guard('audit.audit_log');

-- Wakes the reader. It carries no data: the reader asks the table.
CREATE FUNCTION blueteam.wake_reader() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_notify('blueteam_events', '');
    RETURN NULL;
END $$;
DO $$
BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = 'public.audit_events'::regclass) = 'p' THEN
        CREATE TRIGGER wake_reader AFTER INSERT ON public.audit_events FOR EACH STATEMENT EXECUTE FUNCTION blueteam.wake_reader();
    END IF;
END $$;
CREATE TRIGGER wake_reader AFTER INSERT ON blueteam.collected_events FOR EACH STATEMENT EXECUTE FUNCTION blueteam.wake_reader();

-- One month's partition of one table; false when it is there already or its rows are in the default partition.
CREATE FUNCTION blueteam.make_partition(parent regclass, month date) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    space text := (SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = parent);
    base  text := (SELECT c.relname FROM pg_class c WHERE c.oid = parent);
    part  text := format('%I.%I', space, base || to_char(month, '"_"YYYY"_"MM'));
BEGIN
    IF to_regclass(part) IS NOT NULL THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %s PARTITION OF %s FOR VALUES FROM (%L) TO (%L)', part, parent,
                   to_char(month, 'YYYY-MM-DD') || ' 00:00+00', to_char(month + interval '1 month', 'YYYY-MM-DD') || ' 00:00+00');
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER append_only', part);
    PERFORM audit.guard_truncate(part::regclass);
    RETURN true;
EXCEPTION
    -- Events of that month came before their partition and sit in the default one, where they may stay.
    WHEN check_violation THEN RETURN false;
    WHEN duplicate_table OR unique_violation THEN RETURN false;
END $$;

-- Makes partitions from last month to `months` months ahead (at most 24); returns how many are new. Waits at most two seconds
-- for its locks, because it is called by a daemon that will call again.
CREATE FUNCTION blueteam.ensure_partitions(months integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    parent  regclass;
    ahead   integer;
    made    integer := 0;
BEGIN
    FOREACH parent IN ARRAY ARRAY['public.audit_events', 'blueteam.collected_events']::regclass[] LOOP
        CONTINUE WHEN (SELECT relkind FROM pg_class WHERE oid = parent) <> 'p';
        FOR ahead IN -1 .. least(greatest(months, 0), 24) LOOP
            IF blueteam.make_partition(parent,
                   (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead))::date) THEN
                made := made + 1;
            END IF;
        END LOOP;
    END LOOP;
    RETURN made;
END $$;

-- Blanks addresses older than `age` in the audit log; returns how many. Ninety days is the least (the trigger insists).
CREATE FUNCTION audit.anonymize(age interval DEFAULT '90 days') RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    blanked bigint;
BEGIN
    UPDATE audit.audit_log SET ip_address = '[anonymized]'
     WHERE created_at < now() - greatest(age, interval '90 days') AND ip_address IS NOT NULL AND ip_address <> '[anonymized]';
    GET DIAGNOSTICS blanked = ROW_COUNT;
    RETURN blanked;
END $$;

-- Drops one month of events, if it ended at least twelve months ago. Dropping takes the owner's rights, and this is all that
-- anybody gets of them: audit_retention alone may call it, and owns no table through which it could do more.
CREATE FUNCTION audit.drop_month(part regclass) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    cut date := (date_trunc('month', now() AT TIME ZONE 'UTC') - interval '12 months')::date;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                    WHERE i.inhrelid = part
                      AND i.inhparent IN ('public.audit_events'::regclass, 'blueteam.collected_events'::regclass)
                      AND c.relname ~ '_[0-9]{4}_[0-9]{2}$' AND to_date(right(c.relname, 7), 'YYYY_MM') < cut) THEN
        RAISE EXCEPTION '% is no month of events past its age', part USING ERRCODE = 'insufficient_privilege';
    END IF;
    EXECUTE format('DROP TABLE %s', part);
END $$;

-- Drops whole months of events that ended more than `months` months ago (at least 12); returns their names. Rows of the default
-- partition and of an adopted table without partitions stay.
CREATE FUNCTION audit.drop_old_events(months integer) RETURNS text[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    cut     date := (date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => greatest(months, 12)))::date;
    part    regclass;
    name    text;
    dropped text[] := '{}';
BEGIN
    FOR part IN
        SELECT c.oid::regclass FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent IN ('public.audit_events'::regclass, 'blueteam.collected_events'::regclass)
           AND c.relname ~ '_[0-9]{4}_[0-9]{2}$' AND to_date(right(c.relname, 7), 'YYYY_MM') < cut
         ORDER BY c.relname
    LOOP
        name := part::text;
        PERFORM audit.drop_month(part);
        dropped := dropped || name;
    END LOOP;
    RETURN dropped;
END $$;

GRANT SELECT, UPDATE (ip_address) ON audit.audit_log TO audit_retention;
ALTER FUNCTION audit.anonymize(interval) OWNER TO audit_retention;
ALTER FUNCTION audit.drop_old_events(integer) OWNER TO audit_retention;

SELECT blueteam.ensure_partitions(3);
