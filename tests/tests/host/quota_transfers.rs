//! Quotas when something is handed over: who pays before, who after, and who can't (I11).

use crate::common::quotas::{create, end, limits, minus};
use crate::common::realm::Realm;
use crate::common::{BASE, WRITE};
use abi::limits::PAGE_SIZE;
use abi::{Error, GrantFlags, Mode, RegionFlags, Resources, Rights, SnapshotFlags, cost};
use mm::Account;

#[test]
fn a_moved_region_is_paid_for_by_whoever_accepted_it() {
    let realm = Realm::new(2);
    let before = [realm.used(0), realm.used(1)];
    let region = create(&realm, 0, 600).unwrap();
    let price = minus(realm.used(0), before[0]);
    let token = realm
        .grant(0, region, 1, Mode::Move, Rights::all())
        .unwrap();
    assert_eq!(
        minus(realm.used(0), before[0]),
        price,
        "until it is accepted"
    );
    let theirs = realm.accept(1, token, 0).unwrap();
    assert_eq!(realm.used(0), before[0]);
    assert_eq!(minus(realm.used(1), before[1]), price);
    // Derived capabilities move without the region.
    let derived = realm
        .derive(1, theirs, Rights::all() - Rights::ACCESS)
        .unwrap();
    let back = realm.give(1, derived, 0, Mode::Share);
    let kept = realm.domains[0].account().used();
    assert_eq!(minus(kept, before[0]), limits(0, 0, cost::CAPABILITY));
    realm.drop_handle(0, back).unwrap();
    realm.drop_handle(1, derived).unwrap();
    realm.exit(1);
    realm.finish();
}

#[test]
fn a_move_that_the_receiver_cannot_pay_for_fails_and_the_token_stays_good() {
    let first = cost::OBJECT + cost::CAPABILITY;
    // Process handles of the two domains, and the space.
    let base = cost::SPACE + 2 * first;
    let price = limits(100, 1, cost::REGION + cost::LEAF_TABLE + first);
    for short in 0..3 {
        let mut quota = limits(price.frames, price.tables + 1, price.bytes + base);
        match short {
            0 => quota.frames -= 1,
            1 => quota.tables -= 1,
            _ => quota.bytes -= 1,
        }
        let realm = Realm::with_quotas(&[Resources::NONE, quota]);
        let region = create(&realm, 0, 100).unwrap();
        let before = realm.counts();
        let token = realm
            .grant(0, region, 1, Mode::Move, Rights::all())
            .unwrap();
        for _ in 0..2 {
            assert_eq!(realm.accept(1, token, 0), Err(Error::Quota));
            assert_eq!(realm.counts().2, before.2);
        }
        realm.cancel(0, token).unwrap();
        let va = realm.map(0, region, WRITE);
        realm.store(0, 0, va, 7).unwrap();
        realm.finish();
    }
    let quota = limits(price.frames, price.tables + 1, price.bytes + base);
    let realm = Realm::with_quotas(&[Resources::NONE, quota]);
    let region = create(&realm, 0, 100).unwrap();
    let hog = realm.domains[1].account().charge(limits(1, 0, 0)).unwrap();
    let token = realm
        .grant(0, region, 1, Mode::Move, Rights::all())
        .unwrap();
    assert_eq!(realm.accept(1, token, 0), Err(Error::Quota));
    drop(hog);
    assert!(realm.accept(1, token, 0).is_ok());
    assert_eq!(realm.used(1), quota);
    realm.finish();
}

#[test]
fn what_is_shared_is_paid_for_by_its_owner_also_after_its_end() {
    let realm = Realm::new(1);
    let parent = Account::below(realm.memory().account(), limits(10, 0, 0)).unwrap();
    let child = Account::below(&parent, Resources::NONE).unwrap();
    let owner = realm.ipc.create_domain(&child, BASE).unwrap();
    let process = fake::FakeProcess::of(realm.domains[0].koid());
    let payload = ipc::Payload::Process(process);
    let via = realm
        .ipc
        .install_object(&owner, payload, Rights::PROCESS)
        .unwrap();
    let payload = ipc::Payload::Process(fake::FakeProcess::of(owner.koid()));
    let from = realm
        .ipc
        .install_object(&realm.domains[0], payload, Rights::PROCESS)
        .unwrap();
    let flags = RegionFlags::empty();
    let region = realm
        .ipc
        .create_region(&owner, 8 * PAGE_SIZE, flags, None)
        .unwrap();
    let token = realm
        .ipc
        .grant(
            &owner,
            region,
            via,
            Mode::Share,
            Rights::all(),
            GrantFlags::empty(),
            abi::FOREVER,
        )
        .unwrap();
    let theirs = realm.ipc.accept(&realm.domains[0], token, from).unwrap();
    end(&realm, owner);
    assert_eq!((child.used().frames, parent.used().frames), (8, 8));
    // Who starts the next below the same limit has so much less.
    assert_eq!(parent.charge(limits(3, 0, 0)).err(), Some(Error::Quota));
    realm.drop_handle(0, theirs).unwrap();
    assert_eq!(parent.used(), Resources::NONE);
    realm.finish();
}

#[test]
fn a_snapshot_is_paid_for_in_full_by_whoever_has_it() {
    let realm = Realm::new(2);
    let before = [realm.used(0), realm.used(1)];
    let region = create(&realm, 0, 600).unwrap();
    let price = minus(realm.used(0), before[0]);
    let (ipc, domain) = (&realm.ipc, &realm.domains[0]);
    let flags = SnapshotFlags::empty();
    let whole = ipc.snapshot_region(domain, region, 0, 0, flags).unwrap();
    let twice = limits(2 * price.frames, 2 * price.tables, 2 * price.bytes);
    assert_eq!(minus(realm.used(0), before[0]), twice);
    let flags = SnapshotFlags::OVERCOMMIT;
    let part = ipc
        .snapshot_region(domain, whole, 2 << 20, 0, flags)
        .unwrap();
    let now = minus(realm.used(0), before[0]);
    assert_eq!((now.frames, now.tables), (2 * 600 + 88, 2 * 2 + 1));
    // The source may end first; the snapshot goes on to hold, and to pay.
    realm.drop_handle(0, region).unwrap();
    realm.drop_handle(0, part).unwrap();
    assert_eq!(minus(realm.used(0), before[0]), price);
    let token = realm.grant(0, whole, 1, Mode::CopyOnWrite, Rights::all());
    assert_eq!(
        minus(realm.used(0), before[0]),
        twice,
        "until it is accepted"
    );
    realm.accept(1, token.unwrap(), 0).unwrap();
    assert_eq!(minus(realm.used(0), before[0]), price);
    assert_eq!(minus(realm.used(1), before[1]), price);
    realm.finish();
}
