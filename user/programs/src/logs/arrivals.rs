//! Those who come to the collector: at first they are at its door, then they have a ring and nobody knows whose it is,
//! and what they say first is which writer they are.
//!
//! Whoever finds the collector may come, so each step has room for few, and whom the system refuses something takes
//! nobody's place. Who is none of the writers is not waited for.

use alloc::vec::Vec;

use ring::sabotaged;

use super::collector::Collector;
use super::decode_hello;

/// Those who have come.
#[derive(Debug)]
pub struct Arrivals {
    writers: usize,
    /// Writers whose processes have not ended.
    running: usize,
    /// The rings of those who have not said who they are.
    silent: Vec<usize>,
    /// Which writer's each ring is, once it has said so.
    whose: Vec<Option<usize>>,
    /// Every writer's process has ended, and all that they sent was received.
    all_heard: bool,
}

/// Of whom a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Of this writer: a part of a line.
    Writer(usize),
    /// Of who says by it which writer it is.
    Greeting,
    /// Of nobody who has something to say here: its ring is to be taken out.
    Stranger,
}

impl Arrivals {
    /// So many writers have been started, and nobody has come.
    pub fn new(writers: usize) -> Arrivals {
        Arrivals {
            writers,
            running: writers,
            silent: Vec::new(),
            whose: Vec::new(),
            all_heard: false,
        }
    }

    /// Whether so many are there of whom nobody knows who they are that one more is sent away: writers are no more than half
    /// as many.
    fn is_crowded(&self, strangers: usize) -> bool {
        strangers >= 2 * self.writers && !sabotaged!("logs_let_everybody_in")
    }

    /// Somebody has come to the door, where so many are. Whether it may stay: it must be possible to wait for what it says.
    pub fn let_in<E>(&self, at_door: usize, wait: impl FnOnce() -> Result<(), E>) -> bool {
        !self.is_crowded(at_door) && wait().is_ok()
    }

    /// Gives a ring to somebody who asks for it: its key, and the end that it sends by. `None`: it is sent away. For
    /// whom there is no ring the collector goes on without.
    pub fn welcome<T, E>(&mut self, add: impl FnOnce() -> Result<(usize, T), E>) -> Option<T> {
        if self.is_crowded(self.silent.len()) {
            return None;
        }
        let (ring, end) = add().ok()?;
        self.silent.push(ring);
        if ring == self.whose.len() {
            self.whose.push(None);
        }
        Some(end)
    }

    /// A message has come by a ring.
    pub fn hear(&mut self, ring: usize, message: &[u8], collector: &Collector) -> Heard {
        if let Some(writer) = self.whose[ring] {
            return Heard::Writer(writer);
        }
        // Whose writer has come and gone is nobody else's either.
        let is_free = |writer: &usize| {
            let expected = collector.expects(*writer) || sabotaged!("logs_writer_comes_back");
            expected && !self.whose.contains(&Some(*writer))
        };
        let writer = decode_hello(message).filter(is_free);
        self.silent.retain(|silent| *silent != ring);
        self.whose[ring] = writer;
        match writer {
            Some(_) => Heard::Greeting,
            None => Heard::Stranger,
        }
    }

    /// A ring has ended. Which writer's it was.
    pub fn end_ring(&mut self, ring: usize) -> Option<usize> {
        self.silent.retain(|silent| *silent != ring);
        self.whose[ring].take()
    }

    /// The process of a writer has ended.
    pub fn end_process(&mut self) {
        self.running -= 1;
    }

    /// Nobody has more to say for now.
    pub fn pause(&mut self) {
        self.all_heard = self.running == 0 && !sabotaged!("logs_waits_beside_silent_rings");
    }

    /// Until when the collector may sleep if nothing comes: not at all while writers that have ended may have sent something.
    pub fn due_ns(&self, collector: &Collector) -> u64 {
        match self.running == 0 && !self.all_heard {
            true => 0,
            false => collector.due_ns().unwrap_or(u64::MAX),
        }
    }

    /// Ends the writers that have not got a ring by now and never will, whoever else of so many has one and says nothing.
    pub fn end_missing(&self, rings: usize, collector: &mut Collector) {
        if self.all_heard || (self.running == 0 && rings == 0) {
            let has_none = |writer: &usize| !self.whose.contains(&Some(*writer));
            let without = (0..self.writers).filter(has_none);
            without.for_each(|writer| collector.end(writer));
        }
    }
}
