-- Who silences alerts, and who ends a silence, is who acts: no column that people's role may write (3.3.2, 3.3.8).
CREATE FUNCTION blueteam.silence_actor() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    who text := left(blueteam.recorded_actor(), 200);
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.author := who;
        NEW.created_at := now();
    ELSE
        NEW.author := OLD.author;
        NEW.created_at := OLD.created_at;
        -- That only an end may be set, and only once, is what mute_end_only says.
        NEW.ended_by := who;
    END IF;
    RETURN NEW;
END $$;
REVOKE ALL ON FUNCTION blueteam.silence_actor() FROM PUBLIC;
CREATE TRIGGER silence_actor BEFORE INSERT OR UPDATE ON blueteam.silences
    FOR EACH ROW EXECUTE FUNCTION blueteam.silence_actor();
ALTER TABLE blueteam.silences ENABLE ALWAYS TRIGGER silence_actor;
REVOKE INSERT (author) ON blueteam.silences FROM blueteam_admin;
