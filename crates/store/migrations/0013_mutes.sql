-- Silences, maintenance windows and exceptions: who decided that nobody is told of what, why, and until when. They act on messages
-- alone; the alert is stored with what muted it (3.3.5, 3.14.3).
CREATE TABLE blueteam.mutes (
    mute_id      uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    kind         text        NOT NULL CHECK (kind IN ('silence', 'maintenance', 'exception')),
    rule_id      text CHECK (length(rule_id) BETWEEN 1 AND 200),
    source       text CHECK (length(source) BETWEEN 1 AND 512),
    -- As it is written on the command line: ip:203.0.113.0/24, user:…
    entity       text CHECK (length(entity) BETWEEN 3 AND 600),
    author       text        NOT NULL CHECK (length(author) BETWEEN 1 AND 200),
    reason       text        NOT NULL CHECK (length(trim(reason)) BETWEEN 3 AND 1000),
    ticket       text CHECK (length(ticket) BETWEEN 1 AND 200),
    starts_at    timestamptz NOT NULL DEFAULT now(),
    ends_at      timestamptz NOT NULL,
    ended_by     text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    CHECK (num_nonnulls(rule_id, source, entity) > 0),
    CHECK (kind <> 'exception' OR rule_id IS NOT NULL),
    -- Ended before it began: never counts. Nothing is muted for good: somebody looks at it again.
    CHECK (ends_at > starts_at OR ended_by IS NOT NULL),
    CHECK (ends_at <= starts_at + interval '366 days')
);
CREATE INDEX mutes_by_end ON blueteam.mutes (ends_at);
SELECT audit.track('blueteam.mutes', 'ALERT_RULE', '{updated_at}');

-- A decision stays as it was made; only its end may be brought forward. No role may delete one.
CREATE FUNCTION blueteam.mute_end_only() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF OLD.ended_by IS NOT NULL OR NEW.ended_by IS NULL OR NEW.ends_at > OLD.ends_at THEN
        RAISE EXCEPTION 'a mute can only be ended, once, and not be made longer' USING ERRCODE = 'check_violation';
    END IF;
    NEW.updated_at := now();
    RETURN NEW;
END $$;
REVOKE ALL ON FUNCTION blueteam.mute_end_only() FROM PUBLIC;
CREATE TRIGGER mute_end_only BEFORE UPDATE ON blueteam.mutes FOR EACH ROW EXECUTE FUNCTION blueteam.mute_end_only();

ALTER TABLE blueteam.alert_history
    ADD COLUMN muted_by_mute  uuid REFERENCES blueteam.mutes,
    ADD COLUMN muted_by_alert uuid REFERENCES blueteam.alert_history (alert_id),
    ADD CONSTRAINT alert_muted_once CHECK (num_nonnulls(muted_by_mute, muted_by_alert) <= 1);
-- A critical alert about an entity keeps its mediums quiet.
CREATE INDEX idx_alerts_open_critical ON blueteam.alert_history (entity_type, entity_value)
    WHERE state = 'open' AND severity = 'critical';
CREATE INDEX idx_alerts_muted ON blueteam.alert_history (muted_by_mute) WHERE muted_by_mute IS NOT NULL;

GRANT SELECT ON blueteam.mutes TO blueteam_engine, blueteam_reader, blueteam_admin;
GRANT INSERT (mute_id, kind, rule_id, source, entity, author, reason, ticket, starts_at, ends_at) ON blueteam.mutes TO blueteam_admin;
GRANT UPDATE (ends_at, ended_by) ON blueteam.mutes TO blueteam_admin;
