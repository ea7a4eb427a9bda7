-- Nothing that one row, one lock or one session does may end detection for all others.

-- What only one transaction may do at a time. A row that only the engine's role may lock, where an advisory lock could be
-- taken, and kept, by every login that may connect.
CREATE TABLE blueteam.exclusive_rights (
    name text PRIMARY KEY
);
INSERT INTO blueteam.exclusive_rights (name) VALUES ('alerts'), ('notices'), ('folded_alerts');
GRANT SELECT, UPDATE ON blueteam.exclusive_rights TO blueteam_engine;

-- Who reads the events. The right ends with the holder's connection: a backend that is gone holds nothing, and one that has not
-- renewed for minutes is taken for dead.
CREATE TABLE blueteam.reader_leases (
    name        text PRIMARY KEY,
    holder      uuid        NOT NULL,
    backend_pid integer     NOT NULL,
    renewed_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT, INSERT, UPDATE, DELETE ON blueteam.reader_leases TO blueteam_engine;

-- Rows that the engine was not shown because they cannot be read: counted by table and reason, with the first of each as samples.
CREATE TABLE blueteam.unreadable_events (
    source_table text   NOT NULL CHECK (source_table IN ('audit_events', 'collected_events')),
    reason       text   NOT NULL CHECK (octet_length(reason) <= 400),
    rows         bigint NOT NULL CHECK (rows > 0),
    first_at     timestamptz NOT NULL DEFAULT now(),
    last_at      timestamptz NOT NULL DEFAULT now(),
    samples      jsonb  NOT NULL DEFAULT '[]',
    PRIMARY KEY (source_table, reason)
);
GRANT SELECT, INSERT, UPDATE ON blueteam.unreadable_events TO blueteam_engine;

-- Rows that the server itself cannot put out: damaged storage, or values that grow beyond its limits. Readers leave them out.
CREATE TABLE blueteam.withheld_events (
    source_table text        NOT NULL CHECK (source_table IN ('audit_events', 'collected_events')),
    timestamp    timestamptz NOT NULL,
    event_id     uuid        NOT NULL,
    reason       text        NOT NULL CHECK (octet_length(reason) <= 400),
    found_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source_table, timestamp, event_id)
);
GRANT SELECT, INSERT ON blueteam.withheld_events TO blueteam_engine;

-- Changes of alerts that could not be written when they were due: another session holds their rows, or the database refuses
-- them. They are tried again until they are written.
CREATE TABLE blueteam.pending_alerts (
    fingerprint uuid PRIMARY KEY,
    rule_id     text        NOT NULL,
    change      jsonb       NOT NULL,
    reason      text        NOT NULL CHECK (octet_length(reason) <= 1000),
    tries       integer     NOT NULL DEFAULT 1,
    since       timestamptz NOT NULL DEFAULT now(),
    next_try_at timestamptz NOT NULL
);
CREATE INDEX idx_pending_alerts_due ON blueteam.pending_alerts (next_try_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON blueteam.pending_alerts TO blueteam_engine;

GRANT SELECT ON blueteam.reader_leases, blueteam.unreadable_events, blueteam.withheld_events, blueteam.pending_alerts
    TO blueteam_reader, blueteam_admin;
