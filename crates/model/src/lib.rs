//! What every other crate talks about: events, detections, alerts, incidents, ids, severities and
//! time.
//!
//! Invariant: nothing here does I/O, is asynchronous, reads a clock or knows SQL. Whatever arrives
//! from outside is turned into these types once, at the border, and is trusted from there on.

mod actor;
pub mod address;
pub mod alert;
pub mod assessment;
pub mod audit;
mod channel;
pub mod civil;
mod details;
pub mod detection;
pub mod event;
pub mod evidence;
pub mod facts;
pub mod ids;
pub mod incident;
pub mod incident_evidence;
mod network;
pub mod notification;
pub mod period;
pub mod person;
pub mod plan;
pub mod posture;
pub mod service;
pub mod silence;
pub mod size;
pub mod sql;
mod tenant;
pub mod text;
pub mod time;
mod verdict;

pub use actor::{Actor, Origin, Via, acting};
pub use alert::{Alert, AlertState};
pub use assessment::{
    Control, Decision, EvidenceType, Finding, Implementation, Method, Objective, Proposal,
    Responsibility, Scored, Standing, Support,
};
pub use audit::{AuditRecord, FieldError};
pub use channel::Channel;
pub use detection::{
    ADVISORY, Detection, DetectionUpdate, Entity, EntityKind, EventKey, Lookback, Phase,
};
pub use event::{Action, Category, Outcome, SecurityEvent, Source};
pub use evidence::{Evidence, EvidenceKind, Recorded, UpkeepReview, Validity};
pub use ids::{
    AlertId, ControlId, EventId, EvidenceId, Fingerprint, IncidentId, ObjectiveId, PlanId, RuleId,
    Severity, SilenceId,
};
pub use incident::{DutyDecided, DutySent, IncidentStatus};
pub use incident_evidence::{
    CustodyEntry, CustodyEvent, EvidenceEntry, EvidenceItem, EvidenceRecord, EvidenceWitness,
    IncidentEvidenceKind,
};
pub use network::{Network, NetworkError};
pub use notification::{Content, Notice, Topic};
pub use plan::{Plan, PlanKind, PlanNumber, PlanStatus, RiskLevel};
pub use service::ServiceName;
pub use silence::{Silence, SilenceKind, SilenceScope, SilenceTarget, SilencedBy};
pub use tenant::{NoTenantName, TenantId, TenantName};
pub use text::Text;
pub use time::{Clock, Span, SystemClock, Timestamp, WallClock};
pub use verdict::Verdict;
