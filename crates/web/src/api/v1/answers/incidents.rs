//! Incidents, and what belongs to one.

use super::super::operation::{Field, Record, Schema, record};
use super::{
    COUNT, ENTITY, ID, INCIDENT_STATUSES, MAYBE_ID, MAYBE_TEXT, MAYBE_TIME, SEVERITY, TEXT, TEXTS,
    TIME, YES,
};

pub(in crate::api::v1) const TASK_STATES: &[&str] = &["open", "done", "dropped"];
pub(in crate::api::v1) const OBSERVABLES: &[&str] =
    &["ip", "user", "host", "domain", "url", "sha256"];

record! {
    /// Until when an incident must be reported.
    CLOCK = "Clock" {
        duty: TEXT, "the duty, such as `dfars`";
        name: TEXT, "what people call it";
        started_at: TIME, "from when it runs: the discovery";
        due_at: TIME, "until when";
        decision: Schema::OneOf(&["undecided", "yes"]), "whether a person has decided that it applies";
        reported_at: MAYBE_TIME, "when it was reported, which ends it";
        number: MAYBE_TEXT, "the number that came back";
    }
}

record! {
    /// What was decided about a duty to report.
    DUTY_DECIDED = "DutyDecided" {
        duty: TEXT, "the duty";
        applies: YES, "whether it applies";
    }
}

record! {
    /// A report that was sent.
    DUTY_SENT = "DutySent" {
        duty: TEXT, "the duty that it fulfills";
        at: TIME, "when it was sent";
        number: MAYBE_TEXT, "the number that came back";
    }
}

record! {
    /// A security incident.
    INCIDENT = "Incident" {
        incident_id: ID, "its id";
        version: COUNT, "counts its changes by people";
        title: TEXT, "what happened";
        severity: SEVERITY, "how bad it is";
        status: Schema::OneOf(INCIDENT_STATUSES), "where it stands";
        detected_at: TIME, "since when";
        detected_by: TEXT, "what noticed it";
        opened_by: MAYBE_TEXT, "the person who opened it";
        assigned_to: MAYBE_TEXT, "the account that leads it";
        correlation_rule: MAYBE_TEXT, "the rule that opened it";
        entity: Schema::Maybe(&Schema::Object(&ENTITY)), "who or what it is about";
        source: MAYBE_TEXT, "the kind of source";
        services: TEXTS, "services in it";
        proposed_title: MAYBE_TEXT, "the title of a newer alert, where a person has set another";
        proposed_severity: Schema::Maybe(&SEVERITY), "the severity of a worse alert, likewise";
        contained_at: MAYBE_TIME, "when it spread no further";
        eradicated_at: MAYBE_TIME, "when the cause was gone";
        recovered_at: MAYBE_TIME, "when everything was back in service";
        closed_at: MAYBE_TIME, "when it was closed";
        merged_into: MAYBE_ID, "the incident that it is part of";
        cui_involved: YES, "whether CUI is in it";
        dfars_reportable: YES, "whether it is to be reported within 72 hours";
        discovered_at: TIME, "from when the law counts";
        first_event_at: MAYBE_TIME, "its first event";
        alerts: COUNT, "how many alerts belong to it";
        open_tasks: COUNT, "how many tasks are to be done";
        follows: MAYBE_ID, "an incident about the same that was closed up to 7 days before";
        decided: Schema::List(&Schema::Object(&DUTY_DECIDED)), "what was decided, the newest last";
        sent: Schema::List(&Schema::Object(&DUTY_SENT)), "what was reported, the first one first";
        clocks: Schema::List(&Schema::Object(&CLOCK)), "until when it must be reported, the first one first";
    }
}

record! {
    /// A change of an incident's status.
    STATUS_CHANGE = "StatusChange" {
        previous: Schema::OneOf(INCIDENT_STATUSES), "before";
        status: Schema::OneOf(INCIDENT_STATUSES), "after";
        reason: TEXT, "why";
        changed_by: TEXT, "by whom";
        changed_at: TIME, "when";
    }
}

record! {
    /// Something that happened in an incident.
    HAPPENED = "Happened" {
        at: TIME, "when";
        kind: Schema::OneOf(&["attack", "told", "phase", "note", "change", "duty"]), "what kind of thing";
        who: MAYBE_TEXT, "who did it or wrote it down";
        what: TEXT, "what";
    }
}

record! {
    /// Something to do about an incident.
    TASK = "Task" {
        number: COUNT, "its number in the incident";
        task: TEXT, "what to do";
        playbook: MAYBE_TEXT, "the playbook that it comes from";
        state: Schema::OneOf(TASK_STATES), "how far it is";
        remark: MAYBE_TEXT, "what came of it";
        settled_by: MAYBE_TEXT, "who says so";
        settled_at: MAYBE_TIME, "since when";
        added_by: TEXT, "who added it";
        created_at: TIME, "when";
    }
}

record! {
    /// What an attack can be recognized by.
    INDICATOR = "Indicator" {
        kind: Schema::OneOf(OBSERVABLES), "what it is";
        value: TEXT, "the address, name or hash";
        found_by: TEXT, "who found it";
        remark: MAYBE_TEXT, "what is to be known of it";
    }
}

record! {
    /// Two incidents that are one, or two again.
    MERGED = "Merged" {
        from: Schema::Object(&INCIDENT), "the one that is or was part of the other";
        into: Schema::Object(&INCIDENT), "the other";
    }
}
