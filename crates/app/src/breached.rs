//! A list of known passwords that an administrator has imported, beside the one that comes with
//! blueteam (ASVS 6.2.12): one sorted file of the state directory, in which a password is looked up
//! without reading the rest. Nothing is asked over the network.

use std::fs::File;
use std::io::{BufReader, ErrorKind};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use config::StateDir;
use identity::blocklist::BlocklistFile;
pub use identity::blocklist::Imported;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tempfile::NamedTempFile;

use crate::actor::{Action, Resource};
use crate::{AppError, Session};

/// The list.
const FILE: &str = "passwords.list";

/// Imports a list, which takes the place of the one before: a password a line, or lines of SHA-1
/// hashes in ascending order, as "Have I Been Pwned" has them. Who did so is on record before it
/// counts. What was there stays if it fails.
pub async fn import(
    session: &mut Session,
    state: &StateDir,
    list: &Path,
) -> Result<Imported, AppError> {
    let (conn, actor) = session.change(Action::Write, Resource::Policy)?;
    let (file, imported) = read(state, list)?;
    let what = json!({
        "what": "known passwords",
        "entries": imported.entries,
        "skipped": imported.skipped,
    });
    store::api_requests::record_import(conn, actor, &what).await?;
    keep(state, file)?;
    Ok(imported)
}

/// Reads a list into a file beside the one that counts.
fn read(state: &StateDir, list: &Path) -> Result<(NamedTempFile, Imported), AppError> {
    let shown = list.display();
    let source = File::open(list).with_context(|| format!("cannot open {shown}"))?;
    let made = state.create();
    made?;
    let path = state.join(FILE);
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(folder)
        .with_context(|| format!("cannot write into {}", folder.display()))?;
    let imported = identity::blocklist::import(&mut BufReader::new(source), file.as_file_mut())
        .map_err(|error| AppError::invalid(format!("{shown}: {error}")))?;
    Ok((file, imported))
}

/// Puts the file in the place of the one that counts.
fn keep(state: &StateDir, file: NamedTempFile) -> Result<(), AppError> {
    let path = state.join(FILE);
    // The daemon may be another user of the same group of files; there is no secret in it.
    let readable = std::fs::Permissions::from_mode(0o644);
    let kept = file
        .as_file()
        .set_permissions(readable)
        .and_then(|()| file.as_file().sync_all())
        .and_then(|()| file.persist(&path).map(drop).map_err(|error| error.error));
    kept.with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}

/// Whether a password is in the list that was imported, if one was. The file is opened each time, so
/// that another list counts at once.
pub(crate) fn is_known(state: &StateDir, password: &SecretString) -> anyhow::Result<bool> {
    let path = state.join(FILE);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let found = BlocklistFile::open(file)
        .map_err(anyhow::Error::new)
        .and_then(|mut list| Ok(list.contains(password.expose_secret())?));
    found.with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_imported_list_counts_at_once_and_a_bad_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::resolve(Some(dir.path())).unwrap();
        let known = |text: &str| is_known(&state, &SecretString::from(text)).unwrap();
        let import = |state: &StateDir, list: &Path| {
            let (file, imported) = read(state, list)?;
            keep(state, file).map(|()| imported)
        };
        assert!(!known("password"));

        let list = dir.path().join("list");
        // SHA-1 of `password`.
        std::fs::write(&list, "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8:10434004\n").unwrap();
        assert_eq!(import(&state, &list).unwrap().entries, 1);
        assert!(known("password") && !known("nine purple kettles argue"));

        // Not in order, so that a lookup would miss some of it.
        std::fs::write(
            &list,
            "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8:1\n000000005AD76BD555C1D6D771DE417A4B87E4B4:1\n",
        )
        .unwrap();
        assert!(import(&state, &list).is_err());
        assert!(known("password"));

        std::fs::write(&list, "nine purple kettles argue\n").unwrap();
        assert_eq!(import(&state, &list).unwrap().skipped, 0);
        assert!(known("nine purple kettles argue") && !known("password"));

        // A list that cannot be read must not let every password pass.
        std::fs::write(state.join(FILE), "damaged").unwrap();
        assert!(is_known(&state, &SecretString::from("password")).is_err());
    }
}
