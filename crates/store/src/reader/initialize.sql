-- Inserts a cursor. Floors stay at 0: the snapshot alone separates what is read from what is not.
--
-- $1 name, $2 snapshot, $3 system identifier, $4 whether reading starts now and not at the
-- beginning

INSERT INTO blueteam.reader_cursor (
    name,
    snapshot,
    audit_floor,
    audit_last,
    collected_floor,
    collected_last,
    system_identifier,
    version
)
SELECT
    $1,
    $2,
    0,
    coalesce(
        CASE
            WHEN $4
                THEN (
                    SELECT max(seq)
                    FROM public.audit_events
                    WHERE pg_visible_in_snapshot(xact_id, $2::text::pg_snapshot)
                )
        END,
        0
    ),
    0,
    coalesce(
        CASE
            WHEN $4
                THEN (
                    SELECT max(seq)
                    FROM blueteam.log_events
                    WHERE pg_visible_in_snapshot(xact_id, $2::text::pg_snapshot)
                )
        END,
        0
    ),
    $3,
    0
ON CONFLICT (name) DO NOTHING
