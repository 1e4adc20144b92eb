//! Many producers and one consumer: a ring for each producer, and one place to sleep at for all.
//!
//! No producer writes what another reads or writes, so one that dies in the middle of a message, or writes nonsense,
//! ends its own ring and nobody else's. They are served in turn, one message each, so none is starved by a busy one.
//! Messages of one producer keep their order; those of two have none.
//!
//! What is *not* guaranteed: that looking costs the same however many there are. Each look at an idle producer is a load;
//! for hundreds that are mostly idle a hub, with its map of who has something, is better.

use core::marker::PhantomData;

use abi::ring::Form;

use crate::ends::{RingKind, is_told_once};
use crate::{Consumer, Error, Gather, Wait};

/// The receiving side: places for members, as an array or slice of options, and where to sleep.
pub struct Receiver<K, W, Places, G> {
    places: Places,
    gather: G,
    /// Whose turn it is.
    turn: usize,
    members: PhantomData<Consumer<K, W>>,
}

/// What comes next.
pub enum Next<'a, K, W> {
    /// The member at `place` has something to be received, by the methods of its kind. Leaving it there costs the member
    /// its turn and nobody anything else.
    Ready {
        /// Its place.
        place: usize,
        /// Its ring.
        consumer: &'a mut Consumer<K, W>,
    },
    /// The member at `place` has ended, and all that it sent was received. The place is free.
    Ended {
        /// Its place.
        place: usize,
        /// What was there.
        consumer: Consumer<K, W>,
        /// How it ended: [`Error::PeerClosed`], [`Error::PeerDied`], [`Error::Revoked`], [`Error::PeerFault`], or
        /// [`Error::Closed`] when it was this side.
        why: Error,
    },
}

impl<K, W> core::fmt::Debug for Next<'_, K, W> {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Ready { place, .. } => write!(formatter, "Ready at {place}"),
            Self::Ended { place, why, .. } => write!(formatter, "Ended at {place}: {why}"),
        }
    }
}

impl<K, W, Places, G> Receiver<K, W, Places, G>
where
    K: RingKind,
    W: Wait,
    Places: AsMut<[Option<Consumer<K, W>>]>,
    G: Gather,
{
    /// Receives from those in `places`, and from who joins later. It sleeps at `gather`.
    ///
    /// # Errors
    /// [`Error::Unsupported`]: one of them is asymmetric, and `gather` has no barrier.
    pub fn new(mut places: Places, gather: G) -> Result<Self, Error> {
        let members = places.as_mut().iter().flatten();
        if members
            .into_iter()
            .any(|member| member.form() == Form::Asymmetric)
        {
            gather.barrier()?;
        }
        Ok(Self {
            places,
            gather,
            turn: 0,
            members: PhantomData,
        })
    }

    /// Takes in one more and returns its place. Its peer must wake this side where `gather` sleeps.
    ///
    /// # Errors
    /// With the member: [`Error::Full`]: no place is free; [`Error::Unsupported`]: it is asymmetric, and there is no barrier.
    pub fn join(&mut self, member: Consumer<K, W>) -> Result<usize, (Consumer<K, W>, Error)> {
        if member.form() == Form::Asymmetric
            && let Err(error) = self.gather.barrier()
        {
            return Err((member, error));
        }
        let mut places = self.places.as_mut().iter_mut().enumerate();
        match places.find(|(_, place)| place.is_none()) {
            Some((number, place)) => {
                *place = Some(member);
                Ok(number)
            }
            None => Err((member, Error::Full)),
        }
    }

    /// Takes out the member at a place, with whatever it has not received.
    pub fn leave(&mut self, place: usize) -> Option<Consumer<K, W>> {
        self.places.as_mut().get_mut(place)?.take()
    }

    /// The member at a place.
    pub fn member(&mut self, place: usize) -> Option<&mut Consumer<K, W>> {
        self.places.as_mut().get_mut(place)?.as_mut()
    }

    /// How many members there are.
    pub fn members(&mut self) -> usize {
        self.places.as_mut().iter().flatten().count()
    }

    /// Where it sleeps.
    pub fn gather(&self) -> &G {
        &self.gather
    }

    /// The places, for who has more of them made. A member that is put there goes without the look at its form of
    /// [`join`](Receiver::join), and is asked for it at the next sleep.
    pub fn places(&mut self) -> &mut Places {
        &mut self.places
    }

    /// The next member in turn that has something or has ended.
    ///
    /// # Errors
    /// [`Error::Empty`]: there is none now.
    pub fn try_next(&mut self) -> Result<Next<'_, K, W>, Error> {
        let found = self.look().ok_or(Error::Empty)?;
        self.take(found).ok_or(Error::Empty)
    }

    /// The first in turn that has something or has ended, and which of both.
    fn look(&mut self) -> Option<(usize, Result<(), Error>)> {
        let places = self.places.as_mut();
        let (before, from_turn) = places.split_at_mut(self.turn.min(places.len()));
        let turn = before.len();
        let in_turn = (turn..).zip(from_turn).chain((0..).zip(before));
        let mut members = in_turn.filter_map(|(number, place)| Some((number, place.as_mut()?)));
        members.find_map(|(number, member)| match member.check() {
            Err(Error::Empty) => None,
            answer => Some((number, answer)),
        })
    }

    /// The next member in turn, sleeping while no member has anything until `deadline_ns`: absolute monotonic
    /// nanoseconds, 0 = only look where it would sleep, `u64::MAX` = for ever.
    ///
    /// Without members it sleeps, too, until [`Gather::wait`] returns, and then answers [`Error::Empty`]: who is to join may
    /// be announced there.
    ///
    /// # Errors
    /// [`Error::Empty`]: something woke it, and it was no message; and what [`Gather::wait`] may answer.
    pub fn next(&mut self, deadline_ns: u64) -> Result<Next<'_, K, W>, Error> {
        if let Some(found) = self.look() {
            return self.take(found).ok_or(Error::Empty);
        }
        let answer = self.sleep(deadline_ns);
        let members = self.places.as_mut().iter_mut().flatten();
        members.for_each(Consumer::disarm);
        // What is there by now is taken first, whatever else the wait said.
        if answer.is_err_and(is_told_once) {
            answer?;
        }
        match self.look() {
            Some(found) => self.take(found).ok_or(Error::Empty),
            None => Err(answer.err().unwrap_or(Error::Empty)),
        }
    }

    fn sleep(&mut self, deadline_ns: u64) -> Result<(), Error> {
        let mut asymmetric = false;
        for member in self.places.as_mut().iter_mut().flatten() {
            asymmetric |= member.form() == Form::Asymmetric;
            let armed = matches!(member.arm(), Ok(Some(_)));
            if !armed && !crate::sabotaged!("gathered_without_last_look") {
                return Ok(());
            }
        }
        if asymmetric {
            self.gather.barrier()?;
            if self.look().is_some() {
                return Ok(());
            }
        }
        self.gather.wait(deadline_ns)
    }

    /// What a look has found, whose turn it was.
    fn take(&mut self, (number, answer): (usize, Result<(), Error>)) -> Option<Next<'_, K, W>> {
        if !crate::sabotaged!("turn_not_passed_on") {
            self.turn = number + 1;
        }
        let member = self.places.as_mut().get_mut(number)?;
        Some(match answer {
            Ok(()) => Next::Ready {
                place: number,
                consumer: member.as_mut()?,
            },
            Err(why) => Next::Ended {
                place: number,
                consumer: member.take()?,
                why,
            },
        })
    }
}
