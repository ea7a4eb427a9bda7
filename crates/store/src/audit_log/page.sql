-- Lists what people and programs changed, the newest first.
--
-- $1 who, $2 table, $3 action, $4 and $5 from when until when, $6 most entries, $7 and $8 time and id
-- of the entry after which the list goes on

SELECT
    l.id,
    l.created_at AS "created_at: Ts",
    l.actor,
    l.action::text AS "action!",
    l.resource_type::text AS "resource_type!",
    l.resource_id,
    l.old_value,
    l.new_value,
    l.ip_address,
    l.metadata AS "metadata!"
FROM audit.audit_log l
WHERE ($1::text IS NULL OR l.actor = $1 OR l.metadata ->> 'on_behalf_of' = $1)
    AND ($2::text IS NULL OR l.metadata ->> 'table' = $2)
    AND ($3::text IS NULL OR l.action::text = $3)
    AND ($4::timestamptz IS NULL OR l.created_at >= $4)
    AND ($5::timestamptz IS NULL OR l.created_at < $5)
    AND ($7::timestamptz IS NULL OR (l.created_at, l.id) < ($7, $8::uuid))
ORDER BY l.created_at DESC, l.id DESC
LIMIT $6
