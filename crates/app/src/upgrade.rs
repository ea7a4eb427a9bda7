//! Whether a schema may be brought up to date now: not without a backup of the last day.
//!
//! Migrations only go forward, so the way back from one that went wrong is a restore.

use std::fmt::{self, Display};

use config::Config;
use model::text::counted;
use model::{Span, Timestamp};
use monitors::{Backup, Backups, newest_backups};
use store::Outlook;

/// A backup that is older than this may lack a day's record.
const BACKUP_MAX_AGE: Span = Span::days(1);
/// A file whose time is further ahead than this says nothing about when it was written.
const CLOCK_TOLERANCE: Span = Span::hours(1);

/// Why the schema is not brought up to date yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Postponed {
    /// How many migrations wait.
    pub pending: usize,
    why: String,
}

impl Display for Postponed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the database lacks {} of this program, and {}. Migrations only go forward: make a \
                backup where `monitors.backup_files` looks for it, or say that none is needed with \
                `blueteam migrate --without-backup` (docs/operations.md, \"Upgrade\")",
            counted(self.pending as u64, "migration"),
            self.why
        )
    }
}

/// Returns why a database with this outlook must not be migrated now; `None` when it may be, or
/// nothing waits. Looks at the files of `monitors.backup_files`.
pub fn postponed(outlook: &Outlook, config: &Config, now: Timestamp) -> Option<Postponed> {
    if config.database.migrate_without_backup {
        return None;
    }
    judge(outlook, &newest_backups(&config.monitors.backup_files), now)
}

fn judge(outlook: &Outlook, backups: &Backups, now: Timestamp) -> Option<Postponed> {
    let made = outlook.made?;
    // Of what was made today nothing older can be lost. What is to be made tomorrow shows that one
    // of the clocks was wrong, and nothing else.
    let age = now.since(made);
    let is_new = age < BACKUP_MAX_AGE && made.since(now) <= CLOCK_TOLERANCE;
    if outlook.pending.is_empty() || is_new {
        return None;
    }

    let why = match backups {
        Backups::NotConfigured => {
            "nobody has said where backups appear (`monitors.backup_files`)".to_owned()
        }
        Backups::Missing(why) => why.clone(),
        Backups::Unfit(unfit) => unfit.why.clone(),
        Backups::Of(Backup { at, name, .. }) if at.since(now) > CLOCK_TOLERANCE => {
            format!("the newest backup, {name}, is dated {at}, which has not come yet")
        }
        Backups::Of(Backup { at, name, .. }) if now.since(*at) > BACKUP_MAX_AGE => {
            format!("the newest backup, {name}, is of {at}, more than a day ago")
        }
        Backups::Of(_) => return None,
    };

    Some(Postponed {
        pending: outlook.pending.len(),
        why,
    })
}

#[cfg(test)]
mod tests {
    use monitors::Unfit;

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn lacks_two(made: Option<Timestamp>) -> Outlook {
        Outlook {
            applied: 79,
            pending: vec![80, 81],
            made,
        }
    }

    fn backup(at: Timestamp) -> Backups {
        Backups::Of(Backup {
            at,
            name: "blueteam.dump".to_owned(),
            bytes: 4000,
            kind: Some("a dump in custom format"),
        })
    }

    #[test]
    fn an_upgrade_waits_for_a_backup_of_the_last_day() {
        let old = lacks_two(Some(NOW.minus(Span::days(40))));
        // A machine that starts in 1970, or a server whose clock was ahead.
        let tomorrow = lacks_two(Some(NOW.plus(Span::days(20))));
        assert!(judge(&tomorrow, &Backups::NotConfigured, NOW).is_some());

        let refused = [
            Backups::NotConfigured,
            Backups::Missing("there is no backup at /backup/*.dump".to_owned()),
            backup(NOW.minus(Span::hours(25))),
            Backups::Unfit(Unfit {
                at: NOW.minus(Span::hours(1)),
                why: "the newest backup, blueteam.dump, is empty (0 B)".to_owned(),
                before: None,
            }),
            // A clock that was ahead, or a `touch` that hides how old the file is.
            backup(NOW.plus(Span::days(300))),
        ];
        for backups in refused {
            let postponed = judge(&old, &backups, NOW).map(|p| p.to_string());
            let why = postponed.unwrap_or_default();
            assert!(why.starts_with("the database lacks 2 migrations"), "{why}");
        }
        assert_eq!(judge(&old, &backup(NOW.minus(Span::hours(23))), NOW), None);
        assert_eq!(judge(&old, &backup(NOW.plus(Span::mins(2))), NOW), None);
    }

    #[test]
    fn what_is_new_or_up_to_date_needs_none() {
        let none = Backups::NotConfigured;
        assert_eq!(judge(&lacks_two(None), &none, NOW), None);
        let today = lacks_two(Some(NOW.minus(Span::hours(2))));
        assert_eq!(judge(&today, &none, NOW), None);
        let current = Outlook {
            pending: Vec::new(),
            ..lacks_two(Some(NOW.minus(Span::days(40))))
        };
        assert_eq!(judge(&current, &none, NOW), None);
    }
}
