-- Checks that see the same as before confirm what is stored, and only the newest result of a check counts: a hundred thousand rows of six years need not
-- be read to know where things stand.

ALTER TABLE blueteam.compliance_evidence
    -- Order of insertion: clocks go wrong. Rows that are there are numbered as they lie.
    ADD COLUMN seq          bigint GENERATED ALWAYS AS IDENTITY,
    -- Over what a check decided from and what it said, without the time.
    ADD COLUMN facts_sha256 text CHECK (facts_sha256 ~ '^[0-9a-f]{64}$'),
    -- What this program made of it by itself; no file and no text that somebody takes in has it.
    ADD COLUMN form         text CHECK (form IN ('review'));

-- Reviews that were signed before had no mark but their words.
ALTER TABLE blueteam.compliance_evidence DISABLE TRIGGER keep_evidence;
UPDATE blueteam.compliance_evidence SET form = 'review'
 WHERE control_id = '3.3.3' AND check_id IS NULL AND evidence_type = 'log_sample' AND description = 'Review of logged events'
   AND state = 'final' AND owner = approved_by AND content LIKE 'Signed by %' AND content LIKE '%Types of events:%';
ALTER TABLE blueteam.compliance_evidence ENABLE ALWAYS TRIGGER keep_evidence;

DROP INDEX blueteam.idx_evidence_check;
CREATE INDEX evidence_results ON blueteam.compliance_evidence (check_id, seq) WHERE check_id IS NOT NULL;
CREATE INDEX evidence_results_by_day ON blueteam.compliance_evidence (collected_at) WHERE check_id IS NOT NULL;
-- What people took in, which is little beside what checks leave.
CREATE INDEX evidence_of_people ON blueteam.compliance_evidence (evidence_id) WHERE check_id IS NULL;

-- A check saw again what it had seen. Each row is chained to the one before it by its hash, the first to the piece itself.
CREATE TABLE blueteam.evidence_confirmations (
    evidence_id  uuid        NOT NULL REFERENCES blueteam.compliance_evidence ON DELETE CASCADE,
    n            integer     NOT NULL CHECK (n > 0),
    confirmed_at timestamptz NOT NULL,
    confirmed_by text        NOT NULL CHECK (length(confirmed_by) BETWEEN 1 AND 200),
    sha256       text        NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    PRIMARY KEY (evidence_id, n)
);
CREATE INDEX evidence_confirmations_by_day ON blueteam.evidence_confirmations (confirmed_at);

-- They go with their piece, when that may go, and not before.
CREATE FUNCTION blueteam.keep_confirmation() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' AND NOT EXISTS (SELECT FROM blueteam.compliance_evidence e WHERE e.evidence_id = OLD.evidence_id) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'a confirmation of evidence % stays as it is', OLD.evidence_id USING ERRCODE = 'insufficient_privilege';
END $$;
REVOKE ALL ON FUNCTION blueteam.keep_confirmation() FROM PUBLIC;
CREATE TRIGGER keep_confirmation BEFORE UPDATE OR DELETE ON blueteam.evidence_confirmations
    FOR EACH ROW EXECUTE FUNCTION blueteam.keep_confirmation();
ALTER TABLE blueteam.evidence_confirmations ENABLE ALWAYS TRIGGER keep_confirmation;
SELECT audit.guard_truncate('blueteam.evidence_confirmations');

-- Each follows the one before it, and none is of the future: one row out of order would keep every later one out.
CREATE FUNCTION blueteam.follow_confirmation() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    last blueteam.evidence_confirmations;
BEGIN
    SELECT * INTO last FROM blueteam.evidence_confirmations c WHERE c.evidence_id = NEW.evidence_id ORDER BY n DESC LIMIT 1;
    IF NEW.n <> coalesce(last.n, 0) + 1 OR NOT isfinite(NEW.confirmed_at) OR NEW.confirmed_at > clock_timestamp() + interval '1 day' THEN
        RAISE EXCEPTION 'confirmation % of evidence % does not follow from the one before it', NEW.n, NEW.evidence_id
              USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
REVOKE ALL ON FUNCTION blueteam.follow_confirmation() FROM PUBLIC;
CREATE TRIGGER follow_confirmation BEFORE INSERT ON blueteam.evidence_confirmations
    FOR EACH ROW EXECUTE FUNCTION blueteam.follow_confirmation();
ALTER TABLE blueteam.evidence_confirmations ENABLE ALWAYS TRIGGER follow_confirmation;

-- The newest result of each check, found by as many steps in the index as there are checks.
CREATE VIEW blueteam.latest_results WITH (security_invoker = true) AS
    WITH RECURSIVE checks AS (
        (SELECT check_id FROM blueteam.compliance_evidence WHERE check_id IS NOT NULL ORDER BY check_id LIMIT 1)
        UNION ALL
        SELECT (SELECT e.check_id FROM blueteam.compliance_evidence e WHERE e.check_id > c.check_id ORDER BY e.check_id LIMIT 1)
          FROM checks c WHERE c.check_id IS NOT NULL)
    SELECT c.check_id, l.evidence_id FROM checks c
      CROSS JOIN LATERAL (SELECT e.evidence_id FROM blueteam.compliance_evidence e WHERE e.check_id = c.check_id ORDER BY e.seq DESC LIMIT 1) l
     WHERE c.check_id IS NOT NULL;

GRANT INSERT (facts_sha256, form) ON blueteam.compliance_evidence TO blueteam_admin;
GRANT INSERT (facts_sha256) ON blueteam.compliance_evidence TO blueteam_engine;
GRANT SELECT, INSERT ON blueteam.evidence_confirmations TO blueteam_admin;
GRANT SELECT ON blueteam.evidence_confirmations TO blueteam_engine, blueteam_reader;
GRANT SELECT ON blueteam.latest_results TO blueteam_engine, blueteam_reader, blueteam_admin;
