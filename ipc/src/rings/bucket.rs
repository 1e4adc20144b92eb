//! How often a ring may interrupt the CPUs of its ends.

use abi::limits::{RING_BARRIER_NS, RING_BARRIERS};

/// How long an empty one takes to be full.
const CAPACITY_NS: u64 = RING_BARRIERS * RING_BARRIER_NS;

/// What is left of it: a token for each barrier, so many at once, and one more every so often.
///
/// The generic cell rate algorithm (ITU-T I.371): one number instead of a level and the time it was true at.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// When it will be full again, in ns.
    full_at: u64,
}

impl Bucket {
    /// A full one.
    pub(crate) const fn new() -> Bucket {
        Bucket { full_at: 0 }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// When there will be one, in ns: there is none.
    pub(crate) fn take(&mut self, now_ns: u64) -> Result<(), u64> {
        let full_at = self.full_at.max(now_ns) + RING_BARRIER_NS;
        if full_at - now_ns > CAPACITY_NS && !mm::sabotaged!("ring_barriers_unlimited") {
            return Err(full_at - CAPACITY_NS);
        }
        self.full_at = full_at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_at_once_and_then_one_at_a_time() {
        let mut bucket = Bucket::new();
        let start = 1_000_000;
        for _ in 0..RING_BARRIERS {
            assert_eq!(bucket.take(start), Ok(()));
        }
        let next = start + RING_BARRIER_NS;
        for now in [start, start + 1, next - 1] {
            assert_eq!(bucket.take(now), Err(next));
        }
        assert_eq!(bucket.take(next), Ok(()));
        assert!(bucket.take(next).is_err());
        // Long after, it is full and not fuller.
        let later = next + 1000 * RING_BARRIERS * RING_BARRIER_NS;
        let taken = (0..2 * RING_BARRIERS).filter(|_| bucket.take(later).is_ok());
        assert_eq!(taken.count() as u64, RING_BARRIERS);
    }
}
