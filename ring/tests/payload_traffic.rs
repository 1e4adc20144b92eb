//! What is counted of payloads is what was done with them, whichever of the three rooms there was none in.
#![cfg(not(loom))]

mod common;

use std::collections::VecDeque;
use std::ptr::NonNull;

use common::cases;
use proptest::prelude::*;
use ring::Error;
use ring::memory::pool::PoolMemory;
use ring::payload::layout::MAX_CLASSES;
use ring::payload::traffic::Count;
use ring::payload::{
    Books, Class, Frame, Layout, Payload, Refused, RegionId, RegionRef, Regions, Side, SlotRef,
    Traffic, What,
};

/// Bytes that go inline, messages that fit the ring, and regions at a time.
const INLINE: usize = 16;
const RING: usize = 3;
const REGIONS: usize = 2;
const CLASS: Class = Class {
    slot_bytes: 64,
    count: 2,
};
/// What becomes of a region by its token.
const NO_ROOM: u64 = 1;
const GONE: u64 = 2;

/// Takes what its tokens say.
struct Tokens(NonNull<u8>);

impl Regions for Tokens {
    type Pool = PoolMemory;
    type Taken = ();
    type Error = ();

    fn take(&mut self, token: u64, _: u64) -> Result<(), Refused<()>> {
        match token {
            NO_ROOM => Err(Refused::NoRoom(())),
            GONE => Err(Refused::Gone),
            _ => Ok(()),
        }
    }

    fn take_pool(&mut self, token: u64, layout: &Layout) -> Result<PoolMemory, Refused<()>> {
        match token {
            NO_ROOM => Err(Refused::NoRoom(())),
            // SAFETY: the lines outlive both sides, which reach them as atomics alone.
            _ => Ok(unsafe { PoolMemory::from_raw(self.0, layout.bytes(), layout) }.unwrap()),
        }
    }

    fn give_up(&mut self, _: RegionId) {}

    fn give_up_all(&mut self) {}
}

/// What was done, as the test sees it.
#[derive(Default)]
struct Done {
    sent: [Count; 9],
    received: [Count; 9],
    /// No slot, no region, no place in the ring; sleeps; unaffordable, gone, faults.
    others: [u64; 7],
}

impl Done {
    fn check(&self, traffic: &Traffic) -> Result<(), TestCaseError> {
        use What::{Freed, Grown, Inline, Part, Published, Released, Slot, Whole, Withdrawn};
        let whats = [
            Inline, Slot, Whole, Part, Published, Released, Withdrawn, Grown, Freed,
        ];
        for what in whats {
            prop_assert_eq!(traffic.sent[what], self.sent[what as usize]);
            prop_assert_eq!(traffic.received[what], self.received[what as usize]);
        }
        let others = [
            traffic.no_slot,
            traffic.no_region,
            traffic.no_ring,
            traffic.sleeps,
            traffic.unaffordable,
            traffic.gone,
            traffic.faults,
        ];
        prop_assert_eq!(others, self.others);
        Ok(())
    }
}

/// One side: its books, what it hears, and what it has done.
struct Party {
    books: Books<Tokens, REGIONS>,
    inbox: VecDeque<(What, u64, Vec<u8>)>,
    held: VecDeque<Result<SlotRef, RegionId>>,
    published: Option<RegionId>,
    done: Done,
}

impl Party {
    fn new(side: Side, base: NonNull<u8>) -> Party {
        Party {
            books: Books::new(side, Tokens(base)),
            inbox: VecDeque::new(),
            held: VecDeque::new(),
            published: None,
            done: Done::default(),
        }
    }

    /// Sends a message if the ring has room for it.
    fn put(&mut self, peer: &mut Party, what: What, bytes: u64, frame: &Frame<'_>) -> bool {
        let mut message = vec![0; 128];
        let length = frame.encode(&mut message).unwrap();
        message.truncate(length);
        let fits = peer.inbox.len() < RING;
        let outcome = match fits {
            true => Ok(()),
            // As who was patient is told, and who was not.
            false if bytes.is_multiple_of(2) => Err(Error::TimedOut),
            false => Err(Error::Full),
        };
        assert_eq!(self.books.sent(frame, outcome), outcome);
        if fits {
            self.done.sent[what as usize] += Count { messages: 1, bytes };
            peer.inbox.push_back((what, bytes, message));
        } else {
            self.done.others[2] += 1;
        }
        fits
    }

    /// Sends a payload wherever it fits.
    fn send(&mut self, peer: &mut Party, len: usize, token: u64) {
        let (tag, length) = (1, len as u64);
        if len <= INLINE {
            let bytes = &[7; INLINE][..len];
            self.put(peer, What::Inline, length, &Frame::Inline { tag, bytes });
            return;
        }
        match self.books.allocate(len) {
            Ok(slot) => {
                if !self.put(peer, What::Slot, length, &Frame::Slot { tag, slot }) {
                    self.books.pools().withdraw(slot).unwrap();
                }
            }
            Err(Error::Full) => self.done.others[0] += 1,
            Err(_) => match self.books.publish_whole(length) {
                Ok(region) => {
                    let whole = Frame::Whole {
                        tag,
                        region,
                        token,
                        length,
                    };
                    match self.put(peer, What::Whole, length, &whole) {
                        true => _ = self.books.lease(region, 0, length).unwrap(),
                        false => self.books.withdraw(region).unwrap(),
                    }
                }
                Err(_) => self.done.others[1] += 1,
            },
        }
    }

    /// Publishes a region, or sends a part of the one that is published, or withdraws it.
    fn send_part(&mut self, peer: &mut Party, length: u64, token: u64) {
        let Some(region) = self.published else {
            let Ok(region) = self.books.publish(length) else {
                self.done.others[1] += 1;
                return;
            };
            let published = Frame::Published {
                region,
                token,
                length,
            };
            match self.put(peer, What::Published, length, &published) {
                true => self.published = Some(region),
                false => self.books.withdraw(region).unwrap(),
            }
            return;
        };
        if token == GONE || self.books.lease(region, 0, 1).is_err() {
            if self.books.check_withdrawal(region).is_ok()
                && self.put(peer, What::Withdrawn, 0, &Frame::Withdrawn { region })
            {
                self.books.withdraw(region).unwrap();
                self.published = None;
            }
            return;
        }
        let part = RegionRef {
            region,
            offset: 0,
            length: 1,
        };
        let frame = Frame::Region {
            tag: 1,
            region: part,
        };
        if !self.put(peer, What::Part, 1, &frame) {
            self.books.unlease(region).unwrap();
        }
    }

    fn receive(&mut self) {
        let Some((what, bytes, message)) = self.inbox.pop_front() else {
            return;
        };
        let is_new = matches!(what, What::Whole | What::Published);
        let token = match is_new {
            true => u64::from_le_bytes(message[16..24].try_into().unwrap()),
            false => 0,
        };
        let refused = [NO_ROOM, GONE]
            .iter()
            .position(|why| is_new && token == *why);
        if let Some(why) = refused {
            self.done.others[4 + why] += 1;
        }
        match self.books.receive(&message) {
            Ok(received) => {
                self.done.received[what as usize] += Count { messages: 1, bytes };
                self.held.extend(match received {
                    Some((_, Payload::Slot(slot))) => Some(Ok(slot)),
                    Some((_, Payload::Region(part))) => Some(Err(part.region)),
                    _ => None,
                });
            }
            Err(_) => self.done.others[6] += 1,
        }
    }

    fn finish(&mut self, peer: &mut Party) {
        match self.held.pop_front() {
            Some(Ok(slot)) => {
                self.books.pools().release(slot).unwrap();
                if self.books.pools().must_tell_peer(slot) {
                    self.put(peer, What::Freed, 0, &Frame::Freed);
                }
            }
            Some(Err(region)) => {
                match self.put(peer, What::Released, 0, &Frame::Released { region }) {
                    true => self.books.finish(region),
                    false => self.held.push_front(Err(region)),
                }
            }
            None => {}
        }
    }

    fn sleep(&mut self, len: usize) {
        self.done.others[3] += u64::from(self.books.arm(len));
    }

    fn hear_nonsense(&mut self) {
        assert_eq!(self.books.receive(&[99; 8]), Err(Refused::Fault));
        self.done.others[6] += 1;
    }
}

/// Which side does what, with how much, and by which token.
fn steps() -> impl Strategy<Value = Vec<(bool, u8, usize, u64)>> {
    let len = prop_oneof![0..=INLINE, INLINE + 1..=64, 65..200usize];
    let token = prop_oneof![3 => Just(0), 1 => Just(NO_ROOM), 1 => Just(GONE)];
    prop::collection::vec((any::<bool>(), 0..8u8, len, token), 0..160)
}

#[repr(align(64))]
#[derive(Clone)]
struct Line(#[allow(dead_code, reason = "reached by its address")] [u64; 8]);

proptest! {
    #![proptest_config(cases(128, 4))]

    #[test]
    fn what_is_counted_is_what_was_done(steps in steps()) {
        let layout = Layout::new(&[CLASS]).unwrap();
        let mut lines = vec![Line([0; 8]); layout.bytes().div_ceil(64) as usize];
        let base = NonNull::from(lines.as_mut_slice()).cast::<u8>();
        let mut sides = [Side::Host, Side::Guest].map(|side| Party::new(side, base));
        let mut classes = [Class::default(); MAX_CLASSES];
        classes[0] = CLASS;
        for token in [NO_ROOM, 0] {
            let [host, guest] = &mut sides;
            let grown = Frame::Grown { extent: 0, token, classes };
            host.put(guest, What::Grown, 0, &grown);
            match token {
                NO_ROOM => {
                    let (_, _, message) = guest.inbox.pop_front().unwrap();
                    prop_assert_eq!(guest.books.receive(&message), Err(Refused::NoRoom(())));
                    guest.done.others[4] += 1;
                }
                _ => {
                    let memory = host.books.regions().take_pool(token, &layout).unwrap();
                    host.books.grow(memory, layout).unwrap();
                    guest.receive();
                }
            }
        }
        for (is_host, step, len, token) in steps {
            let [host, guest] = &mut sides;
            let (side, peer) = match is_host {
                true => (host, guest),
                false => (guest, host),
            };
            match step {
                0..=2 => side.send(peer, len, token),
                3 => side.send_part(peer, len as u64 + 1, token),
                4 => side.receive(),
                5 => side.finish(peer),
                6 => side.sleep(len.max(INLINE + 1)),
                _ if token == GONE => side.hear_nonsense(),
                _ => side.receive(),
            }
        }
        for side in &sides {
            side.done.check(side.books.traffic())?;
        }
    }
}
