//! The running program, from outside: the built binary, a state directory and a port of each test's
//! own.

#![expect(
    clippy::unwrap_used,
    reason = "a failed step of a test is a failed test, helpers included"
)]

mod advisories;
mod alerts;
mod api;
mod bodies;
mod certificates;
mod clock;
mod console;
mod console_admin;
mod console_figures;
mod console_operations;
mod daemon;
mod databases;
mod deliveries;
mod doctor;
mod doors;
mod duties;
mod evidence;
mod first_account;
mod full;
mod guessing;
mod incident_clocks;
mod journal;
mod kills;
mod ldap;
mod listeners;
mod mails;
mod metrics;
mod migrated_state;
mod monitor_command;
mod monitors;
mod nginx;
mod notices;
mod odd_feeds;
mod offline;
mod oidc;
mod passkeys;
mod people;
mod person_keys;
mod provenance;
mod record;
mod redteam;
mod remote;
mod separate_owner;
mod services;
mod sessions;
mod sources;
mod spools;
mod state;
mod stops;
mod storm;
mod stuck;
mod tenants;
mod upgrade;
