-- When a reader last said that it reads. Outside of this table that is known in the daemon's memory alone, and whoever judges from the
-- database (the compliance checks) would take a stopped daemon for one that watches.
CREATE TABLE blueteam.reader_pulse (
    name    text PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 100),
    beat_at timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON blueteam.reader_pulse TO blueteam_engine;
GRANT SELECT ON blueteam.reader_pulse TO blueteam_reader, blueteam_admin;
