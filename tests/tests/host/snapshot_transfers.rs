//! CopyOnWrite as a way of handing over, and what pins and REVOKE_OTHERS do to a hand-over (I4, I5,
//! I6, I7).

use crate::common::realm::Realm;
use crate::common::{READ, WRITE, page};
use abi::Handle;
use abi::{Error, GrantFlags, MapFlags, Mode, RegionFlags, Rights, SnapshotFlags, Token};
use fake::Config;

const ALL: Rights = Rights::all();

fn grant_with(
    realm: &Realm,
    handle: Handle,
    mode: Mode,
    flags: GrantFlags,
) -> Result<Token, Error> {
    let via = realm.via[0][1];
    realm.ipc.grant(
        &realm.domains[0],
        handle,
        via,
        mode,
        ALL,
        flags,
        abi::FOREVER,
    )
}

fn revoking(realm: &Realm, handle: Handle) -> Result<Token, Error> {
    grant_with(realm, handle, Mode::Move, GrantFlags::REVOKE_OTHERS)
}

fn snapshot(realm: &Realm, domain: usize, handle: Handle) -> Result<Handle, Error> {
    let flags = SnapshotFlags::empty();
    let domain = &realm.domains[domain];
    realm.ipc.snapshot_region(domain, handle, 0, 0, flags)
}

fn pin(realm: &Realm, domain: usize, handle: Handle) -> Result<(), Error> {
    realm.ipc.pin_region(&realm.domains[domain], handle)
}

#[test]
fn a_snapshot_is_of_the_grant_and_not_of_the_accept() {
    let realm = Realm::new(2);
    realm.run_also_on_3(0);
    let mine = realm.region(0, 2);
    let va = realm.map(0, mine, WRITE);
    realm.store(3, 0, va, 7).unwrap();
    let token = realm.grant(0, mine, 1, Mode::CopyOnWrite, ALL).unwrap();
    // The sender keeps all that it had and goes on, on both of its CPUs.
    realm.store(0, 0, va, 8).unwrap();
    realm.store(3, 0, page(va, 1), 9).unwrap();
    let theirs = realm.accept(1, token, 0).unwrap();
    assert_eq!(realm.accept(1, token, 0), Err(Error::NotFound));
    assert_eq!(realm.cancel(0, token), Err(Error::NotFound));
    let there = realm.map(1, theirs, WRITE);
    assert_eq!(realm.load(1, 1, there), Ok(7));
    assert_eq!(realm.load(1, 1, page(there, 1)), Ok(0));
    realm.store(1, 1, there, 10).unwrap();
    assert_eq!(realm.load(3, 0, va), Ok(8));
    // It is an object of its own: nothing the sender does reaches it.
    let info = realm.ipc.capability_info(&realm.domains[0], mine).unwrap();
    assert_eq!(info.descendants, 0);
    assert_eq!(realm.revoke(0, mine), Ok(0));
    realm.ipc.destroy_region(&realm.domains[0], mine).unwrap();
    assert_eq!(realm.load(1, 1, there), Ok(10));
    realm.finish();
}

#[test]
fn a_snapshot_needs_read_and_duplicate_and_a_grant_of_it_grant_too() {
    let realm = Realm::new(2);
    let mine = realm.region(0, 1);
    for missing in [Rights::READ, Rights::DUPLICATE, Rights::GRANT] {
        let less = realm.derive(0, mine, Rights::REGION - missing).unwrap();
        let granted = realm.grant(0, less, 1, Mode::CopyOnWrite, ALL);
        assert_eq!(granted, Err(Error::Denied), "{missing:?}");
        let expected = match missing {
            Rights::GRANT => Ok(()),
            _ => Err(Error::Denied),
        };
        assert_eq!(snapshot(&realm, 0, less).map(drop), expected);
    }
    // Who may only read gets a snapshot that may be written, and no right to execute.
    let reads = Rights::READ | Rights::DUPLICATE | Rights::GRANT;
    let reader = realm.derive(0, mine, reads).unwrap();
    let copy = snapshot(&realm, 0, reader).unwrap();
    assert_eq!(realm.look_up(0, copy), Ok(Rights::REGION));
    let token = realm.grant(0, reader, 1, Mode::CopyOnWrite, READ).unwrap();
    let theirs = realm.accept(1, token, 0).unwrap();
    assert_eq!(realm.look_up(1, theirs), Ok(READ));
    let code = realm
        .ipc
        .create_region(&realm.domains[0], 4096, RegionFlags::EXECUTE, None)
        .unwrap();
    let copy = snapshot(&realm, 0, code).unwrap();
    let rights = Rights::REGION | Rights::EXECUTE;
    assert_eq!(realm.look_up(0, copy), Ok(rights));
    realm.finish();
}

#[test]
fn flags_that_say_nothing_about_a_mode_are_refused() {
    let realm = Realm::new(2);
    let mine = realm.region(0, 1);
    let (revoke, overcommit) = (GrantFlags::REVOKE_OTHERS, GrantFlags::OVERCOMMIT);
    for (mode, flags) in [
        (Mode::Share, revoke),
        (Mode::Share, overcommit),
        (Mode::Move, overcommit),
        (Mode::Move, revoke | overcommit),
        (Mode::CopyOnWrite, revoke),
        (Mode::CopyOnWrite, revoke | overcommit),
    ] {
        let before = realm.counts();
        assert_eq!(grant_with(&realm, mine, mode, flags), Err(Error::Invalid));
        assert_eq!(realm.counts(), before);
    }
    realm.finish();
}

#[test]
fn a_snapshot_that_nobody_takes_is_gone_with_its_token() {
    for end in 0..3 {
        let realm = Realm::new(2);
        let mine = realm.region(0, 2);
        let va = realm.map(0, mine, WRITE);
        realm.store(0, 0, va, 7).unwrap();
        let before = realm.counts().0;
        let token = realm.grant(0, mine, 1, Mode::CopyOnWrite, ALL).unwrap();
        match end {
            // Cancelled.
            0 => realm.cancel(0, token).unwrap(),
            // The receiver ends.
            1 => realm.exit(1),
            // The sender ends: the token stays good, and nobody is left to share with.
            _ => {
                realm.exit(0);
                let theirs = realm.accept(1, token, 0).unwrap();
                let there = realm.map(1, theirs, WRITE);
                assert_eq!(realm.load(1, 1, there), Ok(7));
                realm.store(1, 1, there, 8).unwrap();
            }
        }
        if end < 2 {
            assert!(realm.accept(1, token, 0).is_err());
            realm.store(0, 0, va, 8).unwrap();
            let region = realm.region_of(0, mine);
            assert_eq!(realm.memory().large_and_shared_leaves(&region).1, 0);
        }
        if end == 0 {
            assert_eq!(realm.counts().0, before);
        }
        realm.finish();
    }
}

#[test]
fn a_grant_of_a_snapshot_that_finds_no_memory_changes_nothing() {
    let realm = Realm::of(
        2,
        Config {
            frames: 64,
            ..Config::default()
        },
    );
    let mine = realm.region(0, 4);
    let va = realm.map(0, mine, WRITE);
    realm.store(0, 0, va, 7).unwrap();
    let rest = realm.region(0, fake::counts(realm.memory()).available - 1);
    let before = realm.counts();
    let refused = realm.grant(0, mine, 1, Mode::CopyOnWrite, ALL);
    assert_eq!(refused, Err(Error::NoMemory));
    assert_eq!(realm.counts(), before);
    // Asked for nothing, it is there, and lost when the sender needs what is not.
    let token = grant_with(&realm, mine, Mode::CopyOnWrite, GrantFlags::OVERCOMMIT).unwrap();
    let theirs = realm.accept(1, token, 0).unwrap();
    realm.store(0, 0, va, 8).unwrap();
    let info = realm.ipc.region_info(&realm.domains[1], theirs).unwrap();
    assert_eq!((info.lost, info.present_pages), (1, 0));
    assert_eq!(realm.try_map(1, theirs, READ), Err(Error::NoMemory));
    assert_eq!(snapshot(&realm, 1, theirs), Err(Error::NoMemory));
    // Its handles can still be handed on and given back.
    let back = realm.give(1, theirs, 0, Mode::Move);
    realm.drop_handle(0, back).unwrap();
    realm.drop_handle(0, rest).unwrap();
    realm.finish();
}

#[test]
fn a_mapping_of_a_lost_snapshot_keeps_its_object_until_it_is_unmapped() {
    let realm = Realm::of(
        2,
        Config {
            frames: 64,
            ..Config::default()
        },
    );
    let mine = realm.region(0, 4);
    let va = realm.map(0, mine, WRITE);
    realm.store(0, 0, va, 7).unwrap();
    for unmaps in [true, false] {
        let token = grant_with(&realm, mine, Mode::CopyOnWrite, GrantFlags::OVERCOMMIT).unwrap();
        let theirs = realm.accept(1, token, 0).unwrap();
        let there = realm.map(1, theirs, READ);
        assert_eq!(realm.load(1, 1, there), Ok(if unmaps { 7 } else { 8 }));
        realm.drop_handle(1, theirs).unwrap();
        let rest = realm.region(0, fake::counts(realm.memory()).available - 1);
        realm.store(0, 0, va, 8).unwrap();
        realm.drop_handle(0, rest).unwrap();
        assert_eq!(realm.load(1, 1, there), Err(Error::NoMemory));
        // A sweep does not forget what it stands for.
        let other = realm.region(1, 1);
        let elsewhere = realm.map(1, other, WRITE);
        assert_ne!(elsewhere, there);
        let objects = realm.ipc.object_count();
        if unmaps {
            realm.unmap(1, there).unwrap();
            assert_eq!(realm.ipc.object_count(), objects - 1);
        }
    }
    // What was not unmapped goes with the process.
    realm.finish();
}

#[test]
fn a_pinned_region_is_neither_moved_nor_copied_nor_destroyed() {
    let realm = Realm::new(2);
    let mine = realm.region(0, 2);
    pin(&realm, 0, mine).unwrap();
    let before = realm.counts();
    let domain = &realm.domains[0];
    let pinned = Err(Error::Pinned);
    assert_eq!(realm.grant(0, mine, 1, Mode::Move, ALL).err(), pinned.err());
    assert_eq!(revoking(&realm, mine).err(), pinned.err());
    assert_eq!(
        realm.grant(0, mine, 1, Mode::CopyOnWrite, ALL).err(),
        pinned.err()
    );
    assert_eq!(snapshot(&realm, 0, mine).err(), pinned.err());
    assert_eq!(realm.ipc.decommit_region(domain, mine, 0, 0), pinned);
    assert_eq!(realm.ipc.destroy_region(domain, mine), pinned);
    assert_eq!(realm.counts(), before);
    assert_eq!(realm.look_up(0, mine), Ok(Rights::REGION));
    // Sharing moves nothing.
    realm.give(0, mine, 1, Mode::Share);
    realm.ipc.unpin_region(domain, mine).unwrap();
    assert_eq!(realm.ipc.unpin_region(domain, mine), Err(Error::NotFound));
    snapshot(&realm, 0, mine).unwrap();
    realm.ipc.destroy_region(domain, mine).unwrap();
    realm.finish();
}

#[test]
fn pins_go_with_the_capability_that_they_were_made_under() {
    for (how, count) in (0..6).flat_map(|how| [(how, 1), (how, 2)]) {
        let realm = Realm::new(2);
        let mine = realm.region(0, 1);
        let region = realm.region_of(0, mine);
        let theirs = realm.give(0, mine, 1, Mode::Share);
        for _ in 0..count {
            pin(&realm, 1, theirs).unwrap();
        }
        assert_eq!(snapshot(&realm, 0, mine), Err(Error::Pinned));
        // The pins of another capability are not one's own to take back.
        let not_mine = realm.ipc.unpin_region(&realm.domains[0], mine);
        assert_eq!(not_mine, Err(Error::NotFound));
        match how {
            0 => realm.drop_handle(1, theirs).unwrap(),
            1 => assert_eq!(realm.revoke(0, mine), Ok(1)),
            2 => realm.exit(1),
            // Who may not map it could not take them back.
            3 => realm.reduce(1, theirs, ALL - Rights::MAP).unwrap(),
            4 => realm.reduce(0, mine, ALL - Rights::MAP).unwrap(),
            _ => {
                for _ in 0..count {
                    let domain = &realm.domains[1];
                    realm.ipc.unpin_region(domain, theirs).unwrap();
                }
            }
        }
        assert_eq!(region.pin_count(), 0);
        drop(region);
        snapshot(&realm, 0, mine).unwrap();
        realm.finish();
    }
}

#[test]
fn a_move_that_revokes_takes_what_is_below_from_everybody() {
    let realm = Realm::new(3);
    let mine = realm.region(0, 1);
    let va = realm.map(0, mine, WRITE);
    realm.store(0, 0, va, 7).unwrap();
    let shared = realm.give(0, mine, 2, Mode::Share);
    let there = realm.map(2, shared, WRITE);
    assert_eq!(realm.load(2, 2, there), Ok(7));
    let derived = realm.derive(0, mine, READ | Rights::MAP).unwrap();
    let pending = realm.grant(0, mine, 2, Mode::Share, READ).unwrap();
    assert_eq!(realm.grant(0, mine, 1, Mode::Move, ALL), Err(Error::Shared));

    let token = revoking(&realm, mine).unwrap();
    // Before anybody could accept it, nobody else can reach it.
    assert!(!realm.reaches(2, there) && !realm.reaches(0, va));
    assert_eq!(realm.look_up(2, shared), Err(Error::Revoked));
    assert_eq!(realm.look_up(0, derived), Err(Error::Revoked));
    assert_eq!(realm.accept(2, pending, 0), Err(Error::NotFound));
    let theirs = realm.accept(1, token, 0).unwrap();
    let here = realm.map(1, theirs, WRITE);
    assert_eq!(realm.load(1, 1, here), Ok(7));
    let info = realm
        .ipc
        .capability_info(&realm.domains[1], theirs)
        .unwrap();
    assert_eq!((info.descendants, info.rights), (0, Rights::REGION.bits()));
    realm.finish();
}

#[test]
fn a_move_that_revokes_does_not_touch_what_is_above_or_beside() {
    let realm = Realm::new(3);
    let top = realm.region(0, 1);
    let below = realm.derive(0, top, Rights::REGION).unwrap();
    let beside = realm.derive(0, top, READ | Rights::MAP).unwrap();
    let lower = realm.derive(0, below, READ).unwrap();
    assert_eq!(revoking(&realm, below), Err(Error::Shared));
    // Nothing was revoked by what was refused.
    assert_eq!(realm.look_up(0, lower), Ok(READ));
    // A sibling that can only inspect does not stand in the way, and stays.
    realm.drop_handle(0, beside).unwrap();
    let watcher = realm.derive(0, top, Rights::INSPECT).unwrap();
    assert_eq!(revoking(&realm, below), Err(Error::Shared));
    realm.drop_handle(0, top).unwrap();
    let token = revoking(&realm, below).unwrap();
    realm.accept(1, token, 0).unwrap();
    assert_eq!(realm.look_up(0, watcher), Ok(Rights::INSPECT));
    assert_eq!(realm.look_up(0, lower), Err(Error::Revoked));
    realm.finish();
}

#[test]
fn a_move_that_revokes_needs_the_right_to_revoke() {
    let realm = Realm::new(2);
    let mine = realm.region(0, 1);
    let without = realm
        .derive(0, mine, Rights::REGION - Rights::REVOKE)
        .unwrap();
    realm.drop_handle(0, mine).unwrap();
    assert_eq!(revoking(&realm, without), Err(Error::Denied));
    let token = realm.grant(0, without, 1, Mode::Move, ALL).unwrap();
    realm.accept(1, token, 0).unwrap();
    realm.finish();
}

#[test]
fn what_a_cancelled_move_revoked_stays_revoked() {
    let realm = Realm::new(2);
    let mine = realm.region(0, 1);
    let below = realm.derive(0, mine, READ).unwrap();
    let token = revoking(&realm, mine).unwrap();
    realm.cancel(0, token).unwrap();
    assert_eq!(realm.look_up(0, mine), Ok(Rights::REGION));
    assert_eq!(realm.look_up(0, below), Err(Error::Revoked));
    realm.finish();
}

#[test]
fn a_part_of_a_region_is_copied_by_its_handle() {
    let realm = Realm::new(1);
    let mine = realm.region(0, 600);
    let va = realm.map(0, mine, WRITE);
    realm.store(0, 0, page(va, 550), 7).unwrap();
    let domain = &realm.domains[0];
    let flags = SnapshotFlags::empty();
    let part = |offset, len| realm.ipc.snapshot_region(domain, mine, offset, len, flags);
    let tail = part(2 << 20, 0).unwrap();
    let map = MapFlags::empty();
    let there = realm.ipc.map(domain, tail, 0, 0, 0, READ, map).unwrap();
    assert_eq!(realm.load(0, 0, page(there, 38)), Ok(7));
    let before = realm.counts();
    assert_eq!(part(4096, 0), Err(Error::Align));
    assert_eq!(part(4 << 20, 0), Err(Error::Range));
    assert_eq!(part(0, u64::MAX), Err(Error::Range));
    assert_eq!(realm.counts(), before);
    realm.finish();
}
