//! Ends of channels that strangers gave to a process.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::ops::Deref;

use abi::Error;

use crate::{ChannelEnd, Mutex};

/// The ends that a process keeps for others. A channel both of whose ends are kept here would never be
/// closed, whoever gave them: the second one is refused.
#[derive(Clone, Debug, Default)]
pub struct Ends {
    /// How often each is kept, by its number.
    kept: Arc<Mutex<BTreeMap<u64, usize>>>,
}

impl Ends {
    /// None.
    pub fn new() -> Ends {
        Ends::default()
    }

    /// Keeps an end; needs INSPECT. `Invalid`: the other end is kept too.
    pub fn keep(&self, end: ChannelEnd) -> Result<KeptEnd, Error> {
        let info = end.info()?;
        let mut kept = self.kept.lock();
        if kept.contains_key(&info.peer) {
            return Err(Error::Invalid);
        }
        *kept.entry(info.koid).or_default() += 1;
        drop(kept);
        Ok(KeptEnd {
            end,
            number: info.koid,
            ends: self.clone(),
        })
    }
}

/// An end that is kept until this is dropped.
#[derive(Debug)]
pub struct KeptEnd {
    end: ChannelEnd,
    number: u64,
    ends: Ends,
}

impl Deref for KeptEnd {
    type Target = ChannelEnd;

    fn deref(&self) -> &ChannelEnd {
        &self.end
    }
}

impl Drop for KeptEnd {
    fn drop(&mut self) {
        let mut kept = self.ends.kept.lock();
        if let Some(count) = kept.get_mut(&self.number) {
            *count -= 1;
            if *count == 0 {
                kept.remove(&self.number);
            }
        }
    }
}
