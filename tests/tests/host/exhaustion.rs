//! Limits and want of memory: the documented answer, nothing changed, nothing lost (I9, I11).

use crate::common;
use crate::common::realm::Realm;
use crate::common::{READ, WRITE};
use abi::limits::{MAX_GRANTS, MAX_HANDLES, MAX_NODES, MAX_REGION};
use abi::ring::Geometry;
use abi::{DeriveArgs, Error, Handle, MapFlags, Mode, RegionFlags, Rights};
use fake::Config;

#[test]
fn a_full_table_is_a_limit_for_everything_that_makes_a_handle() {
    let realm = Realm::new(2);
    let region = realm.region(0, 1);
    let other = realm.region(1, 1);
    let token = realm.grant(1, other, 0, Mode::Share, READ).unwrap();
    // Two objects, as one may not have so many capabilities.
    let second = realm.region(0, 1);
    let room = MAX_HANDLES - realm.domains[0].handle_count();
    for turn in 0..room {
        let source = if turn % 2 == 0 { region } else { second };
        realm.derive(0, source, READ).unwrap();
    }
    let before = realm.counts();
    let domain = &realm.domains[0];
    assert_eq!(realm.derive(0, region, READ), Err(Error::Limit));
    let created = realm
        .ipc
        .create_region(domain, 1, RegionFlags::empty(), None);
    assert_eq!(created, Err(Error::Limit));
    let ring = realm.ipc.create_ring(domain, Geometry::slot(64, 8));
    assert_eq!(ring, Err(Error::Limit));
    assert_eq!(realm.accept(0, token, 1), Err(Error::Limit));
    assert_eq!(realm.counts(), before);
    // One place is enough for one, and not for the two ends of a ring.
    realm.drop_handle(0, second).unwrap();
    let ring = realm.ipc.create_ring(domain, Geometry::slot(64, 8));
    assert_eq!(ring, Err(Error::Limit));
    assert!(realm.accept(0, token, 1).is_ok());
    realm.finish();
}

#[test]
fn so_many_grants_may_be_pending_and_no_more() {
    let realm = Realm::new(2);
    let region = realm.region(0, 1);
    let share = || realm.grant(0, region, 1, Mode::Share, READ);
    let tokens: Vec<_> = (0..MAX_GRANTS).map(|_| share().unwrap()).collect();
    let before = realm.counts();
    assert_eq!(share(), Err(Error::Limit));
    assert_eq!(realm.counts(), before);
    realm.cancel(0, tokens[0]).unwrap();
    let token = share().unwrap();
    assert_eq!(share(), Err(Error::Limit));
    realm.accept(1, token, 0).unwrap();
    assert!(share().is_ok());
    // All at once: what is revoked is no longer pending.
    assert_eq!(realm.revoke(0, region), Ok(MAX_GRANTS as u64 + 1));
    for _ in 0..MAX_GRANTS {
        share().unwrap();
    }
    realm.finish();
}

#[test]
fn refused_grants_count_for_nothing() {
    let realm = Realm::new(3);
    let region = realm.region(0, 1);
    let derived = realm.derive(0, region, Rights::all()).unwrap();
    realm.exit(2);
    for _ in 0..=MAX_GRANTS {
        let moved = realm.grant(0, region, 1, Mode::Move, READ);
        assert_eq!(moved, Err(Error::Shared));
        let closed = realm.grant(0, derived, 2, Mode::Share, READ);
        assert_eq!(closed, Err(Error::PeerClosed));
    }
    assert!(realm.grant(0, region, 1, Mode::Share, READ).is_ok());
    realm.finish();
}

#[test]
fn an_object_has_so_many_capabilities_and_no_more() {
    let realm = Realm::new(1);
    let region = realm.region(0, 1);
    // All but three are for somebody else, who does not use them.
    let theirs = realm.derive_with(
        0,
        region,
        DeriveArgs {
            max_nodes: MAX_NODES as u32 - 5,
            ..DeriveArgs::new(Rights::all())
        },
    );
    let made: Vec<_> = (0..3).map(|_| realm.derive(0, region, READ)).collect();
    assert!(made.iter().all(Result::is_ok));
    let before = realm.counts();
    assert_eq!(realm.derive(0, region, READ), Err(Error::Limit));
    let granted = realm.grant(0, region, 0, Mode::Share, READ);
    assert_eq!(granted, Err(Error::Limit));
    assert_eq!(realm.counts(), before);
    realm.drop_handle(0, made[1].unwrap()).unwrap();
    assert!(realm.derive(0, region, READ).is_ok());
    assert!(realm.derive(0, theirs.unwrap(), READ).is_ok());
    assert_eq!(realm.revoke(0, region), Ok(5));
    assert_eq!(realm.info(0, region).nodes_left, MAX_NODES as u32 - 1);
    realm.finish();
}

#[test]
fn sizes_that_no_machine_has_are_refused() {
    let realm = Realm::new(1);
    let before = realm.counts();
    for (len, error) in [
        (0, Error::Invalid),
        (u64::MAX, Error::TooLarge),
        (MAX_REGION + 1, Error::TooLarge),
        (MAX_REGION, Error::NoMemory),
    ] {
        let domain = &realm.domains[0];
        let created = realm
            .ipc
            .create_region(domain, len, RegionFlags::empty(), None);
        assert_eq!(created, Err(error), "{len:#x}");
    }
    let huge = Geometry::slot(64 * 1024, 1 << 31);
    let ring = realm.ipc.create_ring(&realm.domains[0], huge);
    assert!(matches!(ring, Err(Error::TooLarge | Error::NoMemory)));
    assert_eq!(realm.counts(), before);
    realm.finish();
}

/// What an operation begins with: a realm, a region of domain 0, and a token for domain 1.
struct Before<'a> {
    realm: &'a Realm,
    region: Handle,
    token: abi::Token,
}

type Operation = (&'static str, fn(&Before<'_>) -> Result<(), Error>);

const OPERATIONS: &[Operation] = &[
    ("create_domain", |b| {
        let domain = b
            .realm
            .ipc
            .create_domain(b.realm.ipc.memory().account(), common::BASE)?;
        b.realm.ipc.clear_domain(&domain);
        b.realm.memory().destroy_space(domain.space());
        Ok(())
    }),
    ("create_region", |b| {
        let ipc = &b.realm.ipc;
        let domain = &b.realm.domains[0];
        for flags in [RegionFlags::empty(), RegionFlags::COMMIT] {
            let handle = ipc.create_region(domain, 600 * 4096, flags, None)?;
            b.realm.drop_handle(0, handle)?;
        }
        Ok(())
    }),
    ("map", |b| {
        let flags = MapFlags::FIXED;
        let va = 0x7e00_0000_0000;
        let (ipc, domain) = (&b.realm.ipc, &b.realm.domains[0]);
        ipc.map(domain, b.region, va, 0, 0, WRITE, flags)?;
        // Filling draws on what the region has reserved, and can't fail.
        b.realm.store(0, 0, va, 1).unwrap();
        b.realm.unmap(0, va)
    }),
    ("derive", |b| {
        let handle = b.realm.derive(0, b.region, READ)?;
        b.realm.drop_handle(0, handle)
    }),
    ("share", |b| {
        let token = b.realm.grant(0, b.region, 1, Mode::Share, READ)?;
        b.realm.cancel(0, token)
    }),
    ("move", |b| {
        let token = b.realm.grant(0, b.region, 1, Mode::Move, READ);
        assert_eq!(token, Err(Error::Shared));
        b.realm.revoke(0, b.region)?;
        let token = b.realm.grant(0, b.region, 1, Mode::Move, READ)?;
        b.realm.cancel(0, token)
    }),
    ("accept", |b| {
        let handle = b.realm.accept(1, b.token, 0)?;
        b.realm.drop_handle(1, handle)
    }),
    ("create_ring", |b| {
        let (ipc, domain) = (&b.realm.ipc, &b.realm.domains[0]);
        let (producer, consumer) = ipc.create_ring(domain, Geometry::slot(64, 128))?;
        let mapped = ipc.map_ring(domain, producer);
        b.realm.drop_handle(0, producer)?;
        b.realm.drop_handle(0, consumer)?;
        mapped.map(drop)
    }),
];

#[test]
fn the_failure_of_any_allocation_leaves_everything_as_it_was() {
    for (name, operation) in OPERATIONS {
        let mut failures = 0;
        for calls in 0.. {
            assert!(calls < 64, "{name} takes memory for ever");
            let realm = Realm::of(
                2,
                Config {
                    frames: 3000,
                    ..Config::default()
                },
            );
            let region = realm.region(0, 3);
            let token = realm.grant(0, region, 1, Mode::Share, READ).unwrap();
            let before = Before {
                realm: &realm,
                region,
                token,
            };
            let counts = realm.counts();
            realm.machine().fail_after(calls);
            let result = operation(&before);
            let failed = realm.machine().stop_failing();
            let kept = realm.region_of(0, region);
            if !failed {
                assert_eq!(result, Ok(()), "{name}");
                drop(kept);
                realm.finish();
                break;
            }
            failures += 1;
            assert_eq!(result, Err(Error::NoMemory), "{name} at call {calls}");
            let (frames, objects, mut domains) = realm.counts();
            // Directories that were made for a mapping stay with its space.
            let spaces = frames.tables - counts.0.tables;
            assert!(spaces <= 2, "{name}");
            assert_eq!(frames.free + spaces, counts.0.free, "{name}");
            assert_eq!(frames.available + spaces, counts.0.available, "{name}");
            domains[0].1.tables -= spaces;
            assert_eq!((objects, domains), (counts.1, counts.2), "{name}");
            realm.audit(&[kept]);
            assert_eq!(operation(&before), Ok(()), "{name} once more");
            realm.finish();
        }
        let takes_memory = matches!(
            *name,
            "create_domain" | "create_region" | "map" | "create_ring"
        );
        assert_eq!(failures > 0, takes_memory, "{name}");
    }
}
