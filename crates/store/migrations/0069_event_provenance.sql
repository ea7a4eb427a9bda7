-- Where an event of a log was: the machine and process that logged it, who sent it, and the line itself.
--
-- `host`, `program`, `pid` and `facility` are what the line says. `source_id` (the file, journal or listener) and `peer` (the
-- address that sent it) are what the collector saw, which no text of a line can change. `raw` is the line up to 2 KiB with
-- secrets masked. No index covers them: a search is by time first.
ALTER TABLE blueteam.log_events
    ADD COLUMN source_id text,
    ADD COLUMN host      text,
    ADD COLUMN program   text,
    ADD COLUMN pid       bigint,
    ADD COLUMN facility  text,
    ADD COLUMN peer      inet,
    ADD COLUMN raw       text;
ALTER TABLE blueteam.log_events ADD CONSTRAINT log_events_provenance CHECK (
    octet_length(source_id) <= 4096 AND octet_length(host) <= 255 AND octet_length(program) <= 128
    AND octet_length(facility) <= 32 AND octet_length(raw) <= 2048) NOT VALID;
GRANT INSERT (source_id, host, program, pid, facility, peer, raw) ON blueteam.log_events TO blueteam_engine;

-- The raw line may be emptied earlier than the event is dropped. It is the only change that a row of log_events ever sees.
CREATE OR REPLACE FUNCTION audit.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- The only changes there are: the retention role blanks an address or a raw line past its age, and nothing else in the row.
    IF TG_OP = 'UPDATE' AND current_user = 'audit_retention' THEN
        IF TG_TABLE_SCHEMA = 'audit' AND TG_TABLE_NAME = 'audit_log' THEN
            IF NEW.ip_address = '[anonymized]' AND OLD.created_at < now() - interval '90 days'
               AND to_jsonb(NEW) - 'ip_address' = to_jsonb(OLD) - 'ip_address' THEN
                RETURN NEW;
            END IF;
        ELSIF TG_TABLE_SCHEMA = 'blueteam' AND TG_TABLE_NAME ~ '^log_events(_|$)' THEN
            IF NEW.raw IS NULL AND OLD.timestamp < now() - interval '30 days'
               AND to_jsonb(NEW) - 'raw' = to_jsonb(OLD) - 'raw' THEN
                RETURN NEW;
            END IF;
        END IF;
    END IF;
    RAISE EXCEPTION '%.% is append-only: % refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'insufficient_privilege';
END $$;

-- How far raw lines are emptied: all lines of events before this time are.
CREATE TABLE blueteam.raw_line_retention (
    singleton     boolean     PRIMARY KEY DEFAULT true CHECK (singleton),
    emptied_until timestamptz NOT NULL
);

-- Empties the raw lines of at most one day of events that are older than `age` (at least 30 days). Returns how many lines were
-- emptied, or NULL when there is nothing left to do.
CREATE FUNCTION audit.empty_raw_lines(age interval) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    cut     timestamptz := date_trunc('day', now() - greatest(age, interval '30 days'));
    since   timestamptz;
    until   timestamptz;
    emptied bigint;
BEGIN
    SELECT emptied_until INTO since FROM blueteam.raw_line_retention;
    IF since IS NULL THEN
        since := '-infinity';
    END IF;
    -- Empty stretches are passed over, so that the next day with events is the next step.
    SELECT min(timestamp) INTO until FROM blueteam.log_events WHERE timestamp >= since AND timestamp < cut;
    IF until IS NULL THEN
        INSERT INTO blueteam.raw_line_retention (emptied_until) VALUES (cut)
            ON CONFLICT (singleton) DO UPDATE SET emptied_until = greatest(raw_line_retention.emptied_until, excluded.emptied_until);
        RETURN NULL;
    END IF;
    since := until;
    until := least(date_trunc('day', since) + interval '1 day', cut);
    UPDATE blueteam.log_events SET raw = NULL WHERE timestamp >= since AND timestamp < until AND raw IS NOT NULL;
    GET DIAGNOSTICS emptied = ROW_COUNT;
    INSERT INTO blueteam.raw_line_retention (emptied_until) VALUES (until)
        ON CONFLICT (singleton) DO UPDATE SET emptied_until = excluded.emptied_until;
    RETURN emptied;
END $$;
GRANT SELECT, UPDATE (raw) ON blueteam.log_events TO audit_retention;
GRANT SELECT, INSERT, UPDATE ON blueteam.raw_line_retention TO audit_retention;
GRANT SELECT ON blueteam.raw_line_retention TO blueteam_engine, blueteam_admin;
-- An owner must be able to create in the schema while it becomes one.
GRANT CREATE ON SCHEMA audit TO audit_retention;
ALTER FUNCTION audit.empty_raw_lines(interval) OWNER TO audit_retention;
REVOKE CREATE ON SCHEMA audit FROM audit_retention;
REVOKE ALL ON FUNCTION audit.empty_raw_lines(interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.empty_raw_lines(interval) TO blueteam_engine;

-- The account of each sender of a source: its address (empty for a file or a local socket) and the machine that its lines name
-- (empty for the sum of an address, which alone counts lines that were not understood: those name no machine).
CREATE TABLE blueteam.source_senders (
    source_id     text        NOT NULL,
    peer          text        NOT NULL DEFAULT '' CHECK (octet_length(peer) <= 64),
    host          text        NOT NULL DEFAULT '' CHECK (octet_length(host) <= 255),
    first_seen_at timestamptz NOT NULL,
    last_seen_at  timestamptz NOT NULL,
    lines         bigint      NOT NULL DEFAULT 0,
    events        bigint      NOT NULL DEFAULT 0,
    unparsed      bigint      NOT NULL DEFAULT 0,
    -- Since the beginning of the hour of `last_seen_at`, and in the hour before it.
    hour_lines          bigint NOT NULL DEFAULT 0,
    hour_unparsed       bigint NOT NULL DEFAULT 0,
    last_hour_lines     bigint NOT NULL DEFAULT 0,
    last_hour_unparsed  bigint NOT NULL DEFAULT 0,
    -- How many of the newest lines in a row were not understood.
    unparsed_in_a_row   bigint NOT NULL DEFAULT 0,
    -- Since when people know that too much of it is not understood.
    unread_since  timestamptz,
    PRIMARY KEY (source_id, peer, host)
);
GRANT SELECT, INSERT, UPDATE ON blueteam.source_senders TO blueteam_engine;
GRANT SELECT ON blueteam.source_senders TO blueteam_admin;

-- The machines that the events of an alert were logged on, as far as they are looked up.
ALTER TABLE blueteam.alert_history ADD COLUMN hosts text[] NOT NULL DEFAULT '{}';

-- Since when a file that a folder or a pattern found is there no more.
ALTER TABLE blueteam.sources ADD COLUMN gone_at timestamptz;

-- Who acted and on whom are different fields: `useradd` adds an account that did nothing itself. Of an attempt to log in, the
-- name that was tried is who acted.
CREATE OR REPLACE VIEW blueteam.all_events WITH (security_invoker = true) AS
    SELECT event_id, timestamp, 'audit_db'::text AS source, category, action, result, user_id,
           coalesce(metadata ->> 'username', metadata ->> 'email') AS user_name, session_id, ip_address, user_agent::text, resource_type,
           resource_id, instance_id, cui_accessed AS cui, metadata, created_at, xact_id,
           NULL::text AS target, NULL::text AS source_id, NULL::text AS host, NULL::text AS program, NULL::bigint AS pid,
           NULL::text AS facility, NULL::inet AS peer, NULL::text AS raw
      FROM public.audit_events
    UNION ALL
    SELECT event_id, timestamp, source, category, action, result, user_id,
           CASE WHEN category = 'auth' THEN coalesce(user_name, account) ELSE user_name END, session_id, ip_address,
           user_agent, resource_type, resource_id, instance_id, cui_involved, metadata, created_at, xact_id,
           CASE WHEN category <> 'auth' OR account IS DISTINCT FROM coalesce(user_name, account) THEN account END,
           source_id, host, program, pid, facility, peer, raw
      FROM blueteam.log_events;
