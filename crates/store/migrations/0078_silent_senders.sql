-- A machine behind a listener that falls silent is told once, until it is heard again.
ALTER TABLE blueteam.source_senders ADD COLUMN silent_since timestamptz;
COMMENT ON COLUMN blueteam.source_senders.silent_since IS
    'since when people know that it has been silent';
