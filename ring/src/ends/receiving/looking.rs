//! What is there to receive: how the words of a producer that may be hostile are looked at, and what is believed of them.

use abi::ring::{End, Kind};

use super::Consumer;
use crate::Error;
use crate::ends::{BOTH_OPEN, RingKind, why_not_open};
use crate::index::waiting;
use crate::wait::Wait;

impl<K: RingKind, W: Wait> Consumer<K, W> {
    /// Slots or bytes that are there, as far as the producer's tail tells.
    ///
    /// # Errors
    /// [`Error::PeerFault`].
    pub fn len(&mut self) -> Result<u32, Error> {
        if self.poisoned {
            return Err(Error::PeerFault);
        }
        if K::KIND != Kind::Slot {
            let tail = self.memory.tail().load_acquire();
            self.judge_tail(tail);
            return self.nothing::<u32>().map(|_| self.known());
        }
        let tail = self.memory.tail().load_acquire();
        match waiting(K::KIND, tail, self.head, self.most()) {
            Some(_) if crate::sabotaged!("slot_tail_read_twice") => {
                Ok(self.memory.tail().load_acquire().wrapping_sub(self.head))
            }
            Some(length) => Ok(length),
            None => Err(self.poison()),
        }
    }

    /// Whether nothing is there, as far as the producer's tail tells.
    ///
    /// # Errors
    /// [`Error::PeerFault`].
    pub fn is_empty(&mut self) -> Result<bool, Error> {
        self.len().map(|length| length == 0)
    }

    /// What is next. When that is nothing, everything is given back, and then the states are looked at before the last
    /// look: what was sent before an end closed comes before the answer that it closed.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Result<K::Found, Error> {
        match K::look(self)? {
            Some(found) => Ok(found),
            None => self.last_look(),
        }
    }

    /// The same for who has looked and found nothing.
    #[cold]
    #[inline(never)]
    pub(crate) fn last_look(&mut self) -> Result<K::Found, Error> {
        self.flush();
        // SYNC(ring.close): what was sent before the end closed is visible to the look after these loads.
        let own = self.memory.state(End::Consumer).load_acquire();
        let peer = self.memory.state(End::Producer).load_acquire();
        if u64::from(peer) | u64::from(own) << 32 == BOTH_OPEN {
            return Err(Error::Empty);
        }
        let answer = why_not_open(own, peer);
        match crate::sabotaged!("last_look_missing") {
            true => Err(answer),
            false => K::look(self)?.ok_or(answer),
        }
    }

    /// Whether something is there.
    pub(crate) fn check(&mut self) -> Result<(), Error> {
        self.next().map(drop)
    }

    /// How much the tail says is there, where the tail is the publication. It is looked at if less than `wanted` is known.
    #[inline(always)]
    pub(crate) fn available(&mut self, wanted: u32) -> u32 {
        let known = self.known();
        match known >= wanted {
            true => known,
            false => self.look_at_tail(wanted),
        }
    }

    #[inline(always)]
    fn known(&self) -> u32 {
        self.tail.wrapping_sub(self.head)
    }

    /// Takes over the producer's tail if it tells of `wanted`, which is more than was known, and of no more than can be.
    #[inline(always)]
    fn look_at_tail(&mut self, wanted: u32) -> u32 {
        // SYNC(ring.publish): who sees the tail sees what is before it.
        let tail = self.memory.tail().load_acquire();
        match self.accept(self.head, tail, wanted) {
            Some(tail) => self.tail = tail,
            None if tail == self.tail => {}
            None => self.judge_tail(tail),
        }
        self.known()
    }

    /// The tail if it tells of `wanted` behind `head`, which the caller has loaded, and of no more than can be. Otherwise
    /// nothing was judged.
    #[inline(always)]
    pub(crate) fn glance(&self, head: u32, wanted: u32) -> Option<u32> {
        // SYNC(ring.publish): who sees the tail sees what is before it.
        let tail = self.memory.tail().load_acquire();
        self.accept(head, tail, wanted)
    }

    #[inline(always)]
    fn accept(&self, head: u32, tail: u32, wanted: u32) -> Option<u32> {
        let there = tail.wrapping_sub(head);
        let most = self.surely();
        let possible = wanted <= there && there <= most && there.is_multiple_of(K::GRANULE);
        possible.then(|| self.as_judged(tail))
    }

    /// The word that was judged, and no other that is there by now.
    #[inline(always)]
    fn as_judged(&self, tail: u32) -> u32 {
        let read_twice = match K::KIND {
            Kind::Slot => false,
            Kind::Byte => crate::sabotaged!("byte_tail_read_twice"),
            Kind::Packet => crate::sabotaged!("tail_read_twice"),
        };
        match read_twice {
            true => self.memory.tail().load_acquire(),
            false => tail,
        }
    }

    /// Takes over any tail that is between the last one and the furthest that an honest producer can come to. Of a peer that
    /// is not believed nothing is there: see [`Consumer::nothing`].
    #[cold]
    #[inline(never)]
    fn judge_tail(&mut self, tail: u32) {
        let there = tail.wrapping_sub(self.head);
        let possible = !self.poisoned
            && (self.known()..=self.most()).contains(&there)
            && there.is_multiple_of(K::GRANULE);
        if !possible && !crate::sabotaged!("tail_not_checked") {
            self.poison();
            return;
        }
        self.tail = self.as_judged(tail);
    }

    /// What a look answers that found nothing behind the head.
    pub(crate) fn nothing<Found>(&self) -> Result<Option<Found>, Error> {
        match self.poisoned {
            true => Err(Error::PeerFault),
            false => Ok(None),
        }
    }

    /// The most that an honest producer can have published behind the head: it has no room for more before it is told of
    /// what was received.
    #[inline(always)]
    fn most(&self) -> u32 {
        match crate::sabotaged!("limit_by_own_head") {
            true => self.capacity,
            false => self.capacity.saturating_sub(self.held_back()),
        }
    }

    /// At most that, outside of a batch, and none that must be worked out.
    #[inline(always)]
    fn surely(&self) -> u32 {
        match crate::sabotaged!("geometry_from_shared_memory") {
            #[cfg(not(loom))]
            true => self.memory.shared_capacity(),
            _ => self.surely,
        }
    }

    /// Whether an honest producer has had room for `extent` behind the head, also where a batch has given nothing back for
    /// long. So no batch is longer than a ring.
    ///
    /// # Errors
    /// [`Error::PeerFault`].
    #[inline(always)]
    pub(crate) fn check_batch(&mut self, extent: u32) -> Result<(), Error> {
        match extent > self.most() && !crate::sabotaged!("batch_without_limit") {
            true => Err(self.poison()),
            false => Ok(()),
        }
    }

    /// Believes the peer no more. Nothing is known to be there, so that who looks for more comes where this is asked.
    #[cold]
    #[inline(never)]
    pub(crate) fn poison(&mut self) -> Error {
        self.poisoned = true;
        self.tail = self.head;
        self.surely = 0;
        self.lengths = 0;
        Error::PeerFault
    }
}
