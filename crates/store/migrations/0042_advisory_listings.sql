-- Which feed lists which advisory now. What no feed lists any more is withdrawn: it concerns nothing, and stays on record.
CREATE TABLE blueteam.advisory_listings (
    source      text NOT NULL CHECK (length(source) BETWEEN 1 AND 200),
    feed        text NOT NULL,
    advisory_id text NOT NULL,
    PRIMARY KEY (source, feed, advisory_id),
    FOREIGN KEY (feed, advisory_id) REFERENCES blueteam.advisories
);
CREATE INDEX advisory_listings_by_advisory ON blueteam.advisory_listings (feed, advisory_id);
GRANT SELECT ON blueteam.advisory_listings TO blueteam_engine, blueteam_admin, blueteam_reader;
GRANT INSERT, DELETE ON blueteam.advisory_listings TO blueteam_engine, blueteam_admin;

-- From before listings were kept: in force until every feed has been read again, which the wiped digests see to.
ALTER TABLE blueteam.advisories ADD COLUMN unlisted_before boolean NOT NULL DEFAULT false;
UPDATE blueteam.advisories SET unlisted_before = true;

-- A feed or inventory that somebody has done with: why, who and when. It stays on record.
ALTER TABLE blueteam.advisory_sources
    ADD COLUMN retired_by     text CHECK (length(trim(retired_by)) BETWEEN 1 AND 200),
    ADD COLUMN retired_at     timestamptz,
    ADD COLUMN retired_reason text CHECK (length(trim(retired_reason)) BETWEEN 3 AND 2000),
    ADD CONSTRAINT retired_whole CHECK (num_nulls(retired_by, retired_at, retired_reason) IN (0, 3));
UPDATE blueteam.advisory_sources SET digest = repeat('0', 64) WHERE kind = 'feed';
