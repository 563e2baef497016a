//! Which files are meant by what somebody wrote: files, folders of videos, and patterns that no shell has expanded.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::cli::failure::Failure;
use crate::cli::show;
use crate::media::sniff::{self, SNIFF_BYTES};

/// Files of one command; more are a mistake, such as the root of a disk.
const MOST: usize = 10_000;

/// A file to upload.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// Bytes, when it is a plain file.
    pub(super) length: Option<u64>,
    /// When it was last changed, milliseconds since the Unix epoch: another file under the same name is another upload.
    pub(super) changed_ms: u128,
}

/// The files that `written` stands for, in its order.
pub(super) fn find(written: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    for path in written {
        let before = sources.len();
        if path.is_dir() {
            walk(path, &mut sources)?;
            if sources.len() == before {
                let what = format!("there is no video in {}", shown(path));
                return Err(Failure::usage(what, "name a folder with MP4, MOV, AVI, WebM, Matroska or MPEG-TS files"));
            }
        } else if path.exists() || !is_pattern(path) {
            sources.push(Source::open(path)?);
        } else {
            for found in matching(path)? {
                sources.push(Source::open(&found)?);
            }
        }
        if sources.len() > MOST {
            let what = format!("these are more than {MOST} files");
            return Err(Failure::usage(what, "send them in several goes"));
        }
    }
    Ok(sources)
}

fn is_pattern(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.contains(['*', '?', '[']))
}

/// Files that a pattern names, in order of their names.
fn matching(pattern: &Path) -> Result<Vec<PathBuf>, Failure> {
    let text = pattern.to_string_lossy();
    let wrong = |error: glob::PatternError| {
        let what = format!("`{}` is no pattern: {error}", show::plain(&text));
        Failure::usage(what, "write patterns such as 'clips/*.mp4' or 'clips/**/*.mov'")
    };
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
    let mut known = HashSet::new();
    // Links lead to a file by many ways, once each is enough.
    let mut is_new = |path: &PathBuf| path.is_file() && path.canonicalize().is_ok_and(|path| known.insert(path));
    let found: Vec<PathBuf> = glob::glob_with(&text, options).map_err(wrong)?.flatten().filter(&mut is_new).collect();
    if found.is_empty() {
        let what = format!("no file is called like `{}`", show::plain(&text));
        return Err(Failure::usage(what, "name a video file that can be read"));
    }
    Ok(found)
}

/// Adds the videos in `folder` and below it. Their first bytes say what they are, never their names; what is hidden stays so.
fn walk(folder: &Path, sources: &mut Vec<Source>) -> Result<(), Failure> {
    let entries = std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        // A link to a folder may lead in a circle.
        let Ok(kind) = path.symlink_metadata().map(|found| found.file_type()) else { continue };
        if is_hidden || sources.len() > MOST {
            continue;
        }
        if kind.is_dir() {
            walk(&path, sources)?;
        } else if path.is_file() && is_video(&path) {
            sources.push(Source::open(&path)?);
        }
    }
    Ok(())
}

fn is_video(path: &Path) -> bool {
    let mut head = Vec::with_capacity(SNIFF_BYTES);
    let read = File::open(path).and_then(|file| file.take(SNIFF_BYTES as u64).read_to_end(&mut head));
    read.is_ok() && sniff::sniff(&head).is_some()
}

impl Source {
    fn open(path: &Path) -> Result<Self, Failure> {
        let file = File::open(path).map_err(|error| unreadable(path, &error))?;
        let metadata = file.metadata().map_err(|error| unreadable(path, &error))?;
        let changed = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        Ok(Self {
            name: path.file_name().map_or_else(|| "upload".into(), |name| name.to_string_lossy()).into_owned(),
            path: path.to_owned(),
            length: metadata.is_file().then_some(metadata.len()),
            changed_ms: changed.unwrap_or_default().as_millis(),
            file,
        })
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let what = format!("cannot read {}: {error}", shown(path));
    Failure::usage(what, "name a video file that can be read")
}

fn shown(path: &Path) -> String {
    show::plain(&path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(written: &[&Path]) -> Result<Vec<String>, String> {
        let written: Vec<PathBuf> = written.iter().map(|path| path.to_path_buf()).collect();
        let found = find(&written).map_err(|failure| failure.what)?;
        Ok(found.into_iter().map(|source| source.name).collect())
    }

    #[test]
    fn folders_mean_their_videos_and_patterns_what_they_match() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("deep/er")).unwrap();
        std::fs::create_dir_all(at("none")).unwrap();
        let video = b"\0\0\0\x18ftypisom\0\0\x02\0isommp42";
        for name in ["b.MOV", "a.dat", "deep/er/c.mp4", ".hidden.mp4", "none/.x.mp4"] {
            std::fs::write(at(name), video).unwrap();
        }
        std::fs::write(at("text.mp4"), "I am called like a video").unwrap();
        std::os::unix::fs::symlink(folder.path(), at("deep/circle")).unwrap();
        assert_eq!(names(&[folder.path()]).unwrap(), ["a.dat", "b.MOV", "c.mp4"]);
        assert_eq!(names(&[&at("b.MOV"), &at("deep/**/*.mp4")]).unwrap(), ["b.MOV", "c.mp4", "text.mp4"]);
        std::fs::write(at("odd[1].mp4"), video).unwrap();
        assert_eq!(names(&[&at("odd[1].mp4")]).unwrap(), ["odd[1].mp4"], "a file of this name is that file");
        assert!(names(&[&at("none")]).unwrap_err().contains("no video in"));
        assert!(names(&[&at("*.avi")]).unwrap_err().contains("no file is called like"));
        assert!(names(&[&at("missing.mp4")]).unwrap_err().contains("cannot read"));
    }
}
