-- Security advisories and what was done about them (3.14.3; 3.14.1, 3.11.2). What publishers said, what we run, and where the two meet.

-- Where advisories and components come from: one row a feed and one an inventory.
CREATE TABLE blueteam.advisory_sources (
    kind        text        NOT NULL CHECK (kind IN ('feed', 'inventory')),
    name        text        NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    origin      text        NOT NULL CHECK (length(origin) BETWEEN 1 AND 2000),
    -- SHA-256 of what was read last; the same again need not be read again.
    digest      text        NOT NULL CHECK (digest ~ '^[0-9a-f]{64}$'),
    items       bigint      NOT NULL CHECK (items >= 0),
    imported_by text        NOT NULL CHECK (length(imported_by) BETWEEN 1 AND 200),
    imported_at timestamptz NOT NULL DEFAULT now(),
    -- Why it could not be read since; none when it could.
    failed      text CHECK (length(failed) <= 2000),
    failed_at   timestamptz,
    PRIMARY KEY (kind, name),
    CHECK (num_nulls(failed, failed_at) <> 1)
);
SELECT audit.track('blueteam.advisory_sources', 'SYSTEM', '{imported_at,failed,failed_at}');

CREATE TABLE blueteam.components (
    inventory text NOT NULL CHECK (length(inventory) BETWEEN 1 AND 200),
    ecosystem text NOT NULL CHECK (length(ecosystem) <= 50),
    name      text NOT NULL CHECK (length(name) BETWEEN 1 AND 500),
    version   text NOT NULL CHECK (length(version) <= 200),
    PRIMARY KEY (inventory, ecosystem, name, version)
);

CREATE TABLE blueteam.advisories (
    feed            text        NOT NULL CHECK (length(feed) BETWEEN 1 AND 50),
    advisory_id     text        NOT NULL CHECK (length(advisory_id) BETWEEN 1 AND 300),
    -- The id that all publishers know it by: its CVE, where it has one.
    vulnerability   text        NOT NULL CHECK (length(vulnerability) BETWEEN 1 AND 300),
    known_exploited boolean     NOT NULL DEFAULT false,
    document        jsonb       NOT NULL,
    first_seen      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (feed, advisory_id)
);
CREATE INDEX advisories_by_vulnerability ON blueteam.advisories (vulnerability);

-- An advisory concerns a component, and what becomes of that. Closed by a named person with a reason, or because the component is gone.
CREATE TABLE blueteam.advisory_matches (
    match_id      uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    vulnerability text        NOT NULL,
    feed          text        NOT NULL,
    advisory_id   text        NOT NULL,
    inventory     text        NOT NULL,
    ecosystem     text        NOT NULL,
    name          text        NOT NULL,
    version       text        NOT NULL,
    confidence    text        NOT NULL CHECK (confidence IN ('possible', 'affected')),
    severity      text        NOT NULL CHECK (severity IN ('info', 'low', 'medium', 'high', 'critical')),
    exploited     boolean     NOT NULL,
    fixed_in      text,
    state         text        NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'in_progress', 'closed')),
    resolution    text CHECK (resolution IN ('fixed', 'mitigated', 'not_affected', 'accepted', 'gone')),
    reason        text CHECK (length(trim(reason)) BETWEEN 3 AND 2000),
    owner         text CHECK (length(owner) BETWEEN 1 AND 200),
    due           date,
    ticket        text CHECK (length(ticket) BETWEEN 1 AND 200),
    decided_by    text CHECK (length(trim(decided_by)) BETWEEN 1 AND 200),
    decided_at    timestamptz,
    alert_id      uuid REFERENCES blueteam.alert_history (alert_id),
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (feed, advisory_id) REFERENCES blueteam.advisories,
    UNIQUE (vulnerability, inventory, ecosystem, name, version),
    CHECK ((state = 'closed') = (resolution IS NOT NULL)),
    CHECK (state <> 'closed' OR num_nulls(reason, decided_by, decided_at) = 0),
    CHECK (num_nulls(decided_by, decided_at) <> 1)
);
CREATE INDEX advisory_matches_open ON blueteam.advisory_matches (severity) WHERE state <> 'closed';
CREATE INDEX advisory_matches_untold ON blueteam.advisory_matches (inventory) WHERE alert_id IS NULL AND state <> 'closed';
SELECT audit.track('blueteam.advisory_matches', 'ALERT', '{alert_id,updated_at}');

GRANT SELECT ON blueteam.advisory_sources, blueteam.components, blueteam.advisories, blueteam.advisory_matches
    TO blueteam_engine, blueteam_admin, blueteam_reader;
-- What was once advised stays on record; what is in use is replaced by each new list.
GRANT INSERT, UPDATE ON blueteam.advisory_sources, blueteam.advisories, blueteam.advisory_matches TO blueteam_engine, blueteam_admin;
GRANT INSERT, DELETE ON blueteam.components TO blueteam_engine, blueteam_admin;
