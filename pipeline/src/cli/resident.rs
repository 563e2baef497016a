//! A model of the shelf, found anew when its folder changes, in a process of its own.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tokio::sync::Mutex;

use crate::ml::child::Asker;
use crate::ml::listener::{Absent, Model};
use crate::ml::question::Question;
use crate::ml::{Error, child};
use crate::shelf::inventory::Inventory;
use crate::shelf::{Shelf, sum};

/// Value of the settings that wants no model.
pub const NONE: &str = "none";
/// The file that says which model it is.
const WEIGHTS: &str = "model.safetensors";
/// Digits of its sum that name a version.
const DIGITS: usize = 16;

/// A model that is asked when it is there.
pub struct Resident<Q: Question> {
    shelf: Shelf,
    name: String,
    /// Said when nobody wants one.
    switched_off: &'static str,
    program: Option<PathBuf>,
    /// What was found out about the weights that lay there.
    known: Mutex<Option<Known<Q>>>,
}

struct Known<Q: Question> {
    weights: Stamp,
    asker: Asker<Q>,
    version: Result<String, Absent>,
}

/// Size and time of change: other weights have others.
type Stamp = (u64, Option<SystemTime>);

impl<Q: Question> Resident<Q> {
    /// The model `name` of `shelf`, computed by the program beside this one; [`NONE`] is answered with `switched_off`.
    pub fn new(shelf: Shelf, name: &str, switched_off: &'static str) -> Self {
        let program = child::program();
        Self { shelf, name: name.to_owned(), switched_off, program, known: Mutex::new(None) }
    }

    /// The model as results name it, or why there is none.
    pub async fn model(&self) -> Result<Model, Absent> {
        let (_, version) = self.find().await?;
        Ok(Model { name: self.name.clone(), version })
    }

    /// Asks it.
    pub async fn ask(&self, question: Q) -> Result<Q::Answer, Error> {
        let (asker, _) = self.find().await.map_err(|absent| Error::Gone(absent.to_string()))?;
        asker.ask(question).await
    }

    /// A way to ask, and the version of who answers. A folder that changes is looked at again.
    async fn find(&self) -> Result<(Asker<Q>, String), Absent> {
        if self.name == NONE {
            return Err(Absent(self.switched_off.to_owned()));
        }
        let Some(program) = &self.program else {
            return Err(Absent("no libtorch in this build: run ./dev build".to_owned()));
        };
        let folder = self.shelf.find(&self.name).map_err(|missing| Absent(missing.to_string()))?;
        let weights = stamp(&folder.join(WEIGHTS)).map_err(|error| Absent(error.to_string()))?;
        let mut slot = self.known.lock().await;
        let known = match slot.take().filter(|known| known.weights == weights) {
            Some(known) => slot.insert(known),
            None => {
                let asker = Asker::new(program, &folder);
                let version = match asker.check().await {
                    Ok(()) => version(&folder).await,
                    // Nothing is wrong with the model; the next who asks looks again.
                    Err(error @ Error::Gone(_)) => return Err(Absent(error.to_string())),
                    Err(error) => Err(Absent(format!("model {} cannot be used: {error}", self.name))),
                };
                slot.insert(Known { weights, asker, version })
            }
        };
        Ok((known.asker.clone(), known.version.clone()?))
    }
}

fn stamp(weights: &Path) -> Result<Stamp, Error> {
    let metadata = std::fs::metadata(weights).map_err(|error| Error::read(weights, error))?;
    Ok((metadata.len(), metadata.modified().ok()))
}

/// The first digits of the sum of the weights: what its inventory says, else it is computed.
async fn version(folder: &Path) -> Result<String, Absent> {
    let listed = Inventory::read(folder).ok().flatten().and_then(|inventory| {
        let weights = inventory.files.into_iter().find(|file| file.name == WEIGHTS);
        weights.map(|file| file.sha256)
    });
    let sum = match listed {
        Some(sum) => sum,
        None => {
            let weights = folder.join(WEIGHTS);
            let summed = tokio::task::spawn_blocking(move || sum::of(&weights)).await;
            summed.map_err(|error| Absent(error.to_string()))?.map_err(|error| Absent(error.to_string()))?
        }
    };
    Ok(sum.chars().take(DIGITS).collect())
}
