-- Messages that arrived and could not be taken: what the kernel had no room for, and what did not fit into a listener's spool.
-- Until now these were outages, like the times at which nobody listened.
ALTER TABLE blueteam.source_gaps DROP CONSTRAINT source_gaps_cause_check;
ALTER TABLE blueteam.source_gaps ADD CONSTRAINT source_gaps_cause_check
    CHECK (cause IN ('silence', 'rotation', 'sequence', 'outage', 'dropped'));
