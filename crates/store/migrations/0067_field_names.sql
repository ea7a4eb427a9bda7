-- Tables of blueteam's own get the names that the field uses. Names from the source documents stay. A rename touches the
-- catalog alone, whatever the size of the table; everything happens in one transaction.
DO $$
DECLARE
    renamed text[][] := ARRAY[
        ['collected_events', 'log_events'],
        ['mutes', 'silences'],
        ['deliveries', 'notifications'],
        ['delivery_attempts', 'notification_attempts'],
        ['folded_alerts', 'rate_limited_alerts'],
        ['notices', 'scheduled_notifications'],
        ['rule_proofs', 'rule_test_results'],
        ['event_queries', 'event_searches'],
        ['event_query_answers', 'event_search_results'],
        ['dropped_months', 'retention_drops'],
        ['database_positions', 'remote_audit_positions']];
    pair    text[];
    object  record;
BEGIN
    FOREACH pair SLICE 1 IN ARRAY renamed LOOP
        EXECUTE format('ALTER TABLE blueteam.%I RENAME TO %I', pair[1], pair[2]);
    END LOOP;

    -- Partitions, indexes and sequences are named after their table, as those that are made from now on are.
    FOR object IN
        SELECT c.oid, c.relname, c.relkind, p.pair[2] || substr(c.relname, length(p.pair[1]) + 1) AS name
          FROM pg_class c
          JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'blueteam'
          JOIN (SELECT ARRAY[renamed[i][1], renamed[i][2]] AS pair
                  FROM generate_subscripts(renamed, 1) AS i) p
            ON c.relname ~ ('^' || p.pair[1] || '_(pkey|default|[0-9]{4}_[0-9]{2}|[a-z_]*_seq)')
         WHERE c.relkind IN ('r', 'p', 'i', 'I', 'S')
    LOOP
        EXECUTE format(CASE WHEN object.relkind IN ('i', 'I') THEN 'ALTER INDEX blueteam.%I RENAME TO %I'
                            WHEN object.relkind = 'S' THEN 'ALTER SEQUENCE blueteam.%I RENAME TO %I'
                            ELSE 'ALTER TABLE blueteam.%I RENAME TO %I' END, object.relname, object.name);
    END LOOP;
END $$;

ALTER INDEX blueteam.idx_collected_ip_ts RENAME TO idx_log_events_ip_ts;
ALTER INDEX blueteam.idx_collected_xact RENAME TO idx_log_events_xact;
ALTER INDEX blueteam.mutes_by_end RENAME TO silences_by_end;
ALTER INDEX blueteam.delivery_attempts_by_delivery RENAME TO notification_attempts_by_notification;
ALTER INDEX blueteam.idx_deliveries_created RENAME TO idx_notifications_created;
ALTER INDEX blueteam.deliveries_once RENAME TO notifications_once;
ALTER INDEX blueteam.deliveries_opened RENAME TO notifications_opened;
ALTER INDEX blueteam.deliveries_due RENAME TO notifications_due;
ALTER INDEX blueteam.event_queries_by_time RENAME TO event_searches_by_time;
ALTER INDEX blueteam.rule_proofs_latest RENAME TO rule_test_results_latest;
ALTER INDEX blueteam.folded_untold RENAME TO rate_limited_unsent;

-- What functions say by name.
CREATE OR REPLACE FUNCTION audit.drop_month(part regclass)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET lock_timeout TO '2s'
AS $function$
DECLARE
    cut date := (date_trunc('month', now() AT TIME ZONE 'UTC') - interval '12 months')::date;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                    WHERE i.inhrelid = part
                      AND i.inhparent IN ('public.audit_events'::regclass, 'blueteam.log_events'::regclass)
                      AND c.relname ~ '_[0-9]{4}_[0-9]{2}$' AND to_date(right(c.relname, 7), 'YYYY_MM') < cut) THEN
        RAISE EXCEPTION '% is no month of events past its age', part USING ERRCODE = 'insufficient_privilege';
    END IF;
    EXECUTE format('DROP TABLE %s', part);
END $function$;

CREATE OR REPLACE FUNCTION blueteam.ensure_partitions(months integer)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET lock_timeout TO '2s'
AS $function$
DECLARE
    parent  regclass;
    ahead   integer;
    made    integer := 0;
BEGIN
    FOREACH parent IN ARRAY ARRAY['public.audit_events', 'blueteam.log_events']::regclass[] LOOP
        CONTINUE WHEN (SELECT relkind FROM pg_class WHERE oid = parent) <> 'p';
        FOR ahead IN -1 .. least(greatest(months, 0), 24) LOOP
            IF blueteam.make_partition(parent,
                   (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead))::date) THEN
                made := made + 1;
            END IF;
        END LOOP;
    END LOOP;
    RETURN made;
END $function$;

CREATE OR REPLACE FUNCTION blueteam.hold_writers()
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET lock_timeout TO '30s'
AS $function$
BEGIN
    LOCK TABLE public.audit_events, blueteam.log_events IN SHARE MODE;
END $function$;

CREATE OR REPLACE FUNCTION audit.drop_old_events(months integer)
 RETURNS text[]
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE
    cut     date := (date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => greatest(months, 12)))::date;
    part    regclass;
    name    text;
    dropped text[] := '{}';
BEGIN
    FOR part IN
        SELECT c.oid::regclass FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent IN ('public.audit_events'::regclass, 'blueteam.log_events'::regclass)
           AND c.relname ~ '_[0-9]{4}_[0-9]{2}$' AND to_date(right(c.relname, 7), 'YYYY_MM') < cut
         ORDER BY c.relname
    LOOP
        name := part::text;
        PERFORM audit.drop_month(part);
        dropped := dropped || name;
    END LOOP;
    RETURN dropped;
END $function$;

CREATE OR REPLACE FUNCTION audit.drop_old_collected(months integer)
 RETURNS text[]
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
 SET lock_timeout TO '2s'
AS $function$
DECLARE
    keep    integer := greatest(months, 3);
    cut     date := (date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => keep))::date;
    part    regclass;
    name    text;
    dropped text[] := '{}';
BEGIN
    FOR part IN
        SELECT c.oid::regclass FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'blueteam.log_events'::regclass
           AND c.relname ~ '_[0-9]{4}_[0-9]{2}$' AND to_date(right(c.relname, 7), 'YYYY_MM') < cut
         ORDER BY c.relname
    LOOP
        name := part::text;
        EXECUTE format('INSERT INTO blueteam.retention_drops (partition, events, first_at, last_at, months)
                        SELECT %L, count(*), min(timestamp), max(timestamp), %s FROM %s', name, keep, part);
        EXECUTE format('DROP TABLE %s', part);
        dropped := dropped || name;
    END LOOP;
    RETURN dropped;
END $function$;

-- The same where a table is named in a row.
ALTER TABLE blueteam.unreadable_events DROP CONSTRAINT unreadable_events_source_table_check;
ALTER TABLE blueteam.withheld_events DROP CONSTRAINT withheld_events_source_table_check;
UPDATE blueteam.unreadable_events SET source_table = 'log_events' WHERE source_table = 'collected_events';
UPDATE blueteam.withheld_events SET source_table = 'log_events' WHERE source_table = 'collected_events';
ALTER TABLE blueteam.unreadable_events ADD CONSTRAINT unreadable_events_source_table_check
    CHECK (source_table IN ('audit_events', 'log_events'));
ALTER TABLE blueteam.withheld_events ADD CONSTRAINT withheld_events_source_table_check
    CHECK (source_table IN ('audit_events', 'log_events'));

-- The indexes of API keys as the account document names them. A database that its owner made by the document has them.
DO $$
BEGIN
    IF to_regclass('users.idx_api_keys_user_id') IS NULL THEN
        ALTER INDEX users.idx_api_keys_user RENAME TO idx_api_keys_user_id;
    ELSE
        DROP INDEX IF EXISTS users.idx_api_keys_user;
    END IF;
END $$;
CREATE INDEX IF NOT EXISTS idx_api_keys_prefix ON users.api_keys (key_prefix);
CREATE INDEX IF NOT EXISTS idx_api_keys_active ON users.api_keys (is_active) WHERE is_active;
