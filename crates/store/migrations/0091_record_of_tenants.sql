-- The compliance record of each tenant by itself (decision 0054): requirements, objectives, items of the plan of action, sections of the
-- plan, assets and what was said of them. Natural keys begin with the tenant.
DO $$
DECLARE
    fk record;
    t  record;
BEGIN
    FOR fk IN
        SELECT conrelid::regclass AS place, conname FROM pg_constraint
         WHERE contype = 'f'
           AND confrelid IN ('blueteam.compliance_controls'::regclass, 'blueteam.compliance_objectives'::regclass)
           AND conrelid IN ('blueteam.compliance_objectives'::regclass, 'blueteam.compliance_evidence'::regclass,
                            'blueteam.evidence_objectives'::regclass, 'blueteam.poam_items'::regclass,
                            'blueteam.ssp_sections'::regclass)
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', fk.place, fk.conname);
    END LOOP;

    PERFORM blueteam.separate_tenants('blueteam.poam_numbers');
    FOR t IN
        SELECT place::regclass, columns, conname
          FROM (VALUES ('blueteam.compliance_controls', 'control_id'), ('blueteam.compliance_objectives', 'objective_id'),
                       ('blueteam.scheduled_notifications', 'kind, key'), ('blueteam.poam_numbers', 'year')) AS v (place, columns)
          JOIN pg_constraint c ON c.conrelid = v.place::regclass AND c.contype = 'p'
    LOOP
        BEGIN
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I, ADD PRIMARY KEY (tenant_id, %s)', t.place, t.conname, t.columns);
        -- A table of an application refers to it. There is one tenant then, whose keys are unique by themselves.
        EXCEPTION WHEN dependent_objects_still_exist THEN
            EXECUTE format('ALTER TABLE %s ADD UNIQUE (tenant_id, %s)', t.place, t.columns);
        END;
    END LOOP;
END $$;

ALTER TABLE blueteam.compliance_objectives
    ADD FOREIGN KEY (tenant_id, control_id) REFERENCES blueteam.compliance_controls (tenant_id, control_id);
ALTER TABLE blueteam.compliance_evidence
    ADD FOREIGN KEY (tenant_id, control_id) REFERENCES blueteam.compliance_controls (tenant_id, control_id);
ALTER TABLE blueteam.poam_items
    ADD FOREIGN KEY (tenant_id, control_id) REFERENCES blueteam.compliance_controls (tenant_id, control_id),
    DROP CONSTRAINT poam_items_item_number_key,
    ADD CONSTRAINT poam_items_item_number_key UNIQUE (tenant_id, item_number);
ALTER TABLE blueteam.ssp_sections
    ADD FOREIGN KEY (tenant_id, control_id) REFERENCES blueteam.compliance_controls (tenant_id, control_id);
ALTER TABLE blueteam.evidence_objectives
    ADD FOREIGN KEY (tenant_id, objective_id) REFERENCES blueteam.compliance_objectives (tenant_id, objective_id);
DROP INDEX blueteam.ssp_sections_once;
CREATE UNIQUE INDEX ssp_sections_once ON blueteam.ssp_sections (tenant_id, section) WHERE format IS NOT NULL;
ALTER TABLE blueteam.assets DROP CONSTRAINT assets_name_key, ADD CONSTRAINT assets_name_key UNIQUE (tenant_id, name);

-- The functions that write the record work for the tenant of the transaction.
CREATE OR REPLACE FUNCTION blueteam.decide_objectives(ids text[], findings text[], reasons text[], ways text[], at timestamptz)
RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    whose CONSTANT uuid := blueteam.tenant_of_new();
BEGIN
    -- In one order, whoever else decides at the same time: two sheets would wait for each other without end.
    PERFORM FROM blueteam.compliance_controls
      WHERE tenant_id = whose AND control_id IN (SELECT split_part(o, '[', 1) FROM unnest(ids) o) ORDER BY control_id FOR UPDATE;
    RETURN QUERY
        UPDATE blueteam.compliance_objectives o
           SET finding = d.finding, reason = d.reason, methods = string_to_array(d.ways, ' '),
               decided_by = blueteam.recorded_actor(), decided_at = blueteam.act_time(at), updated_at = now()
          FROM unnest(ids, findings, reasons, ways) AS d (id, finding, reason, ways)
         WHERE o.tenant_id = whose AND o.objective_id = d.id
        RETURNING o.objective_id;
END $$;

CREATE FUNCTION blueteam.roll_up(control text, whose uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE blueteam.compliance_controls c SET updated_at = now(), last_assessed = coalesce(o.last, c.last_assessed), status =
        CASE WHEN o.decided = 0 THEN 'not_assessed'
             WHEN o.na = o.every THEN 'not_applicable'
             WHEN o.met + o.na = o.every THEN 'implemented'
             WHEN o.met > 0 OR o.not_met = 0 THEN 'partially_implemented'
             WHEN EXISTS (SELECT FROM blueteam.poam_items p
                           WHERE p.tenant_id = whose AND p.control_id = control AND p.status IN ('open', 'in_progress'))
             THEN 'planned'
             ELSE 'not_implemented' END
      FROM (SELECT count(*) AS every, count(*) FILTER (WHERE finding <> 'not_assessed') AS decided,
                   count(*) FILTER (WHERE finding = 'met') AS met, count(*) FILTER (WHERE finding = 'not_met') AS not_met,
                   count(*) FILTER (WHERE finding = 'not_applicable') AS na, max(decided_at) AS last
              FROM blueteam.compliance_objectives WHERE tenant_id = whose AND control_id = control) o
     WHERE c.tenant_id = whose AND c.control_id = control;
END $$;
COMMENT ON FUNCTION blueteam.roll_up(text, uuid) IS 'Sets the status of a tenant''s requirement by its objectives';
REVOKE ALL ON FUNCTION blueteam.roll_up(text, uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION blueteam.keep_decision() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO blueteam.objective_history (objective_id, control_id, previous, finding, reason, methods, decided_by, tenant_id)
    VALUES (NEW.objective_id, NEW.control_id, OLD.finding, NEW.finding, NEW.reason, NEW.methods, NEW.decided_by, NEW.tenant_id);
    PERFORM blueteam.roll_up(NEW.control_id, NEW.tenant_id);
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION blueteam.plan_rolls_up() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM blueteam.roll_up(coalesce(NEW.control_id, OLD.control_id), coalesce(NEW.tenant_id, OLD.tenant_id));
    RETURN NULL;
END $$;
DROP FUNCTION blueteam.roll_up(text);

CREATE OR REPLACE FUNCTION blueteam.number_plan() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    in_year integer := greatest(1970, least(9999, extract(year FROM NEW.created_at AT TIME ZONE 'UTC')))::integer;
    n       integer;
BEGIN
    -- An upsert of an item that is there inserts nothing, and takes no number.
    IF EXISTS (SELECT FROM blueteam.poam_items WHERE poam_id = NEW.poam_id) THEN
        NEW.item_number := coalesce(NEW.item_number, (SELECT item_number FROM blueteam.poam_items WHERE poam_id = NEW.poam_id));
        RETURN NEW;
    END IF;

    IF NEW.item_number IS NULL OR NEW.item_number !~ '^POAM-[1-9][0-9]{3}-[0-9]{3,9}$'
       OR EXISTS (SELECT FROM blueteam.poam_items WHERE tenant_id = NEW.tenant_id AND item_number = NEW.item_number) THEN
        INSERT INTO blueteam.poam_numbers AS c (tenant_id, year, last) VALUES (NEW.tenant_id, in_year, 1)
        ON CONFLICT (tenant_id, year) DO UPDATE SET last = c.last + 1
        RETURNING last INTO n;
        NEW.item_number := format('POAM-%s-%s', in_year, lpad(n::text, greatest(3, length(n::text)), '0'));
    ELSE
        INSERT INTO blueteam.poam_numbers AS c (tenant_id, year, last)
        VALUES (NEW.tenant_id, split_part(NEW.item_number, '-', 2)::integer,
                greatest(1, split_part(NEW.item_number, '-', 3)::integer))
        ON CONFLICT (tenant_id, year) DO UPDATE SET last = greatest(c.last, excluded.last);
    END IF;
    RETURN NEW;
END $$;
