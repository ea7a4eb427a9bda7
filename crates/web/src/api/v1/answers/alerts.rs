//! Alerts, and what people did with them.

use super::super::operation::{Field, Record, Schema, record};
use super::{
    ANY, COUNT, ENTITY, ID, MAYBE_ID, MAYBE_TEXT, MAYBE_TIME, SEVERITY, TEXT, TEXTS, TIME, YES,
};

record! {
    /// An alert.
    ALERT = "Alert" {
        alert_id: ID, "its id";
        rule_id: TEXT, "the rule that fired";
        rule_name ? sometimes: TEXT, "the rule's name, of rules that have one of their own";
        severity: SEVERITY, "how bad it is";
        title: TEXT, "what happened, in a line";
        description: TEXT, "what happened";
        entity: Schema::Object(&ENTITY), "who or what it is about";
        entity_name ? sometimes: TEXT, "the entity's name";
        accounts ? sometimes: TEXTS, "accounts in it";
        hosts ? sometimes: TEXTS, "machines in it";
        source: TEXT, "the kind of source";
        services: TEXTS, "services in it";
        tenant: MAYBE_ID, "the tenant, if it is one";
        first_seen: TIME, "its first event";
        last_seen: TIME, "its newest event";
        event_count: COUNT, "how many events";
        event_ids: Schema::List(&Schema::Id), "the first of them";
        nist_controls: TEXTS, "requirements of SP 800-171 that it serves";
        cui_involved: YES, "whether CUI is in it";
        incident_id: MAYBE_ID, "its incident";
        state: Schema::OneOf(&["open", "closed"]), "whether it still grows";
        fingerprint: ANY, "what makes it the same as another";
        acknowledged_by: MAYBE_TEXT, "who has seen it";
        acknowledged_at: MAYBE_TIME, "when";
        created_at: TIME, "when it was written";
        muted_by ? sometimes: ANY, "what kept it from notifying people";
    }
}

record! {
    /// What a person made of an alert.
    VERDICT = "Verdict" {
        verdict: Schema::OneOf(&["true_positive", "benign_positive", "false_positive", "undetermined"]), "what it turned out to be";
        note: MAYBE_TEXT, "why";
        decided_by: TEXT, "who says so";
        decided_at: TIME, "since when";
    }
}

record! {
    /// What became of one alert of many.
    BATCH_ITEM = "BatchItem" {
        id: TEXT, "as it was sent";
        alert_id: MAYBE_ID, "the alert";
        result: Schema::OneOf(&["acknowledged", "already-acknowledged", "would-acknowledge", "not-found", "ambiguous"]), "what became of it";
    }
}

record! {
    /// What became of many alerts.
    BATCH = "Batch" {
        items: Schema::List(&Schema::Object(&BATCH_ITEM)), "in the order in which they were sent";
        dry_run: YES, "whether nothing was done";
    }
}
