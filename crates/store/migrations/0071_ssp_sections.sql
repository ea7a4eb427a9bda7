-- The sections of the system security plan (3.12.4) as people import them from a description of the system: each is a chapter
-- of the plan, with its part of the description as TOML. Rows without a format are those of an adopted database, and stay.
ALTER TABLE blueteam.ssp_sections ADD COLUMN format text CHECK (format IN ('toml'));
CREATE UNIQUE INDEX ssp_sections_once ON blueteam.ssp_sections (section) WHERE format IS NOT NULL;

-- What the evidence of a requirement is comes with its wording.
GRANT INSERT (evidence_type, assessor_notes) ON blueteam.compliance_controls TO blueteam_admin;
