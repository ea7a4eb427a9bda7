-- Completes the adoption of a table of audit events that an application made (migration 030). Until
-- this commits, the application's rights are what they were; writers wait for a few milliseconds. A
-- table of our own has all of this already.
DO $$
DECLARE
    events  CONSTANT regclass := 'public.audit_events';
    writer  CONSTANT name     := 'eqmon_audit_writer';
    written text;
    read    text;
BEGIN
    IF (SELECT relkind FROM pg_class WHERE oid = events) = 'p' THEN
        RETURN;
    END IF;

    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = events AND tgname = 'append_only') THEN
        PERFORM audit.guard(events);
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = events AND tgname = 'wake_reader') THEN
        CREATE TRIGGER wake_reader AFTER INSERT ON public.audit_events FOR EACH STATEMENT EXECUTE FUNCTION blueteam.wake_reader();
    END IF;

    -- Migration 030 granted INSERT on the whole row; created_at, seq and xact_id are the server's.
    -- The writer keeps the columns that the application added, and a right to read that it was
    -- given (INSERT … RETURNING takes one).
    SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum)
               FILTER (WHERE attname NOT IN ('created_at', 'seq', 'xact_id')
                         AND has_column_privilege(writer, events, attnum, 'INSERT')),
           string_agg(quote_ident(attname), ', ' ORDER BY attnum)
               FILTER (WHERE has_column_privilege(writer, events, attnum, 'SELECT'))
      INTO written, read
      FROM pg_attribute
     WHERE attrelid = events AND attnum > 0 AND NOT attisdropped;

    -- 0008 granted the columns before. Whichever state of the catalog a session sees, it finds a
    -- right to insert.
    REVOKE ALL ON public.audit_events FROM eqmon_audit_writer, blueteam_reader, blueteam_admin, PUBLIC;
    EXECUTE format('GRANT INSERT (%s) ON public.audit_events TO eqmon_audit_writer', written);
    IF read IS NOT NULL THEN
        EXECUTE format('GRANT SELECT (%s) ON public.audit_events TO eqmon_audit_writer', read);
    END IF;
    GRANT SELECT ON public.audit_events TO blueteam_reader, blueteam_admin;
END $$;
