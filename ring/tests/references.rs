//! References to payloads in regions, and how messages of all kinds are written down.
#![cfg(not(loom))]

mod common;

use std::rc::{Rc, Weak};

use common::cases;
use proptest::prelude::*;
use ring::Error;
use ring::memory::pool::PoolMemory;
use ring::payload::{
    Books, Class, Frame, Known, Layout, Leases, Payload, Refused, RegionId, RegionRef, Regions,
    Side, SlotRef,
};

proptest! {
    #![proptest_config(cases(256, 8))]

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

/// Regions that are told from one another by their tokens, each of which says whether it is there still.
#[derive(Default)]
struct Snapshots {
    taken: Vec<(u64, Weak<()>)>,
    /// Those of this side that the peer is not to take any more; nothing for all of them.
    given_up: Vec<Option<RegionId>>,
}

/// By which nothing can be taken any more.
const WITHDRAWN: u64 = 99;

impl Snapshots {
    fn living(&self) -> Vec<u64> {
        let living = self
            .taken
            .iter()
            .filter(|(_, there)| there.strong_count() > 0);
        living.map(|(token, _)| *token).collect()
    }
}

impl Regions for Snapshots {
    type Pool = PoolMemory;
    type Taken = Rc<()>;
    type Error = ();

    fn take(&mut self, token: u64, _: u64) -> Result<Rc<()>, Refused<()>> {
        if token == WITHDRAWN {
            return Err(Refused::Gone);
        }
        let taken = Rc::new(());
        self.taken.push((token, Rc::downgrade(&taken)));
        Ok(taken)
    }

    fn take_pool(&mut self, token: u64, _: &Layout) -> Result<PoolMemory, Refused<()>> {
        match token {
            WITHDRAWN => Err(Refused::Gone),
            _ => Err(Refused::Fault),
        }
    }

    fn give_up(&mut self, region: RegionId) {
        self.given_up.push(Some(region));
    }

    fn give_up_all(&mut self) {
        self.given_up.push(None);
    }
}

/// What a host makes of a frame of its guest: the part of a region that a payload is in.
fn hear(
    host: &mut Books<Snapshots, 2>,
    frame: Frame<'_>,
) -> Result<Option<RegionRef>, Refused<()>> {
    let mut message = [0; 64];
    let length = frame.encode(&mut message).unwrap();
    let received = host.receive(&message[..length])?;
    Ok(received.map(|received| match received {
        (7, Payload::Region(part)) => part,
        other => panic!("{other:?}"),
    }))
}

/// All of a region of 100 bytes.
fn part(region: RegionId) -> RegionRef {
    RegionRef {
        region,
        offset: 0,
        length: 100,
    }
}

/// The message that refers to it.
fn refers(region: RegionId) -> Frame<'static> {
    let region = part(region);
    Frame::Region { tag: 7, region }
}

/// The message that tells of it, of which others refer to parts.
fn published(region: RegionId, token: u64) -> Frame<'static> {
    Frame::Published {
        region,
        token,
        length: 100,
    }
}

#[test]
fn a_region_that_is_all_of_a_payload_is_kept_until_that_is_finished_and_no_longer() {
    let mut host: Books<Snapshots, 2> = Books::new(Side::Host, Snapshots::default());
    let id = |slot, generation| RegionId { slot, generation };
    let whole = |region, token| Frame::Whole {
        tag: 7,
        region,
        token,
        length: 100,
    };
    let (first, second) = (id(0, 1), id(1, 1));
    assert_eq!(hear(&mut host, whole(first, 10)), Ok(Some(part(first))));
    assert_eq!(hear(&mut host, whole(second, 20)), Ok(Some(part(second))));
    assert!(host.resolve(part(first)).is_ok() && host.resolve(part(second)).is_ok());
    assert_eq!(host.regions().living(), [10, 20]);
    // No other message leads to it, neither before nor after.
    assert_eq!(hear(&mut host, refers(first)), Err(Refused::Fault));
    host.finish(first);
    assert_eq!(host.regions().living(), [20]);
    assert!(host.resolve(part(first)).is_err() && host.resolve(part(second)).is_ok());
    assert_eq!(hear(&mut host, refers(first)), Err(Refused::Fault));
    // Nor is another told of in its place, and nothing of what is refused is taken.
    assert_eq!(hear(&mut host, whole(first, 30)), Err(Refused::Fault));
    assert_eq!(hear(&mut host, published(first, 40)), Err(Refused::Fault));
    assert_eq!(host.regions().living(), [20]);
    // What is finished late takes nothing away from who has the number by then.
    let next = id(1, 2);
    assert_eq!(hear(&mut host, whole(next, 50)), Ok(Some(part(next))));
    host.finish(second);
    assert_eq!(host.regions().living(), [50]);
    assert!(host.resolve(part(second)).is_err() && host.resolve(part(next)).is_ok());
    host.finish(next);
    host.finish(next);
    assert!(host.regions().living().is_empty());
    // Of one that is sent in parts another can be on its way.
    let parted = id(0, 2);
    assert_eq!(hear(&mut host, published(parted, 60)), Ok(None));
    for _ in 0..2 {
        assert_eq!(hear(&mut host, refers(parted)), Ok(Some(part(parted))));
        host.finish(parted);
        assert!(host.resolve(part(parted)).is_ok());
    }
    assert_eq!(
        hear(&mut host, whole(id(0, 3), 70)),
        Ok(Some(part(id(0, 3))))
    );
    assert_eq!(host.regions().living(), [70]);
}

#[test]
fn a_region_that_was_withdrawn_before_it_was_taken_is_a_fault_where_a_message_refers_to_it() {
    let mut host: Books<Snapshots, 2> = Books::new(Side::Host, Snapshots::default());
    let id = |slot, generation| RegionId { slot, generation };
    let part = |region, length| Frame::Region {
        tag: 7,
        region: RegionRef {
            region,
            offset: 0,
            length,
        },
    };
    // An honest guest has given it up by then, and published another.
    assert_eq!(hear(&mut host, published(id(0, 1), WITHDRAWN)), Ok(None));
    assert_eq!(hear(&mut host, published(id(0, 2), 10)), Ok(None));
    assert!(hear(&mut host, part(id(0, 2), 100)).is_ok());
    assert_eq!(hear(&mut host, published(id(1, 1), WITHDRAWN)), Ok(None));
    for length in [0, 1, 100] {
        assert_eq!(hear(&mut host, part(id(1, 1), length)), Err(Refused::Fault));
    }
    // Its number is used up.
    assert_eq!(
        hear(&mut host, published(id(1, 1), 20)),
        Err(Refused::Fault)
    );
    let whole = Frame::Whole {
        tag: 7,
        region: id(1, 2),
        token: WITHDRAWN,
        length: 100,
    };
    assert_eq!(hear(&mut host, whole), Err(Refused::Fault));
    assert_eq!(host.regions().living(), [10]);
    let mut guest: Books<Snapshots, 2> = Books::new(Side::Guest, Snapshots::default());
    let mut classes = [Class::default(); 4];
    classes[0] = Class {
        slot_bytes: 64,
        count: 8,
    };
    let grown = Frame::Grown {
        extent: 0,
        token: WITHDRAWN,
        classes,
    };
    assert_eq!(hear(&mut guest, grown), Err(Refused::Fault));
}

#[test]
fn what_is_known_of_a_region_goes_when_its_sender_withdraws_it() {
    let mut host: Books<Snapshots, 2> = Books::new(Side::Host, Snapshots::default());
    let id = |slot, generation| RegionId { slot, generation };
    let withdrawn = |region| Frame::Withdrawn { region };
    let (first, second) = (id(0, 1), id(1, 1));
    assert_eq!(hear(&mut host, withdrawn(first)), Err(Refused::Fault));
    assert_eq!(hear(&mut host, published(first, 10)), Ok(None));
    assert_eq!(hear(&mut host, published(second, 20)), Ok(None));
    assert_eq!(hear(&mut host, refers(first)), Ok(Some(part(first))));
    host.finish(first);
    assert_eq!(host.regions().living(), [10, 20]);
    for unknown in [id(0, 0), id(0, 2), id(2, 1), id(u32::MAX, 1)] {
        assert_eq!(hear(&mut host, withdrawn(unknown)), Err(Refused::Fault));
    }
    assert_eq!(hear(&mut host, withdrawn(first)), Ok(None));
    assert_eq!(host.regions().living(), [20]);
    assert_eq!(hear(&mut host, withdrawn(first)), Err(Refused::Fault));
    assert_eq!(hear(&mut host, refers(first)), Err(Refused::Fault));
    assert_eq!(hear(&mut host, published(first, 30)), Err(Refused::Fault));
    // Who takes it away while a part of it is read gains nothing by it.
    assert_eq!(hear(&mut host, refers(second)), Ok(Some(part(second))));
    assert_eq!(hear(&mut host, withdrawn(second)), Ok(None));
    assert!(host.resolve(part(second)).is_err());
    host.finish(second);
    assert!(host.regions().living().is_empty());
    // What this side has come too late for is withdrawn like others.
    let late = id(0, 2);
    assert_eq!(hear(&mut host, published(late, WITHDRAWN)), Ok(None));
    assert_eq!(hear(&mut host, withdrawn(late)), Ok(None));
    assert_eq!(hear(&mut host, withdrawn(late)), Err(Refused::Fault));
    // What came with its only message ends with that.
    let whole = Frame::Whole {
        tag: 7,
        region: id(0, 3),
        token: 40,
        length: 100,
    };
    assert_eq!(hear(&mut host, whole), Ok(Some(part(id(0, 3)))));
    assert_eq!(hear(&mut host, withdrawn(id(0, 3))), Err(Refused::Fault));
    assert!(host.resolve(part(id(0, 3))).is_ok());
}

#[test]
fn who_waits_for_a_number_waits_for_what_its_peer_can_give_back() {
    let mut guest: Books<Snapshots, 2> = Books::new(Side::Guest, Snapshots::default());
    let first = guest.publish(100).unwrap();
    assert!(!guest.arm(100));
    let whole = guest.publish_whole(100).unwrap();
    guest.lease(whole, 0, 100).unwrap();
    assert!(guest.arm(100));
    let released = Frame::Released { region: whole };
    assert_eq!(hear(&mut guest, released), Ok(None));
    assert!(!guest.arm(100));
    let second = guest.publish(100).unwrap();
    assert_eq!(guest.publish(100), Err(Error::Full));
    // It has to withdraw one itself, for which the peer has to finish what it has of it.
    assert!(!guest.arm(100));
    for region in [first, second] {
        guest.lease(region, 0, 50).unwrap();
    }
    for region in [first, second] {
        assert!(guest.arm(100));
        assert_eq!(hear(&mut guest, Frame::Released { region }), Ok(None));
    }
    assert!(!guest.arm(100));
    for region in [first, second] {
        guest.withdraw(region).unwrap();
    }
}

#[test]
fn what_the_peer_is_to_take_no_more_is_taken_back() {
    let mut guest: Books<Snapshots, 2> = Books::new(Side::Guest, Snapshots::default());
    // It may not have come to hear of the first.
    let first = guest.publish(100).unwrap();
    guest.withdraw(first).unwrap();
    assert_eq!(guest.withdraw(first), Err(Error::Invalid));
    let second = guest.publish(100).unwrap();
    guest.lease(second, 0, 100).unwrap();
    assert_eq!(guest.withdraw(second), Err(Error::Full));
    let whole = guest.publish_whole(100).unwrap();
    guest.lease(whole, 0, 100).unwrap();
    assert_eq!(guest.regions().given_up, [Some(first)]);
    // One message alone refers to the second of these, which is over with it.
    for region in [second, whole] {
        let released = Frame::Released { region };
        assert_eq!(hear(&mut guest, released), Ok(None));
        assert_eq!(hear(&mut guest, released), Err(Refused::Fault));
    }
    assert_eq!(guest.regions().given_up, [Some(first), Some(whole)]);
    assert!(guest.lease(second, 0, 1).is_ok() && guest.lease(whole, 0, 1).is_err());
    guest.unlease(second).unwrap();
    guest.withdraw(second).unwrap();
    assert_eq!(guest.regions().given_up.last(), Some(&Some(second)));
    let third = guest.publish(100).unwrap();
    guest.lease(third, 0, 1).unwrap();
    guest.lease(third, 1, 1).unwrap();
    assert_eq!(guest.drop_leases(), 2);
    assert_eq!(guest.regions().given_up.last(), Some(&None));
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
    let vectors: [(Frame<'_>, &[u8]); 8] = [
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
            Frame::Whole {
                tag: 9,
                region,
                token: 8,
                length: 0x0102,
            },
            &[
                7, 0, 0, 0, 9, 0, 0, 0, 6, 0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0,
                0, 0, 0, 0,
            ],
        ),
        (
            Frame::Released { region },
            &[4, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 7, 0, 0, 0],
        ),
        (
            Frame::Withdrawn { region },
            &[8, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 7, 0, 0, 0],
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

#[test]
fn a_class_of_no_bytes_has_no_slots() {
    for (place, count) in [(0, 1), (1, 7), (3, u32::MAX)] {
        let mut classes = [Class {
            slot_bytes: 64,
            count: 8,
        }; 4];
        classes[place..].fill(Class::default());
        classes[place].count = count;
        let grown = Frame::Grown {
            extent: 1,
            token: 2,
            classes,
        };
        let mut bytes = [0; 64];
        let len = grown.encode(&mut bytes).unwrap();
        assert_eq!(Frame::decode(&bytes[..len]), Err(Error::PeerFault));
    }
}
