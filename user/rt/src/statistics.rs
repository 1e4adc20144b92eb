//! What the system has counted, live.

use core::sync::atomic::{AtomicU64, Ordering};

use abi::limits::MAX_CPUS;
use abi::statistics::{CPUS_OFFSET, CpuStatistics, LEN, MAGIC};
use abi::{Error, Rights};

use crate::{Mapping, Region};

/// The statistics of the system, mapped.
#[derive(Debug)]
pub struct Statistics {
    mapping: Mapping,
    cpus: usize,
}

impl Statistics {
    /// The statistics in a region; needs READ, MAP and INSPECT. `Invalid`: it has none.
    pub fn open(region: &Region) -> Result<Statistics, Error> {
        let mapping = region.map(Rights::READ)?;
        let mut statistics = Statistics { mapping, cpus: 0 };
        if statistics.mapping.len() < LEN as u64 {
            return Err(Error::Invalid);
        }
        let [magic, cpus, stride] = [0, 1, 2].map(|index| statistics.word(index));
        if magic != MAGIC || cpus > MAX_CPUS as u64 || stride != size_of::<CpuStatistics>() as u64 {
            return Err(Error::Invalid);
        }
        statistics.cpus = cpus as usize;
        Ok(statistics)
    }

    /// CPUs that run.
    pub fn cpus(&self) -> usize {
        self.cpus
    }

    /// What a CPU has done, each count at a moment of its own; `None` when there is no such CPU.
    pub fn cpu(&self, cpu: usize) -> Option<CpuStatistics> {
        if cpu >= self.cpus {
            return None;
        }
        let first = CPUS_OFFSET / 8 + cpu * CpuStatistics::WORDS;
        let words = core::array::from_fn(|index| self.word(first + index));
        Some(CpuStatistics::from_words(&words))
    }

    fn word(&self, index: usize) -> u64 {
        let address = self.mapping.address() + 8 * index as u64;
        // SAFETY: a word of the mapping, which has `LEN` bytes and is there as long as this value; its
        // writer writes it as an atomic, too.
        unsafe { &*(address as *const AtomicU64) }.load(Ordering::Relaxed)
    }
}
