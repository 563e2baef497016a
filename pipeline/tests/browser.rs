//! The page in a real browser and `tus-js-client` as it comes from npm, both before the real program.
//!
//! The checks themselves are `pipeline/page/checks/*.mjs`; `./dev test` builds the page, fetches its packages and installs Chromium.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Two browsers at once would make each other late.
static ONE_BROWSER: Mutex<()> = Mutex::new(());

/// Browsers that the checks find by themselves.
const BROWSERS: [&str; 3] = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/// Runs one check of the page; says why when it cannot.
fn check(name: &str, needs_browser: bool) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
    let not_run = |why: &str| println!("not run here: {name} ({why})");
    let here = [page.join("node_modules/tus-js-client"), page.join("checks/contracts/node_modules/@asyncapi/parser")];
    if !here.iter().all(|package| package.is_dir()) {
        return not_run("the packages of the page are not here: ./dev test fetches them");
    }
    if needs_browser && !pipeline::edge::page::is_built() {
        return not_run("the page was not built before the program: ./dev test builds it");
    }
    if needs_browser && std::env::var_os("CHROMIUM").is_none() && !BROWSERS.iter().any(|path| Path::new(path).exists())
    {
        return not_run("there is no Chromium: Debian calls it chromium");
    }
    let _turn = needs_browser.then(|| ONE_BROWSER.lock().unwrap_or_else(PoisonError::into_inner));
    let mut node = Command::new("node");
    node.arg(format!("checks/{name}.mjs")).current_dir(&page);
    let said = node.env("STREAMFORGE_BINARY", env!("CARGO_BIN_EXE_streamforge")).output().expect("node runs");
    let (out, err) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    println!("{out}");
    assert!(said.status.success(), "{name}: {}\n{out}\n{err}", said.status);
}

#[test]
fn uploads_of_a_real_client_outlive_a_cut_network_and_a_killed_server() {
    check("tus", false);
}

#[test]
fn players_and_validators_of_others_have_nothing_to_say() {
    check("players", false);
}

#[test]
fn the_contracts_are_valid_by_the_validators_of_others() {
    check("contracts/check", false);
}

#[test]
fn viewers_get_keys_menus_links_frames_and_captions_in_a_real_browser() {
    check("viewer", true);
}

#[test]
fn the_page_does_what_people_expect_in_a_real_browser() {
    check("browser", true);
}
