-- Upkeep (SecureGuard, Maintenance Procedures and Key Performance Indicators): what the database grew by, when its statistics were
-- taken, which statements are slow, and the reviews that a person signs. Decision 0053.

-- One row a day. It is about the installation, not about a tenant. A disk that is not known is null.
CREATE TABLE blueteam.size_samples (
    day             date PRIMARY KEY,
    at              timestamptz NOT NULL,
    database_bytes  bigint NOT NULL CHECK (database_bytes >= 0),
    disk_used_bytes bigint CHECK (disk_used_bytes >= 0),
    disk_bytes      bigint CHECK (disk_bytes > 0),
    CHECK ((disk_used_bytes IS NULL) = (disk_bytes IS NULL))
);
COMMENT ON TABLE blueteam.size_samples IS 'Size of the database and of its disk, once a day';
COMMENT ON COLUMN blueteam.size_samples.day IS 'Day (UTC)';
COMMENT ON COLUMN blueteam.size_samples.at IS 'When it was measured';
COMMENT ON COLUMN blueteam.size_samples.database_bytes IS 'Size of this database';
COMMENT ON COLUMN blueteam.size_samples.disk_used_bytes IS 'Bytes in use on the disk that holds it; null where that is not known';
COMMENT ON COLUMN blueteam.size_samples.disk_bytes IS 'Bytes that can be used on that disk, with those in use';
GRANT SELECT, INSERT, DELETE ON blueteam.size_samples TO blueteam_engine;
GRANT SELECT, INSERT ON blueteam.size_samples TO blueteam_admin;
GRANT SELECT ON blueteam.size_samples TO blueteam_reader;

CREATE TABLE blueteam.analyze_runs (
    run_id   uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    at       timestamptz NOT NULL DEFAULT now(),
    done_by  text NOT NULL CHECK (length(done_by) <= 300),
    analyzed integer NOT NULL CHECK (analyzed >= 0),
    skipped  text[] NOT NULL DEFAULT '{}'
);
CREATE INDEX analyze_runs_by_time ON blueteam.analyze_runs (at);
COMMENT ON TABLE blueteam.analyze_runs IS 'When the statistics of blueteam''s tables were taken (ANALYZE)';
COMMENT ON COLUMN blueteam.analyze_runs.at IS 'When';
COMMENT ON COLUMN blueteam.analyze_runs.done_by IS 'Who had it done: a person or the daemon''s task';
COMMENT ON COLUMN blueteam.analyze_runs.analyzed IS 'Tables whose statistics are new';
COMMENT ON COLUMN blueteam.analyze_runs.skipped IS 'Tables that were locked, or are somebody else''s';
GRANT SELECT ON blueteam.analyze_runs TO blueteam_engine, blueteam_admin, blueteam_reader;

-- The tables whose statistics blueteam takes. An adopted database has tables of an application's own: of those, only the one that
-- blueteam reads all the time. A partition is its table's.
CREATE FUNCTION blueteam.tables_to_analyze() RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT format('%I.%I', n.nspname, c.relname)
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
       AND (n.nspname = 'blueteam'
            OR (n.nspname = 'public' AND c.relname = 'audit_events')
            OR (n.nspname = 'audit' AND c.relname = 'audit_log')
            OR (n.nspname = 'users' AND c.relname IN ('tenants', 'users', 'api_keys', 'password_policies', 'mfa_factors',
                                                      'recovery_codes', 'enrollment_links', 'sessions')))
     ORDER BY n.nspname, c.relname
$$;
COMMENT ON FUNCTION blueteam.tables_to_analyze() IS 'The tables whose statistics blueteam takes';

-- Takes the statistics of one table; false when it is not one of the above, is locked, or is another owner's. One table a
-- transaction: the lock, which keeps autovacuum and new partitions out, ends with it.
CREATE FUNCTION blueteam.analyze_table(name text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s' AS $$
DECLARE
    target regclass := (SELECT t::regclass FROM blueteam.tables_to_analyze() t WHERE t = name);
BEGIN
    -- PostgreSQL itself would only warn.
    IF target IS NULL OR NOT (SELECT pg_has_role(CURRENT_USER, c.relowner, 'USAGE') FROM pg_class c WHERE c.oid = target) THEN
        RETURN false;
    END IF;
    EXECUTE format('ANALYZE %s', target);
    RETURN true;
EXCEPTION WHEN lock_not_available OR query_canceled THEN
    RETURN false;
END $$;
COMMENT ON FUNCTION blueteam.analyze_table(text) IS 'Takes the statistics of one of blueteam''s tables';

-- Nobody says in another's name that it was done.
CREATE FUNCTION blueteam.record_analyze(analyzed integer, skipped text[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO blueteam.analyze_runs (done_by, analyzed, skipped)
    VALUES (left(blueteam.recorded_actor(), 300), analyzed, skipped)
$$;
COMMENT ON FUNCTION blueteam.record_analyze(integer, text[]) IS 'Records that statistics were taken, and by whom';

REVOKE ALL ON FUNCTION blueteam.tables_to_analyze(), blueteam.analyze_table(text), blueteam.record_analyze(integer, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION blueteam.tables_to_analyze(), blueteam.analyze_table(text), blueteam.record_analyze(integer, text[])
    TO blueteam_engine, blueteam_admin;

-- A view of the extension's, and not one that somebody put in its place: by what it belongs to, and not by its name alone.
CREATE FUNCTION blueteam.extension_view(view_name text) RETURNS regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.oid::regclass
      FROM pg_extension e
      JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
                      AND d.classid = 'pg_class'::regclass
      JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'v'
     WHERE e.extname = 'pg_stat_statements' AND c.relname = view_name
$$;
COMMENT ON FUNCTION blueteam.extension_view(text) IS 'A view of pg_stat_statements; null without the extension';

-- A statement's text, without what may be a secret. The extension puts $1 for constants, but keeps comments, and keeps a text as it
-- was when its entry was evicted while the statement ran. So literals, numbers and comments go out here, and of a text that cannot
-- be read with certainty only the first word is left. Other statements (ALTER ROLE … PASSWORD) are not shown at all.
CREATE FUNCTION blueteam.statement_text(query text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH plain AS (
        SELECT ltrim(regexp_replace(
            regexp_replace(
                regexp_replace(left(query, 20000), $re$'([^']|'')*'|/\*[^*]*\*+([^/*][^*]*\*+)*/|--[^\n]*$re$, ' ? ', 'g'),
                '(?<![[:alnum:]_$.])[0-9][0-9a-fA-FxX_.]*', '?', 'g'),
            '[[:space:][:cntrl:]]+', ' ', 'g'), ' ?') AS text
    ), worded AS (
        SELECT text, upper(substring(text FROM '^[A-Za-z]+')) AS word FROM plain
    )
    SELECT CASE
        WHEN word IS NULL OR word NOT IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE') THEN NULL
        WHEN length(query) > 20000 OR position(E'\\' IN query) > 0 OR query ~ '\$[A-Za-z_]*\$' OR query ~ '/\*.*/\*'
             -- A quotation mark inside a quoted name, or what looks like one.
             OR query ~ $re$"[^"]*'[^"]*"$re$
             OR text ~ $re$'|/\*|\*/$re$ THEN word || ' …'
        ELSE left(text, 300) END
      FROM worded
$$;
COMMENT ON FUNCTION blueteam.statement_text(text) IS 'A statement of pg_stat_statements as it may be shown; null for what may not';

-- What pg_stat_statements has of this database, all statements together; `why` says why there is nothing.
CREATE FUNCTION blueteam.statement_totals(
    OUT why text, OUT calls bigint, OUT mean_ms double precision, OUT hidden bigint, OUT since timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    statements regclass := blueteam.extension_view('pg_stat_statements');
    info       regclass := blueteam.extension_view('pg_stat_statements_info');
BEGIN
    IF statements IS NULL THEN
        why := 'the extension pg_stat_statements is not in this database';
        RETURN;
    END IF;
    EXECUTE format(
        'SELECT coalesce(sum(calls), 0)::bigint, sum(total_exec_time) / nullif(sum(calls), 0),
                count(*) FILTER (WHERE queryid IS NULL)
           FROM %s WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())', statements)
        INTO calls, mean_ms, hidden;
    IF info IS NOT NULL THEN
        EXECUTE format('SELECT stats_reset FROM %s', info) INTO since;
    END IF;
EXCEPTION
    WHEN object_not_in_prerequisite_state THEN
        why := 'pg_stat_statements is not in shared_preload_libraries';
    WHEN insufficient_privilege THEN
        why := 'the owner of the schema blueteam may not read pg_stat_statements';
    WHEN undefined_column THEN
        why := 'pg_stat_statements is older than 1.8: run ALTER EXTENSION pg_stat_statements UPDATE';
END $$;
COMMENT ON FUNCTION blueteam.statement_totals() IS 'What pg_stat_statements has of this database, all together';

-- The statements of this database that take longest on average. Call it where statement_totals() gives no reason against it.
CREATE FUNCTION blueteam.slow_statements(most integer)
RETURNS TABLE (statement text, calls bigint, mean_ms double precision, max_ms double precision, total_ms double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    statements regclass := blueteam.extension_view('pg_stat_statements');
BEGIN
    IF statements IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE format(
        'SELECT s.text, sum(s.calls)::bigint, sum(s.total_exec_time) / sum(s.calls), max(s.max_exec_time), sum(s.total_exec_time)
           FROM (SELECT blueteam.statement_text(query) AS text, calls, total_exec_time, max_exec_time
                   FROM %s
                  WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND queryid IS NOT NULL
                    AND calls > 0) s
          WHERE s.text IS NOT NULL
          GROUP BY s.text
          ORDER BY 3 DESC, 1
          LIMIT $1', statements) USING least(greatest(most, 1), 100);
END $$;
COMMENT ON FUNCTION blueteam.slow_statements(integer) IS 'Statements of this database that take longest, as they may be shown';

REVOKE ALL ON FUNCTION blueteam.extension_view(text), blueteam.statement_text(text), blueteam.statement_totals(),
    blueteam.slow_statements(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION blueteam.statement_totals(), blueteam.slow_statements(integer) TO blueteam_admin;

-- Which review a piece of evidence is: that of what is logged (3.3.3), or one of upkeep.
ALTER TABLE blueteam.compliance_evidence
    DROP CONSTRAINT compliance_evidence_form_check,
    ADD CONSTRAINT compliance_evidence_form_check CHECK (form IN ('review', 'weekly_review', 'monthly_review')) NOT VALID;
ALTER TABLE blueteam.compliance_evidence VALIDATE CONSTRAINT compliance_evidence_form_check;
