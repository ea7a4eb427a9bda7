-- The chain of an incident's evidence (3.6.2, decision 0062): each record has the hash of the one before it and one over all of itself,
-- which the program computes. The database keeps the records in one row, without a fork, and as they are.

ALTER TABLE blueteam.incident_evidence
    ADD COLUMN sequence      bigint CHECK (sequence > 0),
    ADD COLUMN previous_hash text   CHECK (previous_hash ~ '^[0-9a-f]{64}$'),
    ADD COLUMN record_hash   text   CHECK (record_hash ~ '^[0-9a-f]{64}$'),
    ADD COLUMN login         text,
    ADD COLUMN size_bytes    bigint CHECK (size_bytes >= 0),
    ADD COLUMN media_type    text   CHECK (length(media_type) BETWEEN 3 AND 200),
    ADD COLUMN file_name     text   CHECK (length(file_name) BETWEEN 1 AND 255),
    ADD COLUMN original_name text   CHECK (length(original_name) <= 1024),
    ADD COLUMN query         text   CHECK (jsonb_typeof(query::jsonb) = 'object'),
    ADD COLUMN sealed_to     text   CHECK (sealed_to LIKE 'age1%'),
    ADD COLUMN sample_sha256 text   CHECK (sample_sha256 ~ '^[0-9a-f]{64}$'),
    ADD COLUMN sample_bytes  bigint CHECK (sample_bytes >= 0),
    -- A sample of malware is a file, and never a text that is shown.
    ADD CONSTRAINT evidence_sealed_whole CHECK (
        num_nonnulls(sealed_to, sample_sha256, sample_bytes) IN (0, 3) AND (sealed_to IS NULL OR content IS NULL));

-- What was recorded before there was a chain is its beginning, as it is.
CREATE FUNCTION blueteam.hashed_part(value text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(octet_length(convert_to(value, 'UTF8')) || ':' || value || ',', '-')
$$;
DO $$
DECLARE
    e        record;
    place    bigint := 0;
    previous text;
    hash     text;
    before   uuid;
    acting   text := current_setting('blueteam.tenant', true);
BEGIN
    FOR e IN SELECT * FROM blueteam.incident_evidence ORDER BY incident_id, collected_at, evidence_id LOOP
        IF e.incident_id IS DISTINCT FROM before THEN
            place := 0;
            previous := repeat('0', 64);
            before := e.incident_id;
        END IF;
        place := place + 1;
        SELECT encode(sha256(convert_to(string_agg(blueteam.hashed_part(f.name) || blueteam.hashed_part(f.value), '' ORDER BY f.n),
                                        'UTF8')), 'hex')
          INTO hash
          FROM unnest(
              ARRAY['form', 'record', 'tenant_id', 'incident_id', 'sequence', 'previous_hash', 'id', 'recorded_by', 'login',
                    'recorded_at', 'evidence_type', 'description', 'content', 'file_path', 'hash_sha256', 'size_bytes', 'media_type',
                    'file_name', 'original_name', 'query', 'sealed_to', 'sample_sha256', 'sample_bytes'],
              ARRAY['blueteam-evidence-1', 'item', e.tenant_id::text, e.incident_id::text, place::text, previous, e.evidence_id::text,
                    e.collected_by, NULL, to_char(e.collected_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), e.evidence_type,
                    e.description, e.content, e.file_path, e.hash_sha256, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL]
          ) WITH ORDINALITY AS f (name, value, n);
        -- The audit log's record of it is the tenant's, too.
        PERFORM set_config('blueteam.tenant', e.tenant_id::text, true);
        UPDATE blueteam.incident_evidence SET sequence = place, previous_hash = previous, record_hash = hash
         WHERE evidence_id = e.evidence_id;
        previous := hash;
    END LOOP;
    PERFORM set_config('blueteam.tenant', coalesce(acting, ''), true);
END $$;
DROP FUNCTION blueteam.hashed_part(text);

ALTER TABLE blueteam.incident_evidence
    ALTER COLUMN sequence SET NOT NULL,
    ALTER COLUMN previous_hash SET NOT NULL,
    ALTER COLUMN record_hash SET NOT NULL,
    ADD CONSTRAINT incident_evidence_once UNIQUE (incident_id, sequence),
    ADD CONSTRAINT incident_evidence_of_incident UNIQUE (incident_id, evidence_id);
DROP INDEX IF EXISTS blueteam.idx_evidence_incident;
SELECT audit.guard('blueteam.incident_evidence');

-- What happened to evidence: records of the same chain.
CREATE TABLE blueteam.incident_custody (
    custody_id    uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    incident_id   uuid        NOT NULL REFERENCES blueteam.security_incidents ON DELETE RESTRICT,
    evidence_id   uuid,
    event         text        NOT NULL CHECK (event IN ('collected', 'viewed', 'exported', 'transferred')),
    party         text        CHECK (length(trim(party)) BETWEEN 1 AND 500),
    remark        text        CHECK (length(remark) <= 4000),
    recorded_by   text        NOT NULL,
    login         text        NOT NULL,
    recorded_at   timestamptz NOT NULL,
    sequence      bigint      NOT NULL CHECK (sequence > 0),
    previous_hash text        NOT NULL CHECK (previous_hash ~ '^[0-9a-f]{64}$'),
    record_hash   text        NOT NULL CHECK (record_hash ~ '^[0-9a-f]{64}$'),
    CONSTRAINT incident_custody_once UNIQUE (incident_id, sequence),
    CONSTRAINT incident_custody_of_item FOREIGN KEY (incident_id, evidence_id)
        REFERENCES blueteam.incident_evidence (incident_id, evidence_id) ON DELETE RESTRICT,
    CONSTRAINT incident_custody_of_what CHECK (evidence_id IS NOT NULL OR event = 'exported'),
    CONSTRAINT incident_custody_to_whom CHECK (event <> 'transferred' OR party IS NOT NULL)
);
CREATE INDEX incident_custody_of_evidence ON blueteam.incident_custody (evidence_id, sequence);
SELECT blueteam.separate_tenants('blueteam.incident_custody');
SELECT audit.track('blueteam.incident_custody', 'EVIDENCE');
SELECT audit.guard('blueteam.incident_custody');
COMMENT ON TABLE blueteam.incident_custody IS 'What happened to the evidence of incidents; append-only';
GRANT SELECT ON blueteam.incident_custody TO blueteam_engine, blueteam_reader, blueteam_admin;

-- What the audit log says about a chain: whoever cuts its end off or rewrites it would have to change that, too.
CREATE INDEX audit_log_of_evidence ON audit.audit_log ((new_value ->> 'incident_id')) WHERE new_value ? 'record_hash';

-- The last record of an incident's chain; null for none.
CREATE FUNCTION blueteam.evidence_head(incident uuid, OUT sequence bigint, OUT record_hash text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT h.sequence, h.record_hash
      FROM ((SELECT e.sequence, e.record_hash FROM blueteam.incident_evidence e
              WHERE e.incident_id = incident ORDER BY e.sequence DESC LIMIT 1)
             UNION ALL
            (SELECT c.sequence, c.record_hash FROM blueteam.incident_custody c
              WHERE c.incident_id = incident ORDER BY c.sequence DESC LIMIT 1)) AS h
     ORDER BY h.sequence DESC LIMIT 1
$$;

-- A record follows the last one, says who is writing it and when, and is of an incident that takes evidence. The lock of the incident
-- is held until the transaction ends, so that two never follow the same one.
CREATE FUNCTION blueteam.chain_evidence() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    whole    jsonb := to_jsonb(NEW);
    is_item  boolean := TG_TABLE_NAME = 'incident_evidence';
    incident record;
    head     record;
    author   text;
    moment   timestamptz;
BEGIN
    SELECT i.status, i.tenant_id INTO incident FROM blueteam.security_incidents i WHERE i.incident_id = NEW.incident_id FOR UPDATE;
    IF NOT FOUND OR incident.tenant_id IS DISTINCT FROM NEW.tenant_id THEN
        RAISE EXCEPTION 'there is no incident %', NEW.incident_id USING ERRCODE = 'insufficient_privilege';
    ELSIF is_item AND incident.status = 'closed' THEN
        RAISE EXCEPTION 'incident % is closed', NEW.incident_id USING ERRCODE = 'insufficient_privilege';
    END IF;

    SELECT * INTO head FROM blueteam.evidence_head(NEW.incident_id);
    IF NEW.sequence IS DISTINCT FROM coalesce(head.sequence, 0) + 1
       OR NEW.previous_hash IS DISTINCT FROM coalesce(head.record_hash, repeat('0', 64)) THEN
        RAISE EXCEPTION 'a record of the evidence of incident % follows the last one: `blueteam incidents evidence add`',
              NEW.incident_id USING ERRCODE = 'insufficient_privilege';
    END IF;

    IF is_item THEN
        author := whole ->> 'collected_by';
        moment := (whole ->> 'collected_at')::timestamptz;
    ELSE
        author := whole ->> 'recorded_by';
        moment := (whole ->> 'recorded_at')::timestamptz;
    END IF;
    IF author IS DISTINCT FROM blueteam.recorded_actor() OR NEW.login IS DISTINCT FROM session_user::text
       OR moment NOT BETWEEN clock_timestamp() - interval '5 minutes' AND clock_timestamp() + interval '5 minutes' THEN
        RAISE EXCEPTION 'a record of evidence says who records it, and when' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER chain_evidence BEFORE INSERT ON blueteam.incident_evidence
    FOR EACH ROW EXECUTE FUNCTION blueteam.chain_evidence();
CREATE TRIGGER chain_evidence BEFORE INSERT ON blueteam.incident_custody
    FOR EACH ROW EXECUTE FUNCTION blueteam.chain_evidence();
ALTER TABLE blueteam.incident_evidence ENABLE ALWAYS TRIGGER chain_evidence;
ALTER TABLE blueteam.incident_custody ENABLE ALWAYS TRIGGER chain_evidence;

-- Holds an incident until the transaction ends, and says what its next record begins with. `state` is the incident's, or `absent`.
CREATE FUNCTION blueteam.hold_evidence(incident uuid, OUT state text, OUT merged_into uuid, OUT tenant uuid, OUT sequence bigint,
                                       OUT previous_hash text, OUT actor text, OUT login text, OUT at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    head record;
BEGIN
    state := blueteam.hold_incident(incident, NULL, true);
    IF state <> 'absent' THEN
        SELECT i.status, i.merged_into, i.tenant_id INTO state, merged_into, tenant
          FROM blueteam.security_incidents i WHERE i.incident_id = incident;
        SELECT * INTO head FROM blueteam.evidence_head(incident);
    ELSE
        SELECT NULL::bigint AS sequence, NULL::text AS record_hash INTO head;
    END IF;
    sequence := coalesce(head.sequence, 0);
    previous_hash := coalesce(head.record_hash, repeat('0', 64));
    actor := blueteam.recorded_actor();
    login := session_user;
    at := clock_timestamp();
END $$;

CREATE FUNCTION blueteam.append_evidence(record jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    e blueteam.incident_evidence := jsonb_populate_record(NULL::blueteam.incident_evidence, record);
BEGIN
    INSERT INTO blueteam.incident_evidence (
        evidence_id, incident_id, evidence_type, description, content, file_path, collected_at, collected_by, hash_sha256, tenant_id,
        sequence, previous_hash, record_hash, login, size_bytes, media_type, file_name, original_name, query, sealed_to,
        sample_sha256, sample_bytes)
    VALUES (
        e.evidence_id, e.incident_id, e.evidence_type, e.description, e.content, e.file_path, e.collected_at, e.collected_by,
        e.hash_sha256, e.tenant_id, e.sequence, e.previous_hash, e.record_hash, e.login, e.size_bytes, e.media_type, e.file_name,
        e.original_name, e.query, e.sealed_to, e.sample_sha256, e.sample_bytes);
END $$;

CREATE FUNCTION blueteam.append_custody(record jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c blueteam.incident_custody := jsonb_populate_record(NULL::blueteam.incident_custody, record);
BEGIN
    INSERT INTO blueteam.incident_custody (
        custody_id, incident_id, evidence_id, event, party, remark, recorded_by, login, recorded_at, sequence, previous_hash,
        record_hash, tenant_id)
    VALUES (
        c.custody_id, c.incident_id, c.evidence_id, c.event, c.party, c.remark, c.recorded_by, c.login, c.recorded_at, c.sequence,
        c.previous_hash, c.record_hash, c.tenant_id);
END $$;

COMMENT ON FUNCTION blueteam.hold_evidence(uuid) IS 'holds an incident, and says what the next record of its evidence begins with';
COMMENT ON FUNCTION blueteam.append_evidence(jsonb) IS 'adds an item of evidence to the chain of its incident';
COMMENT ON FUNCTION blueteam.append_custody(jsonb) IS 'adds what happened to evidence to the chain of its incident';

-- Items are added by the function alone.
REVOKE INSERT ON blueteam.incident_evidence FROM blueteam_admin;
REVOKE ALL ON FUNCTION blueteam.evidence_head(uuid), blueteam.chain_evidence(), blueteam.hold_evidence(uuid),
    blueteam.append_evidence(jsonb), blueteam.append_custody(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION blueteam.hold_evidence(uuid), blueteam.append_evidence(jsonb), blueteam.append_custody(jsonb)
    TO blueteam_admin;
