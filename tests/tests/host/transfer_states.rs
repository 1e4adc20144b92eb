//! What a region takes along when it changes hands: its seal, the pages that were touched, and those that
//! were not.

use crate::common::realm::Realm;
use crate::common::{READ, WRITE, page};
use abi::{Error, Handle, Mode, RegionFlags, RegionInfo, Rights};
use proptest::prelude::*;

const ALL: Rights = Rights::all();

fn info(realm: &Realm, domain: usize, handle: Handle) -> RegionInfo {
    let domain = &realm.domains[domain];
    realm.ipc.region_info(domain, handle).unwrap()
}

fn seal(realm: &Realm, domain: usize, handle: Handle) {
    realm
        .ipc
        .seal_region(&realm.domains[domain], handle)
        .unwrap();
}

/// A region of domain 0 of so many pages, in which `touched` ones hold their own numbers and 1 more.
fn region(realm: &Realm, pages: u64, touched: impl IntoIterator<Item = u64>) -> (Handle, u64) {
    let handle = realm.region(0, pages);
    let here = realm.map(0, handle, WRITE);
    for at in touched {
        realm.store(0, 0, page(here, at), at + 1).unwrap();
    }
    (handle, here)
}

/// Promises to domain 0 all memory that is promised to nobody.
fn take_what_is_left(realm: &Realm) {
    let take = |pages: u64| {
        let none = RegionFlags::empty();
        let region = realm
            .ipc
            .create_region(&realm.domains[0], pages * 4096, none, None);
        region.is_ok()
    };
    for order in (0..20).rev() {
        while take(1 << order) {}
    }
}

#[test]
fn a_move_of_a_sealed_region_takes_the_seal_along() {
    let realm = Realm::new(2);
    let (mine, here) = region(&realm, 4, [1]);
    seal(&realm, 0, mine);
    let theirs = realm.give(0, mine, 1, Mode::Move);
    assert_eq!(realm.load(0, 0, here), Err(Error::Revoked));
    assert_eq!(realm.look_up(0, mine), Err(Error::BadHandle));
    assert_eq!(info(&realm, 1, theirs).sealed, 1);
    assert_eq!(realm.try_map(1, theirs, WRITE), Err(Error::Sealed));
    let there = realm.map(1, theirs, READ);
    assert_eq!(realm.load(1, 1, page(there, 1)), Ok(2));
    assert_eq!(realm.store(1, 1, page(there, 1), 7), Err(Error::Denied));
    let widened = realm.ipc.protect(&realm.domains[1], there, WRITE);
    assert_eq!(widened, Err(Error::Sealed));
    realm.audit(&[realm.region_of(1, theirs)]);
    realm.finish();
}

#[test]
fn whoever_receives_can_see_that_nobody_can_change_the_bytes_any_more() {
    let realm = Realm::new(2);
    for mode in [Mode::Share, Mode::Move] {
        let (mine, here) = region(&realm, 2, [0]);
        let token = realm.grant(0, mine, 1, mode, ALL).unwrap();
        if mode == Mode::Share {
            // Not sealed: what is looked at now may be another thing in a moment.
            let theirs = realm.accept(1, token, 0).unwrap();
            assert_eq!(info(&realm, 1, theirs).sealed, 0);
            let there = realm.map(1, theirs, READ);
            assert_eq!(realm.load(1, 1, there), Ok(1));
            realm.store(0, 0, here, 9).unwrap();
            assert_eq!(realm.load(1, 1, there), Ok(9));
            // From the answer on it is what it is, for the owner too, who has it mapped for writing.
            seal(&realm, 0, mine);
            assert_eq!(info(&realm, 1, theirs).sealed, 1);
            assert_eq!(realm.store(0, 0, here, 10), Err(Error::Denied));
            assert_eq!(realm.load(1, 1, there), Ok(9));
            let again = realm.try_map(0, mine, WRITE);
            assert_eq!(again, Err(Error::Sealed));
        } else {
            let theirs = realm.accept(1, token, 0).unwrap();
            assert_eq!(info(&realm, 1, theirs).sealed, 0);
            seal(&realm, 1, theirs);
            assert_eq!(info(&realm, 1, theirs).sealed, 1);
        }
    }
    realm.finish();
}

#[test]
fn a_snapshot_of_a_sealed_region_is_its_receivers_to_write() {
    let realm = Realm::new(2);
    let (mine, here) = region(&realm, 2, [0]);
    seal(&realm, 0, mine);
    let theirs = realm.give(0, mine, 1, Mode::CopyOnWrite);
    assert_eq!(info(&realm, 1, theirs).sealed, 0);
    let there = realm.map(1, theirs, WRITE);
    realm.store(1, 1, there, 5).unwrap();
    assert_eq!(realm.load(0, 0, here), Ok(1));
    assert_eq!(info(&realm, 0, mine).sealed, 1);
    realm.finish();
}

#[test]
fn a_move_of_a_partly_touched_region_takes_its_pages_and_its_promise_along() {
    let realm = Realm::new(2);
    let (mine, here) = region(&realm, 600, [3, 511, 512]);
    let before = info(&realm, 0, mine);
    assert_eq!(before.present_pages, 3);
    let free = realm.counts().0;
    let theirs = realm.give(0, mine, 1, Mode::Move);
    // Nothing was copied or filled for it.
    let after = info(&realm, 1, theirs);
    assert_eq!((after.koid, after.present_pages), (before.koid, 3));
    assert_eq!(realm.counts().0.free, free.free);
    let there = realm.map(1, theirs, WRITE);
    for (at, value) in [(3, 4), (511, 512), (512, 513), (0, 0), (599, 0)] {
        assert_eq!(realm.load(1, 1, page(there, at)), Ok(value), "page {at}");
    }
    realm.audit(&[realm.region_of(1, theirs)]);
    // What was not touched is still promised, so every page can be written although the rest of the
    // memory is taken.
    take_what_is_left(&realm);
    for at in 0..600 {
        realm.store(1, 1, page(there, at), at + 7).unwrap();
    }
    assert_eq!(info(&realm, 1, theirs).present_pages, 600);
    assert_eq!(realm.load(0, 0, page(here, 3)), Err(Error::Revoked));
    realm.finish();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_was_touched_before_a_move_is_there_after_it_and_the_rest_is_zero(
        touched in prop::collection::btree_set(0..1100_u64, 0..40),
        sealed: bool,
    ) {
        let realm = Realm::new(2);
        let (mine, _) = region(&realm, 1100, touched.iter().copied());
        if sealed {
            seal(&realm, 0, mine);
        }
        let theirs = realm.give(0, mine, 1, Mode::Move);
        prop_assert_eq!(info(&realm, 1, theirs).present_pages, touched.len() as u64);
        let there = realm.map(1, theirs, READ);
        for at in (0..1100).step_by(37).chain(touched.iter().copied()) {
            let expected = if touched.contains(&at) { at + 1 } else { 0 };
            prop_assert_eq!(realm.load(1, 1, page(there, at)), Ok(expected));
        }
        realm.audit(&[realm.region_of(1, theirs)]);
        realm.finish();
    }
}
