-- An alert that nobody acknowledged in time goes to more people: which tier was told, when, and who it was. Nobody may change or delete a row.
CREATE TABLE blueteam.escalations (
    alert_id uuid        NOT NULL REFERENCES blueteam.alert_history (alert_id),
    tier     smallint    NOT NULL CHECK (tier BETWEEN 1 AND 100),
    at       timestamptz NOT NULL DEFAULT now(),
    -- By name; empty when a channel's usual readers were told.
    people   text[]      NOT NULL,
    channels text[]      NOT NULL CHECK (cardinality(channels) > 0),
    PRIMARY KEY (alert_id, tier)
);
SELECT audit.guard('blueteam.escalations');

-- A message of an escalation goes by name to people, and one alert may have one for each tier.
ALTER TABLE blueteam.deliveries
    ADD COLUMN tier   smallint NOT NULL DEFAULT 0,
    ADD COLUMN people text[]   NOT NULL DEFAULT '{}',
    DROP CONSTRAINT deliveries_alert_id_channel_kind_key,
    ADD CONSTRAINT deliveries_once UNIQUE (alert_id, channel, kind, tier);
-- What somebody has still to look at.
CREATE INDEX idx_alerts_unacknowledged ON blueteam.alert_history (created_at) WHERE acknowledged IS NOT TRUE;

GRANT SELECT, INSERT ON blueteam.escalations TO blueteam_engine;
GRANT SELECT ON blueteam.escalations TO blueteam_reader, blueteam_admin;
