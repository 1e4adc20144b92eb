//! Payloads beside a ring: the pool against a model, references of all kinds, and how they are written down.
#![cfg(not(loom))]

mod common;

use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use ring::Error;
use ring::memory::pool::PoolMemory;
use ring::payload::layout::{MAX_SLOTS, WAITS_BYTES};
use ring::payload::pools::MAX_EXTENTS;
use ring::payload::{Class, Layout, Pool, Pools, Side, SlotRef};

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
    memory: Vec<Line>,
    base: NonNull<u8>,
}

#[repr(align(64))]
#[derive(Clone)]
struct Line(#[allow(dead_code, reason = "reached by its address")] [u64; 8]);

impl Both {
    fn new(layout: Layout) -> Both {
        let lines = layout.bytes().div_ceil(64) as usize;
        let mut memory = vec![Line([0; 8]); lines];
        let base = NonNull::from(memory.as_mut_slice()).cast::<u8>();
        let side = |side| {
            // SAFETY: the lines stay where they are as long as both pools, and are reached as atomics alone.
            let memory = unsafe { PoolMemory::from_raw(base, lines as u64 * 64, &layout) };
            Pool::new(memory.unwrap(), layout, side)
        };
        Both {
            host: side(Side::Host),
            guest: side(Side::Guest),
            memory,
            base,
        }
    }

    /// Writes the word of a slot as a peer may that keeps to nothing.
    fn poke(&mut self, slot: usize, word: u64) {
        self.poke_word(WAITS_BYTES as usize / 8 + slot, word);
    }

    /// Writes any of the words.
    fn poke_word(&mut self, number: usize, word: u64) {
        assert!(number < 8 * self.memory.len());
        // SAFETY: a word of the memory, which all reach as atomics.
        let line = unsafe { AtomicU64::from_ptr(self.base.cast::<u64>().add(number).as_ptr()) };
        line.store(word, Ordering::Relaxed);
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
fn the_generations_of_a_slot_wrap_and_no_reference_is_taken_for_its_successor() {
    let mut both = Both::new(
        Layout::new(&[Class {
            slot_bytes: 64,
            count: 1,
        }])
        .unwrap(),
    );
    // It is free, in the last generation but one.
    both.poke(0, u64::from(u32::MAX - 1) << 32);
    let mut before: Option<SlotRef> = None;
    for generation in [u32::MAX, 0, 1] {
        let slot = both.guest.allocate(8).unwrap();
        assert_eq!(slot.generation, generation);
        assert_eq!(both.host.check(slot), Ok(()));
        if let Some(before) = before {
            assert_eq!(both.host.check(before), Err(Error::PeerFault));
            assert_eq!(both.host.release(before), Err(Error::PeerFault));
        }
        assert_eq!(both.host.release(slot), Ok(()));
        before = Some(slot);
    }
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
            ..
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
    #![proptest_config(common::cases(256, 3))]

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
}

#[test]
fn who_waits_for_a_slot_is_told_once_and_of_none_that_is_too_small() {
    let both = Both::new(layout());
    let take = |length| -> Vec<_> {
        std::iter::from_fn(|| {
            both.host
                .allocate(length)
                .ok()
                .map(|slot| (slot.class, slot))
        })
        .collect()
    };
    // There is room, and for more than any slot there never is.
    assert!(!both.guest.arm(8) && !both.guest.arm(4097));
    let held = take(8);
    let of = |class| {
        held.iter()
            .filter(move |slot| slot.0 == class)
            .map(|slot| slot.1)
    };
    assert!(both.guest.arm(200));
    for small in of(0) {
        both.guest.release(small).unwrap();
    }
    // One that is given back by its own side is told of as well.
    let (middle, large) = (of(1).next().unwrap(), of(2).next().unwrap());
    both.host.withdraw(of(0).next().unwrap()).unwrap_err();
    assert!(!both.host.must_tell_peer(of(0).next().unwrap()));
    both.host.withdraw(middle).unwrap();
    assert!(both.host.must_tell_peer(middle));
    assert!(!both.host.must_tell_peer(middle), "it was told");
    // Whoever has found room waits no more, and whoever says so does not.
    assert!(!both.guest.arm(200));
    both.host.withdraw(large).unwrap();
    assert!(!both.host.must_tell_peer(large));
    let all = take(8);
    assert!(both.guest.arm(8));
    both.guest.disarm();
    both.host.withdraw(all[0].1).unwrap();
    assert!(!both.host.must_tell_peer(all[0].1));
    assert!(!both.guest.must_tell_peer(all[0].1), "of its own wait");
}

#[test]
fn in_a_pool_that_grew_one_waits_for_the_slots_of_all() {
    let (small, large) = (
        Both::new(Layout::new(&CLASSES[1..2]).unwrap()),
        Both::new(Layout::new(&CLASSES[..1]).unwrap()),
    );
    let (mut host, mut guest) = (Pools::default(), Pools::default());
    assert!(!host.arm(8) && !host.fits(0));
    let mut memories = Vec::new();
    for both in [small, large] {
        host.grow(both.host).unwrap();
        guest.grow(both.guest).unwrap();
        memories.push(both.memory);
    }
    let held: Vec<_> = std::iter::from_fn(|| guest.allocate(8).ok()).collect();
    let (first, last) = (held[0], held[held.len() - 1]);
    assert!(host.fits(4096) && !host.fits(4097) && !host.arm(4097));
    assert!(host.arm(65));
    guest.withdraw(first).unwrap();
    assert!(!guest.must_tell_peer(first), "it is too small");
    assert!(!host.arm(8), "there is one in the first");
    guest.withdraw(last).unwrap();
    assert!(!guest.must_tell_peer(last), "nobody waits any more");
    assert!(!host.arm(65), "there is one in the second");
    let again = [8, 65].map(|length| host.allocate(length).unwrap());
    assert!(host.arm(8));
    for slot in again {
        guest.release(slot).unwrap();
    }
    assert!(guest.must_tell_peer(again[1]) && guest.must_tell_peer(again[0]));
    host.disarm();
}
