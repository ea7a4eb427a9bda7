-- Messages that tell of no alert: the daily digest, and the sign of life that shows that alerts would arrive. Each is written once, whatever
-- restarts: its row here and its messages in the outbox are one transaction. Nobody may change or delete a row.
CREATE TABLE blueteam.notices (
    kind text        NOT NULL CHECK (kind IN ('digest', 'heartbeat')),
    -- The local day, or the number of the period.
    key  text        NOT NULL CHECK (length(key) BETWEEN 1 AND 100),
    at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, key)
);
SELECT audit.guard('blueteam.notices');
GRANT SELECT, INSERT ON blueteam.notices TO blueteam_engine;
GRANT SELECT ON blueteam.notices TO blueteam_reader, blueteam_admin;

ALTER TABLE blueteam.deliveries
    ALTER COLUMN alert_id DROP NOT NULL,
    ADD CONSTRAINT deliveries_tell_of_something CHECK (alert_id IS NOT NULL OR kind IN ('digest', 'heartbeat'));

-- A tier whose only way would open again what is over is told nothing; that its turn came is noted all the same.
ALTER TABLE blueteam.escalations DROP CONSTRAINT escalations_channels_check;
