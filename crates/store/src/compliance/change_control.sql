-- Writes what somebody says about a requirement; what is NULL stays as it is.
--
-- $1 requirement, $2 notes, $3 owner, $4 due, $5 responsibility, $6 provider, $7 its duties,
-- $8 the organization's duties, $9 partial credit, $10 type of evidence, $11 assessor's notes

UPDATE blueteam.compliance_controls
SET
    implementation_notes = coalesce($2, implementation_notes),
    responsible_party = coalesce($3, responsible_party),
    next_assessment = coalesce($4, next_assessment),
    responsibility = coalesce($5, responsibility),
    provider = coalesce($6, provider),
    provider_duties = coalesce($7, provider_duties),
    customer_duties = coalesce($8, customer_duties),
    partial_credit = coalesce($9, partial_credit),
    evidence_type = coalesce($10, evidence_type),
    assessor_notes = coalesce($11, assessor_notes),
    updated_at = now()
WHERE tenant_id = (SELECT blueteam.tenant_of_new()) AND control_id = $1
