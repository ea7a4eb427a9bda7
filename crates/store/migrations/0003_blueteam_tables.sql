-- The nine tables of the blueteam schema, with the documents' names and columns; those that migration 030 already made are
-- left as they are. `ssp_sections` is in the documents' diagram but not in their migration. The columns that the product adds
-- follow in 0004.

-- Security incidents (3.6.1, 3.6.2).
CREATE TABLE IF NOT EXISTS blueteam.security_incidents (
    incident_id       uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    title             text NOT NULL,
    description       text,
    severity          text NOT NULL CHECK (severity IN ('critical', 'high', 'medium', 'low')),
    status            text NOT NULL DEFAULT 'detected'
                      CHECK (status IN ('detected', 'analyzing', 'contained', 'eradicated', 'recovered', 'closed')),
    detected_at       timestamptz NOT NULL DEFAULT now(),
    detected_by       text NOT NULL,
    correlation_rule  text,
    assigned_to       text,
    nist_controls     text[],
    cui_involved      boolean DEFAULT false,
    dfars_reportable  boolean DEFAULT false,
    dfars_reported_at timestamptz,
    contained_at      timestamptz,
    eradicated_at     timestamptz,
    recovered_at      timestamptz,
    closed_at         timestamptz,
    root_cause        text,
    lessons_learned   text,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS idx_incidents_status ON blueteam.security_incidents (status) WHERE status != 'closed';
CREATE INDEX IF NOT EXISTS idx_incidents_severity ON blueteam.security_incidents (severity, detected_at DESC);

-- Incident evidence chain (3.6.2).
CREATE TABLE IF NOT EXISTS blueteam.incident_evidence (
    evidence_id   uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    incident_id   uuid NOT NULL REFERENCES blueteam.security_incidents (incident_id) ON DELETE CASCADE,
    evidence_type text NOT NULL
                  CHECK (evidence_type IN ('log_excerpt', 'screenshot', 'config', 'timeline', 'network_capture', 'file', 'note')),
    description   text NOT NULL,
    content       text,
    file_path     text,
    collected_at  timestamptz NOT NULL DEFAULT now(),
    collected_by  text NOT NULL,
    hash_sha256   text
);
CREATE INDEX IF NOT EXISTS idx_evidence_incident ON blueteam.incident_evidence (incident_id);

-- Compliance controls (3.12.1 to 3.12.4).
CREATE TABLE IF NOT EXISTS blueteam.compliance_controls (
    control_id           text PRIMARY KEY,
    family               text NOT NULL,
    family_id            text NOT NULL,
    requirement          text NOT NULL,
    status               text NOT NULL DEFAULT 'not_assessed'
                         CHECK (status IN ('implemented', 'partially_implemented', 'planned', 'not_implemented', 'not_applicable',
                                           'not_assessed')),
    implementation_notes text,
    evidence_type        text CHECK (evidence_type IN ('automated', 'manual', 'hybrid')),
    responsible_party    text,
    last_assessed        timestamptz,
    next_assessment      timestamptz,
    assessor_notes       text,
    created_at           timestamptz NOT NULL DEFAULT now(),
    updated_at           timestamptz NOT NULL DEFAULT now()
);

-- Compliance evidence (3.12.1).
CREATE TABLE IF NOT EXISTS blueteam.compliance_evidence (
    evidence_id   uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    control_id    text NOT NULL REFERENCES blueteam.compliance_controls (control_id),
    evidence_type text NOT NULL
                  CHECK (evidence_type IN ('log_sample', 'config_screenshot', 'test_result', 'policy_doc', 'scan_result',
                                           'automated_check')),
    description   text NOT NULL,
    content       text,
    file_path     text,
    collected_at  timestamptz NOT NULL DEFAULT now(),
    automated     boolean DEFAULT false,
    valid_until   timestamptz
);
CREATE INDEX IF NOT EXISTS idx_compliance_evidence_control ON blueteam.compliance_evidence (control_id);

-- Plan of action and milestones (3.12.2).
CREATE TABLE IF NOT EXISTS blueteam.poam_items (
    poam_id              uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    control_id           text NOT NULL REFERENCES blueteam.compliance_controls (control_id),
    weakness_description text NOT NULL,
    risk_level           text NOT NULL CHECK (risk_level IN ('very_high', 'high', 'moderate', 'low')),
    remediation_plan     text NOT NULL,
    milestone            text,
    scheduled_completion timestamptz,
    actual_completion    timestamptz,
    status               text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'in_progress', 'completed', 'accepted_risk')),
    resources_required   text,
    created_at           timestamptz NOT NULL DEFAULT now(),
    updated_at           timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS idx_poam_status ON blueteam.poam_items (status) WHERE status != 'completed';

-- Alert rules and history (3.3.4, 3.14.3).
CREATE TABLE IF NOT EXISTS blueteam.alert_rules (
    rule_id       text PRIMARY KEY,
    name          text NOT NULL,
    description   text,
    severity      text NOT NULL,
    nist_controls text[],
    enabled       boolean DEFAULT true,
    config        jsonb DEFAULT '{}',
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS blueteam.alert_history (
    alert_id        uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    rule_id         text REFERENCES blueteam.alert_rules (rule_id),
    severity        text NOT NULL,
    title           text NOT NULL,
    description     text,
    event_ids       uuid[],
    incident_id     uuid REFERENCES blueteam.security_incidents (incident_id),
    acknowledged    boolean DEFAULT false,
    acknowledged_by text,
    acknowledged_at timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS idx_alerts_unacked ON blueteam.alert_history (created_at DESC) WHERE acknowledged = false;

-- Posture scores, for their trend.
CREATE TABLE IF NOT EXISTS blueteam.posture_scores (
    score_id          uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    scored_at         timestamptz NOT NULL DEFAULT now(),
    overall_score     numeric(5, 2),
    compliance_score  numeric(5, 2),
    redteam_score     numeric(5, 2),
    monitoring_score  numeric(5, 2),
    incident_score    numeric(5, 2),
    details           jsonb DEFAULT '{}',
    redteam_report_id text
);
CREATE INDEX IF NOT EXISTS idx_posture_ts ON blueteam.posture_scores (scored_at DESC);

-- System security plan (3.12.4).
CREATE TABLE IF NOT EXISTS blueteam.ssp_sections (
    section_id uuid PRIMARY KEY DEFAULT blueteam.uuid_v7(),
    control_id text REFERENCES blueteam.compliance_controls (control_id),
    section    text NOT NULL,
    title      text NOT NULL,
    content    text NOT NULL DEFAULT '',
    position   integer NOT NULL DEFAULT 0,
    updated_by text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS idx_ssp_position ON blueteam.ssp_sections (section, position);
