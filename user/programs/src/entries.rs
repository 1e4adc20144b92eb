//! At which of their entries into the kernel the suite ends processes.

use core::fmt;
use core::str::FromStr;

/// The entries into the kernel at which cases end their processes: one after the other, or a share of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entries {
    first: u64,
    step: usize,
    last: u64,
}

impl Entries {
    /// Those of the suite.
    pub const USUAL: Entries = Entries {
        first: 1,
        step: 1,
        last: 300,
    };

    /// All that there are.
    pub const ALL: Entries = Entries {
        last: u64::MAX,
        ..Entries::USUAL
    };

    /// One after the other.
    pub fn iter(self) -> impl Iterator<Item = u64> {
        (self.first..=self.last).step_by(self.step)
    }
}

impl fmt::Display for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.step)
    }
}

/// Reads `K/N`: of the usual ones each N-th from the K-th on. N is odd: at every other entry processes are on one CPU, and on
/// two at the rest.
impl FromStr for Entries {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Entries, &'static str> {
        let numbers = text.split_once('/').and_then(|(first, step)| {
            let (first, step) = (first.parse().ok()?, step.parse().ok()?);
            let good = step % 2 == 1 && (1..=step).contains(&first);
            good.then_some((first as u64, step))
        });
        let (first, step) = numbers.ok_or("K/N is needed, N odd and K from 1 to N")?;
        Ok(Entries {
            first,
            step,
            ..Entries::USUAL
        })
    }
}
