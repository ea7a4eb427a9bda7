-- What the audit log says about the records of a chain: of each, what it was when it was recorded, and which columns are not that now.
WITH told AS (
    SELECT a.resource_id, a.created_at, a.id, a.new_value AS value
      FROM audit.audit_log a
     WHERE a.new_value ? 'record_hash' AND a.new_value ->> 'incident_id' = $1
     UNION
    SELECT a.resource_id, a.created_at, a.id, a.new_value
      FROM audit.audit_log a
     WHERE a.resource_type = 'EVIDENCE' AND a.resource_id = ANY ($2::text[]) AND a.new_value ? 'record_hash'
),
first_told AS (
    SELECT DISTINCT ON (t.resource_id) t.resource_id::uuid AS id, t.value
      FROM told t
     -- A row from before there was a chain got its hash with the chain.
     WHERE t.value ->> 'record_hash' IS NOT NULL
     ORDER BY t.resource_id, t.created_at, t.id
),
beside AS (
    SELECT f.id, f.value, coalesce(to_jsonb(e), to_jsonb(c)) AS row_now, coalesce(e.collected_at, c.recorded_at) AS at_now
      FROM first_told f
      LEFT JOIN blueteam.incident_evidence e ON e.evidence_id = f.id
      LEFT JOIN blueteam.incident_custody c ON c.custody_id = f.id
)
SELECT b.id AS "id!", (b.value ->> 'incident_id')::uuid AS "incident_id!", (b.value ->> 'sequence')::bigint AS "sequence!",
       b.value ->> 'record_hash' AS "hash!",
       -- Times are written in the time zone of whoever wrote them.
       ARRAY(SELECT v.key
               FROM jsonb_each(b.value) AS v (key, told)
              WHERE b.row_now IS NOT NULL
                AND CASE WHEN v.key IN ('collected_at', 'recorded_at') THEN (v.told #>> '{}')::timestamptz IS DISTINCT FROM b.at_now
                         ELSE v.told IS DISTINCT FROM b.row_now -> v.key END
              ORDER BY v.key) AS "changed!"
  FROM beside b
