//! `models`: the models on this machine, those that are known, and the way from one to the other.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget};
use serde_json::{Value, json};

use super::failure::{Exit, Failure};
use super::{SettingFlags, show, watch};
use crate::config::{Config, size};
use crate::shelf::inventory::{Inventory, Says};
use crate::shelf::known::{self, Known, Published};
use crate::shelf::place::Place;
use crate::shelf::pull::{self, Pulled, Watch};
use crate::shelf::verify::{self, Checked};
use crate::shelf::{Error, Shelf, State};
use crate::stage::chain;

/// What to do with models.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the models that are known or here
    List {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        flags: Flags,
    },
    /// Bring a model here; one that broke off goes on where it was
    Pull {
        /// The model, such as whisper-base.en
        name: String,
        /// Where it comes from: a folder, or an address with /<name>/ below it [default: setting models_from]
        #[arg(long, value_name = "PLACE")]
        from: Option<String>,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        flags: Flags,
    },
    /// Read every byte again and hold it against what is known
    Verify {
        /// The model; all that are here by default
        name: Option<String>,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        flags: Flags,
    },
    /// Remove a model from this machine
    Remove {
        /// The model
        name: String,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        flags: Flags,
    },
}

/// Flags that beat the settings that are about models.
#[derive(Debug, Args)]
pub struct Flags {
    /// Settings file [default: streamforge.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of everything that is kept on this machine [default: ./data]
    #[arg(long, value_name = "FOLDER")]
    data: Option<String>,
    /// Folder in which models lie [default: <data>/models]
    #[arg(long, value_name = "FOLDER")]
    models: Option<String>,
}

impl Flags {
    fn load(self) -> Result<Config, Failure> {
        let Self { config, data, models } = self;
        SettingFlags { config, data, models, ..SettingFlags::default() }.load()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match &error {
            Error::Unknown { .. } => Exit::Usage,
            Error::Unreachable { .. } => Exit::Unreachable,
            _ => Exit::Failed,
        };
        Self { exit, what: show::plain(&chain(&error)), advice: error.advice().to_owned() }
    }
}

/// Does what is asked.
pub async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List { json, flags } => list(&flags.load()?, json),
        Command::Pull { name, from, json, flags } => bring(&flags.load()?, &name, from.as_deref(), json).await,
        Command::Verify { name, json, flags } => check(&flags.load()?, name, json).await,
        Command::Remove { name, json, flags } => remove(&flags.load()?, &name, json),
    }
}

fn list(config: &Config, as_json: bool) -> Result<(), Failure> {
    let shelf = Shelf::new(&config.models);
    let mut names: Vec<String> = known::all().iter().map(|known| known.name.to_owned()).collect();
    let strange = shelf.names()?.into_iter().filter(|name| known::find(name).is_none());
    names.extend(strange);
    let rows: Vec<Row> = names.into_iter().map(|name| Row::of(&shelf, name)).collect();
    if as_json {
        let models: Vec<Value> = rows.iter().map(|row| row.json(&shelf)).collect();
        return show::print_json(
            &json!({ "folder": shelf.folder(), "from": config.models_from.to_string(), "models": models }),
        );
    }
    let mut text = line("MODEL", "HERE", "SIZE", "LICENCE", "PUBLISHED", "WHAT IT DOES");
    rows.iter().for_each(|row| text.push_str(&row.line()));
    text.push_str(&format!("\nmodels lie in {}\n", show::plain(&shelf.folder().display().to_string())));
    text.push_str("published: WER is words wrong on LibriSpeech test-clean, top-1 first labels right on ImageNet,\n");
    text.push_str("both as the makers of the model say\n");
    show::print(&text)
}

fn line(name: &str, here: &str, size: &str, licence: &str, published: &str, about: &str) -> String {
    let line = format!(
        "{}  {}  {size:>7}  {}  {}  {about}",
        show::fitted(name, 22),
        show::fitted(here, 6),
        show::fitted(licence, 10),
        show::fitted(published, 11)
    );
    format!("{}\n", line.trim_end())
}

/// A model in the list.
struct Row {
    name: String,
    state: State,
    unfinished: Option<u64>,
    known: Option<&'static Known>,
    inventory: Option<Inventory>,
}

impl Row {
    fn of(shelf: &Shelf, name: String) -> Self {
        Self {
            state: shelf.state(&name),
            unfinished: shelf.unfinished(&name),
            known: known::find(&name),
            inventory: Inventory::read(&shelf.at(&name)).ok().flatten(),
            name,
        }
    }

    /// Bytes of the model, as well as they are known.
    fn bytes(&self) -> u64 {
        let listed = self.inventory.as_ref().map(|inventory| inventory.files.iter().map(|item| item.bytes).sum());
        listed.or(self.known.map(Known::bytes)).unwrap_or(0)
    }

    fn here(&self) -> &'static str {
        match (&self.state, self.unfinished) {
            (State::Whole, _) => "yes",
            (State::Broken(_), _) => "broken",
            (State::Absent, Some(_)) => "part",
            (State::Absent, None) => "-",
        }
    }

    fn line(&self) -> String {
        let size = match self.bytes() {
            0 => "-".to_owned(),
            bytes => size::shown(bytes),
        };
        let licence = self.known.map_or("-", |known| known.licence);
        let published = self.known.and_then(|known| known.published).map_or("-".to_owned(), published);
        let about = match &self.state {
            State::Broken(fault) => show::plain(fault),
            _ => self.known.map_or("unknown here", |known| known.about).to_owned(),
        };
        line(&self.name, self.here(), &size, licence, &published, &about)
    }

    fn json(&self, shelf: &Shelf) -> Value {
        let here = match self.state {
            State::Absent => Value::Null,
            _ => json!(shelf.at(&self.name)),
        };
        let mut row = json!({
            "name": self.name, "state": word(&self.state), "path": here, "bytes": self.bytes(),
            "unfinished_bytes": self.unfinished, "fault": Value::Null, "task": Value::Null, "licence": Value::Null,
            "published": Value::Null, "page": Value::Null, "revision": Value::Null, "files": [],
        });
        if let State::Broken(fault) = &self.state {
            row["fault"] = json!(fault);
        }
        if let Some(known) = self.known {
            row["task"] = json!(known.task);
            row["licence"] = json!(known.licence);
            row["page"] = json!(known.page());
            row["revision"] = json!(known.revision);
            row["published"] = known.published.map_or(Value::Null, |published| match published {
                Published::WordError(percent) => {
                    json!({ "measure": "word_error", "percent": percent, "on": "LibriSpeech test-clean" })
                }
                Published::TopOne(percent) => {
                    json!({ "measure": "top_1", "percent": percent, "on": "ImageNet validation" })
                }
            });
            let file = |file: &known::KnownFile| json!({ "name": file.name, "bytes": file.size.roughly(), "sha256": file.sha256 });
            row["files"] = known.files.iter().map(file).collect();
        }
        if let Some(inventory) = &self.inventory {
            row["revision"] = json!(inventory.revision);
            row["from"] = json!(inventory.from);
            row["files"] = json!(inventory.files);
        }
        row
    }
}

fn published(published: Published) -> String {
    match published {
        Published::WordError(percent) => format!("WER {percent:.2}%"),
        Published::TopOne(percent) => format!("top-1 {percent:.1}%"),
    }
}

fn word(state: &State) -> &'static str {
    match state {
        State::Absent => "absent",
        State::Whole => "whole",
        State::Broken(_) => "broken",
    }
}

async fn bring(config: &Config, name: &str, from: Option<&str>, as_json: bool) -> Result<(), Failure> {
    let place = match from {
        None => config.models_from.clone(),
        Some(from) => Place::parse(from).map_err(|right| {
            let what =
                format!("`{}` is no place that models come from", show::plain(&crate::config::key::masked(from)));
            Failure::usage(what, right)
        })?,
    };
    let shelf = Shelf::new(&config.models);
    let wanted = pull::wanted(name, &place).await?;
    let bars = Bars::new(name);
    let pulled = pull::pull(&shelf, &wanted, &place, &bars).await;
    bars.bar.finish_and_clear();
    let pulled = pulled?;
    let path = shelf.at(name);
    if as_json {
        let Pulled { inventory, was_here } = &pulled;
        return show::print_json(&json!({
            "name": name, "path": path, "was_here": was_here, "revision": inventory.revision, "from": inventory.from,
            "files": inventory.files,
        }));
    }
    show::print(&arrived(name, &path.display().to_string(), &pulled))
}

/// What there is to say about a model that is here now.
fn arrived(name: &str, path: &str, pulled: &Pulled) -> String {
    if pulled.was_here {
        return format!("{name} was in {} already\n", show::plain(path));
    }
    let bytes = pulled.inventory.files.iter().map(|item| item.bytes).sum();
    let mut text = format!("{name} is in {}, {}\n", show::plain(path), size::shown(bytes));
    for item in &pulled.inventory.files {
        let says = match item.sum {
            Says::Table | Says::Inventory => continue,
            Says::Server => "nobody has published its sum; taken at first use, as its server announced it:",
            Says::FirstUse => "nobody has published its sum; taken at first use, of what came:",
        };
        text.push_str(&format!("  {}: {says}\n    {}\n", item.name, item.sha256));
    }
    text
}

async fn check(config: &Config, name: Option<String>, as_json: bool) -> Result<(), Failure> {
    let shelf = Shelf::new(&config.models);
    let names = match name {
        Some(name) if shelf.state(&name) == State::Absent => {
            let what = format!("there is no model `{}` in {}", show::plain(&name), shelf.folder().display());
            return Err(Failure::failed(what, "`streamforge models list` lists those that are here"));
        }
        Some(name) => vec![name],
        None => shelf.names()?,
    };
    if names.is_empty() && !as_json {
        return show::print("no models are here");
    }
    let (mut models, mut is_one_bad) = (Vec::new(), false);
    for name in names {
        let bars = Bars::new(&name);
        let checked = tokio::task::block_in_place(|| verify::verify(&shelf, &name, &bars));
        bars.bar.finish_and_clear();
        let checked = checked?;
        let is_bad = checked.iter().any(|file| file.fault.is_some());
        is_one_bad |= is_bad;
        if !as_json {
            show::print(&verdict(&name, &checked))?;
        }
        models.push(json!({ "name": name, "ok": !is_bad, "files": checked }));
    }
    if as_json {
        show::print_json(&json!({ "folder": shelf.folder(), "models": models }))?;
    }
    if is_one_bad {
        let advice = "remove it with `streamforge models remove`, then pull it again";
        return Err(Failure::failed("not every model is what it should be", advice));
    }
    Ok(())
}

fn verdict(name: &str, checked: &[Checked]) -> String {
    let bad = checked.iter().any(|file| file.fault.is_some());
    let mut text = format!("{name} {}\n", if bad { "is damaged" } else { "is as it should be" });
    for file in checked {
        match (&file.fault, file.has_sum) {
            (Some(fault), _) => text.push_str(&format!("  {}: {fault}\n", file.name)),
            (None, false) => text.push_str(&format!("  {}: there is no sum to hold it against\n", file.name)),
            (None, true) => {}
        }
    }
    text
}

fn remove(config: &Config, name: &str, as_json: bool) -> Result<(), Failure> {
    let shelf = Shelf::new(&config.models);
    let removed = shelf.remove(name)?;
    if !removed {
        let what = format!("there is no model `{}` in {}", show::plain(name), shelf.folder().display());
        return Err(Failure::failed(what, "`streamforge models list` lists those that are here"));
    }
    match as_json {
        true => show::print_json(&json!({ "name": name, "removed": true })),
        false => show::print(&format!("{name} is removed\n")),
    }
}

/// A bar for the file that is at work.
struct Bars {
    bar: ProgressBar,
    model: String,
}

impl Bars {
    fn new(model: &str) -> Self {
        let target = match show::has_bars() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(None, target);
        watch::style(
            &bar,
            "{prefix:24!} {bar:24} {decimal_bytes:>9} of {decimal_total_bytes:9} {decimal_bytes_per_sec}",
        );
        Self { bar, model: model.to_owned() }
    }
}

impl Watch for Bars {
    fn begins(&self, name: &str, at: u64, of: u64) {
        self.bar.set_length(of);
        self.bar.set_prefix(show::plain(name));
        self.bar.set_position(at);
        self.bar.reset_eta();
    }

    fn is_at(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }

    fn waits(&self) {
        eprintln!("another process pulls {}, waiting for it", show::plain(&self.model));
    }
}

#[cfg(test)]
mod tests;
