//! What every page of a person's visit shows: who they are, what they may do, and how they read times.

use app::Session;
use app::actor::{Action, Denied, Resource, Role};
use app::console::Console;
use app::preferences::Preferences;
use app::sign_in::Person;
use axum::http::Uri;
use model::Timestamp;
use pages::{
    Back, Block, BlockPage, Cell, EditForm, Frame, ListPage, MENU, Notice, Pager, Press, Viewer,
    Watermark, When, WorkPage, Zone,
};
use uuid::Uuid;

use super::form;

/// The field of a form that is done once.
pub(super) const ONCE: &str = "once";

/// What the menu's entries show.
const SHOWS: [(&str, Option<Resource>); 9] = [
    ("Today", None),
    ("Assessment", Some(Resource::AssessorNotes)),
    ("Alerts", Some(Resource::Alerts)),
    ("Incidents", Some(Resource::Incidents)),
    ("Events", Some(Resource::Events)),
    ("Sources", Some(Resource::Sources)),
    ("Compliance", Some(Resource::Compliance)),
    ("Rules", Some(Resource::Rules)),
    ("Admin", Some(Resource::Users)),
];

/// A table, and what is said where it has no row.
pub(super) struct Table {
    pub(super) columns: Vec<&'static str>,
    pub(super) rows: Vec<Vec<Cell>>,
    pub(super) empty: &'static str,
}

/// What every page of a person's visit shows.
pub(super) struct Desk {
    pub(super) viewer: Viewer,
    pub(super) rights: Vec<(Action, Resource)>,
    pub(super) zone: Zone,
    pub(super) now: Timestamp,
    /// The context of the tokens in this session's forms.
    pub(super) token_context: String,
    pub(super) notice: Option<Notice>,
    /// What the reader has chosen.
    pub(super) chosen: Preferences,
    pub(super) watermark: Option<Watermark>,
}

impl Desk {
    /// A form of this session.
    pub(super) fn form(&self, id: &'static str, path: String, words: &'static str) -> EditForm {
        EditForm::new(id, path, &self.viewer.form_token, words)
    }

    /// What a form carries that must not be done again when its answer is loaded again: a page has
    /// another one each time that it is made.
    pub(super) fn once(&self) -> (&'static str, String) {
        (ONCE, self.now.as_micros().to_string())
    }

    /// A button in a table, which does something to `to`.
    pub(super) fn act(path: String, words: &'static str, to: String) -> Cell {
        Cell::Press(Press {
            action: path,
            words,
            to,
            hidden: Vec::new(),
        })
    }

    /// A page of parts.
    pub(super) fn page(
        &self,
        title: &str,
        active: &'static str,
        back: Option<Back>,
        blocks: Vec<Block>,
    ) -> BlockPage {
        BlockPage {
            back,
            blocks,
            frame: self.frame(title, active),
        }
    }

    /// Says why something was not done, on the page that is shown next.
    pub(super) fn refuse(&mut self, why: impl Into<String>) {
        self.notice = Some(Notice::bad(why));
    }

    /// A time as this reader sees it.
    pub(super) fn when(&self, at: Timestamp) -> When {
        When::new(at, &self.zone, self.now)
    }

    /// Whether the reader's role may do something.
    pub(super) fn may(&self, action: Action, resource: Resource) -> bool {
        self.rights.contains(&(action, resource))
    }

    /// A page of one table.
    pub(super) fn table(
        &self,
        title: &str,
        active: &'static str,
        about: &str,
        table: Table,
    ) -> ListPage {
        ListPage {
            about: about.to_owned(),
            columns: table.columns,
            rows: table.rows,
            empty: table.empty.to_owned(),
            beside: Vec::new(),
            frame: self.frame(title, active),
        }
    }

    /// A page of one table in which something is done.
    pub(super) fn work(
        &self,
        title: &str,
        active: &'static str,
        about: &str,
        table: Table,
    ) -> WorkPage {
        WorkPage {
            about: about.to_owned(),
            columns: table.columns,
            rows: table.rows,
            empty: table.empty,
            beside: Vec::new(),
            filter: None,
            files: Vec::new(),
            pager: Pager::default(),
            forms: Vec::new(),
            frame: self.frame(title, active),
        }
    }

    /// What is around a page.
    pub(super) fn frame(&self, title: &str, active: &'static str) -> Frame {
        Frame {
            title: title.to_owned(),
            active,
            viewer: self.viewer.clone(),
            notice: self.notice.clone(),
            banners: Vec::new(),
            zone: self.zone.clone(),
            as_of: self.when(self.now),
            watermark: self.watermark.clone(),
        }
    }
}

/// The context of the tokens of a session's forms.
pub(super) fn token_context(session: Uuid) -> String {
    format!("form {session}")
}

/// The token of a session's forms.
pub(super) fn form_token(console: &Console, session: Uuid) -> String {
    console.cursors.sign(&token_context(session), "")
}

/// What is asked, and when.
pub(super) struct Asked<'a> {
    pub(super) now: Timestamp,
    pub(super) uri: &'a Uri,
}

pub(super) fn desk_of(
    console: &Console,
    session: &Session,
    person: &Person,
    chosen: Preferences,
    asked: &Asked<'_>,
) -> Desk {
    // What asks for both factors once more is offered all the same.
    let may = |action, resource| {
        matches!(
            session.require(action, resource),
            Ok(()) | Err(Denied::ProofNeeded { .. })
        )
    };
    let rights: Vec<(Action, Resource)> = Resource::ALL
        .iter()
        .flat_map(|resource| Action::ALL.iter().map(|action| (*action, *resource)))
        .filter(|(action, resource)| may(*action, *resource))
        .collect();
    let is_assessor = person.role == Role::Assessor.as_str();
    let menu = MENU
        .iter()
        .map(|entry| entry.name)
        // An assessor begins elsewhere than those who do the day's work.
        .filter(|name| *name != if is_assessor { "Today" } else { "Assessment" })
        .filter(|name| {
            SHOWS.iter().any(|(shown, resource)| {
                shown == name
                    && resource.is_none_or(|resource| rights.contains(&(Action::Read, resource)))
            })
        })
        .collect();

    let of_house = &console.config.business_hours.time_zone;
    let zone = Zone::named(chosen.time_zone.as_deref().unwrap_or(of_house));
    let token_context = token_context(person.session_id);
    let lock_after = console.door.session_settings().lock_after;
    Desk {
        viewer: Viewer {
            username: person.username.clone(),
            role: person.role.replace('_', " "),
            form_token: form_token(console, person.session_id),
            menu,
            locks_after: u32::try_from(lock_after.as_micros() / 1_000_000).unwrap_or(900),
            has_shortcuts: chosen.keyboard_shortcuts,
        },
        rights,
        watermark: is_assessor.then(|| Watermark {
            name: person.full_name.clone().map_or_else(
                || person.username.clone(),
                |name| format!("{name} ({})", person.username),
            ),
            until: person.ends_at.map(|at| When::new(at, &zone, asked.now)),
        }),
        zone,
        now: asked.now,
        token_context,
        notice: form::notice_of(asked.uri.path(), asked.uri.query()),
        chosen,
    }
}
