-- Lists the requirements and whether an open POA&M item covers them.

SELECT
    control_id,
    implementation_notes,
    evidence_type,
    assessor_notes,
    responsible_party,
    next_assessment AS "due: Ts",
    responsibility,
    provider,
    provider_duties,
    customer_duties,
    partial_credit,
    EXISTS (
        SELECT
        FROM blueteam.poam_items p
        WHERE p.tenant_id = c.tenant_id AND p.control_id = c.control_id AND p.status IN ('open', 'in_progress')
    ) AS "planned!"
FROM blueteam.compliance_controls c
WHERE tenant_id = (SELECT blueteam.tenant_of_new())
