//! `blueteam events stats`.

use std::process::ExitCode;

use app::events::{self, FIELDS, Field, Measure, Question};
use comfy_table::Cell;
use serde_json::json;

use super::filter::FilterArgs;
use crate::cli::out::{self, Look};
use crate::cli::session::{Globals, with_session};

/// Count events by one or two fields, the most first.
///
/// Fields: hour, day, source, service, host, program, source_id, peer, target, category, action,
/// result, user, ip, session, resource, tenant, cui. With --of, the bytes or milliseconds of the
/// events are summed up as well, and the largest sum comes first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  blueteam events stats --by category,result --since 30d
  blueteam events stats --by user,day --cui --since 30d
  blueteam events stats --by ip --result denied --json
  blueteam events stats --by resource --of duration_ms --since 7d
  blueteam events stats --by user --action export_data --of bytes")]
pub(super) struct Args {
    /// One field, or two with a comma
    #[arg(long, value_delimiter = ',', value_parser = parse_field, required = true, value_name = "FIELD[,FIELD]")]
    by: Vec<Field>,
    /// Sum up a number of the events: bytes or duration_ms (how long requests took)
    #[arg(long, value_parser = parse_measure, value_name = "NUMBER")]
    of: Option<Measure>,
    #[command(flatten)]
    filter: FilterArgs,
    /// At most this many lines
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: u32,
    /// As a JSON array
    #[arg(long)]
    json: bool,
}

fn parse_field(text: &str) -> Result<Field, String> {
    let names = || FIELDS.iter().map(|f| f.name).collect::<Vec<_>>().join(", ");
    FIELDS
        .iter()
        .find(|f| f.name == text)
        .copied()
        .ok_or_else(|| format!("known fields: {}", names()))
}

fn parse_measure(text: &str) -> Result<Measure, String> {
    let names = || Measure::ALL.map(Measure::name).join(", ");
    Measure::ALL
        .into_iter()
        .find(|measure| measure.name() == text)
        .ok_or_else(|| format!("known numbers: {}", names()))
}

/// Whole numbers from 100 on; below, one decimal.
fn number(value: f64) -> String {
    if value >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

pub(super) fn run(args: &Args, globals: Globals<'_>) -> anyhow::Result<ExitCode> {
    if args.by.len() > 2 {
        out::usage!("--by: two fields at most");
    }

    let question = Question::new(args.filter.filter())?;
    let names: Vec<&str> = args.by.iter().map(|field| field.name).collect();
    let (counts, hint) = with_session(globals, args.filter.asker(), async |session, _| {
        let counts = events::stats(session, &question, &args.by, args.of, args.limit).await?;
        let hint = if counts.is_empty() {
            question.hint(session).await?
        } else {
            None
        };
        Ok((counts, hint))
    })?;

    if args.json {
        let rows = counts.iter().map(|count| {
            let values = names
                .iter()
                .zip(&count.values)
                .map(|(name, value)| ((*name).to_owned(), json!(value)));
            let events = ("events".to_owned(), json!(count.events));
            let measured = args
                .of
                .map(|of| (of.name().to_owned(), json!(count.measured)));
            values
                .chain([events])
                .chain(measured)
                .collect::<serde_json::Map<_, _>>()
        });

        out::json(&rows.collect::<Vec<_>>())?;
        return Ok(ExitCode::SUCCESS);
    }

    if counts.is_empty() {
        out::line("no events")?;
        if let Some(hint) = hint {
            out::note(hint);
        }
        return Ok(ExitCode::SUCCESS);
    }

    let sums: &[&str] = if args.of.is_some() {
        &["total", "mean", "p95", "max"]
    } else {
        &[]
    };
    let mut table = out::table(Look::stdout(), &[&["events"], sums, &names[..]].concat());
    for count in &counts {
        let numbers = count
            .measured
            .map(|m| [m.total, m.mean, m.p95, m.max].map(number));
        let numbers = numbers.unwrap_or_else(|| ["-"; 4].map(str::to_owned));
        let numbers = numbers.into_iter().take(sums.len()).map(Cell::new);
        let values = count
            .values
            .iter()
            .map(|value| out::text(value.as_deref().unwrap_or("-")));
        let events = [Cell::new(count.events)];
        table.add_row(events.into_iter().chain(numbers).chain(values));
    }

    out::print(table)?;
    if counts.len() as u64 == u64::from(args.limit) {
        out::note(format_args!(
            "the first {}; there may be more (--limit)",
            args.limit
        ));
    }

    Ok(ExitCode::SUCCESS)
}
