-- Alerts that a channel was not told of one by one, because it had been told of too many in a short time: a storm must not become a thousand
-- mails in which nobody finds the one that counts. The alert is stored as ever; a summary tells of all that were folded.
CREATE TABLE blueteam.folded_alerts (
    alert_id uuid        NOT NULL REFERENCES blueteam.alert_history (alert_id),
    channel  text        NOT NULL,
    at       timestamptz NOT NULL DEFAULT now(),
    -- The summary that tells of it.
    told_by  uuid REFERENCES blueteam.deliveries (delivery_id),
    PRIMARY KEY (alert_id, channel)
);
CREATE INDEX folded_untold ON blueteam.folded_alerts (channel, at) WHERE told_by IS NULL;
CREATE INDEX deliveries_opened ON blueteam.deliveries (channel, created_at) WHERE kind = 'opened';
-- A simulation of a rule writes what it would, as a person's role, and takes it back.
GRANT SELECT, INSERT ON blueteam.folded_alerts TO blueteam_engine, blueteam_admin;
GRANT UPDATE (told_by) ON blueteam.folded_alerts TO blueteam_engine;
GRANT SELECT ON blueteam.folded_alerts TO blueteam_reader;
