-- Items of the plans of action have names that people use: POAM-2026-003, the third item of 2026. The name never changes and no
-- other item gets it. The number of a year is taken in the transaction that adds the item, so that none is skipped.
CREATE TABLE blueteam.poam_numbers (
    year integer PRIMARY KEY CHECK (year BETWEEN 1970 AND 9999),
    last integer NOT NULL CHECK (last > 0)
);
GRANT SELECT ON blueteam.poam_numbers TO blueteam_engine, blueteam_reader, blueteam_admin;

ALTER TABLE blueteam.poam_items
    ADD COLUMN item_number text UNIQUE CHECK (item_number ~ '^POAM-[1-9][0-9]{3}-[0-9]{3,9}$');

-- Items that are there get theirs in the order in which they were written, completed ones too.
ALTER TABLE blueteam.poam_items DISABLE TRIGGER keep_plan;
UPDATE blueteam.poam_items p
   SET item_number = format('POAM-%s-%s', o.year, lpad(o.n::text, greatest(3, length(o.n::text)), '0'))
  FROM (SELECT poam_id, year, row_number() OVER (PARTITION BY year ORDER BY created_at, poam_id) AS n
          FROM (SELECT poam_id, created_at, greatest(1970, least(9999, extract(year FROM created_at AT TIME ZONE 'UTC')))::integer
                       AS year
                  FROM blueteam.poam_items) y) o
 WHERE p.poam_id = o.poam_id;
ALTER TABLE blueteam.poam_items ENABLE ALWAYS TRIGGER keep_plan;

INSERT INTO blueteam.poam_numbers (year, last)
SELECT split_part(item_number, '-', 2)::integer, max(split_part(item_number, '-', 3)::integer)
  FROM blueteam.poam_items GROUP BY 1;

ALTER TABLE blueteam.poam_items ALTER COLUMN item_number SET NOT NULL;
COMMENT ON COLUMN blueteam.poam_items.item_number IS 'Name that people use: POAM, year and number in that year';

-- A new item keeps the number that it comes with, as from another installation, unless another item has it.
CREATE FUNCTION blueteam.number_plan() RETURNS trigger
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
       OR EXISTS (SELECT FROM blueteam.poam_items WHERE item_number = NEW.item_number) THEN
        INSERT INTO blueteam.poam_numbers AS c (year, last) VALUES (in_year, 1)
        ON CONFLICT (year) DO UPDATE SET last = c.last + 1
        RETURNING last INTO n;
        NEW.item_number := format('POAM-%s-%s', in_year, lpad(n::text, greatest(3, length(n::text)), '0'));
    ELSE
        INSERT INTO blueteam.poam_numbers AS c (year, last)
        VALUES (split_part(NEW.item_number, '-', 2)::integer, greatest(1, split_part(NEW.item_number, '-', 3)::integer))
        ON CONFLICT (year) DO UPDATE SET last = greatest(c.last, excluded.last);
    END IF;
    RETURN NEW;
END $$;
REVOKE ALL ON FUNCTION blueteam.number_plan() FROM PUBLIC;
CREATE TRIGGER number_plan BEFORE INSERT ON blueteam.poam_items FOR EACH ROW EXECUTE FUNCTION blueteam.number_plan();
ALTER TABLE blueteam.poam_items ENABLE ALWAYS TRIGGER number_plan;
