//! How a host clears up behind a guest that is gone: over a real ring, a real pool and real leases.
#![cfg(not(loom))]

mod common;

use std::ptr::NonNull;

use abi::hub::{PeerState, Standing};
use abi::ring::Geometry;
use common::{PolledRing, polled_ring};
use ring::Error;
use ring::hub::PeerEntry;
use ring::hub::recovery::{Drained, Recovered, Remains, recover};
use ring::memory::pool::PoolMemory;
use ring::payload::{Class, Frame, Layout, Leases, Pool, Side, SlotRef, Traffic};

const CLASS: Class = Class {
    slot_bytes: 64,
    count: 8,
};

#[repr(align(64))]
struct Lines([u64; 128]);

/// Both sides of a seat: what the guest has is used until it is gone, and what the host has is what remains.
struct Seat<'a> {
    ring: Option<PolledRing>,
    guest: Pool<PoolMemory>,
    host: Pool<PoolMemory>,
    leases: Leases<2>,
    entry: &'a PeerEntry,
    heard: Vec<(u32, Vec<u8>)>,
}

impl<'a> Seat<'a> {
    fn new(memory: &'a mut Lines, entry: &'a PeerEntry) -> Seat<'a> {
        let layout = Layout::new(&[CLASS]).unwrap();
        let (base, bytes) = (
            NonNull::from(&mut memory.0).cast::<u8>(),
            size_of::<Lines>() as u64,
        );
        let pool = |side| {
            // SAFETY: the memory outlives both pools, and is reached by them alone.
            let memory = unsafe { PoolMemory::from_raw(base, bytes, &layout) };
            Pool::new(memory.unwrap(), layout, side)
        };
        Seat {
            ring: Some(polled_ring(Geometry::slot(64, 8), 0)),
            guest: pool(Side::Guest),
            host: pool(Side::Host),
            leases: Leases::default(),
            entry,
            heard: Vec::new(),
        }
    }

    /// As a guest, which sends a frame.
    fn send(&mut self, frame: Frame<'_>) {
        let mut bytes = [0; 56];
        let length = frame.encode(&mut bytes).unwrap();
        let ring = self.ring.as_mut().unwrap();
        ring.producer.try_send(&bytes[..length]).unwrap();
    }

    /// And one which has a payload in a slot.
    fn send_slot(&mut self, tag: u32, bytes: &[u8]) -> SlotRef {
        let slot = self.guest.allocate(bytes.len()).unwrap();
        self.guest.write(slot, 0, bytes).unwrap();
        self.send(Frame::Slot { tag, slot });
        slot
    }

    fn take(&mut self) -> Result<(), Error> {
        let ring = self
            .ring
            .as_mut()
            .expect("the ring is there until it is empty");
        let mut bytes = [0; 56];
        let length = ring.consumer.try_receive(&mut bytes)?;
        match Frame::decode(&bytes[..length])? {
            Frame::Inline { tag, bytes } => self.heard.push((tag, bytes.into())),
            Frame::Slot { tag, slot } => {
                let mut bytes = vec![0; slot.length as usize];
                self.host.read(slot, 0, &mut bytes)?;
                self.heard.push((tag, bytes));
                self.host.release(slot)?;
            }
            Frame::Released { region } => self.leases.release(region)?,
            other => panic!("{other:?}"),
        }
        Ok(())
    }
}

/// What a host has counted.
fn seat_traffic() -> Traffic {
    Traffic {
        no_slot: 5,
        ..Traffic::default()
    }
}

impl Remains for &mut Seat<'_> {
    type Error = PeerState;

    fn check_gone(&self) -> Result<(), PeerState> {
        match self.entry.standing().state {
            PeerState::Goodbye => Ok(()),
            other => Err(other),
        }
    }

    fn drain(&mut self) -> Drained {
        let mut drained = Drained::default();
        loop {
            match self.take() {
                Ok(()) => drained.messages += 1,
                Err(Error::Empty) => return drained,
                Err(_) => {
                    drained.fault = true;
                    return drained;
                }
            }
        }
    }

    fn reset_rings(&mut self) {
        self.ring = None;
    }

    fn reclaim_slots(&mut self) -> u32 {
        self.host.reclaim(Side::Guest)
    }

    fn drop_leases(&mut self) -> u64 {
        self.leases.drop_peer()
    }

    fn traffic(&self) -> Traffic {
        // What was drained is counted, and nothing passes after that.
        assert!(self.ring.is_none());
        seat_traffic()
    }

    fn vacate(&mut self) -> Result<(), PeerState> {
        assert!(self.ring.is_none(), "the next guest gets other rings");
        assert_eq!(self.host.free_slots(), CLASS.count);
        assert_eq!(self.leases.drop_peer(), 0);
        let gone = self.entry.standing();
        let emptied = self.entry.advance(gone, PeerState::Empty);
        emptied.map(drop).map_err(|standing| standing.state)
    }
}

#[test]
fn what_a_dead_guest_sent_is_received_before_its_slots_and_its_seat_are_given_to_others() {
    let entry = PeerEntry::new(PeerState::Attached);
    let mut memory = Lines([0; 128]);
    let mut seat = Seat::new(&mut memory, &entry);
    let region = seat.leases.publish(4096).unwrap();
    for _ in 0..3 {
        seat.leases.lease(region, 0, 64).unwrap();
    }
    let bytes: &[u8] = b"inline";
    seat.send(Frame::Inline { tag: 1, bytes });
    seat.send_slot(2, b"in a slot");
    seat.send(Frame::Released { region });
    seat.send_slot(3, b"in another");
    // One that it had for itself when it died.
    seat.guest.allocate(64).unwrap();
    assert_eq!(recover(&mut seat), Err(PeerState::Attached));
    assert!(seat.heard.is_empty() && seat.ring.is_some());
    let attached = entry.standing();
    entry.advance(attached, PeerState::Goodbye).unwrap();
    let drained = Drained {
        messages: 4,
        fault: false,
    };
    let recovered = Recovered {
        drained,
        slots: 1,
        leases: 2,
        traffic: seat_traffic(),
    };
    assert_eq!(recover(&mut seat), Ok(recovered));
    let heard: Vec<(u32, &[u8])> = seat
        .heard
        .iter()
        .map(|(tag, bytes)| (*tag, &bytes[..]))
        .collect();
    let sent: [(u32, &[u8]); 3] = [(1, bytes), (2, b"in a slot"), (3, b"in another")];
    assert_eq!(heard, sent);
    assert_eq!(entry.standing(), Standing::new(PeerState::Empty, 1));
}

#[test]
fn a_message_that_no_honest_guest_sends_ends_what_is_received_and_not_the_recovery() {
    let entry = PeerEntry::new(PeerState::Goodbye);
    let mut memory = Lines([0; 128]);
    let mut seat = Seat::new(&mut memory, &entry);
    let slot = seat.send_slot(1, b"good");
    seat.send(Frame::Slot { tag: 2, slot });
    let recovered = recover(&mut seat).unwrap();
    let drained = Drained {
        messages: 1,
        fault: true,
    };
    assert_eq!(recovered.drained, drained);
    assert_eq!(entry.standing(), Standing::new(PeerState::Empty, 1));
}
