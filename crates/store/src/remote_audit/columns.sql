-- The columns that are read of an audit event in another database, in the order in which they are
-- decoded. A template of `format!`: braces that belong to the statement are doubled.

xmin::text,
event_id,
timestamp,
category::text,
action::text,
result::text,
user_id,
left(session_id::text, {session_id}),
host(ip_address),
left(user_agent::text, {user_agent}),
left(resource_type::text, {resource_type}),
left(resource_id::text, {resource_id}),
instance_id,
coalesce(cui_accessed, false),
CASE
    WHEN metadata IS NULL THEN '{{}}'
    WHEN (pg_column_size(metadata) > 1500 OR pg_column_compression(metadata) IS NOT NULL)
        AND jsonb_path_exists(metadata, '$.**{{{too_deep}}}')
        THEN '{{"metadata_withheld":"depth"}}'
    WHEN (pg_column_size(metadata) > 1500 OR pg_column_compression(metadata) IS NOT NULL)
        AND jsonb_path_exists(
            metadata,
            '$.**{{0 to {depth}}} ? (@.type() == "number" && (@.abs() > 1e308 || (@ != 0 && @.abs() < 1e-308)))'
        )
        THEN '{{"metadata_withheld":"numbers"}}'
    WHEN octet_length(metadata::text) > {metadata} THEN '{{"metadata_withheld":"size"}}'
    WHEN jsonb_typeof(metadata) <> 'object' THEN jsonb_build_object('value', metadata)::text
    ELSE metadata::text
END
