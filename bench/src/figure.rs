//! Figures: rows of what is compared, measured in rounds in which each has its turn.

use std::num::NonZeroUsize;

use crate::arena::Arena;
use crate::beside::{Cpus, Place};
use crate::measure::Batch;

/// About so long is a batch: short, so that few are disturbed, and long against starting both ends together.
const BATCH_NS: f64 = 300_000.0;
/// A disturbed batch is repeated, but not for ever on a machine that is never quiet.
const ATTEMPTS: usize = 4;
const ARENA_BYTES: NonZeroUsize = NonZeroUsize::new(64 << 20).unwrap();

/// Runs one batch and answers nanoseconds for one of what the row counts.
pub type Run = fn(Batch<'_>) -> Option<f64>;

/// Whose a contender is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Side {
    /// Handover's, with the ratio to the best peer that it should not be above.
    Ours(f64),
    /// What a user would pick instead.
    Peer,
}

/// One contender of a row.
pub struct Entry {
    /// Its name in the table.
    pub name: &'static str,
    /// Whose it is.
    pub side: Side,
    /// One batch of it.
    pub run: Run,
}

/// Contenders that do the same work.
pub struct Row {
    /// Its name, by which it can be asked for.
    pub key: String,
    /// Where the ends are.
    pub place: Place,
    /// Messages that each way has room for, if it can be told how many: at least so many, or one less. Those that carry
    /// bytes have room for as many bytes, each of them.
    pub slots: usize,
    /// The count of a batch, where it is not to be found by time.
    pub count: Option<u64>,
    /// Who takes part.
    pub entries: Vec<Entry>,
}

/// What was measured of one contender, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Its name.
    pub name: &'static str,
    /// Whose it is.
    pub side: Side,
    samples: Vec<f64>,
}

impl Measured {
    /// Of samples in any order.
    pub fn new(name: &'static str, side: Side, mut samples: Vec<f64>) -> Self {
        samples.sort_unstable_by(f64::total_cmp);
        Self {
            name,
            side,
            samples,
        }
    }

    /// The sample that a part of them, between 0 and 1, is not above.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let last = self.samples.len().checked_sub(1)?;
        let at = (last as f64 * part).round() as usize;
        self.samples.get(at).copied()
    }

    /// The one by which it is compared: a quarter of the batches are no slower. On a machine that others use, too, that is
    /// steadier than the middle.
    pub fn figure(&self) -> Option<f64> {
        self.quantile(0.25)
    }
}

/// A measured row.
#[derive(Clone, Debug)]
pub struct Figure {
    /// The key of its row.
    pub key: String,
    /// Its contenders in the order of the row.
    pub measured: Vec<Measured>,
}

/// One of ours beside the best peer.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The name of ours.
    pub name: &'static str,
    /// The figure of ours, in nanoseconds.
    pub ours: f64,
    /// Name and figure of the best peer, if one could be measured.
    pub peer: Option<(&'static str, f64)>,
    /// The ratio that should not be exceeded.
    pub at_most: f64,
}

impl Comparison {
    /// Ours by the best peer.
    pub fn ratio(&self) -> Option<f64> {
        self.peer.map(|(_, peer)| self.ours / peer)
    }
}

impl Figure {
    /// The peer with the lowest figure.
    pub fn best_peer(&self) -> Option<(&'static str, f64)> {
        let peers = self.measured.iter().filter(|one| one.side == Side::Peer);
        peers
            .filter_map(|one| Some((one.name, one.figure()?)))
            .min_by(|one, other| one.1.total_cmp(&other.1))
    }

    /// Each of ours beside it.
    pub fn comparisons(&self) -> Vec<Comparison> {
        let ours = self.measured.iter().filter_map(|one| match one.side {
            Side::Ours(at_most) => Some(Comparison {
                name: one.name,
                ours: one.figure()?,
                peer: self.best_peer(),
                at_most,
            }),
            Side::Peer => None,
        });
        ours.collect()
    }
}

/// The machine with everything that batches need.
pub struct Bench {
    arena: Arena,
    cpus: Cpus,
    rounds: usize,
}

impl Bench {
    /// A bench that runs so many rounds.
    ///
    /// # Errors
    /// In words: there is only one CPU, or no memory.
    pub fn new(rounds: usize) -> Result<Self, String> {
        let cpus = Cpus::find().ok_or("rings are measured on two CPUs, and there is one")?;
        let arena = Arena::new(ARENA_BYTES).map_err(|error| format!("no memory: {error}"))?;
        Ok(Self {
            arena,
            cpus,
            rounds,
        })
    }

    fn batch(&self, row: &Row, count: u64) -> Batch<'_> {
        Batch {
            arena: &self.arena,
            cpus: self.cpus,
            place: row.place,
            slots: row.slots,
            count,
        }
    }

    fn sample(&self, row: &Row, entry: &Entry, count: u64) -> Option<f64> {
        (0..ATTEMPTS).find_map(|_| (entry.run)(self.batch(row, count)))
    }

    /// How many messages are about a batch.
    fn count(&self, row: &Row, entry: &Entry) -> u64 {
        if let Some(count) = row.count {
            return count;
        }
        let mut count = 64;
        for _ in 0..3 {
            let Some(each) = self.sample(row, entry, count) else {
                return count;
            };
            count = (BATCH_NS / each.max(1.0)).clamp(64.0, 262_144.0) as u64;
        }
        count
    }

    /// Runs one batch of so many messages, for who counts instead of measuring.
    pub fn run_once(&self, row: &Row, entry: &Entry, count: u64) {
        let _ = (entry.run)(self.batch(row, count));
    }

    /// Measures a row.
    pub fn measure(&self, row: &Row) -> Figure {
        let counts: Vec<_> = row
            .entries
            .iter()
            .map(|entry| self.count(row, entry))
            .collect();
        let mut samples = vec![Vec::new(); row.entries.len()];
        for round in 0..self.rounds {
            // Who comes after whom changes, so that nobody always finds what the same one left in the caches.
            for turn in 0..row.entries.len() {
                let at = (turn + round) % row.entries.len();
                samples[at].extend(self.sample(row, &row.entries[at], counts[at]));
            }
        }
        let measured = row.entries.iter().zip(samples);
        Figure {
            key: row.key.clone(),
            measured: measured
                .map(|(entry, samples)| Measured::new(entry.name, entry.side, samples))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_is_compared_with_the_best_peer_by_quartiles() {
        let figure = Figure {
            key: "key".into(),
            measured: vec![
                Measured::new("ours", Side::Ours(0.5), vec![9.0, 2.0, 1.0, 8.0, 9.0]),
                Measured::new("slow", Side::Peer, vec![1.0, 8.0, 8.0, 9.0, 9.0]),
                Measured::new("quick", Side::Peer, vec![3.0, 4.0, 4.0, 5.0, 90.0]),
                Measured::new("never undisturbed", Side::Peer, vec![]),
            ],
        };
        let comparisons = figure.comparisons();
        assert_eq!(comparisons.len(), 1);
        assert_eq!(comparisons[0].peer, Some(("quick", 4.0)));
        assert_eq!(comparisons[0].ratio(), Some(0.5));
    }
}
