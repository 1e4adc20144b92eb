//! Handles, rights and lineage (I4, I5).

use crate::common::realm::Realm;
use crate::common::{READ, WRITE};
use abi::ring::Geometry;
use abi::{Error, GrantFlags, Handle, Mode, ObjectKind, Rights, RingClose};
use mm::RegionOptions;
use proptest::prelude::*;

#[test]
fn a_handle_is_worth_nothing_in_another_domain() {
    let realm = Realm::new(2);
    let handle = realm.region(0, 1);
    assert!(realm.look_up(0, handle).is_ok());
    assert_eq!(realm.look_up(1, handle), Err(Error::BadHandle));
    assert_eq!(realm.try_map(1, handle, READ), Err(Error::BadHandle));
    assert_eq!(realm.drop_handle(1, handle), Err(Error::BadHandle));
    realm.finish();
}

#[test]
fn what_was_dropped_costs_nothing_and_counts_in_no_revoke() {
    let realm = Realm::new(1);
    let root = realm.region(0, 1);
    let before = realm.used(0);
    for _ in 0..3 {
        let derived = realm.derive(0, root, Rights::all()).unwrap();
        assert_ne!(realm.used(0), before);
        realm.drop_handle(0, derived).unwrap();
        assert_eq!(realm.used(0), before);
    }
    assert_eq!(realm.revoke(0, root), Ok(0));
    let derived = realm.derive(0, root, Rights::all()).unwrap();
    assert_eq!(realm.revoke(0, root), Ok(1));
    realm.drop_handle(0, derived).unwrap();
    assert_eq!(realm.used(0), before);
    realm.finish();
}

#[test]
fn a_handle_is_never_valid_twice() {
    let realm = Realm::new(1);
    let mut gone: Vec<Handle> = Vec::new();
    for _ in 0..50 {
        let handle = realm.region(0, 1);
        assert!(!gone.contains(&handle), "{handle:?} again");
        realm.drop_handle(0, handle).unwrap();
        gone.push(handle);
        let tenant = realm.region(0, 1);
        for old in &gone {
            assert_eq!(realm.look_up(0, *old), Err(Error::BadHandle));
        }
        realm.drop_handle(0, tenant).unwrap();
        gone.push(tenant);
    }
    realm.finish();
}

#[test]
fn a_handle_with_any_other_bit_is_refused() {
    let realm = Realm::new(1);
    let handle = realm.region(0, 1);
    for bit in 0..64 {
        let other = Handle::from_bits(handle.bits() ^ 1 << bit);
        // A neighbour in the table is somebody, but no region.
        let result = realm.ipc.region_info(&realm.domains[0], other);
        assert!(matches!(result, Err(Error::BadHandle | Error::WrongKind)));
    }
    for bits in [0, u64::MAX, 1 << 63, 0xffff_8000_0000_0000] {
        let result = realm.look_up(0, Handle::from_bits(bits));
        assert_eq!(result, Err(Error::BadHandle));
    }
    realm.finish();
}

/// One call on a region that domain 0 has, and the right that it needs.
type Call = (
    &'static str,
    Rights,
    fn(&Realm, Handle) -> Result<(), Error>,
);

const REGION_CALLS: &[Call] = &[
    ("info", Rights::INSPECT, |r, h| {
        r.ipc.region_info(&r.domains[0], h).map(drop)
    }),
    ("seal", Rights::SEAL, |r, h| {
        r.ipc.seal_region(&r.domains[0], h)
    }),
    ("destroy", Rights::DESTROY, |r, h| {
        r.ipc.destroy_region(&r.domains[0], h)
    }),
    ("derive", Rights::DUPLICATE, |r, h| {
        r.derive(0, h, READ).map(drop)
    }),
    ("revoke", Rights::REVOKE, |r, h| r.revoke(0, h).map(drop)),
    ("map", Rights::MAP, |r, h| r.try_map(0, h, READ).map(drop)),
    ("map to read", Rights::READ, |r, h| {
        r.try_map(0, h, READ).map(drop)
    }),
    ("map to write", Rights::WRITE, |r, h| {
        r.try_map(0, h, WRITE).map(drop)
    }),
    ("share", Rights::GRANT, |r, h| {
        r.grant(0, h, 1, Mode::Share, READ).map(drop)
    }),
    ("share", Rights::DUPLICATE, |r, h| {
        r.grant(0, h, 1, Mode::Share, READ).map(drop)
    }),
    ("move", Rights::GRANT, |r, h| {
        r.grant(0, h, 1, Mode::Move, READ).map(drop)
    }),
    ("move", Rights::MOVE, |r, h| {
        r.grant(0, h, 1, Mode::Move, READ).map(drop)
    }),
];

const RING_CALLS: &[Call] = &[
    ("ring_map", Rights::MAP, |r, h| {
        r.ipc.map_ring(&r.domains[0], h).map(drop)
    }),
    ("ring_wake", Rights::SIGNAL, |r, h| {
        r.ipc.wake_ring(&r.domains[0], h)
    }),
    ("ring_close", Rights::SIGNAL, |r, h| {
        r.ipc.close_ring(&r.domains[0], h, RingClose::Orderly)
    }),
    ("ring_info", Rights::INSPECT, |r, h| {
        r.ipc.ring_info(&r.domains[0], h).map(drop)
    }),
    ("ring_wait", Rights::WAIT, |r, h| {
        r.ipc.wait_ring(&r.domains[0], h, 0, 0)
    }),
    ("grant by it", Rights::GRANT, |r, h| {
        let region = r.region(0, 1);
        let domain = &r.domains[0];
        r.ipc
            .grant(
                domain,
                region,
                h,
                Mode::Share,
                READ,
                GrantFlags::empty(),
                abi::FOREVER,
            )
            .map(|token| r.cancel(0, token).unwrap())
    }),
];

#[test]
fn an_operation_without_its_right_is_denied() {
    for (name, right, call) in REGION_CALLS {
        let realm = Realm::new(2);
        let region = |rights| {
            let region = realm
                .memory()
                .create_region(realm.memory().account(), 4096, RegionOptions::default())
                .unwrap();
            realm
                .ipc
                .install_region(&realm.domains[0], region, rights)
                .unwrap()
        };
        let (without, with) = (region(Rights::REGION - *right), region(Rights::REGION));
        let before = realm.counts();
        let denied = call(&realm, without);
        assert_eq!(denied, Err(Error::Denied), "{name} without {right:?}");
        assert_eq!(realm.counts(), before, "{name} without {right:?}");
        assert_eq!(call(&realm, with), Ok(()), "{name}");
        realm.finish();
    }
    for (name, right, call) in RING_CALLS {
        let realm = Realm::new(1);
        let geometry = Geometry::slot(64, 8);
        let ends = || realm.ipc.create_ring(&realm.domains[0], geometry).unwrap();
        // Handed to itself with one right less.
        let token = realm.grant(0, ends().0, 0, Mode::Move, Rights::all() - *right);
        let without = realm.accept(0, token.unwrap(), 0).unwrap();
        let denied = call(&realm, without);
        assert_eq!(denied, Err(Error::Denied), "{name} without {right:?}");
        assert_eq!(call(&realm, ends().0), Ok(()), "{name}");
        realm.finish();
    }
}

#[test]
fn executing_is_denied_to_who_may_only_write() {
    let realm = Realm::new(1);
    let handle = realm.region(0, 1);
    let execute = Rights::READ | Rights::EXECUTE;
    assert_eq!(realm.try_map(0, handle, execute), Err(Error::Denied));
    for nonsense in [
        Rights::empty(),
        Rights::WRITE,
        Rights::EXECUTE,
        Rights::ACCESS,
        Rights::READ | Rights::MAP,
    ] {
        assert_eq!(realm.try_map(0, handle, nonsense), Err(Error::Invalid));
    }
    realm.finish();
}

#[test]
fn a_handle_of_another_kind_is_refused_as_such() {
    let realm = Realm::new(1);
    let domain = &realm.domains[0];
    let region = realm.region(0, 1);
    let process = realm.via[0][0];
    let (producer, _) = realm
        .ipc
        .create_ring(domain, Geometry::slot(64, 8))
        .unwrap();
    for handle in [process, producer] {
        assert_eq!(realm.try_map(0, handle, READ), Err(Error::WrongKind));
        let info = realm.ipc.region_info(domain, handle);
        assert_eq!(info, Err(Error::WrongKind));
    }
    for handle in [process, region] {
        let mapped = realm.ipc.map_ring(domain, handle);
        assert_eq!(mapped, Err(Error::WrongKind));
        let waited = realm.ipc.wait_ring(domain, handle, 1, 0);
        assert_eq!(waited, Err(Error::WrongKind));
    }
    let via_region = realm.ipc.grant(
        domain,
        region,
        region,
        Mode::Share,
        READ,
        GrantFlags::empty(),
        abi::FOREVER,
    );
    assert_eq!(via_region, Err(Error::WrongKind));
    realm.finish();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn deriving_only_takes_rights_away(
        chain in prop::collection::vec((any::<u32>(), any::<prop::sample::Index>()), 1..20),
    ) {
        let realm = Realm::new(1);
        let mut held = vec![(realm.region(0, 1), Rights::REGION)];
        for (bits, from) in chain {
            let asked = Rights::from_bits_truncate(bits);
            let (source, had) = held[from.index(held.len())];
            let derived = realm.derive(0, source, asked);
            if !had.contains(Rights::DUPLICATE) {
                prop_assert_eq!(derived, Err(Error::Denied));
                continue;
            }
            let handle = derived.unwrap();
            prop_assert_eq!(realm.look_up(0, handle), Ok(had & asked));
            held.push((handle, had & asked));
        }
        for (handle, rights) in held {
            prop_assert_eq!(realm.look_up(0, handle), Ok(rights));
            let maps = rights.contains(Rights::MAP | WRITE);
            prop_assert_eq!(realm.try_map(0, handle, WRITE).is_ok(), maps);
        }
        realm.finish();
    }
}

#[test]
fn revoke_takes_what_is_below_and_nothing_above_or_beside() {
    let realm = Realm::new(3);
    realm.run_also_on_3(1);
    let root = realm.region(0, 2);
    let middle = realm.derive(0, root, Rights::all()).unwrap();
    let beside = realm.derive(0, root, Rights::all()).unwrap();
    let below = realm.give(0, middle, 1, Mode::Share);
    let deeper = realm.derive(1, below, READ | Rights::MAP).unwrap();
    let kept = [
        realm.map(0, root, WRITE),
        realm.map(0, middle, WRITE),
        realm.map(0, beside, WRITE),
    ];
    let lost = [realm.map(1, below, WRITE), realm.map(1, deeper, READ)];
    realm.store(0, 0, kept[0], 7).unwrap();
    for va in lost {
        assert_eq!(realm.load(1, 1, va), Ok(7));
        assert_eq!(realm.load(3, 1, va), Ok(7));
    }
    let pending = realm.grant(1, below, 2, Mode::Share, READ).unwrap();

    let domain = &realm.domains[0];
    let info = realm.ipc.capability_info(domain, middle).unwrap();
    assert_eq!(info.descendants, 3);
    assert_eq!(realm.revoke(0, middle), Ok(3));
    assert_eq!(realm.revoke(0, middle), Ok(0));

    for va in lost {
        for cpu in [1, 3] {
            assert!(!realm.reaches(cpu, va));
            assert_eq!(realm.load(cpu, 1, va), Err(Error::Revoked));
        }
    }
    for handle in [below, deeper] {
        assert_eq!(realm.look_up(1, handle), Err(Error::Revoked));
        assert_eq!(realm.try_map(1, handle, READ), Err(Error::Revoked));
        assert_eq!(realm.derive(1, handle, READ), Err(Error::Revoked));
        let granted = realm.grant(1, handle, 2, Mode::Share, READ);
        assert_eq!(granted, Err(Error::Revoked));
        assert_eq!(realm.drop_handle(1, handle), Ok(()));
        assert_eq!(realm.drop_handle(1, handle), Err(Error::BadHandle));
    }
    assert_eq!(realm.accept(2, pending, 1), Err(Error::NotFound));
    for (handle, va) in [root, middle, beside].into_iter().zip(kept) {
        assert_eq!(realm.look_up(0, handle), Ok(Rights::REGION));
        assert_eq!(realm.load(0, 0, va), Ok(7));
    }
    realm.audit(&[realm.region_of(0, root)]);
    realm.finish();
}

#[test]
fn a_mapping_keeps_what_its_dropped_capability_stood_for() {
    let realm = Realm::new(1);
    let objects = realm.ipc.object_count();
    let handle = realm.region(0, 3);
    let region = realm.region_of(0, handle);
    let va = realm.map(0, handle, WRITE);
    realm.store(0, 0, va, 9).unwrap();
    realm.drop_handle(0, handle).unwrap();
    assert_eq!(realm.load(0, 0, va), Ok(9));
    realm.audit(&[region]);
    realm.unmap(0, va).unwrap();
    assert_eq!(realm.ipc.object_count(), objects);
    assert_eq!(fake::counts(realm.memory()).pages, 0);
    realm.audit(&[]);
    realm.finish();
}

#[test]
fn a_dropped_capability_in_the_middle_still_ties_its_children_to_the_top() {
    let realm = Realm::new(1);
    let root = realm.region(0, 1);
    let middle = realm.derive(0, root, Rights::all()).unwrap();
    let leaf = realm.derive(0, middle, Rights::all()).unwrap();
    realm.drop_handle(0, middle).unwrap();
    assert!(realm.look_up(0, leaf).is_ok());
    assert_eq!(realm.revoke(0, root), Ok(2));
    assert_eq!(realm.look_up(0, leaf), Err(Error::Revoked));
    realm.finish();
}

#[test]
fn destroying_a_region_takes_it_from_everybody() {
    let realm = Realm::new(2);
    let objects = realm.ipc.object_count();
    let root = realm.region(0, 2);
    let rights = Rights::all() - Rights::DESTROY;
    let token = realm.grant(0, root, 1, Mode::Share, rights).unwrap();
    let shared = realm.accept(1, token, 0).unwrap();
    let va = realm.map(1, shared, WRITE);
    realm.store(1, 1, va, 1).unwrap();
    let pending = realm.grant(1, shared, 0, Mode::Share, READ).unwrap();
    let domain = &realm.domains[0];
    realm.ipc.destroy_region(domain, root).unwrap();
    assert!(!realm.reaches(1, va));
    assert_eq!(realm.load(1, 1, va), Err(Error::Revoked));
    assert_eq!(realm.look_up(0, root), Err(Error::BadHandle));
    assert_eq!(realm.look_up(1, shared), Err(Error::Revoked));
    assert_eq!(realm.accept(0, pending, 1), Err(Error::NotFound));
    assert_eq!(realm.ipc.object_count(), objects);
    realm.audit(&[]);
    realm.finish();
}

#[test]
fn what_is_told_of_a_capability_is_true() {
    let realm = Realm::new(1);
    let domain = &realm.domains[0];
    let region = realm.region(0, 1);
    let derived = realm.derive(0, region, READ).unwrap();
    let other = realm.region(0, 1);
    let info = realm.ipc.capability_info(domain, derived).unwrap();
    assert_eq!(info.koid, realm.region_of(0, region).koid());
    assert_eq!(info.rights, READ.bits());
    assert_eq!(info.kind, ObjectKind::Region as u32);
    assert_eq!(info.descendants, 0);
    assert_eq!(realm.ipc.same_object(domain, region, derived), Ok(true));
    assert_eq!(realm.ipc.same_object(domain, region, other), Ok(false));
    realm.finish();
}
