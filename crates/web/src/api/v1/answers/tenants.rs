//! Organizations, with what they have subscribed to and how much of it they use.

use super::super::operation::{Field, Record, Schema, record};
use super::{COUNT, ID, MAYBE_COUNT, MAYBE_TEXT, TEXT, TIME};

record! {
    /// What an organization has subscribed to; a limit that is `null` does not exist.
    LIMITS = "Limits" {
        plan: TEXT, "what the plan is called";
        max_users: MAYBE_COUNT, "the most people who can sign in; one more is refused";
        max_keys: MAYBE_COUNT, "the most API keys in force; one more is refused";
        max_agents: MAYBE_COUNT, "the most agents; one more is refused";
        max_events: MAYBE_COUNT, "events a month (UTC); more are warned of and kept";
        max_bytes: MAYBE_COUNT, "bytes of events; more are warned of and kept";
        retention_months: MAYBE_COUNT, "months that log events are kept at least";
    }
}

record! {
    /// How much an organization uses.
    USE = "Use" {
        users: COUNT, "people who can sign in";
        keys: COUNT, "API keys in force";
        events: COUNT, "events that were stored this month (UTC)";
        bytes: MAYBE_COUNT, "its part of the bytes of all events; `null` before any was counted";
    }
}

record! {
    /// An organization that uses this installation.
    TENANT = "Tenant" {
        tenant_id: ID, "its id";
        name: TEXT, "what commands and the configuration call it";
        title: MAYBE_TEXT, "what documents call it";
        created_at: TIME, "since when it is there";
        subscription: Schema::Maybe(&Schema::Object(&LIMITS)), "what it has subscribed to; `null` without limits";
        usage: Schema::Object(&USE), "how much it uses";
    }
}
