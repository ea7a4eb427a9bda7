-- What the product adds to the documents' tables, and its own tables.

-- A detection as the engine knows it. `fingerprint` is its identity across restarts and replays: unique, so that replaying the
-- same events never makes a second alert. Rows from before us have none.
ALTER TABLE blueteam.alert_history
    ADD COLUMN IF NOT EXISTS fingerprint   uuid UNIQUE,
    ADD COLUMN IF NOT EXISTS entity_type   text CHECK (entity_type IN ('ip', 'user', 'session', 'source')),
    ADD COLUMN IF NOT EXISTS entity_value  text,
    ADD COLUMN IF NOT EXISTS source        text,
    ADD COLUMN IF NOT EXISTS first_seen    timestamptz,
    ADD COLUMN IF NOT EXISTS last_seen     timestamptz,
    ADD COLUMN IF NOT EXISTS event_count   bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS nist_controls text[] NOT NULL DEFAULT '{}',
    ADD COLUMN IF NOT EXISTS cui_involved  boolean NOT NULL DEFAULT false,
    ADD COLUMN IF NOT EXISTS state         text NOT NULL DEFAULT 'closed' CHECK (state IN ('open', 'closed')),
    ADD COLUMN IF NOT EXISTS episode       bigint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS updated_at    timestamptz NOT NULL DEFAULT now();
CREATE INDEX idx_alerts_open ON blueteam.alert_history (rule_id) WHERE state = 'open';
CREATE INDEX idx_alerts_created ON blueteam.alert_history (created_at);
CREATE INDEX idx_alerts_incident ON blueteam.alert_history (incident_id) WHERE incident_id IS NOT NULL;

-- What an incident is about. One attack is one incident: at most one incident of an entity is open at a time, whichever rules
-- saw it. Incidents that people open need no entity.
ALTER TABLE blueteam.security_incidents
    ADD COLUMN IF NOT EXISTS entity_type  text CHECK (entity_type IN ('ip', 'user', 'session', 'source')),
    ADD COLUMN IF NOT EXISTS entity_value text,
    ADD COLUMN IF NOT EXISTS source       text;
CREATE UNIQUE INDEX idx_incidents_open_entity ON blueteam.security_incidents (source, entity_type, entity_value)
    WHERE status <> 'closed';

-- Events that the collectors read from logs: the model's SecurityEvent, in the shape of audit_events and as append-only.
-- `user_id` and `user_name` exclude each other: a log often has only a name. `account` is the name that was tried.
CREATE TABLE blueteam.collected_events (
    event_id      uuid        NOT NULL DEFAULT blueteam.uuid_v7(),
    timestamp     timestamptz NOT NULL,
    source        text        NOT NULL,
    category      text        NOT NULL CHECK (category IN ('auth', 'access', 'admin', 'data', 'ai', 'system', 'network')),
    action        text        NOT NULL,
    result        text        NOT NULL CHECK (result IN ('success', 'failure', 'denied')),
    user_id       uuid,
    user_name     text,
    account       text,
    session_id    text,
    ip_address    inet,
    user_agent    text,
    resource_type text,
    resource_id   text,
    instance_id   uuid,
    cui_involved  boolean     NOT NULL DEFAULT false,
    occurrences   integer     NOT NULL DEFAULT 1 CHECK (occurrences > 0),
    metadata      jsonb       NOT NULL DEFAULT '{}',
    created_at    timestamptz NOT NULL DEFAULT now(),
    seq           bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    xact_id       xid8        NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (timestamp, event_id)
) PARTITION BY RANGE (timestamp);
CREATE TABLE blueteam.collected_events_default PARTITION OF blueteam.collected_events DEFAULT;
CREATE INDEX idx_collected_ip_ts ON blueteam.collected_events (ip_address, timestamp) WHERE ip_address IS NOT NULL;
CREATE INDEX idx_collected_xact ON blueteam.collected_events (xact_id);

-- How far each collector has read its input; written in the transaction that writes the events.
CREATE TABLE blueteam.collector_positions (
    collector  text PRIMARY KEY,
    position   jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- How far the correlator has read: the snapshot of its last poll. Rows up to a floor are never read (they were there before a
-- rebase); `*_last` is the highest seq read so far, which tells read from unread rows after a restore. `version` counts saves;
-- a save is a compare-and-set on it. `system_identifier` is the cluster in whose transaction ids the snapshot is written.
CREATE TABLE blueteam.reader_cursor (
    name              text PRIMARY KEY,
    snapshot          text   NOT NULL,
    audit_floor       bigint NOT NULL,
    audit_last        bigint NOT NULL,
    collected_floor   bigint NOT NULL,
    collected_last    bigint NOT NULL,
    system_identifier text   NOT NULL,
    version           bigint NOT NULL,
    checkpoint        jsonb,
    updated_at        timestamptz NOT NULL DEFAULT now()
);

-- What is normal for a user: known addresses and agents, export volumes.
CREATE TABLE blueteam.user_baselines (
    source     text NOT NULL,
    user_key   text NOT NULL,
    profile    jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (source, user_key)
);

-- The outbox: one row for each message that has to leave. Written with the alert, worked off later, retried with back-off.
CREATE TABLE blueteam.deliveries (
    delivery_id     uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    alert_id        uuid NOT NULL REFERENCES blueteam.alert_history (alert_id),
    channel         text NOT NULL,
    kind            text NOT NULL,
    payload         jsonb NOT NULL,
    state           text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    last_error      text,
    delivered_at    timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    UNIQUE (alert_id, channel, kind)
);
CREATE INDEX idx_deliveries_due ON blueteam.deliveries (next_attempt_at) WHERE state = 'pending';
