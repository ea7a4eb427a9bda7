-- Lines of logs need not be kept as long as audit events: months of them are dropped by an age of their own, and what was dropped is recorded.
CREATE TABLE blueteam.dropped_months (
    drop_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dropped_at timestamptz NOT NULL DEFAULT now(),
    partition  text        NOT NULL,
    -- How many events it held, and from when.
    events     bigint      NOT NULL,
    first_at   timestamptz,
    last_at    timestamptz,
    -- The age that was asked for.
    months     integer     NOT NULL
);
GRANT SELECT ON blueteam.dropped_months TO blueteam_engine, blueteam_reader, blueteam_admin;

-- Drops the months of collected_events that are older than so many whole months; never less than 3, whoever asks for it.
CREATE FUNCTION audit.drop_old_collected(months integer) RETURNS text[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    keep    integer := greatest(months, 3);
    cut     date := (date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => keep))::date;
    part    regclass;
    name    text;
    dropped text[] := '{}';
BEGIN
    FOR part IN
        SELECT c.oid::regclass FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'blueteam.collected_events'::regclass
           AND c.relname ~ '_[0-9]{4}_[0-9]{2}$' AND to_date(right(c.relname, 7), 'YYYY_MM') < cut
         ORDER BY c.relname
    LOOP
        name := part::text;
        EXECUTE format('INSERT INTO blueteam.dropped_months (partition, events, first_at, last_at, months)
                        SELECT %L, count(*), min(timestamp), max(timestamp), %s FROM %s', name, keep, part);
        EXECUTE format('DROP TABLE %s', part);
        dropped := dropped || name;
    END LOOP;
    RETURN dropped;
END $$;
REVOKE ALL ON FUNCTION audit.drop_old_collected(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.drop_old_collected(integer) TO blueteam_engine;

-- How much somebody saw who asked the events something. A second row, because nobody may change the first.
CREATE TABLE blueteam.event_query_answers (
    query_id bigint PRIMARY KEY REFERENCES blueteam.event_queries,
    ended_at timestamptz NOT NULL DEFAULT now(),
    rows     bigint      NOT NULL CHECK (rows >= 0)
);
GRANT SELECT, INSERT (query_id, rows) ON blueteam.event_query_answers TO blueteam_admin;
GRANT SELECT ON blueteam.event_query_answers TO blueteam_reader;
