-- Writes all sections in their order; those that say the same stay as they are.
--
-- $1 chapters, $2 titles, $3 contents, $4 who

INSERT INTO blueteam.ssp_sections AS s (section, title, content, position, updated_by, format)
SELECT
    section,
    title,
    content,
    n::integer,
    $4,
    'toml'
FROM unnest(
    $1::text[], $2::text[], $3::text[]
) WITH ORDINALITY AS given (section, title, content, n)
ON CONFLICT (tenant_id, section) WHERE format IS NOT NULL DO UPDATE
SET
    title = excluded.title,
    content = excluded.content,
    position = excluded.position,
    updated_by = excluded.updated_by,
    updated_at = now()
WHERE (s.title, s.content, s.position) IS DISTINCT FROM (
    excluded.title, excluded.content, excluded.position
)
