//! `blueteam events export`.

use std::borrow::Cow;
use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use app::events::{self, Found, Question};
use clap::ValueEnum;
use model::text::sanitize;

use super::filter::FilterArgs;
use crate::cli::analysis::bar;
use crate::cli::out;
use crate::cli::session::{Globals, with_session};

/// Write events to standard output, the oldest first, as many as there are since then: the last 24
/// hours when no --since is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam events export --since 30d --format csv > events.csv
  blueteam events export --user alice --since 2026-01-01T00:00:00Z | zstd > alice.ndjson.zst")]
pub(super) struct Args {
    #[command(flatten)]
    filter: FilterArgs,
    /// One JSON object a line, or CSV (RFC 4180) with a header
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    format: Format,
    /// With the lines of the logs as they were read, with secrets masked
    #[arg(long)]
    raw: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Ndjson,
    Csv,
}

impl Format {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }

    /// An event, with the end of the line.
    fn line(self, event: &Found) -> io::Result<String> {
        match self {
            Self::Ndjson => Ok(serde_json::to_string(event)? + "\n"),
            Self::Csv => Ok(csv_row(event)),
        }
    }
}

const HEADER: &str = "event_id,timestamp,source,category,action,result,user_id,user_name,session_id,ip_address,user_agent,\
                      resource_type,resource_id,instance_id,cui,metadata,created_at,target,source_id,host,program,pid,facility,peer,raw,cui_accessed\r\n";

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    let question = Question::new(args.filter.filter())?;
    let is_terminal = io::stdout().is_terminal();
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    if matches!(args.format, Format::Csv) {
        out.write_all(HEADER.as_bytes())?;
    }

    let progress = bar(0, "{spinner} {pos} events, {per_sec}");
    progress.enable_steady_tick(Duration::from_millis(200));
    let mut failed: io::Result<()> = Ok(());
    with_session(globals, args.filter.asker(), async |session, _| {
        let each = |mut event: Found| {
            if !args.raw {
                event.place.raw = None;
            }
            failed = args
                .format
                .line(&event)
                .and_then(|line| out.write_all(shown(&line, is_terminal).as_bytes()));
            progress.inc(1);
            failed.is_ok()
        };
        Ok(events::export(session, &question, args.format.as_str(), each).await?)
    })?;

    progress.finish_and_clear();
    failed?;
    if !args.filter.has_beginning() && !args.filter.names_events() {
        out::note("these are those of the last 24 hours; --since names another beginning");
    }

    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// A line as it is written: whole for a file or a program, and on a terminal without what would act
/// there, such as ESC and direction overrides.
fn shown(line: &str, is_terminal: bool) -> Cow<'_, str> {
    if !is_terminal {
        return Cow::Borrowed(line);
    }
    let text = line.trim_end_matches(['\r', '\n']);
    Cow::Owned(format!("{}\n", sanitize(text)))
}

fn csv_row(event: &Found) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let id = |value: Option<uuid::Uuid>| value.map(|id| id.to_string()).unwrap_or_default();
    let fields = [
        event.event_id.to_string(),
        event.timestamp.to_string(),
        event.source.clone(),
        event.category.clone(),
        event.action.clone(),
        event.result.clone(),
        id(event.user_id),
        text(&event.user_name),
        text(&event.session_id),
        text(&event.ip_address),
        text(&event.user_agent),
        text(&event.resource_type),
        text(&event.resource_id),
        id(event.instance_id),
        event.cui.to_string(),
        event.metadata.to_string(),
        event.created_at.to_string(),
        text(&event.target),
        text(&event.place.source_id),
        text(&event.place.host),
        text(&event.place.program),
        event
            .place
            .pid
            .map(|pid| pid.to_string())
            .unwrap_or_default(),
        text(&event.place.facility),
        text(&event.place.peer),
        text(&event.place.raw),
        event.cui_accessed.to_string(),
    ];

    let fields: Vec<String> = fields.iter().map(|field| quote_field(field)).collect();
    fields.join(",") + "\r\n"
}

/// A field as RFC 4180 writes it, and no formula.
fn quote_field(field: &str) -> String {
    match out::no_formula(field) {
        Cow::Borrowed(field) if !field.contains([',', '"', '\r', '\n']) => field.to_owned(),
        field => format!("\"{}\"", field.replace('"', "\"\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::{quote_field, shown};

    #[test]
    fn nothing_acts_on_a_terminal() {
        let line = "a,\"\u{1b}]0;x\u{7}\u{202e}\u{9b}31m\nb\"\r\n";
        assert_eq!(shown(line, false), line);
        assert_eq!(
            shown(line, true),
            "a,\"<U+001B>]0;x<U+0007><U+202E><U+009B>31m<U+000A>b\"\n"
        );
    }

    #[test]
    fn fields_are_quoted_and_no_formula() {
        for (field, written) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=cmd|'/C calc'!A0", "\"'=cmd|'/C calc'!A0\""),
            ("@x", "\"'@x\""),
            (" =x", "\"' =x\""),
            ("\n=x", "\"'\n=x\""),
        ] {
            assert_eq!(quote_field(field), written);
        }
    }
}
