//! The key that signs exported evidence: outside of the database, so that who may write there
//! cannot sign.

use std::fs::Permissions;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use config::{Incidents, StateDir};
use respond::signing::{PublicAbout, SigningKey};
use rustix::fs::OFlags;

use crate::AppError;
use crate::compliance::evidence_store::open_regular;

/// Its file in the state directory, where the configuration names no other.
const FILE: &str = "evidence-signing.key";
/// The longest file of a key, in bytes.
const SIZE_MAX: u64 = 4096;

/// What may be known about the key that signs exported evidence, for reports and for whoever checks
/// a package. The key is made when it is first asked for.
pub fn about_key(state: &StateDir, config: &Incidents) -> Result<PublicAbout, AppError> {
    Ok(signing_key(state, config)?.about())
}

/// The key; it is made when it is first needed.
pub(super) fn signing_key(state: &StateDir, config: &Incidents) -> Result<SigningKey, AppError> {
    let path = if config.signing_key.as_os_str().is_empty() {
        state.create()?;
        state.join(FILE)
    } else {
        config.signing_key.clone()
    };
    if let Some(key) = read(&path)? {
        return Ok(key);
    }

    make(&path)?;
    // Another process may have made one first: what is there counts.
    let key = read(&path)?;
    key.ok_or_else(|| AppError::Failed(anyhow!("{} is gone again", path.display())))
}

fn read(path: &Path) -> Result<Option<SigningKey>, AppError> {
    let opened = open_regular(path, OFlags::empty());
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path, anyhow!(error))),
    };
    let about = file
        .metadata()
        .map_err(|error| failed(path, anyhow!(error)))?;
    if about.mode() & 0o077 != 0 {
        return Err(failed(
            path,
            anyhow!("others may read it: chmod 600 {}", path.display()),
        ));
    }

    let mut text = String::new();
    file.take(SIZE_MAX)
        .read_to_string(&mut text)
        .map_err(|error| failed(path, anyhow!(error)))?;
    let key = SigningKey::parse(&text).map_err(|error| failed(path, anyhow!(error)))?;
    Ok(Some(key))
}

/// Writes a new key; one that is there already stays.
fn make(path: &Path) -> Result<(), AppError> {
    let text = SigningKey::generate()
        .and_then(|key| key.to_text())
        .map_err(|error| failed(path, anyhow!(error)))?;
    let folder = path.parent().map_or_else(PathBuf::new, Path::to_owned);
    let write = || -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&folder)?;
        file.as_file()
            .set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(path) {
            Ok(_) => std::fs::File::open(&folder)?.sync_all(),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error.error),
        }
    };
    write().with_context(|| {
        format!(
            "cannot write the key that signs evidence to {}",
            path.display()
        )
    })?;
    Ok(())
}

fn failed(path: &Path, error: anyhow::Error) -> AppError {
    AppError::Failed(error.context(format!(
        "cannot use the key that signs evidence, {}",
        path.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_kept_private() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::resolve(Some(folder.path())).unwrap();
        let config = Incidents::default();
        let first = about_key(&state, &config).unwrap();
        assert_eq!(about_key(&state, &config).unwrap(), first);
        let path = state.join(FILE);
        let mode = std::fs::metadata(&path).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);

        let elsewhere = Incidents {
            signing_key: path.clone(),
            ..Incidents::default()
        };
        assert_eq!(about_key(&state, &elsewhere).unwrap(), first);

        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let error = about_key(&state, &config).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "no key").unwrap();
        let error = about_key(&state, &config).unwrap_err().to_string();
        assert!(error.contains("minisign -G -W"), "{error}");
    }
}
