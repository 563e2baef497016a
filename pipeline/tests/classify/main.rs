//! How often the kind of content is told right: on the clips that it was tuned on, and on others.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod clips;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;

use pipeline::media::signals::{Measured, Task};
use pipeline::media::{Error, Request, Response, Sink, worker};
use pipeline::stages::classify::kinds::{Kind, kind};

use clips::Clip;

/// Share of the judged clips that must be right.
const RIGHT: f64 = 0.8;

struct Ignored;

impl Sink for Ignored {
    fn bytes(&mut self, _index: usize, _bytes: &[u8]) -> Result<(), Error> {
        Ok(())
    }

    fn progress(&mut self, _frames: u64) -> Result<(), Error> {
        Ok(())
    }
}

fn measured(path: &Path) -> Measured {
    worker::quiet();
    let open = || File::open(path).unwrap();
    let Response::Probed(probed) = worker::run(&Request::Probe, open(), &mut Ignored).unwrap() else {
        panic!("no probe");
    };
    let task = Task { media: probed.media, keyframes: probed.keyframes.len() as u32, pictures: 0 };
    match worker::run(&Request::Signals(task), open(), &mut Ignored).unwrap() {
        Response::Measured(measured) => measured,
        other => panic!("{other:?}"),
    }
}

/// What was told of clips of a kind, as a table for a document, and the share that is right.
fn confusion(clips: &[Clip]) -> (String, f64) {
    let folder = tempfile::tempdir().unwrap();
    let mut counts: BTreeMap<(Kind, Kind), u32> = BTreeMap::new();
    for clip in clips {
        let path = clip.draw(folder.path());
        let measured = measured(&path);
        let said = kind(&measured.features());
        *counts.entry((clip.kind, said.what)).or_default() += 1;
        let mark = if said.what == clip.kind { "" } else { "  <-- wrong" };
        println!("{:9} {:24} {:9} {:.2}{mark}", clip.kind.as_str(), clip.name, said.what.as_str(), said.confidence);
        let features: Vec<String> =
            measured.features().iter().map(|(name, value)| format!("{name} {value:.3}")).collect();
        println!("          {}", features.join(", "));
        std::fs::remove_file(path).unwrap();
    }
    let mut table = String::from("| it is \\ told |");
    Kind::ALL.iter().for_each(|kind| write!(table, " {} |", kind.as_str()).unwrap());
    table.push_str("\n|---|---|---|---|---|---|\n");
    for is in Kind::ALL {
        write!(table, "| {} |", is.as_str()).unwrap();
        for told in Kind::ALL {
            write!(table, " {} |", counts.get(&(is, told)).copied().unwrap_or(0)).unwrap();
        }
        table.push('\n');
    }
    let right: u32 = Kind::ALL.iter().filter_map(|kind| counts.get(&(*kind, *kind))).sum();
    (table, f64::from(right) / clips.len() as f64)
}

#[test]
fn kinds_are_told_right_on_clips_that_nothing_was_tuned_on() {
    let clips = clips::judged::all();
    let (table, right) = confusion(&clips);
    println!("{table}{:.0} % of {} clips are right", 100.0 * right, clips.len());
    assert!(right >= RIGHT, "{:.0} % are right\n{table}", 100.0 * right);
}

#[test]
fn kinds_are_told_right_on_the_clips_that_they_were_tuned_on() {
    let clips = clips::tuning::all();
    let (table, right) = confusion(&clips);
    println!("{table}{:.0} % of {} clips are right", 100.0 * right, clips.len());
    assert!(right >= 0.9, "{:.0} % are right\n{table}", 100.0 * right);
}
