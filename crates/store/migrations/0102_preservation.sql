-- What shows what was done is kept: DFARS 252.204-7012 (e) asks for images and monitoring data of 90 days from the report, and what was
-- pruned before the report is gone. A hold begins with the incident that must be reported, or may have to be, and ends 90 days after
-- the newest report, when someone decides that none is due, or when someone releases it and says why.

CREATE TABLE blueteam.incident_releases (
    release_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id uuid        NOT NULL REFERENCES blueteam.security_incidents ON DELETE RESTRICT,
    reason      text        NOT NULL CHECK (length(trim(reason)) BETWEEN 3 AND 4000),
    released_by text        NOT NULL,
    login       text        NOT NULL DEFAULT session_user,
    released_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX incident_releases_of_incident ON blueteam.incident_releases (incident_id);
SELECT blueteam.separate_tenants('blueteam.incident_releases');
SELECT audit.guard('blueteam.incident_releases');
SELECT audit.track('blueteam.incident_releases', 'INCIDENT');
COMMENT ON TABLE blueteam.incident_releases IS 'Holds that people ended, and why; append-only';
GRANT SELECT ON blueteam.incident_releases TO blueteam_engine, blueteam_reader, blueteam_admin, audit_retention;

-- From when events are kept for an incident: 30 days before its first event, of which no time lies more than 400 days back, since the
-- times of events are those of whoever logged them. Of what is part of another incident that one says it.
CREATE VIEW blueteam.preservation_holds WITH (security_invoker = true) AS
SELECT i.incident_id, i.tenant_id,
       greatest(least(i.detected_at, i.discovered_at,
                      (SELECT min(a.first_seen) FROM blueteam.alert_history a WHERE a.incident_id = i.incident_id)),
                i.detected_at - interval '400 days') - interval '30 days' AS since,
       r.newest + interval '90 days' AS until
  FROM blueteam.security_incidents i
  LEFT JOIN LATERAL (SELECT max(p.sent_at) AS newest FROM blueteam.incident_reports p
                      WHERE p.incident_id = i.incident_id AND p.duty = 'dfars') r ON true
 WHERE i.merged_into IS NULL
   AND (i.dfars_reportable IS TRUE
        OR (i.dfars_decided_at IS NULL
            AND EXISTS (SELECT FROM blueteam.security_incidents m
                         WHERE m.merged_into = i.incident_id AND m.dfars_reportable IS TRUE)))
   AND (i.status <> 'closed' OR i.dfars_decided_at IS NOT NULL)
   AND (r.newest IS NULL OR r.newest + interval '90 days' > now())
   AND NOT EXISTS (SELECT FROM blueteam.incident_releases e WHERE e.incident_id = i.incident_id);
COMMENT ON VIEW blueteam.preservation_holds IS 'incidents for which events are kept, from when, and until when';
GRANT SELECT ON blueteam.preservation_holds TO blueteam_engine, blueteam_reader, blueteam_admin, audit_retention;
GRANT SELECT ON blueteam.security_incidents, blueteam.incident_reports, blueteam.alert_history TO audit_retention;

-- Ends the hold of an incident.
CREATE FUNCTION blueteam.release_hold(incident uuid, why text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held text := blueteam.hold_incident(incident, NULL, true);
BEGIN
    IF held <> 'done' THEN
        RETURN held;
    ELSIF NOT EXISTS (SELECT FROM blueteam.preservation_holds h WHERE h.incident_id = incident) THEN
        RETURN 'free';
    END IF;
    INSERT INTO blueteam.incident_releases (incident_id, reason, released_by) VALUES (incident, why, blueteam.recorded_actor());
    RETURN held;
END $$;
REVOKE ALL ON FUNCTION blueteam.release_hold(uuid, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION blueteam.release_hold(uuid, text) TO blueteam_admin;

-- Neither a month nor a raw line goes that an incident of any tenant holds, whatever the retention.
CREATE OR REPLACE FUNCTION audit.drop_old_collected(months integer) RETURNS text[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    keep    integer := greatest(months, 3);
    cut     date := least((date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => keep))::date,
                          (SELECT date_trunc('month', min(h.since) AT TIME ZONE 'UTC')::date FROM blueteam.preservation_holds h));
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
END $$;

CREATE OR REPLACE FUNCTION audit.empty_raw_lines(age interval) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
    cut     timestamptz := date_trunc('day', least(now() - greatest(age, interval '30 days'),
                                                   (SELECT min(h.since) FROM blueteam.preservation_holds h)));
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
