-- Reminders of the compliance work (3.12.1, 3.12.2, 3.3.3): told once an item and stage, by the road of the digest. And the score over time.
ALTER TABLE blueteam.notices DROP CONSTRAINT notices_kind_check;
ALTER TABLE blueteam.notices
    ADD CONSTRAINT notices_kind_check CHECK (kind IN ('digest', 'heartbeat', 'reminder'));
ALTER TABLE blueteam.deliveries DROP CONSTRAINT deliveries_tell_of_something;
ALTER TABLE blueteam.deliveries
    ADD CONSTRAINT deliveries_tell_of_something CHECK (alert_id IS NOT NULL OR kind IN ('digest', 'heartbeat', 'reminder'));

-- The daemon computes the score and what lapses; it changes no plan.
GRANT SELECT ON blueteam.poam_items TO blueteam_engine;
GRANT SELECT, INSERT ON blueteam.posture_scores TO blueteam_engine;
