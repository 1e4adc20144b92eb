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
    Books, Class, Frame, Layout, Payload, Pool, Refused, RegionId, RegionRef, Regions, Side,
    SlotRef, SlotWords,
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
pub const POOL_BYTES: usize = 128 + 64 + 4 * 64 + 2 * 192;

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

/// Regions of which there is nothing but their length; which token the peer has granted says what becomes of it.
#[derive(Default)]
struct Lengths {
    /// Regions of this side that were given up.
    given_up: u32,
}

/// What becomes of a token.
fn refused(token: u64) -> Option<Refused<()>> {
    match token % 4 {
        0 => Some(Refused::Fault),
        1 => Some(Refused::NoRoom(())),
        2 if token % 8 == 6 => Some(Refused::Gone),
        _ => None,
    }
}

impl Regions for Lengths {
    type Pool = PoolMemory;
    type Taken = u64;
    type Error = ();

    fn take(&mut self, token: u64, length: u64) -> Result<u64, Refused<()>> {
        refused(token).map_or(Ok(length), Err)
    }

    fn take_pool(&mut self, token: u64, layout: &Layout) -> Result<PoolMemory, Refused<()>> {
        check_layout(layout);
        Err(refused(token).unwrap_or(Refused::Fault))
    }

    fn give_up(&mut self, _: RegionId) {
        self.given_up += 1;
    }

    fn give_up_all(&mut self) {}
}

/// Both sides of a seat.
struct Seat {
    host: Books<Lengths, 2>,
    /// Where the host's pool is.
    base: NonNull<u8>,
    /// Regions of the host that were published.
    published: u32,
    guest: Pool<PoolMemory>,
    words: PoolMemory,
    received: [Option<SlotRef>; HELD],
    /// What it has received last that is in a region, and whether the region came with it.
    part: Option<(RegionRef, bool)>,
    own: [Option<(SlotRef, u8)>; HELD],
    /// The words are what honest sides have made of them.
    honest: bool,
}

impl Seat {
    /// A message as the host takes it.
    fn receive(&mut self, message: &[u8]) {
        let frame = Frame::decode(message);
        if let Ok(frame) = frame {
            let mut again = [0; MESSAGE_BYTES];
            assert_eq!(frame.encode(&mut again), Ok(message.len()), "{frame:?}");
            assert_eq!(&again[..message.len()], message, "{frame:?}");
        }
        let is_pool = matches!(frame, Ok(Frame::Grown { .. }));
        match self.host.receive(message) {
            Ok(Some((_, Payload::Inline(bytes)))) => assert_eq!(bytes.len() + 8, message.len()),
            Ok(Some((_, Payload::Slot(slot)))) => {
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
            Ok(Some((_, Payload::Region(region)))) => {
                let end = region.offset.checked_add(region.length);
                let taken = self.host.resolve(region).expect("it was told of just now");
                let within = |length: &u64| end.is_some_and(|end| end <= *length);
                assert!(taken.as_ref().map_or(true, within));
                self.finish_part();
                let whole = matches!(frame, Ok(Frame::Whole { .. }));
                self.part = Some((region, whole));
            }
            Ok(None) => assert!(frame.is_ok() && !is_pool),
            Err(refused) => assert_eq!(refused, Refused::Fault, "a host has no room to run out of"),
        }
        assert!(self.host.regions().given_up <= self.published);
        // To a guest only its host says that.
        if is_pool {
            let mut guest = Books::<Lengths, 1>::new(Side::Guest, Lengths::default());
            assert!(guest.receive(message).is_err());
        }
    }

    /// The host has read what is in a region, and keeps no region that came with its only message.
    fn finish_part(&mut self) {
        if let Some((part, whole)) = self.part.take() {
            self.host.finish(part.region);
            assert!(!whole || self.host.resolve(part).is_err());
        }
    }

    /// The host reads what is in a slot that it was sent, and gives it back.
    fn finish(&mut self, which: usize) {
        let Some(slot) = self.received[which].take() else {
            return;
        };
        let mut target = [0; 256];
        let length = slot.length as usize;
        let pools = self.host.pools();
        let read = pools.read(slot, 0, &mut target[..length]);
        assert!(read.is_ok() || read == Err(Error::PeerFault));
        let beyond = pools.read(slot, 1, &mut target[..length]);
        assert!(beyond.is_err());
        let released = pools.release(slot);
        assert!(released.is_ok() || released == Err(Error::PeerFault));
        let tells = pools.must_tell_peer(slot);
        assert!(
            !(tells && pools.must_tell_peer(slot)),
            "it was told just now"
        );
        let twice = pools.release(slot);
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
        self.receive(&message[..length]);
    }

    /// The host takes a slot and fills it; the guest reads it, and can't write it.
    fn send_own(&mut self, script: &mut Script<'_>) {
        let (fill, length) = (script.byte(), usize::from(script.byte()) % 200);
        let Some(place) = self.own.iter().position(Option::is_none) else {
            return;
        };
        let slot = match self.host.pools().allocate(length) {
            Ok(slot) => slot,
            Err(error) => {
                // Who is told to sleep has nothing, and is not told so for what never comes.
                assert!(self.host.arm(length) || error == Error::TooLarge);
                if fill.is_multiple_of(2) {
                    self.host.disarm();
                }
                return;
            }
        };
        assert!(!self.host.arm(length) || self.host.pools().allocate(length).is_err());
        let written = self.host.pools().write(slot, 0, &[fill; 200][..length]);
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
            false => self.host.pools().withdraw(slot),
        };
        if self.honest {
            assert_eq!((read, ended), (Ok(()), Ok(())));
            assert!(target[..length].iter().all(|byte| *byte == fill));
        }
    }

    /// The guest writes any word, or one that may be right.
    fn lie(&mut self, script: &mut Script<'_>) {
        let number = u32::from(script.byte()) % (SLOTS + 2);
        let Some(word) = self.words.word(number) else {
            let side = [Side::Host, Side::Guest][(number - SLOTS) as usize];
            let waits = script.number() as u32;
            self.words.waits(side).store(waits, Ordering::Relaxed);
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
        self.finish_part();
        self.host.reclaim_slots();
        self.host.drop_leases();
        (self.host, self.published) = (host_books(self.base), 0);
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

/// Of classes that a peer tells of, there is a layout in which nothing overlaps and nothing wraps, or none.
fn check_layout(layout: &Layout) {
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
}

/// The classes of the pool.
fn layout() -> Layout {
    Layout::new(&CLASSES).expect("two classes")
}

/// The pool, at an address that [`play`] was given.
fn memory(base: NonNull<u8>) -> PoolMemory {
    // SAFETY: the contract of `play`, which alone calls this or has it called; all of it is reached as atomics.
    let memory = unsafe { PoolMemory::from_raw(base, POOL_BYTES as u64, &layout()) };
    memory.expect("it is as long as the layout")
}

/// What a host knows of a guest that has just come.
fn host_books(base: NonNull<u8>) -> Books<Lengths, 2> {
    let mut books = Books::new(Side::Host, Lengths::default());
    books.grow(memory(base), layout()).expect("the first");
    books
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
    let layout = layout();
    assert_eq!((layout.bytes(), layout.slots()), (POOL_BYTES as u64, SLOTS));
    let words = memory(guest);
    for number in 0..SLOTS {
        let word = words.word(number).expect("a slot");
        word.store(0, Ordering::Relaxed);
    }
    for side in [Side::Host, Side::Guest] {
        words.waits(side).store(0, Ordering::Relaxed);
    }
    let mut seat = Seat {
        host: host_books(host),
        base: host,
        published: 0,
        guest: Pool::new(memory(guest), layout, Side::Guest),
        words,
        received: [None; HELD],
        part: None,
        own: [None; HELD],
        honest: true,
    };
    let script = &mut Script::new(script);
    while !script.is_over() {
        let step = script.byte();
        match step % 12 {
            0 => {
                let length = usize::from(script.byte()) % MESSAGE_BYTES;
                let mut message = [0; MESSAGE_BYTES];
                message[..length].fill_with(|| script.byte());
                seat.receive(&message[..length]);
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
                let (region, token, length) = (region(script), script.number(), script.number());
                let frame = match step < 128 {
                    true => Frame::Published {
                        region,
                        token,
                        length,
                    },
                    false => Frame::Whole {
                        tag: 7,
                        region,
                        token,
                        length,
                    },
                };
                seat.send(frame, script);
            }
            6 => {
                // The host has published and leased something that the guest may release, more than once.
                if let Ok(id) = seat.host.publish_whole(4096) {
                    seat.published += 1;
                    let leased = seat.host.lease(id, script.number(), script.number());
                    assert!(leased.is_ok_and(|part| part.region == id) || leased.is_err());
                }
                let region = region(script);
                let frame = match step < 128 {
                    true => Frame::Released { region },
                    false => Frame::Withdrawn { region },
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
                    token: script.number(),
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
                which => {
                    seat.finish(usize::from(which));
                    seat.finish_part();
                }
            },
            _ => seat.lie(script),
        }
    }
    seat.recover();
}
