-- The completeness ledger: what each source sent, what became of it, and when it was silent. Evidence for 3.3.1, 3.3.4 and 3.3.8.

-- A source is whatever delivers events by itself: a log file, a listener, the table of audit events, one numbered producer.
CREATE TABLE blueteam.sources (
    source_id        text PRIMARY KEY CHECK (length(source_id) BETWEEN 1 AND 512),
    kind             text        NOT NULL,
    -- How often it is expected to speak; NULL: as it has learnt to be.
    expected_every   interval,
    first_seen_at    timestamptz NOT NULL DEFAULT now(),
    last_received_at timestamptz,
    -- Newest event time.
    last_event_at    timestamptz,
    -- Entries received = accepted + ignored (nothing about security) + repeated + rejected.
    received         bigint      NOT NULL DEFAULT 0,
    accepted         bigint      NOT NULL DEFAULT 0,
    ignored          bigint      NOT NULL DEFAULT 0,
    repeated         bigint      NOT NULL DEFAULT 0,
    rejected         bigint      NOT NULL DEFAULT 0,
    -- Of the accepted ones: those that came after newer ones by more than the settling time.
    late             bigint      NOT NULL DEFAULT 0,
    -- The least that an event lay behind our clock when it came, lately; negative when its clock is ahead of ours.
    skew             interval,
    -- What is learnt of its pauses, and which of its numbers are missing (collect::ledger).
    rhythm           jsonb       NOT NULL DEFAULT '{}',
    sequence         jsonb,
    CHECK (received = accepted + ignored + repeated + rejected)
);

-- When something is or may be missing. An open end means that it still lasts.
CREATE TABLE blueteam.source_gaps (
    gap_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source_id  text        NOT NULL REFERENCES blueteam.sources,
    cause      text        NOT NULL CHECK (cause IN ('silence', 'rotation', 'sequence', 'outage')),
    started_at timestamptz NOT NULL,
    ended_at   timestamptz CHECK (ended_at >= started_at),
    -- Entries or bytes known to be lost; NULL: unknown.
    lost       bigint CHECK (lost >= 0),
    detail     text        NOT NULL DEFAULT '',
    noted_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX source_gaps_by_source ON blueteam.source_gaps (source_id, started_at);
-- A source can be silent only once at a time.
CREATE UNIQUE INDEX source_gaps_one_silence ON blueteam.source_gaps (source_id) WHERE cause = 'silence' AND ended_at IS NULL;

-- What could not be read, and why. Append-only for the engine, but for its upkeep: the newest of each source are kept.
CREATE TABLE blueteam.dead_letters (
    letter_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source_id   text        NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now(),
    -- Where it stood: file number and offset, or the place in a request.
    place       text        NOT NULL DEFAULT '',
    reason      text        NOT NULL,
    -- The beginning of the entry as it came; hostile bytes.
    entry       bytea       NOT NULL CHECK (length(entry) <= 8192),
    -- Its length before it was cut.
    length      bigint      NOT NULL
);
CREATE INDEX dead_letters_by_source ON blueteam.dead_letters (source_id, letter_id);

GRANT SELECT, INSERT, UPDATE ON blueteam.sources, blueteam.source_gaps TO blueteam_engine;
GRANT SELECT, INSERT, DELETE ON blueteam.dead_letters TO blueteam_engine;
GRANT SELECT, INSERT, UPDATE ON blueteam.sources TO blueteam_ingest;
GRANT INSERT ON blueteam.dead_letters TO blueteam_ingest;
GRANT SELECT ON blueteam.sources, blueteam.source_gaps, blueteam.dead_letters TO blueteam_reader, blueteam_admin;
