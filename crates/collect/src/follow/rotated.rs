//! The older pieces of a log, beside it: `auth.log.1`, `auth.log.2.gz`, `auth.log-20261122`,
//! `access-20261122.log.zst`.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Position;
use super::source::{head, written};

/// A file in a log's folder.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) path: PathBuf,
    device: u64,
    inode: u64,
    empty: bool,
    /// When it was last written, in microseconds since 1970. Renaming keeps it, and compressors do.
    written: i64,
    place: Place,
}

/// What a file's name says of its age.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// It is the log itself.
    Live,
    /// The higher, the older.
    Number(u32),
    /// The higher, the newer.
    Date(String),
    /// Nothing: a piece of this log only if we know it by its inode.
    Stranger,
}

impl Piece {
    pub(super) fn is(&self, position: &Position) -> bool {
        (self.device, self.inode) == (position.device, position.inode)
    }

    pub(super) fn is_piece(&self) -> bool {
        matches!(self.place, Place::Number(_) | Place::Date(_))
    }

    /// Whether its text begins as that of the fingerprint.
    pub(super) fn begins_with(&self, fingerprint: u64) -> bool {
        head(&self.path) == Some(fingerprint)
    }

    /// Older pieces first: by name where names are of one kind, else by when they were written.
    pub(super) fn age(&self, other: &Self) -> Ordering {
        match (&self.place, &other.place) {
            (Place::Number(a), Place::Number(b)) => b.cmp(a),
            (Place::Date(a), Place::Date(b)) => a.cmp(b),
            _ => self.written.cmp(&other.written),
        }
    }
}

/// All files of the log's folder, the log itself among them.
pub(super) fn pieces(log: &Path) -> io::Result<Vec<Piece>> {
    let folder = log
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };

    let name = log.file_name().unwrap_or_default();
    let mut pieces = Vec::new();
    for entry in entries {
        let entry = entry?;
        let live = entry.file_name() == name;

        // The log may be a link. A file may go away while we look.
        let metadata = if live {
            std::fs::metadata(entry.path())
        } else {
            entry.metadata()
        };

        let Ok(metadata) = metadata else { continue };
        if metadata.is_file() {
            pieces.push(Piece {
                path: entry.path(),
                device: metadata.dev(),
                inode: metadata.ino(),
                empty: metadata.len() == 0,
                written: written(&metadata),
                place: if live {
                    Place::Live
                } else {
                    place(&entry.file_name(), name)
                },
            });
        }
    }

    Ok(pieces)
}

fn uncompressed(name: &str) -> &str {
    name.strip_suffix(".gz")
        .or_else(|| name.strip_suffix(".zst"))
        .unwrap_or(name)
}

/// What a name says, beside that of the log.
fn place(name: &OsStr, log: &OsStr) -> Place {
    let (Some(name), Some(log)) = (name.to_str(), log.to_str()) else {
        return Place::Stranger;
    };
    let name = uncompressed(name);
    let inside = || {
        let (stem, extension) = log.rsplit_once('.')?;
        name.strip_prefix(stem)?
            .strip_suffix(extension)?
            .strip_suffix('.')
    };

    let Some(mark) = name.strip_prefix(log).or_else(inside) else {
        return Place::Stranger;
    };
    let Some(mark) = mark.strip_prefix(['.', '-', '_']) else {
        return Place::Stranger;
    };
    let digits = mark.bytes().filter(u8::is_ascii_digit).count();
    if digits == mark.len() && (1..=4).contains(&digits) {
        return mark.parse().map_or(Place::Stranger, Place::Number);
    }

    let dated = digits >= 6
        && mark
            .bytes()
            .all(|b| b.is_ascii_digit() || b"-_.:T".contains(&b));
    if dated {
        Place::Date(mark.to_owned())
    } else {
        Place::Stranger
    }
}

/// The pieces that are newer than where we were, oldest first, each once whether it is compressed
/// by now or not. `here` is the piece that was read, if it is still there; else what was written
/// after `position` counts.
pub(super) fn newer(pieces: &[Piece], here: Option<&Piece>, position: &Position) -> Vec<Piece> {
    let after = |piece: &&Piece| match (here, position.written) {
        (Some(here), _) if here.place != Place::Stranger => here.age(piece) == Ordering::Less,
        (_, Some(written)) => piece.written > written,
        (_, None) => false,
    };

    let compressed = |piece: &Piece| {
        piece
            .path
            .extension()
            .is_some_and(|e| e == "gz" || e == "zst")
    };

    let mut newer: Vec<Piece> = pieces
        .iter()
        .filter(|p| p.is_piece() && !p.empty)
        .filter(after)
        .cloned()
        .collect();

    // Its compressor may have changed the time of a piece that was read.
    newer.retain(|piece| {
        !(compressed(piece) && position.head.is_some_and(|read| piece.begins_with(read)))
    });

    // Plain before compressed: while a file is being compressed, both are there and one is half.
    newer.sort_by(|a, b| a.age(b).then_with(|| compressed(a).cmp(&compressed(b))));
    newer.dedup_by(|b, a| a.place == b.place);
    newer
}

/// The log itself, if it has anything in it.
pub(super) fn live(pieces: &[Piece]) -> Option<&Piece> {
    pieces
        .iter()
        .find(|piece| piece.place == Place::Live && !piece.empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_a_piece_of_a_log() {
        let of = |name: &str, log: &str| place(OsStr::new(name), OsStr::new(log));
        for name in [
            "auth.log.2",
            "auth.log.2.gz",
            "auth.log-2",
            "auth.2.log.zst",
        ] {
            assert_eq!(of(name, "auth.log"), Place::Number(2), "{name}");
        }

        for name in [
            "auth.log-20261122",
            "auth.log.20261122.gz",
            "auth-20261122.log",
        ] {
            assert_eq!(
                of(name, "auth.log"),
                Place::Date("20261122".to_owned()),
                "{name}"
            );
        }

        assert_eq!(
            of("auth.log-2026-11-22_04:00", "auth.log"),
            Place::Date("2026-11-22_04:00".to_owned())
        );

        for name in [
            "auth.log.swp",
            "auth.log.1.bz2",
            "other.log.1",
            "auth.log2",
            "auth.logs",
            "auth.log.",
            "auth",
        ] {
            assert_eq!(of(name, "auth.log"), Place::Stranger, "{name}");
        }
    }
}
