-- Applications that keep their audit events in a database of their own: how far each has been read. Written in the transaction that writes the
-- events, by the role that writes them; apart from the positions of logs, which that role has no business with.
CREATE TABLE blueteam.database_positions (
    source_id  text PRIMARY KEY,
    position   jsonb       NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT, UPDATE ON blueteam.database_positions TO blueteam_ingest;
GRANT SELECT ON blueteam.database_positions TO blueteam_reader, blueteam_admin;

-- What has spoken again is silent no longer.
GRANT SELECT, UPDATE (ended_at) ON blueteam.source_gaps TO blueteam_ingest;
-- A database can be away only once at a time. Outages of ours are noted when they are over.
CREATE UNIQUE INDEX source_gaps_one_outage ON blueteam.source_gaps (source_id) WHERE cause = 'outage' AND ended_at IS NULL;
