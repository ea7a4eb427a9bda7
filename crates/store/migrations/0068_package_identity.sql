-- A package of one release of a distribution is not that of another, so each component says whose it is. What a person decided about a match
-- is kept: matches are found again by inventory, ecosystem, name and version, as before.
ALTER TABLE blueteam.components
    ADD COLUMN distribution text NOT NULL DEFAULT '' CHECK (length(distribution) <= 100),
    DROP CONSTRAINT components_pkey,
    ADD PRIMARY KEY (inventory, ecosystem, distribution, name, version);

-- A severity that is not understood is unknown. It was called medium.
ALTER TABLE blueteam.advisory_matches
    DROP CONSTRAINT advisory_matches_severity_check,
    ADD CONSTRAINT advisory_matches_severity_check
        CHECK (severity IN ('unknown', 'info', 'low', 'medium', 'high', 'critical'));

-- Of an inventory: how many of its components no feed can concern, by ecosystem or distribution.
ALTER TABLE blueteam.advisory_sources ADD COLUMN uncovered jsonb NOT NULL DEFAULT '{}';
SELECT audit.track('blueteam.advisory_sources', 'SYSTEM', '{imported_at,failed,failed_at,uncovered}');

-- Feeds and inventories are read again, also where their text is the same.
UPDATE blueteam.advisory_sources SET digest = repeat('0', 64) WHERE retired_at IS NULL;
