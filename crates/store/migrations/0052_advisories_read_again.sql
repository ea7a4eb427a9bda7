-- What a feed said of an advisory may have been overwritten by another feed before 0051: each is read again, also where its text is the same.
UPDATE blueteam.advisory_sources SET digest = repeat('0', 64) WHERE kind = 'feed' AND retired_at IS NULL;
