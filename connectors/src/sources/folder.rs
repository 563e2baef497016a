//! A folder that somebody else puts files into: which of them are whole by now.
//!
//! Nobody says when a file is whole, so one counts as such when neither its size nor its time has changed for a while. What is hidden,
//! or called like something that is still being copied, is left alone.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use sha2::{Digest, Sha256};

/// Endings of files that are still being written, by browsers, copiers and editors.
const UNFINISHED: [&str; 8] = [".part", ".partial", ".crdownload", ".download", ".tmp", ".swp", ".filepart", "~"];
/// Folders within folders that are looked into.
const DEEPEST: usize = 32;
/// Bytes that are read at once.
const PIECE_BYTES: usize = 1 << 20;

/// A file that has stopped changing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// What it looked like.
    pub look: Look,
}

/// What tells a file from itself a moment later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Bytes.
    pub size: u64,
    /// When it was last changed.
    pub modified: SystemTime,
}

/// A watched folder.
pub struct Folder {
    root: PathBuf,
    quiet_for: Duration,
    /// Endings that are the watcher's own.
    own: &'static str,
    /// Folder in it of what is done with.
    done: Option<PathBuf>,
    seen: HashMap<PathBuf, Seen>,
}

struct Seen {
    look: Look,
    since: Instant,
    is_told: bool,
}

impl Folder {
    /// The folder `root`, whose files are whole when they have not changed for `quiet_for`; files that end in `own` are the watcher's.
    ///
    /// Fails when it cannot be read.
    pub fn open(root: &Path, quiet_for: Duration, own: &'static str) -> std::io::Result<Self> {
        let root = root.canonicalize()?;
        std::fs::read_dir(&root)?;
        Ok(Self { root, quiet_for, own, done: None, seen: HashMap::new() })
    }

    /// The same with a folder called `name` in it to which files are moved that are done with; nothing there is told.
    #[must_use]
    pub fn with_done(mut self, name: &str) -> Self {
        self.done = Some(self.root.join(name));
        self
    }

    /// Moves the file at `path` to the folder of what is done with, in the same folder below it as it was; answers where it is.
    ///
    /// A file that has its name there stays, and this one gets a number.
    pub fn move_to_done(&self, path: &Path) -> std::io::Result<PathBuf> {
        let (Some(done), Ok(below)) = (&self.done, path.strip_prefix(&self.root)) else {
            return Err(std::io::Error::other("it is not in a folder whose files are moved"));
        };
        let wanted = done.join(below);
        std::fs::create_dir_all(wanted.parent().unwrap_or(done))?;
        let mut to = wanted.clone();
        for number in 2.. {
            // A link is only made where there is nothing, so that no file is ever replaced.
            match std::fs::hard_link(path, &to) {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => to = numbered(&wanted, number),
                // Some file systems have no links.
                Err(_) if !to.exists() => return std::fs::rename(path, &to).map(|()| to),
                Err(_) => to = numbered(&wanted, number),
            }
        }
        std::fs::remove_file(path)?;
        Ok(to)
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Looks once, at `now`; answers files that have become whole since the last look, each once until it changes again.
    pub fn look(&mut self, now: Instant) -> std::io::Result<Vec<Found>> {
        let mut there = HashSet::new();
        let root = self.root.clone();
        self.walk(&root, 0, now, &mut there)?;
        self.seen.retain(|path, _| there.contains(path));
        let mut found = Vec::new();
        for (path, seen) in &mut self.seen {
            if !seen.is_told && seen.look.size > 0 && now.duration_since(seen.since) >= self.quiet_for {
                seen.is_told = true;
                found.push(Found { path: path.clone(), look: seen.look });
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// Has `path` told again by a later look, when it has not changed for the usual time from `now` on.
    pub fn again(&mut self, path: &Path, now: Instant) {
        if let Some(seen) = self.seen.get_mut(path) {
            (seen.is_told, seen.since) = (false, now);
        }
    }

    fn walk(&mut self, folder: &Path, depth: usize, now: Instant, there: &mut HashSet<PathBuf>) -> std::io::Result<()> {
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            // Removed this moment, or not for us; the root is another matter.
            Err(error) if depth > 0 && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        for entry in entries.flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let is_left_alone = name.starts_with('.')
                || name.ends_with(self.own)
                || UNFINISHED.iter().any(|ending| name.to_lowercase().ends_with(ending));
            // Links may lead anywhere, in circles as well.
            let Ok(kind) = entry.file_type() else { continue };
            if is_left_alone || kind.is_symlink() || self.done.as_deref() == Some(path.as_path()) {
                continue;
            }
            if kind.is_dir() && depth < DEEPEST {
                self.walk(&path, depth + 1, now, there)?;
            } else if kind.is_file()
                && let Ok(look) = look(&path)
            {
                there.insert(path.clone());
                let fresh = Seen { look, since: now, is_told: false };
                let seen = self.seen.entry(path).or_insert(fresh);
                if seen.look != look {
                    *seen = Seen { look, since: now, is_told: false };
                }
            }
        }
        Ok(())
    }
}

/// `path` with a number before its ending.
fn numbered(path: &Path, number: u32) -> PathBuf {
    let part =
        |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default();
    let (stem, ending) = (part(path.file_stem()), part(path.extension()));
    let dot = if ending.is_empty() { "" } else { "." };
    path.with_file_name(format!("{stem} ({number}){dot}{ending}"))
}

/// What the file at `path` looks like.
pub fn look(path: &Path) -> std::io::Result<Look> {
    let found = std::fs::metadata(path)?;
    Ok(Look { size: found.len(), modified: found.modified()? })
}

/// SHA-256 of the file at `path`, in hex; its first bytes, at most `head`, go along.
pub fn sum(path: &Path, head: usize) -> std::io::Result<(String, Vec<u8>)> {
    let (mut file, mut hasher) = (File::open(path)?, Sha256::new());
    let (mut piece, mut first) = (vec![0; PIECE_BYTES], Vec::new());
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok((schemas::id::hex(&hasher.finalize()), first)),
            Ok(count) => {
                hasher.update(&piece[..count]);
                let missing = head.saturating_sub(first.len()).min(count);
                first.extend_from_slice(&piece[..missing]);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(found: &[Found]) -> Vec<String> {
        found.iter().map(|found| found.path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_file_is_told_once_when_it_has_stopped_changing() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        std::fs::create_dir(at("deep")).unwrap();
        std::os::unix::fs::symlink(home.path(), at("deep/circle")).unwrap();
        let mut folder = Folder::open(home.path(), Duration::from_secs(2), ".report.txt").unwrap();
        let start = Instant::now();
        let mut look = |second: u64| folder.look(start + Duration::from_secs(second)).unwrap();
        std::fs::write(at("a.mp4"), "begun").unwrap();
        for alone in [".hidden.mp4", "b.mp4.part", "c.mp4.crdownload", "a.mp4.report.txt", "empty.mp4"] {
            std::fs::write(at(alone), if alone == "empty.mp4" { "" } else { "x" }).unwrap();
        }
        std::fs::write(at("deep/d.mov"), "whole").unwrap();
        assert!(look(0).is_empty());
        std::fs::write(at("a.mp4"), "begun and grown").unwrap();
        assert!(look(1).is_empty());
        assert_eq!(names(&look(2)), ["d.mov"]);
        assert_eq!(names(&look(3)), ["a.mp4"]);
        assert!(look(60).is_empty(), "each is told once");
        std::fs::write(at("a.mp4"), "another one altogether").unwrap();
        std::fs::rename(at("b.mp4.part"), at("b.mp4")).unwrap();
        assert!(look(61).is_empty());
        assert_eq!(names(&look(63)), ["a.mp4", "b.mp4"]);
        folder.again(&home.path().canonicalize().unwrap().join("a.mp4"), start + Duration::from_secs(70));
        assert!(folder.look(start + Duration::from_secs(71)).unwrap().is_empty());
        assert_eq!(names(&folder.look(start + Duration::from_secs(72)).unwrap()), ["a.mp4"]);
        std::fs::remove_dir_all(home.path()).unwrap();
        assert!(folder.look(start + Duration::from_secs(80)).is_err(), "a folder that is gone is no empty one");
        assert!(Folder::open(Path::new("/nowhere/at/all"), Duration::ZERO, "x").is_err());
    }

    #[test]
    fn what_is_done_with_is_moved_and_replaces_nothing() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("deep")).unwrap();
        let mut folder = Folder::open(&root, Duration::ZERO, ".txt").unwrap().with_done("done");
        for (content, place) in [("a", "done/deep/x.mp4"), ("b", "done/deep/x (2).mp4"), ("c", "done/deep/x (3).mp4")] {
            std::fs::write(root.join("deep/x.mp4"), content).unwrap();
            assert_eq!(folder.move_to_done(&root.join("deep/x.mp4")).unwrap(), root.join(place));
            assert!(!root.join("deep/x.mp4").exists());
            assert_eq!(std::fs::read_to_string(root.join(place)).unwrap(), content);
        }
        assert!(folder.look(Instant::now()).unwrap().is_empty(), "nothing there is told");
        assert!(folder.move_to_done(Path::new("/etc/hostname")).is_err());
    }

    #[test]
    fn a_sum_comes_with_the_first_bytes() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("x");
        std::fs::write(&path, "abc").unwrap();
        let (sum, head) = sum(&path, 2).unwrap();
        assert_eq!(sum, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(head, b"ab");
    }
}
