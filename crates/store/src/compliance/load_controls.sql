-- Writes the tenant's requirements as the catalog has them. What people said of a requirement stays, and so
-- does a note that is there before the type of its evidence is.
--
-- $1 requirements, $2 family IDs, $3 families, $4 wordings, $5 types of evidence, $6 notes

INSERT INTO blueteam.compliance_controls AS c (
    control_id,
    family_id,
    family,
    requirement,
    evidence_type,
    assessor_notes
)
SELECT
    id,
    family_id,
    family,
    requirement,
    evidence_type,
    nullif(notes, '')
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[]
) AS entry (id, family_id, family, requirement, evidence_type, notes)
ON CONFLICT (tenant_id, control_id) DO UPDATE
SET
    family_id = excluded.family_id,
    family = excluded.family,
    requirement = excluded.requirement,
    evidence_type = coalesce(c.evidence_type, excluded.evidence_type),
    assessor_notes = CASE
        WHEN c.evidence_type IS NULL THEN coalesce(c.assessor_notes, excluded.assessor_notes)
        ELSE c.assessor_notes
    END
WHERE c.evidence_type IS NULL
   OR (c.family_id, c.family, c.requirement) IS DISTINCT FROM (
       excluded.family_id, excluded.family, excluded.requirement
   )
