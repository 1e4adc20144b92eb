//! Plays a script of bytes against the host of a hub: the messages that a guest sends, and what it writes over the words
//! of the pool that it shares with the host.
//!
//! Whatever the script is, the host neither panics nor reaches beyond the slot that it was told of; a message is what it
//! says byte by byte, or nobody's; and as long as only honest words were written, every slot has the holder that it
//! should. The fuzzer and the tests of this crate include this file, and so does the guest suite: it needs `core` alone.

use core::ptr::NonNull;
use core::sync::atomic::Ordering;

use abi::hub::Standing;
use ring::Error;
use ring::memory::pool::PoolMemory;
use ring::payload::layout::{MAX_CLASSES, MAX_SLOTS};
use ring::payload::{
    Class, Frame, Known, Layout, Leases, Pool, Pools, RegionId, RegionRef, Side, SlotRef, SlotWords,
};

use crate::script::Script;

/// Slots of two sizes.
const CLASSES: [Class; 2] = [
    Class {
        slot_bytes: 64,
        count: 4,
    },
    Class {
        slot_bytes: 192,
        count: 2,
    },
];

/// All of them.
const SLOTS: u32 = 6;

/// Bytes of the pool.
pub const POOL_BYTES: usize = 64 + 4 * 64 + 2 * 192;

/// Bytes of the longest message of a script.
const MESSAGE_BYTES: usize = 96;

/// Messages with slots that the host has and has not finished, and slots of its own.
const HELD: usize = 4;

impl Script<'_> {
    fn long(&mut self) -> u64 {
        u64::from(self.word()) | u64::from(self.word()) << 32
    }

    /// Any number, or one that may be right.
    fn number(&mut self) -> u64 {
        match self.byte() {
            255 => self.long(),
            254 => u64::MAX - u64::from(self.byte()),
            253 => self.word().into(),
            small => small.into(),
        }
    }
}

/// Both sides of a seat.
struct Seat {
    host: Pools<PoolMemory>,
    guest: Pool<PoolMemory>,
    words: PoolMemory,
    leases: Leases<2>,
    known: Known<u64, 2>,
    received: [Option<SlotRef>; HELD],
    own: [Option<(SlotRef, u8)>; HELD],
    /// The words are what honest sides have made of them.
    honest: bool,
}

impl Seat {
    /// A message as the host takes it.
    fn receive(&mut self, message: &[u8]) -> Result<(), Error> {
        let frame = Frame::decode(message).inspect_err(|error| {
            assert_eq!(*error, Error::PeerFault);
        })?;
        let mut again = [0; MESSAGE_BYTES];
        assert_eq!(frame.encode(&mut again), Ok(message.len()), "{frame:?}");
        assert_eq!(&again[..message.len()], message, "{frame:?}");
        match frame {
            Frame::Inline { bytes, .. } => assert_eq!(bytes.len() + 8, message.len()),
            Frame::Slot { slot, .. } => {
                self.host.check(slot)?;
                let class = CLASSES[usize::from(slot.class)];
                assert!(slot.extent == 0 && slot.index < class.count);
                assert!(slot.length <= class.slot_bytes);
                let place = self.received.iter().position(Option::is_none);
                let place = place.unwrap_or_else(|| {
                    self.finish(0);
                    0
                });
                self.received[place] = Some(slot);
            }
            Frame::Region { region, .. } => {
                let length = *self.known.resolve(region)?;
                let end = region.offset.checked_add(region.length);
                assert!(end.is_some_and(|end| end <= length));
            }
            Frame::Published { region, length, .. } => {
                self.known.learn(region, length, length)?;
            }
            Frame::Released { region } => {
                let before = self.leases.leases(region);
                self.leases.release(region)?;
                assert_eq!(self.leases.leases(region) + 1, before);
                if before == 1 {
                    self.leases.withdraw(region)?;
                }
            }
            Frame::Grown { classes, .. } => {
                let used = classes.iter().filter(|class| class.slot_bytes > 0).count();
                lay_out(&classes[..used])?;
            }
        }
        Ok(())
    }

    /// The host reads what is in a slot that it was sent, and gives it back.
    fn finish(&mut self, which: usize) {
        let Some(slot) = self.received[which].take() else {
            return;
        };
        let mut target = [0; 256];
        let length = slot.length as usize;
        let read = self.host.read(slot, 0, &mut target[..length]);
        assert!(read.is_ok() || read == Err(Error::PeerFault));
        let beyond = self.host.read(slot, 1, &mut target[..length]);
        assert!(beyond.is_err());
        let released = self.host.release(slot);
        assert!(released.is_ok() || released == Err(Error::PeerFault));
        let twice = self.host.release(slot);
        assert_eq!(twice, Err(Error::PeerFault), "it was given back just now");
    }

    /// The guest sends what is in a slot, of which a byte of the message may be spoilt.
    fn send_slot(&mut self, script: &mut Script<'_>) {
        let bytes = [script.byte(); 200];
        let length = usize::from(script.byte()) % 200;
        let Ok(slot) = self.guest.allocate(length) else {
            return;
        };
        let written = self.guest.write(slot, 0, &bytes[..length]);
        assert_eq!(written, Ok(()), "it was taken just now");
        let tag = script.byte().into();
        self.send(Frame::Slot { tag, slot }, script);
    }

    fn send(&mut self, frame: Frame<'_>, script: &mut Script<'_>) {
        let mut message = [0; MESSAGE_BYTES];
        let length = frame.encode(&mut message).unwrap_or(0);
        let spoilt = usize::from(script.byte());
        if let Some(byte) = message[..length].get_mut(spoilt) {
            *byte ^= script.byte();
        }
        let _ = self.receive(&message[..length]);
    }

    /// The host takes a slot and fills it; the guest reads it, and can't write it.
    fn send_own(&mut self, script: &mut Script<'_>) {
        let (fill, length) = (script.byte(), usize::from(script.byte()) % 200);
        let Some(place) = self.own.iter().position(Option::is_none) else {
            return;
        };
        let Ok(slot) = self.host.allocate(length) else {
            return;
        };
        let written = self.host.write(slot, 0, &[fill; 200][..length]);
        assert_eq!(written, Ok(()), "it was taken just now");
        let mut target = [0; 200];
        assert_eq!(self.guest.read(slot, 0, &mut target[..length]), Ok(()));
        assert!(target[..length].iter().all(|byte| *byte == fill));
        assert_eq!(self.guest.write(slot, 0, &[]), Err(Error::PeerFault));
        self.own[place] = Some((slot, fill));
    }

    /// The guest gives a slot of the host back, or the host takes one back itself.
    fn end_own(&mut self, script: &mut Script<'_>) {
        let (which, by_guest) = (script.byte(), script.byte().is_multiple_of(2));
        let Some((slot, fill)) = self.own[usize::from(which) % HELD].take() else {
            return;
        };
        let mut target = [0; 200];
        let length = slot.length as usize;
        let read = self.guest.read(slot, 0, &mut target[..length]);
        let ended = match by_guest {
            true => self.guest.release(slot),
            false => self.host.withdraw(slot),
        };
        if self.honest {
            assert_eq!((read, ended), (Ok(()), Ok(())));
            assert!(target[..length].iter().all(|byte| *byte == fill));
        }
    }

    /// The guest writes any word, or one that may be right.
    fn lie(&mut self, script: &mut Script<'_>) {
        let number = u32::from(script.byte()) % (SLOTS + 1);
        let Some(word) = self.words.word(number) else {
            return;
        };
        let now = word.load(Ordering::Relaxed);
        let lie = match script.byte() % 4 {
            0 => script.long(),
            1 => now & !0xff | u64::from(script.byte() % 4),
            2 => now.wrapping_add(u64::from(script.byte()) << 32),
            _ => now ^ 1 << (script.byte() % 64),
        };
        self.honest &= lie == now;
        word.store(lie, Ordering::Relaxed);
    }

    /// The guest is gone: what it has is the host's again, whatever it wrote.
    fn recover(&mut self) {
        for which in 0..HELD {
            self.finish(which);
        }
        self.host.reclaim(Side::Guest);
        self.leases.drop_peer();
        self.known = Known::default();
        for number in 0..SLOTS {
            let (class, index) = if number < 4 {
                (0, number)
            } else {
                (1, number - 4)
            };
            let holder = self.guest.holder(class, index);
            assert_ne!(holder, Ok(Some(Side::Guest)), "of {number}");
        }
        if self.honest {
            let own = self.own.iter().flatten().count() as u32;
            assert_eq!(self.guest.free_slots(), SLOTS - own);
        }
    }
}

/// Classes that a peer tells of: a layout in which nothing overlaps and nothing wraps, or none.
fn lay_out(classes: &[Class]) -> Result<(), Error> {
    let layout = Layout::new(classes)?;
    let classes = layout.classes();
    assert!((1..=MAX_CLASSES).contains(&classes.len()));
    assert!(layout.slots() <= MAX_SLOTS);
    let sorted = classes
        .windows(2)
        .all(|two| two[0].slot_bytes < two[1].slot_bytes);
    assert!(sorted);
    let of = |class: &Class| u128::from(class.count) * u128::from(class.slot_bytes);
    let slots: u128 = classes.iter().map(of).sum();
    assert_eq!(
        u128::from(layout.bytes()),
        u128::from(layout.words_bytes()) + slots
    );
    Ok(())
}

/// A reference of a message, by numbers that may be right.
fn region(script: &mut Script<'_>) -> RegionId {
    RegionId {
        slot: script.number() as u32,
        generation: script.number() as u32,
    }
}

/// Plays a script over a pool in memory that the host reaches at one address and the guest at another, or at the same.
///
/// # Safety
/// [`POOL_BYTES`] from both on are the same memory, aligned to 64, writable and reached by nobody else meanwhile.
pub unsafe fn play(script: &[u8], host: NonNull<u8>, guest: NonNull<u8>) {
    let layout = Layout::new(&CLASSES).expect("two classes");
    assert_eq!((layout.bytes(), layout.slots()), (POOL_BYTES as u64, SLOTS));
    let memory = |base| {
        // SAFETY: the contract of this function; all of it is reached as atomics.
        let memory = unsafe { PoolMemory::from_raw(base, POOL_BYTES as u64, &layout) };
        memory.expect("it is as long as the layout")
    };
    let words = memory(guest);
    for number in 0..SLOTS {
        words
            .word(number)
            .expect("a slot")
            .store(0, Ordering::Relaxed);
    }
    let mut host_pools = Pools::default();
    let pool = Pool::new(memory(host), layout, Side::Host);
    host_pools.grow(pool).expect("the first");
    let mut seat = Seat {
        host: host_pools,
        guest: Pool::new(memory(guest), layout, Side::Guest),
        words,
        leases: Leases::default(),
        known: Known::default(),
        received: [None; HELD],
        own: [None; HELD],
        honest: true,
    };
    let script = &mut Script::new(script);
    while !script.is_over() {
        match script.byte() % 12 {
            0 => {
                let length = usize::from(script.byte()) % MESSAGE_BYTES;
                let mut message = [0; MESSAGE_BYTES];
                message[..length].fill_with(|| script.byte());
                let _ = seat.receive(&message[..length]);
            }
            1 | 2 => seat.send_slot(script),
            3 => {
                let slot = SlotRef {
                    extent: script.number() as u16,
                    class: script.number() as u16,
                    index: script.number() as u32,
                    generation: script.number() as u32,
                    length: script.number() as u32,
                };
                seat.send(Frame::Slot { tag: 0, slot }, script);
            }
            4 => {
                let reference = RegionRef {
                    region: region(script),
                    offset: script.number(),
                    length: script.number(),
                };
                let frame = Frame::Region {
                    tag: 7,
                    region: reference,
                };
                seat.send(frame, script);
            }
            5 => {
                let frame = Frame::Published {
                    region: region(script),
                    token: 1,
                    length: script.number(),
                };
                seat.send(frame, script);
            }
            6 => {
                // The host has published and leased something that the guest may release, more than once.
                if let Ok(id) = seat.leases.publish(4096) {
                    let leased = seat.leases.lease(id, script.number(), script.number());
                    assert!(leased.is_ok_and(|part| part.region == id) || leased.is_err());
                }
                let frame = Frame::Released {
                    region: region(script),
                };
                seat.send(frame, script);
            }
            7 => {
                let mut classes = [Class::default(); MAX_CLASSES];
                for class in &mut classes {
                    class.slot_bytes = (script.number() as u32).wrapping_mul(64);
                    class.count = script.number() as u32;
                }
                let extent = script.number() as u16;
                let frame = Frame::Grown {
                    extent,
                    token: 1,
                    classes,
                };
                seat.send(frame, script);
            }
            8 => seat.send_own(script),
            9 => seat.end_own(script),
            10 => match script.byte() % 4 {
                0 => seat.recover(),
                1 => {
                    let word = script.long();
                    let standing = Standing::from_word(word);
                    assert!(standing.is_none_or(|standing| standing.to_word() == word));
                }
                which => seat.finish(usize::from(which)),
            },
            _ => seat.lie(script),
        }
    }
    seat.recover();
}
