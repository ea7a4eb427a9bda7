//! Runs of red teams and scanners, and what they found.

use super::super::operation::{Field, Record, Schema, record};
use super::{
    ANY, COUNT, ID, MAYBE_COUNT, MAYBE_ID, MAYBE_TEXT, MAYBE_TIME, TEXT, TEXTS, TIME, YES,
};

const SEVERITY: Schema = Schema::OneOf(&["info", "low", "medium", "high", "critical"]);
const FINDINGS: Schema = Schema::List(&Schema::Object(&REDTEAM_FINDING));

record! {
    /// A run of a red team or a scanner whose report was imported.
    REDTEAM_RUN = "RedTeamRun" {
        run_id: ID, "its id";
        format: TEXT, "the format of the report";
        tool: TEXT, "what wrote it";
        version: MAYBE_TEXT, "the version of the tool";
        tool_run: MAYBE_TEXT, "what the tool calls the run";
        target: TEXT, "what was looked at, where it has a name";
        subject: TEXT, "what was looked at, in words";
        is_complete: YES, "whether the run came to its end, as far as the report says";
        ran_at: TIME, "when it was";
        imported_at: TIME, "when the report was imported";
        imported_by: TEXT, "who imported it";
        file_name: TEXT, "what the file was called";
        items: COUNT, "how much the report lists";
        findings: COUNT, "how many findings that is";
        changes: ANY, "how many were `new`, `gone`, `back`, `still`, `out_of_scope`, `worse`, `milder`";
    }
}

record! {
    /// What red teams and scanners found.
    REDTEAM_FINDING = "RedTeamFinding" {
        finding_id: ID, "its id";
        fingerprint: TEXT, "what makes it the same in another run";
        tool: TEXT, "what found it";
        target: TEXT, "in what, where that has a name";
        rule: TEXT, "the rule, template, plugin or module";
        title: TEXT, "in one line";
        severity: SEVERITY, "how bad it is";
        location: TEXT, "where it is";
        cwes: Schema::List(&Schema::Integer), "CWE numbers";
        cves: TEXTS, "CVE IDs";
        controls: TEXTS, "requirements that it concerns";
        detail: TEXT, "the explanation of the tool, or what proves it";
        instances: COUNT, "how often the last run lists it";
        state: Schema::OneOf(&["open", "gone_proposed", "closed", "accepted"]), "where it stands";
        came_back: COUNT, "how often it came back";
        first_run: ID, "the run that first listed it";
        last_run: ID, "the run that last listed it";
        gone_run: MAYBE_ID, "the run that looked for it and did not list it";
        decided_by: MAYBE_TEXT, "who closed or accepted it";
        decided_at: MAYBE_TIME, "when";
        reason: MAYBE_TEXT, "why";
        plans: Schema::List(&ID), "the plans of action that it opened";
    }
}

record! {
    /// What came of a module of a run.
    REDTEAM_MODULE = "RedTeamModule" {
        name: TEXT, "the module";
        variant: TEXT, "its variant; empty without one";
        severity: SEVERITY, "how bad it is where it is vulnerable";
        verdict: Schema::OneOf(&["vulnerable", "not_vulnerable", "inconclusive", "error"]), "what came of it";
        controls: TEXTS, "requirements that it tests";
        evidence: TEXT, "what proves it";
        requests: MAYBE_COUNT, "how many requests it made";
    }
}

record! {
    /// A run with all that belongs to it.
    REDTEAM_RUN_DETAILS = "RedTeamRunDetails" {
        run: Schema::Object(&REDTEAM_RUN), "the run";
        modules: Schema::List(&Schema::Object(&REDTEAM_MODULE)), "what came of its modules";
        listed: FINDINGS, "what it lists, as it stands now";
    }
}

record! {
    /// The figure of the red team, and what it is made of.
    REDTEAM_FIGURE = "RedTeamFigure" {
        score: Schema::Maybe(&Schema::Number), "from 0 to 100; `null` where no module gave a verdict";
        findings: COUNT, "how many findings of modules count";
        modules: COUNT, "how many modules gave a verdict in the 90 days before";
    }
}

record! {
    /// What has changed between two runs or two times.
    REDTEAM_COMPARISON = "RedTeamComparison" {
        before: TEXT, "what is compared, in words";
        after: TEXT, "with what";
        posture_before: Schema::Object(&REDTEAM_FIGURE), "the figure before";
        posture_after: Schema::Object(&REDTEAM_FIGURE), "the figure after";
        new: FINDINGS, "what is there now and was not known";
        gone: FINDINGS, "what was looked for and is not there";
        back: FINDINGS, "what is there again";
        still: FINDINGS, "what is there as before";
        out_of_scope: FINDINGS, "what was there before, and was not looked for";
    }
}
