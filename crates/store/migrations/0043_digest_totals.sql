-- How much all sources had been read when a notice was written: the next digest tells what came since, whatever the times in it.
ALTER TABLE blueteam.notices
    ADD COLUMN received bigint CHECK (received >= 0),
    ADD COLUMN accepted bigint CHECK (accepted >= 0);
