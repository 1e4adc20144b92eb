//! What objects count: everything that goes through them, once, and refusals by their reason.

use crate::common::realm::Realm;
use crate::common::{WRITE, page};
use abi::{Error, Mode, ObjectInfo, Rights};

fn info(realm: &Realm, domain: usize, handle: abi::Handle) -> ObjectInfo {
    realm
        .ipc
        .object_info(&realm.domains[domain], handle)
        .expect("it has INSPECT")
}

#[test]
fn transfers_are_counted_by_their_mode_when_they_arrive() {
    let realm = Realm::new(2);
    let mine = realm.region(0, 3);
    assert_eq!(info(&realm, 0, mine).transfers, [0; 3]);
    let shared = realm.give(0, mine, 1, Mode::Share);
    assert_eq!(info(&realm, 0, mine).transfers[Mode::Share as usize], 1);
    assert_eq!(info(&realm, 0, mine).capabilities, 2);
    let system = || realm.machine().system_counts().transfers;
    assert_eq!(system(), [0, 1, 0]);
    let begun = realm.grant(0, mine, 1, Mode::CopyOnWrite, Rights::all());
    realm.ipc.cancel(&realm.domains[0], begun.unwrap()).unwrap();
    let copy = realm.give(0, mine, 1, Mode::CopyOnWrite);
    // At the source when it is made, at the copy when it arrives, and then once for the system.
    for (domain, handle, times) in [(0, mine, 2), (1, copy, 1)] {
        let counted = info(&realm, domain, handle).transfers;
        assert_eq!(counted[Mode::CopyOnWrite as usize], times);
    }
    assert_eq!(system(), [0, 1, 1]);
    let domain = &realm.domains[1];
    realm.ipc.drop_capability(domain, shared).unwrap();
    let token = realm
        .grant(0, mine, 1, Mode::Move, Rights::all())
        .expect("it is alone");
    realm.ipc.cancel(&realm.domains[0], token).unwrap();
    assert_eq!(info(&realm, 0, mine).transfers[Mode::Move as usize], 0);
    let moved = realm.give(0, mine, 1, Mode::Move);
    assert_eq!(info(&realm, 1, moved).transfers[Mode::Move as usize], 1);
    assert_eq!(system(), [1; 3]);
    assert_eq!(info(&realm, 1, moved).capabilities, 1);
    realm.finish();
}

#[test]
fn faults_count_at_the_region_whose_page_was_touched() {
    let realm = Realm::new(1);
    let (one, other) = (realm.region(0, 8), realm.region(0, 8));
    let (here, there) = (realm.map(0, one, WRITE), realm.map(0, other, WRITE));
    for at in 0..5 {
        realm.store(0, 0, page(here, at), 1).unwrap();
    }
    realm.store(0, 0, page(there, 0), 1).unwrap();
    realm.store(0, 0, page(here, 0), 1).unwrap();
    assert_eq!(info(&realm, 0, one).faults, 5);
    assert_eq!(info(&realm, 0, other).faults, 1);
    realm.finish();
}

#[test]
fn refusals_count_at_the_object_by_their_reason() {
    let realm = Realm::new(2);
    let mine = realm.region(0, 1);
    let theirs = realm.give(0, mine, 1, Mode::Share);
    let domain = &realm.domains[1];
    realm.ipc.count_refusal(domain, theirs, Error::Denied);
    realm.ipc.count_refusal(domain, theirs, Error::Denied);
    realm.ipc.count_refusal(domain, theirs, Error::Range);
    // What names nothing is nobody's.
    realm
        .ipc
        .count_refusal(domain, abi::Handle::NONE, Error::Range);
    let counted = info(&realm, 0, mine).refusals;
    assert_eq!(counted[Error::Denied as usize], 2);
    assert_eq!(counted[Error::Range as usize], 1);
    assert_eq!(counted.iter().sum::<u64>(), 3);
    realm.finish();
}

#[test]
fn counts_are_told_to_who_may_inspect() {
    let realm = Realm::new(1);
    let mine = realm.region(0, 1);
    let blind = realm
        .ipc
        .derive(&realm.domains[0], mine, Rights::all() - Rights::INSPECT)
        .unwrap();
    let refused = realm.ipc.object_info(&realm.domains[0], blind);
    assert_eq!(refused, Err(Error::Denied));
    realm.finish();
}
