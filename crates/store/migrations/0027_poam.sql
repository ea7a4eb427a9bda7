-- Plans of action (3.12.2; 32 CFR 170.21). Two kinds that must not be mixed: what waits for a conditional CMMC status, with its 180 days, and the
-- operational plan of action for everything else.
ALTER TABLE blueteam.poam_items
    ADD COLUMN kind              text NOT NULL DEFAULT 'poam' CHECK (kind IN ('poam', 'operational')),
    ADD COLUMN owner             text CHECK (length(owner) <= 200),
    -- How the weakness was found: an assessment, a check, an incident.
    ADD COLUMN identified_by     text CHECK (length(identified_by) <= 500),
    -- What keeps the risk down until then.
    ADD COLUMN mitigation        text CHECK (length(mitigation) <= 4000),
    -- Where the work is tracked.
    ADD COLUMN tasks             text[] NOT NULL DEFAULT '{}' CHECK (cardinality(tasks) <= 50),
    -- From when the 180 days run (32 CFR 170.21(b)); none before there is a conditional status.
    ADD COLUMN conditional_since timestamptz,
    -- What shows that it is done.
    ADD COLUMN closed_by         text CHECK (length(closed_by) <= 200),
    ADD COLUMN closing_evidence  uuid REFERENCES blueteam.compliance_evidence,
    ADD COLUMN milestone_changes text NOT NULL DEFAULT '',
    ADD CONSTRAINT completed_has_a_day CHECK (status <> 'completed' OR actual_completion IS NOT NULL);
CREATE INDEX idx_poam_control ON blueteam.poam_items (control_id);

-- The documents' word for a requirement depends on whether it is planned for.
CREATE FUNCTION blueteam.plan_rolls_up() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM blueteam.roll_up(coalesce(NEW.control_id, OLD.control_id));
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION blueteam.plan_rolls_up() FROM PUBLIC;
CREATE TRIGGER plan_rolls_up AFTER INSERT OR UPDATE OR DELETE ON blueteam.poam_items
    FOR EACH ROW EXECUTE FUNCTION blueteam.plan_rolls_up();

-- A plan is closed, never deleted: an assessor asks for the closed ones too.
REVOKE DELETE ON blueteam.poam_items FROM blueteam_admin;
