-- Each attempt to tell somebody, and what came of it: the proof that an alert reached people, or did not (3.3.4, 3.6.1). Nobody may change or
-- delete a row.
CREATE TABLE blueteam.delivery_attempts (
    attempt_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    delivery_id uuid        NOT NULL REFERENCES blueteam.deliveries,
    -- The delivery's attempts so far, this one included.
    attempt     integer     NOT NULL CHECK (attempt >= 0),
    at          timestamptz NOT NULL DEFAULT now(),
    -- resent: a person wants it tried again after it was given up.
    outcome     text        NOT NULL CHECK (outcome IN ('delivered', 'failed', 'dead', 'resent')),
    -- What the other side said, or who resent it; no secret.
    detail      text        NOT NULL CHECK (length(detail) <= 1000)
);
CREATE INDEX delivery_attempts_by_delivery ON blueteam.delivery_attempts (delivery_id, attempt_id);
CREATE INDEX idx_deliveries_created ON blueteam.deliveries (created_at);

GRANT SELECT, INSERT ON blueteam.delivery_attempts TO blueteam_engine, blueteam_admin;
GRANT SELECT ON blueteam.delivery_attempts TO blueteam_reader;
