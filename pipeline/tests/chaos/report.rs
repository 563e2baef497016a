//! The table at the end.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use tokio::task::JoinError;

use super::faults::Fault;
use super::uploads::Offer;

/// One fault as it happened.
#[derive(Clone, Debug)]
pub struct Suffered {
    /// Its kind.
    pub fault: Fault,
    /// When it began.
    pub began: Instant,
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// How long faults were thrown.
    pub took: Duration,
    /// What must not be; empty when all is well.
    pub problems: Vec<String>,
    /// Faults, in the order of their ends.
    pub suffered: Vec<Suffered>,
    /// Uploads.
    pub offers: Vec<Offer>,
    /// Different chunks that were finished.
    pub chunks: u64,
    /// Chunks that were finished once more.
    pub redone: u64,
    /// Copies of events.
    pub copies: u64,
    /// Processes that died of a segmentation fault and were started again.
    pub crashes: usize,
    /// From offering a video to its being ready while nothing goes wrong.
    pub calm: Duration,
    /// From wanting a job cancelled or deleted to the end of all work on it and of its last byte.
    pub stops: Vec<(&'static str, Duration)>,
}

impl Report {
    /// Takes note of what became of a fault; true when it did not happen.
    pub fn note(&mut self, struck: Result<Result<Option<Suffered>, String>, JoinError>) -> bool {
        match struck {
            Ok(Ok(Some(suffered))) => self.suffered.push(suffered),
            Ok(Ok(None)) => return true,
            Ok(Err(problem)) => self.problems.push(problem),
            Err(error) => self.problems.push(error.to_string()),
        }
        false
    }

    /// From a fault to the first video that was offered after it and is ready.
    fn recovery(&self, fault: &Suffered) -> Option<Duration> {
        let later = self.offers.iter().filter(|offer| offer.offered >= fault.began);
        let ready = later.filter_map(|offer| offer.ended.as_ref().filter(|(state, _)| state == "ready"));
        ready.map(|(_, at)| at.saturating_duration_since(fault.began)).min()
    }

    fn ended(&self, state: &str) -> usize {
        self.offers.iter().filter(|offer| offer.ended.as_ref().is_some_and(|(found, _)| found == state)).count()
    }
}

/// The value below which `percent` of the sorted `all` lie.
fn quantile(all: &[Duration], percent: usize) -> Duration {
    let rank = (all.len() * percent).div_ceil(100).max(1) - 1;
    all.get(rank).copied().unwrap_or_default()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: BTreeMap<Fault, Vec<Duration>> = BTreeMap::new();
        let mut counts: BTreeMap<Fault, usize> = BTreeMap::new();
        for suffered in &self.suffered {
            *counts.entry(suffered.fault).or_default() += 1;
            kinds.entry(suffered.fault).or_default().extend(self.recovery(suffered));
        }
        writeln!(f, "{:<36} {:>5} {:>14} {:>14}", "fault", "times", "recovery p50", "p99")?;
        let mut all = Vec::new();
        for (fault, times) in &counts {
            let mut took = kinds.remove(fault).unwrap_or_default();
            took.sort();
            line(f, &fault.to_string(), *times, &took)?;
            all.extend(took);
        }
        all.sort();
        line(f, "all", self.suffered.len(), &all)?;
        writeln!(
            f,
            "recovery: from the fault to the first video that was offered after it and is ready; {:.1} s without a fault",
            self.calm.as_secs_f64()
        )?;
        for (what, took) in &self.stops {
            writeln!(f, "{what}: {:.2} s to the end of all work and the last byte", took.as_secs_f64())?;
        }
        let (accepted, refusals) = (
            self.offers.iter().filter(|offer| offer.job.is_some()).count(),
            self.offers.iter().map(|offer| u64::from(offer.refusals)).sum::<u64>(),
        );
        writeln!(
            f,
            "{:.1} minutes, seed {}: {} videos offered, {accepted} accepted after {refusals} refusals and lost answers; {} ready, {} failed \
             for their own bytes, {} deleted",
            self.took.as_secs_f64() / 60.0,
            self.seed,
            self.offers.len(),
            self.ended("ready"),
            self.ended("failed"),
            self.ended("deleted"),
        )?;
        writeln!(
            f,
            "{} chunks, {} of them done again; {} events delivered once more; {} processes died of the client library; {} problems",
            self.chunks,
            self.redone,
            self.copies,
            self.crashes,
            self.problems.len()
        )?;
        self.problems.iter().try_for_each(|problem| writeln!(f, "PROBLEM {problem}"))
    }
}

fn line(f: &mut fmt::Formatter<'_>, name: &str, times: usize, took: &[Duration]) -> fmt::Result {
    let seconds = |percent| match took.is_empty() {
        true => "-".to_owned(),
        false => format!("{:.1} s", quantile(took, percent).as_secs_f64()),
    };
    writeln!(f, "{name:<36} {times:>5} {:>14} {:>14}", seconds(50), seconds(99))
}
