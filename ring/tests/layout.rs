//! The bytes of ring memory do not move.
#![cfg(not(loom))]

mod common;

use abi::ring::{
    CONSUMER_OFFSET, DATA_OFFSET, Geometry, GeometryError, Kind, PRODUCER_OFFSET, SLOT_HEAD_BYTES,
};
use common::{Backing, polled_ring};

#[test]
fn a_new_ring_has_these_bytes() {
    let ring = Backing::new(Geometry::slot(128, 4));
    let _owner = ring.format(0xffff_fffe);
    #[rustfmt::skip]
    assert_eq!(ring.read(0, 36), [
        0x48, 0x4f, 0x52, 0x47, // magic
        1, 0, 0, 0, // version
        1, 0, 0, 0, // kind
        1, 0, 0, 0, // form
        128, 0, 0, 0, // slot size
        4, 0, 0, 0, // capacity
        0xfe, 0xff, 0xff, 0xff, // start
        1, 0, 0, 0, // epoch
        0, 0, 0, 0,
    ]);
    assert_eq!(ring.read(128, 12), [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    for page in [PRODUCER_OFFSET, CONSUMER_OFFSET] {
        assert_eq!(ring.read(page, 8), [0xfe, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        assert_eq!(
            ring.read(page + 128, 8),
            [0xfe, 0xff, 0xff, 0xff, 0, 0, 0, 0]
        );
    }
    // Start 0xfffffffe, capacity 4: positions 2, 3, 0, 1 get sequences s + i + 1 - 4.
    for (position, sequence) in [
        (2, 0xffff_fffbu32),
        (3, 0xffff_fffc),
        (0, 0xffff_fffd),
        (1, 0xffff_fffe),
    ] {
        let word = ring.read(DATA_OFFSET + position * 128, 8);
        assert_eq!(
            word,
            [sequence.to_le_bytes(), [0; 4]].concat(),
            "position {position}"
        );
    }
}

#[test]
fn a_message_has_these_bytes() {
    let mut ring = polled_ring(Geometry::slot(64, 2), 7);
    ring.producer.try_send(b"golden").unwrap();
    let slot = DATA_OFFSET + 64;
    assert_eq!(ring.backing.read(slot, 8), [8, 0, 0, 0, 6, 0, 0, 0]);
    assert_eq!(ring.backing.read(slot + SLOT_HEAD_BYTES, 6), b"golden");
    assert_eq!(ring.backing.read(PRODUCER_OFFSET, 4), [8, 0, 0, 0]);
    assert_eq!(ring.backing.read(CONSUMER_OFFSET, 4), [7, 0, 0, 0]);
}

#[test]
fn geometries_are_checked() {
    for (slot_size, capacity, answer) in [
        (64, 1, Ok(())),
        (65536, 1 << 31, Ok(())),
        (0, 4, Err(GeometryError::SlotSize)),
        (63, 4, Err(GeometryError::SlotSize)),
        (96, 4, Err(GeometryError::SlotSize)),
        (65600, 4, Err(GeometryError::SlotSize)),
        (64, 0, Err(GeometryError::Capacity)),
        (64, 3, Err(GeometryError::Capacity)),
        (64, u32::MAX, Err(GeometryError::Capacity)),
    ] {
        assert_eq!(Geometry::slot(slot_size, capacity).check(), answer);
    }
    let bytes = |slot_size, capacity| {
        Geometry {
            kind: Kind::Byte,
            slot_size,
            capacity,
        }
        .check()
    };
    assert_eq!(bytes(0, 4096), Ok(()));
    assert_eq!(bytes(0, 2048), Err(GeometryError::Capacity));
    assert_eq!(bytes(64, 4096), Err(GeometryError::SlotSize));
}

#[test]
fn every_slot_begins_in_exactly_one_page() {
    for (slot_size, capacity) in [
        (64, 1),
        (64, 256),
        (192, 64),
        (4096, 8),
        (8192, 4),
        (65536, 2),
        (4160, 32),
    ] {
        let geometry = Geometry::slot(slot_size, capacity);
        let mut next = 0;
        for page in 0..geometry.data_pages() {
            let slots = geometry.slots_beginning_in(page);
            assert_eq!(slots.start, next);
            next = slots.end.max(next);
            for position in slots {
                assert_eq!(geometry.slot_offset(position) / 4096, page);
            }
        }
        assert_eq!(next, capacity);
        assert!(geometry.slot_offset(capacity) <= geometry.data_bytes());
    }
    assert_eq!(Geometry::slot(192, 64).slots_per_page(), 21);
    assert_eq!(Geometry::slot(8192, 4).slots_per_page(), 0);
    assert_eq!(Geometry::slot(64, 1).data_bytes(), 4096);
    assert_eq!(Geometry::slot(64, 128).view_bytes(), 12288 + 2 * 8192);
}
