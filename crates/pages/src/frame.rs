//! What is around every page: menu, name, notices.

use crate::words::Zone;

/// Who looks at a page.
#[derive(Clone, Debug)]
pub struct Viewer {
    /// Their account's name.
    pub username: String,
    /// Their role, in words.
    pub role: String,
    /// What a form of theirs must carry, so that no other site can send it.
    pub form_token: String,
    /// The names of the menu's entries that their role may open.
    pub menu: Vec<&'static str>,
    /// Seconds without activity after which the page hides itself.
    pub locks_after: u32,
    /// Whether single keys do something.
    pub has_shortcuts: bool,
}

/// An entry of the menu.
#[derive(Clone, Copy, Debug)]
pub struct MenuEntry {
    /// What it is called.
    pub name: &'static str,
    /// Where it leads.
    pub path: &'static str,
    /// The letter that leads there, after `g`.
    pub key: &'static str,
}

/// The menu. A page shows the entries that its reader's role may open.
pub const MENU: [MenuEntry; 9] = [
    MenuEntry {
        name: "Today",
        path: "/",
        key: "t",
    },
    MenuEntry {
        name: "Assessment",
        path: "/assessor",
        key: "v",
    },
    MenuEntry {
        name: "Alerts",
        path: "/alerts",
        key: "a",
    },
    MenuEntry {
        name: "Incidents",
        path: "/incidents",
        key: "i",
    },
    MenuEntry {
        name: "Events",
        path: "/events",
        key: "e",
    },
    MenuEntry {
        name: "Sources",
        path: "/sources",
        key: "s",
    },
    MenuEntry {
        name: "Compliance",
        path: "/compliance",
        key: "c",
    },
    MenuEntry {
        name: "Rules",
        path: "/rules",
        key: "r",
    },
    MenuEntry {
        name: "Admin",
        path: "/admin",
        key: "d",
    },
];

/// What became of what was just done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The text.
    pub text: String,
    /// Whether it did not work.
    pub is_error: bool,
    /// How it is taken back, if it can be.
    pub undo: Option<Undo>,
}

/// How something that was just done is taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undo {
    /// When it was done, in microseconds.
    pub at: String,
    /// The page to come back to.
    pub here: String,
}

impl Notice {
    /// That something was done.
    pub fn good(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            is_error: false,
            undo: None,
        }
    }

    /// That something was not done.
    pub fn bad(text: impl Into<String>) -> Self {
        Self {
            is_error: true,
            ..Self::good(text)
        }
    }
}

/// What is wrong with the machine, on the pages where it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Banner {
    /// The text.
    pub text: String,
    /// Whether it cannot wait.
    pub is_urgent: bool,
    /// Where it is looked after: path and words.
    pub way: Option<(&'static str, &'static str)>,
}

/// What is around a page.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The title.
    pub title: String,
    /// The menu's entry to which the page belongs.
    pub active: &'static str,
    /// Who looks at it.
    pub viewer: Viewer,
    /// What became of what was just done.
    pub notice: Option<Notice>,
    /// What is wrong with the machine.
    pub banners: Vec<Banner>,
    /// The zone of its times.
    pub zone: Zone,
    /// When it was made, as a sentence of its foot and of print.
    pub as_of: crate::When,
    /// Whose copy it is, on each page of a reader from outside.
    pub watermark: Option<Watermark>,
}

/// Whose copy a page is.
#[derive(Clone, Debug)]
pub struct Watermark {
    /// The reader's name.
    pub name: String,
    /// Until when the account is valid.
    pub until: Option<crate::When>,
}

impl Frame {
    /// The entries that the reader may open.
    pub(crate) fn menu(&self) -> impl Iterator<Item = &'static MenuEntry> + '_ {
        MENU.iter()
            .filter(|entry| self.viewer.menu.contains(&entry.name))
    }

    /// Whether the page belongs to an entry.
    pub(crate) fn is_active(&self, entry: &MenuEntry) -> bool {
        entry.name == self.active
    }
}

/// Where a list goes on.
#[derive(Clone, Debug, Default)]
pub struct Pager {
    /// The first page, if this is another one.
    pub first: Option<String>,
    /// The next page, if there is one.
    pub next: Option<String>,
}
