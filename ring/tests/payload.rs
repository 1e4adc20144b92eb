//! Payloads beside a ring: the pool against a model, references of all kinds, and how they are written down.
#![cfg(not(loom))]

use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use ring::Error;
use ring::memory::pool::PoolMemory;
use ring::payload::pool::{MAX_EXTENTS, MAX_SLOTS};
use ring::payload::{
    Class, Frame, Known, Layout, Leases, Pool, Pools, RegionId, RegionRef, Side, SlotRef,
};

const CLASSES: [Class; 3] = [
    Class {
        slot_bytes: 4096,
        count: 2,
    },
    Class {
        slot_bytes: 64,
        count: 4,
    },
    Class {
        slot_bytes: 256,
        count: 3,
    },
];

/// Memory of a pool, and both sides of it.
struct Both {
    host: Pool<PoolMemory>,
    guest: Pool<PoolMemory>,
    /// Dropped after them.
    memory: Box<[Line]>,
}

#[repr(align(64))]
#[derive(Clone)]
struct Line([u64; 8]);

impl Both {
    fn new(layout: Layout) -> Both {
        let lines = layout.bytes().div_ceil(64) as usize;
        let mut memory = vec![Line([0; 8]); lines].into_boxed_slice();
        let base = NonNull::from(&mut memory[0]).cast::<u8>();
        let side = |side| {
            // SAFETY: the box stays where it is as long as both pools, and is reached by them alone.
            let memory = unsafe { PoolMemory::from_raw(base, lines as u64 * 64, &layout) };
            Pool::new(memory.unwrap(), layout, side)
        };
        Both {
            host: side(Side::Host),
            guest: side(Side::Guest),
            memory,
        }
    }

    /// Writes a word as a peer may that keeps to nothing.
    fn poke(&mut self, slot: usize, word: u64) {
        let line = &mut self.memory[slot / 8].0[slot % 8];
        // SAFETY: a word of the memory, which all reach as atomics.
        unsafe { AtomicU64::from_ptr(line) }.store(word, Ordering::Relaxed);
    }
}

fn layout() -> Layout {
    Layout::new(&CLASSES).unwrap()
}

#[test]
fn classes_are_sorted_once_and_a_layout_that_can_not_be_is_refused() {
    let sorted: Vec<_> = layout()
        .classes()
        .iter()
        .map(|class| class.slot_bytes)
        .collect();
    assert_eq!(sorted, [64, 256, 4096]);
    let class = |slot_bytes, count| Class { slot_bytes, count };
    for bad in [
        &[][..],
        &[class(0, 1)],
        &[class(65, 1)],
        &[class(64, 0)],
        &[class(64, 1), class(64, 2)],
        &[class(64, MAX_SLOTS), class(128, 1)],
        &[class(64, u32::MAX), class(128, u32::MAX)],
        &[class(64, 1); 5],
    ] {
        assert_eq!(Layout::new(bad), Err(Error::Invalid), "{bad:?}");
    }
}

#[test]
fn the_smallest_class_that_fits_is_taken_and_then_the_next() {
    let both = Both::new(layout());
    let taken: Vec<_> = (0..10).map(|_| both.guest.allocate(10)).collect();
    let classes: Vec<_> = taken.iter().flatten().map(|slot| slot.class).collect();
    assert_eq!(classes, [0, 0, 0, 0, 1, 1, 1, 2, 2]);
    assert_eq!(taken[9], Err(Error::Full));
    assert_eq!(both.guest.allocate(4097), Err(Error::TooLarge));
    assert_eq!(both.host.reclaim(Side::Guest), 9);
    assert_eq!(both.host.free_slots(), 9);
}

#[test]
fn what_is_written_is_what_the_peer_reads_and_neither_goes_beyond_its_length() {
    let both = Both::new(layout());
    let slot = both.guest.allocate(300).unwrap();
    let bytes: Vec<u8> = (0..300u32).map(|at| at as u8).collect();
    both.guest.write(slot, 0, &bytes).unwrap();
    let mut read = [0; 300];
    both.host.read(slot, 0, &mut read).unwrap();
    assert_eq!(read[..], bytes[..]);
    both.host.read(slot, 290, &mut read[..10]).unwrap();
    assert_eq!(read[..10], bytes[290..]);
    for (offset, len) in [(0, 301), (300, 1), (usize::MAX, 2), (301, 0)] {
        let mut target = vec![0; len];
        let answer = both.host.read(slot, offset, &mut target);
        assert_eq!(answer, Err(Error::TooLarge));
        assert_eq!(
            both.guest.write(slot, offset, &target),
            Err(Error::TooLarge)
        );
    }
    assert_eq!(both.host.release(slot), Ok(()));
    assert_eq!(both.host.release(slot), Err(Error::PeerFault));
    assert_eq!(both.guest.write(slot, 0, b"late"), Err(Error::PeerFault));
}

#[test]
fn every_field_of_a_reference_is_bounded() {
    let both = Both::new(layout());
    let good = both.guest.allocate(100).unwrap();
    assert_eq!(both.host.check(good), Ok(()));
    let bad = [
        SlotRef { class: 9, ..good },
        SlotRef {
            class: u16::MAX,
            ..good
        },
        // The first of the next class, seen from this one: it would be within the memory.
        SlotRef { index: 3, ..good },
        SlotRef {
            index: u32::MAX,
            ..good
        },
        SlotRef {
            length: 257,
            ..good
        },
        SlotRef {
            length: u32::MAX,
            ..good
        },
        SlotRef {
            generation: 0,
            ..good
        },
        SlotRef {
            generation: 2,
            ..good
        },
        SlotRef { index: 1, ..good },
    ];
    // So that what is out of bounds by one would be found.
    let _next = [both.guest.allocate(4096), both.guest.allocate(4096)];
    for reference in bad {
        let mut target = [0; 8];
        let fault = Err(Error::PeerFault);
        assert_eq!(both.host.check(reference), fault, "{reference:?}");
        assert_eq!(both.host.read(reference, 0, &mut target), fault);
        assert_eq!(both.host.release(reference), fault, "{reference:?}");
    }
    // What is one's own is not the peer's to send.
    let own = both.host.allocate(8).unwrap();
    assert_eq!(both.host.check(own), Err(Error::PeerFault));
    assert_eq!(both.host.release(own), Err(Error::PeerFault));
    assert_eq!(both.host.withdraw(own), Ok(()));
}

#[test]
fn a_word_that_nobody_writes_is_nobodys_slot() {
    let mut both = Both::new(layout());
    for word in [3u64, 0xff, 1 << 8, 1 << 31, u64::MAX] {
        both.poke(0, word);
        assert_eq!(both.host.holder(0, 0), Err(Error::PeerFault));
        let slots: Vec<_> = (0..4).map_while(|_| both.host.allocate(8).ok()).collect();
        assert!(slots.iter().all(|slot| (slot.class, slot.index) != (0, 0)));
        assert_eq!(both.guest.reclaim(Side::Host), 4);
    }
    assert_eq!(both.host.holder(9, 0), Err(Error::Invalid));
}

#[test]
fn a_pool_grows_without_touching_what_anybody_holds() {
    let first = Both::new(layout());
    let others: Vec<_> = (1..MAX_EXTENTS).map(|_| Both::new(layout())).collect();
    let (mut host, mut guest) = (Pools::default(), Pools::default());
    assert_eq!(guest.allocate(8), Err(Error::TooLarge));
    let mut memories = Vec::new();
    let mut held = Vec::new();
    for both in std::iter::once(first).chain(others) {
        let Both {
            host: h,
            guest: g,
            memory,
        } = both;
        memories.push(memory);
        let extent = host.grow(h).unwrap();
        assert_eq!(guest.grow(g), Ok(extent));
        let slot = guest.allocate(4096).unwrap();
        guest.write(slot, 0, &[extent as u8; 4096]).unwrap();
        held.push(slot);
        let more = guest.allocate(4096).unwrap();
        assert_eq!((slot.extent, more.extent), (extent, extent));
        assert_eq!(guest.allocate(4096), Err(Error::Full));
    }
    for (extent, slot) in held.into_iter().enumerate() {
        let mut byte = [0];
        host.read(slot, 4095, &mut byte).unwrap();
        assert_eq!(byte, [extent as u8]);
        assert_eq!(host.release(slot), Ok(()));
    }
    let unknown = SlotRef {
        extent: MAX_EXTENTS as u16,
        class: 0,
        index: 0,
        generation: 1,
        length: 1,
    };
    assert_eq!(host.check(unknown), Err(Error::PeerFault));
    assert_eq!(host.reclaim(Side::Guest), MAX_EXTENTS as u32);
    drop(memories);
}

#[derive(Clone, Debug)]
enum Step {
    Allocate(bool, usize),
    /// Gives the n-th that was ever allocated back: as the peer, or as who has it.
    GiveBack(bool, usize),
    Reclaim(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (any::<bool>(), 0..5000usize).prop_map(|(side, len)| Step::Allocate(side, len)),
        (any::<bool>(), 0..40usize).prop_map(|(side, which)| Step::GiveBack(side, which)),
        any::<bool>().prop_map(Step::Reclaim),
    ];
    prop::collection::vec(step, 0..80)
}

proptest! {
    /// The pool does what a map from slots to their holders says.
    #[test]
    fn a_pool_is_what_the_model_says(steps in steps()) {
        let both = Both::new(layout());
        let side = |host: bool| if host { (&both.host, Side::Host) } else { (&both.guest, Side::Guest) };
        let mut held: BTreeMap<(u16, u32), (Side, SlotRef)> = BTreeMap::new();
        let mut ever: Vec<(Side, SlotRef)> = Vec::new();
        for step in steps {
            match step {
                Step::Allocate(host, len) => {
                    let (pool, side) = side(host);
                    let fits = |class: usize| layout().classes()[class].slot_bytes as usize >= len;
                    let free = |class: usize| {
                        (0..layout().classes()[class].count).any(|at| !held.contains_key(&(class as u16, at)))
                    };
                    let expected = (0..3).find(|&class| fits(class) && free(class));
                    match pool.allocate(len) {
                        Ok(slot) => {
                            prop_assert_eq!(Some(usize::from(slot.class)), expected);
                            prop_assert!(held.insert((slot.class, slot.index), (side, slot)).is_none());
                            prop_assert!(!ever.contains(&(side, slot)));
                            ever.push((side, slot));
                        }
                        Err(Error::TooLarge) => prop_assert!(len > 4096),
                        Err(error) => {
                            prop_assert_eq!(error, Error::Full);
                            prop_assert_eq!(expected, None);
                        }
                    }
                }
                Step::GiveBack(by_peer, which) if !ever.is_empty() => {
                    let (owner, slot) = ever[which % ever.len()];
                    let own = owner == Side::Host;
                    let answer = match by_peer {
                        true => side(!own).0.release(slot),
                        false => side(own).0.withdraw(slot),
                    };
                    let is_held = held.get(&(slot.class, slot.index)) == Some(&(owner, slot));
                    prop_assert_eq!(answer.is_ok(), is_held);
                    if is_held {
                        held.remove(&(slot.class, slot.index));
                    }
                }
                Step::GiveBack(..) => {}
                Step::Reclaim(host) => {
                    let (_, gone) = side(host);
                    let before = held.len();
                    held.retain(|_, (owner, _)| *owner != gone);
                    prop_assert_eq!(side(!host).0.reclaim(gone) as usize, before - held.len());
                }
            }
            prop_assert_eq!(both.host.free_slots() as usize, 9 - held.len());
        }
    }

    /// Whatever bytes a peer sends, they are one frame or a fault, and an honest frame is itself again.
    #[test]
    fn whatever_bytes_come_they_are_one_frame_or_a_fault(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut again = [0; 64];
        match Frame::decode(&bytes) {
            Ok(frame) => {
                let len = frame.encode(&mut again).unwrap();
                prop_assert_eq!(&again[..len], &bytes[..]);
            }
            Err(error) => prop_assert_eq!(error, Error::PeerFault),
        }
    }

    /// No reference to a region leads beyond it, and none to what it was before.
    #[test]
    fn a_reference_to_a_region_is_checked_whole(
        length in 1..10_000u64, offset in any::<u64>(), wanted in any::<u64>(), near in 0..10_000u64, slot in 0..5u32, generation in 0..4u32,
    ) {
        let mut known: Known<(), 4> = Known::default();
        known.learn(RegionId { slot: 1, generation: 2 }, length, ()).unwrap();
        for (offset, wanted) in [(offset, wanted), (near, wanted), (near, near), (offset % length, length - offset % length)] {
            let region = RegionId { slot, generation };
            let answer = known.resolve(RegionRef { region, offset, length: wanted });
            let within = u128::from(offset) + u128::from(wanted) <= u128::from(length);
            prop_assert_eq!(answer.is_ok(), (slot, generation) == (1, 2) && within);
        }
    }
}

#[test]
fn a_lease_is_given_back_once_and_a_region_stays_as_long_as_it_is_leased() {
    let mut leases: Leases<2> = Leases::default();
    assert_eq!(leases.publish(0), Err(Error::Invalid));
    let first = leases.publish(100).unwrap();
    let part = leases.lease(first, 90, 10).unwrap();
    for (offset, length) in [(91, 10), (u64::MAX, 2), (101, 0), (0, 101)] {
        assert_eq!(leases.lease(first, offset, length), Err(Error::Invalid));
    }
    assert_eq!(leases.withdraw(first), Err(Error::Full));
    let second = leases.publish(5).unwrap();
    assert_eq!(leases.publish(5), Err(Error::Full));
    assert_eq!(leases.release(second), Err(Error::PeerFault));
    assert_eq!(leases.release(part.region), Ok(()));
    assert_eq!(leases.release(part.region), Err(Error::PeerFault));
    assert_eq!(leases.withdraw(first), Ok(()));
    assert_eq!(leases.withdraw(first), Err(Error::Invalid));
    // The number is another's by now.
    let third = leases.publish(7).unwrap();
    assert_eq!(third.slot, first.slot);
    assert_eq!(leases.lease(first, 0, 1), Err(Error::Invalid));
    leases.lease(third, 0, 7).unwrap();
    leases.lease(second, 0, 5).unwrap();
    assert_eq!(leases.release(first), Err(Error::PeerFault));
    assert_eq!((leases.leases(third), leases.leases(first)), (1, 0));
    assert_eq!(leases.drop_peer(), 2);
    assert_eq!(leases.withdraw(third), Ok(()));
}

#[test]
fn a_region_is_known_in_its_last_generation_alone() {
    let mut known: Known<&str, 2> = Known::default();
    let id = |generation| RegionId {
        slot: 1,
        generation,
    };
    assert_eq!(known.learn(id(1), 10, "first"), Ok(None));
    assert_eq!(known.learn(id(1), 10, "again"), Err(Error::PeerFault));
    assert_eq!(known.learn(id(3), 20, "second"), Ok(Some("first")));
    assert_eq!(known.learn(id(2), 20, "stale"), Err(Error::PeerFault));
    let beyond = RegionId {
        slot: 2,
        generation: 1,
    };
    assert_eq!(known.learn(beyond, 1, "beyond"), Err(Error::PeerFault));
    let whole = |generation| RegionRef {
        region: id(generation),
        offset: 0,
        length: 10,
    };
    assert_eq!(known.resolve(whole(3)), Ok(&"second"));
    assert_eq!(known.resolve(whole(1)), Err(Error::PeerFault));
}

#[test]
fn frames_are_these_bytes() {
    let slot = SlotRef {
        extent: 1,
        class: 2,
        index: 3,
        generation: 4,
        length: 5,
    };
    let region = RegionId {
        slot: 6,
        generation: 7,
    };
    let mut classes = [Class::default(); 4];
    classes[0] = Class {
        slot_bytes: 64,
        count: 8,
    };
    let vectors: [(Frame<'_>, &[u8]); 6] = [
        (
            Frame::Inline {
                tag: 0x01020304,
                bytes: b"hi",
            },
            &[0, 0, 0, 0, 4, 3, 2, 1, b'h', b'i'],
        ),
        (
            Frame::Slot { tag: 9, slot },
            &[
                1, 0, 0, 0, 9, 0, 0, 0, 1, 0, 2, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0,
            ],
        ),
        (
            Frame::Region {
                tag: 9,
                region: RegionRef {
                    region,
                    offset: 0x0102,
                    length: 3,
                },
            },
            &[
                2, 0, 0, 0, 9, 0, 0, 0, 6, 0, 0, 0, 7, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0,
                0, 0, 0, 0,
            ],
        ),
        (
            Frame::Published {
                region,
                token: 8,
                length: 9,
            },
            &[
                3, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0,
                0, 0, 0, 0,
            ],
        ),
        (
            Frame::Released { region },
            &[4, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 7, 0, 0, 0],
        ),
        (
            Frame::Grown {
                extent: 1,
                token: 2,
                classes,
            },
            &[
                5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0,
                0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
        ),
    ];
    for (frame, bytes) in vectors {
        let mut written = [0; 64];
        let len = frame.encode(&mut written).unwrap();
        assert_eq!(&written[..len], bytes, "{frame:?}");
        assert_eq!(Frame::decode(bytes), Ok(frame));
        // Nothing less, nothing more, and no reserved byte that is not zero.
        if bytes[0] != 0 {
            for cut in 0..bytes.len() {
                assert_eq!(Frame::decode(&bytes[..cut]), Err(Error::PeerFault));
            }
            let longer = [bytes, &[0]].concat();
            assert_eq!(Frame::decode(&longer), Err(Error::PeerFault));
        }
        let mut spoilt = bytes.to_vec();
        spoilt[2] = 1;
        assert_eq!(Frame::decode(&spoilt), Err(Error::PeerFault));
        assert_eq!(frame.encode(&mut written[..len - 1]), Err(Error::TooLarge));
    }
}
