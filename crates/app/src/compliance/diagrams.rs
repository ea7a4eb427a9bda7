//! The pictures that a description of a system names: read from beside its file, or from where the
//! import has put them.

use std::fs;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use compliance::diagram::{Diagram, FILE_MAX, Image, Picture};
use compliance::system::System;
use model::text::sanitize;
use rustix::fs::OFlags;

use super::evidence_store::{self, EvidenceStore, open_regular};

/// A description names no more pictures: a plan has a handful, and each is held in memory.
const PICTURES_MAX: usize = 20;

/// Reads and checks every picture of a description. One that cannot be shown is an error that names
/// its file. `folder`: where the description's file is.
pub(super) fn read_pictures(
    system: &System,
    folder: &Path,
    files: &EvidenceStore,
) -> anyhow::Result<Vec<Picture>> {
    if system.diagrams.len() > PICTURES_MAX {
        bail!(
            "diagrams: {} are named, and {PICTURES_MAX} are allowed",
            system.diagrams.len()
        );
    }

    system
        .diagrams
        .iter()
        .map(|diagram| {
            read_picture(diagram, folder, files)
                .with_context(|| format!("the diagram `{}` is refused", sanitize(&diagram.file)))
        })
        .collect()
}

fn read_picture(
    diagram: &Diagram,
    folder: &Path,
    files: &EvidenceStore,
) -> anyhow::Result<Picture> {
    let original = match imported(diagram, files)? {
        Some(bytes) => bytes,
        None => read_limited(&locate(diagram, folder)?)?,
    };

    if !diagram.sha256.is_empty() && evidence_store::sha256(&original) != diagram.sha256 {
        bail!(
            "it is not the file that was imported; `blueteam compliance ssp --import` takes it in"
        );
    }

    let image = Image::read(&original)?;
    Ok(Picture {
        diagram: diagram.clone(),
        image,
        original: Arc::from(original),
    })
}

/// Returns the copy that an import has made; `None` before one.
fn imported(diagram: &Diagram, files: &EvidenceStore) -> anyhow::Result<Option<Vec<u8>>> {
    if diagram.sha256.is_empty() {
        return Ok(None);
    }

    let path = stored_path(&diagram.sha256)?;
    if !files.locate(&path)?.exists() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    files
        .open(&path)?
        .take(FILE_MAX as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn stored_path(sha256: &str) -> anyhow::Result<String> {
    let is_hash = sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_hash {
        bail!("its `sha256` is not a hash");
    }
    Ok(EvidenceStore::path_of(sha256))
}

/// Returns where a picture is. It stays below the folder of its description, and no link leads to
/// it: whoever may write the description does not read other files through it.
fn locate(diagram: &Diagram, folder: &Path) -> anyhow::Result<PathBuf> {
    let file = Path::new(&diagram.file);
    let is_inside = file
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if diagram.file.is_empty() || !is_inside {
        bail!("`file` is the name of a file below the folder of the description, without `..`");
    }

    let mut path = folder.to_owned();
    for part in file.components() {
        path.push(part);
        let meta = fs::symlink_metadata(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        if meta.is_symlink() {
            bail!("{} is a link", path.display());
        }
    }

    Ok(path)
}

fn read_limited(path: &Path) -> anyhow::Result<Vec<u8>> {
    let file = open_regular(path, OFlags::NOFOLLOW)
        .with_context(|| format!("cannot open {}", path.display()))?;
    let mut bytes = Vec::new();
    file.take(FILE_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes)
}

/// Copies the pictures to where evidence is kept, and notes their hashes in the description.
pub(super) fn keep_pictures(
    system: &mut System,
    folder: &Path,
    files: &EvidenceStore,
) -> anyhow::Result<()> {
    let pictures = read_pictures(system, folder, files)?;
    for (diagram, picture) in system.diagrams.iter_mut().zip(&pictures) {
        diagram.sha256 = evidence_store::sha256(&picture.original);
        let known = files.locate(&EvidenceStore::path_of(&diagram.sha256))?;
        if known.exists() {
            continue;
        }

        let kept = files.take(&locate(diagram, folder)?)?;
        if kept.sha256 != diagram.sha256 {
            return Err(anyhow!("it changed while it was read"))
                .with_context(|| format!("the diagram `{}` is refused", sanitize(&diagram.file)));
        }
    }

    Ok(())
}

/// Returns the name of each picture in a package: kind and place, as in `network-topology-1.svg`.
pub(super) fn package_names(pictures: &[Picture]) -> Vec<String> {
    let name = |(n, picture): (usize, &Picture)| {
        let kind = compliance::evidence::file_words(&picture.diagram.kind, '-');
        let kind = if kind.is_empty() { "diagram" } else { &kind };
        let kind: String = kind.chars().take(60).collect();
        format!("{kind}-{}.{}", n + 1, picture.image.form().extension())
    };
    pictures.iter().enumerate().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SVG: &str = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 4 3'><g/></svg>";

    fn naming(file: &str) -> System {
        let diagram = Diagram {
            kind: "Data flow".to_owned(),
            file: file.to_owned(),
            ..Diagram::default()
        };
        System {
            diagrams: vec![diagram],
            ..System::default()
        }
    }

    #[test]
    fn pictures_are_read_from_below_the_folder_only() {
        let all = tempfile::tempdir().unwrap();
        let folder = all.path().join("plan");
        fs::create_dir_all(folder.join("pictures")).unwrap();
        fs::write(folder.join("pictures/flow.svg"), SVG).unwrap();
        fs::write(all.path().join("secret.svg"), SVG).unwrap();
        std::os::unix::fs::symlink(all.path(), folder.join("up")).unwrap();
        std::os::unix::fs::symlink("pictures/flow.svg", folder.join("link.svg")).unwrap();
        fs::write(folder.join("bad.svg"), SVG.replace("<g/>", "<script/>")).unwrap();

        let files = EvidenceStore::new(all.path());
        let read = |file: &str| read_pictures(&naming(file), &folder, &files);
        assert_eq!(read("pictures/flow.svg").unwrap().len(), 1);

        let absolute = all.path().join("secret.svg").display().to_string();
        for (file, why) in [
            ("../secret.svg", "without `..`"),
            (absolute.as_str(), "without `..`"),
            ("", "without `..`"),
            ("up/secret.svg", "is a link"),
            ("link.svg", "is a link"),
            ("pictures", "no file"),
            ("absent.svg", "cannot open"),
            ("bad.svg", "has the element `script`"),
        ] {
            let error = format!("{:#}", read(file).unwrap_err());
            assert!(error.contains(why), "{file}: {error}");
            assert!(
                error.contains(&format!("the diagram `{file}` is refused")),
                "{error}"
            );
        }
    }

    #[test]
    fn an_imported_picture_is_the_copy_and_stays_what_it_was() {
        let all = tempfile::tempdir().unwrap();
        fs::write(all.path().join("flow.svg"), SVG).unwrap();
        let files = EvidenceStore::new(all.path());
        let mut system = naming("flow.svg");
        keep_pictures(&mut system, all.path(), &files).unwrap();

        let kept = files
            .locate(&EvidenceStore::path_of(&system.diagrams[0].sha256))
            .unwrap();
        fs::remove_file(all.path().join("flow.svg")).unwrap();
        let pictures = read_pictures(&system, all.path(), &files).unwrap();
        assert_eq!(&*pictures[0].original, SVG.as_bytes());
        assert_eq!(package_names(&pictures), ["data-flow-1.svg"]);

        fs::remove_file(&kept).unwrap();
        fs::write(&kept, SVG.replace("<g/>", "<g></g>")).unwrap();
        let error = format!(
            "{:#}",
            read_pictures(&system, all.path(), &files).unwrap_err()
        );
        assert!(error.contains("not the file that was imported"), "{error}");
    }
}
