//! Capabilities that are narrower than rights can say, in part and in number (I4).

use std::sync::Arc;

use crate::common::calls::ROOMY;
use crate::common::messages::Ends;
use crate::common::realm::Realm;
use crate::common::stage::HELLO;
use crate::common::waiting::waiting;
use crate::common::{LEAF, READ, WRITE};
use abi::limits::{DEFAULT_NODES, MAX_NODES};
use abi::{
    DeriveArgs, Error, FOREVER, GrantFlags, Handle, HandleTransfer, MapFlags, Mode, RegionFlags,
    Rights, SnapshotFlags, Syscall,
};
use fake::{Config, FakeTask, answered};
use ipc::Outgoing;

const ALL: Rights = Rights::all();

fn map_at(realm: &Realm, handle: Handle, offset: u64, len: u64) -> Result<u64, Error> {
    let domain = &realm.domains[0];
    let flags = MapFlags::empty();
    realm.ipc.map(domain, handle, 0, offset, len, WRITE, flags)
}

fn part(realm: &Realm, handle: Handle, offset: u64, len: u64) -> Result<Handle, Error> {
    let args = DeriveArgs {
        offset,
        len,
        ..DeriveArgs::new(ALL)
    };
    realm.derive_with(0, handle, args)
}

#[test]
fn a_part_is_all_that_can_be_reached_through_its_capability() {
    let realm = Realm::of(
        1,
        Config {
            frames: 8192,
            ..Config::default()
        },
    );
    let domain = &realm.domains[0];
    // Five leaf tables, the last of one page.
    let region = realm.region(0, 4 * 512 + 1);
    let whole = realm.map(0, region, WRITE);
    for leaf in 0..5 {
        realm.store(0, 0, whole + leaf * LEAF, leaf).unwrap();
    }
    let middle = part(&realm, region, LEAF, 3 * LEAF).unwrap();
    let info = realm.info(0, middle);
    assert_eq!((info.offset, info.len), (LEAF, 3 * LEAF));
    assert!(!Rights::from_bits_truncate(info.rights).intersects(Rights::SEAL | Rights::DESTROY));
    // Offsets count from where it begins.
    let mapped = map_at(&realm, middle, 0, 0).unwrap();
    for leaf in 0..3 {
        assert_eq!(realm.load(0, 0, mapped + leaf * LEAF), Ok(leaf + 1));
    }
    assert!(realm.load(0, 0, mapped + 3 * LEAF).is_err());
    let second = map_at(&realm, middle, LEAF, LEAF).unwrap();
    assert_eq!(realm.load(0, 0, second), Ok(2));
    for (offset, len) in [
        (3 * LEAF, 0),
        (0, 4 * LEAF),
        (2 * LEAF, 2 * LEAF),
        (u64::MAX - LEAF + 1, LEAF),
    ] {
        assert_eq!(map_at(&realm, middle, offset, len), Err(Error::Range));
        let flags = SnapshotFlags::empty();
        let copied = realm
            .ipc
            .snapshot_region(domain, middle, offset, len, flags);
        assert_eq!(copied, Err(Error::Range));
        assert_eq!(
            realm.ipc.commit_region(domain, middle, offset, len),
            Err(Error::Range)
        );
        assert_eq!(
            realm.ipc.decommit_region(domain, middle, offset, len),
            Err(Error::Range)
        );
    }
    let before = realm.region_of(0, region).present_pages();
    realm.ipc.decommit_region(domain, middle, 0, 0).unwrap();
    assert_eq!(realm.region_of(0, region).present_pages(), before - 3);
    assert_eq!(realm.load(0, 0, whole), Ok(0));
    assert_eq!(realm.load(0, 0, whole + LEAF), Ok(0));
    assert_eq!(realm.load(0, 0, whole + 4 * LEAF), Ok(4));
    // A pin fills what it covers, and keeps all.
    let end = part(&realm, region, 4 * LEAF, 0).unwrap();
    realm.ipc.pin_region(domain, end).unwrap();
    assert_eq!(realm.region_of(0, region).present_pages(), before - 3);
    realm.ipc.unpin_region(domain, end).unwrap();
    // What is copied is the part.
    let flags = SnapshotFlags::empty();
    let copy = realm.ipc.snapshot_region(domain, end, 0, 0, flags).unwrap();
    assert_eq!(realm.info(0, copy).len, 4096);
    realm.finish();
}

#[test]
fn parts_only_get_smaller_and_go_along() {
    let realm = Realm::of(
        2,
        Config {
            frames: 8192,
            ..Config::default()
        },
    );
    let region = realm.region(0, 8 * 512);
    let middle = part(&realm, region, 2 * LEAF, 4 * LEAF).unwrap();
    let inner = part(&realm, middle, LEAF, 2 * LEAF).unwrap();
    let info = realm.info(0, inner);
    assert_eq!((info.offset, info.len), (3 * LEAF, 2 * LEAF));
    for (offset, len, error) in [
        (0, 3 * LEAF, Error::Range),
        (2 * LEAF, 0, Error::Range),
        (4096, 0, Error::Align),
        (0, 4096, Error::Align),
        (u64::MAX, 1, Error::Range),
    ] {
        assert_eq!(
            part(&realm, inner, offset, len),
            Err(error),
            "{offset:#x} {len:#x}"
        );
    }
    let derived = realm.derive(0, inner, ALL).unwrap();
    assert_eq!(realm.info(0, derived).offset, 3 * LEAF);
    let theirs = realm.give(0, derived, 1, Mode::Share);
    assert_eq!(realm.info(1, theirs).len, 2 * LEAF);
    // Nothing else has parts.
    assert_eq!(
        part(&realm, realm.via[0][1], LEAF, 0),
        Err(Error::Unsupported)
    );
    let domain = &realm.domains[0];
    let fixed = realm
        .ipc
        .create_region(domain, 2 * LEAF, RegionFlags::CONTIGUOUS, None);
    if let Ok(fixed) = fixed {
        assert_eq!(part(&realm, fixed, LEAF, 0), Err(Error::Unsupported));
    }
    realm.finish();
}

#[test]
fn who_was_given_a_share_uses_up_a_budget_of_its_own() {
    let realm = Realm::new(2);
    let region = realm.region(0, 1);
    let theirs = realm.give(0, region, 1, Mode::Share);
    assert_eq!(realm.info(1, theirs).nodes_left, DEFAULT_NODES);
    for _ in 0..DEFAULT_NODES {
        realm.derive(1, theirs, ALL).unwrap();
    }
    assert_eq!(realm.derive(1, theirs, READ), Err(Error::Limit));
    // The owner goes on.
    let mine = realm.derive(0, region, ALL).unwrap();
    let left = MAX_NODES as u32 - 1 - (1 + DEFAULT_NODES) - 1;
    assert_eq!(realm.info(0, region).nodes_left, left);
    assert_eq!(realm.info(0, mine).nodes_left, left);
    // What it has given up comes back.
    assert_eq!(realm.revoke(0, region), Ok(u64::from(DEFAULT_NODES) + 2));
    assert_eq!(realm.info(0, region).nodes_left, MAX_NODES as u32 - 1);
    realm.finish();
}

/// Of what nothing more can be derived, nothing can be shared: whatever would carry it lists that it is refused so, and
/// what is refused is the sender's still.
#[test]
fn what_has_no_budget_left_is_not_shared_by_anything() {
    let realm = Arc::new(Realm::new(2));
    let region = realm.region(0, 1);
    let args = DeriveArgs {
        max_nodes: 1,
        ..DeriveArgs::new(ALL)
    };
    let spent = realm.derive_with(0, region, args).unwrap();
    realm.derive(0, spent, ALL).unwrap();
    let ends = Ends::between(&realm, 0, 1, 4);
    let there = ends.there.handle;
    let (caller, _) = waiting(&realm, move |realm| {
        let called = realm
            .ipc
            .call(&realm.domains[1], there, HELLO, ROOMY, FOREVER, |_| Ok(()));
        realm.ipc.end_task(&FakeTask::current());
        called.map(drop)
    });
    let here = ends.here;
    let reply = here.receive_until(&realm, FOREVER).unwrap().reply;
    let transfers = [HandleTransfer::new(spent, Mode::Share, ALL)];
    let message = || Outgoing {
        bytes: b"it",
        transfers: &transfers,
    };
    let (ipc, me) = (&realm.ipc, &realm.domains[0]);
    let called = |fit| ipc.call(me, here.handle, message(), fit, FOREVER, |_| Ok(()));
    let served = ipc.serve(me, here.handle, reply, &message(), 0, |_| Ok(()));
    let begun = ipc.begin(me, spent, Mode::Share, ALL, GrantFlags::empty());
    let all = [
        (
            Syscall::ChannelSend,
            ipc.send(me, here.handle, message(), 0),
        ),
        (Syscall::ChannelCall, called(ROOMY).map(drop)),
        (Syscall::ChannelReply, ipc.reply(me, reply, message())),
        (Syscall::ChannelServe, served.map(drop)),
        (
            Syscall::ProcessSpawn,
            begun.map(|offer| ipc.withdraw(offer)),
        ),
        (
            Syscall::Grant,
            realm.grant(0, spent, 1, Mode::Share, ALL).map(drop),
        ),
    ];
    for (call, answer) in all {
        assert_eq!(answered(call, answer), Err(Error::Limit), "{call:?}");
        assert_eq!(realm.look_up(0, spent), Ok(ALL & Rights::REGION));
    }
    ipc.reply(me, reply, HELLO).unwrap();
    assert_eq!(caller.join().unwrap(), Ok(()));
    Arc::into_inner(realm).unwrap().finish();
}

#[test]
fn a_budget_is_taken_out_of_the_parents_and_given_back() {
    let realm = Realm::new(1);
    let region = realm.region(0, 1);
    let budget = |parent, max_nodes| {
        let args = DeriveArgs {
            max_nodes,
            ..DeriveArgs::new(ALL)
        };
        realm.derive_with(0, parent, args)
    };
    let first = budget(region, 100).unwrap();
    let second = budget(first, 60).unwrap();
    assert_eq!(realm.info(0, first).nodes_left, 39);
    assert_eq!(budget(first, 39), Err(Error::Limit));
    let shared = realm.derive(0, second, ALL).unwrap();
    assert_eq!(realm.info(0, second).nodes_left, 59);
    realm.drop_handle(0, second).unwrap();
    // It is kept by what is below it.
    assert_eq!(realm.info(0, shared).nodes_left, 59);
    assert_eq!(realm.info(0, first).nodes_left, 39);
    realm.drop_handle(0, shared).unwrap();
    assert_eq!(realm.info(0, first).nodes_left, 100);
    realm.drop_handle(0, first).unwrap();
    assert_eq!(realm.info(0, region).nodes_left, MAX_NODES as u32 - 1);
    // Nothing can be derived from it, so it takes none.
    let args = DeriveArgs {
        max_nodes: 50,
        ..DeriveArgs::new(READ)
    };
    realm.derive_with(0, region, args).unwrap();
    assert_eq!(realm.info(0, region).nodes_left, MAX_NODES as u32 - 2);
    realm.finish();
}

#[test]
fn a_badge_is_written_once_and_inherited() {
    let realm = Realm::new(2);
    let region = realm.region(0, 1);
    let badged = |parent, badge| {
        let args = DeriveArgs {
            badge,
            ..DeriveArgs::new(ALL)
        };
        realm.derive_with(0, parent, args)
    };
    let seven = badged(region, 7).unwrap();
    assert_eq!(badged(seven, 8), Err(Error::Exists));
    assert_eq!(badged(region, 1 << 63), Err(Error::Invalid));
    for below in [
        badged(seven, 0).unwrap(),
        badged(seven, 7).unwrap(),
        realm.derive(0, seven, READ).unwrap(),
    ] {
        assert_eq!(realm.info(0, below).badge, 7);
    }
    let theirs = realm.give(0, seven, 1, Mode::Share);
    assert_eq!(realm.info(1, theirs).badge, 7);
    assert_eq!(realm.info(0, region).badge, 0);
    realm.finish();
}

#[test]
fn reduce_takes_rights_from_all_below_and_from_their_mappings() {
    let realm = Realm::new(2);
    realm.run_also_on_3(1);
    let region = realm.region(0, 2);
    let top = realm.derive(0, region, ALL).unwrap();
    let theirs = realm.give(0, top, 1, Mode::Share);
    let mine = realm.map(0, region, WRITE);
    let written = realm.map(1, theirs, WRITE);
    for cpu in [1, 3] {
        realm.store(cpu, 1, written, 9).unwrap();
    }
    realm.reduce(0, top, !Rights::WRITE).unwrap();
    assert_eq!(realm.look_up(1, theirs), Ok(Rights::REGION - Rights::WRITE));
    for cpu in [1, 3] {
        assert!(realm.store(cpu, 1, written, 1).is_err());
        assert_eq!(realm.load(cpu, 1, written), Ok(9));
    }
    assert_eq!(
        realm.ipc.protect(&realm.domains[1], written, WRITE),
        Err(Error::Denied)
    );
    assert_eq!(realm.try_map(1, theirs, WRITE), Err(Error::Denied));
    // What is above goes on.
    realm.store(0, 0, mine, 10).unwrap();
    realm.reduce(0, top, Rights::REVOKE).unwrap();
    for cpu in [1, 3] {
        assert!(!realm.reaches(cpu, written));
    }
    assert_eq!(realm.load(0, 0, mine), Ok(10));
    assert_eq!(realm.revoke(0, top), Ok(1));
    realm.finish();
}

#[test]
fn what_comes_back_from_a_move_has_no_more_than_is_above_it() {
    let realm = Realm::new(2);
    let via = realm.via[0][1];
    let middle = realm.derive(0, via, ALL).unwrap();
    let token = realm.grant(0, middle, 1, Mode::Move, Rights::WAIT).unwrap();
    realm.reduce(0, via, !Rights::INSPECT).unwrap();
    realm.cancel(0, token).unwrap();
    assert_eq!(
        realm.look_up(0, middle),
        Ok(Rights::PROCESS - Rights::INSPECT)
    );
    realm.finish();
}
