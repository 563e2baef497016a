//! Keeps the house in order: foreign crates in their one room, imports downward only, short files, honest names.
//!
//! `ARCHITECTURE.md` explains the rooms; a rule changes there and here in one commit.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

#[path = "tidy/paths.rs"]
mod paths;

use paths::{code_of, paths};

/// A foreign crate and the only rooms that may name it. A room is a module's file with the folder of the same name.
const FOREIGN: &[(&str, &[&str])] = &[
    ("apache_avro", &["schemas/src/wire"]),
    ("redb", &["connectors/src/store", "connectors/src/embedded", "connectors/src/log/embedded", CATALOG]),
    ("object_store", &["connectors/src/blobs"]),
    ("rdkafka", &["connectors/src/log/kafka"]),
    ("schema_registry_converter", &["connectors/src/log/registry"]),
    ("scylla", &["connectors/src/catalog/scylla"]),
    ("ffmpeg_next", &["pipeline/src/media"]),
    ("mp4_atom", &["pipeline/src/media"]),
    ("landlock", &["pipeline/src/media"]),
    ("seccompiler", &["pipeline/src/media"]),
    ("rustvani_vad", &["pipeline/src/voice"]),
    ("realfft", &["pipeline/src/stages/classify"]),
    ("tch", &["pipeline/src/ml"]),
    ("safetensors", &["pipeline/src/ml"]),
    ("tokenizers", &["pipeline/src/ml"]),
    ("flate2", &["pipeline/src/ml"]),
    ("warp", &["pipeline/src/edge"]),
    ("hyper", &["pipeline/src/edge"]),
    ("hyper_util", &["pipeline/src/edge"]),
    ("multer", &["pipeline/src/edge"]),
    ("clap", &["pipeline/src/cli", "pipeline/src/main"]),
    ("clap_complete", &["pipeline/src/cli"]),
    ("glob", &["pipeline/src/cli"]),
    ("miette", &["pipeline/src/cli"]),
    ("standardwebhooks", &["connectors/src/sinks"]),
    ("sha1", &["pipeline/src/edge/tus"]),
    (
        "utoipa",
        &[
            VIEW,
            "schemas/src/event",
            "schemas/src/id",
            "schemas/src/ledger",
            "schemas/src/quality",
            "pipeline/src/edge",
        ],
    ),
];
const CATALOG: &str = "connectors/src/catalog/embedded";
const VIEW: &str = "schemas/src/job";

/// A crate, its modules by floor from the ground up, and whether the modules of its top floor may see each other.
const FLOORS: &[(&str, &[&[&str]], bool)] = &[
    (
        "schemas",
        &[
            &["id", "field"],
            &["claim", "source"],
            &["ladder", "topic"],
            &["event"],
            &["wire", "manifest"],
            &["job", "ledger", "quality", "captions"],
        ],
        false,
    ),
    (
        "connectors",
        &[&["clock", "store"], &["log", "catalog", "blobs", "sinks", "sources"], &["embedded"], &["open"]],
        false,
    ),
    (
        "pipeline",
        &[
            &["stage", "media", "ml", "voice", "shelf", "metrics", "header"],
            &["stages"],
            &["topology", "runner", "edge"],
            &["cli", "config", "main", "bin"],
        ],
        true,
    ),
];

/// Rooms that may not see another although it lies below: the list of stages is handed to them.
const NEVER: [(&str, &str); 2] = [("runner", "stages"), ("edge", "stages")];

/// Crates from the ground up; each may name those before it.
const CRATES: [&str; 3] = ["schemas", "connectors", "pipeline"];

const BANNED: [&str; 8] = ["util", "utils", "helper", "helpers", "common", "manager", "misc", "mod"];
const LONGEST: usize = 500;

/// Whether `path` lies in `room`.
fn in_room(path: &str, room: &str) -> bool {
    path.strip_prefix(room).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// Names of the house that crate roots hand on, such as `Claim` for `claim::Claim`: name and module.
fn reexports(lib: &str) -> Vec<(String, String)> {
    let code = code_of(lib);
    let public = code.match_indices("pub use ").flat_map(|(at, _)| {
        let end = code[at..].find(';').map_or(code.len(), |end| at + end);
        paths(&code[at..end])
    });
    public.filter(|path| path.len() == 2).map(|path| (path[1].clone(), path[0].clone())).collect()
}

/// What is wrong in the Rust file at `path`; `handed_on` are the [`reexports`] of its crate.
fn faults(path: &str, source: &str, handed_on: &[(String, String)]) -> Vec<String> {
    let code = code_of(source);
    let named = paths(&code);
    let mut faults = Vec::new();
    let own = path.split('/').next().unwrap_or_default();
    if path.split('/').nth(1) == Some("src") {
        for name in named.iter().map(|names| names[0].as_str()) {
            if let Some((_, rooms)) = FOREIGN.iter().find(|(foreign, _)| *foreign == name)
                && !rooms.iter().any(|room| in_room(path, room))
            {
                faults.push(format!("{path}: `{name}` may be named in {} only", rooms.join(", ")));
            }
            let floor = |name| CRATES.iter().position(|one| *one == name);
            if let (Some(here), Some(there)) = (floor(own), floor(name))
                && there > here
            {
                faults.push(format!("{path}: {own} may not look up to {name}"));
            }
        }
        faults.extend(upward(path, own, &named, handed_on));
    }
    if code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe")
        && !in_room(path, "pipeline/src/media")
    {
        faults.push(format!("{path}: `unsafe` belongs into pipeline/src/media alone"));
    }
    faults.sort();
    faults.dedup();
    faults
}

/// Imports that do not point down. A room's own tests, in files of their own, may wire neighbours together.
fn upward(path: &str, own: &str, named: &[Vec<String>], handed_on: &[(String, String)]) -> Vec<String> {
    if path.ends_with("/tests.rs") || path.contains("/tests/") {
        return Vec::new();
    }
    let Some((_, floors, top_is_open)) = FLOORS.iter().find(|(name, ..)| *name == own) else { return Vec::new() };
    let floor = |module: &str| floors.iter().position(|floor| floor.contains(&module));
    let inside: Vec<&str> = path.trim_end_matches(".rs").split('/').skip(2).collect();
    let (Some(&module), Some(here)) = (inside.first(), inside.first().and_then(|module| floor(module))) else {
        let known = ["lib", "main"].contains(inside.first().unwrap_or(&"lib"));
        return if known { Vec::new() } else { vec![format!("{path}: this room is on no floor of tests/tidy.rs")] };
    };
    let mut faults = Vec::new();
    for names in named {
        let Some(absolute) = absolute(own, &inside, names) else { continue };
        let Some(first) = absolute.first() else { continue };
        let target = handed_on.iter().find(|(name, _)| name == first).map_or(first, |(_, module)| module);
        if target == module {
            let sibling =
                |at: &[String]| at.get(1).filter(|name| name.chars().all(|c| c.is_lowercase() || c == '_')).cloned();
            if module == "stages"
                && inside.len() > 1
                && sibling(&absolute).is_some_and(|name| is_stage(&name) && name != inside[1])
            {
                faults.push(format!("{path}: a stage may not see its sibling `{}`", absolute[1]));
            }
            continue;
        }
        let Some(there) = floor(target) else { continue };
        let open = *top_is_open && here == floors.len() - 1;
        if there > here || (there == here && !open) || NEVER.contains(&(module, target)) {
            faults.push(format!("{path}: `{module}` may not see `{target}`, imports point down"));
        }
    }
    faults
}

/// Whether `pipeline/src/stages` holds a file of this name.
fn is_stage(name: &str) -> bool {
    root().join(format!("pipeline/src/stages/{name}.rs")).exists()
}

/// A path from the root of its crate; nothing for paths into other crates.
fn absolute(own: &str, inside: &[&str], names: &[String]) -> Option<Vec<String>> {
    let mut names = names.iter();
    match names.next()?.as_str() {
        "crate" => Some(names.cloned().collect()),
        first if first == own => Some(names.cloned().collect()),
        "super" => {
            let mut at: Vec<String> = inside.iter().map(|name| (*name).to_owned()).collect();
            at.pop();
            for name in names {
                match name.as_str() {
                    "super" => drop(at.pop()),
                    name => at.push(name.to_owned()),
                }
            }
            Some(at)
        }
        _ => None,
    }
}

/// What is wrong with a file's name or length.
fn outer_faults(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let lines = text.lines().count();
    if lines > LONGEST {
        faults.push(format!("{path}: {lines} lines, at most {LONGEST} are wanted"));
    }
    for part in path.split('/') {
        let stem = part.split('.').next().unwrap_or_default();
        if let Some(word) = stem.split(['_', '-']).find(|word| BANNED.contains(word)) {
            faults.push(format!("{path}: `{word}` says nothing about what is inside"));
        }
    }
    for name in code_of(text).split("mod ").skip(1).filter(|_| path.ends_with(".rs")) {
        let name: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if BANNED.contains(&name.as_str()) {
            faults.push(format!("{path}: `{name}` says nothing about what is inside"));
        }
    }
    faults
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Every file of ours that people read as code: path from the root, and text.
fn files() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> =
        ["schemas", "connectors", "pipeline", "grafana", ".ci", "dev"].iter().map(|name| root().join(name)).collect();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            // What others wrote, and what is made of ours.
            if ["node_modules", "dist", "build"].iter().any(|made| path.ends_with(made)) {
                continue;
            }
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let kind = path.extension().map(|kind| kind.to_string_lossy().into_owned());
        let script = path.extension().is_none() && path.exists();
        if script || kind.is_some_and(|kind| ["rs", "sh", "html", "ts", "mjs", "css"].contains(&kind.as_str())) {
            let short = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            found.push((short, std::fs::read_to_string(&path).unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn every_file_keeps_to_its_room() {
    let files = files();
    assert!(files.len() > 40, "only {} files were found: the walk looks in the wrong place", files.len());
    let mut all = Vec::new();
    for (path, text) in &files {
        all.extend(outer_faults(path, text));
        if path.ends_with(".rs") {
            let lib = format!("{}/src/lib.rs", path.split('/').next().unwrap());
            let handed_on = files.iter().find(|(path, _)| *path == lib).map(|(_, text)| reexports(text));
            all.extend(faults(path, text, &handed_on.unwrap_or_default()));
        }
    }
    assert!(all.is_empty(), "\n{}\n", all.join("\n"));
}

#[test]
fn a_foreign_crate_outside_its_room_is_noticed() {
    let inside = |path, source| faults(path, source, &[]);
    assert_eq!(inside("pipeline/src/edge/upload.rs", "use warp::Filter;"), Vec::<String>::new());
    assert!(inside("pipeline/src/runner.rs", "use warp::Filter;")[0].contains("pipeline/src/edge"));
    assert!(inside("pipeline/src/edges.rs", "fn f() -> warp::Reply {}")[0].contains("`warp`"));
    assert!(inside("pipeline/src/config.rs", "#[derive(clap::Parser)] struct S;")[0].contains("`clap`"));
    assert!(inside("connectors/src/log.rs", "use {std::fmt, redb::{Database}};")[0].contains("`redb`"));
    assert!(inside("schemas/src/job.rs", "use apache_avro as avro;")[0].contains("`apache_avro`"));
    let spoken =
        "// use warp::Filter;\n/* redb::x */ const S: &str = \"clap::Parser\"; const R: &str = r#\"tch::\"x\"#;";
    assert_eq!(inside("pipeline/src/runner.rs", spoken), Vec::<String>::new());
}

#[test]
fn an_import_that_points_up_or_sideways_is_noticed() {
    let inside = |path, source| faults(path, source, &[]).join("; ");
    assert_eq!(inside("pipeline/src/runner/attempt.rs", "use crate::{metrics, stage::{Stage, Work}};"), "");
    assert_eq!(inside("pipeline/src/topology.rs", "use crate::stages::probe::Probe;"), "");
    assert_eq!(inside("pipeline/src/cli.rs", "use crate::config::Config;"), "");
    assert!(inside("pipeline/src/runner.rs", "use crate::stages::probe::Probe;").contains("may not see `stages`"));
    assert!(inside("pipeline/src/runner.rs", "use crate::edge::Edge;").contains("may not see `edge`"));
    assert!(inside("pipeline/src/media/probe.rs", "use crate::{stage::Stage};").contains("may not see `stage`"));
    assert!(inside("pipeline/src/stage.rs", "fn f() { crate::runner::run() }").contains("may not see `runner`"));
    assert!(inside("pipeline/src/runner.rs", "use super::cli::Command;").contains("may not see `cli`"));
    assert!(inside("connectors/src/log.rs", "use pipeline::stage::Stage;").contains("look up to pipeline"));
    assert_eq!(inside("pipeline/src/runner/tests/doors.rs", "use crate::topology;"), "");
    assert!(inside("pipeline/src/oven.rs", "").contains("on no floor"));
    let handed_on = reexports("pub use event::Event;\npub use id::{JobId, TaskKey};");
    let found = faults("schemas/src/ladder.rs", "use crate::{Event, JobId};", &handed_on);
    assert_eq!(found, ["schemas/src/ladder.rs: `ladder` may not see `event`, imports point down"]);
}

#[test]
fn names_lengths_and_unsafe_are_noticed() {
    assert!(outer_faults("pipeline/src/media_utils.rs", "")[0].contains("`utils`"));
    assert!(outer_faults("pipeline/tests/common/server.rs", "")[0].contains("`common`"));
    assert!(outer_faults("pipeline/src/edge/mod.rs", "")[0].contains("`mod`"));
    assert!(outer_faults("pipeline/src/edge.rs", "mod helpers;")[0].contains("`helpers`"));
    assert!(outer_faults("dev", &"true\n".repeat(501))[0].contains("501 lines"));
    assert_eq!(outer_faults("pipeline/src/command.rs", &"\n".repeat(500)), Vec::<String>::new());
    let wild = "fn f() { unsafe { g() } }";
    assert!(faults("pipeline/src/edge.rs", wild, &[])[0].contains("`unsafe`"));
    assert_eq!(faults("pipeline/src/media/frame.rs", wild, &[]), Vec::<String>::new());
    assert_eq!(faults("pipeline/src/edge.rs", "// an unsafe thing\nfn f() { \"unsafe\"; }", &[]), Vec::<String>::new());
}
