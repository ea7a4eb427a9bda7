//! What `replay` and `backtest` share: which rules run, and how detections are shown.

use std::io::{self, BufWriter, Stdout, Write};

use app::rules::Selection;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use model::text::sanitize;
use model::{Detection, DetectionUpdate};

use super::out::{Look, time};

/// Rules to run, and where the custom ones are.
#[derive(Debug, clap::Args)]
pub(super) struct RuleArgs {
    /// Only these rules, built-in or custom, with commas between them
    #[arg(long, value_delimiter = ',', value_name = "ID,…")]
    pub rules: Vec<String>,
    /// A folder of Sigma rules, instead of the configured one
    #[arg(long, value_name = "DIR")]
    pub rules_dir: Option<std::path::PathBuf>,
}

impl RuleArgs {
    pub(super) fn selection(&self) -> Selection<'_> {
        Selection {
            rules: &self.rules,
            rules_dir: self.rules_dir.as_deref(),
        }
    }
}

/// Shows detections as they close.
pub(super) struct Printer {
    out: BufWriter<Stdout>,
    look: Look,
    json: bool,
    /// The progress bar that must not be written over.
    bar: ProgressBar,
    /// How many were shown.
    pub shown: u64,
    failed: Option<io::Error>,
}

impl Printer {
    /// JSON when asked for, or when no person reads.
    pub(super) fn new(json: bool, bar: ProgressBar) -> Self {
        let look = Look::stdout();
        let out = BufWriter::with_capacity(64 * 1024, io::stdout());
        Self {
            out,
            look,
            json: json || !look.terminal,
            bar,
            shown: 0,
            failed: None,
        }
    }

    /// Shows a detection that is over.
    pub(super) fn show(&mut self, change: &DetectionUpdate) {
        if change.phase != model::Phase::Closed || self.failed.is_some() {
            return;
        }

        self.shown += 1;
        let bar = self.bar.clone();
        let result = if self.look.terminal {
            bar.suspend(|| self.write(&change.detection))
        } else {
            self.write(&change.detection)
        };

        if let Err(error) = result {
            if error.kind() == io::ErrorKind::BrokenPipe {
                // Nobody reads any more, so there is nothing left to find out for them.
                std::process::exit(0);
            }
            self.failed = Some(error);
        }
    }

    fn write(&mut self, d: &Detection) -> io::Result<()> {
        if self.json {
            serde_json::to_writer(&mut self.out, d)?;
            writeln!(self.out)?;
        } else {
            let events = if d.event_count == 1 {
                "event"
            } else {
                "events"
            };

            writeln!(
                self.out,
                "{}  {}  {}  {}  ({} {events} until {})",
                time(d.first_seen),
                self.look.severity_word(d.severity),
                sanitize(d.rule_id.as_str()),
                sanitize(&d.title),
                d.event_count,
                time(d.last_seen)
            )?;
        }

        if self.look.terminal {
            self.out.flush()
        } else {
            Ok(())
        }
    }

    /// Writes what is left; the first error that writing had.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        self.bar.finish_and_clear();
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.out.flush().map(|()| self.shown),
        }
    }
}

/// A progress bar on standard error; hidden when that is no terminal.
pub(super) fn bar(total: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
