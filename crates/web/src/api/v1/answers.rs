//! What is answered, field by field. A test compares it with the answers of a running program.

mod alerts;
mod evidence;
mod incidents;
mod redteam;
mod tenants;

use super::operation::{Field, Record, Schema, record};

pub(super) use alerts::{ALERT, BATCH, VERDICT};
pub(super) use evidence::INCIDENT_EVIDENCE;
pub(super) use incidents::{
    HAPPENED, INCIDENT, INDICATOR, MERGED, OBSERVABLES, STATUS_CHANGE, TASK, TASK_STATES,
};
pub(super) use redteam::{REDTEAM_COMPARISON, REDTEAM_FINDING, REDTEAM_RUN, REDTEAM_RUN_DETAILS};
pub(super) use tenants::TENANT;

pub(super) const INCIDENT_STATUSES: &[&str] = &[
    "detected",
    "analyzing",
    "contained",
    "eradicated",
    "recovered",
    "closed",
];
pub(super) const RISKS: &[&str] = &["low", "moderate", "high", "very_high"];
pub(super) const PLAN_STATUSES: &[&str] = &["open", "in_progress", "completed", "accepted_risk"];
pub(super) const EVIDENCE_KINDS: &[&str] = &[
    "log_sample",
    "config_screenshot",
    "test_result",
    "policy_doc",
    "scan_result",
    "automated_check",
];
pub(super) const ROLES: &[&str] = &["user", "manager", "admin", "system_admin", "assessor"];
pub(super) const ACTIONS: &[&str] = &["read", "acknowledge", "write", "approve", "export"];
const SEVERITY: Schema = Schema::OneOf(&["low", "medium", "high", "critical"]);
const TEXTS: Schema = Schema::List(&Schema::Text);
const ANY: Schema = Schema::Any;
const ID: Schema = Schema::Id;
const TEXT: Schema = Schema::Text;
const TIME: Schema = Schema::Time;
const COUNT: Schema = Schema::Integer;
const YES: Schema = Schema::Boolean;
const MAYBE_ID: Schema = Schema::Maybe(&Schema::Id);
const MAYBE_TEXT: Schema = Schema::Maybe(&Schema::Text);
const MAYBE_TIME: Schema = Schema::Maybe(&Schema::Time);
const MAYBE_COUNT: Schema = Schema::Maybe(&Schema::Integer);
const RISK: Schema = Schema::OneOf(RISKS);
const MAYBE_RISK: Schema = Schema::Maybe(&RISK);

record! {
    /// Who or what something is about.
    ENTITY = "Entity" {
        type: TEXT, "what `value` is";
        value: TEXT, "the address, user, session or source";
    }
}

record! {
    /// A notification.
    NOTIFICATION = "Notification" {
        delivery_id: ID, "its id";
        alert_id: MAYBE_ID, "the alert that it is about";
        title: TEXT, "its title";
        channel: TEXT, "through which channel";
        kind: TEXT, "why it was written";
        state: TEXT, "`pending`, `delivered` or `dead`";
        attempts: COUNT, "attempts so far";
        last_error: MAYBE_TEXT, "why the newest attempt failed";
        created_at: TIME, "when it was written";
        next_attempt_at: MAYBE_TIME, "the next attempt";
        delivered_at: MAYBE_TIME, "when the other side had it";
    }
}

record! {
    /// A silence, a maintenance window or an exception.
    SILENCE = "Silence" {
        mute_id: ID, "its id";
        kind: Schema::OneOf(&["silence", "maintenance", "exception"]), "what it is";
        rule_id: MAYBE_TEXT, "alerts of this rule";
        source: MAYBE_TEXT, "alerts from this source";
        tenant: MAYBE_ID, "alerts of this tenant";
        entity: ANY, "alerts about this";
        author: TEXT, "who made it";
        reason: TEXT, "why";
        ticket: MAYBE_TEXT, "where it is written up";
        starts_at: TIME, "when it begins";
        ends_at: TIME, "when it ends";
        ended_by: MAYBE_TEXT, "who ended it early";
        muted_alerts ? sometimes: COUNT, "how many alerts it has kept from notifying people; in lists";
        review ? sometimes: YES, "whether it ends soon and should be looked at; in lists";
    }
}

record! {
    /// An audit event or an event of a log.
    EVENT = "Event" {
        event_id: ID, "its id";
        timestamp: TIME, "when it happened";
        source: TEXT, "`audit_db`, or the kind of log";
        category: TEXT, "what it is about";
        action: TEXT, "what was done";
        result: TEXT, "how it ended";
        user_id: MAYBE_ID, "who, as an id";
        user_name: MAYBE_TEXT, "who, as a name";
        target: MAYBE_TEXT, "the account that was acted upon";
        session_id: MAYBE_TEXT, "in which session";
        ip_address: MAYBE_TEXT, "from where";
        user_agent: MAYBE_TEXT, "with what";
        resource_type: MAYBE_TEXT, "to what kind of thing";
        resource_id: MAYBE_TEXT, "to which";
        instance_id: MAYBE_ID, "the application's tenant";
        cui_accessed: YES, "whether CUI was touched";
        cui: YES, "the same by its earlier name";
        metadata: ANY, "the rest";
        source_id: MAYBE_TEXT, "the file, journal or listener";
        host: MAYBE_TEXT, "the machine that logged it";
        program: MAYBE_TEXT, "the program that logged it";
        pid: MAYBE_COUNT, "its process ID";
        facility: MAYBE_TEXT, "the syslog facility";
        peer: MAYBE_TEXT, "the address that sent it to a listener";
        raw: MAYBE_TEXT, "the line, with secrets masked";
        created_at: TIME, "when it was stored";
    }
}

record! {
    /// A detection rule.
    RULE = "Rule" {
        rule_id: TEXT, "its id";
        name: TEXT, "its name";
        kind: TEXT, "built in, or by whom";
        severity: SEVERITY, "of its alerts";
        enabled: YES, "whether it is in force";
        nist_controls: TEXTS, "requirements of SP 800-171 that it serves";
        attack: TEXTS, "techniques of ATT&CK";
        description: TEXT, "what it finds";
        parameters: ANY, "its thresholds";
        alerts: COUNT, "alerts so far";
        last_fired: MAYBE_TIME, "when it last fired";
        needs: ANY, "sources that it needs";
        last_proven: ANY, "when it last passed its test";
        blind_to: TEXTS, "sources that it needs and that are not there";
        partly_blind_to: TEXTS, "sources of which it sees a part";
        cannot_fire: MAYBE_TEXT, "why it cannot fire";
    }
}

record! {
    /// A source of events, and its completeness ledger.
    SOURCE = "Source" {
        source_id: TEXT, "its id";
        kind: TEXT, "its kind";
        expected_every: ANY, "how often it should say something";
        first_seen_at: TIME, "since when";
        last_received_at: MAYBE_TIME, "when something last came";
        last_event_at: MAYBE_TIME, "the newest event";
        received: COUNT, "lines or events that came";
        accepted: COUNT, "that became events";
        ignored: COUNT, "that mean nothing to security";
        repeated: COUNT, "that were there already";
        rejected: COUNT, "that could not be read";
        late: COUNT, "that came late";
        skew: ANY, "how far its clock is off";
        silent_since: MAYBE_TIME, "since when it is silent";
        gone_at: MAYBE_TIME, "when it was taken away";
        dropped: COUNT, "that its sender lost";
        hosts ? sometimes: TEXTS, "machines that report through it; in lists";
        partly_unread ? sometimes: ANY, "what of it cannot be read; in lists";
        usual_pause_open ? sometimes: ANY, "its usual pause in business hours; by itself";
        usual_pause_closed ? sometimes: ANY, "its usual pause outside them; by itself";
        missing_numbers ? sometimes: MAYBE_COUNT, "sequence numbers that are missing; by itself";
        gaps ? sometimes: ANY, "its gaps; by itself";
        senders ? sometimes: ANY, "who sends to it; by itself";
    }
}

record! {
    /// A monitor.
    MONITOR = "Monitor" {
        name: TEXT, "its name";
        what: TEXT, "what it measures";
        unit: TEXT, "in which unit";
        state: TEXT, "how it stands";
        value: Schema::Maybe(&Schema::Number), "its newest value";
        threshold: Schema::Number, "beyond which it alerts";
        over_since: MAYBE_TIME, "since when it is over";
        measured_at: MAYBE_TIME, "when it last measured";
        detail: TEXT, "what lies behind the value";
        rule_id: TEXT, "the rule of its alerts";
        alert_id: MAYBE_ID, "its open alert";
    }
}

record! {
    /// Failed sign-ins, or lockouts.
    SIGN_IN_FAILURES = "SignInFailures" {
        today: COUNT, "today (UTC)";
        week: COUNT, "in 7 days";
        accounts: COUNT, "of how many accounts";
        by_account: Schema::List(&ANY), "the accounts with most of them";
        by_address: Schema::List(&ANY), "the addresses with most of them";
    }
}

record! {
    /// Failed sign-ins and lockouts.
    SIGN_INS = "SignIns" {
        failed: Schema::Object(&SIGN_IN_FAILURES), "failed sign-ins";
        locked: Schema::Object(&SIGN_IN_FAILURES), "lockouts";
    }
}

record! {
    /// Accounts of people against the password policy.
    PASSWORD_COMPLIANCE = "PasswordCompliance" {
        accounts: COUNT, "accounts that can be used";
        compliant: COUNT, "those that meet all of it";
        past_age: TEXTS, "names with a password that is too old";
        without_factor: TEXTS, "names without a second factor";
        must_change: TEXTS, "names that must change their password";
    }
}

record! {
    /// Size and growth of the database.
    DATABASE_SIZE = "DatabaseSize" {
        database_bytes: COUNT, "its size";
        largest: Schema::List(&ANY), "the largest tables";
        samples: COUNT, "daily samples that the growth rests on";
        bytes_a_day: Schema::Maybe(&Schema::Number), "its growth a day";
        no_growth_because: MAYBE_TEXT, "why that is not known";
        full_on: MAYBE_TEXT, "the day on which 85 % of the disk is in use";
        no_day_because: MAYBE_TEXT, "why that is not known";
    }
}

record! {
    /// How blueteam is looked after.
    UPKEEP = "Upkeep" {
        at: TIME, "when this was read";
        sign_ins: Schema::Object(&SIGN_INS), "failed sign-ins and lockouts";
        backup: ANY, "the last backup";
        statements: ANY, "slow statements, and what saw them";
        indexes: ANY, "indexes that no statement used, and since when";
        storage: Schema::Object(&DATABASE_SIZE), "size and growth";
        passwords: Schema::Object(&PASSWORD_COMPLIANCE), "accounts against the password policy";
        rules: Schema::List(&ANY), "rules by what became of their alerts in 30 days";
        server: ANY, "connections and the mean time of a statement";
        analyzed: ANY, "when the statistics of tables were last taken";
        reviews: Schema::List(&ANY), "when each review was signed, and is due";
    }
}

record! {
    /// A vulnerable package that is installed.
    ADVISORY_MATCH = "AdvisoryMatch" {
        match_id: ID, "its id";
        vulnerability: TEXT, "the vulnerability";
        feed: TEXT, "who says so";
        advisory_id: TEXT, "in which advisory";
        title: TEXT, "what it is";
        inventory: TEXT, "where the package is installed";
        ecosystem: TEXT, "the package's kind";
        name: TEXT, "the package";
        version: TEXT, "its version";
        confidence: TEXT, "how sure it is";
        severity: TEXT, "how bad it is";
        exploited: YES, "whether it is exploited somewhere";
        fixed_in: MAYBE_TEXT, "the version that mends it";
        state: TEXT, "`open`, `in_progress` or `closed`";
        resolution: MAYBE_TEXT, "how it was closed";
        reason: MAYBE_TEXT, "why";
        owner: MAYBE_TEXT, "who answers for it";
        due: MAYBE_TEXT, "until when";
        ticket: MAYBE_TEXT, "where it is written up";
        decided_by: MAYBE_TEXT, "who decided";
        decided_at: MAYBE_TIME, "when";
        alert_id: MAYBE_ID, "its alert";
        created_at: TIME, "when it was found";
    }
}

record! {
    /// A requirement of SP 800-171 and how it stands.
    REQUIREMENT = "Requirement" {
        control_id: TEXT, "its number";
        cmmc_practice: TEXT, "its name in CMMC";
        family: TEXT, "its family";
        title: TEXT, "its title";
        status: TEXT, "how far it is implemented";
        finding: TEXT, "what an assessor would find";
        objectives: COUNT, "how many objectives it has";
        objectives_met: COUNT, "how many are met";
        weight: MAYBE_COUNT, "points that it weighs";
        poam_eligibility: TEXT, "whether it may be on a plan of action";
        planned: YES, "whether it is on one";
        lacks_evidence: YES, "whether evidence is missing";
        lacks_statement: YES, "whether the statement of its implementation is missing";
        owner: MAYBE_TEXT, "who answers for it";
        due: MAYBE_TIME, "until when";
    }
}

record! {
    /// A score as it was counted.
    SCORE = "Score" {
        at: TIME, "when";
        points: MAYBE_COUNT, "from -203 to 110";
        met: COUNT, "requirements that are met or do not apply";
        not_met: COUNT, "that are not met";
        open: COUNT, "that are not decided";
    }
}

record! {
    /// An item of the plan of action.
    PLAN = "PlanItem" {
        poam_id: ID, "its id";
        item_number: MAYBE_TEXT, "its number, such as `POAM-2026-003`";
        control_id: TEXT, "the requirement";
        kind: TEXT, "`poam` or `operational`";
        weakness: TEXT, "what is wrong";
        risk: RISK, "how great the risk is";
        likelihood: MAYBE_RISK, "how likely";
        impact: MAYBE_RISK, "how bad";
        residual_risk: MAYBE_RISK, "what remains";
        remediation: TEXT, "what is done about it";
        milestones: MAYBE_TEXT, "in which steps";
        milestone_changes: TEXT, "what the steps were before";
        due: MAYBE_TIME, "until when";
        completed: MAYBE_TIME, "when it was done";
        status: Schema::OneOf(PLAN_STATUSES), "how far it is";
        resources: MAYBE_TEXT, "what it takes";
        owner: MAYBE_TEXT, "who answers for it";
        identified_by: MAYBE_TEXT, "who found it";
        mitigation: MAYBE_TEXT, "what lowers the risk until then";
        tasks: TEXTS, "tickets";
        conditional_since: MAYBE_TIME, "since when the status is conditional";
        closed_by: MAYBE_TEXT, "who closed it";
        closing_evidence: MAYBE_ID, "by which evidence";
        created_at: TIME, "when it was written";
        overdue: YES, "whether it is overdue";
        due_too_late: YES, "whether it is due after the conditional status ends";
        close_out_by: MAYBE_TIME, "when the conditional status ends";
    }
}

record! {
    /// A piece of evidence.
    EVIDENCE = "Evidence" {
        evidence_id: ID, "its id";
        control_id: TEXT, "the requirement";
        objectives: TEXTS, "the objectives that it supports";
        kind: Schema::OneOf(EVIDENCE_KINDS), "what it is";
        description: TEXT, "what it shows";
        content: MAYBE_TEXT, "its text";
        file_path: MAYBE_TEXT, "its file in the evidence store";
        file_name: MAYBE_TEXT, "what the file was called";
        size_bytes: MAYBE_COUNT, "the file's size";
        sha256: MAYBE_TEXT, "the hash of what was taken in";
        collected_at: TIME, "when it was taken in";
        collected_by: MAYBE_TEXT, "by whom";
        effective_at: MAYBE_TIME, "from when on it says so";
        valid_until: MAYBE_TIME, "until when it counts";
        owner: MAYBE_TEXT, "who answers for it";
        approved_by: MAYBE_TEXT, "who approved it";
        approved_at: MAYBE_TIME, "when";
        refused ? sometimes: ANY, "that the draft was refused: by whom, when and why";
        retain_until: TIME, "until when it is kept";
        recorded: ANY, "what a check saw";
        confirmed_at: MAYBE_TIME, "when a check last saw the same";
        review: YES, "whether it is of a review";
        upkeep ? sometimes: Schema::OneOf(&["weekly", "monthly"]), "which review of upkeep it is";
        tampered: YES, "whether it is not what was taken in";
        validity: Schema::OneOf(&["valid", "lapsing", "lapsed", "draft", "refused", "tampered"]), "how far it counts today";
    }
}

record! {
    /// An API key; its secret is never shown again.
    KEY = "Key" {
        key_id: ID, "its id";
        kind: Schema::OneOf(&["machine", "person"]), "whose it is";
        username: TEXT, "its owner";
        name: TEXT, "what uses it";
        prefix: TEXT, "its first characters";
        scopes: TEXTS, "what it may do";
        service: MAYBE_TEXT, "the service that sends with it";
        is_active: YES, "whether it was not revoked";
        expires_at: MAYBE_TIME, "when it ends";
        last_used: MAYBE_TIME, "when it was last used";
        usage_count: COUNT, "how often it was used";
        created_at: TIME, "when it was made";
        rotated_at: MAYBE_TIME, "when its secret was last replaced";
        former_until: MAYBE_TIME, "until when the secret before counts, too";
    }
}

record! {
    /// A key that was made. The secret is shown once.
    NEW_KEY = "NewKey" {
        key_id: ID, "its id";
        kind: Schema::OneOf(&["machine", "person"]), "whose it is";
        scopes: TEXTS, "what it may do";
        expires_at: MAYBE_TIME, "when it ends";
        key: MAYBE_TEXT, "the secret; `null` where the answer is repeated";
    }
}

record! {
    /// A key that has another secret. It is shown once.
    ROTATED_KEY = "RotatedKey" {
        key_id: ID, "its id";
        expires_at: TIME, "when the key ends";
        former_until: TIME, "until when the old secret counts";
        key: MAYBE_TEXT, "the new secret; `null` where the answer is repeated";
    }
}

record! {
    /// A key that is out of force.
    REVOKED_KEY = "RevokedKey" {
        key: Schema::Object(&KEY), "the key as it was";
        revoked: YES, "whether it was in force";
    }
}

record! {
    /// An account of a person or of machines.
    USER = "User" {
        user_id: ID, "its id";
        username: TEXT, "its name";
        email: TEXT, "where mail goes";
        full_name: MAYBE_TEXT, "its person's name";
        role: TEXT, "its role";
        is_active: YES, "whether it may be used";
        is_service: YES, "whether it owns machines' keys";
        disabled_reason: MAYBE_TEXT, "why it may not be used";
        expires_at: MAYBE_TIME, "until when it is given";
        has_password: YES, "whether it has a password";
        must_change_password: YES, "whether the next sign-in asks for a new one";
        password_last_changed: MAYBE_TIME, "when it was chosen";
        failed_attempts: COUNT, "wrong attempts in a row";
        locked_until: MAYBE_TIME, "until when it is locked";
        last_login: MAYBE_TIME, "the latest sign-in";
        created_at: TIME, "when it was made";
        factors: TEXTS, "second factors in force";
        invited_until: MAYBE_TIME, "until when an enrollment code can be used";
    }
}

record! {
    /// What a person needs to set up an account. The code is shown once.
    INVITATION = "Invitation" {
        user_id: ID, "the account";
        username: TEXT, "its name";
        enrollment_code: MAYBE_TEXT, "the code; `null` where the answer is repeated";
        expires_at: TIME, "until when it can be used";
    }
}

record! {
    /// A person's session.
    SESSION = "Session" {
        session_id: ID, "its id";
        username: TEXT, "whose";
        factors: TEXTS, "how they signed in";
        ip_address: MAYBE_TEXT, "from where";
        user_agent: MAYBE_TEXT, "with what";
        created_at: TIME, "since when";
        seen_at: TIME, "when it was last used";
    }
}

record! {
    /// The policy for passwords.
    POLICY = "Policy" {
        profile: TEXT, "its profile";
        min_length: COUNT, "the fewest characters";
        mfa_min_length: COUNT, "the fewest with a second factor";
        require_uppercase: YES, "whether capital letters are needed";
        require_lowercase: YES, "whether small letters are needed";
        require_numbers: YES, "whether digits are needed";
        require_special_chars: YES, "whether other characters are needed";
        max_age_days: COUNT, "the greatest age; 0 for none";
        history_count: COUNT, "former passwords that are refused";
        min_changed_characters: COUNT, "characters that must be new";
        use_blocklist: YES, "whether common ones are refused";
        max_failed_attempts: COUNT, "wrong attempts that lock an account";
        lockout_duration_minutes: COUNT, "for how long";
        idle_disable_days: COUNT, "after which an unused account is disabled";
        contradictions: ANY, "requirements that a setting contradicts";
    }
}

record! {
    /// Who has signed in.
    PERSON = "Person" {
        user_id: ID, "the account";
        username: TEXT, "its name";
        full_name: MAYBE_TEXT, "its person's name";
        role: Schema::OneOf(ROLES), "its role";
        session_id: ID, "the session";
        stepped_up: YES, "whether what is dangerous may be done without proving both factors again";
    }
}

record! {
    /// A session has begun, or is there.
    SIGNED_IN = "SignedIn" {
        person: Schema::Object(&PERSON), "who";
    }
}

record! {
    /// What the setup of an account needs.
    ENROLLMENT = "Enrollment" {
        username: TEXT, "the account";
        totp_secret: TEXT, "for the authenticator app";
        totp_uri: TEXT, "the same, for a QR code";
        min_length: MAYBE_COUNT, "how long a password must be; `null`: it has none";
    }
}

record! {
    /// An account is set up, and its session has begun.
    ENROLLED = "Enrolled" {
        person: Schema::Object(&PERSON), "who";
        recovery_codes: TEXTS, "codes for when the app is lost, shown once";
    }
}

record! {
    /// A second factor.
    FACTOR = "Factor" {
        factor_id: ID, "its id";
        kind: Schema::OneOf(&["totp", "passkey"]), "what it is";
        name: TEXT, "what its person calls it";
        created_at: TIME, "when it was set up";
        last_used: MAYBE_TIME, "when it was last used";
    }
}

record! {
    /// What `navigator.credentials` takes, in the form that `parseCreationOptionsFromJSON` and
    /// `parseRequestOptionsFromJSON` read (WebAuthn level 3).
    PASSKEY_OPTIONS = "PasskeyOptions" {
        publicKey: ANY, "the options, with the challenge";
    }
}

record! {
    /// What the provider sends a browser back with.
    CALLBACK = "Callback" {
        code ? sometimes: TEXT, "the authorization code";
        state ? sometimes: TEXT, "which sign-in it answers";
        iss ? sometimes: TEXT, "the issuer";
        error ? sometimes: TEXT, "why there is no code";
    }
}

record! {
    /// The notice that is accepted with a sign-in.
    NOTICE = "Notice" {
        version: MAYBE_TEXT, "what a sign-in sends to accept it; `null`: there is none";
        text: MAYBE_TEXT, "what it says";
    }
}

record! {
    /// What was accepted before a sign-in.
    ACCEPTED = "Accepted" {
        notice ? sometimes: TEXT, "the version of the notice that is accepted";
    }
}

record! {
    /// Whether a role may do something.
    PERMISSION = "Permission" {
        role: Schema::OneOf(ROLES), "whose";
        resource: TEXT, "to what";
        action: Schema::OneOf(ACTIONS), "what is done";
        allowed: YES, "whether it may";
        built_in: YES, "whether it may without what was changed";
        changed_at: MAYBE_TIME, "when it was changed";
    }
}
