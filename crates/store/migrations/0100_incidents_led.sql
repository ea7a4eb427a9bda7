-- Incidents are led to their close: steps back and reopening are steps on record, people set title and severity, assign, write notes and
-- a timeline, work off tasks, link alerts and merge incidents so that both can be undone, and decide whether and when it is reported.

ALTER TABLE blueteam.security_incidents
    ADD COLUMN version             bigint NOT NULL DEFAULT 1,
    ADD COLUMN opened_by           text,
    ADD COLUMN title_set_by        text,
    ADD COLUMN title_set_at        timestamptz,
    ADD COLUMN severity_set_by     text,
    ADD COLUMN severity_set_at     timestamptz,
    ADD COLUMN proposed_title      text,
    ADD COLUMN proposed_severity   text CHECK (proposed_severity IN ('critical', 'high', 'medium', 'low')),
    ADD COLUMN discovered_at       timestamptz,
    ADD COLUMN discovery_reason    text CHECK (length(trim(discovery_reason)) BETWEEN 3 AND 4000),
    ADD COLUMN discovery_set_by    text,
    ADD COLUMN discovery_set_at    timestamptz,
    ADD COLUMN dfars_decided_by    text,
    ADD COLUMN dfars_decided_at    timestamptz,
    ADD COLUMN merged_into         uuid REFERENCES blueteam.security_incidents ON DELETE RESTRICT,
    ADD CONSTRAINT incident_discovery_whole CHECK (
        num_nonnulls(discovered_at, discovery_reason, discovery_set_by, discovery_set_at) IN (0, 4)),
    ADD CONSTRAINT incident_merged_is_closed CHECK (merged_into IS NULL OR status = 'closed'),
    ADD CONSTRAINT incident_merged_elsewhere CHECK (merged_into IS DISTINCT FROM incident_id);
CREATE INDEX incidents_merged ON blueteam.security_incidents (merged_into) WHERE merged_into IS NOT NULL;
-- Whether an incident of the same entity was closed a short time ago.
CREATE INDEX incidents_closed_of_entity ON blueteam.security_incidents (tenant_id, source, entity_type, entity_value, closed_at)
    WHERE status = 'closed' AND entity_value IS NOT NULL;

-- In which transaction a step was recorded: the incident changes with it, and in no other.
ALTER TABLE blueteam.incident_history ADD COLUMN transaction xid8;
ALTER TABLE blueteam.incident_history ALTER COLUMN transaction SET DEFAULT pg_current_xact_id();

-- What people wrote down, and what they changed beside the phase.
CREATE TABLE blueteam.incident_entries (
    entry_id    uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    incident_id uuid        NOT NULL REFERENCES blueteam.security_incidents ON DELETE RESTRICT,
    kind        text        NOT NULL CHECK (kind IN ('note', 'timeline', 'change')),
    happened_at timestamptz NOT NULL,
    body        text        NOT NULL CHECK (length(trim(body)) BETWEEN 1 AND 20000),
    author      text        NOT NULL,
    login       text        NOT NULL DEFAULT session_user,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX incident_entries_of_incident ON blueteam.incident_entries (incident_id, happened_at);
SELECT blueteam.separate_tenants('blueteam.incident_entries');
SELECT audit.guard('blueteam.incident_entries');

-- What is to be done: from a playbook, or added by a person.
CREATE TABLE blueteam.incident_tasks (
    task_id     uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    incident_id uuid        NOT NULL REFERENCES blueteam.security_incidents ON DELETE RESTRICT,
    number      integer     NOT NULL CHECK (number > 0),
    task        text        NOT NULL CHECK (length(trim(task)) BETWEEN 1 AND 500),
    playbook    text,
    state       text        NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'done', 'dropped')),
    remark      text        CHECK (length(remark) <= 4000),
    settled_by  text,
    settled_at  timestamptz,
    added_by    text        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (incident_id, number),
    CONSTRAINT incident_task_settled CHECK ((state = 'open') = (settled_by IS NULL) AND (settled_by IS NULL) = (settled_at IS NULL))
);
SELECT blueteam.separate_tenants('blueteam.incident_tasks');
SELECT audit.track('blueteam.incident_tasks', 'INCIDENT');

-- Which incidents were merged into which, and what was taken back.
CREATE TABLE blueteam.incident_merges (
    merge_id    uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    source_id   uuid        NOT NULL REFERENCES blueteam.security_incidents ON DELETE RESTRICT,
    target_id   uuid        NOT NULL REFERENCES blueteam.security_incidents ON DELETE RESTRICT,
    previous    text        NOT NULL,
    reason      text        NOT NULL CHECK (length(trim(reason)) BETWEEN 3 AND 4000),
    merged_by   text        NOT NULL,
    merged_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    undone_at   timestamptz,
    undone_by   text,
    undo_reason text
);
CREATE UNIQUE INDEX incident_merged_once ON blueteam.incident_merges (source_id) WHERE undone_at IS NULL;
CREATE INDEX incident_merges_of_target ON blueteam.incident_merges (target_id) WHERE undone_at IS NULL;
SELECT blueteam.separate_tenants('blueteam.incident_merges');

-- Which alerts belong to an incident, and which did: rows with an end, never deleted.
CREATE TABLE blueteam.incident_alerts (
    link_id     uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    incident_id uuid        NOT NULL REFERENCES blueteam.security_incidents ON DELETE RESTRICT,
    alert_id    uuid        NOT NULL REFERENCES blueteam.alert_history ON DELETE RESTRICT,
    reason      text,
    merge_id    uuid        REFERENCES blueteam.incident_merges ON DELETE RESTRICT,
    linked_by   text        NOT NULL,
    linked_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at    timestamptz,
    ended_by    text,
    end_reason  text
);
CREATE UNIQUE INDEX incident_alert_once ON blueteam.incident_alerts (alert_id) WHERE ended_at IS NULL;
CREATE INDEX incident_alerts_of_incident ON blueteam.incident_alerts (incident_id, linked_at);
SELECT blueteam.separate_tenants('blueteam.incident_alerts');

-- Whether a duty to report applies, as people decided it.
CREATE TABLE blueteam.incident_decisions (
    decision_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id uuid        NOT NULL REFERENCES blueteam.security_incidents ON DELETE RESTRICT,
    duty        text        NOT NULL CHECK (duty ~ '^[a-z0-9][a-z0-9_-]{0,39}$'),
    applies     boolean     NOT NULL,
    reason      text        NOT NULL CHECK (length(trim(reason)) BETWEEN 3 AND 4000),
    decided_by  text        NOT NULL,
    login       text        NOT NULL DEFAULT session_user,
    decided_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    transaction xid8        NOT NULL DEFAULT pg_current_xact_id()
);
CREATE INDEX incident_decisions_of_incident ON blueteam.incident_decisions (incident_id, decision_id);
SELECT blueteam.separate_tenants('blueteam.incident_decisions');
SELECT audit.guard('blueteam.incident_decisions');

-- Reports that were sent, with the numbers that came back; the first one ends the clock, the others follow up.
CREATE TABLE blueteam.incident_reports (
    report_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id uuid        NOT NULL REFERENCES blueteam.security_incidents ON DELETE RESTRICT,
    duty        text        NOT NULL CHECK (duty ~ '^[a-z0-9][a-z0-9_-]{0,39}$'),
    sent_at     timestamptz NOT NULL,
    number      text        CHECK (length(trim(number)) BETWEEN 1 AND 200),
    remark      text        CHECK (length(remark) <= 4000),
    recorded_by text        NOT NULL,
    login       text        NOT NULL DEFAULT session_user,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    transaction xid8        NOT NULL DEFAULT pg_current_xact_id()
);
CREATE INDEX incident_reports_of_incident ON blueteam.incident_reports (incident_id, report_id);
SELECT blueteam.separate_tenants('blueteam.incident_reports');
SELECT audit.guard('blueteam.incident_reports');

-- What an attack can be recognized by, as people found it: beside what alerts and events name.
CREATE TABLE blueteam.incident_observables (
    observable_id uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    incident_id   uuid        NOT NULL REFERENCES blueteam.security_incidents ON DELETE RESTRICT,
    kind          text        NOT NULL CHECK (kind IN ('ip', 'user', 'host', 'domain', 'url', 'sha256')),
    value         text        NOT NULL CHECK (length(trim(value)) BETWEEN 1 AND 2000),
    remark        text        CHECK (length(remark) <= 4000),
    added_by      text        NOT NULL,
    added_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    dropped_at    timestamptz,
    dropped_by    text
);
CREATE UNIQUE INDEX incident_observable_once ON blueteam.incident_observables (incident_id, kind, value) WHERE dropped_at IS NULL;
SELECT blueteam.separate_tenants('blueteam.incident_observables');

GRANT SELECT ON blueteam.incident_entries, blueteam.incident_tasks, blueteam.incident_merges, blueteam.incident_alerts,
    blueteam.incident_decisions, blueteam.incident_reports, blueteam.incident_observables TO blueteam_engine, blueteam_reader, blueteam_admin;

COMMENT ON TABLE blueteam.incident_entries IS 'Notes, timeline and changes of incidents; append-only';
COMMENT ON TABLE blueteam.incident_tasks IS 'What is to be done about incidents';
COMMENT ON TABLE blueteam.incident_merges IS 'Which incidents were merged into which';
COMMENT ON TABLE blueteam.incident_alerts IS 'Which alerts belong to an incident, and which did';
COMMENT ON TABLE blueteam.incident_decisions IS 'Whether duties to report apply; append-only';
COMMENT ON TABLE blueteam.incident_reports IS 'Reports that were sent; append-only';
COMMENT ON TABLE blueteam.incident_observables IS 'What an attack can be recognized by, as people found it';

-- A row that has an end gets it once, and nothing else of it changes.
CREATE FUNCTION blueteam.end_once() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ends text[] := string_to_array(TG_ARGV[0], ',');
BEGIN
    IF TG_OP <> 'DELETE' AND to_jsonb(OLD) ->> ends[1] IS NULL AND to_jsonb(NEW) - ends IS NOT DISTINCT FROM to_jsonb(OLD) - ends THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'a row of %.% stays as it is', TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
REVOKE ALL ON FUNCTION blueteam.end_once() FROM PUBLIC;
CREATE TRIGGER end_once BEFORE UPDATE OR DELETE ON blueteam.incident_alerts
    FOR EACH ROW EXECUTE FUNCTION blueteam.end_once('ended_at,ended_by,end_reason');
CREATE TRIGGER end_once BEFORE UPDATE OR DELETE ON blueteam.incident_merges
    FOR EACH ROW EXECUTE FUNCTION blueteam.end_once('undone_at,undone_by,undo_reason');
CREATE TRIGGER end_once BEFORE UPDATE OR DELETE ON blueteam.incident_observables
    FOR EACH ROW EXECUTE FUNCTION blueteam.end_once('dropped_at,dropped_by');
ALTER TABLE blueteam.incident_observables ENABLE ALWAYS TRIGGER end_once;
ALTER TABLE blueteam.incident_alerts ENABLE ALWAYS TRIGGER end_once;
ALTER TABLE blueteam.incident_merges ENABLE ALWAYS TRIGGER end_once;
SELECT audit.guard_truncate(place::regclass)
  FROM unnest(ARRAY['blueteam.incident_alerts', 'blueteam.incident_merges', 'blueteam.incident_tasks',
                  'blueteam.incident_observables']) AS place;

-- Whoever takes an alert out of its incident is not overruled by the engine when the alert grows.
ALTER TABLE blueteam.alert_history ADD COLUMN unlinked_at timestamptz;

INSERT INTO blueteam.incident_alerts (incident_id, alert_id, linked_by, linked_at, tenant_id)
SELECT incident_id, alert_id, 'blueteam-engine', created_at, tenant_id
  FROM blueteam.alert_history WHERE incident_id IS NOT NULL;

CREATE FUNCTION blueteam.record_link() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    why text := nullif(current_setting('blueteam.link_reason', true), '');
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF OLD.incident_id IS NOT DISTINCT FROM NEW.incident_id THEN
            RETURN NULL;
        END IF;
        UPDATE blueteam.incident_alerts
           SET ended_at = clock_timestamp(), ended_by = blueteam.recorded_actor(), end_reason = why
         WHERE alert_id = NEW.alert_id AND ended_at IS NULL;
    END IF;
    IF NEW.incident_id IS NOT NULL THEN
        INSERT INTO blueteam.incident_alerts (incident_id, alert_id, reason, merge_id, linked_by, tenant_id)
        VALUES (NEW.incident_id, NEW.alert_id, why, nullif(current_setting('blueteam.link_merge', true), '')::uuid,
                blueteam.recorded_actor(), NEW.tenant_id);
    END IF;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION blueteam.record_link() IS 'keeps which alerts belong to an incident, and which did';
REVOKE ALL ON FUNCTION blueteam.record_link() FROM PUBLIC;
CREATE TRIGGER record_link_of_new AFTER INSERT ON blueteam.alert_history
    FOR EACH ROW WHEN (NEW.incident_id IS NOT NULL) EXECUTE FUNCTION blueteam.record_link();
CREATE TRIGGER record_link AFTER UPDATE OF incident_id ON blueteam.alert_history
    FOR EACH ROW EXECUTE FUNCTION blueteam.record_link();
ALTER TABLE blueteam.alert_history ENABLE ALWAYS TRIGGER record_link_of_new, ENABLE ALWAYS TRIGGER record_link;

-- What a person has set stays until a person sets it again: what a worse alert says is proposed. A closed incident stays as it is,
-- unless the transaction has recorded why it is opened again, or what was decided or reported about it.
CREATE OR REPLACE FUNCTION blueteam.keep_incident() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    grades    text[] := '{low,medium,high,critical}';
    reporting text[] := '{dfars_reportable,dfars_reported_at,dfars_decided_by,dfars_decided_at,version,updated_at}';
BEGIN
    IF NEW.tenant_id IS DISTINCT FROM OLD.tenant_id OR NEW.incident_id IS DISTINCT FROM OLD.incident_id THEN
        RAISE EXCEPTION 'incident % stays what it is', OLD.incident_id USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF OLD.status = 'closed' THEN
        IF NEW.status <> 'closed' THEN
            IF NOT EXISTS (SELECT FROM blueteam.incident_history h
                            WHERE h.incident_id = OLD.incident_id AND h.previous = 'closed' AND h.status = NEW.status
                              AND h.transaction = pg_current_xact_id()) THEN
                RAISE EXCEPTION 'incident % is closed', OLD.incident_id USING ERRCODE = 'insufficient_privilege';
            END IF;
        ELSIF to_jsonb(NEW) - reporting IS DISTINCT FROM to_jsonb(OLD) - reporting
           OR NOT EXISTS (SELECT FROM blueteam.incident_decisions d
                           WHERE d.incident_id = OLD.incident_id AND d.transaction = pg_current_xact_id()
                          UNION ALL
                          SELECT FROM blueteam.incident_reports r
                           WHERE r.incident_id = OLD.incident_id AND r.transaction = pg_current_xact_id()) THEN
            RAISE EXCEPTION 'incident % is closed', OLD.incident_id USING ERRCODE = 'insufficient_privilege';
        END IF;
    END IF;

    IF OLD.title_set_at IS NOT NULL AND NEW.title_set_at IS NOT DISTINCT FROM OLD.title_set_at AND NEW.title <> OLD.title THEN
        NEW.proposed_title := NEW.title;
        NEW.title := OLD.title;
        NEW.description := OLD.description;
        NEW.correlation_rule := OLD.correlation_rule;
    END IF;
    IF NEW.severity <> OLD.severity AND NEW.severity_set_at IS NOT DISTINCT FROM OLD.severity_set_at THEN
        IF OLD.severity_set_at IS NOT NULL THEN
            IF array_position(grades, NEW.severity) > array_position(grades, OLD.severity) THEN
                NEW.proposed_severity := NEW.severity;
            END IF;
            NEW.severity := OLD.severity;
        ELSIF array_position(grades, NEW.severity) < array_position(grades, OLD.severity) THEN
            RAISE EXCEPTION 'incident % stays %', OLD.incident_id, OLD.severity USING ERRCODE = 'insufficient_privilege';
        END IF;
    END IF;
    IF OLD.dfars_decided_at IS NOT NULL AND NEW.dfars_decided_at IS NOT DISTINCT FROM OLD.dfars_decided_at THEN
        NEW.dfars_reportable := OLD.dfars_reportable;
    END IF;
    RETURN NEW;
END $$;

-- Whether a person's change of an incident may go on; holds the incident until the transaction ends. `seen` is the version that they
-- saw, or null.
CREATE FUNCTION blueteam.hold_incident(incident uuid, seen bigint, also_closed boolean) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    i record;
BEGIN
    SELECT status, version, merged_into INTO i FROM blueteam.security_incidents
     WHERE incident_id = incident AND tenant_id = blueteam.tenant_of_new() FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 'absent';
    END IF;
    RETURN CASE WHEN i.version <> seen THEN 'stale'
                WHEN i.merged_into IS NOT NULL THEN 'merged'
                WHEN i.status = 'closed' AND NOT also_closed THEN 'closed'
                ELSE 'done' END;
END $$;

CREATE FUNCTION blueteam.write_entry(incident uuid, sort text, happened timestamptz, what text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO blueteam.incident_entries (incident_id, kind, happened_at, body, author)
    VALUES (incident, sort, happened, what, blueteam.recorded_actor())
$$;

-- Opens an incident by hand, about an alert or about nothing that blueteam knows.
CREATE FUNCTION blueteam.open_incident(headline text, details text, grade text, alert uuid, why text) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    made  uuid;
    whose CONSTANT uuid := blueteam.tenant_of_new();
    a     record;
BEGIN
    IF alert IS NOT NULL THEN
        SELECT * INTO a FROM blueteam.alert_history WHERE alert_id = alert AND tenant_id = whose FOR UPDATE;
        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
        -- At most one open incident is about an entity; a second one beside it is about none.
        IF EXISTS (SELECT FROM blueteam.security_incidents i
                    WHERE i.tenant_id = whose AND i.source = a.source AND i.entity_type = a.entity_type
                      AND i.entity_value = a.entity_value AND i.status <> 'closed') THEN
            a.source := NULL;
            a.entity_type := NULL;
            a.entity_value := NULL;
        END IF;
        INSERT INTO blueteam.security_incidents (title, description, severity, detected_by, opened_by, correlation_rule, nist_controls,
            cui_involved, dfars_reportable, entity_type, entity_value, source, services, title_set_by, title_set_at, severity_set_by,
            severity_set_at)
        VALUES (headline, coalesce(details, a.description), grade, 'manual', blueteam.recorded_actor(), a.rule_id, a.nist_controls,
            a.cui_involved, a.cui_involved, a.entity_type, a.entity_value, a.source, a.services, blueteam.recorded_actor(),
            clock_timestamp(), blueteam.recorded_actor(), clock_timestamp())
        RETURNING incident_id INTO made;
        PERFORM set_config('blueteam.link_reason', coalesce(why, ''), true);
        UPDATE blueteam.alert_history SET incident_id = made, unlinked_at = NULL WHERE alert_id = alert;
        PERFORM set_config('blueteam.link_reason', '', true);
    ELSE
        INSERT INTO blueteam.security_incidents (title, description, severity, detected_by, opened_by, title_set_by, title_set_at,
            severity_set_by, severity_set_at)
        VALUES (headline, details, grade, 'manual', blueteam.recorded_actor(), blueteam.recorded_actor(), clock_timestamp(),
            blueteam.recorded_actor(), clock_timestamp())
        RETURNING incident_id INTO made;
    END IF;
    RETURN made;
END $$;

-- Sets title and severity, each where it is given.
CREATE FUNCTION blueteam.edit_incident(incident uuid, seen bigint, headline text, grade text, why text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held   text := blueteam.hold_incident(incident, seen, false);
    before record;
BEGIN
    IF held <> 'done' THEN
        RETURN held;
    END IF;
    SELECT title, severity INTO before FROM blueteam.security_incidents WHERE incident_id = incident;
    UPDATE blueteam.security_incidents
       SET title = coalesce(headline, title),
           title_set_by = CASE WHEN headline IS NULL THEN title_set_by ELSE blueteam.recorded_actor() END,
           title_set_at = CASE WHEN headline IS NULL THEN title_set_at ELSE clock_timestamp() END,
           proposed_title = CASE WHEN headline IS NULL THEN proposed_title END,
           severity = coalesce(grade, severity),
           severity_set_by = CASE WHEN grade IS NULL THEN severity_set_by ELSE blueteam.recorded_actor() END,
           severity_set_at = CASE WHEN grade IS NULL THEN severity_set_at ELSE clock_timestamp() END,
           proposed_severity = CASE WHEN grade IS NULL THEN proposed_severity END,
           version = version + 1, updated_at = now()
     WHERE incident_id = incident;
    IF grade <> before.severity THEN
        PERFORM blueteam.write_entry(incident, 'change', now(), format('Severity from %s to %s: %s', before.severity, grade, why));
    END IF;
    IF headline <> before.title THEN
        PERFORM blueteam.write_entry(incident, 'change', now(), left(format('Title changed from: %s', before.title), 4000));
    END IF;
    RETURN held;
END $$;

-- Gives an incident to an account, or to nobody.
CREATE FUNCTION blueteam.assign_incident(incident uuid, seen bigint, account text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held text := blueteam.hold_incident(incident, seen, false);
BEGIN
    IF held <> 'done' THEN
        RETURN held;
    END IF;
    IF account IS NOT NULL AND NOT EXISTS (SELECT FROM users.users u
                                            WHERE u.tenant_id = blueteam.tenant_of_new() AND u.username = account AND u.is_active) THEN
        RETURN 'account';
    END IF;
    UPDATE blueteam.security_incidents SET assigned_to = account, version = version + 1, updated_at = now()
     WHERE incident_id = incident;
    PERFORM blueteam.write_entry(incident, 'change', now(), coalesce('Assigned to ' || account, 'Assigned to nobody'));
    RETURN held;
END $$;

-- Adds a note, or what happened when. Also of a closed incident: it takes nothing away.
CREATE FUNCTION blueteam.note_incident(incident uuid, sort text, happened timestamptz, what text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held text := blueteam.hold_incident(incident, NULL, true);
BEGIN
    IF held <> 'done' THEN
        RETURN held;
    ELSIF sort NOT IN ('note', 'timeline') OR happened > clock_timestamp() + interval '5 minutes' THEN
        RETURN 'future';
    END IF;
    PERFORM blueteam.write_entry(incident, sort, coalesce(happened, now()), what);
    RETURN held;
END $$;

-- Takes in the tasks of a playbook, once.
CREATE FUNCTION blueteam.plan_incident(incident uuid, name text, tasks text[]) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held text := blueteam.hold_incident(incident, NULL, false);
BEGIN
    IF held <> 'done' OR EXISTS (SELECT FROM blueteam.incident_tasks t WHERE t.incident_id = incident AND t.playbook IS NOT NULL) THEN
        RETURN held;
    END IF;
    INSERT INTO blueteam.incident_tasks (incident_id, number, task, playbook, added_by)
    SELECT incident, coalesce((SELECT max(t.number) FROM blueteam.incident_tasks t WHERE t.incident_id = incident), 0) + n, line, name,
           blueteam.recorded_actor()
      FROM unnest(tasks) WITH ORDINALITY AS given (line, n);
    RETURN held;
END $$;

CREATE FUNCTION blueteam.add_incident_task(incident uuid, line text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held text := blueteam.hold_incident(incident, NULL, false);
BEGIN
    IF held <> 'done' THEN
        RETURN held;
    END IF;
    IF (SELECT count(*) FROM blueteam.incident_tasks t WHERE t.incident_id = incident) >= 500 THEN
        RETURN 'full';
    END IF;
    INSERT INTO blueteam.incident_tasks (incident_id, number, task, added_by)
    SELECT incident, coalesce(max(t.number), 0) + 1, line, blueteam.recorded_actor()
      FROM blueteam.incident_tasks t WHERE t.incident_id = incident;
    RETURN held;
END $$;

-- Says that a task is done, is dropped, or is open again.
CREATE FUNCTION blueteam.settle_incident_task(incident uuid, which integer, outcome text, what text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held text := blueteam.hold_incident(incident, NULL, false);
BEGIN
    IF held <> 'done' THEN
        RETURN held;
    END IF;
    UPDATE blueteam.incident_tasks
       SET state = outcome, remark = what,
           settled_by = CASE WHEN outcome <> 'open' THEN blueteam.recorded_actor() END,
           settled_at = CASE WHEN outcome <> 'open' THEN clock_timestamp() END
     WHERE incident_id = incident AND number = which AND state <> outcome;
    IF FOUND THEN
        RETURN held;
    END IF;
    RETURN CASE WHEN EXISTS (SELECT FROM blueteam.incident_tasks WHERE incident_id = incident AND number = which) THEN 'same'
                ELSE 'task' END;
END $$;

-- Adds what an attack can be recognized by, or takes it back.
CREATE FUNCTION blueteam.add_observable(incident uuid, sort text, what text, words text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held text := blueteam.hold_incident(incident, NULL, false);
BEGIN
    IF held <> 'done' THEN
        RETURN held;
    ELSIF (SELECT count(*) FROM blueteam.incident_observables o WHERE o.incident_id = incident) >= 1000 THEN
        RETURN 'full';
    END IF;
    INSERT INTO blueteam.incident_observables (incident_id, kind, value, remark, added_by)
    VALUES (incident, sort, what, words, blueteam.recorded_actor())
    ON CONFLICT DO NOTHING;
    RETURN CASE WHEN FOUND THEN held ELSE 'same' END;
END $$;

CREATE FUNCTION blueteam.drop_observable(incident uuid, sort text, what text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held text := blueteam.hold_incident(incident, NULL, false);
BEGIN
    IF held <> 'done' THEN
        RETURN held;
    END IF;
    UPDATE blueteam.incident_observables SET dropped_at = clock_timestamp(), dropped_by = blueteam.recorded_actor()
     WHERE incident_id = incident AND kind = sort AND value = what AND dropped_at IS NULL;
    RETURN CASE WHEN FOUND THEN held ELSE 'observable' END;
END $$;

-- Puts an alert into an incident, out of the one that it belonged to.
CREATE FUNCTION blueteam.link_alert(incident uuid, alert uuid, why text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held text := blueteam.hold_incident(incident, NULL, false);
    a    record;
BEGIN
    IF held <> 'done' THEN
        RETURN held;
    END IF;
    SELECT * INTO a FROM blueteam.alert_history WHERE alert_id = alert AND tenant_id = blueteam.tenant_of_new() FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 'alert';
    ELSIF a.incident_id = incident THEN
        RETURN 'same';
    END IF;
    PERFORM set_config('blueteam.link_reason', why, true);
    UPDATE blueteam.alert_history SET incident_id = incident, unlinked_at = NULL WHERE alert_id = alert;
    PERFORM set_config('blueteam.link_reason', '', true);
    UPDATE blueteam.security_incidents i
       SET cui_involved = i.cui_involved IS TRUE OR a.cui_involved, dfars_reportable = i.dfars_reportable IS TRUE OR a.cui_involved,
           nist_controls = ARRAY(SELECT DISTINCT c FROM unnest(i.nist_controls || a.nist_controls) AS c ORDER BY c),
           severity = CASE WHEN array_position('{low,medium,high,critical}'::text[], a.severity)
                                > array_position('{low,medium,high,critical}'::text[], i.severity) THEN a.severity ELSE i.severity END,
           version = version + 1, updated_at = now()
     WHERE i.incident_id = incident;
    RETURN held;
END $$;

-- Takes an alert out of its incident. The engine does not put it back.
CREATE FUNCTION blueteam.unlink_alert(incident uuid, alert uuid, why text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held text := blueteam.hold_incident(incident, NULL, false);
BEGIN
    IF held <> 'done' THEN
        RETURN held;
    END IF;
    PERFORM set_config('blueteam.link_reason', why, true);
    UPDATE blueteam.alert_history SET incident_id = NULL, unlinked_at = clock_timestamp()
     WHERE alert_id = alert AND incident_id = incident AND tenant_id = blueteam.tenant_of_new();
    IF NOT FOUND THEN
        held := 'alert';
    END IF;
    PERFORM set_config('blueteam.link_reason', '', true);
    UPDATE blueteam.security_incidents SET version = version + 1, updated_at = now() WHERE incident_id = incident AND held = 'done';
    RETURN held;
END $$;

-- Merges one incident into another, whatever their states are checked to be before.
CREATE FUNCTION blueteam.merge_unchecked(from_id uuid, into_id uuid, why text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    source record;
    merge  uuid := blueteam.uuid_v7();
BEGIN
    SELECT status, severity INTO source FROM blueteam.security_incidents WHERE incident_id = from_id;
    INSERT INTO blueteam.incident_merges (merge_id, source_id, target_id, previous, reason, merged_by)
    VALUES (merge, from_id, into_id, source.status, why, blueteam.recorded_actor());
    INSERT INTO blueteam.incident_history (incident_id, previous, status, reason, changed_by)
    VALUES (from_id, source.status, 'closed', left(format('merged into %s: %s', into_id, why), 4000), blueteam.recorded_actor());
    PERFORM set_config('blueteam.link_reason', why, true), set_config('blueteam.link_merge', merge::text, true);
    UPDATE blueteam.alert_history SET incident_id = into_id
     WHERE incident_id = from_id AND tenant_id = blueteam.tenant_of_new();
    PERFORM set_config('blueteam.link_reason', '', true), set_config('blueteam.link_merge', '', true);
    UPDATE blueteam.security_incidents
       SET status = 'closed', closed_at = now(), merged_into = into_id, version = version + 1, updated_at = now()
     WHERE incident_id = from_id;
    UPDATE blueteam.security_incidents
       SET version = version + 1, updated_at = now(),
           proposed_severity = CASE WHEN array_position('{low,medium,high,critical}'::text[], source.severity)
                                         > array_position('{low,medium,high,critical}'::text[], severity) THEN source.severity
                                    ELSE proposed_severity END
     WHERE incident_id = into_id AND status <> 'closed';
END $$;

CREATE FUNCTION blueteam.merge_incidents(from_id uuid, into_id uuid, why text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held text;
BEGIN
    -- In one order, whoever else merges the other way round.
    PERFORM FROM blueteam.security_incidents WHERE incident_id IN (from_id, into_id) ORDER BY incident_id FOR UPDATE;
    IF from_id = into_id THEN
        RETURN 'same';
    END IF;
    held := blueteam.hold_incident(from_id, NULL, false);
    IF held = 'done' THEN
        held := blueteam.hold_incident(into_id, NULL, false);
        IF held <> 'done' THEN
            RETURN 'into_' || held;
        END IF;
    ELSE
        RETURN held;
    END IF;
    IF EXISTS (SELECT FROM blueteam.security_incidents WHERE merged_into = from_id) THEN
        RETURN 'holds';
    END IF;
    PERFORM blueteam.merge_unchecked(from_id, into_id, why);
    RETURN held;
END $$;

-- Takes a merge back: the incident stands where it stood, with the alerts that it had.
CREATE FUNCTION blueteam.undo_merge(from_id uuid, why text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held text := blueteam.hold_incident(from_id, NULL, true);
    m    record;
    i    record;
BEGIN
    IF held <> 'merged' THEN
        RETURN CASE held WHEN 'absent' THEN held ELSE 'apart' END;
    END IF;
    SELECT * INTO m FROM blueteam.incident_merges WHERE source_id = from_id AND undone_at IS NULL FOR UPDATE;
    SELECT * INTO i FROM blueteam.security_incidents WHERE incident_id = from_id;
    PERFORM FROM blueteam.security_incidents WHERE incident_id = m.target_id AND status <> 'closed' FOR UPDATE;
    IF NOT FOUND THEN
        RETURN 'into_closed';
    END IF;
    IF EXISTS (SELECT FROM blueteam.security_incidents o
                WHERE o.tenant_id = i.tenant_id AND o.source = i.source AND o.entity_type = i.entity_type
                  AND o.entity_value = i.entity_value AND o.status <> 'closed') THEN
        RETURN 'occupied';
    END IF;
    INSERT INTO blueteam.incident_history (incident_id, previous, status, reason, changed_by)
    VALUES (from_id, 'closed', m.previous, left(format('taken out of %s: %s', m.target_id, why), 4000), blueteam.recorded_actor());
    UPDATE blueteam.security_incidents
       SET status = m.previous, closed_at = NULL, merged_into = NULL, version = version + 1, updated_at = now()
     WHERE incident_id = from_id;
    PERFORM set_config('blueteam.link_reason', why, true);
    UPDATE blueteam.alert_history a SET incident_id = from_id
      FROM blueteam.incident_alerts l
     WHERE l.merge_id = m.merge_id AND l.ended_at IS NULL AND l.alert_id = a.alert_id AND a.incident_id = m.target_id;
    PERFORM set_config('blueteam.link_reason', '', true);
    UPDATE blueteam.incident_merges
       SET undone_at = clock_timestamp(), undone_by = blueteam.recorded_actor(), undo_reason = why WHERE merge_id = m.merge_id;
    UPDATE blueteam.security_incidents
       SET version = version + 1, updated_at = now(),
           proposed_severity = CASE WHEN proposed_severity = i.severity THEN NULL ELSE proposed_severity END
     WHERE incident_id = m.target_id;
    RETURN 'done';
END $$;

-- Moves an incident to another phase, with the reason. Reopening takes in what was opened about the same entity meanwhile: one attack is
-- one incident.
DROP FUNCTION blueteam.advance_incident(uuid, text, text);
CREATE FUNCTION blueteam.step_incident(incident uuid, seen bigint, phase text, why text, cause text, lessons text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held   text := blueteam.hold_incident(incident, seen, true);
    phases text[] := '{detected,analyzing,contained,eradicated,recovered,closed}';
    place  integer := array_position(phases, phase);
    i      record;
    other  uuid;
BEGIN
    IF held <> 'done' THEN
        RETURN held;
    END IF;
    SELECT * INTO i FROM blueteam.security_incidents WHERE incident_id = incident;
    IF i.status = phase OR place IS NULL THEN
        RETURN 'same';
    END IF;
    cause := coalesce(nullif(trim(cause), ''), i.root_cause);
    lessons := coalesce(nullif(trim(lessons), ''), i.lessons_learned);
    IF phase = 'closed' AND (length(coalesce(cause, '')) < 3 OR length(coalesce(lessons, '')) < 3) THEN
        RETURN 'incomplete';
    END IF;
    IF i.status = 'closed' THEN
        SELECT o.incident_id INTO other FROM blueteam.security_incidents o
         WHERE o.tenant_id = i.tenant_id AND o.source = i.source AND o.entity_type = i.entity_type
           AND o.entity_value = i.entity_value AND o.status <> 'closed' FOR UPDATE;
        IF FOUND AND EXISTS (SELECT FROM blueteam.security_incidents WHERE merged_into = other) THEN
            RETURN 'occupied';
        END IF;
    END IF;
    INSERT INTO blueteam.incident_history (incident_id, previous, status, reason, changed_by)
    VALUES (incident, i.status, phase, why, blueteam.recorded_actor());
    IF other IS NOT NULL THEN
        PERFORM blueteam.merge_unchecked(other, incident, why);
    END IF;
    UPDATE blueteam.security_incidents
       SET status = phase, root_cause = cause, lessons_learned = lessons, version = version + 1, updated_at = now(),
           -- Who goes back finds that a phase was not reached; the history keeps that it was said.
           contained_at = CASE WHEN place = 3 THEN now() WHEN place > 3 THEN contained_at END,
           eradicated_at = CASE WHEN place = 4 THEN now() WHEN place > 4 THEN eradicated_at END,
           recovered_at = CASE WHEN place = 5 THEN now() WHEN place > 5 THEN recovered_at END,
           closed_at = CASE WHEN place = 6 THEN now() END
     WHERE incident_id = incident;
    IF phase = 'closed' THEN
        UPDATE blueteam.alert_history
           SET acknowledged = true, acknowledged_by = blueteam.recorded_actor(), acknowledged_at = now()
         WHERE incident_id = incident AND tenant_id = i.tenant_id AND acknowledged IS NOT TRUE;
    END IF;
    RETURN held;
END $$;

-- Says when an incident was discovered, and why then: the law's clocks run from there.
CREATE FUNCTION blueteam.set_discovery(incident uuid, seen bigint, at timestamptz, why text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held   text := blueteam.hold_incident(incident, seen, false);
    before timestamptz;
BEGIN
    IF held <> 'done' THEN
        RETURN held;
    ELSIF at > clock_timestamp() THEN
        RETURN 'future';
    END IF;
    SELECT coalesce(discovered_at, detected_at) INTO before FROM blueteam.security_incidents WHERE incident_id = incident;
    UPDATE blueteam.security_incidents
       SET discovered_at = at, discovery_reason = why, discovery_set_by = blueteam.recorded_actor(), discovery_set_at = clock_timestamp(),
           version = version + 1, updated_at = now()
     WHERE incident_id = incident;
    PERFORM blueteam.write_entry(incident, 'change', now(),
        format('Discovery from %s to %s: %s', to_char(before AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'),
               to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI "UTC"'), why));
    RETURN held;
END $$;

-- Decides whether a duty to report applies.
CREATE FUNCTION blueteam.decide_duty(incident uuid, seen bigint, what text, does_apply boolean, why text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held text := blueteam.hold_incident(incident, seen, true);
BEGIN
    IF held <> 'done' THEN
        RETURN held;
    END IF;
    INSERT INTO blueteam.incident_decisions (incident_id, duty, applies, reason, decided_by)
    VALUES (incident, what, does_apply, why, blueteam.recorded_actor());
    UPDATE blueteam.security_incidents
       SET dfars_reportable = CASE what WHEN 'dfars' THEN does_apply ELSE dfars_reportable END,
           dfars_decided_by = CASE what WHEN 'dfars' THEN blueteam.recorded_actor() ELSE dfars_decided_by END,
           dfars_decided_at = CASE what WHEN 'dfars' THEN clock_timestamp() ELSE dfars_decided_at END,
           version = version + 1, updated_at = now()
     WHERE incident_id = incident;
    RETURN held;
END $$;

-- Records that a report was sent.
CREATE FUNCTION blueteam.record_report(incident uuid, seen bigint, what text, at timestamptz, its_number text, words text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held text := blueteam.hold_incident(incident, seen, true);
BEGIN
    IF held <> 'done' THEN
        RETURN held;
    ELSIF at > clock_timestamp() + interval '5 minutes' THEN
        RETURN 'future';
    END IF;
    INSERT INTO blueteam.incident_reports (incident_id, duty, sent_at, number, remark, recorded_by)
    VALUES (incident, what, at, its_number, words, blueteam.recorded_actor());
    UPDATE blueteam.security_incidents
       SET dfars_reported_at = CASE what WHEN 'dfars' THEN coalesce(dfars_reported_at, at) ELSE dfars_reported_at END,
           version = version + 1, updated_at = now()
     WHERE incident_id = incident;
    RETURN held;
END $$;

-- What counts of the decisions about an incident, the newest last: its own, and where others were merged into it, that theirs must be
-- reported, as of the merge.
CREATE FUNCTION blueteam.duties_decided(incident uuid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object('duty', d.duty, 'applies', d.applies) ORDER BY d.at, d.n), '[]')
      FROM (SELECT own.duty, own.applies, own.decided_at AS at, own.decision_id AS n
              FROM blueteam.incident_decisions own WHERE own.incident_id = incident
             UNION ALL
            SELECT newest.duty, true, newest.merged_at, newest.decision_id
              FROM (SELECT DISTINCT ON (t.incident_id, t.duty) t.duty, t.applies, m.merged_at, t.decision_id
                      FROM blueteam.incident_merges m JOIN blueteam.incident_decisions t ON t.incident_id = m.source_id
                     WHERE m.target_id = incident AND m.undone_at IS NULL
                     ORDER BY t.incident_id, t.duty, t.decision_id DESC) AS newest
             WHERE newest.applies) AS d
$$;

-- The reports about an incident and those that were merged into it, the first one first.
CREATE FUNCTION blueteam.duties_sent(incident uuid) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object('duty', r.duty, 'at', to_char(r.sent_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                                                 'number', r.number) ORDER BY r.sent_at, r.report_id), '[]')
      FROM blueteam.incident_reports r
     WHERE r.incident_id = incident
        OR r.incident_id IN (SELECT m.source_id FROM blueteam.incident_merges m WHERE m.target_id = incident AND m.undone_at IS NULL)
$$;

COMMENT ON FUNCTION blueteam.duties_decided(uuid) IS 'what was decided about duties to report, the newest last';
COMMENT ON FUNCTION blueteam.duties_sent(uuid) IS 'which reports were sent, the first one first';

DO $$
DECLARE
    f regprocedure;
BEGIN
    FOR f IN SELECT p.oid FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
              WHERE n.nspname = 'blueteam'
                AND p.proname IN ('hold_incident', 'write_entry', 'merge_unchecked', 'open_incident', 'edit_incident', 'assign_incident',
                    'note_incident', 'plan_incident', 'add_incident_task', 'settle_incident_task', 'link_alert', 'unlink_alert',
                    'add_observable', 'drop_observable', 'merge_incidents', 'undo_merge', 'step_incident', 'set_discovery', 'decide_duty', 'record_report', 'duties_decided',
                    'duties_sent')
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION blueteam.open_incident(text, text, text, uuid, text), blueteam.edit_incident(uuid, bigint, text, text, text),
    blueteam.assign_incident(uuid, bigint, text), blueteam.note_incident(uuid, text, timestamptz, text),
    blueteam.plan_incident(uuid, text, text[]), blueteam.add_incident_task(uuid, text),
    blueteam.settle_incident_task(uuid, integer, text, text), blueteam.link_alert(uuid, uuid, text),
    blueteam.add_observable(uuid, text, text, text), blueteam.drop_observable(uuid, text, text),
    blueteam.unlink_alert(uuid, uuid, text), blueteam.merge_incidents(uuid, uuid, text), blueteam.undo_merge(uuid, text),
    blueteam.step_incident(uuid, bigint, text, text, text, text), blueteam.set_discovery(uuid, bigint, timestamptz, text),
    blueteam.decide_duty(uuid, bigint, text, boolean, text), blueteam.record_report(uuid, bigint, text, timestamptz, text, text)
    TO blueteam_admin;
GRANT EXECUTE ON FUNCTION blueteam.duties_decided(uuid), blueteam.duties_sent(uuid) TO blueteam_admin, blueteam_reader, blueteam_engine;

-- The incidents that are to be reported under DFARS 252.204-7012 and are not: from when the law counts. One that was closed before
-- anyone decided is over; one that is part of another is reported with that.
CREATE VIEW blueteam.reports_due WITH (security_invoker = true) AS
SELECT i.incident_id, i.tenant_id,
       least(coalesce(i.discovered_at, i.detected_at), min(coalesce(m.discovered_at, m.detected_at))) AS since
  FROM blueteam.security_incidents i
  LEFT JOIN blueteam.security_incidents m ON m.merged_into = i.incident_id
 WHERE i.merged_into IS NULL AND i.dfars_reported_at IS NULL
   AND (i.status <> 'closed' OR i.dfars_decided_at IS NOT NULL)
 GROUP BY i.incident_id
HAVING count(m.dfars_reported_at) = 0
   AND (i.dfars_reportable IS TRUE OR (i.dfars_decided_at IS NULL AND bool_or(m.dfars_reportable IS TRUE)));
COMMENT ON VIEW blueteam.reports_due IS 'incidents that are to be reported to DoD and are not, and from when the law counts';
GRANT SELECT ON blueteam.reports_due TO blueteam_engine, blueteam_reader, blueteam_admin;
