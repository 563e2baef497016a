//! Bringing a model here: file after file, checked while it comes, put in place when all of it is there.

use std::path::Path;

use bytes::BytesMut;
use futures::StreamExt;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use super::error::Error;
use super::inventory::{self, Inventory, Item, Says};
use super::known::{self, Known};
use super::part::{self, Part};
use super::place::{self, Place};
use super::web::{Body, Kept, Web};
use super::{Shelf, State, sum};

/// How much is gathered before it is written, bytes.
const PIECE: usize = 1 << 20;

/// How often a file that breaks off is asked for again, as long as each time some more of it comes.
const MOST_BREAKS: usize = 20;

/// Who wants to know how far a pull is.
pub trait Watch: Sync {
    /// The file `name` begins at byte `at`; it will have `of` bytes, or about that.
    fn begins(&self, name: &str, at: u64, of: u64);
    /// That many bytes of it are here.
    fn is_at(&self, bytes: u64);
    /// Another process pulls the same model.
    fn waits(&self) {}
}

/// What is wanted of a model.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its name here.
    pub name: String,
    /// Its repository at the official place; empty when it has none.
    pub repository: String,
    /// The commit; empty when it has none.
    pub revision: String,
    /// Its files, in the order in which they are fetched.
    pub files: Vec<WantedFile>,
}

/// A file that is wanted.
#[derive(Clone, Debug)]
pub struct WantedFile {
    /// Its name, without a folder.
    pub name: String,
    /// Bytes, when every one of them is known.
    pub bytes: Option<u64>,
    /// Bytes, as well as they are known.
    pub roughly: u64,
    /// Its SHA-256 and who says so, when anybody does.
    pub sum: Option<(String, Says)>,
}

/// A model that is here.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// What came.
    pub inventory: Inventory,
    /// Whether it was here before.
    pub was_here: bool,
}

impl WantedFile {
    /// More bytes than that are something else, whoever sends them.
    fn most(&self) -> u64 {
        self.bytes.unwrap_or(self.roughly.saturating_mul(4).saturating_add(PIECE as u64))
    }
}

impl Wanted {
    /// What the table says about a model.
    pub fn of(known: &Known) -> Self {
        let file = |file: &known::KnownFile| WantedFile {
            name: file.name.to_owned(),
            bytes: file.size.exactly(),
            roughly: file.size.roughly(),
            sum: file.sha256.map(|sum| (sum.to_owned(), Says::Table)),
        };
        Self {
            name: known.name.to_owned(),
            repository: known.repository.to_owned(),
            revision: known.revision.to_owned(),
            files: known.files.iter().map(file).collect(),
        }
    }

    /// What `inventory` says about the model `name`.
    fn listed(name: &str, inventory: Inventory) -> Self {
        let file = |item: Item| WantedFile {
            name: item.name,
            bytes: Some(item.bytes),
            roughly: item.bytes,
            sum: Some((item.sha256, Says::Inventory)),
        };
        let files = inventory.files.into_iter().map(file).collect();
        Self { name: name.to_owned(), repository: String::new(), revision: inventory.revision, files }
    }
}

/// What the model `name` is: what the table says, or the inventory at `place` when the table does not know it.
pub async fn wanted(name: &str, place: &Place) -> Result<Wanted, Error> {
    if let Some(known) = known::find(name) {
        return Ok(Wanted::of(known));
    }
    let near = Some(known::nearest(name)).filter(|known| strsim::damerau_levenshtein(known, name) <= 3);
    let unknown = || Error::Unknown { name: name.escape_default().to_string(), nearest: near };
    if !super::is_name(name) {
        return Err(unknown());
    }
    let nameless =
        Wanted { name: name.to_owned(), repository: String::new(), revision: String::new(), files: Vec::new() };
    let found = match (place, place.address(&nameless, inventory::FILE)) {
        (Place::Folder(folder), _) => Inventory::read(&folder_of(folder, name))?,
        (Place::Server(_), Some(url)) => match small(&url).await {
            Ok(bytes) => Some(Inventory::parse(&bytes, &place::shown(&url))?),
            Err(Error::Refused { .. }) => None,
            Err(error) => return Err(error),
        },
        (Place::Server(_), None) => None,
    };
    found.map(|inventory| Wanted::listed(name, inventory)).ok_or_else(unknown)
}

/// Brings `wanted` from `place` to `shelf`, unless it is there and whole.
///
/// What has come of a pull that broke off stays beside the models, and the next pull goes on with it. When something comes that does not
/// belong to the model, nothing stays.
pub async fn pull(shelf: &Shelf, wanted: &Wanted, place: &Place, watch: &dyn Watch) -> Result<Pulled, Error> {
    if let Some(here) = here(shelf, wanted)? {
        return Ok(here);
    }
    let part = take(shelf, wanted, watch).await?;
    // Whoever was waited for has brought it.
    if let Some(here) = here(shelf, wanted)? {
        part.discard()?;
        return Ok(here);
    }
    let fetch = Fetch { wanted, place, folder: &part.folder, watch };
    match fetch.all().await {
        Ok(inventory) => {
            part.finish(&shelf.at(&wanted.name))?;
            Ok(Pulled { inventory, was_here: false })
        }
        Err(error) => {
            if !error.is_passing() || part.is_empty() {
                part.discard()?;
            }
            Err(error)
        }
    }
}

fn here(shelf: &Shelf, wanted: &Wanted) -> Result<Option<Pulled>, Error> {
    if shelf.state(&wanted.name) != State::Whole {
        return Ok(None);
    }
    let by_hand =
        || Inventory { model: wanted.name.clone(), revision: String::new(), from: String::new(), files: Vec::new() };
    let inventory = Inventory::read(&shelf.at(&wanted.name))?.unwrap_or_else(by_hand);
    Ok(Some(Pulled { inventory, was_here: true }))
}

async fn take(shelf: &Shelf, wanted: &Wanted, watch: &dyn Watch) -> Result<Part, Error> {
    let (folder, name) = (shelf.folder().to_owned(), wanted.name.clone());
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    // The channel ends with the closure, told or not; nobody listens when the pull has been given up.
    let waits = move || {
        let _ = tell.send(());
    };
    let taking = tokio::task::spawn_blocking(move || Part::take(&folder, &name, &waits));
    while told.recv().await.is_some() {
        watch.waits();
    }
    taking.await.unwrap_or_else(|error| Err(Error::disk("lock", shelf.folder(), std::io::Error::other(error))))
}

/// One pull under way.
struct Fetch<'a> {
    wanted: &'a Wanted,
    place: &'a Place,
    folder: &'a Path,
    watch: &'a dyn Watch,
}

impl Fetch<'_> {
    async fn all(&self) -> Result<Inventory, Error> {
        self.check_room()?;
        let mut files = Vec::new();
        for file in &self.wanted.files {
            files.push(self.file(file).await?);
        }
        let inventory = Inventory {
            model: self.wanted.name.clone(),
            revision: self.wanted.revision.clone(),
            from: self.place.to_string(),
            files,
        };
        let path = self.folder.join(inventory::FILE);
        let written = async {
            let mut file = tokio::fs::File::create(&path).await?;
            file.write_all(&serde_json::to_vec_pretty(&inventory)?).await?;
            file.flush().await?;
            file.sync_all().await
        };
        written.await.map_err(|error| Error::disk("write", &path, error))?;
        self.remove_strays()?;
        Ok(inventory)
    }

    /// Removes what belongs to another version of the model, whose pull broke off.
    fn remove_strays(&self) -> Result<(), Error> {
        let read = |error| Error::disk("read", self.folder, error);
        for entry in std::fs::read_dir(self.folder).map_err(read)? {
            let name = entry.map_err(read)?.file_name();
            let is_wanted = name == inventory::FILE || self.wanted.files.iter().any(|file| name == *file.name);
            if !is_wanted {
                let path = self.folder.join(name);
                std::fs::remove_file(&path).map_err(|error| Error::disk("remove", &path, error))?;
            }
        }
        Ok(())
    }

    /// Refuses what the disk has no room for, before anything comes.
    fn check_room(&self) -> Result<(), Error> {
        let Ok(space) = rustix::fs::statvfs(self.folder) else { return Ok(()) };
        let entries = std::fs::read_dir(self.folder).into_iter().flatten().flatten();
        let here: u64 = entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum();
        let all = self.wanted.files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.roughly));
        let (needs, free) = (all.saturating_sub(here), space.f_bavail.saturating_mul(space.f_frsize));
        if needs > free {
            return Err(Error::Full { folder: self.folder.parent().unwrap_or(self.folder).to_owned(), needs, free });
        }
        Ok(())
    }

    /// One file, whole and checked.
    async fn file(&self, file: &WantedFile) -> Result<Item, Error> {
        let whole = self.folder.join(&file.name);
        if file.sum.is_some() && whole.exists() {
            let (hasher, bytes) = hashed(&whole).await?;
            // It was checked before it got its name; what of it is on the disk now may be less.
            if let Ok(item) = self.checked(file, None, hasher, bytes) {
                return Ok(item);
            }
            std::fs::remove_file(&whole).map_err(|error| Error::disk("remove", &whole, error))?;
        }
        let mut best = 0;
        for _ in 0..MOST_BREAKS {
            match self.attempt(file).await {
                Err(Error::Cut { got, .. }) if got > best => best = got,
                ended => return ended,
            }
        }
        Err(Error::Cut { file: file.name.clone(), got: best, of: file.bytes })
    }

    /// Asks for a file once. Goes on with what is here, when there is a sum that the whole can be held against.
    async fn attempt(&self, file: &WantedFile) -> Result<Item, Error> {
        let partial = self.folder.join(format!("{}{}", file.name, part::ENDING));
        let tag = self.folder.join(format!("{}.etag", file.name));
        let (mut hasher, mut got) = (Sha256::new(), 0);
        if file.sum.is_some() && partial.exists() {
            (hasher, got) = hashed(&partial).await?;
        }
        let mut announced = None;
        if got == 0 || file.bytes != Some(got) {
            let etag = std::fs::read_to_string(&tag).ok().filter(|etag| !etag.is_empty());
            let kept = Some(Kept { bytes: got, etag }).filter(|kept| kept.bytes > 0);
            let body = match self.open(file, kept.as_ref()).await {
                // What is here is no beginning of what is there.
                Err(Error::Refused { .. }) if kept.is_some() => self.open(file, None).await?,
                opened => opened?,
            };
            if body.start == 0 {
                (hasher, got) = (Sha256::new(), 0);
            }
            let kept = std::fs::write(&tag, body.etag.as_deref().unwrap_or_default());
            kept.map_err(|error| Error::disk("write", &tag, error))?;
            match (body.total, file.bytes) {
                (Some(is), Some(should)) if is != should => {
                    return Err(self.wrong(file, format!("it has {is} bytes there, not {should}")));
                }
                (Some(is), _) if is > file.most() => return Err(self.too_long(file)),
                _ => {}
            }
            announced = body.announced.clone();
            got = self.receive(file, body, &partial, got, &mut hasher).await?;
        }
        let item = self.checked(file, announced, hasher, got)?;
        std::fs::rename(&partial, self.folder.join(&file.name))
            .map_err(|error| Error::disk("put in place", &partial, error))?;
        match std::fs::remove_file(&tag) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::disk("remove", &tag, error)),
            _ => Ok(item),
        }
    }

    async fn open(&self, file: &WantedFile, kept: Option<&Kept>) -> Result<Body, Error> {
        match self.place {
            Place::Folder(folder) => open_here(&folder_of(folder, &self.wanted.name).join(&file.name)).await,
            Place::Server(_) => {
                let nowhere =
                    || Error::Refused { address: self.place.to_string(), why: "it has no such model".to_owned() };
                let url = self.place.address(self.wanted, &file.name).ok_or_else(nowhere)?;
                Web::to(&url)?.open(&url, kept).await
            }
        }
    }

    /// Writes what comes to `partial` after the first `got` bytes; answers how many are there then.
    async fn receive(
        &self,
        file: &WantedFile,
        body: Body,
        partial: &Path,
        mut got: u64,
        hasher: &mut Sha256,
    ) -> Result<u64, Error> {
        let disk = |error| Error::disk("write", partial, error);
        let mut options = tokio::fs::OpenOptions::new();
        options.create(true).write(true).append(got > 0).truncate(got == 0);
        let mut out = options.open(partial).await.map_err(disk)?;
        let of = file.bytes.or(body.total);
        self.watch.begins(&file.name, got, of.unwrap_or(file.roughly));
        let (mut pieces, mut gathered) = (body.pieces, BytesMut::with_capacity(PIECE));
        let mut broken = false;
        loop {
            let piece = pieces.next().await;
            match &piece {
                Some(Ok(piece)) => gathered.extend_from_slice(piece),
                Some(Err(_)) => broken = true,
                None => {}
            }
            let is_end = broken || piece.is_none();
            if gathered.len() >= PIECE || is_end {
                hasher.update(&gathered);
                out.write_all(&gathered).await.map_err(disk)?;
                got += gathered.len() as u64;
                gathered.clear();
                self.watch.is_at(got);
            }
            if got > of.unwrap_or(file.most()).min(file.most()) || is_end {
                break;
            }
        }
        // Writes happen behind what was said to be written: the flush tells what became of them. What is on the disk then is what the
        // next pull goes on with.
        out.flush().await.map_err(disk)?;
        out.sync_all().await.map_err(disk)?;
        match of {
            Some(of) if got < of => Err(Error::Cut { file: file.name.clone(), got, of: Some(of) }),
            None if broken => Err(Error::Cut { file: file.name.clone(), got, of: None }),
            _ => Ok(got),
        }
    }

    fn too_long(&self, file: &WantedFile) -> Error {
        self.wrong(file, format!("it has more than {} bytes, {} were awaited", file.most(), file.roughly))
    }

    fn wrong(&self, file: &WantedFile, why: String) -> Error {
        Error::Wrong { file: file.name.clone(), model: self.wanted.name.clone(), why }
    }

    /// What came, when it is what belongs to the model.
    fn checked(&self, file: &WantedFile, announced: Option<String>, hasher: Sha256, bytes: u64) -> Result<Item, Error> {
        if let Some(should) = file.bytes.filter(|should| *should != bytes) {
            return Err(self.wrong(file, format!("it has {} bytes, not {should}", more_than(bytes, should))));
        }
        if bytes > file.most() {
            return Err(self.too_long(file));
        }
        let is = sum::shown(hasher);
        let announced = announced.map(|sum| (sum, Says::Server));
        let says = match file.sum.clone().or(announced) {
            Some((should, _)) if should != is => {
                return Err(self.wrong(file, format!("its SHA-256 is {is}, not {should}")));
            }
            Some((_, says)) => says,
            None => Says::FirstUse,
        };
        Ok(Item { name: file.name.clone(), bytes, sha256: is, sum: says })
    }
}

/// A file that is longer than it should be is not read to its end.
fn more_than(bytes: u64, should: u64) -> String {
    if bytes > should { format!("more than {should}") } else { bytes.to_string() }
}

/// The folder of the model `name` in `folder`, which may be that folder itself.
fn folder_of(folder: &Path, name: &str) -> std::path::PathBuf {
    let own = folder.join(name);
    let is_itself = !own.is_dir() && folder.join(super::WEIGHTS).is_file();
    if is_itself { folder.to_owned() } else { own }
}

async fn open_here(path: &Path) -> Result<Body, Error> {
    let refused =
        |error: std::io::Error| Error::Refused { address: path.display().to_string(), why: error.to_string() };
    let file = tokio::fs::File::open(path).await.map_err(refused)?;
    let metadata = file.metadata().await.map_err(refused)?;
    if !metadata.is_file() {
        return Err(refused(std::io::Error::other("it is no file")));
    }
    let pieces = futures::stream::try_unfold(file, |mut file| async move {
        let mut piece = BytesMut::with_capacity(PIECE);
        let count = tokio::io::AsyncReadExt::read_buf(&mut file, &mut piece).await?;
        Ok((count > 0).then(|| (piece.freeze(), file)))
    });
    Ok(Body { start: 0, total: Some(metadata.len()), etag: None, announced: None, pieces: pieces.boxed() })
}

/// A small file over HTTP.
async fn small(url: &reqwest::Url) -> Result<Vec<u8>, Error> {
    let mut body = Web::to(url)?.open(url, None).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = body.pieces.next().await {
        let piece = piece.map_err(|error| Error::Unreachable { address: place::shown(url), why: error.to_string() })?;
        bytes.extend_from_slice(&piece);
        if bytes.len() as u64 > inventory::LONGEST {
            return Err(Error::Refused { address: place::shown(url), why: "it does not end".to_owned() });
        }
    }
    Ok(bytes)
}

async fn hashed(path: &Path) -> Result<(Sha256, u64), Error> {
    let path = path.to_owned();
    let shown = path.clone();
    let hashing = tokio::task::spawn_blocking(move || sum::of_file(&path, &|_| {}));
    hashing.await.unwrap_or_else(|error| Err(Error::disk("read", &shown, std::io::Error::other(error))))
}
