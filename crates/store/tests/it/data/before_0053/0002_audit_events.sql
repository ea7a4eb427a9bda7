-- public.audit_events: what the monitored applications report (3.3.1, 3.3.2).
--
-- A new database gets monthly partitions on `timestamp`; the primary key is (timestamp, event_id), and since a retry carries
-- the same pair, a retry is a no-op. A table that migration 030 already made is adopted: rows, key and indexes stay, and what
-- it lacks is added. Everything that reads or writes works on both shapes.
--
-- Three columns belong to the server, and no writer may set them (column privileges, see 0008_privileges.sql):
--   created_at  when the row arrived
--   seq         order of insertion, NOT of commit
--   xact_id     the transaction that wrote it: what the reader compares with its snapshots. A subtransaction's rows carry
--               the id of the transaction around it.
DO $$
BEGIN
    IF to_regclass('public.audit_events') IS NULL THEN
        CREATE TABLE public.audit_events (
            event_id      uuid        NOT NULL DEFAULT blueteam.uuid_v7(),
            timestamp     timestamptz NOT NULL DEFAULT now(),
            category      text        NOT NULL CHECK (category IN ('auth', 'access', 'admin', 'data', 'ai', 'system')),
            action        text        NOT NULL,
            result        text        NOT NULL CHECK (result IN ('success', 'failure', 'denied')),
            user_id       uuid,
            session_id    text,
            ip_address    inet,
            user_agent    varchar(500),
            resource_type text,
            resource_id   text,
            instance_id   uuid,
            cui_accessed  boolean DEFAULT false,
            metadata      jsonb   DEFAULT '{}',
            created_at    timestamptz NOT NULL DEFAULT now(),
            seq           bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
            xact_id       xid8        NOT NULL DEFAULT pg_current_xact_id(),
            PRIMARY KEY (timestamp, event_id)
        ) PARTITION BY RANGE (timestamp);

        -- Events whose clock is far off, and months for which nobody made a partition in time.
        CREATE TABLE public.audit_events_default PARTITION OF public.audit_events DEFAULT;

        -- One index for each way in that the documents name: user, address, category, CUI, each by time. Ascending (a B-tree
        -- reads backwards as well), partial where the column is mostly null, and none on timestamp alone: the key leads with it.
        CREATE INDEX idx_audit_user_ts ON public.audit_events (user_id, timestamp) WHERE user_id IS NOT NULL;
        CREATE INDEX idx_audit_ip_ts   ON public.audit_events (ip_address, timestamp) WHERE ip_address IS NOT NULL;
        -- Page views are the bulk: the key, read backwards, meets one at every step, and an index of them would only cost.
        CREATE INDEX idx_audit_cat_ts  ON public.audit_events (category, timestamp) WHERE category <> 'access';
        CREATE INDEX idx_audit_cui     ON public.audit_events (timestamp) WHERE cui_accessed;
    ELSE
        ALTER TABLE public.audit_events
            ADD COLUMN IF NOT EXISTS created_at timestamptz NOT NULL DEFAULT now(),
            ADD COLUMN IF NOT EXISTS seq        bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
            ADD COLUMN IF NOT EXISTS xact_id    xid8        NOT NULL DEFAULT pg_current_xact_id(),
            ALTER COLUMN event_id SET DEFAULT blueteam.uuid_v7();
        -- The document granted the whole row; created_at, seq and xact_id are the server's.
        REVOKE ALL ON public.audit_events FROM eqmon_audit_writer, blueteam_reader, blueteam_admin, PUBLIC;
    END IF;
END $$;

-- The reader's way in. A B-tree, because a BRIN index is summarised late and would leave the newest rows, which are the ones
-- wanted, to a scan; all rows of one transaction share a value, and B-tree deduplication makes that cheap.
CREATE INDEX IF NOT EXISTS idx_audit_xact ON public.audit_events (xact_id);

COMMENT ON TABLE public.audit_events IS 'Centralized audit log for NIST 800-171 compliance (3.3.1, 3.3.2)';
COMMENT ON COLUMN public.audit_events.xact_id IS 'Transaction that wrote the row; set by the server';
COMMENT ON COLUMN public.audit_events.seq IS 'Order of insertion, not of commit; set by the server';
