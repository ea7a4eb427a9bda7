-- Findings objective by objective (3.12.1; NIST SP 800-171A): a check proposes, a named person decides, and every decision is kept.

ALTER TABLE blueteam.compliance_controls
    ADD COLUMN responsibility  text NOT NULL DEFAULT 'own' CHECK (responsibility IN ('own', 'inherited', 'shared')),
    ADD COLUMN provider        text CHECK (length(provider) BETWEEN 1 AND 200),
    -- A row of the responsibility matrix (32 CFR 170.19(c)(2)).
    ADD COLUMN provider_duties text CHECK (length(provider_duties) <= 4000),
    ADD COLUMN customer_duties text CHECK (length(customer_duties) <= 4000),
    ADD COLUMN partial_credit  boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT provider_is_named CHECK (responsibility = 'own' OR provider IS NOT NULL),
    -- DoD Assessment Methodology v1.2.1: no other requirement has a partial score.
    ADD CONSTRAINT partial_credit_is_for_two CHECK (NOT partial_credit OR control_id IN ('3.5.3', '3.13.11'));

CREATE TABLE blueteam.compliance_objectives (
    objective_id    text PRIMARY KEY CHECK (objective_id ~ '^3\.\d{1,2}\.\d{1,2}\[[a-z]\]$'),
    control_id      text        NOT NULL REFERENCES blueteam.compliance_controls,
    finding         text        NOT NULL DEFAULT 'not_assessed'
                                CHECK (finding IN ('met', 'not_met', 'not_applicable', 'not_assessed')),
    reason          text CHECK (length(trim(reason)) BETWEEN 3 AND 4000),
    methods         text[]      NOT NULL DEFAULT '{}' CHECK (methods <@ ARRAY['examine', 'interview', 'test']),
    decided_by      text CHECK (length(trim(decided_by)) BETWEEN 1 AND 200),
    decided_at      timestamptz,
    proposed        text CHECK (proposed IN ('met', 'not_met', 'not_applicable')),
    proposed_reason text CHECK (length(proposed_reason) <= 4000),
    proposed_by     text,
    proposed_at     timestamptz,
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CHECK (control_id = split_part(objective_id, '[', 1)),
    -- Nobody stands for a finding without a name, a time and a reason.
    CHECK (finding = 'not_assessed' OR num_nulls(decided_by, decided_at, reason) = 0),
    CHECK (num_nulls(decided_by, decided_at, reason) IN (0, 3)),
    CHECK (finding <> 'met' OR cardinality(methods) > 0),
    CHECK (num_nulls(proposed, proposed_reason, proposed_by, proposed_at) IN (0, 4))
);
CREATE INDEX objectives_by_control ON blueteam.compliance_objectives (control_id);
SELECT audit.track('blueteam.compliance_objectives', 'CONTROL',
                   '{updated_at,proposed,proposed_reason,proposed_by,proposed_at}');

-- Every decision there ever was. Written by a trigger, so that no road leads past it.
CREATE TABLE blueteam.objective_history (
    change_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    objective_id text        NOT NULL,
    control_id   text        NOT NULL,
    previous     text        NOT NULL,
    finding      text        NOT NULL,
    reason       text,
    methods      text[]      NOT NULL,
    decided_by   text,
    -- Who was logged in to the database: the name above is what they said.
    login        text        NOT NULL DEFAULT session_user,
    changed_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX objective_history_by_control ON blueteam.objective_history (control_id, change_id);
SELECT audit.guard('blueteam.objective_history');

CREATE FUNCTION blueteam.keep_decision() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO blueteam.objective_history (objective_id, control_id, previous, finding, reason, methods, decided_by)
    VALUES (NEW.objective_id, NEW.control_id, OLD.finding, NEW.finding, NEW.reason, NEW.methods, NEW.decided_by);
    PERFORM blueteam.roll_up(NEW.control_id);
    RETURN NULL;
END $$;

-- The documents' word for a requirement, from its objectives and its plans. Evidence that lapses does not change it here: that depends on
-- the day on which somebody asks.
CREATE FUNCTION blueteam.roll_up(control text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE blueteam.compliance_controls c SET updated_at = now(), last_assessed = coalesce(o.last, c.last_assessed), status =
        CASE WHEN o.decided = 0 THEN 'not_assessed'
             WHEN o.na = o.every THEN 'not_applicable'
             WHEN o.met + o.na = o.every THEN 'implemented'
             WHEN o.met > 0 OR o.not_met = 0 THEN 'partially_implemented'
             WHEN EXISTS (SELECT FROM blueteam.poam_items p WHERE p.control_id = control AND p.status IN ('open', 'in_progress'))
             THEN 'planned'
             ELSE 'not_implemented' END
      FROM (SELECT count(*) AS every, count(*) FILTER (WHERE finding <> 'not_assessed') AS decided,
                   count(*) FILTER (WHERE finding = 'met') AS met, count(*) FILTER (WHERE finding = 'not_met') AS not_met,
                   count(*) FILTER (WHERE finding = 'not_applicable') AS na, max(decided_at) AS last
              FROM blueteam.compliance_objectives WHERE control_id = control) o
     WHERE c.control_id = control;
END $$;
REVOKE ALL ON FUNCTION blueteam.keep_decision(), blueteam.roll_up(text) FROM PUBLIC;
CREATE TRIGGER keep_decision AFTER UPDATE OF finding, reason, methods, decided_by, decided_at ON blueteam.compliance_objectives
    FOR EACH ROW EXECUTE FUNCTION blueteam.keep_decision();
ALTER TABLE blueteam.compliance_objectives ENABLE ALWAYS TRIGGER keep_decision;

-- What the CMMC assessment is about: every asset in exactly one category (32 CFR 170.19(c)).
CREATE TABLE blueteam.assets (
    asset_id    uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    name        text        NOT NULL UNIQUE CHECK (length(trim(name)) BETWEEN 1 AND 200),
    category    text        NOT NULL CHECK (category IN ('cui', 'security_protection', 'contractor_risk_managed', 'specialized',
                                                         'out_of_scope')),
    description text CHECK (length(description) <= 2000),
    owner       text CHECK (length(owner) <= 200),
    -- How it is treated: for risk-managed and specialized assets the policy they are managed by, for those out of scope why.
    treatment   text CHECK (length(trim(treatment)) BETWEEN 3 AND 4000),
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    CHECK (category IN ('cui', 'security_protection') OR treatment IS NOT NULL)
);
SELECT audit.track('blueteam.assets', 'SSP', '{updated_at}');

REVOKE INSERT, UPDATE, DELETE ON blueteam.compliance_controls FROM blueteam_admin;
GRANT INSERT (control_id, family, family_id, requirement),
      UPDATE (family, family_id, requirement, implementation_notes, evidence_type, responsible_party, next_assessment, assessor_notes,
              responsibility, provider, provider_duties, customer_duties, partial_credit, updated_at)
    ON blueteam.compliance_controls TO blueteam_admin;
GRANT INSERT (objective_id, control_id, proposed, proposed_reason, proposed_by, proposed_at),
      UPDATE (finding, reason, methods, decided_by, decided_at, updated_at)
    ON blueteam.compliance_objectives TO blueteam_admin;
GRANT UPDATE (proposed, proposed_reason, proposed_by, proposed_at) ON blueteam.compliance_objectives TO blueteam_admin, blueteam_engine;
GRANT INSERT, UPDATE, DELETE ON blueteam.assets TO blueteam_admin;
GRANT SELECT ON blueteam.compliance_objectives, blueteam.objective_history, blueteam.assets
    TO blueteam_engine, blueteam_reader, blueteam_admin;
