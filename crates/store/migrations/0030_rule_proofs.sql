-- When a rule was last shown to fire on what it must fire on, and to be silent on what it must not: by which version of the program, and
-- what came of it. Nobody may change or delete a row.
CREATE TABLE blueteam.rule_proofs (
    proof_id uuid        PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    rule_id  text        NOT NULL CHECK (length(rule_id) BETWEEN 1 AND 200),
    at       timestamptz NOT NULL DEFAULT now(),
    version  text        NOT NULL,
    cases    integer     NOT NULL CHECK (cases > 0),
    failed   integer     NOT NULL CHECK (failed BETWEEN 0 AND cases),
    actor    text        NOT NULL
);
CREATE INDEX rule_proofs_latest ON blueteam.rule_proofs (rule_id, at DESC);
SELECT audit.guard('blueteam.rule_proofs');
GRANT INSERT (rule_id, version, cases, failed, actor) ON blueteam.rule_proofs TO blueteam_engine, blueteam_admin;
GRANT SELECT ON blueteam.rule_proofs TO blueteam_engine, blueteam_reader, blueteam_admin;
