-- Each way out takes what is due for it alone, however much waits for another.
CREATE INDEX deliveries_due ON blueteam.deliveries (channel, next_attempt_at) WHERE state = 'pending';
DROP INDEX blueteam.idx_deliveries_due;
