//! Every byte that the kernel shows of a hub and of a submission ring is as it was when the layout was agreed on.

#[path = "../../../ring/tests/golden/dump.rs"]
mod dump;

use crate::common::READ;
use crate::common::hubs::{Hub, geometry};
use crate::common::ports::{notification, signal};
use crate::common::realm::Realm;
use crate::common::submissions::{Submissions, nop, wait};
use abi::submission::{Operation, Submission, SubmissionArgs, SubmissionFlags};
use abi::{FOREVER, HubGeometry};

const PAGE: u64 = 4096;

/// What the first domain sees from an address on.
fn seen(realm: &Realm, address: u64, pages: u64) -> Vec<u8> {
    let words = (address..address + pages * PAGE).step_by(8);
    words
        .flat_map(|at| realm.load(0, 0, at).unwrap().to_le_bytes())
        .collect()
}

#[test]
fn the_table_of_a_hub_has_these_bytes() {
    let realm = Realm::new(1);
    let made = realm.ipc.create_hub(
        &realm.domains[0],
        HubGeometry {
            heartbeat_ns: 0x0102_0304,
            ..geometry(6)
        },
    );
    let made = made.unwrap();
    let hub = Hub {
        handle: made.hub,
        table: realm.map(0, made.table, READ),
    };
    let seats: Vec<_> = (0..5).map(|_| hub.reserve(&realm, 0).unwrap()).collect();
    // The first is empty again, the second stays reserved, the third, the fourth and the fifth were claimed, of which the
    // fourth has left; nobody ever had the sixth.
    for guest in &seats[2..] {
        realm.machine().advance_ns(0x1112_1314_1516);
        guest.claim(&realm).unwrap();
    }
    for place in [0, 3] {
        seats[place].leave(&realm).unwrap();
    }
    hub.recover(&realm, seats[0].seat).unwrap();
    // Awake, then asleep.
    assert_eq!(hub.told(&realm), [3, 4, 5]);
    assert!(hub.told(&realm).is_empty());
    dump::check(
        &seen(&realm, hub.table, 1),
        include_str!("golden/hub_table.txt"),
    );
    hub.goodbye(&realm);
    dump::check(
        &seen(&realm, hub.table, 1)[..64],
        include_str!("golden/hub_goodbye.txt"),
    );
    realm.finish();
}

#[test]
fn a_submission_ring_has_these_bytes() {
    let realm = Realm::new(1);
    let args = SubmissionArgs::new(8, 8);
    let mut ring = Submissions::with(&realm, 0, args);
    let entry = |operation, number, arguments| Submission::new(operation, number, arguments);
    let of = |argument| [argument, 1, 2, 3, 4, 0x5152_5354_5556_5758];
    let refused = entry(Operation::Unmap, 0x2122_2324_2526_2728, of(5));
    let linked = nop(0x1112_1314_1516_1718).with(SubmissionFlags::LINK);
    let done = ring.run(&realm, &[linked, refused]);
    assert_eq!(done.len(), 2);
    // One that waits, one that could go on now, and one that was not taken yet.
    let timeout = [FOREVER, 0, 0, 0, 0, 0];
    let waits = entry(Operation::Timeout, 0x3132_3334_3536_3738, timeout);
    let bell = notification(&realm, 0);
    assert!(
        ring.run(&realm, &[waits, wait(0x6162_6364_6566_6768, bell, FOREVER)])
            .is_empty()
    );
    signal(&realm, 0, bell);
    assert!(ring.says_due(&realm));
    ring.push(&realm, nop(0x4142_4344_4546_4748));
    dump::check(
        &seen(&realm, ring.views.submissions, 4),
        include_str!("golden/submissions.txt"),
    );
    dump::check(
        &seen(&realm, ring.views.completions, 4),
        include_str!("golden/completions.txt"),
    );
    realm.drop_handle(0, ring.handle).unwrap();
    realm.finish();
}
