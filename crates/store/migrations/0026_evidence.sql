-- Evidence (3.12.1; 32 CFR 170.16(c)(4), 170.17(c)(4)): what it is, its hash, how long it is good for, who approved it, and which objectives
-- it supports. What was taken in is never changed, and not deleted before six years are over.

ALTER TABLE blueteam.compliance_evidence
    ADD COLUMN file_name      text CHECK (length(file_name) BETWEEN 1 AND 255 AND file_name !~ '[/\\[:cntrl:]]'),
    ADD COLUMN media_type     text CHECK (length(media_type) <= 200),
    ADD COLUMN size_bytes     bigint CHECK (size_bytes >= 0),
    ADD COLUMN sha256         text CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    -- From when on it says something: the day a policy came into force, a setting was read, a scan was run.
    ADD COLUMN effective_at   timestamptz,
    ADD COLUMN owner          text CHECK (length(owner) <= 200),
    ADD COLUMN collected_by   text CHECK (length(collected_by) <= 200),
    -- Drafts and working papers count for nothing in an assessment.
    ADD COLUMN state          text NOT NULL DEFAULT 'draft' CHECK (state IN ('draft', 'final')),
    ADD COLUMN approved_by    text CHECK (length(approved_by) <= 200),
    ADD COLUMN approved_at    timestamptz,
    -- What a check decided from, so that somebody else can have it decide again.
    ADD COLUMN facts          jsonb,
    ADD COLUMN check_id       text,
    ADD COLUMN retain_until   timestamptz NOT NULL DEFAULT now() + interval '6 years',
    ADD CONSTRAINT final_is_approved CHECK (state <> 'final' OR num_nulls(approved_by, approved_at) = 0),
    ADD CONSTRAINT check_has_facts CHECK (num_nulls(facts, check_id) IN (0, 2));
CREATE INDEX idx_evidence_check ON blueteam.compliance_evidence (check_id, collected_at) WHERE check_id IS NOT NULL;

CREATE TABLE blueteam.evidence_objectives (
    evidence_id  uuid NOT NULL REFERENCES blueteam.compliance_evidence ON DELETE CASCADE,
    objective_id text NOT NULL REFERENCES blueteam.compliance_objectives,
    PRIMARY KEY (evidence_id, objective_id)
);
CREATE INDEX evidence_by_objective ON blueteam.evidence_objectives (objective_id);
SELECT audit.track('blueteam.evidence_objectives', 'EVIDENCE');

CREATE FUNCTION blueteam.keep_evidence() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    may_change text[] := '{state,approved_by,approved_at,valid_until,owner,retain_until}';
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.retain_until > now() THEN
            RAISE EXCEPTION 'evidence % is kept until %', OLD.evidence_id, OLD.retain_until USING ERRCODE = 'insufficient_privilege';
        END IF;
        RETURN OLD;
    END IF;
    IF to_jsonb(NEW) - may_change IS DISTINCT FROM to_jsonb(OLD) - may_change THEN
        RAISE EXCEPTION 'evidence % stays as it was taken in', OLD.evidence_id USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF NEW.retain_until < OLD.retain_until THEN
        RAISE EXCEPTION 'evidence % is kept until %', OLD.evidence_id, OLD.retain_until USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF OLD.state = 'final' AND NEW.state = 'draft' THEN
        RAISE EXCEPTION 'evidence % is final', OLD.evidence_id USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
REVOKE ALL ON FUNCTION blueteam.keep_evidence() FROM PUBLIC;
CREATE TRIGGER keep_evidence BEFORE UPDATE OR DELETE ON blueteam.compliance_evidence
    FOR EACH ROW EXECUTE FUNCTION blueteam.keep_evidence();
ALTER TABLE blueteam.compliance_evidence ENABLE ALWAYS TRIGGER keep_evidence;
SELECT audit.guard_truncate('blueteam.compliance_evidence');

REVOKE INSERT, UPDATE, DELETE ON blueteam.compliance_evidence FROM blueteam_admin;
GRANT INSERT (evidence_id, control_id, evidence_type, description, content, file_path, collected_at, automated, valid_until, file_name,
              media_type, size_bytes, sha256, effective_at, owner, collected_by, state, approved_by, approved_at, facts, check_id),
      UPDATE (state, approved_by, approved_at, valid_until, owner, retain_until), DELETE
    ON blueteam.compliance_evidence TO blueteam_admin;
GRANT INSERT (evidence_id, control_id, evidence_type, description, content, collected_at, automated, valid_until, media_type, size_bytes,
              sha256, effective_at, collected_by, state, approved_by, approved_at, facts, check_id)
    ON blueteam.compliance_evidence TO blueteam_engine;
GRANT INSERT, DELETE ON blueteam.evidence_objectives TO blueteam_admin;
GRANT INSERT ON blueteam.evidence_objectives TO blueteam_engine;
GRANT SELECT ON blueteam.evidence_objectives TO blueteam_engine, blueteam_reader, blueteam_admin;
GRANT SELECT ON blueteam.compliance_evidence, blueteam.compliance_controls TO blueteam_engine;
