//! A house in one thread: log, catalog, blobs, workers, edges and time follow from one seed.
//!
//! # Layout
//! - [`dice`]: chance from the seed; [`life`]: processes that stall and die, and their calls through the doors
//! - [`broker`], [`consumer`]: the log and its groups; [`tables`]: the catalog; [`bucket`]: the blobs
//! - [`engine`]: media work whose bytes say which frames they are
//! - [`member`]: workers and edges, the real code on these doors
//! - [`script`]: what happens when; [`check`]: what must hold

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use schemas::JobId;
use tokio::time::{Duration, Instant};

pub mod broker;
pub mod bucket;
pub mod check;
pub mod consumer;
pub mod dice;
pub mod engine;
pub mod life;
pub mod member;
pub mod script;
pub mod tables;

use dice::Dice;

/// The wall clock at the beginning, milliseconds since the Unix epoch.
pub const EPOCH_MS: i64 = 1_800_000_000_000;

/// A door that is broken on purpose, to see that it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Whoever has lost a partition is not told and may go on committing it.
    Fence,
    /// The last proposal for the end of a job wins, that of a zombie too.
    LastDecision,
    /// What was delivered is committed, whether it is done or not.
    Contiguous,
    /// Who creates what is there already replaces it.
    Create,
}

/// How a simulation runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Keeps the trace.
    pub trace: bool,
    /// Breaks a door.
    pub mutant: Option<Mutant>,
}

/// What came of one seed.
#[derive(Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What did not hold, in words; empty when all is well.
    pub violations: Vec<String>,
    /// Time, member, and what happened, a line each; empty unless it was asked for.
    pub trace: String,
    /// How often each kind of fault was injected.
    pub faults: BTreeMap<&'static str, u64>,
    /// Simulated time.
    pub took: Duration,
}

/// How often doors fail while there is no calm, in a thousand calls.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Refused: nothing was done.
    pub refused: u64,
    /// Done, but the answer is lost.
    pub unanswered: u64,
    /// An append of which only a part was done.
    pub torn: u64,
    /// An append that was done twice.
    pub repeated: u64,
    /// Records that show late, and calls that take long.
    pub slow: u64,
    /// Records that are delivered again.
    pub redelivered: u64,
}

#[derive(Default)]
struct Book {
    trace: String,
    violations: Vec<String>,
    faults: BTreeMap<&'static str, u64>,
    names: BTreeMap<JobId, usize>,
}

/// What everybody in the house shares.
pub struct World {
    begun: Instant,
    calm: AtomicBool,
    /// How often doors fail.
    pub rates: Rates,
    /// The door that is broken on purpose.
    pub mutant: Option<Mutant>,
    keeps_trace: bool,
    dice: Mutex<Dice>,
    book: Mutex<Book>,
    /// Until when each door is away, milliseconds from the beginning.
    away: Mutex<[u64; 3]>,
    /// Calls whose fate is settled: what they say, what becomes of them, and of how many.
    settled: Mutex<Vec<(String, Fate, u32)>>,
    /// How often an encoder has crashed on a flaky source, by its number.
    pub flakes: Mutex<BTreeMap<u64, u32>>,
}

/// A lock that nobody else can hold: there is one thread.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The log.
    Log,
    /// The catalog.
    Catalog,
    /// The blob store.
    Blobs,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is done and answered.
    Done,
    /// It is not done.
    Refused,
    /// It is done, the caller gets an error.
    Unanswered,
}

impl World {
    /// A world of `seed`.
    pub fn new(seed: u64, options: &Options) -> Self {
        let mut dice = Dice::new(seed);
        // Some seeds are calm, some wild: what only shows among few faults shows as well.
        let wildness = dice.pick(&[0, 1, 1, 2, 4]);
        let mut rate = |most: u64| dice.within(0..most * wildness + 1);
        let rates = Rates {
            refused: rate(8),
            unanswered: rate(8),
            torn: rate(8),
            repeated: rate(10),
            slow: rate(15),
            redelivered: rate(10),
        };
        Self {
            begun: Instant::now(),
            calm: AtomicBool::new(false),
            rates,
            mutant: options.mutant,
            keeps_trace: options.trace,
            dice: Mutex::new(dice),
            book: Mutex::default(),
            away: Mutex::default(),
            settled: Mutex::default(),
            flakes: Mutex::default(),
        }
    }

    /// Chance.
    pub fn dice(&self) -> MutexGuard<'_, Dice> {
        locked(&self.dice)
    }

    /// Milliseconds from the beginning.
    pub fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    /// The moment so many milliseconds from the beginning.
    pub fn at(&self, ms: u64) -> Instant {
        self.begun + Duration::from_millis(ms)
    }

    /// No faults from now on.
    pub fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
        *locked(&self.away) = [0; 3];
    }

    /// Whether faults are over.
    pub fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// Whether something happens that happens so many times in a thousand unless all is calm.
    pub fn mishap(&self, per_mille: u64) -> bool {
        !self.is_calm() && self.dice().chance(per_mille)
    }

    /// How long a message is on its way.
    pub fn lag(&self) -> Duration {
        let slow = self.mishap(self.rates.slow);
        let mut dice = self.dice();
        Duration::from_millis(if slow { dice.within(50..4_000) } else { dice.within(0..5) })
    }

    /// Takes `door` away for `ms`.
    pub fn take_away(&self, door: Door, ms: u64) {
        self.fault("a door is away for a while", "house", || format!("{door:?} is away for {ms} ms"));
        locked(&self.away)[door as usize] = self.now_ms() + ms;
    }

    /// Until when `door` is away, milliseconds from the beginning.
    pub fn away_until(&self, door: Door) -> u64 {
        locked(&self.away)[door as usize]
    }

    /// Settles what becomes of the next `count` calls that say `what`.
    #[allow(dead_code, reason = "tests choose single faults, the example does not")]
    pub fn settle(&self, what: &str, fate: Fate, count: u32) {
        locked(&self.settled).push((what.to_owned(), fate, count));
    }

    /// What becomes of a call that says `what`.
    pub fn fate(&self, door: Door, what: impl FnOnce() -> String) -> Fate {
        let mut settled = locked(&self.settled);
        if !settled.is_empty() {
            let what = what();
            if let Some((_, fate, left)) = settled.iter_mut().find(|(said, _, left)| *left > 0 && what.contains(said)) {
                *left -= 1;
                return *fate;
            }
        }
        drop(settled);
        if self.away_until(door) > self.now_ms() {
            return Fate::Refused;
        }
        if self.mishap(self.rates.refused) {
            return Fate::Refused;
        }
        if self.mishap(self.rates.unanswered) { Fate::Unanswered } else { Fate::Done }
    }

    /// Writes a line into the trace.
    pub fn say(&self, who: &str, what: impl FnOnce() -> String) {
        if self.keeps_trace {
            let now = self.now_ms();
            let line = what();
            let _ = writeln!(locked(&self.book).trace, "{:>6}.{:03}  {who:<12} {line}", now / 1000, now % 1000);
        }
    }

    /// Counts a fault of `kind` and says it.
    pub fn fault(&self, kind: &'static str, who: &str, what: impl FnOnce() -> String) {
        *locked(&self.book).faults.entry(kind).or_default() += 1;
        self.say(who, || format!("! {}", what()));
    }

    /// Something does not hold.
    pub fn broken(&self, what: String) {
        self.say("check", || format!("VIOLATION {what}"));
        let mut book = locked(&self.book);
        if book.violations.len() < 20 && !book.violations.contains(&what) {
            book.violations.push(what);
        }
    }

    /// Whether something does not hold already.
    pub fn is_broken(&self) -> bool {
        !locked(&self.book).violations.is_empty()
    }

    /// A job's name in the trace.
    pub fn name(&self, job: JobId) -> String {
        let mut book = locked(&self.book);
        let next = book.names.len() + 1;
        format!("job-{}", book.names.entry(job).or_insert(next))
    }

    /// The end: what came of it.
    pub fn outcome(&self, seed: u64) -> Outcome {
        let book = std::mem::take(&mut *locked(&self.book));
        let Book { trace, violations, faults, .. } = book;
        Outcome { seed, violations, trace, faults, took: self.begun.elapsed() }
    }
}

/// Plays `seed` to its end, in this thread.
pub fn run(seed: u64, options: &Options) -> Outcome {
    dice::seed_draws(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(script::play(seed, options))
}
