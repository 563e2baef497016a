//! Plays simulations: one seed with its story, or many in search of one that goes wrong. `./dev sim`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a simulation is a test")]

#[path = "../tests/sim/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use world::{Mutant, Options, run};

const USAGE: &str = "usage: ./dev sim --seed N, or ./dev sim [--from N] [--seeds M]; \
                     --break fence|decision|contiguous|create breaks a door on purpose";

struct Wish {
    seed: Option<u64>,
    from: u64,
    seeds: u64,
    mutant: Option<Mutant>,
}

fn wish() -> Option<Wish> {
    let mut wish = Wish { seed: None, from: 0, seeds: 1_000, mutant: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next()?;
        match argument.as_str() {
            "--seed" => wish.seed = Some(value.parse().ok()?),
            "--from" => wish.from = value.parse().ok()?,
            "--seeds" => wish.seeds = value.parse().ok()?,
            "--break" => {
                wish.mutant = Some(match value.as_str() {
                    "fence" => Mutant::Fence,
                    "decision" => Mutant::LastDecision,
                    "contiguous" => Mutant::Contiguous,
                    "create" => Mutant::Create,
                    _ => return None,
                });
            }
            _ => return None,
        }
    }
    Some(wish)
}

fn main() -> ExitCode {
    let Some(wish) = wish() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let is_well = match wish.seed {
        Some(seed) => tell(seed, wish.mutant),
        None => search(&wish),
    };
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Plays one seed and tells its story.
fn tell(seed: u64, mutant: Option<Mutant>) -> bool {
    let outcome = run(seed, &Options { trace: true, mutant });
    print!("{}", outcome.trace);
    println!("seed {seed}: {} simulated seconds, faults {:?}", outcome.took.as_secs(), outcome.faults);
    for violation in &outcome.violations {
        println!("VIOLATION {violation}");
    }
    outcome.violations.is_empty()
}

/// Plays many seeds, each in one thread, as many threads as there are cores.
fn search(wish: &Wish) -> bool {
    let (began, options) = (Instant::now(), Options { trace: false, mutant: wish.mutant });
    let (next, bad) = (AtomicU64::new(wish.from), AtomicU64::new(0));
    let (faults, simulated) = (Mutex::new(BTreeMap::<&str, u64>::new()), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= wish.from + wish.seeds {
                        return;
                    }
                    let outcome = run(seed, &options);
                    simulated.fetch_add(outcome.took.as_secs(), Ordering::Relaxed);
                    for (kind, count) in &outcome.faults {
                        *faults.lock().unwrap().entry(kind).or_default() += count;
                    }
                    if let Some(violation) = outcome.violations.first() {
                        bad.fetch_add(1, Ordering::Relaxed);
                        println!("seed {}: {violation}", outcome.seed);
                    }
                }
            });
        }
    });
    let bad = bad.into_inner();
    println!("{} seeds from {}: {bad} went wrong", wish.seeds, wish.from);
    println!("{:.1} s, {} simulated hours", began.elapsed().as_secs_f64(), simulated.into_inner() / 3600);
    for (kind, count) in faults.into_inner().unwrap() {
        println!("{count:>9}  {kind}");
    }
    bad == 0
}
