//! Reports as files: the system security plan, the report for the assessor, the plan of action.
//! Each that leaves is `EXPORT` in the audit log.

use std::str::FromStr;

use compliance::document::Document;
use compliance::reports as documents;
use config::StateDir;
use model::{Clock as _, SystemClock};
use tokio::sync::Semaphore;

use super::assessment_package::AssessmentData;
use super::poam;
use crate::actor::{Action, Resource};
use crate::export::{self, Exported};
use crate::rates::REPORTS_AT_ONCE;
use crate::{AppError, Session};

/// Few at a time: each takes seconds of a core, and a connection of those on which people work.
static TURN: Semaphore = Semaphore::const_new(REPORTS_AT_ONCE);

/// A report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The system security plan.
    Ssp,
    /// What an assessor works from.
    Assessor,
    /// The plan of action.
    Poam,
}

impl Report {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ssp => "ssp",
            Self::Assessor => "assessor-report",
            Self::Poam => "poam",
        }
    }

    /// The OSCAL model that says the same, where there is one; the assessor's report is all of them.
    const fn oscal(self) -> Option<&'static str> {
        match self {
            Self::Ssp => Some("system-security-plan"),
            Self::Poam => Some("plan-of-action-and-milestones"),
            Self::Assessor => None,
        }
    }
}

/// A format of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Typeset.
    Pdf,
    /// A page.
    Html,
    /// Text with marks.
    Markdown,
    /// OSCAL.
    Json,
    /// A sheet; of the plan of action alone.
    Csv,
    /// The sheet that eMASS takes; of the plan of action alone.
    Xlsx,
}

/// The text is not the name of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a format of a report")]
pub struct FormError;

impl FromStr for Form {
    type Err = FormError;

    fn from_str(text: &str) -> Result<Self, FormError> {
        Ok(match text {
            "pdf" => Self::Pdf,
            "html" => Self::Html,
            "markdown" => Self::Markdown,
            "json" => Self::Json,
            "csv" => Self::Csv,
            "xlsx" => Self::Xlsx,
            _ => return Err(FormError),
        })
    }
}

impl Form {
    /// The end of a file's name.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Pdf => "pdf",
            Self::Html => "html",
            Self::Markdown => "md",
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Xlsx => "xlsx",
        }
    }

    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Pdf => "application/pdf",
            Self::Html => "text/html; charset=utf-8",
            Self::Markdown => "text/markdown; charset=utf-8",
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        }
    }
}

/// Writes a report as a file, and records who took it.
pub async fn write(
    session: &mut Session,
    state: &StateDir,
    report: Report,
    form: Form,
) -> Result<Vec<u8>, AppError> {
    let resource = match report {
        Report::Poam => Resource::Poam,
        Report::Ssp | Report::Assessor => Resource::Reports,
    };
    session.require(Action::Export, resource)?;
    let Ok(_turn) = TURN.try_acquire() else {
        return Err(AppError::conflict(
            "other reports are being written: try again in a moment",
        ));
    };
    let bytes = match (report, form) {
        (Report::Poam, Form::Csv) => poam::export(session, state, poam::Form::Csv).await?,
        (Report::Poam, Form::Xlsx) => poam::export(session, state, poam::Form::Xlsx).await?,
        (_, Form::Csv | Form::Xlsx) => {
            return Err(AppError::invalid(
                "only the plan of action is a sheet: ask for pdf, html, markdown or json",
            ));
        }
        (Report::Poam, Form::Pdf) => poam::export(session, state, poam::Form::Pdf).await?,
        (Report::Poam, Form::Html) => poam::export(session, state, poam::Form::Html).await?,
        (Report::Poam, Form::Markdown) => {
            poam::export(session, state, poam::Form::Markdown).await?
        }
        _ => write_document(session, state, report, form).await?,
    };

    let exported = Exported {
        what: report.name(),
        filters: &[],
        format: form.extension(),
        count: 1,
    };
    export::record(session, resource, &exported).await?;
    Ok(bytes)
}

/// Writes a document as a file, and records who took it. Whoever has read what is in it may.
pub async fn give(
    session: &mut Session,
    resource: Resource,
    name: &'static str,
    document: Document,
    form: Form,
) -> Result<Vec<u8>, AppError> {
    session.require(Action::Read, resource)?;
    let Ok(_turn) = TURN.try_acquire() else {
        return Err(AppError::conflict(
            "other reports are being written: try again in a moment",
        ));
    };
    if matches!(form, Form::Csv | Form::Xlsx) {
        return Err(AppError::invalid(
            "this report is no sheet: ask for pdf, html, markdown or json",
        ));
    }
    // Typesetting takes seconds, in which nobody else should wait.
    let written = tokio::task::spawn_blocking(move || as_form(&document, form));
    let bytes = written.await.map_err(anyhow::Error::new)??;
    let exported = Exported {
        what: name,
        filters: &[],
        format: form.extension(),
        count: 1,
    };
    export::record(session, resource, &exported).await?;
    Ok(bytes)
}

fn as_form(document: &Document, form: Form) -> anyhow::Result<Vec<u8>> {
    Ok(match form {
        Form::Pdf => pdf::render(document)?,
        Form::Html => document.html().into_bytes(),
        Form::Json => serde_json::to_vec_pretty(document)?,
        _ => document.markdown().into_bytes(),
    })
}

async fn write_document(
    session: &mut Session,
    state: &StateDir,
    report: Report,
    form: Form,
) -> Result<Vec<u8>, AppError> {
    let data = AssessmentData::read(session, state, None, SystemClock.now()).await?;
    // Typesetting takes seconds, in which nobody else should wait.
    let written = tokio::task::spawn_blocking(move || render(&data, report, form));
    Ok(written.await.map_err(anyhow::Error::new)??)
}

fn render(data: &AssessmentData, report: Report, form: Form) -> anyhow::Result<Vec<u8>> {
    if form == Form::Json {
        return oscal(data, report);
    }
    let document = match report {
        Report::Ssp => documents::ssp(&data.known()),
        Report::Assessor | Report::Poam => documents::assessor(&data.known()),
    };
    as_form(&document, form)
}

/// The OSCAL document of a report, or an object with all of them by their paths.
fn oscal(data: &AssessmentData, report: Report) -> anyhow::Result<Vec<u8>> {
    let files = data.oscal()?;
    if let Some(model) = report.oscal() {
        let is_it = |text: &str| {
            let json = serde_json::from_str::<serde_json::Value>(text);
            json.is_ok_and(|json| json.get(model).is_some())
        };
        let found = files.into_iter().find(|file| is_it(&file.text));
        let found = found.ok_or_else(|| {
            AppError::not_found(format!(
                "there is nothing yet for an OSCAL document {model}"
            ))
        })?;
        return Ok(found.text.into_bytes());
    }

    let mut all = serde_json::Map::new();
    for file in files {
        all.insert(file.path, serde_json::from_str(&file.text)?);
    }
    Ok(serde_json::to_vec_pretty(&all)?)
}
